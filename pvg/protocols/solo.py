"""solo: the verifier alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pvg.lane import lane
from pvg.protocol import Protocol, ProtocolRules, Role, Row, next_turn, protocols, score
from pvg.task import Proof, Task


@protocols.register("solo")
@dataclass(frozen=True)
class Solo(Protocol):
    """No prover: what the verifier can do by itself, the floor every protocol is held against.

    Paid: the verifier 1 if right, -1 if wrong, 0 for "don't know".
    Source: the baseline without a prover, as in Hammond & Adam-Day 2024.
    """

    roles = (Role("verifier", "verifier", minimum=-1.0),)
    table = (Row(0, ("verifier",), "verdict"),)

    def build(self, task: Task, proof: Proof | None) -> ProtocolRules:
        answers = task.answers

        @lane
        def deal(s: Any, tables: Any) -> None:
            pass

        @lane
        def pay(s: Any, tables: Any, reward: Any) -> None:
            if s.turn < 0:
                reward[0] += score(s.verdict, s.truth, answers)

        return ProtocolRules(deal=deal, after=next_turn, pay=pay)
