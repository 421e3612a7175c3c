"""BugHunt: whether a program computes something else than its specification."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pvg.field import Field
from pvg.lane import draw, lane
from pvg.machine import instructions, program_fields, program_from_text, program_text, read, stepping, successors
from pvg.task import Proof, Task, TaskRules, Values, tasks, within


@tasks.register("BugHunt")
@dataclass(frozen=True)
class BugHunt(Task):
    """Does program P differ from specification S on an input among 0..m-1?

    Both are programs of `pvg.machine` that take the input in register 0, the others being 0, and halt within T steps with
    their output there. The prover hunts a bug: to accept is to refute that P computes the same as S.
    Statement: S and P as rows 0 and 1 of `op`, `register` and `operand`, never constant functions. They always differ in two
    lines, whether they differ as functions or not, and then on at most m/2 inputs (1 or 2 of 5, half and half). They come from a
    pool of families of four programs, each one line from the same random program that loops; 0 and 1 compute one function, 2 and
    3 another, and no line is changed both in 0 or 2 and in 1 or 3. S is any of them; P is 1 or 3 if S is 0 or 2, else 0 or 2.
    So neither program alone tells the truth, nor do two integers but those of two changed lines: Bayes accuracy 0.515.
    Proof `counterexample`: an input; the evidence is both outputs on it. Completeness 1, soundness error 0.
    Source: ours.

    registers: 1..3. modulus: m, 3..7. length: lines, 5..16. steps: T, length + 1..127. families: in the pool, 10..32768; splits
    share none. Default: registers=2, modulus=5, length=6, steps=12, families=2048. Preset hard: 10 lines and 3 registers modulo 7,
    32 steps.
    """

    presets: ClassVar = {"hard": {"registers": 3, "modulus": 7, "length": 10, "steps": 32}}
    split_by = ("family",)

    registers: int = 2
    modulus: int = 5
    length: int = 6
    steps: int = 12
    families: int = 2048

    def __post_init__(self) -> None:
        within(self, "registers", 1, 3)
        within(self, "modulus", 3, 7)
        within(self, "length", 5, 16)
        within(self, "steps", self.length + 1, 127)
        within(self, "families", 10, 2**15)

    @property
    def statement(self) -> tuple[Field, ...]:
        return program_fields(self.registers, self.modulus, self.length, programs=2)

    @property
    def private(self) -> tuple[Field, ...]:  # type: ignore[override]
        return (Field("family", self.families, seen_by=()),)

    @property
    def tables(self) -> dict[str, NDArray[Any]]:
        known = instructions(self.registers, self.modulus, self.length)
        return {"instruction": known.astype(np.int8), "program": families(self)}

    def build(self) -> TaskRules:
        registers, m, length, steps, pool = self.registers, self.modulus, self.length, self.steps, self.families
        step = stepping(registers, m)

        @lane
        def sample(s: Any, tables: Any) -> None:
            s.truth, s.family = draw(s, 2), draw(s, pool)
            member, function = draw(s, 2), draw(s, 2)
            for i in range(length):
                for p in range(2):
                    chosen = 2 * function + member if p == 0 else 2 * (function ^ s.truth) + 1 - member
                    k = tables.program[s.family, chosen, i]
                    s.op[p, i], s.register[p, i], s.operand[p, i] = (
                        tables.instruction[k, 0],
                        tables.instruction[k, 1],
                        tables.instruction[k, 2],
                    )

        @lane
        def changed(s: Any, i: Any) -> Any:
            return s.op[0, i] != s.op[1, i] or s.register[0, i] != s.register[1, i] or s.operand[0, i] != s.operand[1, i]

        @lane
        def run(s: Any, p: Any, x: Any) -> Any:
            """The last state of program p on an input, and whether it came by a line in which the programs differ."""
            state, reached = np.int64(x), False
            for _ in range(steps):
                i = read(state, registers)
                if i < length:
                    reached = reached or changed(s, i)
                    state = step(np.int64(s.op[p, i]), np.int64(s.register[p, i]), np.int64(s.operand[p, i]), state)
            return state, reached

        @lane
        def honest(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            out[0] = 0
            for x in range(m):
                specified, _ = run(s, 0, x)
                computed, _ = run(s, 1, x)
                if read(specified, 0) != read(computed, 0):
                    out[0] = x
                    break

        @lane
        def random(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            out[0] = draw(s, m)

        @lane
        def reaches_a_changed_line(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            first = draw(s, m)
            out[0] = first
            for k in range(m):
                _, reached = run(s, 0, (first + k) % m)
                if reached:
                    out[0] = (first + k) % m
                    break

        @lane
        def ends_in_another_state(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            first = draw(s, m)
            out[0] = first
            for k in range(m):
                specified, _ = run(s, 0, (first + k) % m)
                computed, _ = run(s, 1, (first + k) % m)
                if specified != computed:
                    out[0] = (first + k) % m
                    break

        @lane
        def evidence(s: Any, tables: Any, slot: Any) -> None:
            for p in range(2):
                state, _ = run(s, p, np.int64(s.said[slot, 0]))
                s.output[p] = read(state, 0)

        @lane
        def check(s: Any, tables: Any, first: Any) -> Any:
            return 1 if s.output[0] != s.output[1] else 0

        proof = Proof(
            kinds={"message": (Field("input", m, kind="number"),)},
            honest=honest,
            dishonest={
                "random": random,
                "reaches_a_changed_line": reaches_a_changed_line,
                "ends_in_another_state": ends_in_another_state,
            },
            check=check,
            fields=(Field("output", m, (2,), ("program",), blank=True),),
            evidence=evidence,
        )
        return TaskRules(sample, {"counterexample": proof})

    def render(self, values: Values) -> str:
        specification, program = (program_text(*(values[name][p] for name in ("op", "register", "operand"))) for p in range(2))
        return f"specification {specification} differs from program {program}, modulo {self.modulus}"

    def parse(self, text: str) -> dict[str, NDArray[Any]]:
        m = self.modulus
        match = re.fullmatch(rf"specification (.*) differs from program (.*), modulo {m}", text.strip())
        if match is None:
            raise ValueError(f"statement {text!r}: expected 'specification S differs from program P, modulo {m}'")
        programs = [program_from_text(part, self.registers, m, self.length) for part in match.groups()]
        return {name: np.stack(rows) for name, rows in zip(("op", "register", "operand"), zip(*programs, strict=True), strict=True)}


BATCH, MUTANTS = 2048, 256


@cache
def families(task: BugHunt) -> NDArray[np.int16]:
    """The pool: `family program line`, numbers of instructions."""
    rng, found = np.random.default_rng(0), list[NDArray[np.int16]]()
    table = successors(task.registers, task.modulus, task.length)
    while len(found) < task.families:
        program = rng.integers(len(table), size=(BATCH, task.length))
        output, taken = _outputs(table, program, task)
        program = program[_varied(output) & (taken > task.length) & (taken <= task.steps)]
        mutant = np.repeat(program[:, None], MUTANTS, axis=1)  # base mutant line
        changed = rng.integers(task.length, size=mutant.shape[:2])
        edit = rng.integers(len(table), size=mutant.shape[:2])
        np.put_along_axis(mutant, changed[..., None], edit[..., None], axis=2)
        output, taken = _outputs(table, mutant, task)
        valid = _varied(output) & (taken <= task.steps) & (mutant != program[:, None]).any(2)
        for b, base in enumerate(mutant):
            four = _family(rng, output[:, b], valid[b], changed[b])
            if four is not None:
                found.append(base[four].astype(np.int16))
    return np.stack(found[: task.families])


def _outputs(table: NDArray[Any], programs: NDArray[Any], task: BugHunt) -> tuple[NDArray[Any], NDArray[Any]]:
    """What programs `... line` leave on each input, `input ...`, and how long the longest run takes, T + 1 if it goes on then."""
    states, (*shape, length), m = task.modulus**task.registers, programs.shape, task.modulus
    flat = programs.reshape(-1, length)
    state = np.repeat(np.arange(m)[:, None], len(flat), axis=1)
    taken, first = np.zeros_like(state), length * np.arange(len(flat))
    for _ in range(task.steps + 1):
        line = state // states
        taken += line < length
        state = table[flat.ravel()[first + np.minimum(line, length - 1)], state]
    return (state % states % m).reshape(m, *shape), taken.max(0).reshape(shape)


def _varied(output: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether the function is not constant."""
    return np.asarray((output != output[0]).any(0))


def _family(
    rng: np.random.Generator, output: NDArray[Any], valid: NDArray[np.bool_], line: NDArray[Any]
) -> NDArray[np.int64] | None:
    """Two mutants of one function and two of another near to it, if a few tries find any, as `families` pairs them."""
    m = len(output)
    number = np.where(valid, m ** np.arange(m) @ output, -1)
    functions, first, size = np.unique(number, return_index=True, return_counts=True)
    first = first[(functions >= 0) & (size > 1)]
    distance = (output[:, first, None] != output[:, None, first]).sum(0)
    near = np.argwhere((distance > 0) & (2 * distance <= m))
    for _ in range(4 if len(near) else 0):
        pair = first[near[rng.integers(len(near))]]
        four = np.concatenate([rng.permutation(np.flatnonzero(number == number[f]))[:2] for f in pair])
        if not set(line[four[[0, 2]]]) & set(line[four[[1, 3]]]):
            return four
    return None
