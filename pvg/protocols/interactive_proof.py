"""interactive_proof: messages and questions in the order of the proof's script, or freely, then the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from pvg.field import Field
from pvg.lane import lane
from pvg.protocol import VERDICT, Protocol, ProtocolRules, Role, Row, protocols, script_rows
from pvg.protocols.prover_verifier import VERIFIER, acceptance
from pvg.task import Proof, Task


@protocols.register("interactive_proof")
@dataclass(frozen=True)
class InteractiveProof(Protocol):
    """The prover, who wants acceptance whatever the truth, and the verifier talk; the verifier decides.

    A proof with questions is played as its script has it. A proof of one message is exchanged freely: the verifier asks, the prover
    sends a message, in turn; a question is one symbol, and what it means is for the two to learn.

    asks: "verifier", or "nature", who tosses the reference verifier's coins in its stead: the game of a verifier that only
        judges, against questions that cannot be foreseen. Default "verifier".
    rounds: of a free exchange, how many messages, 1..63 (42 with `early`). Default None: no free exchange.
    first: of a free exchange, who speaks first, "verifier" or "prover". Default "verifier".
    questions: of a free exchange, how many questions there are, 2..127. Default 2.
    early: whether the verifier may decide after every message from the `minimum`-th on; "don't know" is then to go on, and what
        it says last ends the game. Default False: it decides once, at the end.
    minimum: 1..63, at most the messages there are. Default 1.
    penalty: what "don't know" costs the verifier at the end, 0..1. Default 0; 1 in Hammond & Adam-Day.
    bonus: what it is paid each time it goes on, 0..1. Default 0; 0 or 0.05 in Hammond & Adam-Day.
    Paid: the prover 1 if accepted, else 0 (-1 for an illegal message); the verifier 1 if right, -1 if wrong, `-penalty` for a last
        "don't know", and each `bonus`.
    Source: Goldwasser, Micali & Rackoff 1985; rewards and the free exchange as in Hammond & Adam-Day 2024.

    The reference verifier of a script goes on to its end. In a free exchange it asks 0, accepts once a message passes the proof's
    check, and rejects at the end; where a proof has evidence, that is of the latest message, and so is the verdict.
    """

    complexity: ClassVar[str] = "PSPACE"

    asks: Literal["verifier", "nature"] = "verifier"
    rounds: int | None = None
    first: Literal["verifier", "prover"] = "verifier"
    questions: int = 2
    early: bool = False
    minimum: int = 1
    penalty: float = 0.0
    bonus: float = 0.0

    def __post_init__(self) -> None:
        if self.asks not in ("verifier", "nature"):
            raise ValueError(f"InteractiveProof: asks={self.asks!r} is neither 'verifier' nor 'nature'")
        if self.first not in ("verifier", "prover"):
            raise ValueError(f"InteractiveProof: first={self.first!r} is neither 'verifier' nor 'prover'")
        for name, low, high in (("rounds", 1, 63), ("questions", 2, 127), ("minimum", 1, 63), ("penalty", 0, 1), ("bonus", 0, 1)):
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ValueError(f"InteractiveProof: {name}={value} is outside {low}..{high}")
        if self.rounds is None and (self.first, self.questions) != ("verifier", 2):
            free = f"first={self.first!r} and questions={self.questions} are of a free exchange"
            raise ValueError(f"InteractiveProof: {free}, which needs rounds, and rounds=None")
        if self.rounds is not None and self.asks == "nature":
            raise ValueError(f"InteractiveProof: asks='nature' is for a script's questions, and rounds={self.rounds} has none")
        if not self.early and (self.minimum, self.bonus) != (1, 0):
            raise ValueError(f"InteractiveProof: minimum={self.minimum} and bonus={self.bonus} need early=True")

    @property
    def roles(self) -> tuple[Role, ...]:  # type: ignore[override]
        players = (Role("prover", "prover", minimum=-1.0), Role("verifier", "verifier", minimum=-1.0))
        return players if self.asks == "verifier" else (*players, Role("nature", "nature", minimum=0.0))

    def kinds(self, task: Task, proof: Proof | None) -> Mapping[str, tuple[Field, ...]]:
        return {} if self.rounds is None else {"question": (Field("question", self.questions),)}

    def rows(self, task: Task, proof: Proof | None) -> tuple[Row, ...]:
        if task.answers != 2:
            raise ValueError(f"it is about acceptance, and the task has {task.answers} answers")
        script = proof.script if proof else ()
        if "second_message" in script:
            raise ValueError("it is a proof of two provers who do not hear each other, and unsound with one")
        if proof is None or not set(script) <= {"message", "question"}:
            raise ValueError(f"it needs messages and questions; the proof's script is {script}")
        if script == ("message",):
            if self.rounds is None:
                raise ValueError("a proof of one message is exchanged freely, in so many `rounds`, and rounds=None")
            script = (("question", "message") * self.rounds)[self.first == "prover" :]
        elif self.rounds is not None:
            raise ValueError(f"its script fixes rounds and order, and rounds={self.rounds}")
        if self.early and self.minimum > script.count("message"):
            raise ValueError(f"minimum={self.minimum}, and it has {script.count('message')} messages")
        rows: list[Row] = []
        heard = 0
        for row in script_rows(replace(proof, script=script), {"message": "prover", "question": self.asks}, self.roles):
            rows.append(replace(row, turn=len(rows)))
            heard += row.kind == "message"
            if self.early and row.kind == "message" and heard >= self.minimum and row.turn < len(script) - 1:
                rows.append(Row(len(rows), ("verifier",), VERDICT))
        return tuple(rows)

    def build(self, task: Task, proof: Proof | None) -> ProtocolRules:
        assert proof is not None, "rows has seen to it"
        answers, penalty, judge, rules = task.answers, self.penalty, proof.check, acceptance(task)
        rows, free, latest = self.rows(task, proof), self.rounds is not None, proof.evidence is not None
        last, paid = len(rows) - 1, rules.pay
        going_on = np.array([self.bonus if row.kind == VERDICT else 0.0 for row in rows])
        slots = np.array([row.slot for row in rows if row.kind == "message"])
        heard = np.array([sum(row.kind == "message" for row in rows[:turn]) for turn in range(len(rows))])

        @lane
        def after(s: Any, tables: Any) -> Any:
            return -1 if 0 <= s.verdict < answers else s.turn + 1

        @lane
        def pay(s: Any, tables: Any, reward: Any) -> None:
            paid(s, tables, reward)
            if s.turn > 0:
                reward[VERIFIER] += going_on[s.turn - 1]
            elif s.verdict == answers:
                reward[VERIFIER] -= penalty

        @lane
        def tell(s: Any, tables: Any, role: Any, slot: Any, honest: Any, out: Any) -> None:
            out[0] = 0

        @lane
        def check(s: Any, tables: Any) -> Any:
            if free:
                n = heard[s.turn]
                for k in range(n - 1 if latest else 0, n):
                    if judge(s, tables, slots[k]) == 1:
                        return 1
                return 0 if s.turn == last else answers
            return judge(s, tables, 0) if s.turn == last else answers

        return replace(rules, after=after, pay=pay, tell=tell, check=check)
