"""Gradient-guided token search, on verifiers whose verdict can be followed backwards to the symbols."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional as F

from pvg.agents.attacks.attack import Attack, Target, attacks
from pvg.agents.attacks.queries import Queries
from pvg.agents.differentiable import evidence_of, statement_of


@runtime_checkable
class Relaxed(Protocol):
    """A verifier that reads mixtures of symbols too."""

    def relaxed(self, packed: Tensor, message: Tensor, evidence: Mapping[str, Tensor] | None = None) -> Tensor:
        """`N answer`, log probabilities, of observations `N width` and weights of the symbols `N position symbol`, and of evidence
        by field, `N entry value`.
        """
        ...


@attacks.register("gradient")
@dataclass
class Gradient(Attack):
    """Swaps of one symbol, those that the gradient of log v at the message promises most, tried and the best one made.

    The gradient is taken of the symbols' weights, one-hot at the message, and counts as one query. Where no swap tried is
    better, the next start is taken: what the scripted provers say, then random messages.
    Source: HotFlip, Ebrahimi et al. 2018; greedy coordinate gradient, Zou et al. 2023.

    swaps: tried at each step.
    """

    white_box = True
    swaps: int = 16

    def unfit(self, target: Target, budget: int) -> str | None:
        if not isinstance(target.verifier, Relaxed):
            return "the verifier gives verdicts only, no gradients"
        proof = target.spec.proof
        if proof is not None and proof.evidence is not None and proof.relaxed is None:
            return "the game adds evidence to messages, which does not follow from them smoothly"
        return None

    def search(self, target: Target, ask: Queries, generator: torch.Generator) -> None:
        starts = target.starts(generator)
        message = next(starts)  # claim position
        at = torch.arange(len(message), device=message.device)
        while True:
            ask.charge()
            swaps = self.promising(target, message, generator)  # claim swap
            symbols = max(target.alphabet)
            tried = message[:, None].repeat(1, 1 + swaps.shape[1], 1)  # the message itself, then each swap made
            tried[:, 1:].scatter_(2, (swaps // symbols)[..., None], (swaps % symbols)[..., None].int())
            verdicts = ask(tried)
            value, best = verdicts[:, 1:].max(dim=1)
            message = torch.where((value > verdicts[:, 0])[:, None], tried[at, 1 + best], next(starts))

    def promising(self, target: Target, message: Tensor, generator: torch.Generator) -> Tensor:
        """`claim swap`: position * symbols + symbol of the swaps that would raise log v most were it linear."""
        assert isinstance(target.verifier, Relaxed)
        symbols = max(target.alphabet)
        with torch.enable_grad():
            weights = F.one_hot(message.long(), symbols).float().requires_grad_()  # claim position symbol
            statement, game = target.claims.statement, target.claims.game
            evidence = evidence_of(game.spec, statement.view, weights, statement_of(game))
            log_v = target.verifier.relaxed(statement.packed, weights, evidence)[:, 1]
            (slope,) = torch.autograd.grad(log_v.sum(), weights)
        gain = slope.nan_to_num() - slope.nan_to_num().gather(2, message.long()[..., None])
        # Where nothing slopes, as behind a threshold, the swaps tried are drawn.
        gain += 1e-9 * torch.rand(gain.shape, generator=generator, device=generator.device).to(gain.device)
        legal = torch.arange(symbols, device=gain.device) <= target.highest[:, None]  # position symbol
        other = F.one_hot(message.long(), symbols) == 0
        gain = gain.masked_fill(~(legal & other), -torch.inf)
        return gain.flatten(1).topk(min(self.swaps, sum(target.alphabet) - len(target.alphabet)), dim=1).indices
