"""A register machine: residues modulo m in a few registers, a program of numbered lines, jumps between them.

A line is an operation with a register and an operand. The operations 0..11 are six verbs, each with a register (even) or a
constant (odd) as operand: set, add, sub, mul, and equal and less, which put 1 or 0 into the register they compare. The
others jump to the line that is the operand: always, if the register is 0, if it is not. The line after the last, `end`,
halts: nothing happens there any more.

A state is one integer: WIDTH bits for each register, register 0 lowest, then the program counter.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pvg.field import Field
from pvg.lane import LaneFunction, draw, lane

VERBS = ("set", "add", "sub", "mul", "equal", "less")
JUMPS = ("jump", "jump_if_zero", "jump_if_not_zero")
JUMP = 2 * len(VERBS)
OPERATIONS = JUMP + len(JUMPS)
WIDTH = 7
MASK = 2**WIDTH - 1
REGISTERS = 8  # with the counter, as many as a state holds

Program = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]  # op, register, operand: ... line


def program_fields(registers: int, modulus: int, length: int, programs: int = 0) -> tuple[Field, ...]:
    """The fields of a program's lines, or of so many programs' as `program line`."""
    shape, axes = (length,), ("instruction",)
    if programs:
        shape, axes = (programs, length), ("program", "instruction")  # type: ignore[assignment]
    return (
        Field("op", OPERATIONS, shape, axes),
        Field("register", registers, shape, axes),
        Field("operand", max(registers, modulus, length + 1), shape, axes, "number"),
    )


@lane
def read(state: Any, i: Any) -> Any:
    """What register i of a state holds; the program counter for i = registers."""
    return (state >> (WIDTH * i)) & MASK


@lane
def write(state: Any, i: Any, value: Any) -> Any:
    """The state after register i was set."""
    return state ^ ((read(state, i) ^ value) << (WIDTH * i))


def stepping(registers: int, modulus: int) -> LaneFunction:
    """The lane function step(op, register, operand, state) -> state after a line was executed."""

    @lane
    def step(op: Any, register: Any, operand: Any, state: Any) -> Any:
        line, x = read(state, registers), read(state, register)
        if op >= JUMP:
            taken = op == JUMP or (x == 0) == (op == JUMP + 1)
            return write(state, registers, operand if taken else line + 1)
        y = operand if op % 2 == 1 else read(state, operand)
        verb = op // 2
        if verb == 0:
            x = y
        elif verb == 1:
            x = (x + y) % modulus
        elif verb == 2:
            x = (x - y + modulus) % modulus
        elif verb == 3:
            x = x * y % modulus
        elif verb == 4:
            x = 1 if x == y else 0
        else:
            x = 1 if x < y else 0
        return write(write(state, register, x), registers, line + 1)

    return step


def drawing(registers: int, modulus: int, length: int) -> LaneFunction:
    """The lane function line(s, i, forward) -> (op, register, operand), a random line i: with probability 7/8 a verb, add, sub and
    mul thrice as often as the others, else a jump, to any other line or with `forward` to a later one. None jumps to `end`, so
    that the last line is executed last.
    """

    @lane
    def line(s: Any, i: Any, forward: Any) -> Any:
        if draw(s, 8) > 0:
            op = draw(s, JUMP) if draw(s, 2) == 0 else 2 + draw(s, 6)
            return op, draw(s, registers), draw(s, modulus if op % 2 == 1 else registers)
        op = JUMP + draw(s, len(JUMPS))
        target = i + 1 + draw(s, length - 1 - i if forward else length - 1)
        return op, draw(s, registers) if op > JUMP else 0, target % length

    return line


def instructions(registers: int, modulus: int, length: int) -> NDArray[np.int64]:
    """All lines there are, as rows of operation, register, operand."""
    plain = [(op, r, z) for op in range(JUMP) for r in range(registers) for z in range(modulus if op % 2 else registers)]
    jumps = [(op, r, z) for op in range(JUMP, OPERATIONS) for r in range(registers if op > JUMP else 1) for z in range(length + 1)]
    return np.array(plain + jumps)


def successors(registers: int, modulus: int, length: int) -> NDArray[np.int32]:
    """Where each line of `instructions` leads, as a table for many runs at once: `instruction state`, a state being the line it
    stands in times modulus**registers plus the registers' values as digits, register 0 lowest.
    """
    known, states = instructions(registers, modulus, length), modulus**registers
    op, r, z = known.T[:, :, None]
    values = np.arange(states) // modulus ** np.arange(registers)[:, None] % modulus  # register state
    x = values[known[:, 1]]  # instruction state
    y = np.where((op < JUMP) & (op % 2 == 0), values[np.minimum(known[:, 2], registers - 1)], z)
    results = (y, (x + y) % modulus, (x - y) % modulus, x * y % modulus, x == y, x < y, x)
    jumps = (op == JUMP) | ((op > JUMP) & ((x == 0) == (op == JUMP + 1)))
    after = np.arange(states) + (np.choose(np.minimum(op // 2, len(VERBS)), results) - x) * modulus**r
    line = np.where(jumps[:, None], z[:, None], np.arange(1, length + 1)[:, None])  # instruction line state
    halted = np.broadcast_to(np.arange(length * states, (length + 1) * states), (len(known), states))
    return np.concatenate([(line * states + after[:, None]).reshape(len(known), -1), halted], axis=1).astype(np.int32)


def program_text(op: NDArray[Any], register: NDArray[Any], operand: NDArray[Any]) -> str:
    """A program as `0: set r0 3; 1: jump_if_zero r1 end; ...`."""
    lines = []
    for i, (o, r, z) in enumerate(zip(op.tolist(), register.tolist(), operand.tolist(), strict=True)):
        if o < JUMP:
            words = [VERBS[o // 2], f"r{r}", str(z) if o % 2 else f"r{z}"]
        else:
            words = [JUMPS[o - JUMP], *([f"r{r}"] if o > JUMP else []), "end" if z == len(op) else str(z)]
        lines.append(f"{i}: {' '.join(words)}")
    return "; ".join(lines)


def program_from_text(text: str, registers: int, modulus: int, length: int) -> Program:
    """The program `program_text` wrote; ValueError names the line that is none."""
    lines = [_line_from_text(i, line.strip(), registers, modulus, length) for i, line in enumerate(text.split(";"))]
    if len(lines) != length:
        raise ValueError(f"program {text!r}: expected {length} lines, got {len(lines)}")
    op, register, operand = np.array(lines, dtype=np.int8).T
    return op, register, operand


def _line_from_text(i: int, text: str, registers: int, modulus: int, length: int) -> tuple[int, int, int]:
    plain = re.fullmatch(rf"{i}: ({'|'.join(VERBS)}) r(\d+) (r?)(\d+)", text)
    jump = re.fullmatch(rf"{i}: (?:(jump)|(jump_if_zero|jump_if_not_zero) r(\d+)) (\d+|end)", text)
    if plain:
        op = 2 * VERBS.index(plain[1]) + (plain[3] == "")
        register, operand, high = int(plain[2]), int(plain[4]), registers if plain[3] else modulus
    elif jump:
        op, register, high = JUMP + JUMPS.index(jump[1] or jump[2]), int(jump[3] or 0), length + 1
        operand = length if jump[4] == "end" else int(jump[4])
    if not (plain or jump) or register >= registers or operand >= high:
        raise ValueError(
            f"line {text!r}: expected '{i}: verb rA B' (B a residue below {modulus} or a register, verbs {', '.join(VERBS)}) or "
            f"'{i}: jump C', '{i}: jump_if_zero rA C', '{i}: jump_if_not_zero rA C' (C a line 0..{length - 1} or end), "
            f"with registers r0..r{registers - 1}"
        )
    return op, register, operand
