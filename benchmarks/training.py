"""Does training end where it should, for every seed?

    python -m pvg.benchmarks.training --out results/training.json

Claims, each for 10 of 10 seeds, on Arith at its defaults, 2,000 true and 2,000 false test claims a seed:
`default`: what `pvg train pvg/Arith-v0` does ends with completeness >= 0.99 and an exact best-response soundness error <= 0.01.
`selfplay`: after 100 updates of self-play of the prover the learned prover convinces that verifier of >= 0.95 of true
claims, and the verifier's figures are still within those bounds. `selfplay_both`: the same where the verifier goes on
learning too, from the learned prover's messages alone. `babbling`: self-play from scratch, nobody taught anything, ends with
a verifier that is right about the learned prover's claims no more often than chance (0.5 within 0.05): a known
equilibrium, shown and not hidden. Every seed is a point; none is left out. A run that diverges counts as a failure.
The defaults were chosen on seeds below 50 and on 103, with which 300 updates of imitation had not been enough.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pvg.agents.config import TrainConfig, plain
from pvg.agents.experiment import experiment
from pvg.agents.report import Report
from pvg.agents.selfplay import PPO
from pvg.agents.training import Diverged
from pvg.benchmarks.provenance import provenance
from pvg.protocols import ProverVerifier
from pvg.spec import resolve
from pvg.tasks import Arith

SETTINGS = {
    "default": TrainConfig(),
    "selfplay": TrainConfig(phases=(*TrainConfig().phases, PPO(updates=100, seats="prover"))),
    "selfplay_both": TrainConfig(phases=(*TrainConfig().phases, PPO(updates=100))),
    "babbling": TrainConfig(phases=(PPO(updates=500),)),
}


def score(setting: str, report: Report) -> bool:
    """Whether a run ended as claimed."""
    f = report.randomised
    assert f.prover_convinces is not None, "the prover is learned too"
    if setting == "babbling":
        return abs(f.prover_convinces.value - f.attack_success["learned"].value) / 2 <= 0.05
    convinced = setting == "default" or f.prover_convinces.value >= 0.95
    sound = report.exact and f.best_response_soundness_error.value <= 0.01
    return f.completeness.value >= 0.99 and sound and convinced


def run(setting: str, seed: int) -> dict[str, Any]:
    """One training run, as a row of the result."""
    spec = resolve(Arith(), ProverVerifier())
    try:
        report = experiment(spec, replace(SETTINGS[setting], seed=seed), progress=False)
        assert isinstance(report, Report)
    except Diverged as error:
        return {"setting": setting, "seed": seed, "as_claimed": False, "diverged": str(error)}
    return {"setting": setting, "seed": seed, "as_claimed": score(setting, report), **report.as_dict()}


def line(row: dict[str, Any]) -> str:
    if "diverged" in row:
        return f"{row['setting']:13s} seed {row['seed']}: {row['diverged']}"
    names = ("completeness", "best_response_soundness_error", "prover_convinces", "solo_accuracy")
    fooled = f"fooled by the learned prover {row['attack_success']['learned']['value']:.4f}"
    shown = ", ".join([*(f"{name.replace('_', ' ')} {row[name]['value']:.4f}" for name in names), fooled])
    return (
        f"{row['setting']:13s} seed {row['seed']}: {shown}, {row['seconds']:.0f} s{'' if row['as_claimed'] else '  NOT AS CLAIMED'}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--seeds", type=int, default=10, help="how many seeds")
    parser.add_argument("--first", type=int, default=200, help="the first of them")
    parser.add_argument("--out", type=Path, help="a JSON file to write")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows, made_by = [], provenance()  # of the code that runs, whatever is committed meanwhile
    for setting in given.settings:
        for seed in range(given.first, given.first + given.seeds):
            rows.append(run(setting, seed))
            print(line(rows[-1]), flush=True)
        ended = sum(row["as_claimed"] for row in rows if row["setting"] == setting)
        print(f"{setting}: {ended} of {given.seeds} seeds as claimed")
    if given.out:
        configs = {name: plain(SETTINGS[name]) for name in given.settings}
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps({"provenance": made_by, "configs": configs, "runs": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
