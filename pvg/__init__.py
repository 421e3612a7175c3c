"""Prover-verifier games: can a weak, trusted verifier get right answers out of strong, untrusted provers?"""

from __future__ import annotations

import gymnasium as _gymnasium

from pvg import protocols, task, tasks
from pvg.game import Game, game

__all__ = ["Game", "game", "protocols", "tasks"]

for _name in task.tasks:
    _gymnasium.register(
        id=f"pvg/{_name}-v0",
        entry_point="pvg.envs.single:GameEnv",
        vector_entry_point="pvg.envs.vector:GameVectorEnv",
        kwargs={"task": _name},
    )
