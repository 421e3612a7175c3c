"""The graph network: what it can tell apart, what it cannot, and that no answer depends on what nodes are called."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import nll_loss

import pvg
from pvg.agent import Observation
from pvg.agents.networks import GraphProver, GraphVerifier, ProverNetwork, VerifierNetwork, build
from pvg.agents.networks.reading import one_hot
from pvg.agents.networks.registry import networks
from pvg.protocols import InteractiveProof, ProverVerifier, Solo
from pvg.spec import Spec, default_protocol, resolve
from pvg.task import Task
from pvg.tasks import Arith, Coloring, Connectivity, GraphIso, GraphNonIso, Matching
from pvg.verifier import message_columns

NODES = 7
ISO = GraphIso(nodes=NODES, pool=64)
TOLD, ALONE = resolve(ISO, ProverVerifier()), resolve(ISO, Solo())
Graph = NDArray[np.int64]  # node node


def verifier(spec: Spec, width: int | None = None, layers: int | None = None) -> VerifierNetwork:
    player = build("graph", spec, "verifier", width=width, layers=layers)
    assert isinstance(player, VerifierNetwork)
    return player


def prover(spec: Spec) -> ProverNetwork:
    player = build("graph", spec, "prover")
    assert isinstance(player, ProverNetwork)
    return player


def packed(*pairs: tuple[Graph, Graph], message: bool = False) -> Tensor:
    """Pairs of graphs as a role sees them; nothing is heard yet."""
    rows = torch.tensor(np.array(pairs)).flatten(1)
    return torch.cat([rows, torch.zeros((len(rows), NODES if message else 0), dtype=torch.long)], 1)


def drawn(seed: int) -> Graph:
    upper = np.triu(np.random.default_rng(seed).random((NODES, NODES)) < 0.4, 1).astype(np.int64)
    return upper + upper.T


def renamed(graph: Graph, seed: int) -> Graph:
    order = np.random.default_rng(seed).permutation(NODES)
    return graph[np.ix_(order, order)]


def rounds_to_tell_apart(first: Graph, second: Graph) -> int:
    """After how many rounds of colour refinement two graphs have different colours; NODES + 1: never."""
    colours = [[0] * NODES, [0] * NODES]
    for r in range(1, NODES + 1):
        seen = [
            [(of[i], *sorted(of[j] for j in np.flatnonzero(graph[i]))) for i in range(NODES)]
            for graph, of in zip((first, second), colours, strict=True)
        ]
        number = {colour: k for k, colour in enumerate(sorted({*seen[0], *seen[1]}))}
        colours = [[number[colour] for colour in of] for of in seen]
        if sorted(colours[0]) != sorted(colours[1]):
            return r
    return NODES + 1


@cache
def told_apart_in(rounds: int) -> tuple[Graph, Graph]:
    """Two graphs that take exactly that many rounds; of random graphs with equal degrees some do."""
    graphs = [drawn(seed) for seed in range(400)]
    alike: dict[tuple[int, ...], list[Graph]] = {}
    for graph in graphs:
        alike.setdefault(tuple(sorted(graph.sum(0).tolist())), []).append(graph)
    pairs = (pair for some in alike.values() for pair in itertools.combinations(some, 2))
    return next(pair for pair in pairs if rounds_to_tell_apart(*pair) == rounds)


def gap(network: VerifierNetwork, rounds: int, message: bool) -> float:
    """How differently a verifier judges a pair that takes some rounds to tell apart, and the first graph with itself."""
    first, second = told_apart_in(rounds)
    with torch.no_grad():
        log_probs = network.log_probs(packed((first, second), (first, renamed(first, 1)), message=message))
    return float((log_probs[0] - log_probs[1]).abs().max())


@pytest.mark.parametrize("spec", [ALONE, TOLD], ids=["alone", "nothing heard"])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_layers_tell_apart_what_as_many_rounds_of_colour_refinement_do(spec: Spec, layers: int) -> None:
    network = verifier(spec, layers=layers).double()
    for rounds in (2, 3):
        found = gap(network, rounds, message=spec is TOLD)
        assert (found > 1e-5) == (rounds <= layers), (rounds, layers, found)
        assert found > 1e-5 or found < 1e-12


def test_a_verdict_depends_neither_on_names_nor_on_which_graph_is_first() -> None:
    network, (first, second) = verifier(ALONE).double(), told_apart_in(2)
    verdicts = network.log_probs(packed((first, second), (renamed(first, 1), second), (first, renamed(second, 2)), (second, first)))
    torch.testing.assert_close(verdicts, verdicts[:1].expand(4, -1))


def test_edges_may_be_listed_in_any_order_and_from_either_end() -> None:
    spec = resolve(Coloring(), ProverVerifier())
    network, edges = verifier(spec), torch.randint(9, (1, 18, 2), generator=torch.Generator().manual_seed(1))
    colours = torch.randint(1, 4, (1, 9), generator=torch.Generator().manual_seed(2))
    turned = torch.cat([edges[:, 9:].flip(2), edges[:, :9]], 1)
    other = torch.cat([edges[:, 1:], edges[:, :1, :1].expand(-1, 1, 2)], 1)
    verdicts = network.log_probs(torch.cat([torch.cat([some.flatten(1), colours], 1) for some in (edges, turned, other)]))
    torch.testing.assert_close(verdicts[0], verdicts[1])
    assert not verdicts[0].allclose(verdicts[2])


def test_a_verifier_sees_whether_a_map_keeps_edges() -> None:
    network, first = verifier(TOLD).double(), drawn(1)
    order = np.random.default_rng(3).permutation(NODES)
    second = np.empty_like(first)
    second[np.ix_(order, order)] = first
    heard = packed(*[(first, second)] * 3, message=True)
    wrong = order.copy()
    swap = next(j for j in range(1, NODES) if not np.array_equal(np.delete(first[0], [0, j]), np.delete(first[j], [0, j])))
    wrong[[0, swap]] = wrong[[swap, 0]]
    twice = order.copy()
    twice[0] = twice[1]
    heard[:, -NODES:] = torch.tensor(np.array([order, wrong, twice])) + 1
    assert isinstance(network, GraphVerifier)
    read = network.readout(network.rounds(heard, network.rounds.adjacency(heard)))
    differ = read.detach()[:, read.shape[1] // 2 :].amax(1)
    assert float(differ[0]) < 1e-12
    assert float(differ[1:].min()) > 1e-3


def test_the_first_node_said_moves_with_its_name() -> None:
    network, (first, second) = prover(TOLD).double(), told_apart_in(2)
    order = np.random.default_rng(2).permutation(NODES)
    seen = packed((first, second), (first, second[np.ix_(order, order)]), message=True)
    scores = network.logits(seen, torch.zeros((2, NODES), dtype=torch.long))[:, 0]
    torch.testing.assert_close(scores[1], scores[0, torch.as_tensor(order)])
    assert float(scores[0].detach().std()) > 1e-3


def test_what_is_said_first_matters_to_what_is_said_next_and_to_nothing_before() -> None:
    network, seen = prover(TOLD), packed((drawn(1), drawn(2)), message=True)
    message = torch.zeros((1, NODES), dtype=torch.long)
    for j in range(NODES):
        other = message.clone()
        other[0, j] = 3
        changed = (network.logits(seen, other) - network.logits(seen, message)).abs().amax((0, 2))
        assert bool((changed[: j + 1] == 0).all())
        assert bool((changed[j + 1 :] > 1e-5).all())


def test_what_a_prover_says_next_is_what_it_says_when_all_is_decoded_at_once() -> None:
    spec = resolve(Connectivity(nodes=4), ProverVerifier())
    network, view = prover(spec), spec.view(0)
    seen = pvg.game(spec.task, spec.protocol, num_envs=5, seed=3).observe("prover").packed
    assert network.positions == 2 + 4, "half a path, and a side for each node"
    message = torch.tensor([[0, 4, 1, 0, 0, 1]]).repeat(5, 1)
    context, memory = network.encode(seen), None
    together = network.decode(context, message)
    for j in range(6):
        scores, memory = network.next(context, message[:, :j], memory)
        torch.testing.assert_close(scores, together[:, j])
    said = network.act(Observation(seen, view), torch.ones(5, dtype=torch.bool))
    assert said.log_prob is not None
    torch.testing.assert_close(said.log_prob, network.evaluate(seen, said.symbols)[0])
    assert bool((said.symbols[:, :2] <= 4).all())
    assert bool((said.symbols[:, 2:] <= 1).all())


def test_the_symbol_for_no_node_marks_none() -> None:
    spec = resolve(Connectivity(nodes=4), ProverVerifier())
    network, view = verifier(spec), spec.view(1)
    seen = pvg.game(spec.task, spec.protocol, num_envs=1, seed=3).observe("verifier").packed
    start = view["path"].start
    verdicts = []
    for symbol in (-1, 4, 2):
        heard = seen.clone()
        heard[:, start] = symbol + 1
        verdicts.append(network.log_probs(heard))
    torch.testing.assert_close(verdicts[0], verdicts[1])
    assert not verdicts[0].allclose(verdicts[2])


@pytest.mark.parametrize("task", [ISO, Coloring(rounds=2), GraphNonIso(nodes=4, pool=16, rounds=2)], ids=lambda t: type(t).__name__)
def test_weights_that_are_one_hot_are_read_as_what_they_name(task: Task) -> None:
    generator = torch.Generator().manual_seed(1)
    for proof in task.rules.proofs:
        protocol = default_protocol(task, proof)
        spec = resolve(task, InteractiveProof(asks="nature") if isinstance(protocol, InteractiveProof) else protocol, proof)
        role = spec.role_index("verifier")
        network, view = build("graph", spec, "verifier"), spec.view(role)
        if not isinstance(network, VerifierNetwork):
            continue  # of two provers it asks itself
        seen = torch.stack([torch.randint(c.high, (6,), generator=generator) for c in view for _ in range(c.field.size)], 1)
        columns = message_columns(view)
        seen[:, columns] = seen[:, columns].clamp(min=1)
        unread = seen.clone()
        unread[:, columns] = 0
        evidence = {}
        for column in view:
            if column.origin == "proof":
                evidence[column.field.name] = one_hot(seen[:, column.start : column.stop], column.high)
                unread[:, column.start : column.stop] = 0
        weights = one_hot(seen[:, columns] - 1, max(c.field.high for c in view if c.row is not None)).requires_grad_()
        relaxed = network.relaxed(unread, weights, evidence)
        torch.testing.assert_close(relaxed, network.log_probs(seen))
        (gradient,) = torch.autograd.grad(relaxed[:, 1].sum(), weights)
        assert bool((gradient.abs().amax((0, 2)) > 0).all()), "a position is not read"


@pytest.mark.parametrize(
    "task", [GraphIso(nodes=4, pool=16, rounds=2), Coloring(rounds=2), Connectivity(nodes=4)], ids=lambda t: type(t).__name__
)
def test_the_network_plays_every_role_of_every_proof_about_graphs(task: Task) -> None:
    for proof in task.rules.proofs:
        game = pvg.game(task, proof=proof, num_envs=16, seed=2)
        cast = {role.name: build("graph", game.spec, role.name, width=8) for role in game.spec.roles if role.seat != "nature"}
        game.play(dict(cast))
        assert bool(game.over.all())
        assert int((game.field("forfeit") >= 0).sum()) == 0


def permutations(lanes: int, seed: int) -> tuple[Tensor, Tensor]:
    """What a verifier hears of isomorphic graphs, half the time with two nodes of the map exchanged, and whether edges are kept."""
    rng = np.random.default_rng(seed)
    seen, kept = [], []
    for _ in range(lanes):
        first, order = drawn(int(rng.integers(1 << 30))), rng.permutation(NODES)
        second = np.empty_like(first)
        second[np.ix_(order, order)] = first
        if rng.random() < 0.6:
            i, j = rng.choice(NODES, 2, replace=False)
            order[[i, j]] = order[[j, i]]
        seen.append(np.concatenate([first.flatten(), second.flatten(), order + 1]))
        kept.append(np.array_equal(first, second[np.ix_(order, order)]))
    return torch.tensor(np.array(seen)), torch.tensor(kept).long()


def test_it_learns_to_check_permutations_in_seconds() -> None:
    network = verifier(TOLD, width=16)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    seen, kept = permutations(lanes=2000, seed=1)
    for update in range(150):
        some = torch.arange(128 * update, 128 * (update + 1)) % len(seen)
        optimiser.zero_grad()
        nll_loss(network.log_probs(seen[some]), kept[some]).backward()
        optimiser.step()
    seen, kept = permutations(lanes=500, seed=2)
    right = network.log_probs(seen).argmax(1) == kept
    assert float(right[kept == 0].float().mean()) > 0.9
    assert float(right[kept == 1].float().mean()) > 0.9


@pytest.mark.parametrize("task", [Arith(), Matching()], ids=lambda t: type(t).__name__)
def test_a_view_without_graphs_is_refused(task: Task) -> None:
    spec = resolve(task, ProverVerifier())
    for role in ("prover", "verifier"):
        with pytest.raises(ValueError, match="graph' needs graphs of one size"):
            build("graph", spec, role)


def test_it_is_small() -> None:
    spec = resolve(GraphIso(), ProverVerifier())
    network = networks["graph"]
    assert (network.verifier, network.prover) == (GraphVerifier, GraphProver)
    sizes = [sum(p.numel() for p in build("graph", spec, role).parameters()) for role in ("prover", "verifier")]
    assert sum(sizes) <= 26_000
