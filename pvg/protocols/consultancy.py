"""consultancy: one expert, told which answer to argue for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pvg.lane import draw, lane
from pvg.protocol import Protocol, ProtocolRules, Role, Row, next_turn, protocols, score, script_rows
from pvg.task import Proof, Task

CONSULTANT, VERIFIER = 0, 1


@protocols.register("consultancy")
@dataclass(frozen=True)
class Consultancy(Protocol):
    """The consultant argues for the answer it is told, the true one or (half the time) another; the verifier asks and decides.

    Paid: the consultant 1 if the verdict is the answer it argues for, else 0 (-1 for an illegal message); the verifier 1 if
        right, -1 if wrong, 0 for "don't know".
    Source: the baseline of debate, Michael et al. 2023 and Khan et al. 2024.
    """

    roles = (
        Role("consultant", "prover", minimum=-1.0, sees=("side",)),
        Role("verifier", "verifier", minimum=-1.0),
    )

    def rows(self, task: Task, proof: Proof | None) -> tuple[Row, ...]:
        if proof is None or not set(proof.script) <= {"message", "question"}:
            raise ValueError(f"it needs messages and questions; the proof's script is {proof.script if proof else ()}")
        if set(proof.proves) != set(range(task.answers)):
            raise ValueError(f"any answer may be argued, and it proves {proof.proves} alone")
        return script_rows(proof, {"message": "consultant", "question": "verifier"}, self.roles)

    def build(self, task: Task, proof: Proof | None) -> ProtocolRules:
        answers = task.answers

        @lane
        def deal(s: Any, tables: Any) -> None:
            s.side[CONSULTANT] = s.truth
            if draw(s, 2) == 0:
                s.side[CONSULTANT] = (s.truth + 1 + draw(s, answers - 1)) % answers

        @lane
        def pay(s: Any, tables: Any, reward: Any) -> None:
            if s.turn < 0:
                reward[CONSULTANT] += s.verdict == s.side[CONSULTANT]
                reward[VERIFIER] += score(s.verdict, s.truth, answers)

        return ProtocolRules(deal=deal, after=next_turn, pay=pay)
