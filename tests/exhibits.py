"""A task of exhibits that speak for each of three answers, with a judge that adds up: debates of it can be solved by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from pvg.field import Field
from pvg.lane import draw, lane
from pvg.task import Proof, Task, TaskRules, Values


@dataclass(frozen=True)
class Exhibits(Task):
    """Which of three answers is true of a case? A message shows an exhibit; shown again, it adds nothing.

    points: of each case, for each exhibit, how much it speaks for each answer, 0..999. shown: messages, at least 2.
    """

    answers: ClassVar[int] = 3

    points: tuple[tuple[tuple[int, int, int], ...], ...]
    shown: int = 2

    @property
    def statement(self) -> tuple[Field, ...]:
        return (Field("case", len(self.points), seen_by=("prover",)),)

    @property
    def tables(self) -> dict[str, Any]:
        return {"points": np.array(self.points, dtype=np.int16)}

    def build(self) -> TaskRules:
        cases, exhibits, shown = len(self.points), len(self.points[0]), self.shown

        @lane
        def sample(s: Any, tables: Any) -> None:
            s.case, s.truth = draw(s, cases), draw(s, 3)

        @lane
        def honest(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            out[0] = 0
            for exhibit in range(exhibits):
                if tables.points[s.case, exhibit, side] > tables.points[s.case, out[0], side]:
                    out[0] = exhibit

        @lane
        def anything(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            out[0] = draw(s, exhibits)

        @lane
        def evidence(s: Any, tables: Any, slot: Any) -> None:
            for answer in range(3):
                s.points[slot, answer] = tables.points[s.case, s.said[slot, 0], answer]

        @lane
        def weigh(s: Any, tables: Any, answer: Any) -> Any:
            total = np.int64(0)
            for j in range(shown):
                again = 0
                for i in range(j):
                    again += s.said[i, 0] == s.said[j, 0]
                if again == 0 and s.said[j, 0] >= 0:
                    total += np.int64(s.points[j, answer])
            return total

        @lane
        def check(s: Any, tables: Any, first: Any) -> Any:
            best = 0
            for answer in range(3):
                if weigh(s, tables, answer) > weigh(s, tables, best):
                    best = answer
            return best

        points = Field("points", 1000, (shown, 3), ("shown", "answer"), kind="number", seen_by=("verifier",), blank=True)
        proof = Proof(
            kinds={"message": (Field("exhibit", exhibits),)},
            script=("message",) * shown,
            honest=honest,
            dishonest={"anything": anything},
            check=check,
            fields=(points,),
            evidence=evidence,
            proves=(0, 1, 2),
            completeness=None,
            soundness_error=None,
            exact=False,
            weigh=weigh,
        )
        return TaskRules(sample, {"exhibits": proof})

    def render(self, values: Values) -> str:
        return f"case {int(values['case'])}"

    def parse(self, text: str) -> dict[str, Any]:
        return {"case": np.array(int(text.split()[-1]), dtype=np.int8)}
