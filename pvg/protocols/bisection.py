"""bisection: a prover and a challenger halve a computation until the verifier can check one step of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pvg.lane import lane
from pvg.protocol import Protocol, ProtocolRules, Role, Row, next_turn, protocols, score, script_rows
from pvg.task import Proof, Task

PROVER, CHALLENGER, VERIFIER = 0, 1, 2


@protocols.register("bisection")
@dataclass(frozen=True)
class Bisection(Protocol):
    """The prover names the state in the middle, the challenger says which half is wrong; the verifier checks what is left.

    Sound as long as one of the two is honest; without any guarantee if neither is.
    Paid: the prover 1 if accepted, the challenger 1 if not, else 0 (-1 for an illegal message); the verifier 1 if right, -1
        if wrong, 0 for "don't know".
    Source: refereed delegation of computation, Canetti, Riva & Rothblum 2011.
    """

    roles = (
        Role("prover", "prover", minimum=-1.0),
        Role("challenger", "prover", minimum=-1.0),
        Role("verifier", "verifier", minimum=-1.0),
    )

    def rows(self, task: Task, proof: Proof | None) -> tuple[Row, ...]:
        if proof is None or set(proof.script) != {"message", "challenge"}:
            raise ValueError(f"it needs messages and challenges; the proof's script is {proof.script if proof else ()}")
        return script_rows(proof, {"message": "prover", "challenge": "challenger"}, self.roles)

    def build(self, task: Task, proof: Proof | None) -> ProtocolRules:
        return refereed(task)


def refereed(task: Task) -> ProtocolRules:
    """Role 0 argues for acceptance and role 1 against it, each paid 1 for it; role 2 is paid for being right."""
    answers = task.answers

    @lane
    def deal(s: Any, tables: Any) -> None:
        s.side[PROVER], s.side[CHALLENGER] = 1, 0

    @lane
    def pay(s: Any, tables: Any, reward: Any) -> None:
        if s.turn < 0:
            reward[PROVER] += s.verdict == 1
            reward[CHALLENGER] += s.verdict == 0
            reward[VERIFIER] += score(s.verdict, s.truth, answers)

    return ProtocolRules(deal=deal, after=next_turn, pay=pay)
