"""Prover-verifier games: can a weak, trusted verifier get right answers out of strong, untrusted provers?"""

from __future__ import annotations

from pvg import protocols, tasks
from pvg.game import Game, game

__all__ = ["Game", "game", "protocols", "tasks"]
