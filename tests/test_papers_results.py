"""Committed results of the experiments: their claims follow from their rows, and the README shows every one."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

PAPERS = Path(__file__).parents[1] / "benchmarks" / "papers"
NAMES = sorted(path.stem for path in PAPERS.glob("*.py") if "def claims_of" in path.read_text())
README = (PAPERS / "README.md").read_text()


def result(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((PAPERS / "results" / f"{name}.json").read_text())
    return found


def test_all_nine_are_here() -> None:
    assert len(NAMES) == 9


@pytest.mark.parametrize("name", NAMES)
def test_what_is_said_to_hold_follows_from_the_rows(name: str) -> None:
    held = result(name)
    experiment = import_module(f"pvg.benchmarks.papers.{name}")
    assert experiment.claims_of(held["rows"]) == held["claims"]
    assert experiment.__doc__ is not None
    assert all(f"`{claim}`" in experiment.__doc__ for claim in held["claims"]), "a claim is stated at the top of its file"
    assert "dirty" not in held["provenance"]["commit"], "it was measured with committed code"


@pytest.mark.parametrize("name", NAMES)
def test_the_readme_shows_it(name: str) -> None:
    assert f"results/{name}.png" in README
    assert (PAPERS / "results" / f"{name}.png").exists()


def test_the_readme_counts_the_claims() -> None:
    claims = [held for name in NAMES for held in result(name)["claims"].values()]
    assert f"Of the claims {sum(claims)} of {len(claims)} held" in README
