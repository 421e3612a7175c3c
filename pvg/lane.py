"""What lane functions are made with: the compiler's decorator and the draw.

A lane function is the rule of a game for one game, in plain scalar Python over a record `s` (the lane's state) and a record
`tables` (read-only arrays shared by all lanes). The same source runs as a loop over lanes on the CPU, as a CUDA kernel, in
Numba's CUDA simulator and, with NUMBA_DISABLE_JIT=1, in a debugger. It allocates nothing; sizes come from the record's type
(`s.x.shape[0]` is a constant to the compiler); it draws boundedly often.

Randomness is addressable: a draw is a hash of (seed, lane, episode, step of the game, who draws, how many draws before), so
lane i plays the same game at any batch size, on any device, in any order. Source: splitmix64, Steele, Lea & Flood 2014.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import config
from numba.core.registry import CPUDispatcher
from numpy.typing import NDArray

LaneFunction = Callable[..., Any]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_27, _30, _31, _32 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(32)


class _Lane(CPUDispatcher):  # type: ignore[misc]
    """A lane function: compiled into the kernels that call it. Called from Python it is the Python that it is: there it has no
    entry, since making one for each function of a game took a fifth to a third of compiling the game. Records it is given there
    are those of `array.view(np.recarray)`.
    """

    def __call__(self, *arguments: Any) -> Any:
        with np.errstate(over="ignore"):
            return self.py_func(*arguments)


def lane(function: LaneFunction) -> LaneFunction:
    """Decorator: compile a lane function when a game first needs it."""
    if config.DISABLE_JIT:
        return np.errstate(over="ignore")(function)
    # Inlined always: it halves the time of a deal, and code kept on disk depends on it. Numba names functions and record types
    # by counters that restart in every process, so kernels kept by two processes would share the symbols of what they call.
    inlined = {"nopython": True, "forceinline": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return _Lane(function, targetoptions={"error_model": "numpy", "nogil": True} | inlined)


@lane
def mix(z: Any) -> Any:
    """The finaliser of splitmix64: a bijection of 64-bit integers that hides every pattern of its argument."""
    z = (z ^ (z >> _30)) * _MIX_1
    z = (z ^ (z >> _27)) * _MIX_2
    return z ^ (z >> _31)


@lane
def draw(s: Any, n: Any) -> Any:
    """The next integer of the lane's current stream, uniform on 0..n-1 (`1 <= n < 2**32`; bias below `n / 2**32`).

    In a record that carries a tape (the enumerator's) the tape says what comes, and `n` is noted beside it.
    """
    if s.tape.shape[0] > 0:
        k = s.drawn[0]
        s.drawn[0] = k + 1
        if k >= s.tape.shape[0]:
            return np.int64(0)
        s.arity[k] = n
        return np.int64(s.tape[k])
    s.coins += GOLDEN
    return np.int64(((mix(s.coins) >> _32) * np.uint64(n)) >> _32)


def lane_keys(seed: int, lanes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The key of each lane under a seed (0..2**64-1): distinct for distinct lanes of one seed."""
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed={seed} is outside 0..2**64-1")
    with np.errstate(over="ignore"):
        keys: NDArray[np.uint64] = mix(mix(np.uint64(seed) + GOLDEN) + lanes.astype(np.uint64))
    return keys
