"""Arith: a chain of additions and subtractions (and multiplications) modulo m, from left to right."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pvg.chain import chain_rules
from pvg.field import Field
from pvg.lane import draw, lane
from pvg.task import Task, TaskRules, Values, tasks, within

SYMBOLS = "+-*"


@tasks.register("Arith")
@dataclass(frozen=True)
class Arith(Task):
    """Is y the value of ((x0 op1 x1) op2 x2) ... opn xn modulo m?

    Statement: x0 (`start`), the operations (`op`, 0 is +, 1 is -, 2 is *) and x1..xn (`x`), uniform; a factor is never 0.
    Claim: y is the value with probability 1/2, else uniform over the other m - 1 residues. No feature of two fields or fewer
    tells the truth: x0 is uniform and every step is a bijection of the residues.
    Proof `transcript`: the n - 1 results before the last, checked step by step; completeness 1, soundness error 0.
    Proof `bisection`: a challenger halves the chain ceil(log2 n) times, and one step is checked; 0 if either is honest.
    Source: ours; refereed delegation, Canetti, Riva & Rothblum 2011 (bisection).

    operations: n, 2..64. modulus: m, 2..127. multiplication: whether * occurs; the modulus is prime then. Default: operations=6,
    modulus=5, multiplication=False. Preset hard: 16 operations modulo 11.
    """

    presets: ClassVar = {"hard": {"operations": 16, "modulus": 11}}

    operations: int = 6
    modulus: int = 5
    multiplication: bool = False

    def __post_init__(self) -> None:
        within(self, "operations", 2, 64)
        within(self, "modulus", 2, 127)
        if self.multiplication and any(self.modulus % d == 0 for d in range(2, self.modulus)):
            raise ValueError(f"Arith: multiplication needs a prime modulus, and modulus={self.modulus} is none")

    @property
    def statement(self) -> tuple[Field, ...]:
        n, m = self.operations, self.modulus
        return (
            Field("start", m),
            Field("op", 3 if self.multiplication else 2, (n,), ("step",)),
            Field("x", m, (n,), ("step",)),
        )

    @property
    def claim(self) -> tuple[Field, ...]:
        return (Field("claim", self.modulus),)

    def build(self) -> TaskRules:
        n, m, operators = self.operations, self.modulus, 3 if self.multiplication else 2

        @lane
        def apply(s: Any, tables: Any, j: Any, state: Any) -> Any:
            op, x = s.op[j], np.int64(s.x[j])
            if op == 0:
                return (state + x) % m
            if op == 1:
                return (state - x + m) % m
            return state * x % m

        @lane
        def undo(s: Any, tables: Any, j: Any, state: Any) -> Any:
            op, x = s.op[j], np.int64(s.x[j])
            if op == 0:
                return (state - x + m) % m
            if op == 1:
                return (state + x) % m
            for before in range(m):
                if before * x % m == state:
                    return before
            return 0  # never: x is a unit

        @lane
        def sample(s: Any, tables: Any) -> None:
            s.start = state = draw(s, m)
            for j in range(n):
                op = draw(s, operators)
                x = 1 + draw(s, m - 1) if op == 2 else draw(s, m)
                s.op[j], s.x[j] = op, x
                state = apply(s, tables, j, state)
            s.truth = draw(s, 2)
            s.claim = state if s.truth == 1 else (state + 1 + draw(s, m - 1)) % m

        return chain_rules(sample, n, m, apply, undo)

    def render(self, values: Values) -> str:
        steps = zip(values["op"], values["x"], strict=True)
        chain = " ".join([str(int(values["start"])), *(f"{SYMBOLS[op]} {int(x)}" for op, x in steps)])
        return f"{chain} = {int(values['claim'])} (mod {self.modulus})"

    def parse(self, text: str) -> dict[str, NDArray[Any]]:
        n, m = self.operations, self.modulus
        match = re.fullmatch(rf"(\d+)((?: [-+*] \d+){{{n}}}) = (\d+) \(mod {m}\)", text.strip())
        if match is None:
            raise ValueError(f"statement {text!r}: expected 'x0 op x1 ... op x{n} = y (mod {m})'")
        words = match[2].split()
        operators = np.array([SYMBOLS.index(word) for word in words[::2]], dtype=np.int8)
        start, claim, x = np.int8(match[1]), np.int8(match[3]), np.array(words[1::2], dtype=np.int8)
        if max(start, claim, *x) >= m or (max(operators) == 2 and not self.multiplication):
            raise ValueError(f"statement {text!r}: a residue is outside 0..{m - 1} or an operation is not in this task")
        return {"start": np.array(start), "op": operators, "x": x, "claim": np.array(claim)}
