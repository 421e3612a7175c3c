"""What is measured of a verifier, as numbers with an interval and the method they were got by.

v(x, m) is the probability of acceptance of message m for statement x with label Y; see `pvg.agents.report` for what is
measured of it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch
from scipy.stats import beta
from torch import Tensor

from pvg.lane import lane_keys

_PAST_ALL_LANES = np.uint64(2**63)  # lanes are numbered below, so that no coin is a lane's key


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

    low is the p at which `successes` or more has probability 1 - confidence, high the p at which `successes` or fewer
    has.
    Source: Clopper & Pearson 1934, as quantiles of the beta distribution.
    """
    if not 0 <= successes <= n or n < 1:
        raise ValueError(f"successes={successes} of n={n}: expected 0 <= successes <= n and n >= 1")
    low = 0.0 if successes == 0 else float(beta.ppf(1 - confidence, successes, n - successes + 1))
    high = 1.0 if successes == n else float(beta.ppf(confidence, successes + 1, n - successes))
    return low, high


def proportion(decisions: Tensor, method: str, confidence: float = 0.95) -> Figure:
    """The share of true entries in `decisions` (`n` bool), with Clopper-Pearson bounds; of none, 0 within 0 and 1."""
    successes, n = int(decisions.sum()), decisions.numel()
    if n == 0:
        return Figure(0.0, 0.0, 1.0, 0, f"{method}; nothing to count")
    low, high = clopper_pearson(successes, n, confidence)
    return Figure(successes / n, low, high, n, f"{method}; one-sided Clopper-Pearson at {confidence:.0%}")


def difference(first: Figure, second: Figure, method: str) -> Figure:
    """first - second; an end combines a bound of each, so at worst it is wrong twice as often as one of them."""
    low, high = first.low - second.high, first.high - second.low
    return Figure(first.value - second.value, low, high, min(first.n, second.n), f"{method}; ends combine both bounds")


def checked(verdicts: Tensor) -> Tensor:
    """The verdicts, if all are probabilities: NaN must never read as "not accepted".

    NonFiniteVerdict: one is NaN, infinite or outside [0, 1]; the run is void.
    """
    fine = (verdicts >= 0) & (verdicts <= 1)
    if not bool(fine.all()):
        bad = verdicts[~fine]
        raise NonFiniteVerdict(
            f"verdict: expected a probability in [0, 1], got {bad[0].item()} (and {bad.numel() - 1} more); the run is void"
        )
    return verdicts


def decide(verdicts: Tensor, coins: Tensor) -> Tensor:
    """Randomised decisions: accept where the coin, uniform on [0, 1), is below the probability of acceptance."""
    return checked(verdicts) > coins


def coins(seed: int, n: int) -> Tensor:
    """One coin a statement, `n` float64 in [0, 1): a coin depends on the seed and its place alone."""
    keys = lane_keys(seed, np.arange(n, dtype=np.uint64) + _PAST_ALL_LANES)
    return torch.from_numpy((keys >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def best_threshold(honest: Tensor, worst: Tensor) -> float:
    """The threshold t that maximises completeness minus error of the rule "accept if v >= t" on a validation set.

    honest: verdicts on true claims, `n`. worst: the largest verdict found for each false claim, `n`. Of equally good
    gaps between verdicts the widest is taken, in the middle. To be compared in float64, which holds that middle.
    """
    honest, worst = (checked(verdicts).double().sort().values for verdicts in (honest, worst))
    values = torch.cat([honest, worst]).unique()
    inner = (values[1:] + values[:-1]) / 2
    middles = torch.cat([values[:1], inner, values[-1:] + 1e-6])
    rejected = [torch.searchsorted(verdicts, middles).double() / len(verdicts) for verdicts in (worst, honest)]
    gain = rejected[0] - rejected[1]
    widths = torch.cat([values.new_zeros(1), values.diff(), values.new_zeros(1)])
    best = (gain > gain.max() - 1e-12).nonzero().flatten()
    return float(middles[best[widths[best].argmax()]])
