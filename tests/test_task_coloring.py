"""Coloring: the pool against a count over all colourings, commitments at their exact error, and what the verifier is shown."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import combinations, permutations
from typing import Any

import networkx
import numpy as np
import pytest
import torch
from scipy.stats import binom, chisquare

from pvg.agent import agents, find_agent
from pvg.enumerator import Enumerator
from pvg.extensive_form import best_response, expected_return
from pvg.game import Game, game
from pvg.lane import lane
from pvg.leaks import marginal_leaks
from pvg.protocols import InteractiveProof, ProverVerifier
from pvg.protocols.multi_prover import MultiProver
from pvg.spec import resolve
from pvg.task import TaskRules
from pvg.tasks.coloring import Coloring, pool
from pvg.testing import check_numbers

COMPLETE = tuple(combinations(range(5), 2))


@dataclass(frozen=True)
class Complete(Coloring):
    """The complete graph of 4 or 5 nodes, of whose edges every 3-colouring violates 1 or 2; with `truth`, but for those edges."""

    truth: int = 0

    def __post_init__(self) -> None:
        pass

    @property
    def tables(self) -> dict[str, Any]:
        return {}

    def build(self) -> TaskRules:
        n, edges, truth = self.nodes, self.edges, self.truth
        ends = np.array([edge for edge in COMPLETE if edge[1] < n and not (truth and edge[1] - edge[0] == 3)], np.int8)

        @lane
        def deal(s: Any, tables: Any) -> None:
            s.truth, s.pair = truth, 0
            for v in range(n):
                s.label[v], s.planted[v] = v, v % 3
            for e in range(edges):
                s.edge[e, 0], s.edge[e, 1] = ends[e, 0], ends[e, 1]

        return replace(super().build(), sample=deal)


def violated(edge: np.ndarray, nodes: int) -> np.ndarray:
    """How many edges each of all 3-colourings violates."""
    colorings = np.indices((3,) * nodes, dtype=np.int8).reshape(nodes, -1)
    return sum((colorings[a] == colorings[b]).astype(np.int8) for a, b in edge)


@pytest.mark.parametrize("task", [Coloring(), Coloring(nodes=10, edges=22)])
def test_false_statements_violate_one_edge_at_least_and_planted_no_more(task: Coloring) -> None:
    dealt = game(task, "solo", 200, seed=1)
    for edge, planted, truth in zip(*(dealt.field(name).numpy() for name in ("edge", "planted", "truth")), strict=True):
        assert violated(edge, task.nodes).min() == 1 - truth
        assert (planted[edge[:, 0]] == planted[edge[:, 1]]).sum() == 1 - truth
        assert len({frozenset(ends) for ends in edge.tolist()}) == task.edges


@pytest.mark.parametrize("sizes", [(9, 17), (9, 18), (12, 26)])
def test_pool_holds_no_graph_twice_and_its_pairs_share_their_degrees(sizes: tuple[int, int]) -> None:
    nodes, edges = sizes
    graphs = pool(nodes, edges)["graph"]
    assert graphs.shape == (256, 2, edges, 2)
    degrees = np.array([[np.bincount(graph.ravel(), minlength=nodes) for graph in pair] for pair in graphs])
    assert np.array_equal(degrees[:, 0], degrees[:, 1])
    assert degrees.min() >= 1
    alike: dict[tuple[Any, ...], list[networkx.Graph]] = {}
    for ends in graphs.reshape(-1, edges, 2).tolist():
        graph = networkx.Graph(ends)
        assert max(map(len, networkx.find_cliques(graph))) < 4
        local = sorted((graph.degree[v], *sorted(graph.degree[w] for w in graph[v])) for v in graph)
        others = alike.setdefault(tuple(local), [])
        assert not any(networkx.is_isomorphic(graph, other) for other in others)
        others.append(graph)


def test_coloring_by_hand() -> None:
    task = Complete(nodes=4, edges=5, truth=1)  # of four nodes, all are joined but 0 and 3
    spec = resolve(task, ProverVerifier())
    played = Game(spec, 3)
    assert task.render({"edge": played.field("edge")[0].numpy()}) == "3-colourable: 0-1 0-2 1-2 1-3 2-3"
    played.actions[:, 0] = torch.tensor([[2, 0, 1, 2], [2, 0, 1, 0], [0, 1, 2, 1]])
    played.step()
    played.advance(played.players())
    assert played.field("verdict").tolist() == [1, 0, 0]


def test_commitments_by_hand() -> None:
    spec = resolve(Complete(nodes=4, edges=6, rounds=2), InteractiveProof())
    played = Game(spec, 2)
    committed = torch.tensor([0, 1, 2, 0])
    for asked in ([0, 0], [3, 2]):  # edges 0-1; then 1-2 and 0-3
        played.actions[:, 0, :4] = committed
        played.step()
        played.actions[:, 1, 0] = torch.tensor(asked)
        played.step()
    assert played.field("opened").tolist() == [[[0, 1], [1, 2]], [[0, 1], [0, 0]]]
    assert not any(column.field.name.startswith("color") for column in spec.view(1))
    played.advance(played.players())
    assert played.field("verdict").tolist() == [1, 0]


@pytest.mark.parametrize("sizes", [(9, 18, 1), (9, 18, 8), (11, 24, 20)])
def test_commitment_error_is_exact(sizes: tuple[int, int, int]) -> None:
    task = Coloring(*sizes)
    _, edges, rounds = sizes
    assert task.rules.proofs["commitment"].soundness_error == pytest.approx(float(Fraction(edges - 1, edges) ** rounds), abs=1e-12)
    check_numbers(task, proof="commitment")


def test_coloring_numbers_hold() -> None:
    check_numbers(Coloring(), proof="coloring")


def test_two_provers_of_a_false_graph_are_caught_where_they_violate_an_edge() -> None:
    task = Coloring(nodes=10, edges=22)
    assert task.rules.proofs["two_provers"].soundness_error == pytest.approx(float(1 - Fraction(1, 44)))
    check_numbers(task, MultiProver(), "two_provers")


@pytest.mark.parametrize(("nodes", "edges", "fewest", "rounds"), [(4, 6, 1, 1), (5, 10, 2, 1)])
def test_best_strategy_against_a_complete_graph(nodes: int, edges: int, fewest: int, rounds: int) -> None:
    tree = Enumerator(resolve(Complete(nodes=nodes, edges=edges, rounds=rounds), InteractiveProof(), "commitment"))
    best, _ = best_response(tree, "prover", {"verifier": agents["reference"]})
    assert best == pytest.approx(float((1 - Fraction(fewest, edges)) ** rounds))


@pytest.mark.parametrize(("nodes", "edges", "fewest"), [(4, 6, 1), (5, 10, 2)])
def test_planted_coloring_attains_the_error_of_any_graph(nodes: int, edges: int, fewest: int) -> None:
    spec = resolve(Complete(nodes=nodes, edges=edges, rounds=3), InteractiveProof(), "commitment")
    played, lanes = Game(spec, 20_000), 20_000
    accepted = int(played.play({"prover": find_agent("planted", spec)})[:, 0].sum())
    error = float((1 - Fraction(fewest, edges)) ** 3)
    assert binom.cdf(accepted, lanes, error) > 1e-6
    assert binom.sf(accepted - 1, lanes, error) > 1e-6
    exact = expected_return(
        Enumerator(resolve(Complete(nodes=nodes, edges=edges, rounds=1), InteractiveProof(), "commitment")),
        {"prover": find_agent("planted", spec), "verifier": agents["reference"]},
    )
    assert exact[0] == pytest.approx(1 - fewest / edges)


def test_honest_round_shows_two_different_colors_uniformly() -> None:
    # Perfect zero knowledge against the honest verifier: a simulator draws an edge, and two different colours.
    spec = resolve(Complete(nodes=4, edges=5, rounds=1, truth=1), InteractiveProof(), "commitment")
    tree = Enumerator(spec)
    ((_, state),) = tree.deals()
    shown: dict[int, Counter[tuple[int, ...]]] = {edge: Counter() for edge in range(5)}
    for p, colors in tree.sayings(state, 0, find_agent("honest", spec)):
        ((_, committed, _),) = tree.step(state, {0: colors})
        for edge in range(5):
            ((_, opened, _),) = tree.step(committed, {1: (edge,)})
            shown[edge][tuple(opened["opened"][0, 0].tolist())] += p
    for seen in shown.values():
        assert set(seen) == set(permutations(range(3), 2))
        assert all(p == pytest.approx(1 / 6) for p in seen.values())


def test_rounds_of_the_honest_prover_show_independent_pairs() -> None:
    played = game(Coloring(rounds=2), proof="commitment", num_envs=100_000)
    played.play({"prover": "honest"})
    opened = played.field("opened")[played.field("truth") == 1].long()
    pairs = (opened[..., 0] * 3 + opened[..., 1]).numpy()
    counts = np.unique(pairs[:, 0] * 9 + pairs[:, 1], return_counts=True)[1]
    assert len(counts) == 36
    assert chisquare(counts).pvalue > 1e-6


def test_pairs_stay_in_their_split_and_nothing_leaks() -> None:
    assert not marginal_leaks(Coloring(), games=100_000).leaks
    pairs = [set(game(Coloring(), num_envs=4000, split=split).field("pair").tolist()) for split in ("train", "validation", "test")]
    assert sum(map(len, pairs)) == len(set().union(*pairs)) == 256
    assert min(map(len, pairs)) > 10


@pytest.mark.parametrize(
    ("sizes", "says"),
    [
        ({"nodes": 8}, "nodes=8 is outside 9..12"),
        ({"edges": 16}, "edges=16 is outside 17..20"),
        ({"nodes": 12, "edges": 27}, "edges=27 is outside 23..26"),
        ({"rounds": 0}, "rounds=0 is outside 1..63"),
    ],
)
def test_sizes_are_checked(sizes: dict[str, int], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Coloring(**sizes)


def test_text_that_is_no_statement_is_refused() -> None:
    task = Coloring(edges=17)
    text = "3-colourable: 1-0 8-2" + "".join(f" {v}-{w}" for v in (3, 4, 5) for w in (0, 1, 2, 7, 8))
    assert task.render(task.parse(text)) == text
    for bad in (text + " 0-1", text.replace("1-0", "1-9"), text.replace("1-0", "2-8"), "colourable"):
        with pytest.raises(ValueError, match=r"expected '3-colourable: i-j \.\.\.', 17 different edges of nodes below 9"):
            task.parse(bad)
