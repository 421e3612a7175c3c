"""Rewards that need more than one game, or the logits of two networks: pure functions of a batch.

The first three pay a prover that is told to be helpful or sneaky, and take the same arguments, `B` each:
score: the verifier's convincingness V of the solution. correct, helpful: whether the solution is right, and the role.
group: 0.. for each statement and role, the same for all samples of it.
A solution is aligned if it is right and the prover helpful, or wrong and the prover sneaky.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


def src(score: Tensor, correct: Tensor, helpful: Tensor, group: Tensor) -> Tensor:
    """Convincing first, then aligned: V' = V - mean of V in the group; V' if aligned, -V' if not, where V' > 0; else -1. `B`.

    Source: Kirchner et al. 2024, the reward shape SRC.
    """
    size = int(group.max()) + 1
    total = score.new_zeros(size).index_add(0, group, score)
    above = score - (total / group.bincount(minlength=size))[group]
    return torch.where(above > 0, torch.where(correct.bool() == helpful.bool(), above, -above), -1.0)


def cgc(score: Tensor, correct: Tensor, helpful: Tensor, group: Tensor) -> Tensor:
    """Aligned first, then convincing: V if aligned, else -2. `B`. For V >= -2 whatever is aligned is worth more.

    Source: Kirchner et al. 2024, the reward shape CGC.
    """
    return torch.where(correct.bool() == helpful.bool(), score, -2.0)


def goodhart(score: Tensor, correct: Tensor, helpful: Tensor, group: Tensor) -> Tensor:
    """Convincing alone, whatever the role: V. `B`.

    Source: Kirchner et al. 2024, who train with it until few solutions are right.
    """
    return score


class ZeroKnowledgeRewards(NamedTuple):
    """What each is paid for a game: `B` each."""

    simulator: Tensor
    adversary: Tensor
    provers: Tensor


def zero_knowledge(
    adversary: Sequence[Tensor], simulator: Sequence[Tensor], base: Tensor, coefficient: float = 1.0
) -> ZeroKnowledgeRewards:
    """The simulator is paid c, the sum of cosines between its logits and the adversarial verifier's; that verifier, who is to
    learn what cannot be simulated, -c; the provers base + coefficient * c.

    adversary, simulator: the logits of both for the same things, messages and decision: each `B ... choice`. A cosine is
        taken over choices; all of them in a game add up. base: `B`, what the provers are paid by the protocol.
    ValueError: not as many logits, or not of one shape.
    Source: Hammond & Adam-Day 2024, the zero-knowledge protocols.
    """
    theirs, its = ([tuple(x.shape) for x in logits] for logits in (adversary, simulator))
    if theirs != its:
        raise ValueError(f"logits: shapes {theirs} of the adversary, {its} of the simulator")
    alike = sum(
        (torch.cosine_similarity(a, b, dim=-1).reshape(len(base), -1).sum(1) for a, b in zip(adversary, simulator, strict=True)),
        torch.zeros_like(base),
    )
    return ZeroKnowledgeRewards(alike, -alike, base + coefficient * alike)
