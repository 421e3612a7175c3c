"""Program: what a small program of a register machine leaves in register 0."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pvg.chain import every_step, interval, rounds
from pvg.field import Field
from pvg.lane import draw, lane
from pvg.machine import (
    JUMP,
    MASK,
    REGISTERS,
    drawing,
    program_fields,
    program_from_text,
    program_text,
    read,
    stepping,
    write,
)
from pvg.task import Proof, Task, TaskRules, Values, tasks, within

ATTEMPTS = 96


@tasks.register("Program")
@dataclass(frozen=True)
class Program(Task):
    """Does program P, on input x, halt with y in register 0 within T steps?

    Statement: P (`op`, `register`, `operand`, as in `pvg.machine`), a loop counted by a register among random lines, and what
    the registers hold at first (`input`), drawn until the run from there and one from another input, with another output, both
    take more than T/2 steps and at most T: both go round the loop if T >= 2 length. The last line, the only way out, adds a
    uniform constant to register 0. Claim: the output, or with probability 1/2 that of the other run. So no two fields tell
    the truth: given P, the two inputs are alike; given the input, the constant makes the claim uniform. If ATTEMPTS programs
    bring no such runs (2 in 100,000 games, here and at hard; more where a count up to m does not fit into T), all jumps of the
    last lead forward, and it halts within T. Nine programs are drawn for one, each run from two inputs or more: dealing is what
    takes the time, and hard plays 120 to 160 times fewer games a second than Arith.
    Proof `trace`: the T states after each step, the last repeated once P halts, and of its T steps the last is to lead to the
    claim; completeness 1, soundness error 0.
    Proof `spot_check`: the trace is committed, k steps drawn without replacement are opened, each with the state before it,
    the last with the claim. One bad step suffices for any false claim (the last, say), and none does not: 1 - k/T.
    Proof `bisection`: a challenger halves the trace ceil(log2 T) times, and one step is checked; 0 if either is honest.
    A wrong trace cannot in general be made consistent backwards from its end, as in a chain of bijections: states here may
    have no predecessor. The strongest prover instead seeks a state in mid-run from which the claim results.
    Source: refereed delegation, Canetti, Riva & Rothblum 2011 (bisection).

    registers: 1..8 (with 1, a counted loop forgets its input, and none is dealt). modulus: m, 2..127. length: lines of P, 3..64.
    steps: T, length..127. queries: k, 1..T. Default: registers=2, modulus=5, length=6, steps=12, queries=3. Preset hard: 16 lines
    and 4 registers modulo 11, 64 steps, 8 queries.
    """

    presets: ClassVar = {"hard": {"registers": 4, "modulus": 11, "length": 16, "steps": 64, "queries": 8}}

    registers: int = 2
    modulus: int = 5
    length: int = 6
    steps: int = 12
    queries: int = 3

    def __post_init__(self) -> None:
        within(self, "registers", 1, REGISTERS)
        within(self, "modulus", 2, MASK)
        within(self, "length", 3, 64)
        within(self, "steps", self.length, 127)
        within(self, "queries", 1, self.steps)

    @property
    def statement(self) -> tuple[Field, ...]:
        program = program_fields(self.registers, self.modulus, self.length)
        return (*program, Field("input", self.modulus, (self.registers,), ("register",)))

    @property
    def claim(self) -> tuple[Field, ...]:
        return (Field("claim", self.modulus),)

    def build(self) -> TaskRules:
        registers, m, length, steps, queries = self.registers, self.modulus, self.length, self.steps, self.queries
        step, line = stepping(registers, m), drawing(registers, m, length)

        @lane
        def start(s: Any) -> Any:
            state = np.int64(0)
            for i in range(registers):
                state = write(state, i, np.int64(s.input[i]))
            return state

        @lane
        def after(s: Any, state: Any) -> Any:
            at = read(state, registers)
            if at == length:
                return state
            return step(np.int64(s.op[at]), np.int64(s.register[at]), np.int64(s.operand[at]), state)

        @lane
        def run(s: Any, state: Any, t: Any) -> Any:
            """The state t steps later, and after how many it halts."""
            taken = 0
            for _ in range(t):
                if read(state, registers) < length:
                    state = after(s, state)
                    taken += 1
            return state, taken

        @lane
        def proves(s: Any, state: Any) -> Any:
            return read(state, registers) == length and read(state, 0) == s.claim

        @lane
        def scattered(s: Any, state: Any) -> Any:
            """A state at the same line with random registers."""
            for i in range(registers):
                state = write(state, i, draw(s, m))
            return state

        @lane
        def write_program(s: Any, forward: Any) -> None:
            for i in range(length - 1):
                s.op[i], s.register[i], s.operand[i] = line(s, i, forward)
            s.op[length - 1], s.register[length - 1], s.operand[length - 1] = 3, 0, draw(s, m)
            if forward:
                return
            back = 1 + max(draw(s, length - 2), draw(s, length - 2))
            head, counter = min(draw(s, back), draw(s, back)), draw(s, registers)
            for i in range(head, back):
                if registers > 1 and s.op[i] < JUMP and s.register[i] == counter:
                    s.register[i] = (counter + 1 + draw(s, registers - 1)) % registers
            i = head + draw(s, back - head)
            s.op[i], s.register[i], s.operand[i] = 3 + 2 * draw(s, 2), counter, 1 + draw(s, m - 1)
            s.op[back], s.register[back], s.operand[back] = JUMP + 2, counter, head

        @lane
        def sample(s: Any, tables: Any) -> None:
            first, second, output, other, found = np.int64(0), np.int64(0), np.int64(0), np.int64(0), 0
            for attempt in range(ATTEMPTS):
                forward, found = attempt == ATTEMPTS - 1, 0
                write_program(s, forward)
                for tried in range(8):
                    if found == 0 and tried == 2:
                        break
                    state = scattered(s, np.int64(0))
                    end, taken = run(s, state, steps)
                    if read(end, registers) < length or (2 * taken <= steps and not forward):
                        continue
                    if found == 0:
                        first, output, found = state, read(end, 0), 1
                    elif read(end, 0) != output:
                        second, other, found = state, read(end, 0), 2
                        break
                if found == 2:
                    break
            if found < 2:
                other = (output + 1 + draw(s, m - 1)) % m
            elif draw(s, 2) == 0:
                first, output, other = second, other, output
            for i in range(registers):
                s.input[i] = read(first, i)
            s.truth = draw(s, 2)
            s.claim = output if s.truth == 1 else other

        @lane
        def solve(s: Any, tables: Any, out: Any) -> None:
            end, _ = run(s, start(s), steps)
            out[0] = read(end, 0)

        @lane
        def restate(s: Any, tables: Any, symbols: Any) -> None:
            s.claim = symbols[0]
            end, _ = run(s, start(s), steps)
            s.truth = 1 if proves(s, end) else 0

        def layout(states: int) -> Any:
            """How so many states stand in an utterance: put(out, t, state) and said(s, slot, t) -> state."""

            @lane
            def put(out: Any, t: Any, state: Any) -> None:
                out[t] = read(state, registers)
                for i in range(registers):
                    out[states + t * registers + i] = read(state, i)

            @lane
            def said(s: Any, slot: Any, t: Any) -> Any:
                state = write(np.int64(0), registers, np.int64(s.said[slot, t]))
                for i in range(registers):
                    state = write(state, i, np.int64(s.said[slot, states + t * registers + i]))
                return state

            return put, said

        put, said = layout(steps)
        put_one, said_one = layout(1)

        def utterance(states: int, **hidden: Any) -> tuple[Field, ...]:
            line = Field("line", length + 1, (states,), ("step",), "number", **hidden)
            return line, Field("value", m, (states, registers), ("step", "register"), **hidden)

        @lane
        def check_step(s: Any, tables: Any, slot: Any, t: Any) -> Any:
            state = said(s, slot, t)
            right = after(s, said(s, slot, t - 1) if t > 0 else start(s)) == state
            return 1 if right and (t < steps - 1 or proves(s, state)) else 0

        @lane
        def tell(s: Any, step: Any, told: Any, out: Any) -> None:
            """The trace, but for the state `told` after a step and the run from there."""
            state = start(s)
            for t in range(steps):
                state = told if t == step else after(s, state)
                put(out, t, state)

        @lane
        def honest(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            tell(s, steps, 0, out)

        @lane
        def random(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            for t in range(steps):
                put(out, t, write(scattered(s, np.int64(0)), registers, draw(s, length + 1)))

        @lane
        def true_after_a_wrong_step(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            t = draw(s, steps)
            state, _ = run(s, start(s), t + 1)
            tell(s, t, scattered(s, state), out)

        @lane
        def wrong_last_step(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            honest(s, tables, side, slot, out)
            out[steps + (steps - 1) * registers] = s.claim

        @lane
        def one_wrong_step(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            t = draw(s, steps)
            state, _ = run(s, start(s), t + 1)
            found = False
            for _ in range(8):
                if not found:
                    state = scattered(s, state)
                    end, _ = run(s, state, steps - 1 - t)
                    found = proves(s, end)
            tell(s, t if found else steps, state, out)
            if not found:
                out[steps + (steps - 1) * registers] = s.claim

        dishonest = {
            "random": random,
            "true_trace": honest,
            "true_after_a_wrong_step": true_after_a_wrong_step,
            "wrong_last_step": wrong_last_step,
            "one_wrong_step": one_wrong_step,
        }

        @lane
        def ask(s: Any, tables: Any, slot: Any, out: Any) -> None:
            asked = 0
            for t in range(steps):
                if draw(s, steps - t) < queries - asked:
                    out[asked] = t
                    asked += 1

        @lane
        def evidence(s: Any, tables: Any, slot: Any) -> None:
            for q in range(queries if slot == 1 else 0):
                t = np.int64(s.said[1, q])
                for end in range(2):
                    state = start(s) if t + end == 0 else said(s, 0, t + end - 1)
                    s.opened_line[q, end] = read(state, registers)
                    for i in range(registers):
                        s.opened_value[q, end, i] = read(state, i)

        @lane
        def opened(s: Any, q: Any, end: Any) -> Any:
            state = write(np.int64(0), registers, np.int64(s.opened_line[q, end]))
            for i in range(registers):
                state = write(state, i, np.int64(s.opened_value[q, end, i]))
            return state

        @lane
        def check_opened(s: Any, tables: Any, first: Any) -> Any:
            for q in range(queries):
                end = opened(s, q, 1)
                if after(s, opened(s, q, 0)) != end or (s.said[1, q] == steps - 1 and not proves(s, end)):
                    return 0
            return 1

        trace = Proof(
            kinds={"message": utterance(steps)},
            honest=honest,
            dishonest=dishonest,
            check=every_step(steps, check_step),
            steps=steps,
            check_step=check_step,
        )
        spot_check = Proof(
            kinds={
                "message": utterance(steps, seen_by=("prover",)),
                "question": (Field("asked", steps, (queries,), ("query",), "number"),),
            },
            script=("message", "question"),
            honest=honest,
            dishonest=dishonest,
            check=check_opened,
            ask=ask,
            fields=(
                Field("opened_line", length + 1, (queries, 2), ("query", "end"), "number", blank=True),
                Field("opened_value", m, (queries, 2, registers), ("query", "end", "register"), blank=True),
            ),
            evidence=evidence,
            soundness_error=1 - queries / steps,
        )

        script = ("message", "challenge") * rounds(steps)

        @lane
        def speak(s: Any, first: Any, slot: Any, out: Any) -> None:
            """The state in the middle of the run from `first`, or whether that is what was said."""
            low, high, _, _ = interval(s, steps, slot)
            state, _ = run(s, first, (low + high) // 2)
            if slot % 2 == 0:
                put_one(out, 0, state)
            else:
                out[0] = 1 if said_one(s, slot - 1, 0) == state else 0

        @lane
        def bisect(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            speak(s, start(s), slot, out)

        @lane
        def any_words(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            if slot % 2 == 0:
                put_one(out, 0, write(scattered(s, np.int64(0)), registers, draw(s, length + 1)))
            else:
                out[0] = draw(s, 2)

        @lane
        def another_input(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            """The prover tells the run of the first input, by register 0, that leads to the claim; the challenger lies."""
            first = start(s)
            for x in range(m):
                end, _ = run(s, write(start(s), 0, x), steps)
                if proves(s, end):
                    first = write(first, 0, x)
                    break
            speak(s, first if slot % 2 == 0 else start(s), slot, out)
            if slot % 2 == 1:
                out[0] = 1 - out[0]

        @lane
        def check_bisection(s: Any, tables: Any, first: Any) -> Any:
            _, _, low_slot, high_slot = interval(s, steps, len(script))
            state = after(s, start(s) if low_slot < 0 else said_one(s, low_slot, 0))
            if high_slot < 0:
                return 1 if proves(s, state) else 0
            return 1 if state == said_one(s, high_slot, 0) else 0

        bisection = Proof(
            kinds={"message": utterance(1), "challenge": (Field("half", 2, kind="bit"),)},
            script=script,
            honest=bisect,
            dishonest={"random": any_words, "true_states": bisect, "another_input": another_input},
            check=check_bisection,
        )
        return TaskRules(sample, {"trace": trace, "spot_check": spot_check, "bisection": bisection}, solve, restate)

    def render(self, values: Values) -> str:
        program = program_text(values["op"], values["register"], values["operand"])
        return f"{program}, modulo {self.modulus}, takes {' '.join(map(str, values['input']))} to {int(values['claim'])}"

    def parse(self, text: str) -> dict[str, NDArray[Any]]:
        m, registers = self.modulus, self.registers
        match = re.fullmatch(rf"(.*), modulo {m}, takes ((?:\d+ ){{{registers}}})to (\d+)", text.strip())
        if match is None:
            raise ValueError(f"statement {text!r}: expected 'P, modulo {m}, takes x0 ... to y' with {registers} registers")
        residues = [int(word) for word in (*match[2].split(), match[3])]
        if max(residues) >= m:
            raise ValueError(f"statement {text!r}: a residue is outside 0..{m - 1}")
        *first, claim = residues
        names = ("op", "register", "operand")
        program = dict(zip(names, program_from_text(match[1], registers, m, self.length), strict=True))
        return {**program, "input": np.array(first, np.int8), "claim": np.array(claim, np.int8)}

    def render_utterance(self, kind: str, fields: tuple[Field, ...], symbols: NDArray[Any]) -> str:
        if kind != "message":
            return super().render_utterance(kind, fields, symbols)
        lines, values = symbols[: fields[0].size], symbols[fields[0].size :].reshape(fields[1].shape)
        return "; ".join(f"{line}: {' '.join(map(str, state))}" for line, state in zip(lines, values, strict=True))

    def parse_utterance(self, kind: str, fields: tuple[Field, ...], text: str) -> NDArray[Any]:
        if kind != "message":
            return super().parse_utterance(kind, fields, text)
        states = [re.fullmatch(rf"(\d+):((?: \d+){{{self.registers}}})", state.strip()) for state in text.split(";")]
        found = [state for state in states if state]
        if len(found) < len(states) or len(states) != fields[0].size:
            raise ValueError(f"{kind} {text!r}: expected {fields[0].size} times 'line: r0 ...', separated by ';'")
        return np.array([*(s[1] for s in found), *(x for s in found for x in s[2].split())], dtype=np.int32)
