"""Prover-verifier games: can a weak, trusted verifier get right answers out of strong, untrusted provers?"""

from __future__ import annotations

from pvg import protocols as _protocols
from pvg import tasks as _tasks
from pvg.game import Game, game
from pvg.protocol import protocols
from pvg.task import tasks

__all__ = ["Game", "game", "protocols", "tasks"]
