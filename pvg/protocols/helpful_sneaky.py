"""helpful_sneaky: the prover states the claim itself, told to state a right one or a wrong one, and argues for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pvg.field import Field
from pvg.lane import draw, lane
from pvg.protocol import VERDICT, Protocol, ProtocolRules, Role, Row, protocols, score
from pvg.task import Proof, Task

PROVER, VERIFIER = 0, 1
CLAIM, MESSAGE = 0, 1  # slots


@protocols.register("helpful_sneaky")
@dataclass(frozen=True)
class HelpfulSneaky(Protocol):
    """The prover solves the problem, rightly if `helpful` and wrongly if sneaky, and proves its solution in one message; the
    verifier, who is not told which it is, decides.

    The role is drawn for each game. The claim dealt is struck out (it reads 0 until the prover's stands in its place), so that
    it tells nothing; everybody reads the prover's where a task's claim stands.
    Paid: the prover, if its claim is right and it is helpful or wrong and it is sneaky, 1 if accepted, else 0; otherwise, and for
        an illegal message, -1. So whatever keeps to its role is worth more than all that does not, and the more the more
        convincing. The verifier 1 if right about the prover's claim, -1 if wrong, 0 for "don't know".
    Source: Kirchner et al. 2024; pay over batches of games is in `pvg.agents.rewards`. Kim & Lee 2026 part the solver, here the
        claim, from who writes the proof.

    Reference players: "honest" always states the claim that holds; "dishonest" does what it is told, and its wrong claim is right
    but for the last symbol. Fits proofs of one message, of tasks whose claim can be stated by the prover.
    """

    roles = (Role("prover", "prover", minimum=-1.0), Role("verifier", "verifier", minimum=-1.0))
    table = (
        Row(0, ("prover",), "claim", CLAIM),  # heard as the task's claim
        Row(1, ("prover",), "message", MESSAGE, ("verifier",)),
        Row(2, ("verifier",), VERDICT),
    )

    def kinds(self, task: Task, proof: Proof | None) -> dict[str, tuple[Field, ...]]:
        return {"claim": task.claim}

    def fields(self, task: Task, proof: Proof | None) -> tuple[Field, ...]:
        return (Field("helpful", 2, kind="bit", seen_by=("prover",)),)

    def rows(self, task: Task, proof: Proof | None) -> tuple[Row, ...]:
        if task.answers != 2:
            raise ValueError(f"it is about acceptance, and the task has {task.answers} answers")
        if task.rules.solve is None or task.rules.restate is None:
            raise ValueError("it is the prover who states the claim, and the task has no `solve` and `restate`")
        if proof is None or proof.script != ("message",):
            raise ValueError(f"its proof is one message; the proof's script is {proof.script if proof else ()}")
        return self.table

    def build(self, task: Task, proof: Proof | None) -> ProtocolRules:
        assert proof is not None, "rows refuse it"
        solve, restate, check_at = task.rules.solve, task.rules.restate, proof.check
        assert solve is not None, "rows refuse it"
        assert restate is not None, "rows refuse it"
        answers, width, high = task.answers, sum(f.size for f in task.claim), task.claim[-1].high

        @lane
        def deal(s: Any, tables: Any) -> None:
            for j in range(width):
                s.said[CLAIM, j] = 0
            restate(s, tables, s.said[CLAIM])
            for j in range(width):
                s.said[CLAIM, j] = -1
            s.helpful = draw(s, 2)
            s.side[PROVER] = 1
            s.truth = s.helpful  # until there is a claim: who argues what is true states what is true

        @lane
        def after(s: Any, tables: Any) -> Any:
            if s.turn == 0:
                restate(s, tables, s.said[CLAIM])
            return s.turn + 1

        @lane
        def pay(s: Any, tables: Any, reward: Any) -> None:
            if s.turn < 0:
                reward[PROVER] += (1.0 if s.verdict == 1 else 0.0) if s.truth == s.helpful else -1.0
                reward[VERIFIER] += score(s.verdict, s.truth, answers)

        @lane
        def tell(s: Any, tables: Any, role: Any, slot: Any, honest: Any, out: Any) -> None:
            solve(s, tables, out)
            if honest == 0:
                out[width - 1] = (out[width - 1] + 1 + draw(s, high - 1)) % high

        @lane
        def check(s: Any, tables: Any) -> Any:
            return check_at(s, tables, MESSAGE)

        return ProtocolRules(deal, pay, after, tell, check)
