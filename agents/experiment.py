"""A verifier trained and measured: what `pvg train` does, for scripts."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from pvg.agents.attacks import seats
from pvg.agents.config import TrainConfig
from pvg.agents.evaluation import evaluate, solo_accuracy
from pvg.agents.report import Report, write
from pvg.agents.training import train
from pvg.metrics import Figure
from pvg.protocols import Solo
from pvg.spec import Spec, resolve

REPORT = "report.json"


def experiment(
    spec: Spec,
    config: TrainConfig,
    out: Path | None = None,
    *,
    claims: int = 2000,
    resume: Path | None = None,
    progress: bool = True,
) -> Report:
    """Train on statements of the train split, measure on fresh ones of the test split, and the same architecture alone.

    out: folder for the run's logs, checkpoint and report.json; one that holds another run is refused before anything is done.
    claims: how many false and how many true ones the report is about.
    """
    started = time.perf_counter()
    config = config.for_game(spec)
    seats(spec)  # refuses, before anything is trained, what no report can be made of
    if out is not None and resume is None and (out / REPORT).exists():
        raise ValueError(f"out={out}: the folder holds a report; choose a new one")
    trained = train(replace(spec, split="train"), config, out, resume=resume, progress=progress)
    report = evaluate(trained.verifier, spec, claims=claims, seed=config.seed, device=config.device, prover=trained.prover)
    if trained.prover is not None:
        report = replace(report, solo_accuracy=solo(spec, config, claims, progress))
    report = replace(report, seconds=time.perf_counter() - started)
    if out is not None:
        write(report, out / REPORT)
    return report


def solo(spec: Spec, config: TrainConfig, claims: int, progress: bool = True) -> Figure:
    """The accuracy of the same architecture without a prover, after as many games of supervised learning."""
    alone = resolve(spec.task, Solo(), split="train")
    updates = config.imitation_updates + config.adversarial_updates
    taught = replace(config, imitation_updates=updates, adversarial_updates=0, selfplay_updates=0)
    trained = train(alone, taught, progress=progress)
    return solo_accuracy(trained.verifier, alone, claims=claims, seed=config.seed, device=config.device)
