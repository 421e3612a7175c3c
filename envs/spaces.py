"""What a seat sees and says as Gymnasium spaces, made from Fields.

An observation is a Dict of one entry a field, named as in the role's View; all entries are views of one packed row of
integers. A field of a single integer is a row of one. Categories in a row are a MultiDiscrete, so that libraries
one-hot them; numbers, coordinates, bits, and whatever has two dimensions or more, are a Box. Entries that may be empty,
such as an utterance not heard yet, hold 0 for nothing and v + 1 for v.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from pvg.spec import Column, Spec, View

Places = tuple[tuple[str, slice, tuple[int, ...]], ...]


def places(view: View) -> Places:
    """Name, place in the packed row and shape of each entry."""
    return tuple((c.field.name, slice(c.start, c.stop), c.field.shape or (1,)) for c in view)


def entries(where: Places, packed: Any) -> dict[str, Any]:
    """The entries of a packed observation (`... width`, an array or a tensor), without a copy."""
    if packed.ndim == 1:  # half the time: a single environment feels it
        return {name: packed[place] if len(shape) == 1 else packed[place].reshape(shape) for name, place, shape in where}
    return {name: packed[:, place].reshape(-1, *shape) for name, place, shape in where}


def observation_space(view: View) -> spaces.Dict:
    """The space of what a role sees."""
    return spaces.Dict({column.field.name: _entry(column, view.dtype) for column in view})


def _entry(column: Column, dtype: Any) -> spaces.Space[Any]:
    shape = column.field.shape or (1,)
    category = column.field.kind in ("token", "node") or (column.field.kind == "bit" and column.shift)
    if category and len(shape) == 1:
        return spaces.MultiDiscrete(np.full(shape, column.high, dtype), dtype=dtype)
    return spaces.Box(0, max(column.high - 1, 1), shape, dtype)  # Gymnasium warns of a Box of one value


def action_space(spec: Spec, role: int) -> spaces.Discrete[Any] | spaces.MultiDiscrete[Any]:
    """The space of what a role says: a symbol, or one a position, each from the largest alphabet it ever has there."""
    choices = spec.choices(role)
    return spaces.Discrete(int(choices[0])) if len(choices) == 1 else spaces.MultiDiscrete(choices)


def action_masks(spec: Spec, role: int) -> list[Any]:
    """What a role may say at each turn, as the `mask` that its action space samples under; the last is for when it is not to
    speak. Where a symbol would not be heard, only 0 is left.
    """
    choices, rows = spec.choices(role), spec.row_of(role)
    silence = np.zeros((1, spec.width), np.int64)
    alphabets = np.concatenate([np.where(rows[:, None] >= 0, spec.alphabet[rows], 0), silence])
    masks = [
        tuple((np.arange(n) < max(legal, 1)).astype(np.int8) for n, legal in zip(choices, alphabet, strict=False))
        for alphabet in alphabets
    ]
    return [mask[0] for mask in masks] if len(choices) == 1 else masks
