"""Self-proving GCD, at tiny size: arms are trained and measured, the honest prover measures 1, claims can fail."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pvg.benchmarks.papers import self_proving_gcd as experiment
from pvg.tasks import GCD


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment, "TASK", GCD(limit=9, base=10, annotation=1))
    monkeypatch.setattr(experiment, "BASE", 4)
    monkeypatch.setattr(experiment, "MORE", 2)
    monkeypatch.setattr(experiment, "LANES", 8)
    monkeypatch.setattr(experiment, "PAIRS", 50)


@pytest.mark.usefixtures("small")
def test_all_arms_of_a_seed_are_trained_and_measured() -> None:
    found = experiment.run(seed=1)
    assert [row["arm"] for row in found] == list(experiment.ARMS)
    assert all(0 <= row["canonical"] <= row["accepted"] <= row["correct"] <= 1 for row in found)
    assert len({tuple(row[name] for name in experiment.MEASURED) for row in found}) > 2
    assert set(experiment.claims_of(found)) == set(experiment.CLAIMED)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("arm", ["transcripts", "annotated"])
def test_the_honest_prover_is_always_right_and_canonical_and_who_errs_is_half_the_time(arm: str) -> None:
    spec = replace(experiment.game_of(arm), split="test")
    assert set(experiment.measured("honest", spec, 0).values()) == {1.0}
    told = experiment.measured("dishonest", spec, 0)
    assert 0.3 < told["canonical"] == told["accepted"] == told["correct"] < 0.7


def rows(**shares: tuple[float, float, float]) -> list[dict[str, Any]]:
    """Two seeds of every arm, as claimed but for the arms named."""
    usual = {"plain": (0.95, 0.0, 0.0), "transcripts": (0.8, 0.4, 0.4), "rlvf": (0.8, 0.6, 0.6), "annotated": (0.8, 0.7, 0.7)}
    found = []
    for arm in experiment.ARMS:
        measured = {**usual, **shares}.get(arm, (0.8, 0.5, 0.5))
        found += [{"arm": arm, "seed": seed, **dict(zip(experiment.MEASURED, measured, strict=True))} for seed in (0, 1)]
    return found


def test_each_claim_fails_alone() -> None:
    assert all(experiment.claims_of(rows()).values())
    for wrong, claim in (
        ({"plain": (0.85, 0.0, 0.0)}, "answers_are_easier_than_proofs"),
        ({"transcripts": (0.8, 0.6, 0.6)}, "feedback_improves"),
        ({"more_transcripts": (0.8, 0.65, 0.65)}, "feedback_beats_transcripts"),
        ({"annotated": (0.8, 0.5, 0.5)}, "annotation_improves"),
        ({"expert_iteration": (0.8, 0.5, 0.45)}, "accepted_is_hardly_more_than_canonical"),
    ):
        assert [name for name, holds in experiment.claims_of(rows(**wrong)).items() if not holds] == [claim]
    assert not any(experiment.claims_of([*rows(), {"diverged": "nan"}]).values())


def test_the_figure_is_drawn(tmp_path: Path) -> None:
    experiment.figure(rows(), tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 5000
