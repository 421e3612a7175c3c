"""What is measured of a verifier, as numbers with an interval and the method they were got by.

v(x, m) is the probability of acceptance of message m for statement x with label Y; see `pvg.agents.report` for what is measured of it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from scipy.stats import beta
from torch import Tensor


class NonFiniteVerdict(ValueError):
    """A verdict that is NaN, infinite or outside [0, 1]: the run is void."""


@dataclass(frozen=True)
class Figure:
    """A proportion of n trials; low and high are one-sided bounds, each by itself at `confidence`."""

    value: float
    low: float
    high: float
    n: int
    method: str

    def as_dict(self) -> dict[str, float | int | str]:
        """For JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


def clopper_pearson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact one-sided bounds (low, high) of a binomial proportion, each at `confidence`.

    low is the p at which `successes` or more has probability 1 - confidence, high the p at which `successes` or fewer has.
    Source: Clopper & Pearson 1934, as quantiles of the beta distribution.
    """
    if not 0 <= successes <= n or n < 1:
        raise ValueError(f"successes={successes} of n={n}: expected 0 <= successes <= n and n >= 1")
    low = 0.0 if successes == 0 else float(beta.ppf(1 - confidence, successes, n - successes + 1))
    high = 1.0 if successes == n else float(beta.ppf(confidence, successes + 1, n - successes))
    return low, high


def proportion(decisions: Tensor, method: str, confidence: float = 0.95) -> Figure:
    """The share of true entries in `decisions` (`n` bool), with Clopper-Pearson bounds."""
    successes, n = int(decisions.sum()), decisions.numel()
    low, high = clopper_pearson(successes, n, confidence)
    return Figure(successes / n, low, high, n, f"{method}; one-sided Clopper-Pearson at {confidence:.0%}")


def checked(verdicts: Tensor) -> Tensor:
    """The verdicts, if all are probabilities; NonFiniteVerdict (the run is void) if one is not: NaN must never read as "not accepted"."""
    if not bool(((verdicts >= 0) & (verdicts <= 1)).all()):
        bad = verdicts[~((verdicts >= 0) & (verdicts <= 1))]
        raise NonFiniteVerdict(f"verdict: expected probabilities in [0, 1], got {bad.flatten()[0].item()} (and {bad.numel() - 1} more)")
    return verdicts


def decide(verdicts: Tensor, coins: Tensor) -> Tensor:
    """Randomised decisions: accept where the statement's coin (uniform on [0, 1)) is below the probability of acceptance."""
    return checked(verdicts) > coins


def best_threshold(honest: Tensor, worst: Tensor) -> float:
    """The threshold t that maximises completeness minus error of the rule "accept if v >= t" on a validation set.

    honest: verdicts on true claims, `n`. worst: the largest verdict found for each false claim, `n`. Ties go to the middle of the widest gap.
    """
    values = torch.cat([checked(honest), checked(worst)]).unique()
    middles = torch.cat([values[:1], (values[1:] + values[:-1]) / 2, values[-1:] + 1e-6])
    gain = (honest[None] >= middles[:, None]).double().mean(1) - (worst[None] >= middles[:, None]).double().mean(1)
    best = (gain == gain.max()).nonzero().flatten()
    widths = torch.cat([values.new_zeros(1), values[1:] - values[:-1], values.new_zeros(1)])
    return float(middles[best[widths[best].argmax()]])
