"""The question in three minutes: does a verifier that rejects every scripted lie also reject the best one?

    python -m pvg.benchmarks.demo            (add --out FOLDER to keep demo.json and demo.png)

Two architectures learn to judge transcripts of five-operation Arith from honest and dishonest provers (imitation). Each then
goes on twice from the same weights, for the same number of updates: with more of the same (the control), or against the best
message that the search finds for false claims (adversarial). Every row is measured on the same fresh statements, exactly:
every message tried, or dynamic programming over steps. One seed: `pvg.benchmarks.training` has ten.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console

from pvg.agents.adversarial import Adversarial
from pvg.agents.config import TrainConfig, plain
from pvg.agents.evaluation import evaluate
from pvg.agents.experiment import solo
from pvg.agents.imitation import Imitation
from pvg.agents.report import Report, figure, table
from pvg.agents.training import CHECKPOINT, Trained, train
from pvg.benchmarks.provenance import provenance
from pvg.metrics import Figure
from pvg.protocols import ProverVerifier
from pvg.spec import resolve
from pvg.tasks import Arith

SPEC = resolve(Arith(operations=5), ProverVerifier(), split="train")

MLP = TrainConfig(
    network="mlp",
    learning_rate=2e-3,
    lanes=512,
    phases=(Imitation(updates=5000, seats="verifier"), Adversarial(updates=1500)),
)
STEP_CHECK = TrainConfig(phases=(Imitation(updates=300, seats="verifier"), Adversarial(updates=150)))


def rows(config: TrainConfig, claims: int) -> dict[str, Report]:
    """Imitation, then control and adversarial training from the same checkpoint."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        imitation, adversarial = config.phases
        assert isinstance(adversarial, Adversarial)
        found = {"imitation": train(SPEC, replace(config, phases=(imitation,)), folder / "imitation", progress=False)}
        for kind, share in (("control", 0.0), ("adversarial", adversarial.share)):
            onward = replace(config, phases=(imitation, replace(adversarial, share=share)))
            found[kind] = train(SPEC, onward, folder / kind, resume=folder / "imitation" / CHECKPOINT, progress=False)
    return {f"{config.for_game(SPEC).network}, {kind}": measured(run, claims) for kind, run in found.items()}


def measured(trained: Trained, claims: int) -> Report:
    """The report of what training made."""
    assert trained.verifier is not None
    return evaluate(trained.verifier, SPEC, claims=claims)


def alone(config: TrainConfig, claims: int) -> Figure:
    """The accuracy of the architecture without a prover, after as many games."""
    torch.set_num_threads(1)
    return solo(SPEC, config, claims, progress=False)


def conclusion(reports: dict[str, Report]) -> str:
    """What the reader sees, in one line, from the figures."""

    def error(name: str) -> str:
        return f"{reports[name].randomised.best_response_soundness_error.value:.0%}"

    scripted = reports["mlp, imitation"].randomised.union_of_provers
    assert scripted is not None, "the protocol has a prover"
    return (
        f"The MLP lets the scripted provers through on {scripted.value:.0%} of false claims, but accepts some message for "
        f"{error('mlp, imitation')}; more of the same training leaves {error('mlp, control')}, training against the best "
        f"message {error('mlp, adversarial')}. The step check, with the right structure built in: "
        f"{error('step_check, imitation')}, {error('step_check, control')}, {error('step_check, adversarial')}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--claims", type=int, default=500, help="false claims a row is measured on")
    parser.add_argument("--out", type=Path, help="folder for demo.json and demo.png")
    given = parser.parse_args()
    console, started, made_by = Console(), time.perf_counter(), provenance()
    console.print("Training an MLP, alone and with a prover, and a step check; two processes, about two minutes ...")
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        mlp, unaided_mlp = pool.submit(rows, MLP, given.claims), pool.submit(alone, MLP, 1000)
        step_check = pool.submit(rows, STEP_CHECK, given.claims)
        reports, unaided = mlp.result() | step_check.result(), unaided_mlp.result()
    console.print(f"Without a prover the MLP is right about {unaided.value:.1%} of claims ({unaided.low:.1%}..{unaided.high:.1%}).")
    console.print(table(reports))
    console.print(conclusion(reports))
    console.print(f"{time.perf_counter() - started:.0f} s")
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        configs = {str(config.network): plain(config) for config in (MLP, STEP_CHECK)}
        figures = {name: report.as_dict() for name, report in reports.items()}
        result = {"provenance": made_by, "configs": configs, "solo_accuracy": unaided.as_dict(), "reports": figures}
        (given.out / "demo.json").write_text(json.dumps(result, indent=2) + "\n")
        figure(reports, given.out / "demo.png")


if __name__ == "__main__":
    main()
