"""Intervals, decisions and thresholds against numbers computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pvg.game import Game
from pvg.metrics import (
    Figure,
    NonFiniteVerdict,
    agent_score_difference,
    always_fails,
    best_threshold,
    brier_score,
    by_side,
    calibration_error,
    checked,
    clopper_pearson,
    coins,
    decide,
    difference,
    elo,
    log_score,
    mean,
    measured,
    paired_difference,
    proportion,
    said,
    worst,
)
from pvg.protocols import Bisection
from pvg.spec import resolve
from pvg.tasks.arith import Arith


@pytest.mark.parametrize("n", [1, 10, 2000])
def test_bounds_of_none_and_of_all_have_their_closed_forms(n: int) -> None:
    assert clopper_pearson(0, n) == pytest.approx((0.0, 1 - 0.05 ** (1 / n)))
    assert clopper_pearson(n, n) == pytest.approx((0.05 ** (1 / n), 1.0))


def test_bounds_of_five_in_ten_are_those_of_the_tables() -> None:
    assert clopper_pearson(5, 10) == pytest.approx((0.2224, 0.7776), abs=5e-5)  # ends of the two-sided 90 % interval
    assert clopper_pearson(5, 10, 0.975) == pytest.approx((0.1871, 0.8129), abs=5e-5)  # of the two-sided 95 % one


@pytest.mark.parametrize(("successes", "n"), [(1, 7), (3, 20), (19, 20)])
def test_each_bound_is_where_the_binomial_tail_is_five_per_cent(successes: int, n: int) -> None:
    low, high = clopper_pearson(successes, n)

    def tail(p: float, counts: range) -> float:
        return sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in counts)

    assert tail(low, range(successes, n + 1)) == pytest.approx(0.05)
    assert tail(high, range(successes + 1)) == pytest.approx(0.05)


@pytest.mark.parametrize(("successes", "n"), [(-1, 3), (4, 3), (0, 0)])
def test_impossible_counts_are_refused(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match=f"successes={successes} of n={n}"):
        clopper_pearson(successes, n)


def test_a_proportion_says_how_it_was_got() -> None:
    figure = proportion(torch.tensor([True, False, True, True]), "honest")
    assert (figure.value, figure.n) == (0.75, 4)
    assert (figure.low, figure.high) == clopper_pearson(3, 4)
    assert figure.method == "honest; one-sided Clopper-Pearson at 95%"
    assert set(figure.as_dict()) == {"value", "low", "high", "n", "method"}


def test_of_no_games_nothing_is_known() -> None:
    figure = proportion(torch.zeros(0, dtype=torch.bool), "all forfeited")
    assert (figure.low, figure.high, figure.n) == (0.0, 1.0, 0)


def test_a_difference_takes_the_worse_end_of_either() -> None:
    figure = difference(Figure(0.9, 0.8, 0.95, 100, "a"), Figure(0.2, 0.1, 0.4, 50, "b"), "J")
    assert (figure.value, figure.low, figure.high) == pytest.approx((0.7, 0.4, 0.85))
    assert figure.n == 50


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, -0.01, 1.01])
def test_a_verdict_that_is_no_probability_voids_the_run(bad: float) -> None:
    verdicts = torch.tensor([[0.0, 1.0], [bad, 0.5]])
    for use in (checked, lambda v: decide(v, torch.zeros(2)), lambda v: best_threshold(v[1], v[0])):
        with pytest.raises(NonFiniteVerdict, match="the run is void"):
            use(verdicts)


def test_certain_verdicts_need_no_luck_with_the_coin() -> None:
    tosses = coins(0, 10_000)
    assert decide(torch.ones(10_000), tosses).all()
    assert not decide(torch.zeros(10_000), tosses).any()


def test_a_verdict_above_the_coin_is_accepted() -> None:
    accepted = decide(torch.tensor([0.3, 0.3, 0.3]), torch.tensor([0.29, 0.3, 0.31]))
    assert accepted.tolist() == [True, False, False]


def test_a_verdict_is_accepted_as_often_as_it_says() -> None:
    accepted = decide(torch.full((100_000,), 0.3), coins(5, 100_000))
    assert int(accepted.sum()) == pytest.approx(30_000, abs=600)  # four standard deviations


def test_a_coin_depends_on_seed_and_place_alone() -> None:
    before = torch.get_rng_state()
    assert torch.equal(coins(3, 1000)[:10], coins(3, 10))
    assert not torch.equal(coins(3, 10), coins(4, 10))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("honest", "worst", "threshold"),
    [
        ([1.0, 1.0], [0.0, 0.0], 0.5),
        ([0.9, 0.8], [0.1, 0.2], 0.5),
        ([0.9, 0.5], [0.6, 0.1], 0.3),  # one wrong anywhere: the widest gap among the equals, 0.1 to 0.5
        ([0.9, 0.3], [0.5, 0.1], 0.7),  # the same, where the widest is the higher one
        ([0.9, 0.1], [0.5, 0.2], 0.7),  # 1/2 - 0 above 0.5, and nothing better
    ],
)
def test_the_threshold_is_the_middle_of_the_widest_best_gap(honest: list[float], worst: list[float], threshold: float) -> None:
    assert best_threshold(torch.tensor(honest), torch.tensor(worst)) == pytest.approx(threshold)


def test_neighbouring_float32_verdicts_are_told_apart() -> None:
    low = torch.tensor([0.5])
    high = torch.nextafter(low, torch.tensor(1.0))
    threshold = best_threshold(high, low)
    assert bool((high.double() >= threshold).all())
    assert not bool((low.double() >= threshold).any())


verdicts = st.lists(st.integers(0, 8).map(lambda k: k / 8), min_size=1, max_size=12)


@given(verdicts, verdicts)
def test_no_threshold_has_a_larger_completeness_minus_error(honest: list[float], worst: list[float]) -> None:
    def gain(t: float) -> float:
        return sum(v >= t for v in honest) / len(honest) - sum(v >= t for v in worst) / len(worst)

    chosen = best_threshold(torch.tensor(honest), torch.tensor(worst))
    assert gain(chosen) == pytest.approx(max(gain(k / 16) for k in range(18)))


def test_the_log_score_is_the_logarithm_of_the_true_answers_probability_down_to_a_floor() -> None:
    given = torch.tensor([[0.25, 0.75], [1.0, 0.0], [0.0, 1.0]])
    assert log_score(given, torch.tensor([0, 1, 1])).tolist() == pytest.approx([math.log(0.25), math.log(1e-4), 0.0])


def test_the_brier_score_is_minus_the_squared_distance_from_certainty() -> None:
    assert brier_score(torch.tensor([[0.25, 0.75], [1.0, 0.0]]), torch.tensor([1, 1])).tolist() == pytest.approx([-0.125, -2.0])
    assert brier_score(torch.tensor([[0.5, 0.3, 0.2]]), torch.tensor([0])).tolist() == pytest.approx([-0.38])


@pytest.mark.parametrize("score", [log_score, brier_score])
def test_a_score_is_best_for_who_says_what_it_holds(score: object) -> None:
    def expected(said: float, held: float) -> float:
        given = torch.tensor([[1 - said, said]])
        return sum(p * float(score(given, torch.tensor([a]))) for a, p in enumerate([1 - held, held]))  # type: ignore[operator]

    for held in (0.1, 0.5, 0.8):
        assert max(range(1, 20), key=lambda k: expected(k / 20, held)) == round(20 * held)


@pytest.mark.parametrize("score", [log_score, brier_score])
def test_what_is_no_distribution_is_not_scored(score: object) -> None:
    with pytest.raises(ValueError, match=r"add up to 1, here one sum is off by 0.1"):
        score(torch.tensor([[0.5, 0.4]]), torch.tensor([0]))  # type: ignore[operator]
    with pytest.raises(NonFiniteVerdict):
        score(torch.tensor([[math.nan, 1.0]]), torch.tensor([0]))  # type: ignore[operator]


def test_calibration_error_weighs_each_bin_by_its_verdicts() -> None:
    confidence, right = torch.tensor([0.55, 0.55, 0.95, 0.75]), torch.tensor([True, False, True, True])
    # |1/2 - 0.55| of two, |1 - 0.95| of one, |1 - 0.75| of one
    assert calibration_error(confidence, right) == pytest.approx((2 * 0.05 + 0.05 + 0.25) / 4)
    assert calibration_error(confidence, right, bins=1) == pytest.approx(0.05)  # 3/4 right, 0.7 on average
    assert calibration_error(torch.ones(3), torch.ones(3, dtype=torch.bool)) == 0
    with pytest.raises(ValueError, match="bins=0"):
        calibration_error(confidence, right, bins=0)


def test_a_mean_of_equal_values_is_certain_and_of_tosses_as_uncertain_as_they_are() -> None:
    same = mean(torch.full((30,), 0.3), "same")
    assert (same.value, same.low, same.high) == pytest.approx((0.3, 0.3, 0.3))
    tosses = mean(torch.tensor([0.0, 1.0] * 200), "tosses")
    assert (tosses.value, tosses.low, tosses.high) == pytest.approx((0.5, 0.5 - 1.645 * 0.025, 0.5 + 1.645 * 0.025), abs=0.006)
    assert tosses == mean(torch.tensor([0.0, 1.0] * 200), "tosses")
    values = torch.rand(50, generator=torch.Generator().manual_seed(0))
    assert mean(values, "drawn") != mean(values, "drawn", seed=1)


def test_copies_of_a_statement_tell_no_more_than_one() -> None:
    values = torch.rand(40, generator=torch.Generator().manual_seed(0))
    once, copied = mean(values, "m"), mean(values.repeat(5), "m", unit=torch.arange(40).repeat(5))
    assert (copied.value, copied.low, copied.high) == pytest.approx((once.value, once.low, once.high))


def test_a_score_that_is_not_finite_voids_the_run() -> None:
    with pytest.raises(NonFiniteVerdict, match="mine: a score is NaN or infinite"):
        mean(torch.tensor([1.0, math.nan]), "mine")
    with pytest.raises(ValueError, match="nothing to count"):
        mean(torch.zeros(0), "mine")


def test_pairing_takes_out_what_two_judges_share() -> None:
    hard = torch.rand(200, generator=torch.Generator().manual_seed(1))
    assert paired_difference(hard, hard, "same").as_dict() | {"method": ""} == {
        "value": 0, "low": 0, "high": 0, "n": 200, "method": "",
    }  # fmt: skip
    better = paired_difference(hard + 0.01, hard, "a little")
    assert (better.value, better.low, better.high) == pytest.approx((0.01, 0.01, 0.01), abs=1e-6)
    with pytest.raises(ValueError, match="expected one shape"):
        paired_difference(hard, hard[1:], "other")


def test_the_agent_score_difference_is_what_the_truth_gains() -> None:
    figure = agent_score_difference(torch.tensor([-0.1, -0.5, -1.0]), torch.tensor([True, True, False]), "asd")
    assert figure.value == pytest.approx(-0.3 + 1.0)
    assert figure.n == 3


def test_the_agent_score_difference_of_a_judge_that_is_never_wrong_is_2_in_brier_scores() -> None:
    certain, argued = torch.tensor([[1.0, 0.0], [0.0, 1.0]] * 5), torch.tensor([0, 0] * 5)
    figure = agent_score_difference(brier_score(certain, argued), torch.tensor([True, False] * 5), "asd")
    assert (figure.value, figure.low, figure.high) == (2, 2, 2)
    with pytest.raises(ValueError, match="others that are false"):
        agent_score_difference(torch.zeros(3), torch.ones(3, dtype=torch.bool), "asd")


def test_accuracy_by_side_and_the_worst_of_them() -> None:
    right, true = torch.tensor([True, True, True, False, False]), torch.tensor([True, True, False, False, False])
    sides = by_side(right, true, "alice")
    assert {name: (figure.value, figure.n) for name, figure in sides.items()} == {
        "alice argues the truth": (1.0, 2),
        "alice argues a falsehood": (pytest.approx(1 / 3), 3),
    }
    least = worst(sides)
    assert (least.value, least.n) == (pytest.approx(1 / 3), 3)
    assert (least.low, least.high) == clopper_pearson(1, 3)
    assert list(by_side(right[:2], true[:2], "alice")) == ["alice argues the truth"]


def test_a_statement_always_fails_where_no_game_on_it_was_right() -> None:
    figure = always_fails(torch.tensor([False, False, True, False, False]), torch.tensor([7, 7, 8, 8, 9]))
    assert (figure.value, figure.n) == (pytest.approx(2 / 3), 3)


def test_elo_of_two_is_the_logarithm_of_their_odds() -> None:
    first, second = elo([[0, 3], [1, 0]])
    assert first.value == pytest.approx(200 * math.log10(3))
    assert second.value == pytest.approx(-first.value)
    assert (first.low, first.high) == (-math.inf, math.inf)  # one player wins all four games in a third of the tournaments
    assert "draws without a maximum" in first.method
    tied = elo([[0, 2.5], [1.5, 0]])
    assert tied[0].value == pytest.approx(200 * math.log10(5 / 3))


def test_elo_expects_as_many_wins_as_each_player_has() -> None:
    wins = np.array([[0, 7, 5, 0], [3, 0, 6, 4], [2, 5, 0, 9], [0, 2, 3, 0]])
    ratings = np.array([figure.value for figure in elo(wins)])
    chance = 1 / (1 + 10 ** ((ratings - ratings[:, None]) / 400))
    assert ((wins + wins.T) * chance).sum(1) == pytest.approx(wins.sum(1))
    assert ratings.mean() == pytest.approx(0, abs=1e-9)


def test_elo_rates_guards_that_only_met_attackers() -> None:
    wins = np.zeros((4, 4))
    wins[:2, 2:], wins[2:, :2] = [[30, 10], [20, 20]], np.array([[10, 30], [20, 20]]).T
    figures = elo(wins)
    assert figures[0].value - figures[1].value == pytest.approx(0, abs=30)
    assert figures[3].value > figures[2].value
    assert figures[0].n == 80


def test_elo_of_a_long_tournament_is_near_and_its_bounds_hold_the_truth() -> None:
    true = np.array([150.0, 0.0, -150.0])
    chance = 1 / (1 + 10 ** ((true - true[:, None]) / 400))
    wins = np.rint(2000 * chance)
    np.fill_diagonal(wins, 0)
    for figure, rating in zip(elo(wins), true, strict=True):
        assert figure.value == pytest.approx(rating, abs=0.5)
        assert figure.low < rating < figure.high
        assert figure.high - figure.low < 25


@pytest.mark.parametrize(
    ("wins", "complaint"),
    [
        ([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]], r"players \[0, 1\] met none of the others"),
        ([[0, 5], [0, 0]], r"players \[0\] never lost"),
        ([[0, 1, 4], [1, 0, 4], [0, 0, 0]], r"players \[0, 1\] never lost"),
        ([[0, math.nan], [1, 0]], "a square matrix of wins"),
        ([[0, 1, 1], [1, 0, 1]], "a square matrix of wins"),
    ],
)
def test_elo_without_a_maximum_is_refused(wins: list[list[float]], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        elo(wins)


def test_what_is_said_counts_by_the_symbols_there_were_to_choose_from() -> None:
    spec = resolve(Arith(operations=4, modulus=8), Bisection())  # two states of 3 bits, two halves of 1, the verdict
    kinds = [row.kind for row in spec.rows]
    assert kinds == ["message", "challenge", "message", "challenge", "verdict"]
    messages, bits = said(spec, torch.tensor([[1, 1, 1, 1, 1], [1, 0, 0, 0, 0], [2, 1, 0, 0, 1]]))
    assert messages.tolist() == [4, 1, 3]
    assert bits.tolist() == pytest.approx([8, 3, 7])


def test_played_games_are_counted_by_hand() -> None:
    game = Game(resolve(Arith(operations=4, modulus=8), Bisection()), 5)
    with pytest.raises(ValueError, match="5 games are not over"):
        measured(game, torch.ones(5, 5))
    for name, values in {
        "turn": [-1] * 5,
        "truth": [1, 1, 0, 0, 1],
        "verdict": [1, 0, 0, 2, -1],
        "forfeit": [-1, -1, -1, -1, 1],
    }.items():
        game.field(name).copy_(torch.tensor(values))
    game.returns.copy_(torch.tensor([[1, 0, 1], [0, 1, -1], [0, 1, 1], [0, 0, 0], [0, -1, 0]]))
    found = measured(game, torch.tensor([[1, 1, 1, 1, 1]] * 4 + [[1, 0, 0, 0, 0]]))
    assert found.games == 5
    assert found.accuracy is not None
    assert (found.accuracy.value, found.accuracy.n) == (0.5, 4)
    assert found.unsure is not None
    assert found.unsure.value == 0.25
    assert {name: (figure.value, figure.n) for name, figure in found.by_side.items()} == {
        "prover argues the truth": (0.5, 2),
        "prover argues a falsehood": (0.5, 2),
        "challenger argues the truth": (0.5, 2),
        "challenger argues a falsehood": (0.5, 2),
    }
    assert found.forfeits == {"prover": 0, "challenger": 1, "verifier": 0}
    assert (found.messages.value, found.bits.value) == pytest.approx((17 / 5, 35 / 5))
    assert {role: figure.value for role, figure in found.returns.items()} == pytest.approx(
        {"prover": 0.2, "challenger": 0.2, "verifier": 0.2}
    )
