"""The committed results of the benchmark are of the suite as it is, whole, and the tables made of them say what they hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from pvg.agents.networks import networks
from pvg.benchmarks.verifiers.leaderboard import load_all
from pvg.benchmarks.verifiers.report import markdown, sections
from pvg.benchmarks.verifiers.suite import suites

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "benchmarks" / "results" / "verifiers"
BOARD = load_all(FOLDER.glob("*.json"))
CORE = suites["core"]


@pytest.mark.parametrize("standing", BOARD, ids=lambda standing: standing.verifier)
def test_a_built_in_network_was_run_on_all_of_core(standing):
    assert standing.verifier in networks
    assert (standing.suite["hash"], standing.suite["whole"]) == (CORE.hash, True)
    assert "dirty" not in standing.provenance["commit"]
    assert standing.failures == ()
    played = [entry.name for entry in CORE if "refused" not in standing.games[entry.name]]
    assert sorted((r["game"], r["seed"]) for r in standing.runs) == sorted((game, seed) for game in played for seed in CORE.seeds)
    assert standing.structural or len(played) == len(CORE.entries)
    for r in standing.runs:
        assert set(r["arms"]) == {"adversarial", "control", "cpu-matched"}
        assert r["arms"]["adversarial"]["games"] == r["arms"]["control"]["games"] == r["solo"]["games"]


def test_the_committed_report_is_made_of_the_committed_files():
    text = markdown(BOARD, list(sections(BOARD)))
    assert (FOLDER / "report.md").read_text() == text


def test_the_readme_shows_the_tables_of_the_report():
    shown = (ROOT / "README.md").read_text()
    for title, _, table in sections(BOARD):
        if title in ("Verifiers", "By game", "Structural priors"):
            assert table is not None
            for row in table[1]:
                assert " | ".join(cell.replace("\n", " (") + ")" if "\n" in cell else cell for cell in row) in shown, title
