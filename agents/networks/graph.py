"""graph: message passing along edges; what is said of nodes marks them, and nothing depends on what they are called."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, combinations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pvg.agents.networks.base import ProverNetwork, VerifierNetwork
from pvg.agents.networks.marks import Layout, Marks, layout, names_nodes, places
from pvg.agents.networks.mlp import perceptron
from pvg.agents.networks.reading import Given, one_hot, weights
from pvg.agents.networks.registry import Network, networks
from pvg.field import Field
from pvg.spec import Column, Spec


class Rounds(nn.Module):
    """The graphs of a view after rounds of message passing: every node's vector, `N graph node width`.

    In a round each node takes in its own vector and the sum of its neighbours'. All nodes start alike, but for what is said of
    them: where nothing is, L rounds tell apart what L rounds of Weisfeiler-Leman colour refinement do, and no more.
    Source: Xu, Hu, Leskovec & Jegelka 2019.
    """

    def __init__(self, shape: Layout, width: int, rounds: int) -> None:
        super().__init__()
        self.shape = shape
        self.start = nn.Parameter(torch.randn(width))
        self.marks = Marks([column.field for column in shape.others], shape, width)
        self.own = nn.ModuleList(nn.Linear(width, width) for _ in range(rounds))
        self.others = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(rounds))

    def adjacency(self, packed: Tensor, given: Given | None = None) -> Tensor:
        """`N graph node node`: 1 where an edge is."""
        n = self.shape.nodes
        found = [self._read(c, packed, given)[:, :, -1].unflatten(1, (-1, n, n)) for c in self.shape.matrices]
        for column in self.shape.edges:
            first, second = self._read(column, packed, given).unflatten(1, (-1, 2)).unbind(2)  # N edge node
            joined = first.transpose(1, 2) @ second
            found.append((joined + joined.transpose(1, 2))[:, None])
        return torch.cat(found, 1)

    def forward(self, packed: Tensor, adjacency: Tensor, given: Given | None = None) -> Tensor:
        said = [self._read(column, packed, given)[:, :, column.shift :] for column in self.shape.others]
        x = self.start.expand(*adjacency.shape[:3], -1)
        if said:
            where, what = self.marks(said)
            x = x + where @ what
        for own, others in zip(self.own, self.others, strict=True):
            x = x + torch.tanh(own(x) + adjacency @ others(x))
        return x

    def _read(self, column: Column, packed: Tensor, given: Given | None) -> Tensor:
        return weights(column, packed, given).to(self.start.dtype)


class Readout(nn.Module):
    """Graphs as one vector, in which no node has a name: what is in all of them, and how any two differ."""

    def __init__(self, graphs: int, width: int) -> None:
        super().__init__()
        self.node = nn.Linear(width, width)
        self.pairs = list(combinations(range(graphs), 2))
        self.out = width * (1 + len(self.pairs))

    def forward(self, x: Tensor) -> Tensor:
        graph: Tensor = F.relu(self.node(x)).sum(2)  # N graph width
        return torch.cat([graph.mean(1), *((graph[:, a] - graph[:, b]).abs() for a, b in self.pairs)], 1)


class GraphVerifier(VerifierNetwork):
    """`layers` rounds of message passing, then a perceptron on the graphs and on how they differ. width: of a node's vector."""

    def __init__(self, spec: Spec, role: str = "verifier", width: int = 28, layers: int = 2, abstains: bool | None = None) -> None:
        super().__init__(spec, role, abstains)
        shape = layout(spec, self.view)
        self.rounds = Rounds(shape, width, layers)
        self.readout = Readout(shape.graphs, width)
        self.rest = nn.Sequential(nn.Linear(self.readout.out, width), perceptron(width, 1, self.outputs))

    def log_probs(self, packed: Tensor, given: Given | None = None) -> Tensor:
        out: Tensor = self.rest(self.readout(self.rounds(packed, self.rounds.adjacency(packed, given), given)))
        return out.log_softmax(1)


@dataclass(frozen=True)
class Context:
    """What a GraphProver knows before it speaks: graphs, nodes, all of them together, and which symbols name nodes."""

    adjacency: Tensor  # N graph node node
    nodes: Tensor  # N graph node width
    whole: Tensor  # N width
    named: Tensor  # N position  bool
    place: Tensor  # N position node


class GraphProver(ProverNetwork):
    """2 * layers + 1 rounds of message passing, more than a verifier's; one more at each position, nodes marked by what was said.

    A symbol that names a node is scored at the nodes, any other from all of them together; both know the node at the symbol's
    place along a node axis.
    """

    named: Tensor
    place: Tensor
    mask: Tensor

    def __init__(self, spec: Spec, role: str = "prover", width: int = 28, layers: int = 2, abstains: bool | None = None) -> None:
        super().__init__(spec, role, abstains)
        shape = layout(spec, self.view)
        self.shape = shape
        self.rounds = Rounds(shape, width, 2 * layers + 1)
        self.readout = Readout(shape.graphs, width)
        self.whole = nn.Linear(self.readout.out, width)
        utterances = [spec.parts(spec.rows[row]) if row >= 0 else () for row in spec.row_of(self.role)]
        different = {parts for parts in utterances if parts}
        self.parts = different.pop() if len(different) == 1 else (Field("symbol", self.symbols, (self.positions,)),)
        self.said = Marks(self.parts, shape, width)
        self.mark, self.told = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        self.position = nn.Parameter(torch.randn(self.positions, width))
        self.pooled, self.at = nn.Linear(width, width), nn.Linear(width, width, bias=False)
        self.look, self.ask = nn.Linear(width, shape.graphs * width), nn.Linear(width, shape.graphs * width)
        self.heard, self.head = nn.Linear(width, width), nn.Linear(width, self.symbols)
        named = torch.zeros((spec.turns + 1, self.positions), dtype=torch.bool)
        place = torch.zeros((spec.turns + 1, self.positions, shape.nodes))
        for turn, parts in enumerate(utterances):
            for part, end in zip(parts, accumulate(part.size for part in parts), strict=True):
                named[turn + 1, end - part.size : end] = names_nodes(part, shape.nodes)
                place[turn + 1, end - part.size : end] = places(part, shape.nodes)
        self.names = bool(named.any())
        self.register_buffer("named", named, persistent=False)
        self.register_buffer("place", place, persistent=False)
        self.register_buffer("mask", torch.ones((self.positions,) * 2).tril(-1), persistent=False)

    def encode(self, packed: Tensor) -> Context:
        adjacency = self.rounds.adjacency(packed)
        nodes = self.rounds(packed, adjacency)
        whole = self.whole(self.readout(nodes))
        return Context(adjacency, nodes, whole, self.at_turn(self.named, packed), self.at_turn(self.place, packed))

    def decode(self, context: Context, message: Tensor) -> Tensor:
        return self._scores(context, message, slice(0, message.shape[1]))

    def next(self, context: Context, said: Tensor, memory: None) -> tuple[Tensor, None]:
        j = said.shape[1]
        return self._scores(context, said, slice(j, j + 1))[:, 0], None

    def _scores(self, context: Context, message: Tensor, at: slice) -> Tensor:
        """`N l symbol` scores at some positions, each from the symbols before it."""
        said = F.pad(message, (0, self.positions - message.shape[1]), value=-1).split([part.size for part in self.parts], 1)
        dtype = context.nodes.dtype
        where, what = self.said([one_hot(some, part.high).to(dtype) for some, part in zip(said, self.parts, strict=True)])
        nodes, length = self.shape.nodes, at.stop - at.start
        before = where[:, :, :, None] * self.mask[at].to(dtype)  # N graph node l position
        near = (context.adjacency @ before.flatten(3)).view_as(before)
        marked = torch.cat([before, near], 4).flatten(2, 3) @ torch.cat([self.mark(what), self.told(what)], 2)
        x = torch.tanh(context.nodes[:, :, :, None] + marked.unflatten(2, (nodes, length)))  # N graph node l width
        # Products that are summed: three times as fast as the thousands of tiny matrix products they are.
        own = (context.place[:, at].transpose(1, 2)[..., None].to(dtype) * x[:, 0]).sum(1)  # N l width
        known = context.whole[:, None] + self.position[at] + self.pooled(x.mean((1, 2))) + self.at(own)
        known = torch.tanh(known)  # N l width
        seen = self._compare(self.look(known), x).flatten(1, 2).softmax(1)  # N graph*node l
        known = torch.tanh(known + self.heard((seen[..., None] * x.flatten(1, 2)).sum(1)))
        scores: Tensor = self.head(known)
        if not self.names:
            return scores
        fit = self._compare(self.ask(known), x)
        mapped = context.place[:, at].sum(2)[:, None] * (self.shape.graphs > 1)  # N 1 l  a map's values are not in its own graph
        at_nodes = (fit.sum(1) - mapped * fit[:, 0]).transpose(1, 2)  # N l node
        named = context.named[:, at, None] & (torch.arange(self.symbols, device=scores.device) < nodes)  # N l symbol
        return torch.where(named, F.pad(at_nodes, (0, self.symbols - nodes)), scores)

    def _compare(self, asked: Tensor, x: Tensor) -> Tensor:
        """How well each node fits what is asked for of its graph: `N graph node l`, from `N l graph*width`."""
        of_graph = asked.unflatten(2, (self.shape.graphs, 1, -1)).permute(0, 2, 3, 1, 4)  # N graph 1 l width
        fit: Tensor = (of_graph * x).sum(4) / x.shape[-1] ** 0.5
        return fit


networks.register("graph")(
    Network(
        "message passing along the edges of graphs; knows nodes by what is said of them only",
        GraphVerifier,
        GraphProver,
        width=28,
        layers=2,
        learning_rate=3e-3,
        structural=True,
    )
)
