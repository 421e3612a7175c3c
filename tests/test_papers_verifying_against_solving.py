"""Verifying against solving, at tiny size: a judge is trained and measured in every arm, and claims fail where they do not hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pvg.benchmarks.papers import verifying_against_solving as experiment


@pytest.mark.parametrize("arm", list(experiment.PROTOCOLS))
def test_a_judge_of_every_arm_is_trained_and_measured(arm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment, "UPDATES", 3)
    monkeypatch.setattr(experiment, "LANES", 32)
    monkeypatch.setattr(experiment, "GAMES", 400)
    row = experiment.run(arm, "mlp", 1, 2, seed=1)
    assert 0.35 < row["accuracy"] < 0.65


def rows(**accuracy: float) -> list[dict[str, Any]]:
    """Every cell with its seed, as claimed but for the cells named ARM_NETWORK_LAYERS_LENGTH."""
    found = []
    for arm, network, layers, length in experiment.cells():
        usual = 0.5 if arm == "solo" else 1.0
        value = accuracy.get(f"{arm}_{network}_{layers}_{length}", usual)
        found.append({"arm": arm, "network": network, "layers": layers, "length": length, "seed": 0, "accuracy": value})
    return found


def test_each_claim_fails_alone() -> None:
    assert all(experiment.claims_of(rows()).values())
    for wrong, claim in (
        ({"solo_mlp_4_4": 0.6}, "alone_at_chance"),
        ({"proof_mlp_2_2": 0.9}, "proof_of_two"),
        ({"solo_mlp_2_2": 0.9}, "proof_of_two"),
        ({"proof_step_check_2_16": 0.9}, "steps_at_any_length"),
    ):
        assert [name for name, holds in experiment.claims_of(rows(**wrong)).items() if not holds] == [claim]
    assert not any(experiment.claims_of([*rows(), {"diverged": "nan"}]).values())


def test_the_figure_is_drawn(tmp_path: Path) -> None:
    experiment.figure(rows(), tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 5000
