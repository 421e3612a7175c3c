"""open_consultancy: one expert, who picks the answer it argues for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pvg.field import Field
from pvg.lane import lane
from pvg.protocol import ProtocolRules, Row, protocols
from pvg.protocols.consultancy import CONSULTANT, Consultancy
from pvg.protocols.debate import opened, picked
from pvg.task import Proof, Task


@protocols.register("open_consultancy")
@dataclass(frozen=True)
class OpenConsultancy(Consultancy):
    """The consultant states the answer it will argue for, true or not, and argues for it; the judge asks and decides.

    What follows the answer is a consultancy, of the same proofs. Accuracy is to be told apart by whether the pick, `s.side` of
    the consultant, is right. The textbook consultant picks the truth; a dishonest one half the time a wrong answer.
    questions: as in consultancy; default 0.
    Paid: the consultant 1 if the verdict is the answer it stated, else 0 (-1 for an illegal message); the judge 1 if right, -1
        if wrong, 0 for "don't know".
    Source: Kenton et al. 2024.
    """

    def kinds(self, task: Task, proof: Proof | None) -> Mapping[str, tuple[Field, ...]]:
        return {"answer": (Field("answer", task.answers),), **super().kinds(task, proof)}

    def rows(self, task: Task, proof: Proof | None) -> tuple[Row, ...]:
        return opened(super().rows(task, proof), self.roles)

    def build(self, task: Task, proof: Proof | None) -> ProtocolRules:
        answers, opening = task.answers, self.rows(task, proof)[0].slot

        @lane
        def deal(s: Any, tables: Any) -> None:
            pass

        @lane
        def after(s: Any, tables: Any) -> Any:
            if s.turn == 0:
                s.side[CONSULTANT] = s.said[opening, 0]
            return s.turn + 1

        @lane
        def tell(s: Any, tables: Any, role: Any, slot: Any, honest: Any, out: Any) -> None:
            out[0] = picked(s, honest, answers) if slot == opening else 0

        return replace(super().build(task, proof), deal=deal, after=after, tell=tell)
