"""The stochastic debate's theorem, by an exact evaluator of its Markov chain that shares no code with the game."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import binom

from pvg.agent import LaneAgent, agents
from pvg.game import Game
from pvg.lane import lane
from pvg.protocols.stochastic_debate import SCALE, StochasticDebate, estimates, samples
from pvg.spec import default_protocol, resolve
from pvg.task import TaskRules
from pvg.tasks import Arith
from pvg.tasks.poll import Poll
from pvg.testing import PARITY

DEBATE = StochasticDebate()
UNLIKELY = 1e-7

Chances = NDArray[np.float64]


@cache
def estimated(length: int) -> tuple[Chances, ...]:
    """Of a Poll of `length` tilts, the chances of Alice's, Bob's and Vera's rounded estimates, `answer point`, by adding up."""
    points, found = 2 * DEBATE.grid, []
    for count in DEBATE.samples(Poll(length=length)).values():
        ones = np.arange(count + 1)
        rounded = (2 * ones * points + count) // (2 * count)
        each = [np.bincount(rounded, binom.pmf(ones, count, answer / length), points + 1) for answer in range(length + 1)]
        found.append(np.array(each))
    return tuple(found)


@cache
def chances(length: int) -> tuple[Chances, Chances, Chances]:
    """For every answer of the oracle and grid point p, `answer p`: that an honest Alice states p, that an honest Bob stops her at
    p, that Vera then accepts p.
    """
    alice, bob, vera = estimated(length)
    at = np.arange(alice.shape[1])
    off = 2 * np.abs(at[:, None] - at)
    return alice, bob @ (off >= DEBATE.s + DEBATE.b), vera @ (off < DEBATE.c + DEBATE.s)


def stating(length: int, points: Any) -> Chances:
    """An Alice who states one grid point for each answer, cut to the grid: `answer p`."""
    alice = np.zeros((length + 1, 2 * DEBATE.grid + 1))
    alice[np.arange(length + 1), np.clip(points, 0, 2 * DEBATE.grid)] = 1
    return alice


def exactly(length: int) -> NDArray[Any]:
    """The answers, rounded down to the grid."""
    return np.arange(length + 1) * 2 * DEBATE.grid // length


def overstated(length: int) -> NDArray[Any]:
    """For each answer the highest point that an honest Bob stops with a chance of at most q / T."""
    _, bob, _ = chances(length)
    return bob.shape[1] - 1 - (bob <= DEBATE.q / (length + 1))[:, ::-1].argmax(axis=1)


def value(tilts: NDArray[Any], alice: Chances | None, bob: Chances | None) -> float:
    """The probability that Vera's verdict is 1; `alice` states p and `bob` stops with those chances, `answer p`, given the
    answer of the oracle; None: the best she or he can do. The joint coin is fair: one of them is honest.
    """
    n = len(tilts)
    _, _, vera = chances(n)
    p = np.linspace(0, 1, vera.shape[1])
    onward = np.array([[0.0, 1.0]] * (n + 1))  # ones bit: the value once the last bit is written
    for step in range(n, -1, -1):
        now = np.zeros(n + 1)
        for ones in range(step + 1):
            answer = tilts[step] if step < n else ones
            passes = (1 - p) * onward[ones, 0] + p * onward[ones, 1]
            stops = vera[answer]
            outcome = np.minimum(stops, passes) if bob is None else bob[answer] * stops + (1 - bob[answer]) * passes
            now[ones] = outcome.max() if alice is None else alice[answer] @ outcome
        onward = np.stack([now, np.roll(now, -1)], axis=1)
    return float(onward[0, 0])


def values(tilts: NDArray[Any], alice: Chances, bob: Chances) -> NDArray[np.float64]:
    """`value` of many statements at once, `lane`, where both play as given."""
    lanes, n = tilts.shape
    _, _, vera = chances(n)
    p = np.linspace(0, 1, vera.shape[1])
    stopped = (alice * bob * vera).sum(axis=1)
    one, zero = ((alice * (1 - bob)) @ p), ((alice * (1 - bob)) @ (1 - p))
    now = np.broadcast_to(stopped + one, (lanes, n + 1))
    for step in range(n - 1, -1, -1):
        answer = tilts[:, step, None]
        now = stopped[answer] + one[answer] * now[:, 1:] + zero[answer] * now[:, :-1]
    return np.asarray(now[:, 0])


def hardest(length: int, truth: int, count: int) -> NDArray[Any]:
    game = Game(resolve(Poll(length=length), DEBATE), 4 * count, seed=3)
    return game.field("tilt")[game.field("truth") == truth][:count].numpy().astype(np.int64)


@pytest.mark.parametrize("length", [3, 8, 15])
def test_honest_alice_wins_three_in_five_against_the_best_bob(length: int) -> None:
    alice, bob, _ = chances(length)
    never, always = np.zeros_like(bob), np.ones_like(bob)
    for tilts in hardest(length, 1, 6):
        best = value(tilts, alice, None)
        assert 0.6 < DEBATE.guarantee < best
        assert best == pytest.approx(tilts.sum() / length**2, abs=1e-5)  # the halves that are rounded up
        for other in (never, always, always / 2, bob):
            assert value(tilts, alice, other) >= best
        assert value(tilts, alice, never) - best < 1e-6  # to stop her gains nothing: the dishonest Bob is the best
        assert value(tilts, alice, always) > 0.999


@pytest.mark.parametrize("length", [3, 8, 15])
def test_honest_bob_holds_the_best_alice_to_two_in_five(length: int) -> None:
    _, bob, _ = chances(length)
    for tilts in hardest(length, 0, 6):
        best = value(tilts, None, bob)
        dishonest = value(tilts, stating(length, overstated(length)), bob)
        assert best < 1 - DEBATE.guarantee < 0.4
        assert tilts.sum() / length**2 + 0.02 < dishonest <= best < dishonest + 0.004
        for by in (0, DEBATE.c, DEBATE.b, 200, 2000):
            assert value(tilts, stating(length, exactly(length) + by), bob) < dishonest


ALICES = ("honest", "dishonest", "at Bob's edge", "at Vera's edge", "random")
BOBS = ("honest", "dishonest", "stopping", "random")
BOBS_EDGE, VERAS_EDGE = (DEBATE.s + DEBATE.b) // 2, (DEBATE.c + DEBATE.s) // 2


def _in_turn(spec: Any, role: int) -> Any:
    """Alices and Bobs of all kinds, by lane."""
    tell, oracle = spec.rules.tell, spec.task.rules.machine.oracle
    anything, points, n = agents["random"].build(spec, role), 2 * DEBATE.grid, spec.task.length
    slots = spec.slot[spec.row_of(role)]

    @lane
    def act(s: Any, tables: Any, out: Any) -> None:
        k = np.int64(s.key & np.uint64(PARITY)) % 20
        kind = k % 5 if role == 0 else k // 5
        if kind < 2:
            tell(s, tables, role, slots[s.turn], 1 - kind, out)
        elif kind == (4 if role == 0 else 3):
            anything(s, tables, out)
        elif s.turn == 2:
            out[0] = 0
        elif role == 1:
            out[0] = 1
        else:
            exact = oracle(s, tables, np.int64(s.step)) * points // n
            out[0] = min(points, exact + (BOBS_EDGE if kind == 2 else VERAS_EDGE))

    return act


@cache
def played() -> Game:
    """200,000 games of every Alice with every Bob."""
    game = Game(resolve(Poll(), DEBATE), 200_000, seed=1)
    kinds = LaneAgent("in_turn", _in_turn, "all kinds")
    game.play({"alice": kinds, "bob": kinds})
    return game


def test_games_are_won_as_often_as_the_evaluator_says() -> None:
    game, n = played(), 8
    honest, stops, _ = chances(n)
    alices = {
        "honest": honest,
        "dishonest": stating(n, overstated(n)),
        "at Bob's edge": stating(n, exactly(n) + BOBS_EDGE),
        "at Vera's edge": stating(n, exactly(n) + VERAS_EDGE),
        "random": np.full_like(honest, 1 / honest.shape[1]),
    }
    bobs = {"honest": stops, "dishonest": 0 * stops, "stopping": 0 * stops + 1, "random": 0 * stops + 0.5}
    kinds = (game.field("key") & PARITY) % 20
    tilts, verdict = game.field("tilt").numpy().astype(np.int64), game.field("verdict").numpy()
    compared = 0
    for k, (bob, alice) in enumerate(itertools.product(BOBS, ALICES)):
        if alice in ("honest", "random") or bob in ("honest", "random"):  # somebody's share of the coin is uniform
            for first in range(n + 1):  # all statements of a truth are as hard, whatever their first bit is
                here = (kinds == k).numpy() & (tilts[:, 0] == first)
                expected = values(tilts[here], alices[alice], bobs[bob])
                accepted, games = int((verdict[here] == 1).sum()), len(expected)
                unlikely = binom.cdf(accepted, games, expected.mean()), binom.sf(accepted - 1, games, expected.mean())
                assert min(unlikely) > UNLIKELY, (alice, bob, first, accepted / games, expected.mean())
                compared += games
            assert expected[0] == pytest.approx(value(tilts[here][0], alices[alice], bobs[bob]))
    assert compared > 100_000


def test_estimates_are_binomial_rounded_to_the_grid() -> None:
    game = played()
    kinds = (game.field("key") & PARITY) % 20
    stopped = kinds == 5 * BOBS.index("stopping") + ALICES.index("honest")
    answer, stated = game.field("tilt")[stopped][:, 0].numpy(), game.field("said")[stopped][:, 0, 0].numpy()
    for heard, expected in ((stated, estimated(8)[0]), (game.field("estimate")[stopped].numpy(), estimated(8)[2])):
        for a in range(9):
            counts = np.bincount(heard[answer == a], minlength=expected.shape[1])
            apart = np.abs(counts.cumsum() / counts.sum() - expected[a].cumsum()).max()
            assert apart < math.sqrt(math.log(2 / UNLIKELY) / (2 * counts.sum()))  # Dvoretzky, Kiefer & Wolfowitz; Massart
    for role, count in enumerate(DEBATE.samples(Poll()).values()):
        for a in range(9):
            first, cumulative = estimates(Fraction(a, 8), count, 2 * DEBATE.grid)
            exact = estimated(8)[role][a].cumsum()
            assert np.abs(cumulative / SCALE - exact[first : first + len(cumulative)]).max() < 2**-31
            assert exact[first - 1] < 2**-31 or first == 0


def test_vera_samples_once_and_no_more_for_a_longer_machine() -> None:
    costs = [DEBATE.samples(Poll(length=n)) for n in (3, 15, 63)]
    assert len({cost["vera"] for cost in costs}) == 1
    assert costs[0]["alice"] < costs[1]["alice"] < costs[2]["alice"]
    assert costs[0]["bob"] < costs[1]["bob"] < costs[2]["bob"]
    assert DEBATE.samples(Steeper())["vera"] == pytest.approx(4 * costs[0]["vera"], rel=1e-5)
    game = played()
    stopped = game.field("estimate") >= 0
    step, elapsed = game.field("step").int(), game.field("elapsed").int()
    assert torch.equal(elapsed[stopped], 3 * step[stopped] + 3)  # the debate is over with the estimate
    assert bool((elapsed[~stopped] == 28).all())
    written = (game.field("bits") >= 0).sum(dim=1)
    assert torch.equal(written, torch.where(stopped, step, 9).long())


class Steeper(Poll):
    """A Poll that is said to be 4-Lipschitz."""

    def build(self) -> TaskRules:
        rules = super().build()
        assert rules.machine is not None
        return replace(rules, machine=replace(rules.machine, lipschitz=4))


def say(game: Game, alice: int = 0, bob: int = 0, vera: int = 0) -> list[float]:
    game.actions[:, :, 0] = torch.tensor([alice, bob, vera])
    return [float(reward) for reward in game.step()[0]]


def test_a_game_by_hand() -> None:
    game = Game(resolve(Poll(length=3), DEBATE), 1, seed=5)
    for p, a, b, bit in ((1500, 1000, 499, 1), (1500, 1000, 500, 0), (1, 1999, 1, 1), (2000, 1999, 0, 1)):
        assert game.acting[0].tolist() == [True, False, False]
        assert say(game, alice=p) == [0, 0, 0]
        assert game.acting[0].tolist() == [False, True, False]
        assert game.observe("bob")["probability"].item() == game.observe("vera")["probability"].item() == p
        say(game, bob=0)
        assert game.acting[0].tolist() == [True, True, False]
        step = int(game.field("step")[0])
        say(game, alice=a, bob=b)
        assert game.field("bits")[0, step].item() == bit
        assert game.observe("alice")["share_3"].item() == b
        assert game.observe("bob")["share_2"].item() == a
    assert game.acting[0].tolist() == [False, False, True]
    assert game.field("bits")[0].tolist() == [1, 0, 1, 1]
    over = game.bytes.clone()
    game.speak((None, None, agents["reference"]))
    assert game.actions[0, 2, 0] == 1  # the last bit
    for truth in (0, 1):
        for verdict, paid in ((1, [1, 0, 2 * truth - 1]), (0, [0, 1, 1 - 2 * truth]), (2, [0, 0, 0])):
            game.bytes.copy_(over)
            game.field("truth").fill_(truth)
            assert say(game, vera=verdict) == paid
            assert bool(game.over.all())


def test_vera_judges_the_probability_at_which_bob_stopped() -> None:
    game = Game(resolve(Poll(length=3), DEBATE), 1, seed=5)
    for _ in range(2):
        say(game, alice=2000)
        say(game)
        say(game)
    say(game, alice=2000)
    assert game.observe("vera")["estimate"].item() == -1
    say(game, bob=1)
    assert game.acting[0].tolist() == [False, False, True]
    assert game.field("bits")[0].tolist() == [1, 1, -1, -1]
    seen = game.observe("vera")["estimate"].item()
    assert abs(seen - 2000 * game.field("tilt")[0, 2].item() / 3) < 8
    for off, verdict in ((0, 1), (14, 1), (-14, 1), (15, 0), (-15, 0)):
        game.field("estimate").fill_(2000 - off)
        game.speak((None, None, agents["reference"]))
        assert game.actions[0, 2, 0] == verdict


def test_vera_sees_no_tilt_debaters_no_estimate_and_nobody_a_share_before_the_other() -> None:
    spec = resolve(Poll(length=3), DEBATE)
    alice, bob, vera = ([column.field.name for column in spec.view(role)] for role in range(3))
    assert alice == bob == ["turn", "tilt", "step", "bits", "probability", "stop", "share_2", "share_3"]
    assert vera == ["step", "bits", "estimate", "probability", "stop", "share_2", "share_3"]
    first, second = (row for row in spec.rows if row.kind == "share")
    assert first.turn == second.turn


def test_settings_change_what_is_said_and_how_much_it_costs() -> None:
    task, usual = Poll(length=3), DEBATE.samples(Poll(length=3))
    assert samples(0.1, 0.05) == 185
    assert usual["alice"] == samples(9.5 / 2000, 0.01 / 4)
    assert usual["bob"] == samples(14.5 / 2000, 0.01 / 4)
    assert usual["vera"] == samples(4.5 / 2000, 0.01)
    for settings, dearer in (
        ({"c": 8}, {"alice"}),
        ({"c": 12}, {"vera"}),
        ({"b": 40}, {"bob"}),
        ({"q": 0.001}, {"alice", "bob"}),
        ({"v": 0.001}, {"vera"}),
        ({"s": 22}, {"bob"}),
        ({"grid": 2000}, {"alice", "bob", "vera"}),
    ):
        debate = StochasticDebate(**settings)  # type: ignore[arg-type]
        assert {role for role, count in debate.samples(task).items() if count > usual[role]} == dearer
        assert debate.kinds(task, None)["share"][0].high == 2 * debate.grid
    assert StochasticDebate(b=60).guarantee < DEBATE.guarantee < StochasticDebate(b=40).guarantee
    assert StochasticDebate(v=0.02).guarantee < DEBATE.guarantee
    assert StochasticDebate(q=0.02).guarantee < DEBATE.guarantee
    assert StochasticDebate(c=90, s=92, b=94).guarantee == pytest.approx(0.99 * (2 / 3 - 0.1))


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"grid": 99}, r"grid=99 is outside 100..100000"),
        ({"c": 0}, r"c=0 is outside 1..18"),
        ({"c": 19}, r"c=19 is outside 1..18"),
        ({"s": 49}, r"s=49 is outside 3..48"),
        ({"b": 1001}, r"b=1001 is outside 5..1000"),
        ({"q": 0.0}, r"q=0.0 is not between 0 and 1"),
        ({"v": 1.0}, r"v=1.0 is not between 0 and 1"),
    ],
)
def test_a_bad_setting_is_refused(settings: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=f"StochasticDebate: {why}"):
        StochasticDebate(**settings)


def test_it_plays_machines_alone() -> None:
    assert default_protocol(Poll()) == DEBATE
    with pytest.raises(ValueError, match=r"does not fit Arith .*it needs a machine that is run bit by bit, and the task has none"):
        resolve(Arith(), DEBATE)
