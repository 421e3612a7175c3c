"""The parts statements, messages and observations are made of."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

Kind = Literal["token", "number", "bit", "node", "coordinate"]
Seat = Literal["prover", "verifier", "nature"]

EVERYONE: tuple[Seat, ...] = ("prover", "verifier")

# What NumPy's arrays already call something: a record's field of that name would read as the attribute in the CUDA
# simulator.
TAKEN = frozenset(dir(np.ndarray)) | {"stream", "gpu_data", "alloc_size"}


@dataclass(frozen=True)
class Field:
    """Integers 0..high-1 with a name, laid out as `shape`.

    axes: what each dimension of `shape` runs over; two fields that share an axis are aligned along it.
    kind: how a network should read a value: `token` and `node` are categories, `bit` is 0 or 1, `number` and
        `coordinate` are ordered.
    seen_by: the seats whose observations hold the field. Nobody else's do; nature, who tosses public coins, sees nothing.
    blank: the field starts as -1 (nothing there yet) in every game.
    """

    name: str
    high: int
    shape: tuple[int, ...] = ()
    axes: tuple[str, ...] = ()
    kind: Kind = "token"
    seen_by: tuple[Seat, ...] = EVERYONE
    blank: bool = False

    def __post_init__(self) -> None:
        if not self.name.isidentifier() or self.name in TAKEN or self.name.startswith("_"):
            raise ValueError(f"Field name {self.name!r}: must be an identifier that is no NumPy array attribute")
        if not 1 <= self.high <= 2**31 - 2:
            raise ValueError(f"Field {self.name!r}: high={self.high} is outside 1..2147483646")
        if any(size < 0 for size in self.shape):
            raise ValueError(f"Field {self.name!r}: shape={self.shape} has a negative size")
        if self.axes and len(self.axes) != len(self.shape):
            raise ValueError(f"Field {self.name!r}: axes={self.axes} does not name the {len(self.shape)} dimensions of its shape")
        if not set(self.seen_by) <= set(EVERYONE):
            raise ValueError(f"Field {self.name!r}: seen_by={self.seen_by} may only name {EVERYONE}")

    @property
    def size(self) -> int:
        """How many integers the field holds."""
        return math.prod(self.shape)

    @property
    def dtype(self) -> np.dtype[np.signedinteger]:
        """The smallest signed integer type that holds -1..high-1."""
        return integer_type(self.high - 1)


def integer_type(largest: int) -> np.dtype[np.signedinteger]:
    """The smallest signed integer type that holds -1..largest."""
    return np.dtype(np.int8 if largest < 2**7 else np.int16 if largest < 2**15 else np.int32)
