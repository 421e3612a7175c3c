"""Matching: whether a bipartite graph has a perfect matching."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pvg.field import Field
from pvg.graph import any_of, count, neighbours, nodes_and_set_from_text, nodes_and_set_text, nth
from pvg.lane import draw, lane
from pvg.task import Proof, Task, TaskRules, Values, tasks, within


@tasks.register("Matching")
@dataclass(frozen=True)
class Matching(Task):
    """Has a bipartite graph of n + n nodes a perfect matching, or has it none, as claimed?

    Statement: `adjacency`, left by right. Claim: there is one (1) or none (0), each with probability 1/2, right with
    probability 1/2. Drawn are a set S of a third to two thirds of the left nodes and a set T of |S| - 1 right ones, u in S, x in T,
    v and y outside, and a matching of S but u with T and of the rest but y. `extra` times any pair is joined too, except S with
    what is outside T, and u or v with x or y. Then ux and vy are joined, and S has too few neighbours; or uy and vx are, and
    the matching is perfect. The two cases differ by a swap that keeps every degree, so that nothing leaks from degrees, the
    number of edges, or any two entries together with the claim; no node is isolated. What leaks: two nodes with one and the same
    neighbour and no other tell a missing matching, 65 % right by default and 54 % in `hard`.
    Proof `witness`: for "there is one" the right `partner` of each left node; for "there is none" a `violator`, a set of left
    nodes with fewer neighbours than nodes. The part that is not asked for is ignored. Completeness 1, soundness error 0, both ways.
    Source: Hall 1935; augmenting paths, Berge 1957.

    nodes: n, 3..32. extra: 0..1024. Default: nodes=6, extra=24. Preset hard: 14 + 14 nodes, 70 extra pairs.
    """

    presets: ClassVar = {"hard": {"nodes": 14, "extra": 70}}

    nodes: int = 6
    extra: int = 24

    def __post_init__(self) -> None:
        within(self, "nodes", 3, 32)
        within(self, "extra", 0, 1024)

    @property
    def statement(self) -> tuple[Field, ...]:
        return (Field("adjacency", 2, (self.nodes, self.nodes), ("left", "right"), kind="bit"),)

    @property
    def claim(self) -> tuple[Field, ...]:
        return (Field("claim", 2, kind="bit"),)

    def build(self) -> TaskRules:
        n, extra = self.nodes, self.extra
        everything = (1 << n) - 1

        @lane
        def some(s: Any, size: Any) -> Any:
            """A set of so many nodes, uniformly."""
            nodes = 0
            for _ in range(size):
                nodes |= 1 << any_of(s, everything ^ nodes)
            return nodes

        @lane
        def sample(s: Any, tables: Any) -> None:
            for i in range(n):
                for j in range(n):
                    s.adjacency[i, j] = 0
            s.truth, perfect = draw(s, 2), draw(s, 2)
            s.claim = perfect if s.truth == 1 else 1 - perfect
            size = n // 3 + 1 + draw(s, n - 2 * (n // 3))
            lefts, rights = some(s, size), some(s, size - 1)
            u, v = any_of(s, lefts), any_of(s, everything ^ lefts)
            x, y = any_of(s, rights), any_of(s, everything ^ rights)
            unused = everything ^ 1 << y
            for i in range(n):
                if i != u:
                    j = any_of(s, unused & (rights if lefts >> i & 1 else ~rights))
                    unused ^= 1 << j
                    s.adjacency[i, j] = 1
            for _ in range(extra):
                i, j = draw(s, n), draw(s, n)
                outside = lefts >> i & 1 == 1 and rights >> j & 1 == 0
                if not (outside or (i in (u, v) and j in (x, y))):
                    s.adjacency[i, j] = 1
            s.adjacency[u, y if perfect else x] = 1
            s.adjacency[v, x if perfect else y] = 1

        @lane
        def left_of(j: Any, out: Any) -> Any:
            """The left node matched with right node j, or n."""
            for i in range(n):
                if out[i] == j:
                    return i
            return n

        @lane
        def grow(s: Any, root: Any, out: Any) -> Any:
            """The alternating tree from a left node: its left nodes, or none if it reached a free right node, and the path to
            it was swapped. out[i] is the partner of i (n: none), out[n + j] the left node that j was reached from.
            """
            tree = frontier = 1 << root
            reached = 0
            while frontier != 0:
                i = nth(frontier, 0)
                frontier ^= 1 << i
                new = neighbours(s, i) & ~reached
                reached |= new
                for j in range(n):
                    if new >> j & 1:
                        out[n + j] = i
                        mate = left_of(j, out)
                        if mate == n:
                            free: Any = j
                            while free != n:
                                parent = np.int64(out[n + free])
                                freed = np.int64(out[parent])
                                out[parent] = free
                                free = freed
                            return 0
                        frontier |= 1 << mate
                        tree |= 1 << mate
            return tree

        @lane
        def match(s: Any, out: Any) -> Any:
            """Write a largest matching into out[:n]. Returns a Hall violator; if the matching is perfect, a set with as many
            neighbours as nodes.
            """
            short = 0
            for i in range(n):
                out[i] = n
            for k in range(n + 1):
                if k < n or short == 0:
                    short |= grow(s, k % n, out)
            return short

        @lane
        def show_matching(out: Any) -> None:
            for i in range(n):
                out[n + i] = 0

        @lane
        def show_set(lefts: Any, out: Any) -> None:
            for i in range(n):
                out[i], out[n + i] = n, lefts >> i & 1

        @lane
        def honest(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            lefts = match(s, out)
            if s.claim == 1:
                show_matching(out)
            else:
                show_set(lefts, out)

        @lane
        def random(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            """Any pairing, or any set."""
            lefts, rights = 0, everything
            for i in range(n):
                lefts |= draw(s, 2) << i
            if s.claim == 0:
                show_set(lefts, out)
                return
            for i in range(n):
                j = any_of(s, rights)
                out[i] = j
                rights ^= 1 << j
            show_matching(out)

        @lane
        def any_neighbour(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            """Any neighbour of each left node, taken or not, or one left node alone."""
            if s.claim == 0:
                show_set(1 << draw(s, n), out)
                return
            for i in range(n):
                out[i] = any_of(s, neighbours(s, i))
            show_matching(out)

        @lane
        def greedy(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            """A free neighbour of each left node in turn, a taken one where none is free, or all left nodes."""
            if s.claim == 0:
                show_set(everything, out)
                return
            free = everything
            for i in range(n):
                joined = neighbours(s, i)
                j = any_of(s, joined & free if joined & free else joined)
                out[i] = j
                free &= ~(1 << j)
            show_matching(out)

        @lane
        def one_flaw(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            """A pairing with one pair not joined, or one right node taken twice; or a set with as many neighbours as nodes."""
            lefts = match(s, out)
            if s.claim == 0:
                show_set(lefts, out)
                return
            for i in range(n):
                if out[i] == n:
                    for j in range(n):
                        if left_of(j, out) == n:
                            out[i] = j
                    if draw(s, 2) == 0:
                        out[i] = any_of(s, neighbours(s, i))
            show_matching(out)

        @lane
        def check(s: Any, tables: Any, first: Any) -> Any:
            lefts = 0
            rights: Any = 0
            for i in range(n):
                if s.claim == 1:
                    j = np.int64(s.said[first, i])
                    if j == n or s.adjacency[i, j] == 0 or rights >> j & 1:
                        return 0
                    rights |= 1 << j
                elif s.said[first, n + i] == 1:
                    lefts |= 1 << i
                    rights |= neighbours(s, i)
            return 1 if s.claim == 1 or count(rights) < count(lefts) else 0

        message = (
            Field("partner", n + 1, (n,), ("left",), kind="node"),
            Field("violator", 2, (n,), ("left",), kind="bit"),
        )
        dishonest = {"random": random, "any_neighbour": any_neighbour, "greedy": greedy, "one_flaw": one_flaw}
        return TaskRules(sample, {"witness": Proof({"message": message}, honest, dishonest, check)})

    def render(self, values: Values) -> str:
        edges = " ".join(f"{i}-{j}" for i, j in np.argwhere(values["adjacency"]))
        return f"there is {'a' if values['claim'] else 'no'} perfect matching: {edges}"

    def parse(self, text: str) -> dict[str, NDArray[Any]]:
        match = re.fullmatch(r"there is (a|no) perfect matching: (\d+-\d+(?: \d+-\d+)*)", text.strip())
        edges = [tuple(map(int, edge.split("-"))) for edge in match[2].split()] if match else []
        if match is None or max(map(max, edges)) >= self.nodes:
            raise ValueError(
                f"statement {text!r}: expected 'there is a|no perfect matching: i-j ...', left to right, nodes below {self.nodes}"
            )
        adjacency = np.zeros((self.nodes, self.nodes), np.int8)
        adjacency[tuple(np.array(edges).T)] = 1
        return {"adjacency": adjacency, "claim": np.array(match[1] == "a", np.int8)}

    def render_utterance(self, kind: str, fields: tuple[Field, ...], symbols: NDArray[Any]) -> str:
        return nodes_and_set_text(fields, symbols)

    def parse_utterance(self, kind: str, fields: tuple[Field, ...], text: str) -> NDArray[Any]:
        return nodes_and_set_from_text(fields, text)
