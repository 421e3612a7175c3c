"""GraphNonIso: the coin stays private, and it is worth what it should be."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import chi2

import pvg
from pvg.agent import agents
from pvg.enumerator import Enumerator
from pvg.envs.vector import GameVectorEnv
from pvg.extensive_form import best_response
from pvg.field import Field
from pvg.leaks import marginal_leaks
from pvg.protocols import InteractiveProof
from pvg.spec import resolve
from pvg.task import TaskRules
from pvg.tasks.graph_non_iso import GraphNonIso
from pvg.testing import check_numbers

GAMES = 200_000  # half of them of false claims
FALSE_ALARM = 1e-6  # for all columns together
TINY = {"nodes": 3, "pool": 1, "scores": (1, 0, 0), "fresh": False}


@dataclass(frozen=True)
class Leaking(GraphNonIso):
    """Its coins are shown to the prover."""

    def build(self) -> TaskRules:
        rules = super().build()
        proof = rules.proofs["private_coin"]
        kinds = {**proof.kinds, "question": (Field("coin", 2, kind="bit"),)}
        return TaskRules(rules.sample, {"private_coin": replace(proof, kinds=kinds)})


def assert_independent(columns: NDArray[Any], coin: NDArray[Any]) -> None:
    """No column of what is seen goes with the coin more than one in a million searches finds by chance."""
    dependent = []
    for j, column in enumerate(columns.T):
        values, inverse = np.unique(column, return_inverse=True)
        table = np.bincount(2 * inverse + coin, minlength=2 * len(values)).reshape(-1, 2)
        fair = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / len(coin)
        statistic = float(((table - fair) ** 2 / fair).sum())
        if len(values) > 1 and chi2.sf(statistic, len(values) - 1) < FALSE_ALARM / columns.shape[1]:
            dependent.append(j)
    assert not dependent, f"columns {dependent} go with the coin"


def assert_coin_is_private(task: GraphNonIso) -> None:
    game = pvg.game(task, num_envs=GAMES, seed=5)
    cast = tuple(game.players({"prover": "random"}).values())
    false = (game.field("truth") == 0).numpy()
    for _ in range(task.rounds):
        for _ in range(2):  # before the question, and before the guess
            game.speak(cast)  # type: ignore[arg-type]
            seen, turn = game.observe("prover").packed.numpy(), int(game.field("turn")[0])
            game.step()
            coin = game.field("said")[:, turn // 2 * 2, 0].numpy()
            assert set(coin.tolist()) == {0, 1}
            assert_independent(seen[false], coin[false])


def test_nothing_a_prover_sees_before_its_guess_goes_with_the_coin() -> None:
    assert_coin_is_private(GraphNonIso(nodes=5))


def test_a_planted_leak_is_found() -> None:
    with pytest.raises(AssertionError, match="go with the coin"):
        assert_coin_is_private(Leaking(nodes=5))


@pytest.mark.parametrize("kind", [GraphNonIso, Leaking])
def test_nothing_the_prover_is_given_in_its_environment_goes_with_the_coin(kind: type[GraphNonIso]) -> None:
    env = GameVectorEnv(kind(nodes=5), role="prover", num_envs=GAMES)
    entries, infos = env.reset(seed=8)
    false = (env.game.field("truth") == 0).numpy()
    for asked in range(2):
        assert not infos  # of a game that is not over nothing is told
        seen = np.concatenate([entry.reshape(GAMES, -1) for entry in entries.values()], axis=1)
        coin = env.game.field("said")[:, 2 * asked, 0].numpy().copy()
        if kind is Leaking:
            with pytest.raises(AssertionError, match="go with the coin"):
                assert_independent(seen[false], coin[false])
        else:
            assert_independent(seen[false], coin[false])
        guess = np.random.default_rng(asked).integers(0, 2, GAMES)
        entries, _, _, _, infos = env.step(guess.reshape(env.action_space.shape))
    env.close()


@pytest.mark.parametrize(("kind", "rounds", "worth"), [(GraphNonIso, 1, 1 / 2), (GraphNonIso, 2, 1 / 4), (Leaking, 1, 1.0)])
def test_the_best_prover_guesses_all_coins_by_chance_unless_they_leak(kind: type[GraphNonIso], rounds: int, worth: float) -> None:
    tree = Enumerator(resolve(kind(rounds=rounds, **TINY), InteractiveProof()))
    value, _ = best_response(tree, "prover", {"verifier": agents["reference"]}, given=lambda s: s["truth"][0] == 0)
    assert value == pytest.approx(worth)


@pytest.mark.parametrize(("nodes", "rounds"), [(4, 1), (7, 2), (11, 3)])
def test_numbers_hold(nodes: int, rounds: int) -> None:
    task = GraphNonIso(nodes=nodes, rounds=rounds)
    assert task.rules.proofs["private_coin"].soundness_error == 1 / 2**rounds
    check_numbers(task)


def test_truth_is_what_networkx_says_and_the_challenge_is_a_copy_of_the_graph_picked() -> None:
    game = pvg.game(GraphNonIso(nodes=8, rounds=1), num_envs=2000, seed=1)
    game.play()
    for i, coin in enumerate(game.field("said")[:, 0, 0].tolist()):
        graphs = [nx.from_numpy_array(game.field(name)[i].numpy()) for name in ("first", "second")]
        assert int(game.field("truth")[i]) == int(not nx.is_isomorphic(*graphs))
        if i < 500:
            assert nx.is_isomorphic(nx.from_numpy_array(game.field("challenge")[i, 0].numpy()), graphs[coin])


def test_a_game_by_hand() -> None:
    game = pvg.game(GraphNonIso(nodes=3, rounds=1), num_envs=4)
    path, triangle = torch.tensor([[0, 1, 0], [1, 0, 1], [0, 1, 0]]), torch.tensor([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    game.field("first").copy_(path.expand(4, 3, 3))
    game.field("second").copy_(triangle.expand(4, 3, 3))
    game.field("truth").fill_(1)
    game.actions[:, 1, 0] = coins = torch.tensor([0, 0, 1, 1], dtype=torch.int32)
    game.step()
    assert game.field("challenge").sum(dim=(1, 2, 3)).tolist() == [4, 4, 6, 6]  # each edge twice
    game.speak((agents["honest"], None))
    assert torch.equal(game.actions[:, 0, 0], coins)
    game.actions[:, 0, 0] = torch.tensor([0, 1, 0, 1])
    game.step()
    game.speak((None, agents["reference"]))
    game.step()
    assert game.field("verdict").tolist() == [1, 0, 0, 1]


def test_no_marginal_of_two_tells_the_truth() -> None:
    found = marginal_leaks(GraphNonIso(nodes=8), games=50_000)
    assert not found.leaks, str(found)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"nodes": 12}, r"GraphNonIso: nodes=12 is outside 2..11"),
        ({"rounds": 0}, r"GraphNonIso: rounds=0 is outside 1..16"),
        ({"rounds": 17}, r"GraphNonIso: rounds=17 is outside 1..16"),
        ({"scores": (1, 2)}, r"GraphNonIso: scores=\(1, 2\) is not three weights"),
    ],
)
def test_bad_sizes_are_named(sizes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GraphNonIso(**sizes)


def test_text_is_read_back_and_nonsense_refused() -> None:
    task = GraphNonIso(nodes=3)
    read = task.parse("first: 0-1; second: 0-2 1-2")
    assert task.render(read) == "first: 0-1; second: 0-2 1-2"
    with pytest.raises(ValueError, match="expected 'first: edges; second: edges'"):
        task.parse("0-1 and 0-2")


def test_hard_graphs_are_larger() -> None:
    game = pvg.game(GraphNonIso.preset("hard"), num_envs=4)
    assert game.field("challenge").shape == (4, 4, 11, 11)
