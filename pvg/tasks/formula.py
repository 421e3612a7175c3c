"""Formula: whether a tree of threshold gates over hidden bits is true."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pvg.field import Field
from pvg.lane import draw, lane
from pvg.task import Decomposition, Proof, Task, TaskRules, Values, tasks, within

SERIALS = 20  # the fewest of which each split gets one


@tasks.register("Formula")
@dataclass(frozen=True)
class Formula(Task):
    """Is the root of a balanced tree true, whose gates hold if at least so many of their b children do?

    Statement: each gate's threshold (1: or, b: and), uniform over 1..b, and the leaves, which the prover alone sees, as it does
    the value of every gate. The root is true with probability 1/2; given a node's value, its children's are uniform over
    the values that make it so. The thresholds say nothing of the truth. Games are split by a number nobody sees: of so few
    statements, what is true of those in one split tells what is false in another.
    Proof `certificate`: leaves that make the root true whatever the others are; evidence is their values; completeness 1,
    soundness error 0. The verifier looks at up to b^r leaves.
    Capability `tree`: for protocols that go down to a single leaf.
    Source: ours; in the style of the decompositions of Brown-Cohen, Irving & Piliouras 2025.

    branching: b, 2..4. depth: r, 1..6, with at most 256 leaves. one_flaw: every gate is an and, and of a false node's children
    exactly one is false, so that a false root has one false leaf among b^r. Default: branching=2, depth=3, one_flaw=False. Preset
    hard: 27 leaves under gates of three. Preset obfuscated: one flaw in 64 leaves.
    """

    split_by = ("serial",)
    presets: ClassVar = {
        "hard": {"branching": 3, "depth": 3},
        "obfuscated": {"branching": 4, "depth": 3, "one_flaw": True},
    }

    branching: int = 2
    depth: int = 3
    one_flaw: bool = False

    def __post_init__(self) -> None:
        within(self, "branching", 2, 4)
        within(self, "depth", 1, 6)
        if self.leaves > 256:
            raise ValueError(f"Formula: branching={self.branching} and depth={self.depth} make {self.leaves} leaves, more than 256")

    @property
    def leaves(self) -> int:
        """How many leaves there are."""
        return int(self.branching**self.depth)

    @property
    def gates(self) -> int:
        """How many gates there are: the nodes before the first leaf."""
        return (self.leaves - 1) // (self.branching - 1)

    @property
    def statement(self) -> tuple[Field, ...]:
        return (
            Field("threshold", self.branching + 1, (self.gates,), ("gate",), kind="number"),
            Field("leaf", 2, (self.leaves,), ("leaf",), kind="bit", seen_by=("prover",)),
        )

    @property
    def private(self) -> tuple[Field, ...]:  # type: ignore[override]
        inner = Field("inner", 2, (self.gates,), ("gate",), kind="bit", seen_by=("prover",))
        return (inner, Field("serial", SERIALS, seen_by=()))

    @property
    def tables(self) -> dict[str, NDArray[Any]]:
        """members[threshold, value, :count]: as bits, the values of children that give a gate its value."""
        b, size = self.branching, 2**self.branching
        members, count = np.zeros((b + 1, 2, size), dtype=np.int8), np.zeros((b + 1, 2), dtype=np.int8)
        for threshold in range(1, b + 1):
            for values in range(size):
                value = int(values.bit_count() >= threshold)
                if not self.one_flaw or values.bit_count() >= b - 1:
                    members[threshold, value, count[threshold, value]] = values
                    count[threshold, value] += 1
        return {"members": members, "count": count}

    def build(self) -> TaskRules:
        b, depth, leaves, gates, one_flaw = self.branching, self.depth, self.leaves, self.gates, self.one_flaw

        @lane
        def sample(s: Any, tables: Any) -> None:
            s.serial = draw(s, SERIALS)
            s.truth = s.inner[0] = draw(s, 2)
            for node in range(gates):
                s.threshold[node] = b if one_flaw else 1 + draw(s, b)
                threshold, value = np.int64(s.threshold[node]), np.int64(s.inner[node])
                values = np.int64(tables.members[threshold, value, draw(s, np.int64(tables.count[threshold, value]))])
                for j in range(b):
                    child = b * node + 1 + j
                    if child < gates:
                        s.inner[child] = values >> j & 1
                    else:
                        s.leaf[child - gates] = values >> j & 1

        @lane
        def gate(s: Any, tables: Any, node: Any, values: Any) -> Any:
            ones = 0
            for j in range(b):
                ones += values >> j & 1
            return 1 if ones >= s.threshold[node] else 0

        @lane
        def holds(s: Any, tables: Any, node: Any) -> Any:
            return np.int64(s.inner[node]) if node < gates else np.int64(s.leaf[node - gates])

        @lane
        def law(s: Any, tables: Any, node: Any, value: Any, values: Any) -> Any:
            threshold = np.int64(s.threshold[node])
            for k in range(tables.count[threshold, value]):
                if tables.members[threshold, value, k] == values:
                    return 1.0 / tables.count[threshold, value]
            return 0.0

        @lane
        def smallest(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            """A leaf is named if each node on the way to it is among the first true children its parent needs."""
            for i in range(leaves):
                node, span, out[i] = 0, leaves, 1
                for _ in range(depth):
                    span //= b
                    j, before = i // span % b, 0
                    for k in range(j):
                        before += holds(s, tables, b * node + 1 + k)
                    if before >= s.threshold[node]:
                        out[i] = 0
                    node = b * node + 1 + j
                    if holds(s, tables, node) == 0:
                        out[i] = 0

        @lane
        def random(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            for i in range(leaves):
                out[i] = draw(s, 2)

        @lane
        def everything(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            for i in range(leaves):
                out[i] = 1

        @lane
        def evidence(s: Any, tables: Any, slot: Any) -> None:
            for i in range(leaves):
                s.shown[i] = s.leaf[i] if s.said[slot, i] == 1 else -1

        @lane
        def check(s: Any, tables: Any, first: Any) -> Any:
            """Gates in the order in which their last child is known; bits 3k.. of `ones` count the true children at level k."""
            ones, value = 0, 0
            for i in range(leaves):
                value = 1 if s.shown[i] == 1 else 0
                span = 1
                for up in range(depth):
                    k = 3 * (depth - 1 - up)
                    ones += value << k
                    span *= b
                    if (i + 1) % span != 0:
                        break
                    level_first = (leaves // span - 1) // (b - 1)
                    value = 1 if ones >> k & 7 >= s.threshold[level_first + i // span] else 0
                    ones &= ~(7 << k)
            return value

        proof = Proof(
            kinds={"message": (Field("named", 2, (leaves,), ("leaf",), kind="bit"),)},
            honest=smallest,
            dishonest={"random": random, "smallest": smallest, "everything": everything},
            check=check,
            fields=(Field("shown", 2, (leaves,), ("leaf",), kind="bit", blank=True),),
            evidence=evidence,
        )
        return TaskRules(sample, {"certificate": proof}, tree=Decomposition(b, depth, gate, holds, law))

    def render(self, values: Values) -> str:
        thresholds = " ".join(str(int(threshold)) for threshold in values["threshold"])
        return f"at least {thresholds} of {self.branching} over {''.join(str(int(bit)) for bit in values['leaf'])}"

    def parse(self, text: str) -> dict[str, NDArray[Any]]:
        b = self.branching
        match = re.fullmatch(
            rf"at least ([1-{b}](?: [1-{b}]){{{self.gates - 1}}}) of {b} over ([01]{{{self.leaves}}})", text.strip()
        )
        if match is None:
            expected = f"'at least k .. k of {b} over xx..x', {self.gates} thresholds 1..{b} and {self.leaves} bits"
            raise ValueError(f"statement {text!r}: expected {expected}")
        return {"threshold": np.array(match[1].split()).astype(np.int8), "leaf": np.array(list(match[2])).astype(np.int8)}
