"""consultancy: one expert, told which answer to argue for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pvg.field import Field
from pvg.lane import draw, lane
from pvg.protocol import Protocol, ProtocolRules, Role, Row, next_turn, protocols, score, script_rows
from pvg.protocols.debate import another, check_settings, question, turns_of
from pvg.task import Proof, Task

CONSULTANT, JUDGE = 0, 1


@protocols.register("consultancy")
@dataclass(frozen=True)
class Consultancy(Protocol):
    """The consultant argues for the answer it is told, the true one or (half the time) another; the judge asks and decides.

    The proof's script of messages and questions says who speaks when. A consultant told to argue for what the proof does not
    prove has nothing to prove: the textbook one says the honest message of a true answer, and anything at all for a false one.
    questions: where the script is several messages and no question, how many symbols the judge has for one of its own before
        every message but the first, 2..1024; 0 (default): it asks none. The reference judge asks 0.
    Paid: the consultant 1 if the verdict is the answer it argues for, else 0 (-1 for an illegal message); the judge 1 if
        right, -1 if wrong, 0 for "don't know".
    Source: the baseline of debate, Michael et al. 2023 and Khan et al. 2024.
    """

    questions: int = 0

    roles = (
        Role("consultant", "prover", minimum=-1.0, sees=("side",)),
        Role("judge", "verifier", minimum=-1.0),
    )

    def __post_init__(self) -> None:
        check_settings(self)

    def kinds(self, task: Task, proof: Proof | None) -> Mapping[str, tuple[Field, ...]]:
        return question(self.questions)

    def rows(self, task: Task, proof: Proof | None) -> tuple[Row, ...]:
        if proof is None or "message" not in proof.script or not set(proof.script) <= {"message", "question"}:
            raise ValueError(f"it needs messages and questions; the proof's script is {proof.script if proof else ()}")
        if self.questions == 0:
            return script_rows(proof, {"message": "consultant", "question": "judge"}, self.roles)
        if "question" in proof.script:
            raise ValueError(f"questions={self.questions}: the proof's script has questions of its own, {proof.script}")
        return turns_of(len(proof.script), ("consultant",), "judge", simultaneous=False, questions=self.questions)

    def build(self, task: Task, proof: Proof | None) -> ProtocolRules:
        answers = task.answers

        @lane
        def deal(s: Any, tables: Any) -> None:
            s.side[CONSULTANT] = s.truth
            if draw(s, 2) == 0:
                s.side[CONSULTANT] = another(s, answers)

        @lane
        def pay(s: Any, tables: Any, reward: Any) -> None:
            if s.turn < 0:
                reward[CONSULTANT] += s.verdict == s.side[CONSULTANT]
                reward[JUDGE] += score(s.verdict, s.truth, answers)

        @lane
        def tell(s: Any, tables: Any, role: Any, slot: Any, honest: Any, out: Any) -> None:
            out[0] = 0

        return ProtocolRules(deal=deal, after=next_turn, pay=pay, tell=tell)
