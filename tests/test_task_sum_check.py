"""SumCheck: the protocol's error is what the optimal cheater attains and no prover exceeds."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pvg.agent import agents
from pvg.enumerator import Enumerator
from pvg.extensive_form import best_response
from pvg.game import Game
from pvg.leaks import marginal_leaks
from pvg.protocols import InteractiveProof
from pvg.spec import resolve
from pvg.tasks.sum_check import SumCheck
from pvg.testing import check_numbers


def polynomial(task: SumCheck, coefficient: Sequence[int], x: Sequence[int]) -> int:
    """Its value at x, term by term."""
    total = 0
    for exponents, c in zip(product(range(task.degree + 1), repeat=task.variables), coefficient, strict=True):
        term = c
        for base, e in zip(reversed(x), exponents, strict=True):
            term *= base**e
        total += term
    return total % task.modulus


def verdict(task: SumCheck, coefficient: list[int], claim: int, said: list[list[int]]) -> int:
    """The reference verifier's, after messages and questions said by hand."""
    game = Game(resolve(task, InteractiveProof()), 1)
    game.field("coefficient").copy_(torch.tensor([coefficient]))
    game.field("claim").fill_(claim)
    for slot, symbols in enumerate(said):
        game.actions[0, slot % 2, : len(symbols)] = torch.tensor(symbols)
        game.step()
    game.speak((None, agents["reference"]))
    game.step()
    return int(game.field("verdict"))


def test_a_game_played_by_hand() -> None:
    # g = 3 + 2 x1 + 5 x2 + 4 x1 x2 modulo 7 is 3, 5, 1, 0 at the corners, 2 in all; g_1 = 4 + x1, and g(3, x2) = 2 + 3 x2.
    task, g = SumCheck(modulus=7, degree=1, variables=2), [3, 2, 5, 4]
    assert verdict(task, g, 2, [[4, 5], [3], [2, 5], [4]]) == 1
    assert verdict(task, g, 3, [[4, 5], [3], [2, 5], [4]]) == 0  # 4 + 5 is not 3
    assert verdict(task, g, 2, [[4, 5], [3], [3, 4], [5]]) == 0  # 3 + 1 * 5 is not g(3, 5) = 3
    assert verdict(task, g, 2, [[4, 5], [3], [3, 4], [4]]) == 1  # and 3 + 1 * 4 is g(3, 4) = 0
    # 6 + 5 x1 is off by 4 (x1 - 3): wrong, and consistent with the claim 3. Asked at 3 the cheater is safe; at 2 it is not,
    # whether it goes on with the true g(2, x2) = 6 x2 or with one that adds up.
    assert verdict(task, g, 3, [[6, 4], [3], [2, 5], [4]]) == 1
    assert verdict(task, g, 3, [[6, 4], [2], [0, 6], [1]]) == 0
    assert verdict(task, g, 3, [[6, 4], [2], [0, 2], [1]]) == 0


def test_truth_messages_and_evidence_agree_with_the_polynomial_evaluated_naively() -> None:
    task = SumCheck(modulus=7, degree=2, variables=3)
    game = Game(resolve(task, InteractiveProof()), 2000)
    game.play({"prover": "honest"})
    columns = (game.field(name).tolist() for name in ("coefficient", "claim", "truth", "said", "value"))
    for coefficient, claim, truth, said, value in zip(*columns, strict=True):
        total = sum(polynomial(task, coefficient, corner) for corner in product((0, 1), repeat=3)) % 7
        assert (total == claim) == bool(truth)
        r = [row[0] for row in said[1::2]]
        assert value == polynomial(task, coefficient, r)
        i = truth + claim % 2  # one round a game
        tails = list(product((0, 1), repeat=2 - i))
        for t in range(3):
            assert said[2 * i][t] == sum(polynomial(task, coefficient, (*r[:i], t, *tail)) for tail in tails) % 7


@pytest.mark.parametrize(
    ("modulus", "degree", "variables", "error"), [(17, 1, 4, 0.2153), (31, 2, 5, 0.2836), (101, 3, 6, 0.1655), (3, 2, 1, 0.6667)]
)
def test_optimal_cheater_attains_the_soundness_error(modulus: int, degree: int, variables: int, error: float) -> None:
    task = SumCheck(modulus, degree, variables)
    stated = task.rules.proofs["rounds"].soundness_error
    assert stated == pytest.approx(float(1 - (1 - Fraction(degree, modulus)) ** variables))
    assert stated == pytest.approx(error, abs=5e-5)
    check_numbers(task)


@pytest.mark.parametrize(
    ("sizes", "coefficient"),
    [((3, 1, 1), None), ((3, 2, 1), None), ((5, 2, 1), [1, 2, 3]), ((3, 1, 2), [1, 2, 0, 1]), ((3, 1, 2), [0, 0, 0, 0])],
)
def test_no_prover_does_better_than_the_soundness_error(sizes: tuple[int, int, int], coefficient: list[int] | None) -> None:
    tree = Enumerator(resolve(SumCheck(*sizes), InteractiveProof()))
    p, d, v = sizes

    def false(s: NDArray[Any]) -> bool:
        return s["truth"][0] == 0 and coefficient in (None, s["coefficient"][0].tolist())

    best, _ = best_response(tree, "prover", {"verifier": agents["reference"]}, given=false)
    assert best == pytest.approx(1 - (1 - d / p) ** v)


def test_a_shift_by_a_constant_passes_every_check_but_the_last() -> None:
    game = Game(resolve(SumCheck(13, 1, 3), InteractiveProof()), 20_000)
    game.play({"prover": "shifted_by_a_constant"})
    false = game.field("truth") == 0
    assert not game.field("verdict")[false].any()
    # At degree 1 the polynomial through a round's values is linear; the last of them misses g(r) by a constant, not 0.
    said, value = game.field("said")[false].long(), game.field("value")[false].long()
    expected = game.field("claim")[false].long()
    for i in range(3):
        first, second = said[:, 2 * i, 0], said[:, 2 * i, 1]
        assert torch.equal((first + second) % 13, expected % 13)
        expected = first + (second - first) * said[:, 2 * i + 1, 0]
    assert ((expected - value) % 13 != 0).all()


@pytest.mark.parametrize("sizes", [(3, 1, 1), (3, 2, 1), (7, 6, 2), (31, 2, 5)])
def test_cheaters_polynomials_have_all_their_roots_in_the_field(sizes: tuple[int, int, int]) -> None:
    p, d, _ = sizes
    tables = SumCheck(*sizes).tables
    for difference in tables["difference"].astype(np.int64):
        assert (difference[0] + difference[1]) % p == 1
        assert (tables["lagrange"] @ difference % p == 0).sum() == d


def test_no_marginal_tells_the_truth() -> None:
    leak = marginal_leaks(SumCheck())
    assert not leak.leaks, leak


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"modulus": 2}, "modulus=2 is outside 3..251"),
        ({"modulus": 15}, "modulus=15 is no prime"),
        ({"modulus": 5, "degree": 5}, "degree=5 is outside 1..4"),
        ({"modulus": 13, "degree": 9}, "degree=9 is outside 1..8"),
        ({"variables": 0}, "variables=0 is outside 1..12"),
        ({"degree": 3, "variables": 7}, "degree=3, variables=7 make 16384 coefficients, above 4096"),
    ],
)
def test_bad_sizes_are_named(sizes: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=f"SumCheck: {message}"):
        SumCheck(**sizes)


def test_statement_reads_as_a_polynomial() -> None:
    task = SumCheck(modulus=7, degree=2, variables=2)
    values = {"coefficient": np.array([3, 0, 1, 2, 0, 0, 0, 0, 5]), "claim": np.array(4)}
    text = "the sum over {0,1}^2 of 3 + 1*x1^2 + 2*x2 + 5*x1^2*x2^2 is 4 (mod 7)"
    assert task.render(values) == text
    assert all(np.array_equal(task.parse(text)[name], values[name]) for name in values)
    zero = {"coefficient": np.zeros(9), "claim": np.array(0)}
    assert all(np.array_equal(task.parse(task.render(zero))[name], zero[name]) for name in zero)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("3 + x1 is 4", "expected 'the sum over {0,1}^2 of 3 + 2*x1 + ... is H (mod 7)'"),
        ("the sum over {0,1}^2 of 3 + 2*x3 is 4 (mod 7)", "'2*x3' is no residue times"),
        ("the sum over {0,1}^2 of 2*x1 + 2*x1 is 4 (mod 7)", "'2*x1' is no residue times"),
        ("the sum over {0,1}^2 of 7*x1 is 4 (mod 7)", "'7*x1' is no residue times"),
        ("the sum over {0,1}^2 of 3 is 7 (mod 7)", "the sum 7 is outside 0..6"),
    ],
)
def test_malformed_text_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError) as refusal:  # noqa: PT011
        SumCheck(modulus=7, degree=2, variables=2).parse(text)
    assert message in str(refusal.value)
