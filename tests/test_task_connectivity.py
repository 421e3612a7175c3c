"""Connectivity: the claim against networkx, every message there is, and what a look at s and t tells."""

from __future__ import annotations

from itertools import pairwise

import networkx
import numpy as np
import pytest
import torch

from pvg.agent import agents, find_agent
from pvg.enumerator import Enumerator
from pvg.extensive_form import best_response
from pvg.game import Game, game
from pvg.graph import edges_from_text
from pvg.leaks import marginal_leaks
from pvg.protocols import ProverVerifier
from pvg.spec import resolve
from pvg.tasks.connectivity import Connectivity
from pvg.testing import check_numbers

# Two components of four: 0-3-1-7 and 2-4-5-6, each node joined to one or both of the two before it.
EDGES = "0-1 0-3 1-3 1-7 2-4 4-5 4-6 5-6"


def by_hand(claim: int, target: int, messages: list[str]) -> list[int]:
    """The reference verifier's verdicts on messages about 0 and `target` in the graph EDGES."""
    task = Connectivity(nodes=8)
    played = game(task, num_envs=len(messages))
    played.field("adjacency")[:] = torch.from_numpy(edges_from_text(EDGES, 8))
    for name, value in (("source", 0), ("target", target), ("claim", claim)):
        played.field(name)[:] = value
    (parts,) = task.rules.proofs["witness"].kinds.values()
    for i, text in enumerate(messages):
        played.actions[i, 0] = torch.from_numpy(task.parse_utterance("message", parts, text))
    played.step()
    played.advance(played.players())
    return [int(verdict) for verdict in played.field("verdict")]


def test_path_by_hand() -> None:
    good = ["0 1 7 -", "0 3 1 7"]
    bad = ["0 7 - -", "0 1 - 7", "1 7 - -", "0 1 3 -", "0 1 7 3", "0 1 3 1", "- - - -", "0 2 1 7"]
    verdicts = by_hand(claim=1, target=7, messages=[f"path {path}; side none" for path in good + bad])
    assert verdicts == [1] * len(good) + [0] * len(bad)


def test_cut_by_hand() -> None:
    good, bad = ["0 1 3 7"], ["0 1 3", "0 1 3 7 6", "0 1 2 3 4 5 6 7", "2 4 5 6", "none"]
    verdicts = by_hand(claim=0, target=6, messages=[f"path - - - -; side {side}" for side in good + bad])
    assert verdicts == [1] * len(good) + [0] * len(bad)


def test_honest_prover_says_a_shortest_path_and_the_component_of_s() -> None:
    task = Connectivity()
    played = game(task, num_envs=2000, seed=1)
    played.play({"prover": "honest"})
    source, target, said = (played.field(name).numpy() for name in ("source", "target", "said"))
    for i in range(2000):
        graph = networkx.from_numpy_array(played.field("adjacency")[i].numpy())
        reached = networkx.node_connected_component(graph, source[i])
        assert (target[i] in reached) == (played.field("claim")[i] == played.field("truth")[i])
        path, side = said[i, 0, :5], said[i, 0, 5:]
        if played.field("truth")[i] == 1 and played.field("claim")[i] == 1:
            shortest = networkx.shortest_path_length(graph, source[i], target[i])
            assert 2 <= shortest == np.count_nonzero(path < 10) - 1
        elif played.field("truth")[i] == 1:
            assert set(np.flatnonzero(side)) == reached


@pytest.mark.parametrize("nodes", [6, 10, 14])
def test_numbers_hold(nodes: int) -> None:
    check_numbers(Connectivity(nodes=nodes))


def test_no_strategy_convinces_of_a_false_claim() -> None:
    tree = Enumerator(resolve(Connectivity(nodes=4), ProverVerifier()))
    best, _ = best_response(tree, "prover", {"verifier": agents["reference"]}, given=lambda s: s["truth"][0] == 0)
    assert best == 0


@pytest.mark.parametrize("claim", [0, 1])
def test_no_message_of_all_convinces_of_a_false_claim(claim: int) -> None:
    task = Connectivity(nodes=8)
    shape = (9,) * 4 if claim else (2,) * 8
    messages = torch.from_numpy(np.indices(shape).reshape(len(shape), -1).T.copy())
    dealt, played = game(task, num_envs=100, seed=2), Game(resolve(task, ProverVerifier()), len(messages))
    false = (dealt.field("truth") == 0) & (dealt.field("claim") == claim)
    for i in false.nonzero()[:10, 0]:
        played.redeal()
        for name in ("adjacency", "source", "target", "claim", "truth"):
            played.field(name)[:] = dealt.field(name)[i]
        played.actions[:, 0] = 0
        played.actions[:, 0, slice(0, 4) if claim else slice(4, 12)] = messages.to(torch.int32)
        played.step()
        played.advance(played.players())
        assert not played.field("verdict").any()


def test_one_flaw_is_one_missing_edge_or_a_smallest_cut() -> None:
    spec = resolve(Connectivity(), ProverVerifier())
    played = Game(spec, 1000, seed=3)
    played.play({"prover": find_agent("one_flaw", spec)})
    smallest = []
    for i in (played.field("truth") == 0).nonzero()[:, 0]:
        adjacency, said = played.field("adjacency")[i].numpy(), played.field("said")[i, 0].numpy()
        source, target = int(played.field("source")[i]), int(played.field("target")[i])
        if played.field("claim")[i] == 1:
            path = [v for v in said[:5] if v < 10]
            assert path[0] == source
            assert path[-1] == target
            assert sum(adjacency[v, w] == 0 for v, w in pairwise(path)) == 1
        else:
            side = said[5:]
            assert (side[source], side[target]) == (1, 0)
            crossing = adjacency[side == 1][:, side == 0].sum()
            smallest.append(crossing == len(networkx.minimum_edge_cut(networkx.from_numpy_array(adjacency), source, target)))
    assert np.mean(smallest) > 0.9


def test_a_look_at_s_and_t_tells_nothing() -> None:
    assert not marginal_leaks(Connectivity(), games=100_000).leaks
    dealt = game(Connectivity(nodes=12), "solo", 100_000)
    adjacency, lanes = dealt.field("adjacency").numpy().astype(np.int64), np.arange(100_000)
    source, target = dealt.field("source").long().numpy(), dealt.field("target").long().numpy()
    connected = (dealt.field("truth") == dealt.field("claim")).numpy()
    assert not (adjacency[lanes, source] * adjacency[lanes, target]).any()
    degrees = adjacency.sum(axis=2)
    for feature in (degrees[lanes, source], degrees[lanes, target], adjacency.sum(axis=(1, 2))):
        for value in np.unique(feature):
            share = connected[feature == value]
            assert abs(share.mean() - 1 / 2) < 5 / 2 / len(share) ** 0.5


@pytest.mark.parametrize(("nodes", "says"), [(2, "nodes=2 is outside 4..30"), (32, "nodes=32"), (7, "nodes=7 is odd")])
def test_sizes_are_checked(nodes: int, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Connectivity(nodes=nodes)


def test_text_that_is_no_statement_or_message_is_refused() -> None:
    task = Connectivity(nodes=8)
    values = task.parse(f"0 and 6 are not connected: {EDGES}")
    assert task.render(values) == f"0 and 6 are not connected: {EDGES}"
    (parts,) = task.rules.proofs["witness"].kinds.values()
    assert list(task.parse_utterance("message", parts, "path 0 3 - -; side 0 2")) == [0, 3, 8, 8, 1, 0, 1, 0, 0, 0, 0, 0]
    for text in ("0 and 8 are connected: 0-1", "0 and 1 connected: 0-1"):
        with pytest.raises(ValueError, match=r"expected 's and t are \[not \]connected"):
            task.parse(text)
    with pytest.raises(ValueError, match="edge '1-0'"):
        task.parse("0 and 2 are connected: 1-0")
    for text in ("path 0 3 -; side 0", "path 0 3 9 -; side 0", "path 0 3 - -; side 8", "0 3 8 8"):
        with pytest.raises(ValueError, match="expected 'path' and 4 nodes or '-'"):
            task.parse_utterance("message", parts, text)
