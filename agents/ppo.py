"""Proximal policy optimisation on complete games: returns, advantages and losses as pure functions.

Source: Schulman et al. 2017, equation 7. Rewards are not discounted, and an advantage is the return less the critic's
value (GAE with gamma = lambda = 1, Schulman et al. 2016, equation 16): games are a few turns long and always played to
their end, so the return is at hand, unbiased, and hardly noisier than anything bootstrapped from a critic would be.
"""

from __future__ import annotations

import torch
from torch import Tensor


def returns(reward: Tensor) -> Tensor:
    """R_t = r_t + r_{t+1} + ...: `turn lane`, of a role's rewards `turn lane`."""
    return reward.flip(0).cumsum(0).flip(0)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """The mean of values where `mask` holds, whatever stands elsewhere; 0 if it holds nowhere."""
    return values.where(mask, 0).sum() / mask.sum().clamp(min=1)


def advantages(reward: Tensor, value: Tensor, acting: Tensor) -> Tensor:
    """A_t = R_t - V(s_t) where the role acted, made mean 0 and variance 1 over those entries: `turn lane`, 0 elsewhere.

    Left unscaled where all are equal, which then are all 0.
    """
    raw = (returns(reward) - value) * acting
    centred = (raw - masked_mean(raw, acting)) * acting
    return centred / (masked_mean(centred**2, acting).sqrt() + 1e-8)


def ppo_loss(log_prob: Tensor, old_log_prob: Tensor, advantage: Tensor, acting: Tensor, clip: float) -> Tensor:
    """-E[min(r A, clip(r, 1 - clip, 1 + clip) A)] over entries where the role acted, with r = exp(log_prob -
    old_log_prob).

    An action is a whole utterance: log_prob is the sum over its symbols. All of one shape.
    """
    ratio = torch.exp((log_prob - old_log_prob).where(acting, 0))
    return -masked_mean(torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage), acting)
