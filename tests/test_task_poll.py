"""Poll's statements, and that its machine is 2-Lipschitz however long it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom

from pvg.game import Game
from pvg.protocols.stochastic_debate import StochasticDebate
from pvg.spec import played, resolve
from pvg.tasks.poll import Poll


def output(n: int, oracle: Callable[[int, int], float]) -> float:
    """The probability that the last bit is 1 where `oracle(step, ones)` gives that of each bit, by the number of ones so far."""
    ones = np.zeros(n + 2)
    ones[0] = 1
    for step in range(n + 1):
        p = np.array([oracle(step, k) for k in range(n + 2)])
        if step == n:
            return float(ones @ p)
        ones = ones * (1 - p) + np.roll(ones * p, 1)
    raise AssertionError


def dealt(length: int, lanes: int = 4000) -> tuple[NDArray[Any], NDArray[Any]]:
    game = Game(resolve(Poll(length=length), StochasticDebate()), lanes, seed=0)
    return game.field("tilt").numpy().astype(np.int64), game.field("truth").numpy()


@pytest.mark.parametrize("length", [3, 8, 63])
def test_machine_outputs_one_with_two_thirds_where_true_and_one_third_where_false(length: int) -> None:
    tilts, truth = dealt(length)
    assert 1e-6 < binom.cdf(truth.sum(), len(truth), 0.5) < 1 - 1e-6
    total = tilts.sum(axis=1)
    total[truth == 0] = length**2 - total[truth == 0]
    assert total.min() == -(-2 * length**2 // 3)
    assert (total == total.min()).mean() > 0.5
    for a in tilts[:5]:
        exact = output(length, lambda step, ones, a=a: a[step] / length if step < length else ones / length)
        assert exact == pytest.approx(a.sum() / length**2)
    assert all(len(np.unique(column)) == length + 1 for column in tilts.T)


@pytest.mark.parametrize("length", [3, 8, 63])
def test_machine_is_two_lipschitz_whatever_its_length(length: int) -> None:
    rng, e = np.random.default_rng(0), 0.03
    machine = Poll(length=length).rules.machine
    assert machine is not None
    assert (machine.steps, machine.lipschitz, len(machine.answers)) == (length + 1, 2, length + 1)
    tilts, _ = dealt(length, 20)
    apart = []
    for a in tilts:
        usual = output(length, lambda step, ones, a=a: a[step] / length if step < length else ones / length)
        for moves in (
            rng.uniform(-e, e, (length + 1, length + 2)),
            rng.choice([-e, e], (length + 1, length + 2)),
            np.full((length + 1, length + 2), e),
        ):

            def moved(step: int, ones: int, a: Any = a, moves: Any = moves) -> float:
                return float(np.clip((a[step] if step < length else min(ones, length)) / length + moves[step, ones], 0, 1))

            apart.append(abs(output(length, moved) - usual) / e)
    assert 1.5 < max(apart) <= 2 + 1e-9


def test_it_has_no_proof_and_is_debated() -> None:
    (spec,) = played(Poll())
    assert spec.proof is None
    assert isinstance(spec.protocol, StochasticDebate)
    assert spec.horizon == 3 * 9 + 1


def test_text_says_which_part_is_wrong() -> None:
    task = Poll(length=3)
    text = task.render({"tilt": np.array([0, 3, 2])})
    assert text == "bits that are 1 with 0, 3, 2 in 3: one at random is mostly 1"
    assert task.parse(text)["tilt"].tolist() == [0, 3, 2]
    for wrong in (text.replace("3, 2", "4, 2"), text.replace("0, ", ""), "0, 3, 2"):
        with pytest.raises(ValueError, match=r"expected 'bits that are 1 with a1, ..., a3 in 3: .*each a in 0..3"):
            task.parse(wrong)


@pytest.mark.parametrize("length", [2, 127])
def test_sizes_out_of_range_are_refused(length: int) -> None:
    with pytest.raises(ValueError, match=rf"Poll: length={length} is outside 3..126"):
        Poll(length=length)
