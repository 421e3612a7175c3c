"""stochastic_debate: doubly-efficient debate, whose verifier asks the oracle about one step, however many there are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pvg.field import Field
from pvg.lane import LaneFunction, draw, lane
from pvg.protocol import VERDICT, Protocol, ProtocolRules, Role, Row, protocols, score
from pvg.task import Machine, Proof, Task

ALICE, BOB, VERA = 0, 1, 2
STATE, WORD, JOINT, DECIDE = 0, 1, 2, 3  # turns; the slots of what is said are those of the first three, and 3 is Bob's share
SCALE = 2**32 - 1  # of cumulative probabilities


@protocols.register("stochastic_debate")
@dataclass(frozen=True)
class StochasticDebate(Protocol):
    """Alice runs a K-Lipschitz machine bit by bit, Bob stops her where she misstates a probability, Vera then estimates that one.

    A bit: Alice states the probability p that it is 1. Bob lets it pass or stops. If it passes, both name their share of a joint
    coin at once, and the bit is 1 if the sum of the shares modulo 1 is below p: fair if either share is. If he stops, the oracle
    is sampled for Vera, who decides whether p was right (1) or not (0); if he never stops, she reads the last bit.
    Probabilities and shares are points of a grid of pitch 1 / (grid K). Estimates are rounded to it, which the numbers of samples
    allow for: an estimate within e takes ceil(ln(2 / failure) / (2 (e - half a pitch)^2)). The joint coin needs no allowance.

    grid: 100..100000. c: how far, in points of the grid, honest Alice may be off. s: Vera rejects p from the midpoint of c and s
        on. b: honest Bob does from the midpoint of s and b on; their estimates are within half of those gaps; 1 <= c, c + 2 <= s,
        s + 2 <= b <= grid. q: between 0 and 1, the chance that one of a player's estimates in a whole game is further off.
        v: the same of Vera's one. Default: grid=1000, c=10, s=20, b=50, q=0.01, v=0.01: c = 1 / (100 K), s = 2 / (100 K),
        b = 5 / (100 K).
    Where the machine outputs 1 with probability at least 2/3, honest Alice wins at least `guarantee` of games against every Bob;
    where at most 1/3, so does honest Bob against every Alice: 3/5 at the defaults. Vera's samples grow as K^2 and not with T,
    Alice's and Bob's as K^2 T log T.
    Honest players estimate and share fairly. Dishonest Alice, who knows every probability, states the highest that honest Bob
    stops with a chance of at most q / T; dishonest Bob never stops, since Vera sides with an honest Alice; both share 0. Vera is
    told her estimate and applies her rule.
    Paid: Alice 1 if the verdict is 1, Bob 1 if it is 0, else 0 (-1 for an illegal message); Vera 1 if right, -1 if wrong, 0 for
        "don't know".
    Source: doubly-efficient debate, Brown-Cohen, Irving & Piliouras 2023, with the constants of its formal proof.
    """

    grid: int = 1000
    c: int = 10
    s: int = 20
    b: int = 50
    q: float = 0.01
    v: float = 0.01

    roles = (
        Role("alice", "prover", minimum=-1.0),
        Role("bob", "prover", minimum=-1.0),
        Role("vera", "verifier", minimum=-1.0),
    )
    table = (
        Row(STATE, ("alice",), "probability", STATE, ("bob", "vera")),
        Row(WORD, ("bob",), "word", WORD, ("alice", "vera")),
        Row(JOINT, ("alice",), "share", JOINT, ("bob", "vera")),
        Row(JOINT, ("bob",), "share", JOINT + 1, ("alice", "vera")),
        Row(DECIDE, ("vera",), VERDICT),
    )

    def __post_init__(self) -> None:
        for name, low, high in (
            ("grid", 100, 100_000),
            ("c", 1, self.s - 2),
            ("s", 3, self.b - 2),
            ("b", 5, self.grid),
        ):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"StochasticDebate: {name}={getattr(self, name)} is outside {low}..{high}")
        for name in ("q", "v"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"StochasticDebate: {name}={getattr(self, name)} is not between 0 and 1")

    @property
    def guarantee(self) -> float:
        """The probability with which the honest one of Alice and Bob wins at least: min of (1 - v) (2/3 - K c - q) and
        (1 - v) (1 - q) (2/3 - K b), c and b as probabilities.
        """
        alice = 2 / 3 - self.c / self.grid - self.q
        bob = (1 - self.q) * (2 / 3 - self.b / self.grid)
        return (1 - self.v) * min(alice, bob)

    def samples(self, task: Task) -> dict[str, int]:
        """How often each role samples the oracle for one estimate: Alice and Bob make one a bit, Vera at most one a game."""
        machine = _machine(task)
        points, share = self.grid * machine.lipschitz, self.q / machine.steps
        wanted = {"alice": (self.c, share), "bob": ((self.b - self.s) / 2, share), "vera": ((self.s - self.c) / 2, self.v)}
        return {role: samples((error - 0.5) / points, failure) for role, (error, failure) in wanted.items()}

    def rows(self, task: Task, proof: Proof | None) -> tuple[Row, ...]:
        _machine(task)
        return self.table

    def kinds(self, task: Task, proof: Proof | None) -> Mapping[str, tuple[Field, ...]]:
        points = self.grid * _machine(task).lipschitz
        return {
            "probability": (Field("probability", points + 1, kind="number"),),
            "word": (Field("stop", 2, kind="bit"),),
            "share": (Field("share", points, kind="number"),),
        }

    def fields(self, task: Task, proof: Proof | None) -> tuple[Field, ...]:
        machine = _machine(task)
        return (
            Field("step", machine.steps, kind="number"),
            Field("bits", 2, (machine.steps,), ("step",), kind="bit", blank=True),
            Field("estimate", self.grid * machine.lipschitz + 1, kind="number", seen_by=("verifier",), blank=True),
        )

    def tables(self, task: Task, proof: Proof | None) -> Mapping[str, NDArray[Any]]:
        """For a role and an answer, where its estimates start, and their cumulative chances; for an answer, dishonest Alice's p."""
        machine = _machine(task)
        points = self.grid * machine.lipschitz
        each = [
            [estimates(answer, count, points) for answer in machine.answers] for count in self.samples(task).values()
        ]  # role answer
        width = 2 ** max(len(chances) - 1 for row in each for _, chances in row).bit_length()
        cumulative = np.full((len(each), len(machine.answers), width), SCALE, dtype=np.uint32)
        for role, row in enumerate(each):
            for answer, (_, chances) in enumerate(row):
                cumulative[role, answer, : len(chances)] = chances
        first = np.array([[first for first, _ in row] for row in each], dtype=np.int32)
        lowest = first[BOB] + (cumulative[BOB] <= self.q / machine.steps * SCALE).sum(axis=1)  # but for that chance
        overstated = np.minimum(lowest + (self.s + self.b - 1) // 2, points).astype(np.int32)
        return {"estimate_first": first, "estimate_cumulative": cumulative, "overstated": overstated}

    def horizon(self, turns: int, task: Task) -> int:
        return DECIDE * _machine(task).steps + 1

    def build(self, task: Task, proof: Proof | None) -> ProtocolRules:
        machine = _machine(task)
        answers, steps, oracle = task.answers, machine.steps, machine.oracle
        points, bob_rejects, vera_rejects = self.grid * machine.lipschitz, self.s + self.b, self.c + self.s
        estimate = _estimating(self.tables(task, proof)["estimate_cumulative"].shape[2])

        @lane
        def deal(s: Any, tables: Any) -> None:
            s.side[ALICE], s.side[BOB] = 1, 0
            s.step = 0

        @lane
        def after(s: Any, tables: Any) -> Any:
            step = np.int64(s.step)
            if s.turn == WORD and s.said[WORD, 0] == 1:
                s.estimate = estimate(s, tables, VERA, oracle(s, tables, step))
                return DECIDE
            if s.turn == JOINT:
                coin = (np.int64(s.said[JOINT, 0]) + np.int64(s.said[JOINT + 1, 0])) % points
                s.bits[step] = 1 if coin < s.said[STATE, 0] else 0
                if step + 1 < steps:
                    s.step = step + 1
                    return STATE
            return s.turn + 1

        @lane
        def pay(s: Any, tables: Any, reward: Any) -> None:
            if s.turn < 0:
                reward[ALICE] += s.verdict == 1
                reward[BOB] += s.verdict == 0
                reward[VERA] += score(s.verdict, s.truth, answers)

        @lane
        def tell(s: Any, tables: Any, role: Any, slot: Any, honest: Any, out: Any) -> None:
            if slot > WORD:
                out[0] = draw(s, points) if honest == 1 else 0
            elif honest == 0 and role == BOB:
                out[0] = 0
            else:
                answer = oracle(s, tables, np.int64(s.step))
                if honest == 0:
                    out[0] = tables.overstated[answer]
                elif role == ALICE:
                    out[0] = estimate(s, tables, ALICE, answer)
                else:
                    off = abs(estimate(s, tables, BOB, answer) - np.int64(s.said[STATE, 0]))
                    out[0] = 1 if 2 * off >= bob_rejects else 0

        @lane
        def check(s: Any, tables: Any) -> Any:
            if s.estimate < 0:
                return np.int64(s.bits[steps - 1])
            return np.int64(1 if 2 * abs(np.int64(s.estimate) - np.int64(s.said[STATE, 0])) < vera_rejects else 0)

        return ProtocolRules(deal, pay, after, tell, check)


def samples(error: float, failure: float) -> int:
    """Of how many samples the mean is within `error` of a probability but for a chance of at most `failure`: Hoeffding's bound."""
    return math.ceil(math.log(2 / failure) / (2 * error**2))


@cache
def estimates(probability: Fraction, count: int, points: int) -> tuple[int, NDArray[np.uint32]]:
    """The mean of `count` samples, rounded to a multiple of 1 / points (halves up): the least one that comes, and from there on
    the chances, of SCALE, that it is at most that, up to the first certain one. Chances below 2^-33 are nought.
    """
    from scipy.stats import binom  # which takes half a second, and `import pvg` needs none of it

    at = np.arange(points + 1, dtype=np.int64)
    most = (count * (2 * at + 1) - 1) // (2 * points)  # of the samples that are 1
    chances = np.round(binom.cdf(most, count, float(probability)) * SCALE).astype(np.uint32)
    first, last = int((chances > 0).argmax()), int((chances == SCALE).argmax())
    return first, chances[first : last + 1]


def _estimating(width: int) -> LaneFunction:
    """estimate(s, tables, role, answer) -> grid point: one draw, looked up among `width` (a power of two) chances."""
    halvings = width.bit_length() - 1

    @lane
    def estimate(s: Any, tables: Any, role: Any, answer: Any) -> Any:
        u, found = draw(s, SCALE), 0
        for k in range(halvings):
            half = width >> (k + 1)
            if np.int64(tables.estimate_cumulative[role, answer, found + half - 1]) <= u:
                found += half
        return np.int64(tables.estimate_first[role, answer]) + found

    return estimate


def _machine(task: Task) -> Machine:
    machine = task.rules.machine
    if machine is None:
        raise ValueError("it needs a machine that is run bit by bit, and the task has none")
    return machine
