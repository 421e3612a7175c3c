"""Intervals, decisions and thresholds against numbers computed by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pvg.metrics import (
    Figure,
    NonFiniteVerdict,
    best_threshold,
    checked,
    clopper_pearson,
    coins,
    decide,
    difference,
    proportion,
)


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
