"""FindThePlus: a false image holds no plus, and nothing but the right window convinces."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

from pvg.agent import agents
from pvg.agents import attacks
from pvg.agents.evaluation import deal
from pvg.enumerator import Enumerator
from pvg.extensive_form import best_response
from pvg.game import Game
from pvg.lane import lane
from pvg.leaks import marginal_leaks
from pvg.protocols import ProverVerifier
from pvg.spec import resolve
from pvg.task import TaskRules
from pvg.tasks.find_the_plus import FindThePlus, window
from pvg.testing import check_numbers
from pvg.verifier import ScriptedVerifier

HARD = FindThePlus.preset("hard")
TINY = FindThePlus(height=3, width=3, colours=3)


class ThreeInARow(FindThePlus):
    """FindThePlus with a verifier that looks at the window's middle row alone."""

    def build(self) -> TaskRules:
        @lane
        def check(s: Any, tables: Any, first: Any) -> Any:
            return 1 if s.window[1, 0] == s.window[1, 1] and s.window[1, 1] == s.window[1, 2] else 0

        rules = super().build()
        return TaskRules(rules.sample, {"window": replace(rules.proofs["window"], check=check)})


def pluses(image: NDArray[Any]) -> NDArray[Any]:
    """How many pluses each image holds."""
    centre, up, down = image[:, 1:-1, 1:-1], image[:, :-2, 1:-1], image[:, 2:, 1:-1]
    left, right = image[:, 1:-1, :-2], image[:, 1:-1, 2:]
    return ((centre == up) & (centre == down) & (centre == left) & (centre == right)).sum(axis=(1, 2))


@pytest.mark.parametrize("task", [FindThePlus(), HARD, TINY, FindThePlus(height=4, width=7, colours=3)], ids=str)
def test_a_true_image_holds_one_plus_and_a_false_one_none(task: FindThePlus) -> None:
    game = Game(resolve(task, ProverVerifier()), 20_000)
    assert np.array_equal(pluses(game.field("image").numpy()), game.field("truth").numpy())


def test_no_cell_has_a_colour_more_often_than_another_whatever_the_truth() -> None:
    game = Game(resolve(FindThePlus(), ProverVerifier()), 100_000)
    image, truth = game.field("image").numpy(), game.field("truth").numpy()
    for answer in (0, 1):
        some = image[truth == answer]
        for colour in range(4):
            share = (some == colour).mean(axis=0)
            assert np.abs(share - 1 / 4).max() < 5 * np.sqrt(3 / 16 / len(some))


@pytest.mark.parametrize(("task", "accuracy"), [(FindThePlus(), 0.57), (HARD, 0.52)], ids=str)
def test_how_many_neighbours_are_equal_tells_the_truth_as_often_as_the_documentation_states(
    task: FindThePlus, accuracy: float
) -> None:
    game = Game(resolve(task, ProverVerifier()), 100_000)
    image, truth = game.field("image").numpy(), game.field("truth").numpy()
    equal = (image[:, 1:] == image[:, :-1]).sum(axis=(1, 2)) + (image[:, :, 1:] == image[:, :, :-1]).sum(axis=(1, 2))
    right = [((equal >= least) == truth).mean() for least in np.unique(equal)]
    assert max(right) == pytest.approx(accuracy, abs=0.01)


def test_the_verifier_learns_nothing_without_a_message() -> None:
    assert not marginal_leaks(FindThePlus()).leaks


@pytest.mark.parametrize("task", [TINY, FindThePlus(), FindThePlus(height=12, width=5, colours=8)], ids=str)
def test_the_window_proves_every_plus_and_no_near_miss(task: FindThePlus) -> None:
    check_numbers(task)


def test_no_prover_at_all_convinces_of_a_false_image() -> None:
    error, _ = best_response(
        Enumerator(resolve(TINY, ProverVerifier())), "prover", {"verifier": agents["reference"]}, given=lambda s: s["truth"][0] == 0
    )
    assert error == 0


def test_a_verifier_that_looks_at_one_row_errs_as_often_as_a_false_image_has_three_in_a_row() -> None:
    # Of the near miss's five cells the wrong one is outside the middle row with probability 2/5; the corners are free.
    stated = 1 - (1 - Fraction(2, 5)) * (1 - Fraction(1, 9)) ** 2
    tree = Enumerator(resolve(ThreeInARow(height=3, width=3, colours=3), ProverVerifier()))
    error, _ = best_response(tree, "prover", {"verifier": agents["reference"]}, given=lambda s: s["truth"][0] == 0)
    assert error == pytest.approx(float(stated))


def searched(task: FindThePlus, truth: bool) -> tuple[NDArray[Any], NDArray[Any]]:
    """Images, and whether the task's verifier accepts some coordinate of each."""
    spec = resolve(task, ProverVerifier())
    claims = deal(spec, truth, 200)
    generator = torch.Generator().manual_seed(0)
    found = attacks.best_response(ScriptedVerifier(spec), claims.statement, spec, generator=generator)
    assert found.exact
    return claims.game.field("image").numpy(), found.values.numpy()


def test_the_search_over_all_coordinates_finds_a_plus_where_there_is_one_and_else_nothing() -> None:
    assert not searched(FindThePlus(), False)[1].any()
    assert searched(FindThePlus(), True)[1].all()


def test_the_search_finds_every_three_in_a_row_that_a_weaker_verifier_accepts() -> None:
    image, accepted = searched(ThreeInARow(), False)
    row = (image[:, :, :-2] == image[:, :, 1:-1]) & (image[:, :, 1:-1] == image[:, :, 2:])
    assert np.array_equal(accepted, row.any(axis=(1, 2)))
    assert 0 < accepted.mean() < 1


def test_one_game_by_hand() -> None:
    task = FindThePlus(height=4, width=5, colours=3)
    values = task.parse("01020\n11120\n21021\n00122")
    game = Game(resolve(task, ProverVerifier()), 3)
    game.field("image").copy_(torch.from_numpy(values["image"]))
    said = torch.tensor([[1, 1], [2, 1], [0, 4]])  # the plus of colour 1, the cell below its centre, a corner
    game.actions[:, 0, :2] = said
    game.step()
    assert game.field("window").tolist() == [
        [[0, 1, 0], [1, 1, 1], [2, 1, 0]],
        [[1, 1, 1], [2, 1, 0], [0, 0, 1]],
        [[3, 3, 3], [2, 0, 3], [2, 0, 3]],
    ]
    game.speak((None, agents["reference"]))
    assert game.actions[:, 1, 0].tolist() == [1, 0, 0]


@pytest.mark.parametrize("task", [FindThePlus(), FindThePlus(height=12, width=5, colours=8)], ids=str)
def test_the_torch_window_at_every_whole_coordinate_is_the_evidence(task: FindThePlus) -> None:
    cells = [(row, column) for row in range(task.height) for column in range(task.width)]
    game = Game(resolve(task, ProverVerifier()), 5 * len(cells))
    image = game.field("image")
    image.copy_(image[:5].repeat_interleave(len(cells), dim=0))
    said = torch.tensor(cells).repeat(5, 1)
    game.actions[:, 0, :2] = said
    game.step()
    evidence = functional.one_hot(game.field("window").long(), task.colours + 1)[..., : task.colours].float()
    shown = window(functional.one_hot(image.long(), task.colours).float(), said.float())
    assert torch.equal(shown, evidence)


def test_the_torch_window_half_way_between_cells_is_their_mean() -> None:
    image = torch.rand((2, 6, 9, 3), generator=torch.Generator().manual_seed(0))
    ends = [window(image, torch.tensor([[2.0, 3.0 + step]] * 2)) for step in (0, 0.5, 1)]
    assert torch.allclose(ends[1], (ends[0] + ends[2]) / 2)


def test_the_torch_windows_gradients_are_finite_differences() -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand((3, 5, 6, 2), generator=generator, dtype=torch.float64, requires_grad=True)
    # Between whole coordinates, where it is smooth; the second window leaves the image.
    coordinate = torch.tensor([[1.3, 2.6], [0.2, 4.7], [3.4, 1.5]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(window, (image, coordinate))


SIZES: tuple[tuple[dict[str, int], str], ...] = (
    ({"height": 2}, r"FindThePlus: height=2 is outside 3..32"),
    ({"width": 33}, r"FindThePlus: width=33 is outside 3..32"),
    ({"colours": 2}, r"FindThePlus: colours=2 is outside 3..8"),
)


@pytest.mark.parametrize(("sizes", "complaint"), SIZES)
def test_bad_sizes_are_refused(sizes: dict[str, int], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        FindThePlus(**sizes)


@pytest.mark.parametrize("text", ["012\n012", "0123\n012\n012", "013\n012\n012", "012\n0x2\n012", ""])
def test_a_malformed_image_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected 3 lines of 3 colours 0\.\.2"):
        TINY.parse(text)


def test_an_image_survives_its_text() -> None:
    assert TINY.render(TINY.parse("012\n120\n201")) == "012\n120\n201"
