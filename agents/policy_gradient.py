"""Policy gradients on complete games: returns, advantages, baselines and losses as pure functions.

Sources: PPO, Schulman et al. 2017, equation 7; REINFORCE, Williams 1992; its leave-one-out baseline (RLOO), Kool, van Hoof &
Welling 2019. Rewards are not discounted, and an advantage is the return less a baseline (for the critic's value, GAE with
gamma = lambda = 1, Schulman et al. 2016, equation 16): games are a few turns long and always played to their end, so the
return is at hand, unbiased, and hardly noisier than anything bootstrapped from a critic would be.

An action is a whole utterance: log_prob is the sum over its symbols.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pvg.agents.distributed import total


def returns(reward: Tensor) -> Tensor:
    """R_t = r_t + r_{t+1} + ...: `turn lane`, of a role's rewards `turn lane`."""
    return reward.flip(0).cumsum(0).flip(0)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """The mean of values where `mask` holds, whatever stands elsewhere; 0 if it holds nowhere.

    Under several processes, this one's part of the mean over all lanes: the parts add up to it, and so do their gradients.
    """
    return masked_means(mask, values)[0]


def masked_means(mask: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
    """`masked_mean` of several at once, in fewer and larger operations."""
    together = values[0][None] if len(values) == 1 else torch.stack(values)
    return (together.where(mask, 0).flatten(1).sum(1) / total(mask.sum()).clamp(min=1)).unbind()


def advantages(reward: Tensor, value: Tensor, acting: Tensor) -> Tensor:
    """A_t = R_t - V(s_t) where the role acted, made mean 0 and variance 1 over those entries: `turn lane`, 0 elsewhere.

    Left unscaled where all are equal, which then are all 0.
    """
    raw = (returns(reward) - value) * acting
    centred = (raw - total(masked_mean(raw, acting))) * acting
    return centred / (total(masked_mean(centred**2, acting)).sqrt() + 1e-8)


def leave_one_out(outcome: Tensor, samples: int) -> Tensor:
    """For each game the mean outcome of the other samples of its statement, which stand next to each other: `.. lane`.

    samples: at least 2, a divisor of the number of lanes.
    """
    groups: Tensor = outcome.unflatten(-1, (-1, samples))
    return ((groups.sum(-1, keepdim=True) - groups) / (samples - 1)).flatten(-2)


def ppo_loss(log_prob: Tensor, old_log_prob: Tensor, advantage: Tensor, acting: Tensor, clip: float) -> Tensor:
    """Of each entry -min(r A, clip(r, 1 - clip, 1 + clip) A), with r = exp(log_prob - old_log_prob); PPO's loss is the mean
    where the role acted. All of one shape.
    """
    ratio = torch.exp((log_prob - old_log_prob).where(acting, 0))
    return -torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)


def reinforce_loss(log_prob: Tensor, advantage: Tensor, acting: Tensor) -> Tensor:
    """-E[A log pi(a | s)] over entries where the role acted; its gradient is minus the policy gradient. All of one shape."""
    return -masked_mean(log_prob * advantage, acting)


def kl_to_reference(log_prob: Tensor, reference: Tensor, acting: Tensor) -> Tensor:
    """Of each utterance of pi e^d - 1 - d, d = reference - log_prob; the mean where the role acted estimates KL(pi || reference).

    Never negative, and unbiased where the utterances are pi's own. All of one shape.
    Source: Schulman 2020, "Approximating KL divergence", the estimator k3.
    """
    d = (reference - log_prob).where(acting, 0)
    return torch.expm1(d) - d


def score(log_probs: Tensor, truth: Tensor, rule: str) -> Tensor:
    """A proper score of answers' log probabilities (`N answer`) at the truth (`N`): "log", log p(truth), or "brier",
    -sum over answers of (p - 1[truth])^2. Source: Gneiting & Raftery 2007.
    """
    at_truth = log_probs.gather(1, truth.long()[:, None])[:, 0]
    if rule == "log":
        return at_truth
    assert rule == "brier"
    p = log_probs.exp()
    return 2 * at_truth.exp() - (p**2).sum(1) - 1
