"""Matching: the claim against networkx, every message there is, and degrees that tell nothing."""

from __future__ import annotations

import networkx
import numpy as np
import pytest
import torch

from pvg.agent import agents, find_agent
from pvg.enumerator import Enumerator
from pvg.extensive_form import best_response
from pvg.game import Game, game
from pvg.leaks import marginal_leaks
from pvg.protocols import ProverVerifier
from pvg.spec import resolve
from pvg.tasks.matching import Matching
from pvg.testing import check_numbers


def by_hand(statement: str, messages: list[str]) -> list[int]:
    """The reference verifier's verdicts on messages about a statement of 4 + 4 nodes."""
    task = Matching(nodes=4)
    played = game(task, num_envs=len(messages))
    for name, value in task.parse(statement).items():
        played.field(name)[:] = torch.from_numpy(np.asarray(value))
    (parts,) = task.rules.proofs["witness"].kinds.values()
    for i, text in enumerate(messages):
        played.actions[i, 0] = torch.from_numpy(task.parse_utterance("message", parts, text))
    played.step()
    played.advance(played.players())
    return [int(verdict) for verdict in played.field("verdict")]


def test_matching_by_hand() -> None:
    statement = "there is a perfect matching: 0-0 0-1 1-0 2-1 2-2 3-0 3-3"
    messages = ["1 0 2 3", "1 0 2 2", "0 0 2 3", "1 0 2 -", "0 1 2 3"]
    assert by_hand(statement, [f"partner {pairs}; violator none" for pairs in messages]) == [1, 0, 0, 0, 0]


def test_violator_by_hand() -> None:
    statement = "there is no perfect matching: 0-0 0-1 1-0 2-1 3-2 3-3 3-1"
    messages = ["0 1 2", "0 1", "0 1 2 3", "none", "3"]
    assert by_hand(statement, [f"partner - - - -; violator {lefts}" for lefts in messages]) == [1, 0, 0, 0, 0]


@pytest.mark.parametrize("task", [Matching(), Matching(nodes=11, extra=30)])
def test_claim_agrees_with_networkx_and_honest_witness_with_hall(task: Matching) -> None:
    n = task.nodes
    played = game(task, num_envs=2000, seed=1)
    played.play({"prover": "honest"})
    for i in range(2000):
        adjacency, said = played.field("adjacency")[i].numpy(), played.field("said")[i, 0].numpy()
        assert adjacency.any(axis=0).all()
        assert adjacency.any(axis=1).all()
        graph = networkx.Graph([(("left", a), ("right", b)) for a, b in np.argwhere(adjacency)])
        largest = networkx.bipartite.maximum_matching(graph, [("left", a) for a in range(n)])
        perfect = len(largest) == 2 * n
        assert perfect == (played.field("claim")[i] == played.field("truth")[i])
        if played.field("truth")[i] == 1 and perfect:
            assert adjacency[np.arange(n), said[:n]].all()
            assert len(set(said[:n])) == n
        elif played.field("truth")[i] == 1:
            assert adjacency[said[n:] == 1].any(axis=0).sum() < said[n:].sum()


@pytest.mark.parametrize("nodes", [4, 6, 12])
def test_numbers_hold(nodes: int) -> None:
    check_numbers(Matching(nodes=nodes, extra=2 * nodes))


def test_no_strategy_convinces_of_a_false_claim() -> None:
    tree = Enumerator(resolve(Matching(nodes=3, extra=0), ProverVerifier()))
    best, _ = best_response(tree, "prover", {"verifier": agents["reference"]}, given=lambda s: s["truth"][0] == 0)
    assert best == 0


def test_one_flaw_is_one_pair_or_one_neighbour_too_many() -> None:
    spec = resolve(Matching(), ProverVerifier())
    played = Game(spec, 1000, seed=3)
    played.play({"prover": find_agent("one_flaw", spec)})
    kinds = set()
    for i in (played.field("truth") == 0).nonzero()[:, 0]:
        adjacency, said = played.field("adjacency")[i].numpy(), played.field("said")[i, 0].numpy()
        if played.field("claim")[i] == 1:
            flaws = int((adjacency[np.arange(6), said[:6]] == 0).sum()), 6 - len(set(said[:6]))
            assert sum(flaws) == 1
            kinds.add(flaws)
        else:
            assert adjacency[said[6:] == 1].any(axis=0).sum() == said[6:].sum()
    assert kinds == {(1, 0), (0, 1)}


def test_nothing_leaks_from_degrees() -> None:
    assert not marginal_leaks(Matching(), games=100_000).leaks
    dealt = game(Matching(), "solo", 100_000)
    adjacency = dealt.field("adjacency").numpy().astype(np.int64)
    perfect = (dealt.field("truth") == dealt.field("claim")).numpy()
    for axis in (1, 2):
        degrees = np.sort(adjacency.sum(axis=axis), axis=1)
        _, sequence, games = np.unique(degrees, axis=0, return_inverse=True, return_counts=True)
        z = (np.bincount(sequence.ravel(), perfect) - games / 2) / (games**0.5 / 2)
        assert abs((z[games > 100] ** 2).mean() - 1) < 6 * (2 / (games > 100).sum()) ** 0.5


@pytest.mark.parametrize(
    ("sizes", "says"),
    [({"nodes": 2}, "nodes=2 is outside 3..32"), ({"nodes": 33}, "nodes=33"), ({"extra": -1}, "extra=-1 is outside 0..1024")],
)
def test_sizes_are_checked(sizes: dict[str, int], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Matching(**sizes)


def test_text_that_is_no_statement_or_message_is_refused() -> None:
    task = Matching(nodes=4)
    text = "there is no perfect matching: 0-3 1-0 1-1 2-0 3-2"
    assert task.render(task.parse(text)) == text
    for bad in ("there is no perfect matching: 0-4", "there is one: 0-1", "there is a perfect matching: "):
        with pytest.raises(ValueError, match=r"expected 'there is a\|no perfect matching"):
            task.parse(bad)
    (parts,) = task.rules.proofs["witness"].kinds.values()
    assert list(task.parse_utterance("message", parts, "partner 3 - 0 1; violator 1 2")) == [3, 4, 0, 1, 0, 1, 1, 0]
    with pytest.raises(ValueError, match="expected 'partner' and 4 nodes or '-'"):
        task.parse_utterance("message", parts, "partner 3 5 0 1; violator none")
