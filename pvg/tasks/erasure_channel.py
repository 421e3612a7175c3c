"""ErasureChannel: a hidden bit, told through a channel that erases what is false."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pvg.field import Field
from pvg.lane import draw, lane
from pvg.task import Proof, Task, TaskRules, Values, tasks, within

SERIALS = 20  # the fewest of which each split gets one


@tasks.register("ErasureChannel")
@dataclass(frozen=True)
class ErasureChannel(Task):
    """Is the hidden bit 1?

    Statement: `bit`, 1 with probability p = yes / yes_of; the prover alone sees it, so that a verifier without a prover knows
    nothing but p. Games are split by a number nobody sees.
    Proof `channel`: a message of L bits, of which the verifier sees what is delivered (0, 1, or 2: erased): all of it if the bit
    is 1; if it is 0, each 1 is erased with probability e = erased / of by itself. Accepted if nothing but ones is delivered:
    completeness 1, soundness error (1 - e)^L, which all ones attain. Whether accepting that is right depends on p:
    `bayes_accuracy`.
    Source: ours, in the style of Anil, Zhang, Wu & Grosse 2021; their own channel is not known to us.

    length: L, 1..64. erased: 0..of. of: 1..1000. yes: 1..yes_of - 1. yes_of: 2..1000. Default: length=4, erased=1, of=2, yes=1,
    yes_of=2. Preset hard: 16 bits, of which 1 in 8 is erased.
    """

    presets: ClassVar = {"hard": {"length": 16, "erased": 1, "of": 8}}
    private = (Field("serial", SERIALS, seen_by=()),)
    split_by = ("serial",)

    length: int = 4
    erased: int = 1
    of: int = 2
    yes: int = 1
    yes_of: int = 2

    def __post_init__(self) -> None:
        within(self, "length", 1, 64)
        within(self, "of", 1, 1000)
        within(self, "erased", 0, self.of)
        within(self, "yes_of", 2, 1000)
        within(self, "yes", 1, self.yes_of - 1)

    @property
    def soundness_error(self) -> float:
        """(1 - e)^L."""
        return float((1 - self.erased / self.of) ** self.length)

    @property
    def bayes_accuracy(self) -> float:
        """How often the best verifier is right against all ones: (1 - p) (1 - (1 - e)^L) + max(p, (1 - p) (1 - e)^L).

        The first term is of what is not all ones and can be rejected for sure, the second of all ones, accepted or rejected.
        """
        true = self.yes / self.yes_of
        missed = (1 - true) * self.soundness_error
        return 1 - true - missed + max(true, missed)

    @property
    def statement(self) -> tuple[Field, ...]:
        return (Field("bit", 2, kind="bit", seen_by=("prover",)),)

    def build(self) -> TaskRules:
        length, erased, of, yes, yes_of = self.length, self.erased, self.of, self.yes, self.yes_of

        @lane
        def sample(s: Any, tables: Any) -> None:
            s.serial = draw(s, SERIALS)
            s.bit = s.truth = 1 if draw(s, yes_of) < yes else 0

        @lane
        def evidence(s: Any, tables: Any, slot: Any) -> None:
            for j in range(length):
                symbol = np.int64(s.said[slot, j])
                s.delivered[j] = 2 if symbol == 1 and s.bit == 0 and draw(s, of) < erased else symbol

        @lane
        def check(s: Any, tables: Any, first: Any) -> Any:
            for j in range(length):
                if s.delivered[j] != 1:
                    return 0
            return 1

        @lane
        def honest(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            for j in range(length):
                out[j] = s.bit

        @lane
        def random(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            for j in range(length):
                out[j] = draw(s, 2)

        @lane
        def zeros(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            for j in range(length):
                out[j] = 0

        @lane
        def ones(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            for j in range(length):
                out[j] = 1

        channel = Proof(
            kinds={"message": (Field("sent", 2, (length,), ("position",), kind="bit", seen_by=("prover",)),)},
            honest=honest,
            dishonest={"random": random, "zeros": zeros, "ones": ones},
            check=check,
            fields=(Field("delivered", 3, (length,), ("position",), blank=True),),
            evidence=evidence,
            noisy=True,
            soundness_error=self.soundness_error,
        )
        return TaskRules(sample, {"channel": channel})

    def render(self, values: Values) -> str:
        return f"the hidden bit is {int(values['bit'])}"

    def parse(self, text: str) -> dict[str, NDArray[Any]]:
        match = re.fullmatch(r"the hidden bit is ([01])", text.strip())
        if match is None:
            raise ValueError(f"statement {text!r}: expected 'the hidden bit is 0' or 'the hidden bit is 1'")
        return {"bit": np.array(match[1], dtype=np.int8)}
