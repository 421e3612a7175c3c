"""The one training loop: the phases of a config one after the other, each for as many updates as it says."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from pvg.agents import checkpoint, distributed
from pvg.agents.algorithm import Figures, named
from pvg.agents.config import TrainConfig, plain, schedule
from pvg.agents.log import FILES, Log, Row
from pvg.agents.networks import Player, ProverNetwork, VerifierNetwork
from pvg.agents.play import deal
from pvg.agents.team import Team, assemble
from pvg.game import Game
from pvg.spec import Spec

CHECKPOINT = "checkpoint.pt"

Watch = Callable[[Row, Mapping[str, Player]], None]


class Diverged(ValueError):
    """Training met a figure that is not finite."""


@dataclass(frozen=True)
class Trained:
    """What a run made: players by role, and its log.

    verifier and prover: the first of each seat; a verifier that asks is no VerifierNetwork, a protocol may have no prover.
    """

    players: dict[str, Player]
    verifier: VerifierNetwork | None
    prover: ProverNetwork | None
    history: list[Row]


def train(
    spec: Spec,
    config: TrainConfig | None = None,
    out: Path | None = None,
    *,
    resume: Path | None = None,
    progress: bool = True,
    watch: Watch | None = None,
) -> Trained:
    """Train a learned player for every role of a game.

    out: folder for metrics.csv, metrics.jsonl and checkpoint.pt. resume: a checkpoint to go on from, with the same
    network on the same game and device; the same config gives, to the bit, what an uninterrupted run does, a longer
    one goes further. watch: called whenever a row is logged, with the row and the players.
    ValueError: an `out` that holds another run, a checkpoint that does not fit, or (Diverged) a figure that is not
    finite.
    """
    config = (TrainConfig() if config is None else config).for_game(spec)
    with distributed.processes(config.device):
        first = distributed.rank() == 0
        return _train(spec, config, out if first else None, resume, progress and first, watch)


def _train(spec: Spec, config: TrainConfig, out: Path | None, resume: Path | None, progress: bool, watch: Watch | None) -> Trained:
    lanes, left = divmod(config.lanes, distributed.size())
    if left:
        raise ValueError(f"lanes={config.lanes}: not a multiple of the {distributed.size()} processes")
    game, team = Game(spec, lanes, config.device), assemble(spec, config)
    done, rows = [0] * len(config.phases), []
    if out is not None:
        checkpoint.describe(spec)
        refuse_overwriting(out, resume)
    if resume is not None:
        contents = checkpoint.load(resume)
        refuse_misfit(resume, contents, spec, config)
        team.restore(contents["state"])
        done, rows = (contents["done"] + done)[: len(done)], contents["history"]
    saved, clock = resume, time.perf_counter() - float(rows[-1]["seconds"] if rows else 0)
    with closing(Log(out, rows, config.tensorboard)) as log, _bar(progress) as bar:
        for number, phase in enumerate(config.phases):
            name = named(phase)
            shown = name if team.prover is not None else f"alone: {name}"
            line = bar.add_task(shown, total=phase.updates, completed=done[number], figures="", visible=phase.updates > 0)
            if done[number] == 0 and phase.updates > 0:
                team.memory.clear()
                phase.begin(team, game)
            for update in range(done[number], phase.updates):
                deal(game, config.seed, number, name, update)
                team.name_draws(config.seed, number, name, update)
                pace = schedule(update, phase.updates)
                figures = everywhere(phase.update(team, game, update, pace))
                refuse_non_finite(figures, name, update, saved)
                done[number], last = update + 1, update + 1 == phase.updates
                if update % config.log_every == 0 or last:
                    row: Row = {"phase": name, "update": update, "pace": pace}
                    row |= {name: float(value) for name, value in figures.items()}
                    if watch is not None:
                        watch(row, team.players)
                    log.write(row | {"seconds": round(time.perf_counter() - clock, 3)})
                    bar.update(line, figures=_live(row))
                bar.update(line, completed=update + 1)
                if (update + 1) % config.checkpoint_every == 0 or last:
                    refuse_non_finite(weight_figures(team), name, update, saved)
                    if out is not None:
                        saved = out / CHECKPOINT
                        checkpoint.save(saved, _contents(spec, config, team, done, log.rows))
    return Trained(team.players, team.verifier, team.prover, log.rows)


def everywhere(figures: Figures) -> Figures:
    """Figures of all processes, from each one's part of the means."""
    if distributed.size() == 1:
        return figures
    sums = distributed.total(torch.stack([value.double() for value in figures.values()]))
    return dict(zip(figures, sums, strict=True))


def refuse_overwriting(out: Path, resume: Path | None) -> None:
    """ValueError where `out` holds a run that is not the one resumed."""
    held = [name for name in (CHECKPOINT, *FILES) if (out / name).exists()]
    if held and (resume is None or resume.resolve().parent != out.resolve()):
        raise ValueError(f"out={out}: the folder holds another run ({', '.join(held)}); choose a new one or resume from it")


def refuse_misfit(path: Path, contents: dict[str, Any], spec: Spec, config: TrainConfig) -> None:
    """ValueError where a checkpoint is of another game, network or device, or past a phase that the config prolongs."""
    if contents["spec"] != checkpoint.describe(spec):
        raise ValueError(f"checkpoint {path}: it was trained on {contents['spec']}, not on {checkpoint.describe(spec)}")
    for name in ("network", "prover_network", "width", "prover_width", "layers", "shared", "abstain", "device"):
        had, wanted = contents["config"].get(name), getattr(config, name)
        if had != wanted:
            raise ValueError(f"checkpoint {path}: it has {name}={had!r}, and the config {wanted!r}")
    done, had = contents["done"], contents["config"]["phases"]
    begun = sum(count > 0 for count in done)
    for i, made in enumerate(done[:begun]):
        phase = config.phases[i] if i < len(config.phases) else None
        if phase is None or named(phase) != had[i]["algorithm"]:
            wanted = "no more" if phase is None else named(phase)
            raise ValueError(f"checkpoint {path}: its phase {i + 1} is {had[i]['algorithm']}, and the config's {wanted}")
        if i + 1 < begun and made < phase.updates:
            raise ValueError(
                f"{named(phase)} updates={phase.updates}: checkpoint {path} left {named(phase)} after {made} updates "
                f"and has begun {had[i + 1]['algorithm']}"
            )


def refuse_non_finite(figures: Figures, phase: str, update: int, saved: Path | None) -> None:
    """Diverged where a figure is NaN or infinite. One look at the device an update."""
    if not bool(torch.isfinite(torch.stack([value.float() for value in figures.values()])).all()):
        name, value = next((name, value) for name, value in figures.items() if not bool(value.isfinite()))
        good = f"the last good checkpoint is {saved}" if saved is not None else "no checkpoint has been written"
        raise Diverged(f"{phase} update {update}: {name} is {float(value)}; {good}")


def weight_figures(team: Team) -> Figures:
    """The sum of all weights of each player: finite only if all are."""
    sums = {role: [weights.detach().sum() for weights in player.parameters()] for role, player in team.players.items()}
    return {f"the sum of the {role}'s weights": torch.stack(parts).sum() for role, parts in sums.items()}


def _contents(spec: Spec, config: TrainConfig, team: Team, done: list[int], rows: list[Row]) -> dict[str, Any]:
    return {
        "spec": checkpoint.describe(spec),
        "config": plain(config),
        "players": {
            role.name: {"network": config.network_of(role.seat), **config.sizes_of(role.seat)}
            for role in spec.roles
            if role.name in team.learners
        },
        "state": team.state(),
        "done": list(done),
        "history": rows,
    }


def _live(row: Row) -> str:
    shown = {"accuracy": "accuracy", "accepted_true": "true accepted", "accepted_false": "false accepted"}
    losses = [f"{name.replace('_', ' ')} {value:.3f}" for name, value in row.items() if name.endswith("_loss")]
    return ", ".join(losses[:2] + [f"{text} {row[name]:.3f}" for name, text in shown.items() if name in row])


def _bar(progress: bool) -> Progress:
    columns = (
        TextColumn("{task.description}", table_column=Column(no_wrap=True, min_width=16)),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    return Progress(*columns, disable=not progress)
