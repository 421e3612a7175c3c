"""Sorting: the index map leaves no error, the multiset test (n - 1)/p at worst."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from pvg.agent import agents
from pvg.enumerator import Enumerator
from pvg.extensive_form import best_response
from pvg.game import Game
from pvg.leaks import marginal_leaks
from pvg.protocol import Protocol
from pvg.protocols import InteractiveProof, ProverVerifier
from pvg.spec import resolve
from pvg.tasks.sorting import Sorting
from pvg.testing import check_numbers


def verdict(task: Sorting, protocol: Protocol, proof: str, a: list[int], claim: list[int], said: list[int]) -> int:
    """The reference verifier's, after an index map or a point said by hand."""
    game = Game(resolve(task, protocol, proof), 1)
    game.field("a").copy_(torch.tensor([a]))
    game.field("claim").copy_(torch.tensor([claim]))
    game.actions[0, 0 if proof == "index_map" else 1, : len(said)] = torch.tensor(said)
    game.step()
    game.speak((None, agents["reference"]))
    game.step()
    return int(game.field("verdict"))


def test_a_game_played_by_hand() -> None:
    task, a = Sorting(length=3, modulus=7), [5, 2, 5]
    for claim, places, accepted in [
        ([2, 5, 5], [1, 0, 2], 1),
        ([2, 5, 5], [1, 2, 0], 1),
        ([2, 5, 5], [1, 0, 0], 0),  # no permutation
        ([2, 2, 5], [1, 1, 0], 0),
        ([2, 4, 5], [1, 0, 2], 0),  # no value of A
        ([5, 2, 5], [0, 1, 2], 0),  # not in order
    ]:
        assert verdict(task, ProverVerifier(), "index_map", a, claim, places) == accepted
    for claim, point, accepted in [
        ([2, 5, 5], 0, 1),
        ([2, 5, 6], 0, 0),  # 2 * 5 * 5 = 1 and 2 * 5 * 6 = 4, up to sign
        ([2, 5, 6], 2, 1),  # both products are 0
        ([5, 2, 5], 0, 0),  # the same products, not in order
    ]:
        assert verdict(task, InteractiveProof(), "multiset", a, claim, [point]) == accepted


@pytest.mark.parametrize("task", [Sorting(), Sorting(claims="worst"), Sorting(length=2, modulus=2), Sorting(length=9, modulus=3)])
def test_truth_agrees_with_pythons_sorted(task: Sorting) -> None:
    game = Game(resolve(task, InteractiveProof(), "multiset"), 2000)
    game.play()
    columns = (game.field(name).tolist() for name in ("a", "claim", "truth", "said", "products"))
    for a, claim, truth, said, products in zip(*columns, strict=True):
        assert (sorted(a) == claim) == bool(truth)
        for values, evidence in zip((a, claim), products, strict=True):
            assert evidence == np.prod([int(said[0][0]) - x for x in values], dtype=object) % task.modulus


def test_false_claims_are_nearly_right() -> None:
    game = Game(resolve(Sorting(), ProverVerifier()), 40_000)
    false = game.field("truth") == 0
    a, claim = game.field("a")[false], game.field("claim")[false]
    unsorted = (claim[:, 1:] < claim[:, :-1]).sum(1)
    assert unsorted.max() == 1
    assert unsorted.float().mean() == pytest.approx(1 / 8, abs=0.01)
    counts = [torch.nn.functional.one_hot(values.long(), 31).sum(1) for values in (a, claim)]
    assert torch.equal((counts[0] - counts[1]).abs().sum(1), torch.where(unsorted == 1, 0, 2))


def test_worst_claims_share_distinct_values() -> None:
    game = Game(resolve(Sorting(claims="worst"), ProverVerifier()), 10_000)
    a, claim = (torch.nn.functional.one_hot(game.field(name).long(), 31).sum(1) for name in ("a", "claim"))
    shared = torch.minimum(a, claim)[game.field("truth") == 0]
    assert shared.max() == 1
    assert (shared.sum(1) == 5).all()
    # Floyd's sampling is fair: every value is as frequent as every other.
    assert (shared.float().mean(0) - 5 / 31).abs().max() < 0.03


@pytest.mark.parametrize("sizes", [(6, 31), (4, 11), (3, 2)])
def test_multiset_test_errs_exactly_so_often_at_worst(sizes: tuple[int, int]) -> None:
    task = Sorting(*sizes, claims="worst")
    proof = task.rules.proofs["multiset"]
    assert proof.exact
    assert proof.soundness_error == pytest.approx(float(Fraction(sizes[0] - 1, sizes[1])))
    check_numbers(task, proof="multiset")


def test_multiset_test_of_usual_claims_errs_no_more() -> None:
    assert not Sorting().rules.proofs["multiset"].exact
    check_numbers(Sorting(), proof="multiset")


def test_index_map_leaves_no_error() -> None:
    check_numbers(Sorting(length=5, modulus=5), proof="index_map")


@pytest.mark.parametrize("task", [Sorting(2, 3, "worst"), Sorting(3, 3, "worst"), Sorting(2, 5), Sorting(2, 2)], ids=str)
def test_all_coins_together_err_as_stated(task: Sorting) -> None:
    tree = Enumerator(resolve(task, InteractiveProof(), "multiset"))
    error, _ = best_response(tree, "prover", {"verifier": agents["reference"]}, given=lambda s: s["truth"][0] == 0)
    stated = (task.length - 1) / task.modulus
    assert error == pytest.approx(stated) if task.claims == "worst" else 0 < error <= stated


@pytest.mark.parametrize("task", [Sorting(2, 3), Sorting(2, 3, "worst")], ids=str)
def test_no_index_map_convinces_of_a_false_claim(task: Sorting) -> None:
    tree = Enumerator(resolve(task, ProverVerifier(), "index_map"))
    best, _ = best_response(tree, "prover", {"verifier": agents["reference"]}, given=lambda s: s["truth"][0] == 0)
    assert best == 0


def test_marginals_tell_as_much_as_is_stated() -> None:
    leak = marginal_leaks(Sorting())
    assert leak.accuracy.value == pytest.approx(0.52, abs=0.01)
    assert {name[:2] for name in leak.columns} in ({"a[", "cl"}, {"cl"})


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"length": 1}, "length=1 is outside 2..32"),
        ({"modulus": 30}, "modulus=30 is no prime"),
        ({"modulus": 257}, "modulus=257 is outside 2..251"),
        ({"claims": "best"}, "claims='best' is neither 'usual' nor 'worst'"),
        ({"length": 9, "modulus": 7, "claims": "worst"}, "claims='worst' needs length - 1 residues, and modulus=7 has too few"),
    ],
)
def test_bad_sizes_are_named(sizes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"Sorting: {message}"):
        Sorting(**sizes)


def test_statement_reads_as_two_lists() -> None:
    task = Sorting(length=3, modulus=7)
    values = {"a": np.array([5, 2, 5]), "claim": np.array([2, 5, 5])}
    assert task.render(values) == "5 2 5 sorted is 2 5 5"
    assert all(np.array_equal(task.parse("5 2 5 sorted is 2 5 5")[name], values[name]) for name in values)
    for text in ("5 2 sorted is 2 5 5", "5 2 5 is 2 5 5", "5 2 x sorted is 2 5 5"):
        with pytest.raises(ValueError, match=r"expected 'A sorted is B', both 3 whole numbers"):
            task.parse(text)
    with pytest.raises(ValueError, match=r"a value is outside 0\.\.6"):
        task.parse("5 2 7 sorted is 2 5 7")
