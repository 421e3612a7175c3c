"""interactive_proof: messages and questions in the order of the proof's script, then the verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pvg.protocol import Protocol, ProtocolRules, Role, Row, protocols, script_rows
from pvg.protocols.prover_verifier import acceptance
from pvg.task import Proof, Task


@protocols.register("interactive_proof")
@dataclass(frozen=True)
class InteractiveProof(Protocol):
    """The prover, who wants acceptance whatever the truth, answers the verifier's questions as the proof's script has it.

    asks: "verifier", or "nature", who tosses the reference verifier's coins in its stead: the game of a verifier that only
        judges, against questions that cannot be foreseen.
    Paid: the prover 1 if accepted, else 0 (-1 for an illegal message); the verifier 1 if right, -1 if wrong, 0 for
        "don't know".
    Source: Goldwasser, Micali & Rackoff 1985; rewards as in Hammond & Adam-Day 2024.
    """

    asks: Literal["verifier", "nature"] = "verifier"

    def __post_init__(self) -> None:
        if self.asks not in ("verifier", "nature"):
            raise ValueError(f"InteractiveProof: asks={self.asks!r} is neither 'verifier' nor 'nature'")

    @property
    def roles(self) -> tuple[Role, ...]:  # type: ignore[override]
        players = (Role("prover", "prover", minimum=-1.0), Role("verifier", "verifier", minimum=-1.0))
        return players if self.asks == "verifier" else (*players, Role("nature", "nature", minimum=0.0))

    def rows(self, task: Task, proof: Proof | None) -> tuple[Row, ...]:
        if task.answers != 2:
            raise ValueError(f"it is about acceptance, and the task has {task.answers} answers")
        if proof is None or not set(proof.script) <= {"message", "question"} or proof.script == ("message",):
            raise ValueError(f"it needs messages and questions; the proof's script is {proof.script if proof else ()}")
        return script_rows(proof, {"message": "prover", "question": self.asks}, self.roles)

    def build(self, task: Task, proof: Proof | None) -> ProtocolRules:
        return acceptance(task)
