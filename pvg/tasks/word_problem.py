"""WordProblem: where a product of random permutations of five points sends a point."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import permutations
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pvg.chain import chain_rules
from pvg.field import Field
from pvg.lane import draw, lane
from pvg.task import Task, TaskRules, Values, tasks, within

POINTS = 5
ELEMENTS = np.array(list(permutations(range(POINTS))), dtype=np.int8)  # element point: where it sends the point


@tasks.register("WordProblem")
@dataclass(frozen=True)
class WordProblem(Task):
    """Does g1, then g2, ... then gn send the point x0 to y, the g being elements of S5?

    Statement: x0 (`start`) and g1..gn (`element`, in the lexicographic order of S5), uniform. Claim: y is the image with
    probability 1/2, else uniform over the other four points. Following a point is as hard as all of NC1, checking a step is one
    look-up; nothing shallow leaks: any n - 1 of the elements leave the image uniform.
    Proof `transcript`: the n - 1 points between, checked step by step; completeness 1, soundness error 0.
    Proof `bisection`: a challenger halves the word ceil(log2 n) times, and one step is checked; 0 if either is honest.
    Source: Barrington 1989 (S5 is complete for NC1).

    length: n, 2..64. Default: length=8. Preset hard: 32.
    """

    presets: ClassVar = {"hard": {"length": 32}}

    length: int = 8

    def __post_init__(self) -> None:
        within(self, "length", 2, 64)

    @property
    def statement(self) -> tuple[Field, ...]:
        return (Field("start", POINTS), Field("element", len(ELEMENTS), (self.length,), ("step",)))

    @property
    def claim(self) -> tuple[Field, ...]:
        return (Field("claim", POINTS),)

    @property
    def tables(self) -> dict[str, NDArray[Any]]:
        return {"image": ELEMENTS, "source": np.argsort(ELEMENTS, axis=1).astype(np.int8)}

    def build(self) -> TaskRules:
        n = self.length

        @lane
        def apply(s: Any, tables: Any, j: Any, state: Any) -> Any:
            return np.int64(tables.image[s.element[j], state])

        @lane
        def undo(s: Any, tables: Any, j: Any, state: Any) -> Any:
            return np.int64(tables.source[s.element[j], state])

        @lane
        def sample(s: Any, tables: Any) -> None:
            s.start = state = draw(s, POINTS)
            for j in range(n):
                s.element[j] = draw(s, len(ELEMENTS))
                state = apply(s, tables, j, state)
            s.truth = draw(s, 2)
            s.claim = state if s.truth == 1 else (state + 1 + draw(s, POINTS - 1)) % POINTS

        return chain_rules(sample, n, POINTS, apply, undo)

    def render(self, values: Values) -> str:
        word = " ".join("".join(map(str, ELEMENTS[g])) for g in values["element"])
        return f"{int(values['start'])} goes through {word} to {int(values['claim'])}"

    def parse(self, text: str) -> dict[str, NDArray[Any]]:
        match = re.fullmatch(rf"([0-4]) goes through ((?:[0-4]{{5}} ?){{{self.length}}}) to ([0-4])", text.strip())
        words = match[2].split() if match else []
        if match is None or any(sorted(word) != list("01234") for word in words):
            raise ValueError(f"statement {text!r}: expected 'x0 goes through g1 ... g{self.length} to y', each g as '20134'")
        known = {"".join(map(str, element)): g for g, element in enumerate(ELEMENTS)}
        element = np.array([known[word] for word in words], dtype=np.int8)
        return {"start": np.array(match[1], np.int8), "element": element, "claim": np.array(match[3], np.int8)}
