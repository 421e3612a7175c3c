"""Connectivity: whether a path leads from one node of an undirected graph to another."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pvg.field import Field
from pvg.graph import any_of, count, edges_from_text, edges_text, neighbours, nodes_and_set_from_text, nodes_and_set_text
from pvg.lane import draw, lane
from pvg.task import Proof, Task, TaskRules, Values, tasks, within


@tasks.register("Connectivity")
@dataclass(frozen=True)
class Connectivity(Task):
    """Are nodes s and t of an undirected graph connected, or are they not, as claimed?

    Statement: n nodes (`adjacency`) in two components of n/2 each, s (`source`) and t (`target`). A component is made node by
    node: each is joined to the one before it, to the one before that, or to both. s is the first node of a component; t is
    the last of the same one with probability 1/2, else of the other. Claim: connected (1) or not (0), right with probability 1/2.
    The graph alone says nothing of s and t, and neither do their neighbourhoods up to r hops for 4r < n/2 - 1: both cases have
    the same law. What leaks: s and t are at least (n/2 - 1)/2 hops apart, and at n = 10 a common neighbour gives away 4/9 of the
    connected cases; from n = 12 on they have none, and from n = 8 on no edge.
    Proof `witness`: for "connected" a `path`, nodes from s to t padded with n; for "not connected" a cut, 1 in `side` for
    the nodes on s's side. The part that is not asked for is ignored. Completeness 1, soundness error 0, both ways.
    Source: textbook.

    nodes: n, even, 4..30. Default: nodes=10. Preset hard: 24.
    """

    presets: ClassVar = {"hard": {"nodes": 24}}

    nodes: int = 10

    def __post_init__(self) -> None:
        within(self, "nodes", 4, 30)
        if self.nodes % 2 == 1:
            raise ValueError(f"Connectivity: nodes={self.nodes} is odd, and two components of one size need an even number")

    @property
    def statement(self) -> tuple[Field, ...]:
        n = self.nodes
        return (
            Field("adjacency", 2, (n, n), ("node", "node"), kind="bit"),
            Field("source", n, kind="node"),
            Field("target", n, kind="node"),
        )

    @property
    def claim(self) -> tuple[Field, ...]:
        return (Field("claim", 2, kind="bit"),)

    def build(self) -> TaskRules:
        n, half = self.nodes, self.nodes // 2
        everything = (1 << n) - 1

        @lane
        def join(s: Any, v: Any, w: Any) -> None:
            s.adjacency[v, w] = s.adjacency[w, v] = 1

        @lane
        def sample(s: Any, tables: Any) -> None:
            for v in range(n):
                for w in range(n):
                    s.adjacency[v, w] = 0
            s.truth, connected = draw(s, 2), draw(s, 2)
            s.claim = connected if s.truth == 1 else 1 - connected
            left = everything
            for component in range(2):
                last = before = 0
                for k in range(half):
                    v = any_of(s, left)
                    left ^= 1 << v
                    joined = draw(s, 3) if k > 1 else 0
                    if k > 0 and joined != 1:
                        join(s, last, v)
                    if joined != 0:
                        join(s, before, v)
                    if k == 0 and component == 0:
                        s.source = v
                    last, before = v, last
                if component == 1 - connected:
                    s.target = last

        @lane
        def flood(s: Any, root: Any, walls: Any, out: Any) -> Any:
            """The nodes reached from `root` around `walls`, breadth first; out[half + v] is the node v was reached from."""
            for v in range(n):
                out[half + v] = v
            reached = frontier = 1 << root
            while frontier != 0:
                following = 0
                for v in range(n):
                    if frontier >> v & 1:
                        new = neighbours(s, v) & ~(reached | walls)
                        for w in range(n):
                            if new >> w & 1:
                                out[half + w] = v
                        reached |= new
                        following |= new
                frontier = following
            return reached

        @lane
        def depth(out: Any, v: Any) -> Any:
            steps = 0
            while out[half + v] != v:
                v = np.int64(out[half + v])
                steps += 1
            return steps

        @lane
        def walk_to_root(v: Any, k: Any, out: Any) -> Any:
            """Write the path from v to its root from position k on; the position after it."""
            end = k + depth(out, v) + 1
            for i in range(k, end):
                out[i] = v
                v = np.int64(out[half + v])
            return end

        @lane
        def wander(s: Any, steps: Any, out: Any) -> Any:
            """Write a random walk from s; the position after it."""
            v = np.int64(s.source)
            out[0] = v
            for k in range(1, steps + 1):
                v = any_of(s, neighbours(s, v))
                out[k] = v
            return steps + 1

        @lane
        def end_path(k: Any, out: Any) -> None:
            for i in range(k, half):
                out[i] = n
            for v in range(n):
                out[half + v] = 0

        @lane
        def show_cut(side: Any, out: Any) -> None:
            end_path(0, out)
            for v in range(n):
                out[half + v] = side >> v & 1

        @lane
        def honest(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            reached = flood(s, np.int64(s.target if s.claim == 1 else s.source), 0, out)
            if s.claim == 1:
                end_path(walk_to_root(np.int64(s.source), 0, out), out)
            else:
                show_cut(reached, out)

        @lane
        def random(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            """Any nodes from s to t, or any cut."""
            source, target = np.int64(s.source), np.int64(s.target)
            if s.claim == 1:
                edges = 1 + draw(s, half - 1)
                out[0], out[edges] = source, target
                for k in range(1, edges):
                    out[k] = draw(s, n)
                end_path(edges + 1, out)
            else:
                show_cut(draw(s, 1 << n), out)
                out[half + source], out[half + target] = 1, 0

        @lane
        def leap(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            """From s to t at once, or the cut around t alone."""
            source, target = np.int64(s.source), np.int64(s.target)
            if s.claim == 1:
                out[0], out[1] = source, target
                end_path(2, out)
            else:
                show_cut(everything ^ 1 << target, out)

        @lane
        def elsewhere(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            """A path of true edges that ends elsewhere, or the whole component as s's side, t included."""
            if s.claim == 1:
                end_path(wander(s, draw(s, half), out), out)
            else:
                show_cut(flood(s, np.int64(s.source), 0, out), out)

        @lane
        def one_missing_edge(s: Any, out: Any) -> None:
            v = any_of(s, flood(s, np.int64(s.target), 0, out))
            while depth(out, v) > half - 2:
                v = np.int64(out[half + v])
            end_path(walk_to_root(v, wander(s, draw(s, half - 1 - depth(out, v)), out), out), out)

        @lane
        def fewest_crossing_edges(s: Any, out: Any) -> None:
            source, target = np.int64(s.source), np.int64(s.target)
            ball, best, cut = 1 << source, n * n, 0
            while ball >> target & 1 == 0:
                far = flood(s, target, ball, out)
                crossing, grown = 0, ball
                for v in range(n):
                    if ball >> v & 1:
                        crossing += count(neighbours(s, v) & far)
                        grown |= neighbours(s, v)
                if crossing < best:
                    best, cut = crossing, everything ^ far
                ball = grown
            show_cut(cut, out)

        @lane
        def one_flaw(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            """A path that misses one edge, or a cut around the nodes within some hops of s that the fewest edges cross."""
            if s.claim == 1:
                one_missing_edge(s, out)
            else:
                fewest_crossing_edges(s, out)

        @lane
        def check(s: Any, tables: Any, first: Any) -> Any:
            source, target = np.int64(s.source), np.int64(s.target)
            if s.claim == 0:
                for i in range(n):
                    for j in range(n):
                        if s.adjacency[i, j] == 1 and s.said[first, half + i] != s.said[first, half + j]:
                            return 0
                return 1 if s.said[first, half + source] == 1 and s.said[first, half + target] == 0 else 0
            v = source
            if s.said[first, 0] != v:
                return 0
            for k in range(1, half):
                w = np.int64(s.said[first, k])
                if v == target:
                    if w != n:
                        return 0
                elif w == n or s.adjacency[v, w] == 0:
                    return 0
                else:
                    v = w
            return 1 if v == target else 0

        message = (Field("path", n + 1, (half,), ("step",), kind="node"), Field("side", 2, (n,), ("node",), kind="bit"))
        dishonest = {"random": random, "leap": leap, "elsewhere": elsewhere, "one_flaw": one_flaw}
        return TaskRules(sample, {"witness": Proof({"message": message}, honest, dishonest, check)})

    def render(self, values: Values) -> str:
        are = "are connected" if values["claim"] else "are not connected"
        return f"{int(values['source'])} and {int(values['target'])} {are}: {edges_text(values['adjacency'])}"

    def parse(self, text: str) -> dict[str, NDArray[Any]]:
        match = re.fullmatch(r"(\d+) and (\d+) are (not )?connected: (.*)", text.strip())
        if match is None or max(int(match[1]), int(match[2])) >= self.nodes:
            raise ValueError(f"statement {text!r}: expected 's and t are [not ]connected: i-j ...', each node below {self.nodes}")
        return {
            "adjacency": edges_from_text(match[4], self.nodes),
            "source": np.array(match[1], np.int8),
            "target": np.array(match[2], np.int8),
            "claim": np.array(match[3] is None, np.int8),
        }

    def render_utterance(self, kind: str, fields: tuple[Field, ...], symbols: NDArray[Any]) -> str:
        return nodes_and_set_text(fields, symbols)

    def parse_utterance(self, kind: str, fields: tuple[Field, ...], text: str) -> NDArray[Any]:
        return nodes_and_set_from_text(fields, text)
