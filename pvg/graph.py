"""Graphs as text: the edges of an adjacency matrix, smaller node first."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray


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
