"""open_debate: the protagonist picks the answer it argues for, the antagonist gets the other one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pvg.field import Field
from pvg.lane import lane
from pvg.protocol import Protocol, ProtocolRules, Role, Row, protocols
from pvg.protocols.debate import (
    Order,
    another,
    between,
    check_settings,
    debaters_paid,
    messages_heard,
    opened,
    picked,
    proven,
    question,
    turns_of,
    weighed,
)
from pvg.task import Proof, Task

PROTAGONIST, ANTAGONIST = 0, 1


@protocols.register("open_debate")
@dataclass(frozen=True)
class OpenDebate(Protocol):
    """The protagonist states the answer it will argue for; against it the antagonist argues for the truth, or a wrong answer.

    The antagonist's is the truth if the protagonist picked a wrong answer, else a wrong one, drawn. All hear both, and what
    follows is a debate with precommitted answers, of the same proofs. Accuracy is to be told apart by whether the pick,
    `s.side` of the protagonist, is right. The textbook protagonist picks the truth, a dishonest one half the time a wrong answer.
    order: "sequential" (default) or "simultaneous". turns: 1..16, default 1. questions: 0 (default) or 2..1024. As in debate.
    Paid: a debater 1 if the verdict is its answer, else 0 (-1 for an illegal message); the judge 1 if right, -1 if wrong, 0 for
        "don't know".
    Source: Kenton et al. 2024.
    """

    order: Order = "sequential"
    turns: int = 1
    questions: int = 0

    roles = (
        Role("protagonist", "prover", minimum=-1.0, sees=("side",)),
        Role("antagonist", "prover", minimum=-1.0, sees=("side",)),
        Role("judge", "verifier", minimum=-1.0),
    )

    def __post_init__(self) -> None:
        check_settings(self)

    def kinds(self, task: Task, proof: Proof | None) -> Mapping[str, tuple[Field, ...]]:
        return {"answer": (Field("answer", task.answers),), **question(self.questions)}

    def fields(self, task: Task, proof: Proof | None) -> tuple[Field, ...]:
        return (Field("stated", task.answers, (2,), ("debater",), seen_by=("prover", "verifier"), blank=True),)

    def rows(self, task: Task, proof: Proof | None) -> tuple[Row, ...]:
        messages = messages_heard(task, proof, self.turns)
        debaters = ("protagonist", "antagonist")
        return opened(turns_of(messages, debaters, "judge", self.order == "simultaneous", self.questions), self.roles)

    def build(self, task: Task, proof: Proof | None) -> ProtocolRules:
        answers, opening = task.answers, self.rows(task, proof)[0].slot

        @lane
        def deal(s: Any, tables: Any) -> None:
            pass

        @lane
        def after(s: Any, tables: Any) -> Any:
            if s.turn == 0:
                pick = np.int64(s.said[opening, 0])
                s.side[PROTAGONIST] = pick
                s.side[ANTAGONIST] = another(s, answers) if pick == s.truth else s.truth
                for debater in range(2):
                    s.stated[debater] = s.side[debater]
            return s.turn + 1

        @lane
        def tell(s: Any, tables: Any, role: Any, slot: Any, honest: Any, out: Any) -> None:
            out[0] = picked(s, honest, answers) if slot == opening else 0

        check = between(proof) if weighed(proof) else proven(proof, messages_heard(task, proof, self.turns))
        return ProtocolRules(deal=deal, after=after, pay=debaters_paid(answers, precommit=True), tell=tell, check=check)
