"""A verifier trained and measured: what `pvg train` does, for scripts."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

from pvg.agents import distributed
from pvg.agents.adversarial import Adversarial
from pvg.agents.attacks import seats
from pvg.agents.config import TrainConfig
from pvg.agents.evaluation import evaluate, solo_accuracy
from pvg.agents.imitation import Imitation
from pvg.agents.networks import VerifierNetwork
from pvg.agents.report import Report, write
from pvg.agents.training import Trained, train
from pvg.frozen import record
from pvg.game import Game
from pvg.metrics import Figure, Played
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
) -> Report | Played:
    """Train on statements of the train split, measure on fresh ones of the test split, and the same architecture alone.

    Where the verdict follows one prover's messages the report is of attacks, elsewhere of games the learned players play. Under
    `torchrun` processes train together; then each makes the same report, and the first writes it.
    out: folder for the run's logs, checkpoint and report.json; one that holds another run is refused before anything is done.
    claims: how many false and how many true ones the report is about, or how many games.
    """
    started = time.perf_counter()
    config = config.for_game(spec)
    if out is not None and resume is None and (out / REPORT).exists():
        raise ValueError(f"out={out}: the folder holds a report; choose a new one")
    searched = unsearched(spec) is None
    with distributed.processes(config.device):
        out = out if distributed.rank() == 0 else None
        trained = train(replace(spec, split="train"), config, out, resume=resume, progress=progress)
        alone = train_solo(spec, config, progress) if searched and trained.prover is not None else None
    if not searched:
        found = played(trained, spec, config, claims)
        if out is not None:
            (out / REPORT).write_text(json.dumps(found.as_dict(), indent=2, allow_nan=False) + "\n")
        return found
    assert trained.verifier is not None, "a verifier that hears one message and decides only judges"
    report = evaluate(trained.verifier, spec, claims=claims, seed=config.seed, device=config.device, prover=trained.prover)
    if alone is not None:
        report = replace(report, solo_accuracy=_accuracy(alone, config, claims))
    report = replace(report, seconds=time.perf_counter() - started)
    if out is not None:
        write(report, out / REPORT)
    return report


def unsearched(spec: Spec) -> str | None:
    """Why no best response can be searched for; None where it can."""
    try:
        seats(spec)
    except ValueError as error:
        return str(error)
    return None


def played(trained: Trained, spec: Spec, config: TrainConfig, games: int) -> Played:
    """What becomes of games on test statements that learned players play with each other."""
    game = Game(replace(spec, split="test"), games, config.device, config.seed)
    for role, player in trained.players.items():
        player.generator.manual_seed(config.seed + spec.role_index(role))
    return record(game, game.players(trained.players)).measured(config.seed)


def solo(spec: Spec, config: TrainConfig, claims: int, progress: bool = True) -> Figure:
    """The accuracy of the same architecture without a prover, after as many games of supervised learning."""
    return _accuracy(train_solo(spec, config, progress), config, claims)


def train_solo(spec: Spec, config: TrainConfig, progress: bool = True) -> VerifierNetwork:
    """The same architecture without a prover, after as many games of supervised learning."""
    alone = resolve(spec.task, Solo(), split="train")
    updates = sum(phase.updates for phase in config.phases if isinstance(phase, Imitation | Adversarial))
    trained = train(alone, replace(config, phases=(Imitation(updates=updates),)), progress=progress)
    assert trained.verifier is not None, "alone it only judges"
    return trained.verifier


def _accuracy(alone: VerifierNetwork, config: TrainConfig, claims: int) -> Figure:
    return solo_accuracy(alone, alone.spec, claims=claims, seed=config.seed, device=config.device)
