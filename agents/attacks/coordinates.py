"""Coordinate ascent: one symbol at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pvg.agents.attacks.attack import Attack, Target, attacks
from pvg.agents.attacks.queries import Queries


def coordinate_ascent(
    ask: Callable[[Tensor], Tensor],
    alphabet: tuple[int, ...],
    starts: Tensor,
    sweeps: int,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Climb from every start: a sweep tries every symbol at every position, in random order, and keeps the best.

    Ties are broken at random. ask: messages `B K position` to verdicts `B K`. starts: `B R position`.
    Returns where the R climbs end, `B R position` int32, and the verdicts there, `B R`.
    """
    messages = starts.int().clone()
    values = ask(messages)  # B R
    for _ in range(sweeps):
        for position in torch.randperm(len(alphabet), generator=generator, device=generator.device).tolist():
            symbols = torch.arange(alphabet[position], dtype=torch.int32, device=messages.device)
            tried = messages[:, :, None].repeat(1, 1, len(symbols), 1)  # B R symbol position
            tried[..., position] = symbols
            verdicts = ask(tried.flatten(1, 2)).unflatten(1, (-1, len(symbols)))  # B R symbol
            values = verdicts.amax(dim=2)
            order = torch.rand(verdicts.shape, generator=generator, device=generator.device).to(verdicts.device)
            messages[:, :, position] = symbols[torch.where(verdicts == values[..., None], order, -1.0).argmax(dim=2)]
    return messages, values


def best_of(messages: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """The best of R messages for each of B statements: `B position` and its value, `B`."""
    value, best = values.max(dim=1)
    return messages[torch.arange(len(best), device=best.device), best], value


@attacks.register("coordinates")
@dataclass
class Coordinates(Attack):
    """Coordinate ascent, restarted: climbs from what the scripted provers say, then from random messages.

    sweeps: of each climb. at_once: climbs made together, from the second round on doubled up to this many.
    """

    sweeps: int = 3
    at_once: int = 32

    def search(self, target: Target, ask: Queries, generator: torch.Generator) -> None:
        starts, climbs = target.starts(generator), 1
        most = target.at_once(self.at_once * max(target.alphabet)) // max(target.alphabet)
        while True:
            begin = torch.stack([next(starts) for _ in range(climbs)], dim=1)
            coordinate_ascent(ask, target.alphabet, begin, self.sweeps, generator)
            climbs = max(1, min(2 * climbs, most))
