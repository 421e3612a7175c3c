"""zero_knowledge: telling the transcript of a proof from one made up without a prover."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pvg.agent import agents
from pvg.enumerator import Enumerator
from pvg.extensive_form import best_response
from pvg.field import Field
from pvg.lane import draw, lane
from pvg.protocol import Protocol, ProtocolRules, Role, Row, next_turn, protocols, script_rows
from pvg.spec import resolve
from pvg.task import Proof, Task

PROVER, VERIFIER, DISTINGUISHER = 0, 1, 2


@protocols.register("zero_knowledge")
@dataclass(frozen=True)
class ZeroKnowledge(Protocol):
    """The distinguisher is shown all that the verifier saw of a proof, its coins included, or what the proof's simulator made
    up knowing nothing but the statement, each half the time, and says which.

    Perfect zero knowledge against the honest verifier: nobody is right more than half the time. The best distinguisher is right
    with probability 1/2 + d/2, d being `transcript_distance`. Where a learned verifier departs from its script, a learned
    simulator is paid as in `pvg.agents.rewards.zero_knowledge`.
    Paid: the distinguisher, for a true statement, 1 if right, else 0; nothing for a false one, of which there is no proof to be
        simulated: on games with truth 1 its mean pay is how often it is right. The prover and the verifier nothing. Whoever
        says something illegal, -1.
    Source: Goldwasser, Micali & Rackoff 1985 (simulators); Goldreich, Micali & Wigderson 1991 (the proofs of graphs). The game
        played with networks is that of Hammond & Adam-Day 2024.

    Reference players: the prover and the verifier are the proof's, the distinguisher guesses: against a perfect simulator
    nothing does better. A simulated game begins at the distinguisher's turn; it decides on what it sees then. Fits proofs of
    messages and questions that have a simulator.
    """

    roles = (
        Role("prover", "prover", minimum=-1.0),
        Role("verifier", "verifier", minimum=-1.0),
        Role("distinguisher", "verifier", minimum=-1.0),
    )

    def kinds(self, task: Task, proof: Proof | None) -> dict[str, tuple[Field, ...]]:
        return {"opinion": (Field("genuine", 2, kind="bit"),)}

    def rows(self, task: Task, proof: Proof | None) -> tuple[Row, ...]:
        if proof is None or not set(proof.script) <= {"message", "question"}:
            raise ValueError(f"it needs messages and questions; the proof's script is {proof.script if proof else ()}")
        if proof.simulate is None:
            raise ValueError("the proof has no simulator")
        turn = len(proof.script)
        *script, _ = script_rows(proof, {"message": "prover", "question": "verifier"}, self.roles)
        return (*script, Row(turn, ("distinguisher",), "opinion", turn))

    def build(self, task: Task, proof: Proof | None) -> ProtocolRules:
        assert proof is not None, "rows refuse it"
        assert proof.simulate is not None, "rows refuse it"
        simulate, turn = proof.simulate, len(proof.script)

        @lane
        def deal(s: Any, tables: Any) -> None:
            s.side[PROVER] = 1
            s.side[DISTINGUISHER] = draw(s, 2)  # 1: it is to be a real transcript
            if s.side[DISTINGUISHER] == 0:
                simulate(s, tables)
                s.turn = turn

        @lane
        def pay(s: Any, tables: Any, reward: Any) -> None:
            if s.turn < 0 and s.truth == 1:
                reward[DISTINGUISHER] += s.said[turn, 0] == s.side[DISTINGUISHER]

        return ProtocolRules(deal=deal, after=next_turn, pay=pay)


def transcript_distance(task: Task, proof: str, tape: int = 64) -> float:
    """The total variation between what the verifier sees of true statements' real proofs and of simulated ones, exactly.

    sum over views |P(view | real) - P(view | simulated)| / 2, the statement being part of the view: the mean over statements.
    It is twice what the best distinguisher gains on a guess. tape: as of `Enumerator`; task: as small as that requires.
    """
    tree = Enumerator(resolve(task, ZeroKnowledge(), proof), tape)
    players = {"prover": agents["honest"], "verifier": agents["reference"]}
    right, _ = best_response(tree, "distinguisher", players, given=lambda s: s["truth"][0] == 1)
    return 2 * right - 1
