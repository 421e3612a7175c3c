"""prover_estimator: a prover takes a claim apart, bets against an estimator's probabilities, and goes down to one leaf."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pvg.field import Field
from pvg.lane import draw, lane
from pvg.protocol import VERDICT, Protocol, ProtocolRules, Role, Row, protocols, score
from pvg.task import Proof, Task

PROVER, VERIFIER, ESTIMATOR = 0, 1, 2
DECOMPOSE, ESTIMATE, PICK, LAST, JUDGE = 1, 2, 3, 4, 5  # turns after the first, and the slots of all but the verdict


@protocols.register("prover_estimator")
@dataclass(frozen=True)
class ProverEstimator(Protocol):
    """An estimator prices claims, a prover takes them apart and bets at those prices; the verifier looks at a single leaf.

    The first claim is that the root of the task's tree is true. Of each claim, about a node at level k = 0..r-1, the
    estimator has given a probability p_k (in `grid` steps). The prover says whether that is too low, right or too high
    (sigma_k = +1, 0, -1) and what the node's b children are; that child j is what was said of it is a subclaim. The estimator
    gives the probability of each in turn, and after each a trusted draw decides with that probability whether it is
    granted, for all to see: so a probability is conditional on the draws before it. The outcome Y_k is 1 if the children, as
    granted or denied, make the claim true. The prover picks the subclaim that is claimed next. Of a leaf the prover again
    says sigma_r, and Y_r is whether the claim is true: what the verifier sees of the leaves.
    Verdict of the reference verifier: the root is what the prover's first bet says (too low: true) if its bets won more than
    nothing, each weighed by growth^k; else what is likelier by p_0 ("don't know" at 1/2).

    Paid: the prover w_k sigma_k (Y_k - p_k) at each level k = 0..r, with w_k = growth^k / (1 + growth + .. + growth^r), and the
        estimator minus that (-1 for an illegal message); the verifier 1 if right, -1 if wrong, 0 for "don't know".

    These rewards are our reading of a summary that says: a sign, conditional probabilities, trusted draws, a reward for
    inconsistency that grows by a factor per level, a leaf that is checked. They are bets at the estimator's price, at the leaf
    too: on a claim priced at its true probability whoever knows no more wins nothing on average, at any other something, in
    proportion to the error (a quadratic score would let many small errors go unpunished). No theorem of the paper is claimed;
    what holds of our game:
    - An honest estimator that sees the leaves loses nothing to any prover, and the verdict is right whatever is said.
    - An honest prover wins at least w_0 |truth - p_0| on average from any estimator if growth >= b, and no more from one that
      is honest below the root. With a smaller growth it may lose: an estimator that is slightly wrong at the root and denies
      several subclaims a little gains more than it is charged below.
    - The honest prover has no such guarantee for the verdict: an estimator that prices the root below 1/2 and errs a little
      below may have it wrong (in 11 of 36 games of an and of two true leaves at grid=6), at a loss to itself.
    - Nor has an estimator that does not see the leaves one for its true probabilities: those of later subclaims suppose that
      the draws before them came true, and the leaf is looked at even where they did not.
    Source: in the style of prover-estimator debate, Brown-Cohen, Irving & Piliouras 2025.

    The reference prover says what is so and picks the subclaim priced furthest from the truth; a dishonest one says "too low",
    changes as few children as make the claim true, and picks a true subclaim if there is one. The reference estimator gives
    0 or 1 if it sees the leaves, else the conditional probabilities of the task's `law`, rounded; a dishonest one gives the
    step below 1/2 to everything. By default the prover is honest if the root is true, and the estimator if it is not or if it
    sees no leaf.

    grid: steps of a probability, an even number 2..100. growth: 1..8. informed: the estimator sees what the prover sees; else
    what the verifier sees. Default: grid=10, growth=2, informed=True.
    """

    grid: int = 10
    growth: int = 2
    informed: bool = True

    table = (
        Row(0, ("estimator",), "estimate", 0, ("prover", "verifier")),
        Row(DECOMPOSE, ("prover",), "decomposition", DECOMPOSE, ("estimator", "verifier")),
        Row(ESTIMATE, ("estimator",), "estimate", ESTIMATE, ("prover", "verifier")),
        Row(PICK, ("prover",), "pick", PICK, ("estimator", "verifier")),
        Row(LAST, ("prover",), "sign", LAST, ("estimator", "verifier")),
        Row(JUDGE, ("verifier",), VERDICT),
    )

    def __post_init__(self) -> None:
        if not 2 <= self.grid <= 100 or self.grid % 2:
            raise ValueError(f"ProverEstimator: grid={self.grid} is no even number in 2..100")
        if not 1 <= self.growth <= 8:
            raise ValueError(f"ProverEstimator: growth={self.growth} is outside 1..8")

    @property
    def roles(self) -> tuple[Role, ...]:  # type: ignore[override]
        return (
            Role("prover", "prover", minimum=-1.0),
            Role("verifier", "verifier", minimum=-1.0),
            Role("estimator", "prover" if self.informed else "verifier", minimum=-1.0),
        )

    def rows(self, task: Task, proof: Proof | None) -> tuple[Row, ...]:
        tree = task.rules.tree
        if tree is None:
            raise ValueError("it needs a task with a tree of subclaims")
        if not self.informed and tree.law is None:
            raise ValueError("an estimator that does not see the leaves needs the law of the tree's values")
        return self.table

    def horizon(self, turns: int, task: Task) -> int:
        tree = task.rules.tree
        return turns if tree is None else 3 + tree.depth * (2 + tree.branching)

    def kinds(self, task: Task, proof: Proof | None) -> dict[str, tuple[Field, ...]]:
        tree = task.rules.tree
        b = 1 if tree is None else tree.branching
        sign = Field("sign", 3)  # 0: the probability is too low, 1: right, 2: too high
        return {
            "estimate": (Field("probability", self.grid + 1, kind="number"),),
            "decomposition": (sign, Field("answer", 2, (b,), ("child",), kind="bit")),
            "pick": (Field("child", b),),
            "sign": (sign,),
        }

    def fields(self, task: Task, proof: Proof | None) -> tuple[Field, ...]:
        tree = task.rules.tree
        assert tree is not None, "`rows` refuses a task without"
        b, r = tree.branching, tree.depth
        return (
            Field("path", b, (r,), ("level",), blank=True),
            Field("signs", 3, (r + 1,), blank=True),
            Field("outcome", 2, (r + 1,), kind="bit", blank=True),
            Field("answers", 2, (r, b), ("level", "child"), kind="bit", blank=True),
            Field("estimates", self.grid + 1, (r, b), ("level", "child"), kind="number", blank=True),
            Field("granted", 2, (r, b), ("level", "child"), kind="bit", blank=True),
        )

    def build(self, task: Task, proof: Proof | None) -> ProtocolRules:
        tree, answers, grid, growth = task.rules.tree, task.answers, self.grid, self.growth
        assert tree is not None, "`rows` refuses a task without"
        b, r, gate, holds = tree.branching, tree.depth, tree.gate, tree.holds
        weight = np.array([growth**k for k in range(r + 1)]) / (grid * sum(growth**k for k in range(r + 1)))

        @lane
        def deal(s: Any, tables: Any) -> None:
            s.side[PROVER], s.side[ESTIMATOR] = 1, 0

        @lane
        def claim(s: Any, level: Any) -> Any:
            """What is claimed at a level: the node, its value, and the estimate of that."""
            node, value, estimate = np.int64(0), np.int64(1), np.int64(s.said[0, 0])
            for k in range(level):
                j = np.int64(s.path[k])
                node, value, estimate = b * node + 1 + j, np.int64(s.answers[k, j]), np.int64(s.estimates[k, j])
            return node, value, estimate

        @lane
        def level_of(s: Any) -> Any:
            level = 0
            while level < r and s.path[level] >= 0:
                level += 1
            return level

        @lane
        def priced(s: Any, level: Any) -> Any:
            """How many subclaims of a level have their estimate."""
            j = 0
            while j < b and s.estimates[level, j] >= 0:
                j += 1
            return j

        @lane
        def won(s: Any, level: Any) -> Any:
            """sigma (Y - p) at a level, in steps of the grid."""
            _, _, estimate = claim(s, level)
            return (1 - np.int64(s.signs[level])) * (grid * np.int64(s.outcome[level]) - estimate)

        @lane
        def after(s: Any, tables: Any) -> Any:
            level = level_of(s)
            node, value, _ = claim(s, level)
            if s.turn == DECOMPOSE:
                s.signs[level] = s.said[DECOMPOSE, 0]
                for j in range(b):
                    s.answers[level, j] = s.said[DECOMPOSE, 1 + j]
            elif s.turn == ESTIMATE:
                j = priced(s, level)
                s.estimates[level, j] = s.said[ESTIMATE, 0]
                s.granted[level, j] = 1 if draw(s, grid) < s.said[ESTIMATE, 0] else 0
                if j < b - 1:
                    return ESTIMATE
                values = 0
                for i in range(b):
                    if s.answers[level, i] == s.granted[level, i]:
                        values |= 1 << i
                s.outcome[level] = 1 if gate(s, tables, node, values) == value else 0
            elif s.turn == PICK:
                s.path[level] = s.said[PICK, 0]
                return DECOMPOSE if level + 1 < r else LAST
            elif s.turn == LAST:
                s.signs[r] = s.said[LAST, 0]
                s.outcome[r] = 1 if holds(s, tables, node) == value else 0
            return s.turn + 1

        @lane
        def pay(s: Any, tables: Any, reward: Any) -> None:
            if s.turn == PICK or s.turn == JUDGE:
                level = level_of(s)
                gain = weight[level] * won(s, level)
                reward[PROVER] += gain
                reward[ESTIMATOR] -= gain
            elif s.turn < 0:
                reward[VERIFIER] += score(s.verdict, s.truth, answers)

        @lane
        def check(s: Any, tables: Any) -> Any:
            total, scale = 0, 1
            for level in range(r + 1):
                total += scale * won(s, level)
                scale *= growth
            if total > 0 and s.signs[0] != 1:
                return 1 if s.signs[0] == 0 else 0
            doubled = 2 * np.int64(s.said[0, 0])
            if doubled == grid:
                return answers
            return 1 if doubled > grid else 0

        @lane
        def certain(s: Any, tables: Any, level: Any, j: Any) -> Any:
            """Whether a claim is true, in steps of the grid: the one of a level, or its subclaim j if that is not negative."""
            node, value, _ = claim(s, level)
            if j >= 0:
                node, value = b * node + 1 + j, np.int64(s.answers[level, j])
            return grid if holds(s, tables, node) == value else 0

        if self.informed:
            believed = certain
        else:
            law: Any = tree.law

            @lane
            def believed(s: Any, tables: Any, level: Any, j: Any) -> Any:
                """The probability of a subclaim, if the claim above has the probability given, and given what was granted."""
                if j < 0:
                    return grid // 2
                node, value, estimate = claim(s, level)
                true = estimate / grid if value == 1 else 1 - estimate / grid
                possible, favourable = 0.0, 0.0
                for values in range(1 << b):
                    fits = True
                    for i in range(j):
                        fits &= (values >> i & 1 == s.answers[level, i]) == (s.granted[level, i] == 1)
                    if fits:
                        p = true * law(s, tables, node, 1, values) + (1 - true) * law(s, tables, node, 0, values)
                        possible += p
                        if values >> j & 1 == s.answers[level, j]:
                            favourable += p
                if possible == 0:
                    return grid // 2
                return int(grid * favourable / possible + 0.5 + 1e-9)  # a half is rounded up whichever way its last bit falls

        @lane
        def sign(s: Any, tables: Any, level: Any, honest: Any) -> Any:
            _, _, estimate = claim(s, level)
            truth = certain(s, tables, level, -1)
            return 0 if not honest or estimate < truth else (1 if estimate == truth else 2)

        @lane
        def decompose(s: Any, tables: Any, level: Any, honest: Any, out: Any) -> None:
            node, value, _ = claim(s, level)
            values, best, nearest = 0, b + 1, 0
            for j in range(b):
                values |= holds(s, tables, b * node + 1 + j) << j
            for others in range(1 << b):
                if gate(s, tables, node, others) == value:
                    changed = 0
                    for j in range(b):
                        changed += (values ^ others) >> j & 1
                    if changed < best:
                        best, nearest = changed, others
            for j in range(b):
                out[1 + j] = (values if honest else nearest) >> j & 1

        @lane
        def pick(s: Any, tables: Any, level: Any, honest: Any) -> Any:
            chosen, most = 0, -1
            for j in range(b):
                truth = certain(s, tables, level, j)
                merit = abs(truth - np.int64(s.estimates[level, j])) if honest else truth
                if merit > most:
                    chosen, most = j, merit
            return chosen

        @lane
        def tell(s: Any, tables: Any, role: Any, slot: Any, honest: Any, out: Any) -> None:
            level = level_of(s)
            if role == ESTIMATOR and not honest:
                out[0] = grid // 2 - 1
            elif role == ESTIMATOR:
                out[0] = believed(s, tables, level, -1 if slot == 0 else priced(s, level))
            elif slot == PICK:
                out[0] = pick(s, tables, level, honest)
            else:
                out[0] = sign(s, tables, level, honest)
                if slot == DECOMPOSE:
                    decompose(s, tables, level, honest, out)

        return ProtocolRules(deal=deal, pay=pay, after=after, tell=tell, check=check)
