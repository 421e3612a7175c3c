"""Exact play where two players in turn show items, until a judge decides by which are shown: minimax over all sets of them."""

from __future__ import annotations

from functools import lru_cache
from math import comb

import torch
from torch import Tensor


@lru_cache(maxsize=64)
def subsets(items: int, size: int) -> Tensor:
    """All sets of `size` of the items 0..items-1: `set size`, ascending; sets by their largest item first (colexicographic), so
    that set {a < b < ..} is number C(a, 1) + C(b, 2) + ..
    """
    found = torch.zeros((1, 0), dtype=torch.int64)
    for j in range(size):
        ends = ((found[: comb(last, j)], last) for last in range(items))
        found = torch.cat([torch.cat([some, torch.full((len(some), 1), last)], 1) for some, last in ends])
    return found


@lru_cache(maxsize=256)
def after(items: int, size: int) -> Tensor:
    """The numbers of the sets of one item more that each set of `size` can become: `set choice`."""
    sets, every = subsets(items, size), torch.arange(items)
    rank = torch.tensor([[comb(item, j) for j in range(size + 2)] for item in range(items)])  # item place
    places = torch.arange(1, size + 1)
    before, behind = rank[sets, places], rank[sets, places + 1]  # set place: an item's share where the new one is larger, or not
    smaller = sets[:, None] < every[:, None]  # set item place
    number = torch.where(smaller, before[:, None], behind[:, None]).sum(2) + rank[every, smaller.sum(2) + 1]
    new = (sets[:, None] != every[:, None]).all(2)
    return number[new].reshape(len(sets), items - size)


def minimax(wins: Tensor, items: int, size: int, begins: bool) -> Tensor:
    """Whether a player wins if both play as well as can be: `column`.

    Both show, in turn, items that are not shown yet, `size` in all; then the player wins or the other does.
    wins: `set column` bool, whether the player wins of each of `subsets(items, size)`; columns are games. begins: whether the
    player shows the first item. ValueError: not as many rows as there are sets.
    """
    if len(wins) != comb(items, size):
        raise ValueError(f"wins: {len(wins)} rows for the {comb(items, size)} sets of {size} of {items} items")
    for shown in range(size - 1, -1, -1):
        outcomes = wins[after(items, shown)]  # set choice column
        wins = outcomes.any(1) if (shown % 2 == 0) == begins else outcomes.all(1)
    return wins[0]
