"""Coloring: whether a graph is 3-colourable, by the colouring itself or by commitments that are opened an edge at a time."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pvg.field import Field
from pvg.lane import draw, lane
from pvg.task import Proof, Task, TaskRules, Values, tasks, within

PAIRS = 256


@tasks.register("Coloring")
@dataclass(frozen=True)
class Coloring(Task):
    """Can the nodes of a graph of n nodes and E edges be given three colours such that no edge joins two of one colour?

    Statement: the edges (`edge`), in random order, each from either end. True with probability 1/2. The graphs are relabelled
    copies of a pool of 256 pairs, no two of which hold the same graph: a colourable one, and one made of it by
    swapping the ends of two edges, which keeps every degree, that is not colourable but by u = 1 violated edge. Nothing leaks from
    degrees or any two edges, and no graph has a clique of four. A pair's graphs are in one split. The prover is given the
    colouring the pair was made with (`planted`), which is proper if the statement is true and else violates one edge.
    Proof `coloring`: a colour a node; completeness 1, soundness error 0.
    Proof `commitment`: in each of k rounds the prover commits to a colour a node, its colours permuted at random, the verifier
    asks for an edge, and the commitments of its two ends are opened (`opened`). Completeness 1, soundness error
    (1 - u/E)^k, exactly; what is opened of a proper colouring is two different colours at random, whatever the graph
    (`simulate`: zero knowledge).
    Proof `two_provers`: of an edge drawn at random and turned at random, one prover is asked for the colour of the first end, and
    another, who hears nothing of it, for the colour of the same node or, half the time, of the other end; the colours are to be
    the same, or different. Completeness 1, soundness error 1 - u/2E, exactly: provers with one colouring fail for its violated
    edges half the time. Where the second's colour is another at the nodes D, of degrees that sum to d, that escapes at most
    d of the 2u turned edges (whose second end is in D), and fails for d of the 2E turned edges where one node is asked for twice.
    Source: Goldreich, Micali & Wigderson 1991, with ideal commitments; the two provers as in the nonlocal games of
    Cleve, Hoyer, Toner & Watrous 2004, on an odd cycle with two colours.

    nodes: n, 9..12. edges: E, 2n - 1..2n + 2. rounds: k, 1..63. Default: nodes=9, edges=18, rounds=8. Preset hard: 12 nodes, 26
    edges, 40 rounds.
    """

    presets: ClassVar = {"hard": {"nodes": 12, "edges": 26, "rounds": 40}}
    split_by = ("pair",)

    nodes: int = 9
    edges: int = 18
    rounds: int = 8

    def __post_init__(self) -> None:
        within(self, "nodes", 9, 12)
        within(self, "edges", 2 * self.nodes - 1, 2 * self.nodes + 2)
        within(self, "rounds", 1, 63)

    @property
    def statement(self) -> tuple[Field, ...]:
        return (Field("edge", self.nodes, (self.edges, 2), ("edge", "end"), kind="node"),)

    @property
    def private(self) -> tuple[Field, ...]:  # type: ignore[override]
        return (
            Field("planted", 3, (self.nodes,), ("node",), seen_by=("prover",)),
            Field("pair", PAIRS, seen_by=()),
            Field("label", self.nodes, (self.nodes,), ("node",), seen_by=()),
        )

    @property
    def tables(self) -> dict[str, NDArray[Any]]:
        return pool(self.nodes, self.edges)

    def build(self) -> TaskRules:
        n, edges, rounds = self.nodes, self.edges, self.rounds

        @lane
        def sample(s: Any, tables: Any) -> None:
            s.truth, s.pair = draw(s, 2), draw(s, tables.graph.shape[0])
            for v in range(n):
                w = draw(s, v + 1)
                s.label[v] = s.label[w]
                s.label[w] = v
            for v in range(n):
                s.planted[s.label[v]] = tables.color[s.pair, v]
            for e in range(edges):
                place, end = draw(s, e + 1), draw(s, 2)
                for i in range(2):
                    s.edge[e, i] = s.edge[place, i]
                    s.edge[place, i] = s.label[tables.graph[s.pair, s.truth, e, (end + i) % 2]]

        @lane
        def planted(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            """The colouring the graph was made with, its colours permuted."""
            shift, sign = draw(s, 3), 1 + draw(s, 2)
            for v in range(n):
                out[v] = (shift + sign * np.int64(s.planted[v])) % 3

        @lane
        def random(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            for v in range(n):
                out[v] = draw(s, 3)

        @lane
        def greedy(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            """Each node the colour that fewest of the neighbours before it have, from a random node on."""
            start = draw(s, n)
            for k in range(n):
                v, best, fewest = (start + k) % n, 0, edges + 1
                for color in range(3):
                    violated = 0
                    for e in range(edges):
                        a, b = np.int64(s.edge[e, 0]), np.int64(s.edge[e, 1])
                        w = a + b - v
                        if (a == v or b == v) and (w - start + n) % n < k and out[w] == color:
                            violated += 1
                    if violated < fewest:
                        best, fewest = color, violated
                out[v] = best

        @lane
        def check(s: Any, tables: Any, first: Any) -> Any:
            for e in range(edges):
                if s.said[first, np.int64(s.edge[e, 0])] == s.said[first, np.int64(s.edge[e, 1])]:
                    return 0
            return 1

        @lane
        def ask(s: Any, tables: Any, slot: Any, out: Any) -> None:
            out[0] = draw(s, edges)

        @lane
        def evidence(s: Any, tables: Any, slot: Any) -> None:
            if slot % 2 == 1:
                for i in range(2):
                    s.opened[slot // 2, i] = s.said[slot - 1, np.int64(s.edge[np.int64(s.said[slot, 0]), i])]

        @lane
        def check_opened(s: Any, tables: Any, first: Any) -> Any:
            for k in range(rounds):
                if s.opened[k, 0] == s.opened[k, 1]:
                    return 0
            return 1

        @lane
        def ask_either(s: Any, tables: Any, slot: Any, out: Any) -> None:
            if slot == 0:
                out[0] = s.edge[draw(s, edges), draw(s, 2)]
                return
            out[0] = node = np.int64(s.said[0, 0])
            if draw(s, 2) == 0:
                return
            joined = 0
            for e in range(edges):
                for i in range(2):
                    if s.edge[e, i] == node:
                        joined += 1
                        if draw(s, joined) == 0:
                            out[0] = s.edge[e, 1 - i]

        @lane
        def planted_color(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            out[0] = s.planted[np.int64(s.said[slot - 1, 0])]

        @lane
        def random_color(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            out[0] = draw(s, 3)

        @lane
        def check_both(s: Any, tables: Any, first: Any) -> Any:
            return 1 if (s.said[0, 0] == s.said[2, 0]) == (s.said[1, 0] == s.said[3, 0]) else 0

        @lane
        def simulate(s: Any, tables: Any) -> None:
            for slot in range(0, 2 * rounds, 2):
                for v in range(n):
                    s.said[slot, v] = 0
                asked, color = draw(s, edges), draw(s, 3)
                s.said[slot, np.int64(s.edge[asked, 0])] = color
                s.said[slot, np.int64(s.edge[asked, 1])] = (color + 1 + draw(s, 2)) % 3
                s.said[slot + 1, 0] = asked
                evidence(s, tables, slot + 1)

        dishonest = {"random": random, "greedy": greedy, "planted": planted}
        color = Field("color", 3, (n,), ("node",))
        commitment = Proof(
            kinds={"message": (replace(color, seen_by=("prover",)),), "question": (Field("asked", edges),)},
            script=("message", "question") * rounds,
            honest=planted,
            dishonest=dishonest,
            check=check_opened,
            ask=ask,
            fields=(Field("opened", 3, (rounds, 2), ("round", "end"), blank=True),),
            evidence=evidence,
            soundness_error=(1 - 1 / edges) ** rounds,
            simulate=simulate,
        )
        answer = (Field("answer", 3),)
        two_provers = Proof(
            kinds={"question": (Field("node", n, kind="node"),), "message": answer, "second_message": answer},
            script=("question", "message", "question", "second_message"),
            honest=planted_color,
            dishonest={"random": random_color, "planted": planted_color},
            check=check_both,
            ask=ask_either,
            soundness_error=1 - 1 / (2 * edges),
        )
        coloring = Proof({"message": (color,)}, planted, dishonest, check)
        return TaskRules(sample, {"coloring": coloring, "commitment": commitment, "two_provers": two_provers})

    def render(self, values: Values) -> str:
        return "3-colourable: " + " ".join(f"{a}-{b}" for a, b in values["edge"])

    def parse(self, text: str) -> dict[str, NDArray[Any]]:
        match = re.fullmatch(rf"3-colourable:((?: \d+-\d+){{{self.edges}}})", text.strip())
        ends = [[int(v) for v in edge.split("-")] for edge in match[1].split()] if match else []
        different = {(min(edge), max(edge)) for edge in ends if edge[0] != edge[1] and max(edge) < self.nodes}
        if len(different) != self.edges:
            says = f"expected '3-colourable: i-j ...', {self.edges} different edges of nodes below {self.nodes}"
            raise ValueError(f"statement {text!r}: {says}")
        return {"edge": np.array(ends, np.int8)}


@cache
def pool(nodes: int, edges: int) -> dict[str, NDArray[np.int8]]:
    """Pairs of graphs of the same degrees: `graph pair truth edge end`, and `color pair node`, proper for the true one.

    All 3-colourings of the nodes (but for the names of the colours) are numbered, and those that an edge allows are kept as
    bits: a graph is colourable if some bit is set for all of its edges.
    """
    rng = np.random.default_rng(0)
    colorings = np.indices((1, *[3] * (nodes - 1)), dtype=np.int8).reshape(nodes, -1)
    allows = {(a, b): np.packbits(colorings[a] != colorings[b]) for a, b in combinations(range(nodes), 2)}
    graphs: list[list[list[tuple[int, int]]]] = []
    colors: list[NDArray[np.int64]] = []
    known: set[object] = set()
    for _ in range(5000):
        color = rng.integers(3, size=nodes)
        across = [(a, b) for a, b in allows if color[a] != color[b]]
        if len(across) < edges or len(graphs) == PAIRS:
            continue
        true = [across[k] for k in rng.permutation(len(across))[:edges]]
        for k in range(edges - 1):
            (a, b), (c, d) = true[k : k + 2]
            false = [(min(a, c), max(a, c)), (min(b, d), max(b, d)), *true[:k], *true[k + 2 :]]
            swapped = len({a, b, c, d}) == 4 and len({*true, *false}) == edges + 2
            if not swapped or (color[a] == color[c]) == (color[b] == color[d]):
                continue  # the colouring is to violate one of the new edges
            if np.bitwise_and.reduce([allows[edge] for edge in false]).any():
                continue
            adjacent = [_adjacency(graph, nodes) for graph in (false, true)]
            shapes = {_shape(matrix) for matrix in adjacent}
            if adjacent[0].any(axis=1).all() and not _clique_of_four(adjacent[0], false[:2]) and not shapes & known:
                known |= shapes
                graphs.append([false, true])
                colors.append(color)
                break
    return {"graph": np.array(graphs, np.int8), "color": np.array(colors, np.int8)}


def _adjacency(graph: list[tuple[int, int]], nodes: int) -> NDArray[np.int64]:
    matrix = np.zeros((nodes, nodes), np.int64)
    for a, b in graph:
        matrix[a, b] = matrix[b, a] = 1
    return matrix


def _shape(adjacent: NDArray[np.int64]) -> object:
    """What isomorphic graphs share: for each node, how many walks of 2 to 7 steps return to it."""
    returning, walks = [], adjacent
    for _ in range(6):
        walks = walks @ adjacent
        returning.append(walks.diagonal())
    return tuple(sorted(map(tuple, np.transpose(returning).tolist())))


def _clique_of_four(adjacent: NDArray[np.int64], through: list[tuple[int, int]]) -> bool:
    """Whether one of these edges is in a clique of four."""
    both = [np.flatnonzero(adjacent[a] & adjacent[b]) for a, b in through]
    return any(adjacent[np.ix_(common, common)].any() for common in both)
