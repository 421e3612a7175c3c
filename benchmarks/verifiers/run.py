"""The benchmark: every verifier on every game of a suite, tuned, then trained and measured for every seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pvg.agents.checkpoint import describe
from pvg.agents.networks import build
from pvg.benchmarks.provenance import provenance
from pvg.benchmarks.verifiers.arms import compete, measure_box, tune
from pvg.benchmarks.verifiers.contestant import Contestant
from pvg.benchmarks.verifiers.leaderboard import CONTROL, TIMED, Standing, described, file_of, save
from pvg.benchmarks.verifiers.suite import Entry, Suite
from pvg.benchmarks.verifiers.sweep import Done, Failed, Job, Sweep
from pvg.judging import judge_of


def benchmark(verifiers: Sequence[str], suite: Suite, out: Path, sweep: Sweep) -> list[Standing]:
    """Measure verifiers on a suite, and write a file for each into `out`; jobs done before are not done again.

    Whatever fails is in the files, and the others go on. ValueError: a name that stands for no verifier.
    """
    contestants = [Contestant(name) for name in dict.fromkeys(verifiers)]
    origin = provenance()
    refused = {c.name: _refused(c, suite) for c in contestants}  # a name that is none is noticed here, before anything is run
    out.mkdir(parents=True, exist_ok=True)
    playing = [(c, entry) for c in contestants for entry in suite if entry.name not in refused[c.name]]
    tuning = {(c.name, e.name): _job(tune, c, e, suite, origin) for c, e in playing if c.trained}
    tuned = sweep.run(list(tuning.values()))
    runs: dict[tuple[str, str, int], Job] = {}
    for c, e in playing:
        for seed in suite.seeds:
            if not c.trained:
                runs[c.name, e.name, seed] = _job(measure_box, c, e, suite, origin, seed=seed)
            elif not isinstance(found := tuned[tuning[c.name, e.name].key], Failed):
                runs[c.name, e.name, seed] = _job(compete, c, e, suite, origin, seed=seed, tuned=found)
    done = sweep.run(list(runs.values()))
    standings = []
    for c in contestants:
        games: dict[str, Any] = {e.name: {"task": str(e.task), "kind": e.kind} for e in suite}
        for name, reason in refused[c.name].items():
            games[name]["refused"] = reason
        failures = []
        for (name, game), job in tuning.items():
            if name == c.name:
                found = tuned[job.key]
                if isinstance(found, Failed):
                    failures.append({"game": game, "seed": None, "error": found.error, "traceback": found.traceback})
                else:
                    games[game] |= found
        made, failed = _runs(c, runs, done, suite)
        standing = Standing(c.name, c.about, c.structural, described(suite), origin, games, tuple(made), (*failures, *failed))
        save(out / file_of(c.name), standing)
        standings.append(standing)
    return standings


def _job(function: Any, contestant: Contestant, entry: Entry, suite: Suite, origin: dict[str, str], **more: Any) -> Job:
    """A job, named by all that decides its result: the verifier and its source, the game, the budgets, the versions and commit."""
    budgets = {name: value for name, value in asdict(suite).items() if name not in ("name", "entries", "seeds")}
    game = describe(entry.spec) | {"imitation": entry.imitation, "adversarial": entry.adversarial}
    content = {"verifier": contestant.name, "source": contestant.source, "game": game, "budgets": budgets, "origin": origin, **more}
    label = " ".join([contestant.name, entry.name, *(f"seed {more[name]}" for name in ("seed",) if name in more)])
    return Job(label, function, (contestant.name, entry, suite, *more.values()), content)


def _refused(contestant: Contestant, suite: Suite) -> dict[str, str]:
    """The games that a verifier with a structural prior is not made for, and why."""
    reasons: dict[str, str] = {}
    if contestant.trained and contestant.structural:
        for entry in suite:
            try:
                build(contestant.name, entry.spec, entry.spec.roles[judge_of(entry.spec)].name)
            except ValueError as error:
                reasons[entry.name] = str(error)
    return reasons


def _runs(
    contestant: Contestant, runs: dict[tuple[str, str, int], Job], done: Done, suite: Suite
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What a verifier's runs came to, and those that failed. Games to look at are kept of the first seed alone."""
    made, failed = [], []
    for (name, game, seed), job in runs.items():
        if name != contestant.name:
            continue
        found = done[job.key]
        if isinstance(found, Failed):
            failed.append({"game": game, "seed": seed, "error": found.error, "traceback": found.traceback})
            continue
        arms = {arm: dict(figures) for arm, figures in found["arms"].items()}
        for arm, figures in arms.items():
            if seed != suite.seeds[0] or arm in (CONTROL, TIMED):
                del figures["examples"]
        made.append({"game": game, "seed": seed, **found, "arms": arms})
    return made, failed
