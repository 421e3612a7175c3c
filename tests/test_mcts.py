"""Debaters that search: what they find is what exact play has, and exact play is what additive judges promise."""

from __future__ import annotations

from functools import cache
from itertools import combinations
from typing import Literal

import pytest
import torch
from torch import Tensor

from pvg.agent import Observation, Utterance
from pvg.agents.mcts import MCTS, decided, visits
from pvg.agents.minimax import after, minimax, subsets
from pvg.game import Game
from pvg.protocols.debate import Debate
from pvg.spec import resolve
from pvg.tasks import Arith
from pvg.tasks.sparse_digits import SparseDigits


def additive(weights: Tensor, size: int) -> Tensor:
    """Whether the weights of each set of items add up to more than 0: `set game`, from `game item`."""
    return (weights[:, subsets(weights.shape[1], size)].sum(2) > 0).T


def top_outweighs_bottom(weights: Tensor, half: int) -> Tensor:
    """The best so many items for a player against the worst so many: `game`."""
    ranked = weights.sort(1).values
    return ranked[:, -half:].sum(1) > -ranked[:, :half].sum(1)


# Exact play.


def test_sets_are_numbered_by_the_sums_of_their_binomials() -> None:
    assert sorted(map(tuple, subsets(6, 3).tolist())) == list(combinations(range(6), 3))
    number = {tuple(items): i for i, items in enumerate(subsets(6, 3).tolist())}
    for items, onward in zip(subsets(6, 2).tolist(), after(6, 2).tolist(), strict=True):
        assert onward == [number[tuple(sorted([*items, new]))] for new in range(6) if new not in items]


def wins_recursively(wins: dict[tuple[int, ...], bool], items: int, size: int, begins: bool) -> bool:
    @cache
    def won(shown: frozenset[int]) -> bool:
        if len(shown) == size:
            return wins[tuple(sorted(shown))]
        outcomes = [won(shown | {item}) for item in range(items) if item not in shown]
        return any(outcomes) if (len(shown) % 2 == 0) == begins else all(outcomes)

    return won(frozenset())


@pytest.mark.parametrize("begins", [True, False])
def test_minimax_is_what_recursion_finds_before_a_judge_without_structure(begins: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    wins = torch.rand((35, 40), generator=generator) < torch.linspace(0.02, 0.98, 40)  # 35 sets of 3 of 7
    found = minimax(wins, 7, 3, begins)
    assert 0 < int(found.sum()) < 40
    for game in range(40):
        known = {tuple(items): bool(won) for items, won in zip(subsets(7, 3).tolist(), wins[:, game], strict=True)}
        assert found[game] == wins_recursively(known, 7, 3, begins)


@pytest.mark.parametrize("size", [2, 4])
def test_before_an_additive_judge_a_player_wins_iff_its_best_half_outweighs_the_worst_whoever_begins(size: int) -> None:
    weights = torch.randn((400, 9), generator=torch.Generator().manual_seed(size), dtype=torch.float64)
    expected = top_outweighs_bottom(weights, size // 2)
    assert 100 < int(expected.sum()) < 300
    for begins in (True, False):
        assert torch.equal(minimax(additive(weights, size), 9, size, begins), expected)


def test_exact_play_needs_an_outcome_of_every_set() -> None:
    with pytest.raises(ValueError, match="wins: 34 rows for the 35 sets of 3 of 7 items"):
        minimax(torch.zeros((34, 1), dtype=torch.bool), 7, 3, True)


# Search.


def searched(weights: Tensor, size: int, rollouts: int, begins: bool, seed: int = 0) -> Tensor:
    """Whether the player for whom positive weights speak wins if both search: `game`."""
    generator, shown = torch.Generator().manual_seed(seed), torch.zeros(weights.shape, dtype=torch.bool)
    for move in range(size):
        sign = 1 if (move % 2 == 0) == begins else -1

        def value(now: Tensor, sign: int = sign) -> Tensor:
            return sign * ((weights * now).sum(1) > 0).double().mul(2).sub(1).float()

        count = visits(value, shown, ~shown, size - move, rollouts, generator)
        assert (count.sum(1) == rollouts).all()
        assert not count[shown].any()
        shown[torch.arange(len(weights)), count.argmax(1)] = True
    return (weights * shown).sum(1) > 0


@pytest.mark.parametrize("begins", [True, False])
def test_who_searches_long_enough_plays_as_well_as_can_be(begins: bool) -> None:
    weights = torch.randn((100, 6), generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    exact = minimax(additive(weights, 4), 6, 4, begins)
    assert 20 < int(exact.sum()) < 80
    long, short = ((searched(weights, 4, rollouts, begins) == exact).float().mean() for rollouts in (400, 4))
    assert long >= 0.97
    assert short < long - 0.05


def test_a_search_plays_for_whoever_moves_at_each_node() -> None:
    # Whoever takes item 0 hands the last move to the other, who has item 1; taking item 1 first leaves nothing that loses.
    def value(now: Tensor) -> Tensor:
        return torch.where(now[:, 0] & now[:, 1], -1.0, torch.where(now[:, 0], 1.0, 0.5))

    nothing = torch.zeros((1, 3), dtype=torch.bool)
    count = visits(value, nothing, ~nothing, 2, 300, torch.Generator().manual_seed(0))[0]
    assert count.argmax() != 0


def test_a_search_looks_past_the_reply_to_its_own_answer() -> None:
    # After item 0 every reply has one answer that wins (1 and 2, 3 and 4 go together), of three: at random it seems lost.
    def value(now: Tensor) -> Tensor:
        together = (now[:, 1] & now[:, 2]) | (now[:, 3] & now[:, 4])
        return torch.where(now[:, 0], together.float() * 2 - 1, torch.where(now[:, 1], 0.2, -1.0))

    nothing = torch.zeros((6, 5), dtype=torch.bool)
    count = visits(value, nothing, ~nothing, 3, 2500, torch.Generator().manual_seed(0))
    assert (count.argmax(1) == 0).all()


def test_below_its_tree_a_search_goes_on_at_random() -> None:
    seen = []

    def value(now: Tensor) -> Tensor:
        seen.append(now.clone())
        return torch.zeros(len(now))

    nothing = torch.zeros((20_000, 4), dtype=torch.bool)
    visits(value, nothing, ~nothing, 3, 2, torch.Generator().manual_seed(0))
    # The second begins with another of four items than the first; the one that is left out is any of the other three.
    assert abs(float((seen[0] == seen[1]).all(1).float().mean()) - 2 / 9) < 0.01


def test_the_same_seed_searches_the_same_way() -> None:
    weights = torch.randn((20, 6), generator=torch.Generator().manual_seed(4))
    assert torch.equal(searched(weights, 4, 20, True, seed=1), searched(weights, 4, 20, True, seed=1))


def test_too_few_items_or_rollouts_are_refused() -> None:
    nothing = torch.zeros((2, 3), dtype=torch.bool)
    for moves, rollouts in ((4, 1), (2, 0)):
        with pytest.raises(ValueError, match=f"rollouts={rollouts}, moves={moves}: at least 1 each, and 3 items are left"):
            visits(lambda now: now.float().sum(1), nothing, ~nothing, moves, rollouts, torch.Generator())


# Debaters of a game.

DIGITS = SparseDigits(pixels=4, levels=3)
SCORES = torch.randn((64, 3, 10), generator=torch.Generator().manual_seed(9))
TOGETHER = torch.randn((64, 64, 10), generator=torch.Generator().manual_seed(10))


def scores(values: Tensor) -> Tensor:
    """A judge to whom pixels do not add up: pairs of them tell something too."""
    shown = (values > 0).float()
    return SCORES[torch.arange(64), values.long()].sum(1) + torch.einsum("np,nq,pqa->na", shown, shown, TOGETHER)


class Listener:
    """The judge, in its seat."""

    def act(self, observation: Observation, acting: Tensor) -> Utterance:
        named = torch.stack([observation[f"pixel_{j}"] for j in range(4)], 1).long()
        shown = torch.zeros((len(named), 64)).scatter(1, named.clamp(min=0), observation["value"].clamp(min=0).float())
        stated = observation["stated"] if "stated" in [c.field.name for c in observation.view] else None
        return Utterance(decided(scores(shown), stated)[:, None].int())


def debate(precommit: bool, honest: Literal["first", "second"], rollouts: int) -> tuple[Game, Tensor]:
    """Games about images of which six pixels are lit, played by searching debaters; and what they were paid."""
    spec = resolve(DIGITS, Debate(precommit=precommit, honest=honest))
    game, generator = Game(spec, 40), torch.Generator().manual_seed(7)
    lit = torch.rand((40, 64), generator=generator).topk(6, 1).indices
    image = torch.zeros((40, 64), dtype=torch.int8).scatter(
        1, lit, torch.randint(1, 3, (40, 6), generator=generator).to(torch.int8)
    )
    game.field("image").copy_(image.reshape(40, 8, 8))
    truth = scores(image.float()).argmax(1).to(torch.int8)  # so that it has a chance
    lie = (truth + torch.randint(1, 10, (40,), generator=generator).to(torch.int8)) % 10
    game.field("truth").copy_(truth)
    for sides in (game.field("side"), game.field("stated")):
        sides[:, int(honest == "second")], sides[:, int(honest == "first")] = truth, lie
    debaters = {role: MCTS(spec, role, scores, rollouts, seed=i) for i, role in enumerate(("first", "second"))}
    return game, game.advance({**debaters, "judge": Listener()})


def by_exact_play(game: Game, precommit: bool, begins: bool) -> Tensor:
    """Whether the honest debater wins each of these games: `game`."""
    images, truth, stated = game.field("image").flatten(1).float(), game.field("truth").long(), game.field("stated")
    found = []
    for i, image in enumerate(images):
        lit = image.nonzero()[:, 0][subsets(6, 4)]  # set pixel
        given = scores(torch.zeros((15, 64)).scatter(1, lit, image[lit]))
        right = decided(given, stated[i].expand(15, 2) if precommit else None) == truth[i]
        found.append(minimax(right[:, None], 6, 4, begins)[0])
    return torch.stack(found)


@pytest.mark.parametrize(("precommit", "honest"), [(True, "first"), (True, "second"), (False, "first"), (False, "second")])
def test_searching_debaters_end_games_as_exact_play_does(precommit: bool, honest: Literal["first", "second"]) -> None:
    game, paid = debate(precommit, honest, 300)
    assert (game.field("forfeit") == -1).all()
    said = game.field("said")[:, :4, 0].long()
    assert (game.field("image").flatten(1).gather(1, said) > 0).all()
    assert (said.sort(1).values.diff(dim=1) > 0).all()
    won = paid[:, ("first", "second").index(honest)] == 1
    assert (won == (game.field("verdict") == game.field("truth"))).all()
    exact = by_exact_play(game, precommit, honest == "first")
    assert 0 < int(exact.sum()) < 40
    assert (won == exact).float().mean() >= 0.95


def test_the_judge_decides_between_what_is_stated_or_over_all() -> None:
    given = torch.tensor([[0.1, 0.9, 0.5], [0.3, 0.2, 0.1], [0.0, 0.7, 0.7]])
    assert decided(given, None).tolist() == [1, 0, 1]
    assert decided(given, torch.tensor([[2, 0], [2, 1], [2, 1]])).tolist() == [2, 1, 1]


def test_games_that_cannot_be_searched_are_refused() -> None:
    for spec, role, why in (
        (resolve(Arith(), Debate()), "first", "MCTS plays sequential debates of one_pixel_a_turn, not debate"),
        (resolve(DIGITS, Debate(order="simultaneous")), "first", "MCTS plays sequential debates of one_pixel_a_turn"),
        (resolve(DIGITS, Debate(precommit=False)), "first", "honest='drawn': without precommitment"),
        (resolve(DIGITS, Debate()), "judge", "role='judge' is no debater"),
    ):
        with pytest.raises(ValueError, match=why):
            MCTS(spec, role, scores)
