"""How networks read a packed observation, some of whose fields may be given as mixtures of values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from pvg.spec import Column, View
from pvg.verifier import message_columns

# Fields by name as weights of their packed values, `N entry value`; value 0 is "nothing there" where that may be.
Given: TypeAlias = Mapping[str, Tensor]


def one_hot(values: Tensor, high: int) -> Tensor:
    """1 at the value and 0 elsewhere, for each of values 0..high-1; all 0 for other values. `.. high`."""
    return (values[..., None] == torch.arange(high, device=values.device)).float()


def weights(column: Column, packed: Tensor, given: Given | None = None) -> Tensor:
    """A field as weights of its packed values, `N entry value`: one-hot, or as it is given."""
    name = column.field.name
    if given is not None and name in given:
        return given[name]
    return one_hot(packed[:, column.start : column.stop], column.high)


def look_up(table: Tensor, offset: Tensor, packed: Tensor, view: View, given: Given | None = None) -> Tensor:
    """Each packed entry's vector, row `offset + value` of a table, or the mixture of its values' vectors: `N width d`."""
    vectors = F.embedding(packed.long() + offset, table)
    for name, mixture in (given or {}).items():
        column = view[name]
        rows = offset[column.start : column.stop, None] + torch.arange(column.high, device=table.device)  # entry value
        vectors[:, column.start : column.stop] = torch.einsum("nev,evd->ned", mixture, table[rows])
    return vectors


def mixtures(view: View, lanes: int, message: Tensor, evidence: Given | None = None) -> dict[str, Tensor]:
    """A message's weights `N position symbol`, in the order of `message_columns`, and those of evidence, by field.

    ValueError: other shapes; evidence of a field that is none.
    """
    given = dict(evidence or {})
    for name, mixture in given.items():
        column = view[name]
        if column.origin != "proof":
            raise ValueError(f"evidence {name!r}: a {column.origin} field, no evidence the game adds to messages")
        _expect(f"evidence {name!r}", mixture, (lanes, column.field.size, column.high))
    heard = [column for column in view if column.row is not None]
    highest = max((column.field.high for column in heard), default=message.shape[-1])
    _expect("message", message, (lanes, sum(column.field.size for column in heard), highest))
    position = {start: i for i, start in enumerate(message_columns(view).tolist())}
    for column in heard:
        first = position[column.start]
        given[column.field.name] = F.pad(message[:, first : first + column.field.size, : column.field.high], (1, 0))
    return given


def _expect(name: str, found: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(found.shape) != shape:
        raise ValueError(f"{name}: expected weights {shape}, got {tuple(found.shape)}")
