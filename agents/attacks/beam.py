"""Beam search: messages grown position by position."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pvg.agents.attacks.attack import Attack, Target, attacks
from pvg.agents.attacks.queries import Queries


@attacks.register("beam")
@dataclass
class Beam(Attack):
    """Beam search, again and again, each time twice as wide.

    A verdict needs a whole message, so a beginning is worth the best verdict on any of its completions: the ends of the best
    message so far, of what the scripted provers say, and of random messages, the same for all beginnings of a length. Ties
    are broken at random.

    width: beginnings kept of each length, at first. completions: of each beginning.
    """

    width: int = 2
    completions: int = 4

    def search(self, target: Target, ask: Queries, generator: torch.Generator) -> None:
        width, most = self.width, target.at_once(2**15) // (max(target.alphabet) * self.completions)
        while True:
            self.grow(target, ask, width, generator)
            width = max(1, min(2 * width, most))

    def grow(self, target: Target, ask: Queries, width: int, generator: torch.Generator) -> Tensor:
        """One search; the messages it ends with, `claim width position`."""
        device = target.highest.device
        claims, positions = len(target.claims), len(target.alphabet)
        kept = torch.zeros((claims, 1, 0), dtype=torch.int32, device=device)
        at = torch.arange(claims, device=device)[:, None]
        for j, high in enumerate(target.alphabet):
            symbols = torch.arange(high, dtype=torch.int32, device=device)
            grown = torch.cat([kept[:, :, None].expand(-1, -1, high, -1), symbols.expand(claims, kept.shape[1], -1)[..., None]], 3)
            begun = grown.flatten(1, 2)  # claim beginning j + 1
            begun = begun[:, torch.randperm(begun.shape[1], generator=generator, device=generator.device).to(device)]
            ends = self.ends(target, ask, j + 1, generator)  # claim completion rest
            several = begun.shape[1], ends.shape[1]
            tried = torch.cat([begun[:, :, None].expand(-1, -1, several[1], -1), ends[:, None].expand(-1, several[0], -1, -1)], 3)
            assert tried.shape[3] == positions
            worth = ask(tried.flatten(1, 2)).unflatten(1, several).amax(2)  # claim beginning
            kept = begun[at, worth.argsort(dim=1, descending=True, stable=True)[:, :width]]
        return kept

    def ends(self, target: Target, ask: Queries, position: int, generator: torch.Generator) -> Tensor:
        """`claim completion rest`: what may follow from a position on; at the end there is one way to go on."""
        if position == len(target.alphabet):
            return ask.messages[:, None, position:]
        known = torch.cat([ask.messages[:, None], target.scripted], dim=1)[:, : self.completions // 2]
        drawn = target.random(self.completions - known.shape[1], generator)
        return torch.cat([known, drawn], dim=1)[..., position:]
