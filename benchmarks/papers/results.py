"""What every experiment does with its rows: means over seeds with their bounds, and one JSON file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from scipy.stats import t

from pvg.metrics import Figure


def over_seeds(values: Sequence[float], confidence: float = 0.95) -> Figure:
    """The mean over seeds with one-sided bounds from Student's t; of one seed, no bounds but the value itself.

    ValueError: no seed, or one whose value is not finite: a diverged run is a failure, not a missing number.
    """
    if not values or not all(map(math.isfinite, values)):
        raise ValueError(f"values={list(values)}: expected finite numbers, at least one")
    mean, n = fmean(values), len(values)
    if n == 1:
        return Figure(mean, mean, mean, 1, "one seed, no bounds")
    half = float(t.ppf(confidence, n - 1)) * stdev(values) / math.sqrt(n)
    return Figure(mean, mean - half, mean + half, n, f"mean over seeds; one-sided Student's t at {confidence:.0%}")


def save(
    folder: Path,
    name: str,
    made_by: Mapping[str, str],
    configs: Mapping[str, Any],
    claims: Mapping[str, bool],
    rows: Sequence[Mapping[str, Any]],
) -> None:
    """NAME.json: provenance, settings, which claims held, and every seed's row."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = {"provenance": dict(made_by), "configs": dict(configs), "claims": dict(claims), "rows": list(rows)}
    part = folder / f".{name}.json"
    part.write_text(json.dumps(contents, indent=2, allow_nan=False) + "\n")
    part.replace(folder / f"{name}.json")
