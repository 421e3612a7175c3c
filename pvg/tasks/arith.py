"""Arith: a chain of additions and subtractions (and multiplications) modulo m, from left to right."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pvg.field import Field
from pvg.lane import draw, lane
from pvg.task import Proof, Task, TaskRules, Values, tasks

SYMBOLS = "+-*"


@tasks.register("Arith")
@dataclass(frozen=True)
class Arith(Task):
    """Is y the value of ((x0 op1 x1) op2 x2) ... opn xn modulo m?

    Statement: x0 (`start`), the operations (`op`, 0 is +, 1 is -, 2 is *) and x1..xn (`x`), uniform; a factor is never 0.
    Claim: y is the value with probability 1/2, else uniform over the other m - 1 residues. Proof `transcript`: the n - 1
    results before the last; checked step by step, completeness 1, soundness error 0. No feature of two fields or fewer
    tells the truth: x0 is uniform and every step is a bijection of the residues.

    operations: n, 2..64. modulus: m, 2..127; prime if `multiplication`.
    """

    operations: int = 6
    modulus: int = 5
    multiplication: bool = False

    def __post_init__(self) -> None:
        if not 2 <= self.operations <= 64:
            raise ValueError(f"Arith: operations={self.operations} is outside 2..64")
        if not 2 <= self.modulus <= 127:
            raise ValueError(f"Arith: modulus={self.modulus} is outside 2..127")
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
        def apply(op: Any, state: Any, x: Any) -> Any:
            if op == 0:
                return (state + x) % m
            if op == 1:
                return (state - x + m) % m
            return state * x % m

        @lane
        def undo(op: Any, state: Any, x: Any) -> Any:
            if op == 0:
                return (state - x + m) % m
            if op == 1:
                return (state + x) % m
            for before in range(m):
                if before * x % m == state:
                    return before
            return 0  # never: x is a unit

        @lane
        def another(s: Any, residue: Any) -> Any:
            return (residue + 1 + draw(s, m - 1)) % m

        @lane
        def sample(s: Any, tables: Any) -> None:
            s.start = state = draw(s, m)
            for j in range(n):
                op = draw(s, operators)
                x = 1 + draw(s, m - 1) if op == 2 else draw(s, m)
                s.op[j], s.x[j] = op, x
                state = apply(op, state, x)
            s.truth = draw(s, 2)
            s.claim = state if s.truth == 1 else another(s, state)

        @lane
        def check(s: Any, tables: Any) -> Any:
            state = np.int64(s.start)
            for j in range(n):
                said = np.int64(s.said[0, j]) if j < n - 1 else np.int64(s.claim)
                if apply(np.int64(s.op[j]), state, np.int64(s.x[j])) != said:
                    return 0
                state = said
            return 1

        @lane
        def honest(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            state = np.int64(s.start)
            for j in range(n - 1):
                state = apply(np.int64(s.op[j]), state, np.int64(s.x[j]))
                out[j] = state

        @lane
        def random(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            for j in range(n - 1):
                out[j] = draw(s, m)

        @lane
        def several_wrong_steps(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            first = draw(s, n - 1)
            second = (first + 1 + draw(s, n - 2)) % (n - 1) if n > 2 else first
            state = np.int64(s.start)
            for j in range(n - 1):
                state = apply(np.int64(s.op[j]), state, np.int64(s.x[j]))
                if j in (first, second) or draw(s, 4) == 0:
                    state = another(s, state)
                out[j] = state

        @lane
        def wrong_at(s: Any, tables: Any, step: Any, out: Any) -> None:
            honest(s, tables, 1, 0, out)
            state = np.int64(s.claim)
            for j in range(n - 1, step, -1):
                state = undo(np.int64(s.op[j]), state, np.int64(s.x[j]))
                out[j - 1] = state

        @lane
        def consistent_backwards(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            wrong_at(s, tables, 0, out)

        @lane
        def true_transcript(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            wrong_at(s, tables, n - 1, out)

        @lane
        def one_wrong_step(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            wrong_at(s, tables, draw(s, n), out)

        transcript = Proof(
            kinds={"message": (Field("partial", m, (n - 1,), ("step",)),)},
            honest=honest,
            dishonest={
                "random": random,
                "several_wrong_steps": several_wrong_steps,
                "consistent_backwards": consistent_backwards,
                "true_transcript": true_transcript,
                "one_wrong_step": one_wrong_step,
            },
            check=check,
            path=("start", "partial", "claim"),
        )
        return TaskRules(sample, {"transcript": transcript})

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
