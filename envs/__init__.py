"""Faces of a game for other people's code: one seat of it as a Gymnasium environment, single or batched, or all of them as
PettingZoo environments.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pvg.envs.pettingzoo import aec_env, parallel_env

__all__ = ["aec_env", "parallel_env"]


def __getattr__(name: str) -> Any:
    """What needs PettingZoo is imported when it is asked for."""
    if name not in __all__:
        raise AttributeError(f"module 'pvg.envs' has no attribute {name!r}")
    return getattr(importlib.import_module("pvg.envs.pettingzoo"), name)
