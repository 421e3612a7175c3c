"""merlin_arthur: Merlin or Morgana, and Arthur cannot tell which, shows him something; he decides or doesn't know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from pvg.lane import draw, lane
from pvg.protocol import VERDICT, Protocol, ProtocolRules, Role, Row, next_turn, protocols, score
from pvg.protocols.debate import another
from pvg.task import Proof, Task

MERLIN, MORGANA, ARTHUR = 0, 1, 2


@protocols.register("merlin_arthur")
@dataclass(frozen=True)
class MerlinArthur(Protocol):
    """One of two provers is drawn: Merlin argues for the truth, Morgana for a wrong answer; Arthur, not knowing who, decides.

    Three games have this name. In Waldchen's, played here, what is sent is a feature of a data point, "don't know" is safe,
    Merlin may mean well and still code the class in features that tell nothing of it, and what is promised is the average
    precision of what he shows, by way of completeness, and soundness against Morgana. The class MA has one prover, whose message a
    verifier with coins checks, and nobody who means well. Hammond's MAC draws one of two provers, each with its fixed answer,
    whose verdict is one of two and who are paid as in a debate.
    The proof's script of messages is all the drawn prover's. The reference Arthur is the proof's check.
    Paid: Merlin, where he spoke, 1 if the verdict is right; Morgana, where she did, 1 if it is a wrong answer; else 0 (-1 for an
        illegal message); Arthur 1 if right, -1 if wrong, 0 for "don't know".
    Source: Waldchen, Sharma, Turan, Zimmer & Pokutta 2024.
    """

    complexity: ClassVar[str] = "MA"

    roles = (
        Role("merlin", "prover", minimum=-1.0, sees=("side",)),
        Role("morgana", "prover", minimum=-1.0, sees=("side",)),
        Role("arthur", "verifier", minimum=-1.0),
    )

    def rows(self, task: Task, proof: Proof | None) -> tuple[Row, ...]:
        if proof is None or set(proof.script) != {"message"}:
            raise ValueError(f"it needs messages alone; the proof's script is {proof.script if proof else ()}")
        said = len(proof.script)
        rows = (Row(slot, ("merlin", "morgana"), "message", slot, ("arthur",)) for slot in range(said))
        return (*rows, Row(said, ("arthur",), VERDICT))

    def build(self, task: Task, proof: Proof | None) -> ProtocolRules:
        answers = task.answers

        @lane
        def deal(s: Any, tables: Any) -> None:
            s.speaker = draw(s, 2)
            s.side[MERLIN] = s.truth
            s.side[MORGANA] = another(s, answers)

        @lane
        def pay(s: Any, tables: Any, reward: Any) -> None:
            if s.turn < 0:
                if s.speaker == MERLIN:
                    reward[MERLIN] += s.verdict == s.truth
                else:
                    reward[MORGANA] += s.verdict != s.truth and s.verdict != answers
                reward[ARTHUR] += score(s.verdict, s.truth, answers)

        return ProtocolRules(deal=deal, after=next_turn, pay=pay)
