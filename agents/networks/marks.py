"""What a view says of graphs: which of its fields are graphs, and which mark nodes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pvg.field import Field
from pvg.spec import Column, Spec, View


@dataclass(frozen=True)
class Layout:
    """Which columns of a view are graphs of n nodes each, as matrices or as lists of edges, and which say something of them."""

    matrices: tuple[Column, ...]
    edges: tuple[Column, ...]
    others: tuple[Column, ...]
    nodes: int
    graphs: int


def layout(spec: Spec, view: View) -> Layout:
    """The graphs in a role's view; ValueError where there is none."""
    matrices = tuple(c for c in view if c.field.axes[-2:] == ("node", "node") and c.field.high == 2)
    edges = tuple(c for c in view if c.field.kind == "node" and c.field.axes == ("edge", "end"))
    sizes = {*(c.field.shape[-1] for c in matrices), *(c.field.high for c in edges)}
    if len(sizes) != 1:
        found = f"graphs of {sorted(sizes)} nodes" if sizes else "none"
        raise ValueError(
            f"network 'graph' needs graphs of one size, with axes ('node', 'node'); {type(spec.task).__name__} has {found}"
        )
    others = tuple(c for c in view if c not in (*matrices, *edges))
    (nodes,) = sizes
    return Layout(matrices, edges, others, nodes, sum(c.field.size // nodes**2 for c in matrices) + len(edges))


def names_nodes(field: Field, nodes: int) -> bool:
    """Whether a field's values are nodes of the graphs: one more value is for none."""
    return field.kind == "node" and field.high in (nodes, nodes + 1)


def places(field: Field, nodes: int) -> Tensor:
    """`entry node`: 1 at the node where each entry stands along a field's node axis; all 0 where it has none."""
    if field.axes.count("node") != 1:
        return torch.zeros((field.size, nodes))
    axis = field.axes.index("node")
    index = torch.arange(nodes).reshape(-1, *[1] * (len(field.shape) - axis - 1)).expand(field.shape)
    return torch.eye(nodes)[index.flatten()]


class Mark(nn.Module):
    """What one field says of nodes, as a product: where each entry marks, and with what vector.

    A field of nodes marks those it names, with a vector an entry; one of nodes that runs along a node axis is a map: entry i
    marks i in the first graph and the node it names in the others, with the same vector. Any other field marks the node
    at its place along a node axis, or all nodes if it has none, with a vector for its value.
    """

    place: Tensor
    row: Tensor

    def __init__(self, field: Field, nodes: int, graphs: int, width: int) -> None:
        super().__init__()
        place, row = places(field, nodes), torch.arange(field.size).reshape(field.shape)
        along = bool(place.any())
        if along:  # one vector for all nodes
            axis = field.axes.index("node")
            row = row.select(axis, 0).unsqueeze(axis).expand(field.shape)
        self.graphs, self.nodes = graphs, nodes
        self.names = names_nodes(field, nodes)
        self.maps = self.names and along and graphs > 1
        rows = (1 if self.maps else graphs, field.size) if self.names else (field.size, field.high)
        self.vectors = nn.Parameter(torch.randn(*rows, width))
        self.register_buffer("place", place if along else torch.ones_like(place), persistent=False)
        self.register_buffer("row", row.flatten(), persistent=False)

    def forward(self, said: Tensor) -> tuple[Tensor, Tensor]:
        """Where: `N graph node entry`. With what: `N graph entry width`. said: weights of values, `N entry value`, 0 of all
        values where nothing is said.
        """
        lanes, entries = said.shape[:2]
        if not self.names:
            vectors = torch.einsum("nev,evw->new", said, self.vectors[self.row])
            where = self.place.T.to(said.dtype).expand(lanes, self.graphs, -1, -1)
            return where, vectors[:, None].expand(-1, self.graphs, -1, -1)
        named = said[:, None, :, : self.nodes].expand(-1, self.graphs, -1, -1)
        if self.maps:
            own = said.sum(2)[:, None, :, None] * self.place
            named = torch.cat([own, named[:, 1:]], 1)
        return named.transpose(2, 3), self.vectors.expand(lanes, self.graphs, entries, -1)


class Marks(nn.Module):
    """What several fields say of nodes: as in `Mark`, their entries one after the other."""

    def __init__(self, fields: Sequence[Field], shape: Layout, width: int) -> None:
        super().__init__()
        self.marks = nn.ModuleList(Mark(field, shape.nodes, shape.graphs, width) for field in fields)

    def forward(self, said: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        where, what = zip(*(mark(part) for mark, part in zip(self.marks, said, strict=True)), strict=True)
        return torch.cat(where, 3), torch.cat(what, 2)
