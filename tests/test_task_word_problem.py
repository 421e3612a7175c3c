"""WordProblem: following a point through a product of permutations."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

import pvg
from pvg.agents.attacks import exhaustive
from pvg.leaks import marginal_leaks
from pvg.protocols import ProverVerifier
from pvg.spec import resolve
from pvg.tasks import WordProblem
from pvg.testing import check_numbers
from pvg.verifier import ScriptedVerifier

PERMUTATIONS = list(itertools.permutations(range(5)))


def test_truth_is_whether_the_product_sends_the_point_there() -> None:
    game = pvg.game(WordProblem(length=5), num_envs=2000, seed=1)
    for i in range(2000):
        point = int(game.field("start")[i])
        for g in game.field("element")[i].tolist():
            point = PERMUTATIONS[g][point]
        assert int(game.field("truth")[i]) == int(point == int(game.field("claim")[i]))


def test_a_game_by_hand() -> None:
    game = pvg.game(WordProblem(length=3), num_envs=2, seed=0)
    # 0 goes through (0 1), the rotation i -> i + 1, and the identity: 0, 1, 2, 2.
    swap, rotation = PERMUTATIONS.index((1, 0, 2, 3, 4)), PERMUTATIONS.index((1, 2, 3, 4, 0))
    game.field("start").fill_(0)
    game.field("element").copy_(torch.tensor([swap, rotation, 0]).expand(2, -1))
    game.field("claim").fill_(2)
    game.actions[:, 0, :2] = torch.tensor([[1, 2], [1, 3]])
    game.step()
    game.speak((None, pvg.agent.agents["reference"]))
    game.step()
    assert game.field("verdict").tolist() == [1, 0]


@pytest.mark.parametrize("proof", ["transcript", "bisection"])
def test_numbers_hold(proof: str) -> None:
    check_numbers(WordProblem(length=5), proof=proof)


def test_of_all_messages_only_the_true_points_of_a_true_claim_are_accepted() -> None:
    spec = resolve(WordProblem(length=4), ProverVerifier())
    game = pvg.game(spec.task, num_envs=300, seed=2)
    _, best = exhaustive(ScriptedVerifier(spec), game.observe("verifier"), (5, 5, 5))
    assert torch.equal(best == 1, game.field("truth") == 1)


def test_no_marginal_of_two_tells_the_truth() -> None:
    assert not marginal_leaks(WordProblem(), games=50_000).leaks


def test_text_is_read_back_and_nonsense_refused() -> None:
    task = WordProblem(length=2)
    read = task.parse("0 goes through 10234 12340 to 2")
    assert (read["start"], read["element"].tolist(), read["claim"]) == (0, [24, 33], 2)
    for text in ("0 goes through 10234 to 2", "0 goes through 10234 11340 to 2", "5 goes through 10234 12340 to 2"):
        with pytest.raises(ValueError, match="expected 'x0 goes through g1"):
            task.parse(text)


@pytest.mark.parametrize("length", [1, 65])
def test_bad_length_is_named(length: int) -> None:
    with pytest.raises(ValueError, match=rf"WordProblem: length={length} is outside 2..64"):
        WordProblem(length=length)


def test_hard_words_are_longer() -> None:
    game = pvg.game(WordProblem.preset("hard"), num_envs=4)
    assert game.field("element").shape == (4, 32)
    assert np.array_equal(WordProblem().tables["image"], PERMUTATIONS)
