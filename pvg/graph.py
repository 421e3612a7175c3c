"""Graphs: the edges of an adjacency matrix as text, smaller node first, and sets of nodes in lane functions."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pvg.field import Field
from pvg.lane import draw, lane


def edges_text(adjacency: NDArray[Any]) -> str:
    """The edges `i-j` of a symmetric matrix of 0 and 1, or "none"."""
    pairs = np.argwhere(np.triu(adjacency) > 0)
    return " ".join(f"{i}-{j}" for i, j in pairs) or "none"


def edges_from_text(text: str, nodes: int) -> NDArray[np.int8]:
    """The adjacency matrix `node node` of edges as `edges_text` writes them; ValueError names the edge that is none."""
    adjacency = np.zeros((nodes, nodes), np.int8)
    for word in text.split() if text.strip() != "none" else ():
        ends = re.fullmatch(r"(\d+)-(\d+)", word)
        if ends is None or not int(ends[1]) < int(ends[2]) < nodes or adjacency[int(ends[1]), int(ends[2])]:
            raise ValueError(f"edge {word!r}: expected i-j with i < j < {nodes}, each edge once")
        i, j = int(ends[1]), int(ends[2])
        adjacency[i, j] = adjacency[j, i] = 1
    return adjacency


def nodes_and_set_text(fields: tuple[Field, ...], symbols: NDArray[Any]) -> str:
    """A field of nodes ("-" for the symbol past the last node) and a field of bits, which is written as the set of the ones."""
    nodes, bits = fields
    listed = " ".join("-" if int(v) == nodes.high - 1 else str(int(v)) for v in symbols[: nodes.size])
    members = " ".join(map(str, np.flatnonzero(symbols[nodes.size :]))) or "none"
    return f"{nodes.name} {listed}; {bits.name} {members}"


def nodes_and_set_from_text(fields: tuple[Field, ...], text: str) -> NDArray[np.int32]:
    """The symbols `nodes_and_set_text` wrote; ValueError says what was expected."""
    nodes, bits = fields
    match = re.fullmatch(rf"{nodes.name} ((?:(?:\d+|-) ?)+); {bits.name} (none|(?:\d+ ?)+)", text.strip())
    listed = [nodes.high - 1 if word == "-" else int(word) for word in match[1].split()] if match else []
    members = [int(word) for word in match[2].split() if word != "none"] if match else []
    if len(listed) != nodes.size or max(listed) >= nodes.high or max(members, default=0) >= bits.size:
        raise ValueError(
            f"message {text!r}: expected '{nodes.name}' and {nodes.size} nodes or '-', then '; {bits.name}' and the nodes in it"
            f" or 'none', each node below {bits.size}"
        )
    symbols = np.zeros(nodes.size + bits.size, np.int32)
    symbols[: nodes.size], symbols[np.array(members, np.int64) + nodes.size] = listed, 1
    return symbols


# Sets of nodes in lane functions: bits of an integer.


@lane
def count(nodes: Any) -> Any:
    """How many nodes a set has."""
    size = 0
    while nodes != 0:
        nodes &= nodes - 1
        size += 1
    return size


@lane
def nth(nodes: Any, k: Any) -> Any:
    """The k-th node of a set, from 0."""
    for _ in range(k):
        nodes &= nodes - 1
    node = 0
    while nodes >> node & 1 == 0:
        node += 1
    return node


@lane
def any_of(s: Any, nodes: Any) -> Any:
    """A node of a set, uniformly."""
    return nth(nodes, draw(s, count(nodes)))


@lane
def neighbours(s: Any, node: Any) -> Any:
    """The nodes that row `node` of the lane's `adjacency` joins it to."""
    joined = 0
    for other in range(s.adjacency.shape[1]):
        if s.adjacency[node, other] == 1:
            joined |= 1 << other
    return joined
