"""One file a verifier: what it is, what it was measured on and by what, and every run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pvg.benchmarks.verifiers.scores import Scores
from pvg.benchmarks.verifiers.suite import Suite, suites

FORMAT = "prover-verifier-games leaderboard"
FAILED = -1.0  # J of a run that failed: nothing true accepted, everything false
MAIN, CONTROL, TIMED, BOX = "adversarial", "control", "cpu-matched", "as it is"


@dataclass(frozen=True)
class Standing:
    """A verifier's file.

    suite: name, version, hash, games and seeds. games: by name, its size, cost and tuning there, or why it refused. runs: one a
    game and seed. failures: what else was to be run, and the error.
    """

    verifier: str
    about: str
    structural: bool
    suite: Mapping[str, Any]
    provenance: Mapping[str, str]
    games: Mapping[str, Mapping[str, Any]]
    runs: tuple[Mapping[str, Any], ...]
    failures: tuple[Mapping[str, Any], ...]

    @property
    def main(self) -> str:
        """The arm it is ranked by: adversarial training; a black box is as it is."""
        return BOX if any(BOX in run["arms"] for run in self.runs) else MAIN

    def exact(self, game: str) -> bool:
        """Whether its best responses are known there, in all runs of the arm it is ranked by."""
        found = [run["arms"][self.main]["exact"] for run in self.runs if run["game"] == game]
        return bool(found) and all(found)

    def scores(self, arm: str | None = None, figure: str = "J", exact: bool | None = None) -> dict[str, list[float]]:
        """A figure of an arm by game, one a seed; of the games whose best responses are known, are not, or all. J of a failed run
        is FAILED.
        """
        found: dict[str, list[float]] = {}
        for run in self.runs:
            if (arm or self.main) in run["arms"] and exact in (None, self.exact(run["game"])):
                found.setdefault(run["game"], []).append(run["arms"][arm or self.main][figure]["value"])
        if figure == "J":
            for failure in self.failures:
                if exact in (None, self.exact(failure["game"])):
                    seeds = self.suite["seeds"] if failure["seed"] is None else [failure["seed"]]
                    found.setdefault(failure["game"], []).extend([FAILED] * len(seeds))
        return found

    def solo(self) -> Scores:
        """Accuracy without a prover, by game, one a seed."""
        found: dict[str, list[float]] = {}
        for run in self.runs:
            if run["solo"] is not None:
                found.setdefault(run["game"], []).append(run["solo"]["accuracy"]["value"])
        return found

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"format": FORMAT, **vars(self)}


def file_of(verifier: str) -> str:
    """The name of a verifier's file."""
    return re.sub(r"[^\w.-]", "_", verifier) + ".json"


def save(path: Path, standing: Standing) -> None:
    """Write a verifier's file, in one piece or not at all."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(standing.as_dict(), allow_nan=False) + "\n")
    part.replace(path)


def load(path: Path) -> Standing:
    """A verifier's file. ValueError: it is none, or was made on another version of its suite than the one there is now."""
    try:
        held = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: it cannot be read ({error})") from error
    if not isinstance(held, dict) or held.pop("format", None) != FORMAT:
        raise ValueError(f"{path}: it is no leaderboard file")
    made = held["suite"]
    if made["name"] in suites and made["whole"]:
        now = suites[made["name"]]
        if (made["version"], made["hash"]) != (now.version, now.hash):
            raise ValueError(
                f"{path}: made on suite {_named(made)}, and this is {_named(described(now))}; what was measured on one does not "
                "compare with the other: run `pvg benchmark verifiers` again"
            )
    return Standing(**{**held, "runs": tuple(held["runs"]), "failures": tuple(held["failures"])})


def load_all(paths: Iterable[Path]) -> list[Standing]:
    """The files of one suite, in order of their names. ValueError: none, or one of another suite than the first, by name."""
    found = {path: load(path) for path in sorted(paths)}
    if not found:
        raise ValueError("no leaderboard files there: `pvg benchmark verifiers --out FOLDER` writes them")
    first, *others = found.items()
    for path, standing in others:
        if standing.suite["hash"] != first[1].suite["hash"]:
            told = f"{path} was made on suite {_named(standing.suite)}, and {first[0]} on {_named(first[1].suite)}"
            raise ValueError(f"{told}: what was measured on one does not compare with the other")
    return list(found.values())


def described(suite: Suite) -> dict[str, Any]:
    """What a file says of its suite. whole: whether it is the registered one, and not some of its games or other budgets."""
    whole = suite.name in suites and suites[suite.name] == suite
    games = [entry.name for entry in suite]
    return {
        "name": suite.name,
        "version": suite.version,
        "hash": suite.hash,
        "whole": whole,
        "games": games,
        "seeds": list(suite.seeds),
        "queries": suite.queries,
        "attacked": suite.attacked,
    }


def _named(suite: Mapping[str, Any]) -> str:
    part = "" if suite["whole"] else " (part of it)"
    return f"{suite['name']} version {suite['version']}{part} with hash {suite['hash']}"
