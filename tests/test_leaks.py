"""The marginal-leak report: Arith leaves no shallow feature, and a planted one is found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from pvg.field import Field
from pvg.lane import draw, lane
from pvg.leaks import marginal_leaks
from pvg.task import Task, TaskRules, Values
from pvg.tasks.arith import Arith


@dataclass(frozen=True)
class Planted(Task):
    """The truth is the parity of two of four bits, or (with `wide`) told by one of them eight times in ten."""

    alone: bool = False

    @property
    def statement(self) -> tuple[Field, ...]:
        return (Field("noise", 1000), Field("bit", 2, (4,)))

    def build(self) -> TaskRules:
        alone = self.alone

        @lane
        def sample(s: Any, tables: Any) -> None:
            s.noise = draw(s, 1000)
            for j in range(4):
                s.bit[j] = draw(s, 2)
            s.truth = (s.bit[1] + s.bit[3]) % 2
            if alone:
                s.truth = s.bit[2] if draw(s, 5) > 0 else 1 - s.bit[2]

        return TaskRules(sample)

    def render(self, values: Values) -> str:
        return str(values)

    def parse(self, text: str) -> dict[str, Any]:
        return {}


@pytest.mark.parametrize("task", [Arith(), Arith(modulus=7, multiplication=True)], ids=["default", "multiplication"])
def test_no_marginal_of_two_columns_tells_the_truth_of_arith(task: Arith) -> None:
    found = marginal_leaks(task)
    assert not found.leaks, str(found)
    assert found.accuracy.value == pytest.approx(0.5, abs=0.01)
    assert found.accuracy.n == 100_000
    assert "105 marginals" in found.accuracy.method


def test_a_leak_that_takes_two_columns_is_found_and_named() -> None:
    found = marginal_leaks(Planted(), games=2000)
    assert found.columns == ("bit[1]", "bit[3]")
    assert (found.accuracy.value, found.leaks) == (1.0, True)


def test_a_leak_of_one_column_is_found_at_its_accuracy() -> None:
    found = marginal_leaks(Planted(alone=True), games=20_000)
    assert "bit[2]" in found.columns
    assert found.leaks
    assert found.accuracy.low < 0.8 < found.accuracy.high


def test_the_bounds_account_for_the_number_of_marginals_looked_at() -> None:
    found = marginal_leaks(Planted(alone=True), games=2000)
    n, successes = found.accuracy.n, round(found.accuracy.value * found.accuracy.n)
    tail = _at_least(successes, n, found.accuracy.low)
    assert tail == pytest.approx(0.05 / 15, rel=1e-3)  # 5 columns, 10 pairs


def test_more_than_half_a_handful_of_games_is_asked_for() -> None:
    with pytest.raises(ValueError, match="games=3"):
        marginal_leaks(Planted(), games=3)


def _at_least(successes: int, n: int, p: float) -> float:
    from scipy.stats import binom

    return float(binom.sf(successes - 1, n, p))
