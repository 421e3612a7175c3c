"""Proofs of a chain of states, each made from the one before by a bijection: the states between, or a bisection."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pvg.field import Field
from pvg.lane import LaneFunction, draw, lane
from pvg.task import Proof, TaskRules


def chain_rules(sample: LaneFunction, steps: int, states: int, apply: LaneFunction, undo: LaneFunction) -> TaskRules:
    """The rules of a task that deals such a chain: its proofs, and the claim stated by a prover."""
    state_at = _running(apply)

    @lane
    def solve(s: Any, tables: Any, out: Any) -> None:
        out[0] = state_at(s, tables, steps)

    @lane
    def restate(s: Any, tables: Any, symbols: Any) -> None:
        s.claim = symbols[0]
        s.truth = 1 if s.claim == state_at(s, tables, steps) else 0

    return TaskRules(sample, chain_proofs(steps, states, apply, undo), solve, restate)


def _running(apply: LaneFunction) -> LaneFunction:
    """state_at(s, tables, step): the state after so many steps."""

    @lane
    def state_at(s: Any, tables: Any, step: Any) -> Any:
        state = np.int64(s.start)
        for j in range(step):
            state = apply(s, tables, j, state)
        return state

    return state_at


def chain_proofs(steps: int, states: int, apply: LaneFunction, undo: LaneFunction) -> dict[str, Proof]:
    """The proofs `transcript` and `bisection` of a task whose field `start` becomes `claim` in `steps` >= 2 steps.

    apply(s, tables, j, state): the state after step j; undo: the one before. states: how many there are.
    """

    @lane
    def another(s: Any, state: Any) -> Any:
        return (state + 1 + draw(s, states - 1)) % states

    @lane
    def check_step(s: Any, tables: Any, slot: Any, j: Any) -> Any:
        before = np.int64(s.said[slot, j - 1]) if j > 0 else np.int64(s.start)
        after = np.int64(s.said[slot, j]) if j < steps - 1 else np.int64(s.claim)
        return 1 if apply(s, tables, j, before) == after else 0

    @lane
    def honest(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
        state = np.int64(s.start)
        for j in range(steps - 1):
            state = apply(s, tables, j, state)
            out[j] = state

    @lane
    def random(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
        for j in range(steps - 1):
            out[j] = draw(s, states)

    @lane
    def several_wrong_steps(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
        first = draw(s, steps - 1)
        second = (first + 1 + draw(s, steps - 2)) % (steps - 1) if steps > 2 else first
        state = np.int64(s.start)
        for j in range(steps - 1):
            state = apply(s, tables, j, state)
            if j in (first, second) or draw(s, 4) == 0:
                state = another(s, state)
            out[j] = state

    @lane
    def wrong_at(s: Any, tables: Any, step: Any, out: Any) -> None:
        honest(s, tables, 1, 0, out)
        state = np.int64(s.claim)
        for j in range(steps - 1, step, -1):
            state = undo(s, tables, j, state)
            out[j - 1] = state

    @lane
    def consistent_backwards(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
        wrong_at(s, tables, 0, out)

    @lane
    def true_transcript(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
        wrong_at(s, tables, steps - 1, out)

    @lane
    def one_wrong_step(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
        wrong_at(s, tables, draw(s, steps), out)

    transcript = Proof(
        kinds={"message": (Field("partial", states, (steps - 1,), ("step",)),)},
        honest=honest,
        dishonest={
            "random": random,
            "several_wrong_steps": several_wrong_steps,
            "consistent_backwards": consistent_backwards,
            "true_transcript": true_transcript,
            "one_wrong_step": one_wrong_step,
        },
        check=every_step(steps, check_step),
        path=("start", "partial", "claim"),
        steps=steps,
        check_step=check_step,
    )
    return {"transcript": transcript, "bisection": _bisection(steps, states, apply, undo)}


def every_step(steps: int, check_step: LaneFunction) -> LaneFunction:
    """The check of a message that is right if all of its steps are."""

    @lane
    def check(s: Any, tables: Any, first: Any) -> Any:
        for j in range(steps):
            if check_step(s, tables, first, j) == 0:
                return 0
        return 1

    return check


def rounds(steps: int) -> int:
    """How many halvings leave one step of so many."""
    return math.ceil(math.log2(steps))


@lane
def interval(s: Any, steps: Any, slot: Any) -> Any:
    """What is in dispute before utterance `slot` of a bisection: the steps from `low` up to `high`, and the slots in which
    the states at both ends were said (-1: the statement's own start, the claim).
    """
    low, high, low_slot, high_slot = 0, steps, -1, -1
    for k in range(1, slot, 2):
        middle = (low + high) // 2
        if high - low > 1:
            if s.said[k, 0] == 0:
                high, high_slot = middle, k - 1
            else:
                low, low_slot = middle, k - 1
    return low, high, low_slot, high_slot


def _bisection(steps: int, states: int, apply: LaneFunction, undo: LaneFunction) -> Proof:
    """Even slots: the state in the middle of what is in dispute; odd slots: 0 if the half before it is wrong, 1 if the half
    after it is. Where one step is left, nothing that is said changes it.
    """
    script = ("message", "challenge") * rounds(steps)
    last, state_at = len(script), _running(apply)

    @lane
    def check(s: Any, tables: Any, first: Any) -> Any:
        low, _, low_slot, high_slot = interval(s, steps, last)
        before = np.int64(s.start) if low_slot < 0 else np.int64(s.said[low_slot, 0])
        after = np.int64(s.claim) if high_slot < 0 else np.int64(s.said[high_slot, 0])
        return 1 if apply(s, tables, low, before) == after else 0

    @lane
    def honest(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
        low, high, _, _ = interval(s, steps, slot)
        state = state_at(s, tables, (low + high) // 2)
        if slot % 2 == 0:
            out[0] = state
        else:
            out[0] = 1 if s.said[slot - 1, 0] == state else 0

    @lane
    def random(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
        out[0] = draw(s, states if slot % 2 == 0 else 2)

    @lane
    def consistent_backwards(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
        if slot % 2 == 1:
            honest(s, tables, side, slot, out)
            out[0] = 1 - out[0]
            return
        low, high, _, _ = interval(s, steps, slot)
        state = np.int64(s.claim)
        for j in range(steps - 1, (low + high) // 2 - 1, -1):
            state = undo(s, tables, j, state)
        out[0] = state

    return Proof(
        kinds={"message": (Field("middle", states),), "challenge": (Field("half", 2, kind="bit"),)},
        script=script,
        honest=honest,
        dishonest={"random": random, "consistent_backwards": consistent_backwards},
        check=check,
    )
