"""prover_verifier: one message, then the verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from pvg.lane import lane
from pvg.protocol import Protocol, ProtocolRules, Role, Row, next_turn, protocols, score
from pvg.task import Proof, Task

PROVER, VERIFIER = 0, 1


@protocols.register("prover_verifier")
@dataclass(frozen=True)
class ProverVerifier(Protocol):
    """The prover, who wants acceptance whatever the truth, sends one message; the verifier hears it and decides.

    Paid: the prover 1 if accepted, else 0 (-1 for an illegal message); the verifier 1 if right, -1 if wrong, 0 for
        "don't know".
    Source: the decision problem of Anil, Zhang, Wu & Grosse 2021 (the prover always argues one answer); rewards as in
        Hammond & Adam-Day 2024.
    """

    complexity: ClassVar[str] = "NP"

    roles = (Role("prover", "prover", minimum=-1.0), Role("verifier", "verifier", minimum=-1.0))
    table = (
        Row(0, ("prover",), "message", slot=0, hearers=("verifier",)),
        Row(1, ("verifier",), "verdict"),
    )

    def rows(self, task: Task, proof: Proof | None) -> tuple[Row, ...]:
        if task.answers != 2:
            raise ValueError(f"it is about acceptance, and the task has {task.answers} answers")
        if proof is None or proof.script != ("message",):
            raise ValueError(f"its one utterance is a message; the proof's script is {proof.script if proof else ()}")
        return self.table

    def build(self, task: Task, proof: Proof | None) -> ProtocolRules:
        return acceptance(task)


def acceptance(task: Task) -> ProtocolRules:
    """Role 0 argues for acceptance and is paid 1 for it; role 1 is paid for being right."""
    answers = task.answers

    @lane
    def deal(s: Any, tables: Any) -> None:
        s.side[PROVER] = 1

    @lane
    def pay(s: Any, tables: Any, reward: Any) -> None:
        if s.turn < 0:
            reward[PROVER] += s.verdict == 1
            reward[VERIFIER] += score(s.verdict, s.truth, answers)

    return ProtocolRules(deal=deal, after=next_turn, pay=pay)
