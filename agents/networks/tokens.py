"""A view as tokens, one a place, at each of which aligned fields meet."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from pvg.agents.networks.reading import Given, look_up
from pvg.field import Field
from pvg.spec import Spec, View

# Where an entry of a field stands: an index along each of its axes; an entry without axes stands by itself, at 0
# along its name.
Place: TypeAlias = tuple[tuple[str, int], ...]


def places_of(f: Field) -> list[Place]:
    """The place of every entry of a field."""
    axes = f.axes or tuple(f"{f.name} {d}" for d in range(len(f.shape)))
    if not f.shape:
        return [((f.name, 0),)]
    return [tuple(zip(axes, index, strict=True)) for index in np.ndindex(f.shape)]


def places_said(spec: Spec, role: int) -> list[Place]:
    """The place of every position of what a role says; places of their own where it says several kinds of things."""
    utterances = {spec.parts(spec.rows[row]) for row in spec.row_of(role) if row >= 0}
    highs = spec.choices(role)
    alone = (Field("symbol", int(highs.max()), (len(highs),)),)
    parts = utterances.pop() if len(utterances) == 1 else alone
    return [place for part in parts for place in places_of(part)]


class Tokens(nn.Module):
    """One token a place, `N token width`: a vector for the place, plus one for each value that stands there.

    The place's vector is the sum over its axes of a vector for the index along that axis, so fields that share an axis
    share it. A token for each single value learns to bring aligned values together only after thousands of updates, if
    at all.
    known: places that need no value to have a vector.
    """

    offset: Tensor
    gather: Tensor
    index: Tensor

    def __init__(self, view: View, width: int, known: Sequence[Place] = ()) -> None:
        super().__init__()
        self.view = view
        entries = [place for column in view for place in places_of(column.field)]
        self.tokens = list(dict.fromkeys(entries))
        places = list(dict.fromkeys([*self.tokens, *known]))
        along = {part: i for i, part in enumerate(dict.fromkeys(chain.from_iterable(places)))}
        deepest, nowhere = max(map(len, places), default=1), len(along)
        index = [[along[part] for part in place] + [nowhere] * (deepest - len(place)) for place in places]
        first = np.cumsum([0, *(column.high for column in view)])
        self.value = nn.Embedding(int(first[-1]), width)
        self.along = nn.Embedding(nowhere + 1, width, padding_idx=nowhere)
        offset = np.repeat(first[:-1], [column.field.size for column in view])
        gather = torch.tensor([[float(place == token) for place in entries] for token in self.tokens])
        self.number = {place: i for i, place in enumerate(places)}
        self.register_buffer("offset", torch.as_tensor(offset), persistent=False)
        self.register_buffer("gather", gather.reshape(len(self.tokens), len(entries)), persistent=False)
        self.register_buffer("index", torch.tensor(index).reshape(len(places), deepest), persistent=False)

    def places(self) -> Tensor:
        """The vector of every place: those of the tokens, then those `known` besides."""
        out: Tensor = self.along(self.index).sum(1)
        return out

    def forward(self, packed: Tensor, given: Given | None = None) -> Tensor:
        # A product with 0 and 1 adds up in a fixed order on every device, which a scatter does not.
        there = self.gather @ look_up(self.value.weight, self.offset, packed, self.view, given)
        return there + self.places()[: len(self.tokens)]
