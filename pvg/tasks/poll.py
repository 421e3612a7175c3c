"""Poll: a machine that writes random bits and then copies one of them, picked at random."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pvg.field import Field
from pvg.lane import draw, lane
from pvg.task import Machine, Task, TaskRules, Values, tasks, within


@tasks.register("Poll")
@dataclass(frozen=True)
class Poll(Task):
    """Of n random bits, is one picked at random 1 with probability at least 2/3 (and not at most 1/3)?

    Statement: a1..an (`tilt`), which the provers alone see: bit i is 1 with probability ai / n by itself. The machine writes the n
    bits, then a bit that is 1 with probability (how many are 1) / n, the one picked: T = n + 1 bits, the last 1 with probability
    (a1 + ... + an) / n^2. The tilts are uniform, but for a run of them (cyclic, from a random place on) raised until this is 2/3,
    rounded up, in the few cases where it is not above; where the claim is false each ai is n - ai.
    The machine is 2-Lipschitz for every n: if each answer of the oracle moves by at most e, so does the probability of each of the
    n bits, and with them the expected share of ones; the last answer adds another e.
    There is no proof to be sent whole: it is debated bit by bit, and a verifier alone knows nothing.
    Source: ours, a machine for the doubly-efficient debate of Brown-Cohen, Irving & Piliouras 2023.

    length: n, 3..126. Default: length=8. Preset hard: 63, 64 bits.
    """

    presets: ClassVar = {"hard": {"length": 63}}

    length: int = 8

    def __post_init__(self) -> None:
        within(self, "length", 3, 126)

    @property
    def statement(self) -> tuple[Field, ...]:
        return (Field("tilt", self.length + 1, (self.length,), ("step",), kind="number", seen_by=("prover",)),)

    def build(self) -> TaskRules:
        n = self.length
        least = -(-2 * n * n // 3)  # of the sum of the tilts, where the claim is true

        @lane
        def sample(s: Any, tables: Any) -> None:
            s.truth = draw(s, 2)
            missing = np.int64(least)
            for i in range(n):
                s.tilt[i] = draw(s, n + 1)
                missing -= np.int64(s.tilt[i])
            start = draw(s, n)
            for k in range(n):
                i = (start + k) % n
                raised = min(missing, n - np.int64(s.tilt[i])) if missing > 0 else 0
                s.tilt[i] += raised
                missing -= raised
            if s.truth == 0:
                for i in range(n):
                    s.tilt[i] = n - np.int64(s.tilt[i])

        @lane
        def oracle(s: Any, tables: Any, step: Any) -> Any:
            if step < n:
                return np.int64(s.tilt[step])
            ones = np.int64(0)
            for i in range(n):
                ones += np.int64(s.bits[i])
            return ones

        answers = tuple(Fraction(ones, n) for ones in range(n + 1))
        return TaskRules(sample, machine=Machine(n + 1, 2, answers, oracle))

    def render(self, values: Values) -> str:
        return f"bits that are 1 with {', '.join(map(str, values['tilt']))} in {self.length}: one at random is mostly 1"

    def parse(self, text: str) -> dict[str, NDArray[Any]]:
        n = self.length
        match = re.fullmatch(rf"bits that are 1 with (\d+(?:, \d+)*) in {n}: one at random is mostly 1", text.strip())
        tilts = [int(word) for word in match[1].split(", ")] if match else []
        if len(tilts) != n or max(tilts) > n:
            expected = f"'bits that are 1 with a1, ..., a{n} in {n}: one at random is mostly 1', each a in 0..{n}"
            raise ValueError(f"statement {text!r}: expected {expected}")
        return {"tilt": np.array(tilts, dtype=np.int8)}
