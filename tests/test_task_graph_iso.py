"""GraphIso, and the pool of graphs it shares with GraphNonIso."""

from __future__ import annotations

import hashlib
import itertools
from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch
from numba import njit
from numpy.typing import NDArray
from scipy.stats import binomtest

import pvg
from pvg import isomorphism
from pvg.agent import agents
from pvg.enumerator import Enumerator, State
from pvg.extensive_form import best_response
from pvg.isomorphism import graph_pool, wl_score
from pvg.leaks import marginal_leaks
from pvg.protocols import InteractiveProof, ProverVerifier
from pvg.spec import resolve
from pvg.tasks.graph_iso import GraphIso
from pvg.testing import check_numbers

REFERENCE = {"verifier": agents["reference"]}
PATH = [[0, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 1], [0, 0, 1, 0]]
STAR = [[0, 1, 1, 1], [1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]]


def graph(adjacency: Any) -> nx.Graph:
    return nx.from_numpy_array(np.asarray(adjacency).astype(int))


def classes(graphs: NDArray[np.int64], nodes: int) -> NDArray[np.uint64]:
    return isomorphism._class_hash(isomorphism._matrices(graphs.reshape(-1), nodes)).reshape(graphs.shape)


def score_by_networkx(first: Any, second: Any) -> int:
    pair = [graph(first), graph(second)]
    for each in pair:
        nx.set_node_attributes(each, "all alike", "colour")
    for rounds in range(1, len(first) + 1):
        one, other = (nx.weisfeiler_lehman_graph_hash(each, node_attr="colour", iterations=rounds) for each in pair)
        if one != other:
            return rounds
    return -1


def test_truth_is_what_networkx_says() -> None:
    game = pvg.game(GraphIso(nodes=8), num_envs=2000, seed=1, proof="permutation")
    truth = [
        nx.is_isomorphic(graph(f), graph(s)) for f, s in zip(game.field("first").numpy(), game.field("second").numpy(), strict=True)
    ]
    assert game.field("truth").bool().tolist() == truth


def test_score_is_how_many_rounds_networkx_needs() -> None:
    rng = np.random.default_rng(0)
    pairs = [np.triu(rng.random((2, n, n)) < p, 1) for n in (4, 5, 6, 8) for p in (0.3, 0.5) for _ in range(40)]
    pairs += [isomorphism._matrices(entry[:2], 8) for entry in graph_pool(8, 100)["graphs"][:, 2]]
    scores = []
    for pair in pairs:
        first, second = (half | half.T for half in pair.astype(np.uint64))
        scores.append(wl_score(first, second))
        assert scores[-1] == score_by_networkx(first, second)
    assert set(scores) >= {1, 2, 3, 4, -1}


def test_a_cycle_of_six_and_two_triangles_are_never_told_apart() -> None:
    hexagon, triangles = nx.cycle_graph(6), nx.disjoint_union(nx.cycle_graph(3), nx.cycle_graph(3))
    assert wl_score(nx.to_numpy_array(hexagon), nx.to_numpy_array(triangles)) == -1
    assert wl_score(nx.to_numpy_array(nx.path_graph(4)), nx.to_numpy_array(nx.star_graph(3))) == 1


def test_the_class_hash_tells_all_graphs_of_up_to_seven_nodes_apart() -> None:
    atlas = [nx.to_numpy_array(g).astype(np.uint64) for g in nx.graph_atlas_g()]
    for nodes, count in ((5, 34), (6, 156), (7, 1044)):
        hashes = isomorphism._class_hash(np.stack([a for a in atlas if len(a) == nodes]))
        assert len(np.unique(hashes)) == len(hashes) == count


@pytest.mark.parametrize(
    ("nodes", "digest"),
    [
        (3, "2fe6fea90f8f544e"),
        (7, "2f7f36e2f2598b1b"),
        (8, "6937078005c54a2f"),
        (9, "ddcf4cd448d61cae"),
        (10, "f667d5b105e3fe88"),
        (11, "d910dfc5aecca94f"),
    ],
)
def test_pool_is_always_the_same(nodes: int, digest: str) -> None:
    pool = graph_pool(nodes, 1000)
    assert hashlib.sha256(pool["graphs"].tobytes() + pool["family"].tobytes()).hexdigest()[:16] == digest


@pytest.mark.parametrize(("nodes", "levels"), [(4, [1, 1, 1]), (5, [1, 2, 2]), (6, [1, 2, 3]), (7, [1, 2, 3]), (11, [1, 2, 3])])
def test_pairs_of_the_pool_have_their_score_and_equally_many_edges(nodes: int, levels: list[int]) -> None:
    for entry in graph_pool(nodes, 200)["graphs"]:
        for (first, second, fresh), level in zip(entry, levels, strict=True):
            one, other = isomorphism._matrices(np.array([first, second]), nodes)
            score = wl_score(one, other)
            assert (score if 0 < score < 3 else 3) == level
            assert not nx.is_isomorphic(graph(one), graph(other))
            assert int(first).bit_count() == int(fresh).bit_count() == int(second).bit_count() or nodes == 4


def test_scores_are_dealt_in_their_shares_and_two_rounds_are_right_65_percent_of_the_time() -> None:
    game = pvg.game(GraphIso(), num_envs=20_000, seed=3, proof="permutation")
    scores = np.array([wl_score(f, s) for f, s in zip(game.field("first").numpy(), game.field("second").numpy(), strict=True)])
    truth = game.field("truth").numpy()
    assert (scores[truth == 1] == -1).all()
    unlike = scores[truth == 0]
    counts = [(unlike == 1).sum(), (unlike == 2).sum(), ((unlike > 2) | (unlike == -1)).sum()]
    for count, share in zip(counts, (0.1, 0.2, 0.7), strict=True):
        assert binomtest(int(count), len(unlike), share).pvalue > 1e-6
    right = (truth == 1) == ((scores > 2) | (scores == -1))
    assert binomtest(int(right.sum()), len(right), 0.5 + 0.5 * 0.3).pvalue > 1e-6


@pytest.mark.parametrize(("fresh", "low", "high"), [(True, 0.69, 0.75), (False, 0.65, 0.65)])
def test_who_knows_which_colours_come_in_pairs_gains_by_fresh_graphs_alone(fresh: bool, low: float, high: float) -> None:
    graphs = graph_pool(7, 65_536)["graphs"]
    adjacency = isomorphism._matrices(graphs.reshape(-1), 7)
    once = isomorphism._refined(adjacency, np.zeros((len(adjacency), 7), np.uint64))
    _, seen = np.unique(isomorphism._counted(isomorphism._refined(adjacency, once)), return_inverse=True)
    seen = seen.reshape(graphs.shape)
    share, copies = np.array([0.1, 0.2, 0.7])[:, None], np.array([0.25, 0.25, 0.5] if fresh else [0.5, 0.5, 0])
    iso = np.bincount(seen.ravel(), np.broadcast_to(0.5 * share * copies / len(graphs), seen.shape).ravel())
    unlike = np.bincount(seen[:, 2, 0], minlength=len(iso)) * 0.5 * 0.7 / len(graphs)
    assert low - 1e-9 <= 0.5 * 0.3 + np.maximum(iso, unlike).sum() <= high + 1e-9


def test_isomorphic_pairs_are_copies_of_either_graph_of_a_pair_or_half_the_time_fresh() -> None:
    task, entry = GraphIso(nodes=8, pool=1, scores=(0, 0, 1)), classes(graph_pool(8, 1)["graphs"][0, 2], 8)
    assert len(set(entry.tolist())) == 3
    game = pvg.game(task, num_envs=8000, proof="permutation")
    found = isomorphism._class_hash(game.field("first")[game.field("truth") == 1].numpy().astype(np.uint64))
    for kind, share in zip(entry, (0.25, 0.25, 0.5), strict=True):
        assert binomtest(int((found == kind).sum()), len(found), share).pvalue > 1e-6


@pytest.mark.parametrize("nodes", [7, 8, 9, 10, 11])
def test_no_graph_is_in_two_splits(nodes: int) -> None:
    pool = graph_pool(nodes, 16_384)
    owner: dict[int, int] = {}
    for found, family in zip(classes(pool["graphs"], nodes), pool["family"], strict=True):
        for kind in found.ravel().tolist():
            assert owner.setdefault(kind, int(family)) == family
    assert len(np.unique(pool["family"])) == 32


def test_every_split_has_its_families() -> None:
    game = pvg.game(GraphIso(), num_envs=4000, proof="permutation")
    family, bucket = game.field("family").tolist(), (game.statement_hash().numpy().view(np.uint64) % 10).tolist()
    assert len(set(zip(family, bucket, strict=True))) == len(set(family))
    assert set(bucket) > {8, 9}


def test_relabellings_are_uniform() -> None:
    game = pvg.game(GraphIso(nodes=4, rounds=4, pool=1, scores=(0, 0, 1), fresh=False), num_envs=24_000, proof="permutation")
    shapes, counts = np.unique(game.field("first").numpy().reshape(-1, 16), axis=0, return_counts=True)
    for shape, count in zip(shapes, counts, strict=True):
        copies = {s.tobytes() for p in itertools.permutations(range(4)) for s in [shape.reshape(4, 4)[np.ix_(p, p)]]}
        alike = sum(c for s, c in zip(shapes, counts, strict=True) if s.tobytes() in copies)
        assert binomtest(int(count), int(alike), 1 / len(copies)).pvalue > 1e-6


def test_a_permutation_by_hand() -> None:
    game = pvg.game(GraphIso(nodes=4, rounds=4), num_envs=5, proof="permutation")
    renamed = torch.zeros((4, 4), dtype=torch.int8)
    for i, j in ((2, 0), (0, 3), (3, 1)):  # the path 2 0 3 1
        renamed[i, j] = renamed[j, i] = 1
    star = torch.tensor(STAR, dtype=torch.int8)
    game.field("first").copy_(torch.stack([*[torch.tensor(PATH, dtype=torch.int8)] * 3, star, star]))
    game.field("second").copy_(torch.stack([*[renamed] * 3, star, star]))
    # The path either way round; not its nodes as they are; the star; all its leaves on one.
    game.actions[:, 0, :4] = torch.tensor([[2, 0, 3, 1], [1, 3, 0, 2], [0, 1, 2, 3], [0, 2, 3, 1], [0, 1, 1, 1]])
    game.step()
    game.speak((None, agents["reference"]))
    game.step()
    assert game.field("verdict").tolist() == [1, 1, 0, 1, 0]


def test_answers_by_hand() -> None:
    game = pvg.game(GraphIso(nodes=4, rounds=2), num_envs=4, proof="one_node_a_turn")
    game.field("first").copy_(torch.tensor(PATH, dtype=torch.int8).expand(4, 4, 4))
    game.field("second").copy_(torch.tensor(STAR, dtype=torch.int8).expand(4, 4, 4))
    # Nodes 0 and 1 are joined: so are 2 and 0, but not 2 and 3; one node is not the image of two, nor two of one.
    said = torch.tensor([[0, 2, 1, 0], [0, 2, 1, 3], [0, 2, 1, 2], [0, 2, 0, 0]])
    for slot in range(4):
        game.actions[:, 1 - slot % 2, 0] = said[:, slot]
        game.step()
    game.speak((None, agents["reference"]))
    game.step()
    assert game.field("verdict").tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize(
    ("task", "proof"),
    [
        (GraphIso(nodes=11, rounds=4), "permutation"),
        (GraphIso(nodes=3, rounds=3, pool=9), "one_node_a_turn"),
        (GraphIso(nodes=7, rounds=7), "one_node_a_turn"),
    ],
    ids=["permutation", "three nodes", "seven nodes"],
)
def test_numbers_hold(task: GraphIso, proof: str) -> None:
    assert task.rules.proofs[proof].soundness_error == 0
    check_numbers(task, proof=proof)


def test_no_permutation_proves_a_false_claim() -> None:
    spec = resolve(GraphIso(nodes=3, rounds=3, pool=2, scores=(1, 0, 0), fresh=False), ProverVerifier(), "permutation")
    assert best_response(Enumerator(spec), "prover", REFERENCE, given=lambda s: s["truth"][0] == 0)[0] == 0


@njit  # type: ignore[misc]
def optimum(first: Any, second: Any, rounds: Any, asked: Any, answers: Any, count: Any) -> float:
    """How often the best prover is accepted: the mean over the next question of the most over its answers."""
    if count == rounds:
        return 1.0
    n, total, left = len(first), 0.0, 0
    for node in range(n):
        if node not in asked[:count]:
            left += 1
            best = 0.0
            for answer in range(n):
                fits = answer not in answers[:count]
                for k in range(count):
                    fits = fits and first[node, asked[k]] == second[answer, answers[k]]
                if fits and best < 1.0:
                    asked[count], answers[count] = node, answer
                    best = max(best, optimum(first, second, rounds, asked, answers, count + 1))
            total += best
    return total / left


def accepted(first: Any, second: Any, rounds: int) -> float:
    free = np.full((2, len(first)), -1)
    return float(optimum(np.array(first, np.int64), np.array(second, np.int64), rounds, free[0], free[1], 0))


@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_the_best_prover_answers_as_often_well_as_a_recursion_says(rounds: int) -> None:
    task = GraphIso(nodes=3, rounds=rounds, pool=2, scores=(1, 0, 0), fresh=False)
    spec = resolve(task, InteractiveProof(), "one_node_a_turn")
    tree = Enumerator(spec)
    pairs = {(s["first"][0].tobytes(), s["second"][0].tobytes()) for _, s in tree.deals() if s["truth"][0] == 0}
    assert len(pairs) > 1
    for first, second in sorted(pairs)[:4]:

        def this(s: State, first: bytes = first, second: bytes = second) -> bool:
            return bool(s["truth"][0] == 0) and (s["first"][0].tobytes(), s["second"][0].tobytes()) == (first, second)

        matrices = [np.frombuffer(half, np.int8).reshape(3, 3) for half in (first, second)]
        value = best_response(tree, "prover", REFERENCE, given=this)[0]
        assert value == pytest.approx(accepted(*matrices, rounds))
        proof = spec.proof
        assert proof is not None
        assert proof.soundness_error is not None
        assert value <= proof.soundness_error
        assert rounds < 3 or value == 0


def test_fewer_answers_than_nodes_prove_little() -> None:
    graphs = graph_pool(7, 1000)["graphs"][:100]
    rates = []
    for rounds in (3, 4, 5, 6):
        by_level = [
            np.mean([accepted(*isomorphism._matrices(entry[level, :2], 7), rounds) for entry in graphs]) for level in range(3)
        ]
        rates.append(float(np.dot(by_level, [0.1, 0.2, 0.7])))
    assert rates == pytest.approx([0.98, 0.75, 0.42, 0.15], abs=0.04)
    assert accepted(PATH, STAR, 2) == 1


def test_no_marginal_of_two_tells_the_truth() -> None:
    found = marginal_leaks(GraphIso(), games=100_000)
    assert not found.leaks, str(found)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"nodes": 1}, r"GraphIso: nodes=1 is outside 2..11"),
        ({"nodes": 12}, r"GraphIso: nodes=12 is outside 2..11"),
        ({"rounds": 8}, r"GraphIso: rounds=8 is outside 1..7"),
        ({"rounds": 0}, r"GraphIso: rounds=0 is outside 1..7"),
        ({"pool": 0}, r"GraphIso: pool=0 is outside 1..65536"),
        ({"scores": (0, 0, 0)}, r"GraphIso: scores=\(0, 0, 0\) is not three weights"),
        ({"scores": (1, 2, -1)}, r"GraphIso: scores=\(1, 2, -1\) is not three weights"),
    ],
)
def test_bad_sizes_are_named(sizes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GraphIso(**sizes)


def test_text_is_read_back_and_nonsense_refused() -> None:
    task = GraphIso(nodes=4, rounds=4)
    read = task.parse("first: 0-1 1-2 2-3; second: none")
    assert read["first"].tolist() == PATH
    assert not read["second"].any()
    assert task.render(read) == "first: 0-1 1-2 2-3; second: none"
    with pytest.raises(ValueError, match="expected 'first: edges; second: edges'"):
        task.parse("first: 0-1")
    with pytest.raises(ValueError, match="edge '1-4': expected i-j with i < j < 4"):
        task.parse("first: 1-4; second: none")


def test_hard_graphs_are_larger() -> None:
    game = pvg.game(GraphIso.preset("hard"), num_envs=4)
    assert game.field("first").shape == (4, 11, 11)
