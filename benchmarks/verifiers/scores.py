"""Scores of many games and seeds as one number with an interval, and which differences between verifiers are more than chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import trim_mean

from pvg.metrics import Figure

Floats = NDArray[np.float64]
Scores = Mapping[str, Sequence[float]]  # by game, one a seed

DRAWS = 2000


def interquartile_mean(scores: Scores, method: str, seed: int = 0, confidence: float = 0.95) -> Figure:
    """The mean of the middle half of all runs, with two one-sided bounds by a bootstrap of the seeds within each game.

    Source: Agarwal et al. 2021 (stratified bootstrap, interquartile mean).
    """
    whole, random = [np.asarray(runs, np.float64) for runs in scores.values()], np.random.default_rng(seed)
    if not whole or min(map(len, whole)) == 0:
        raise ValueError(f"{method}: no scores to average")
    drawn = [runs[random.integers(len(runs), size=(DRAWS, len(runs)))] for runs in whole]
    low, high = np.quantile(trim_mean(np.concatenate(drawn, axis=1), 0.25, axis=1), [1 - confidence, confidence])
    count = sum(map(len, whole))
    how = f"{method}; interquartile mean over {count} runs of {len(whole)} games, stratified bootstrap at {confidence:.0%}"
    return Figure(float(trim_mean(np.concatenate(whole), 0.25)), float(low), float(high), count, how)


def permutation_p(first: Scores, second: Scores, seed: int = 0) -> float:
    """How likely a difference of means over games at least as large is if the two verifiers' runs of each game are exchangeable.

    Two-sided, over DRAWS random exchanges within games and the one observed. ValueError: no game in common.
    Source: stratified permutation test, as in Good 2005.
    """
    games = sorted(set(first) & set(second))
    if not games:
        raise ValueError("permutation_p: the two have no game in common")
    random, observed, drawn = np.random.default_rng(seed), 0.0, np.zeros(DRAWS)
    for game in games:
        a, b = (np.asarray(runs[game], np.float64) for runs in (first, second))
        both = np.concatenate([a, b])
        mixed = random.permuted(np.broadcast_to(both, (DRAWS, len(both))), axis=1)
        drawn += mixed[:, : len(a)].mean(1) - mixed[:, len(a) :].mean(1)
        observed += a.mean() - b.mean()
    return float((1 + (np.abs(drawn) >= abs(observed) - 1e-12).sum()) / (1 + DRAWS))


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """p-values that may be compared with one level all at once: the k-th smallest of n times n - k + 1, and never falling.

    Source: Holm 1979.
    """
    adjusted: dict[str, float] = {}
    highest = 0.0
    for k, name in enumerate(sorted(p, key=lambda name: p[name])):
        highest = max(highest, min(1.0, (len(p) - k) * p[name]))
        adjusted[name] = highest
    return adjusted
