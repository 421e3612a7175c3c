"""The question in three minutes: does a verifier that rejects every scripted lie also reject the best one?

    python -m pvg.benchmarks.demo            (add --out FOLDER to keep demo.json and demo.png)

Two architectures learn to judge transcripts of Arith from honest and dishonest provers (imitation). Each then goes on twice
from the same weights, for the same number of updates: with more of the same (the control), or against the best message
that the search finds for false claims (adversarial). Every row is measured on the same fresh statements.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

import torch
from rich.console import Console

from pvg.agents.config import TrainConfig
from pvg.agents.evaluation import evaluate
from pvg.agents.experiment import solo
from pvg.agents.report import Report, figure, table
from pvg.agents.training import CHECKPOINT, train
from pvg.benchmarks.provenance import provenance
from pvg.protocols import ProverVerifier
from pvg.spec import resolve
from pvg.tasks import Arith

SPEC = resolve(Arith(), ProverVerifier(), split="train")

CONFIGS = {
    "mlp": TrainConfig(network="mlp", imitation_seats="verifier", imitation_updates=3000, adversarial_updates=1000),
    "step_check": TrainConfig(imitation_seats="verifier"),
}


def rows(config: TrainConfig, claims: int, folder: Path) -> dict[str, Report]:
    """Imitation, then control and adversarial training from the same checkpoint."""
    taught = train(SPEC, replace(config, adversarial_updates=0), folder / "imitation", progress=False)
    found = {"imitation": taught.verifier}
    for name, share in (("control", 0.0), ("adversarial", config.adversarial_share)):
        onward = replace(config, adversarial_share=share)
        start = folder / "imitation" / CHECKPOINT
        found[name] = train(SPEC, onward, folder / name, resume=start, progress=False).verifier
    return {
        f"{config.network}, {name}": evaluate(verifier, SPEC, claims=claims, validation_claims=claims)
        for name, verifier in found.items()
    }


def conclusion(reports: dict[str, Report]) -> str:
    """What the reader sees, in one line, from the figures."""

    def error(name: str) -> str:
        return f"{reports[name].randomised.best_response_soundness_error.value:.0%}"

    scripted = reports["mlp, imitation"].randomised.union_of_provers
    assert scripted is not None
    return (
        f"The MLP that accepts {scripted.value:.0%} of false claims from all scripted provers together accepts some message for "
        f"{error('mlp, imitation')}; more of the same leaves {error('mlp, control')}, training against the best message "
        f"{error('mlp, adversarial')}. The step check, which has the right structure built in: {error('step_check, imitation')}, "
        f"{error('step_check, control')} and {error('step_check, adversarial')}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--claims", type=int, default=200, help="false claims a row is measured on, all messages tried")
    parser.add_argument("--out", type=Path, help="folder for demo.json and demo.png")
    given = parser.parse_args()
    console, started = Console(), time.perf_counter()
    torch.set_num_threads(1)
    alone = solo(SPEC, CONFIGS["mlp"], claims=1000, progress=False)
    console.print(f"Without a prover, the MLP is right about {alone.value:.1%} of claims ({alone.low:.1%}..{alone.high:.1%}).")
    reports: dict[str, Report] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, config in CONFIGS.items():
            console.print(f"{name}: imitation, control, adversarial ...")
            reports |= rows(config, given.claims, Path(folder) / name)
    console.print(table(reports))
    console.print(conclusion(reports))
    console.print(f"{time.perf_counter() - started:.0f} s")
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        figures = {name: report.as_dict() for name, report in reports.items()}
        configs = {name: asdict(config) for name, config in CONFIGS.items()}
        result = {"provenance": provenance(), "configs": configs, "solo_accuracy": alone.as_dict(), "reports": figures}
        (given.out / "demo.json").write_text(json.dumps(result, indent=2) + "\n")
        figure(reports, given.out / "demo.png")


if __name__ == "__main__":
    main()
