"""What tasks over the field F_p share."""

from __future__ import annotations

from pvg.task import Task, within


def prime_within(task: Task, name: str, low: int, high: int) -> None:
    """ValueError where a size of a task is outside low..high or no prime."""
    within(task, name, low, high)
    p = getattr(task, name)
    if any(p % divisor == 0 for divisor in range(2, p)):
        raise ValueError(f"{type(task).__name__}: {name}={p} is no prime")
