"""cross_examination: a prover writes a computation down, a challenger names a step of it, the verifier checks that step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pvg.field import Field
from pvg.lane import draw, lane
from pvg.protocol import VERDICT, Protocol, ProtocolRules, Row, protocols
from pvg.protocols.bisection import Bisection, refereed
from pvg.task import Proof, Task


@protocols.register("cross_examination")
@dataclass(frozen=True)
class CrossExamination(Protocol):
    """The prover writes all steps of a computation down, the challenger names one; the verifier checks it, whatever their number.

    Sound as long as one of the two is honest; a challenger who names a step at random finds a wrong one of T with probability 1/T.
    Paid: the prover 1 if accepted, the challenger 1 if not, else 0 (-1 for an illegal message); the verifier 1 if right, -1
        if wrong, 0 for "don't know".
    Source: debate with cross-examination, Brown-Cohen, Irving & Piliouras 2023.

    The honest challenger names the first wrong step; one who argues what is false, any step.
    """

    roles = Bisection.roles
    table = (
        Row(0, ("prover",), "message", 0, ("challenger", "verifier")),
        Row(1, ("challenger",), "challenge", 1, ("prover", "verifier")),
        Row(2, ("verifier",), VERDICT),
    )

    def kinds(self, task: Task, proof: Proof | None) -> Mapping[str, tuple[Field, ...]]:
        return {"challenge": (Field("step", proof.steps, kind="number"),)} if proof and proof.steps else {}

    def rows(self, task: Task, proof: Proof | None) -> tuple[Row, ...]:
        if proof is None or proof.check_step is None or proof.script != ("message",):
            raise ValueError("it needs a proof of one message whose steps can be checked one by one")
        return self.table

    def build(self, task: Task, proof: Proof | None) -> ProtocolRules:
        assert proof is not None, "rows has seen to it"
        assert proof.check_step is not None, "rows has seen to it"
        steps, check_step = proof.steps, proof.check_step

        @lane
        def tell(s: Any, tables: Any, role: Any, slot: Any, honest: Any, out: Any) -> None:
            out[0] = 0
            if honest == 0:
                out[0] = draw(s, steps)
                return
            for j in range(steps):
                if check_step(s, tables, 0, j) == 0:
                    out[0] = j
                    return

        @lane
        def check(s: Any, tables: Any) -> Any:
            return check_step(s, tables, 0, np.int64(s.said[1, 0]))

        return replace(refereed(task), tell=tell, check=check)
