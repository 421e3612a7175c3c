"""What a verifier can learn of the truth from a glance at a statement: a task is to leave no shallow feature.

A marginal is what one or two integers of the verifier's view (without messages) say about the truth. A task of which
one of them tells is solved by reading that, and what a verifier learns on it says nothing of proofs.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pvg.game import game
from pvg.metrics import Figure, clopper_pearson
from pvg.spec import View
from pvg.task import Task

_CELLS = 2**22  # cells a table of counts may have before the values that occur are numbered instead


@dataclass(frozen=True)
class Leak:
    """The marginal of at most two columns that tells the truth most often.

    accuracy: of the Bayes rule fitted on half of the games, on the other half; the bounds hold for all marginals at
        once. columns: which integers of the view it reads. base: how often the most frequent answer is right there.
    """

    accuracy: Figure
    columns: tuple[str, ...]
    base: float

    @property
    def leaks(self) -> bool:
        """Whether the marginal tells more than nothing does, beyond what chance explains."""
        return self.accuracy.low > self.base

    def __str__(self) -> str:
        return f"Bayes accuracy {self.accuracy} from {' and '.join(self.columns)} ({self.base:.4f} from nothing)"


def marginal_leaks(task: Task, games: int = 200_000, seed: int = 0) -> Leak:
    """The largest Bayes accuracy of all marginals of at most two columns of what the verifier sees before any message.

    games: half to fit the rule, half to score it, at least 4. ValueError: fewer games, or a view without columns.
    """
    if games < 4:
        raise ValueError(f"games={games}: expected at least 4")
    dealt = game(task, "solo", games, seed=seed)
    observation = dealt.observe("verifier")
    truth = dealt.field("truth").numpy().astype(np.int64)
    columns, names = _numbered(observation.packed.numpy()), _names(observation.view)
    if not columns:
        raise ValueError(f"{task}: the verifier sees nothing")
    half = games // 2

    def hits(values: NDArray[np.int64], high: int) -> int:
        """How often the rule "the truth most frequent in the fitted half" is right in the other."""
        cells = values * task.answers + truth
        counts = np.bincount(cells[:half], minlength=high * task.answers).reshape(high, task.answers)
        return int((counts.argmax(axis=1)[values[half:]] == truth[half:]).sum())

    right: dict[tuple[int, ...], int] = {(i,): hits(*column) for i, column in enumerate(columns)}
    for i, j in combinations(range(len(columns)), 2):
        right[i, j] = hits(*_joint(*columns[i], *columns[j], task.answers))
    best = max(right, key=lambda marginal: right[marginal])
    low, high = clopper_pearson(right[best], games - half, 1 - 0.05 / len(right))
    method = f"largest of {len(right)} marginals, each fitted on {half} other games; Clopper-Pearson at 95% for all together"
    accuracy = Figure(right[best] / (games - half), low, high, games - half, method)
    return Leak(accuracy, tuple(names[i] for i in best), float(np.bincount(truth[half:]).max()) / (games - half))


def _numbered(packed: NDArray[Any]) -> list[tuple[NDArray[np.int64], int]]:
    """Each column with its values numbered from 0, and how many there are."""
    numbered = (np.unique(column, return_inverse=True) for column in packed.T)
    return [(inverse.astype(np.int64), len(values)) for values, inverse in numbered]


def _joint(
    first: NDArray[np.int64], first_high: int, second: NDArray[np.int64], second_high: int, answers: int
) -> tuple[NDArray[np.int64], int]:
    """Two columns as one."""
    both, high = first * second_high + second, first_high * second_high
    return (both, high) if high * answers <= _CELLS else _numbered(both[:, None])[0]


def _names(view: View) -> list[str]:
    """What each packed column holds, as `x[3]`."""
    return [
        column.field.name + (f"[{', '.join(map(str, index))}]" if index else "")
        for column in view.columns
        for index in np.ndindex(*column.field.shape)
    ]
