"""The proof's own dishonest provers, and chance."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from pvg.agents.attacks.attack import Attack, Target, attacks
from pvg.agents.attacks.queries import Queries


@attacks.register("prover")
@dataclass
class ScriptedProver(Attack):
    """Each of the proof's dishonest provers, an attack of its own: what it says with the coins of the game, then with others.

    rounds: games it plays of each claim; a prover that draws nothing says the same in all.
    """

    name: str = "dishonest"
    rounds: int = 32

    @classmethod
    def members(cls, target: Target) -> dict[str, Attack]:
        return {name: cls(name) for name in target.provers}

    def search(self, target: Target, ask: Queries, generator: torch.Generator) -> None:
        for again in range(self.rounds):
            said, legal = target.claims.argue(target.provers[self.name], again)
            ask(said[:, None], legal[:, None])


@attacks.register("random")
@dataclass
class Random(Attack):
    """Messages drawn uniformly: what no attack should do worse than."""

    def search(self, target: Target, ask: Queries, generator: torch.Generator) -> None:
        while True:
            ask(target.random(target.at_once(256), generator))
