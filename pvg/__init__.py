"""Prover-verifier games: can a weak, trusted verifier get right answers out of strong, untrusted provers?"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import gymnasium as _gymnasium

from pvg import protocols, task, tasks
from pvg.game import Game, game

__all__ = ["Game", "attack", "envs", "evaluate", "game", "protocols", "tasks"]

for _name in task.tasks:
    _gymnasium.register(
        id=f"pvg/{_name}-v0",
        entry_point="pvg.envs.single:GameEnv",
        vector_entry_point="pvg.envs.vector:GameVectorEnv",
        kwargs={"task": _name},
    )

if TYPE_CHECKING:
    from pvg import envs
    from pvg.agents.attacks.library import attack
    from pvg.agents.evaluation import evaluate

_ABOVE = {"attack": ("pvg.agents.attacks.library", "attack"), "evaluate": ("pvg.agents.evaluation", "evaluate")}


def __getattr__(name: str) -> Any:
    """What lives above the games is imported when it is asked for."""
    if name == "envs":
        return importlib.import_module("pvg.envs")
    if name not in _ABOVE:
        raise AttributeError(f"module 'pvg' has no attribute {name!r}")
    module, thing = _ABOVE[name]
    return getattr(importlib.import_module(module), thing)
