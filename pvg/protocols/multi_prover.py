"""multi_prover: two provers who do not hear each other, and a verdict on both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from pvg.lane import lane
from pvg.protocol import VERDICT, Protocol, ProtocolRules, Role, Row, next_turn, protocols, score
from pvg.task import Proof, Task

VERIFIER = 2


@protocols.register("multi_prover")
@dataclass(frozen=True)
class MultiProver(Protocol):
    """Two provers, who both want acceptance whatever the truth, are heard apart, and the verifier holds one against the other.

    Of a proof with questions, round i (a question and a message, in the order of its script) is prover i mod 2's. Of a proof of one
    message, both say theirs at once.
    Paid: each prover 1 if accepted, else 0 (-1 for an illegal message); the verifier 1 if right, -1 if wrong, 0 for "don't know".
    Source: Ben-Or, Goldwasser, Kilian & Wigderson 1988; rewards as in Hammond & Adam-Day 2024.

    The reference verifier of one message each accepts if both pass the proof's check.
    """

    complexity: ClassVar[str] = "NEXP"

    roles = (
        Role("prover_0", "prover", minimum=-1.0),
        Role("prover_1", "prover", minimum=-1.0),
        Role("verifier", "verifier", minimum=-1.0),
    )

    def rows(self, task: Task, proof: Proof | None) -> tuple[Row, ...]:
        if task.answers != 2:
            raise ValueError(f"it is about acceptance, and the task has {task.answers} answers")
        script = proof.script if proof else ()
        shown = [f.name for f in proof.fields if "prover" in f.seen_by] if proof else []
        if shown:
            raise ValueError(f"each prover would see what is made of the other's messages, {shown}")
        if proof is not None and script == ("message",):
            if proof.evidence is not None:
                raise ValueError("evidence is of one message, and two are heard")
            both = (Row(0, (f"prover_{i}",), "message", i, ("verifier",)) for i in range(2))
            return (*both, Row(1, ("verifier",), VERDICT))
        kinds = tuple("message" if kind == "second_message" else kind for kind in script)
        orders = (("question", "message") * 2, ("message", "question") * 2)
        if not kinds or kinds not in [order * (len(kinds) // 4) for order in orders]:
            raise ValueError(f"it needs one message, or questions and messages in an even number of rounds; the script is {script}")
        rows = []
        for slot, kind in enumerate(script):
            prover = f"prover_{slot // 2 % 2}"
            speaker, hearer = ("verifier", prover) if kind == "question" else (prover, "verifier")
            rows.append(Row(slot, (speaker,), kind, slot, (hearer,)))
        return (*rows, Row(len(rows), ("verifier",), VERDICT))

    def build(self, task: Task, proof: Proof | None) -> ProtocolRules:
        assert proof is not None, "rows has seen to it"
        answers, judge = task.answers, proof.check

        @lane
        def deal(s: Any, tables: Any) -> None:
            s.side[0] = s.side[1] = 1

        @lane
        def pay(s: Any, tables: Any, reward: Any) -> None:
            if s.turn < 0:
                for prover in range(VERIFIER):
                    reward[prover] += s.verdict == 1
                reward[VERIFIER] += score(s.verdict, s.truth, answers)

        @lane
        def both(s: Any, tables: Any) -> Any:
            return 1 if judge(s, tables, 0) == 1 and judge(s, tables, 1) == 1 else 0

        return ProtocolRules(deal=deal, after=next_turn, pay=pay, check=both if proof.script == ("message",) else None)
