"""full_information: the verifier alone, who sees what provers see."""

from __future__ import annotations

from dataclasses import dataclass

from pvg.protocol import Role, Row, protocols
from pvg.protocols.solo import Solo
from pvg.task import Proof, Task


@protocols.register("full_information")
@dataclass(frozen=True)
class FullInformation(Solo):
    """No prover, and nothing is hidden from the verifier that a prover would see: the ceiling every protocol is held against.

    Paid: the verifier 1 if right, -1 if wrong, 0 for "don't know".
    Source: the judge with access to the text, as in Khan et al. 2024.

    Its only scripted player is chance: the ceiling is what a verifier learns here.
    """

    roles = (Role("verifier", "verifier", minimum=-1.0, beside="prover"),)

    def rows(self, task: Task, proof: Proof | None) -> tuple[Row, ...]:
        if not any("prover" in f.seen_by and "verifier" not in f.seen_by for f in task.fields):
            raise ValueError("it hides nothing from the verifier, whose game `solo` is the same")
        return self.table
