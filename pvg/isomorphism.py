"""Pairs of graphs that are isomorphic or are not, however alike: the pool they are dealt from, colours, and the search."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pvg.field import Field
from pvg.graph import edges_from_text, edges_text
from pvg.lane import GOLDEN, LaneFunction, draw, lane, mix
from pvg.task import Task, Values, within

SAMPLE = 100_000  # random graphs a pool is made of
FAMILIES = 32
PROBABILITIES = np.array([0.2, 0.4, 0.6, 0.8])  # of an edge


@dataclass(frozen=True)
class GraphPair(Task):
    """Two graphs on n nodes, each relabelled at random: isomorphic with probability 1/2.

    A pair's score is the number of rounds of Weisfeiler-Leman colour refinement that tell its graphs apart. Pairs that are
    not isomorphic have score 1, 2, and more than 2 (or are never told apart) in the shares `scores`; those of score 1 have
    equally many edges. Isomorphic pairs are two copies of a graph of such a pair, or half of them (`fresh`) of another random
    graph with as many edges.
    Calling isomorphic what two rounds leave together is right 0.5 + 0.5 * 0.3 = 65 % of the time. Nobody who sees two rounds
    alone does better without `fresh`; with it, who knows which colours ever come in pairs does (72 % at n = 7).
    Below 7 nodes there are no or next to no pairs of the higher scores: where there are none, the score below takes the
    share, and where no degrees tell graphs of equally many edges apart, any two.

    nodes: n, 2..11. scores: weights of scores 1, 2 and more. pool: entries dealt from, each of three pairs and three fresh
    graphs, 1..65536. A split holds whole families of entries, and no graph is in two families; below 7 nodes there is but one.
    """

    nodes: int = 7
    scores: tuple[int, int, int] = (1, 2, 7)
    fresh: bool = True
    pool: int = 16_384

    split_by = ("family",)

    def __post_init__(self) -> None:
        within(self, "nodes", 2, 11)
        within(self, "pool", 1, 65_536)
        if len(self.scores) != 3 or min(self.scores) < 0 or not 1 <= sum(self.scores) <= 1000:
            raise ValueError(f"{type(self).__name__}: scores={self.scores} is not three weights from 0 up that add up to 1..1000")

    @property
    def statement(self) -> tuple[Field, ...]:
        shape = (self.nodes, self.nodes)
        return tuple(Field(name, 2, shape, ("node", "node"), kind="bit") for name in ("first", "second"))

    @property
    def private(self) -> tuple[Field, ...]:  # type: ignore[override]
        return (Field("family", FAMILIES, seen_by=()),)

    @property
    def tables(self) -> dict[str, NDArray[Any]]:
        return graph_pool(self.nodes, self.pool)

    def dealer(self) -> LaneFunction:
        """The lane function deal(s, tables, isomorphic)."""
        n, pool, fresh = self.nodes, self.pool, self.fresh
        weights, low, high = sum(self.scores), self.scores[0], self.scores[0] + self.scores[1]

        @lane
        def deal(s: Any, tables: Any, isomorphic: Any) -> None:
            entry, share, order = draw(s, pool), draw(s, weights), draw(s, 2)
            s.family = tables.family[entry]
            level = 0 if share < low else (1 if share < high else 2)
            one, other = order, 1 - order
            if isomorphic == 1:
                one = other = 2 if fresh and draw(s, 2) == 1 else order
            write(s.first, tables.graphs[entry, level, one], relabelling(s, n), n)
            write(s.second, tables.graphs[entry, level, other], relabelling(s, n), n)

        return deal

    def render(self, values: Values) -> str:
        return f"first: {edges_text(values['first'])}; second: {edges_text(values['second'])}"

    def parse(self, text: str) -> dict[str, NDArray[Any]]:
        match = re.fullmatch(r"first: ([^;]*); second: ([^;]*)", text.strip())
        if match is None:
            raise ValueError(f"statement {text!r}: expected 'first: edges; second: edges', as in 'first: 0-1; second: none'")
        return {"first": edges_from_text(match[1], self.nodes), "second": edges_from_text(match[2], self.nodes)}


# A permutation is an integer of four bits a node, a graph one of a bit for every pair of nodes i < j.


@lane
def image(permutation: Any, node: Any) -> Any:
    return (permutation >> (4 * node)) & 15


@lane
def relabelling(s: Any, n: Any) -> Any:
    """A uniform permutation of n <= 15 nodes (Fisher-Yates)."""
    permutation = np.int64(0)
    for i in range(n):
        permutation |= np.int64(i) << (4 * i)
    for i in range(n - 1, 0, -1):
        permutation = swapped(permutation, i, draw(s, i + 1))
    return permutation


@lane
def swapped(permutation: Any, i: Any, j: Any) -> Any:
    """The permutation with the images of two nodes exchanged."""
    difference = image(permutation, i) ^ image(permutation, j)
    return permutation ^ (difference << (4 * i)) ^ (difference << (4 * j))


@lane
def write(adjacency: Any, graph: Any, permutation: Any, n: Any) -> None:
    """Write the adjacency matrix of a graph whose node i is called permutation(i)."""
    for j in range(n):
        for i in range(j + 1):
            bit = 0 if i == j else (np.int64(graph) >> (j * (j - 1) // 2 + i)) & 1
            a, b = image(permutation, i), image(permutation, j)
            adjacency[a, b] = bit
            adjacency[b, a] = bit


@lane
def palette(adjacency: Any, n: Any) -> Any:
    """Each node's colour after three rounds, as five bits of one integer, and a hash of how often each occurs."""
    colours, together = np.int64(0), np.uint64(0)
    for _ in range(3):
        before, colours, together = colours, np.int64(0), np.uint64(0)
        for i in range(n):
            total = mix(np.uint64((before >> (5 * i)) & 31))
            for j in range(n):
                if adjacency[i, j] == 1:
                    total += mix(np.uint64((before >> (5 * j)) & 31) + GOLDEN)
            colour = np.int64(mix(total) & np.uint64(31))
            colours |= colour << (5 * i)
            together += mix(np.uint64(colour) + GOLDEN)
    return colours, together


@lane
def isomorphism(first: Any, second: Any, n: Any) -> Any:
    """The first permutation, in lexicographic order, that maps one adjacency matrix of n <= 11 nodes to the other, or -1.

    Backtracking over the images of the same colour that keep the edges to the nodes before.
    """
    mine, my_count = palette(first, n)
    theirs, their_count = palette(second, n)
    if my_count != their_count:
        return np.int64(-1)
    permutation, used, i, w = np.int64(0), np.int64(0), 0, np.int64(0)
    while 0 <= i < n:
        fits = False
        while w < n and not fits:
            fits = (used >> w) & 1 == 0 and (mine >> (5 * i)) & 31 == (theirs >> (5 * w)) & 31
            j = 0
            while fits and j < i:
                fits = first[i, j] == second[w, image(permutation, j)]
                j += 1
            if not fits:
                w += 1
        if fits:
            permutation |= w << (4 * i)
            used |= np.int64(1) << w
            i, w = i + 1, np.int64(0)
        else:
            i -= 1
            if i >= 0:
                w = image(permutation, i)
                permutation ^= w << (4 * i)
                used ^= np.int64(1) << w
                w += 1
    return permutation if i == n else np.int64(-1)


def wl_score(first: NDArray[Any], second: NDArray[Any]) -> int:
    """How many rounds of Weisfeiler-Leman colour refinement tell two graphs (adjacency matrices `node node`) apart; -1 if none.

    All nodes start with one colour; a round gives each the pair of its own and the multiset of its neighbours'.
    Source: Weisfeiler & Leman 1968.
    """
    both = np.stack([first, second]).astype(np.uint64)
    colour = np.zeros(both.shape[:2], np.uint64)
    for score in range(1, len(first) + 1):
        colour = _refined(both, colour)
        one, other = _counted(colour)
        if one != other:
            return score
    return -1


def _hash(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    hashes: NDArray[np.uint64] = mix(numbers + GOLDEN)
    return hashes


def _refined(adjacency: NDArray[np.uint64], colour: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The colours `graph node` after one more round."""
    return _hash(colour + np.einsum("gij,gj->gi", adjacency, _hash(colour)))


def _counted(colour: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A hash of the multiset of each graph's colours."""
    return np.asarray(_hash(colour).sum(axis=1))


def _class_hash(adjacency: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A hash that isomorphic graphs share: of the colours there are with each node in turn marked."""
    graphs, n = adjacency.shape[:2]
    total = np.zeros(graphs, np.uint64)
    for node in range(n):
        colour = np.zeros((graphs, n), np.uint64)
        colour[:, node] = 1
        for _ in range(n // 2 + 1):
            colour = _refined(adjacency, colour)
        total += _hash(_counted(colour))
    return total


def _matrices(graphs: NDArray[np.int64], nodes: int) -> NDArray[np.uint64]:
    """The adjacency matrices `graph node node` of graphs as integers."""
    adjacency = np.zeros((len(graphs), nodes, nodes), np.uint64)
    for j in range(nodes):
        for i in range(j):
            adjacency[:, i, j] = adjacency[:, j, i] = (graphs >> (j * (j - 1) // 2 + i)) & 1
    return adjacency


def _families(nodes: int, degrees: NDArray[Any], colours: NDArray[Any], kinds: NDArray[Any], copies: NDArray[Any]) -> NDArray[Any]:
    """The family of each graph: those with the same degrees share one, and every family has its part of the pairs that two
    rounds leave together; below 7 nodes there is one family.
    """

    def alike(key: NDArray[Any]) -> NDArray[Any]:
        _, which = np.unique(key, return_inverse=True)
        return np.bincount(which, copies)[which]

    _, sequence = np.unique(degrees, return_inverse=True)
    together = np.bincount(sequence, copies * (alike(colours) - alike(kinds)))
    rank: NDArray[np.int64] = np.argsort(np.argsort(-together, kind="stable"))
    return rank[sequence] % (FAMILIES if nodes >= 7 else 1)


def _blocks(keys: list[NDArray[Any]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """`key graph`: where the run of graphs that agree in this key and all before it starts, and how many they are."""
    new = np.arange(len(keys[0])) == 0
    start, size = [], []
    for key in keys:
        new[1:] |= key[1:] != key[:-1]
        run = np.cumsum(new) - 1
        start.append(np.flatnonzero(new)[run])
        size.append(np.bincount(run)[run])
    return np.array(start), np.array(size)


@cache
def graph_pool(nodes: int, entries: int) -> dict[str, NDArray[Any]]:
    """`graphs`, `entry level graph`: two graphs that are not isomorphic, of score 1, 2 or more, and one with as many edges;
    `family`, `entry`.

    Random graphs of each edge probability are sorted into blocks within blocks: family, edges, degrees (the colours after a
    round), colours after two, isomorphism class. Two random graphs that share one block but not the next are drawn as
    often as chance would have them; whoever draws pairs instead waits for thousands to see one of score above 2. Entries are
    drawn by their pair of score above 2, the rest of an entry from the same family.
    """
    bits = np.random.PCG64(nodes)  # its raw words are the same in every version of NumPy
    pairs = nodes * (nodes - 1) // 2
    words = bits.random_raw(SAMPLE * pairs // 4 + 1).view(np.uint16)[: SAMPLE * pairs].reshape(SAMPLE, pairs)
    edge = words < (2**16 * PROBABILITIES)[np.arange(SAMPLE) % len(PROBABILITIES), None]
    graphs, copies = np.unique((edge.astype(np.int64) << np.arange(pairs)).sum(axis=1), return_counts=True)

    adjacency = _matrices(graphs, nodes)
    once = _refined(adjacency, np.zeros((len(graphs), nodes), np.uint64))
    degrees, colours = _counted(once), _counted(_refined(adjacency, once))
    _, which, sharing = np.unique(colours, return_inverse=True, return_counts=True)
    kinds, shared = colours.copy(), sharing[which] > 1
    kinds[shared] = np.concatenate([_class_hash(some) for some in np.array_split(adjacency[shared], 64)])  # fits the cache
    keys = [adjacency.sum(axis=(1, 2)), degrees, colours, kinds]
    family = _families(nodes, degrees, colours, kinds, copies)

    order = np.lexsort((*keys[::-1], family))
    order = np.repeat(order, copies[order])
    start, size = _blocks([key[order] for key in (family, *keys)])
    graphs, family = graphs[order], family[order]

    def drawn(most: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.asarray(bits.random_raw(entries) % most.astype(np.uint64)).astype(np.int64)

    def two(outer: int, inner: int, low: Any, high: Any) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """Two graphs of low..high-1 that share the outer block but not the inner, and whether there are such."""
        others = size[outer] - size[inner]
        before = np.concatenate([[0], np.cumsum(others)])
        most = np.broadcast_to(before[high] - before[low], entries)
        one = np.searchsorted(before, before[low] + drawn(np.maximum(most, 1)), side="right") - 1
        one = np.minimum(one, SAMPLE - 1)
        other = start[outer][one] + drawn(np.maximum(others[one], 1))
        return one, other + np.where(other >= start[inner][one], size[inner][one], 0), most > 0

    FAMILY, EDGES, DEGREES, COLOURS, CLASS = range(5)
    anchor, _, some = two(COLOURS, CLASS, 0, SAMPLE)
    anchor = np.where(some, anchor, 0)
    low, high = start[FAMILY][anchor], start[FAMILY][anchor] + size[FAMILY][anchor]
    one, other, _ = two(FAMILY, DEGREES, low, high)
    chosen = np.empty((entries, 3, 3), np.int64)
    for level, (outer, inner) in enumerate([(EDGES, DEGREES), (DEGREES, COLOURS), (COLOURS, CLASS)]):
        new_one, new_other, some = two(outer, inner, low, high)
        one, other = np.where(some, new_one, one), np.where(some, new_other, other)
        third = start[EDGES][one] + drawn(size[EDGES][one])
        chosen[:, level] = np.stack([graphs[one], graphs[other], graphs[third]], axis=1)
    return {"graphs": chosen, "family": family[anchor].astype(np.int8)}
