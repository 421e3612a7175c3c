"""A game in plain words, as files name it: what a checkpoint was trained on, what a transcript is of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

from pvg.protocol import protocols
from pvg.registry import Registry
from pvg.spec import Spec, resolve
from pvg.task import tasks


def describe(spec: Spec) -> dict[str, Any]:
    """A game in plain words, from which `rebuild` makes it again; ValueError where the task or protocol is not
    registered.
    """
    return {
        "task": _name(tasks, spec.task),
        "task_parameters": _parameters(spec.task),
        "protocol": _name(protocols, spec.protocol),
        "protocol_parameters": _parameters(spec.protocol),
        "proof": spec.proof_name,
        "split": spec.split,
    }


def rebuild(description: Mapping[str, Any]) -> Spec:
    """The game `describe` described."""
    task, protocol = (
        kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()})
        for kind, settings in (
            (tasks[description["task"]], description["task_parameters"]),
            (protocols[description["protocol"]], description["protocol_parameters"]),
        )
    )
    return resolve(task, protocol, description["proof"], description["split"])


def _name(registry: Registry[Any], thing: object) -> str:
    for name in registry:
        if registry[name] is type(thing):
            return name
    kind = type(thing).__name__
    raise ValueError(f"{registry.kind} {kind} has no name a file could hold: register it with @{registry.kind}s.register")


def _parameters(thing: Any) -> dict[str, Any]:
    """The settings of a task or protocol; lists for tuples, as JSON has them."""
    settings = asdict(thing) if is_dataclass(thing) and not isinstance(thing, type) else {}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}
