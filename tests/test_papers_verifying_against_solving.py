"""Verifying against solving, at tiny size: a judge is trained and measured in every arm, and claims fail where they do not hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from pvg.benchmarks.papers import verifying_against_solving as experiment
from pvg.game import Game
from pvg.spec import resolve
from pvg.tasks.word_problem import ELEMENTS


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
        ({"solo_mlp_3_2": 0.6}, "alone_at_chance"),
        ({"proof_mlp_2_2": 0.9}, "proof_of_two"),
        ({"bisection_mlp_3_16": 0.9}, "bisection_at_any_length"),
        ({"proof_step_check_2_16": 0.9}, "steps_at_any_length"),
    ):
        assert [name for name, holds in experiment.claims_of(rows(**wrong)).items() if not holds] == [claim]
    assert not any(experiment.claims_of([*rows(), {"diverged": "nan"}]).values())


def test_the_figure_is_drawn(tmp_path: Path) -> None:
    experiment.figure(rows(), tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 5000


def test_the_judge_of_a_bisection_sees_of_the_word_the_element_in_dispute_alone() -> None:
    spec = resolve(experiment.LastStep(length=8), experiment.PROTOCOLS["bisection"])
    game = Game(spec, 300, seed=3)
    game.advance(game.players(seat="verifier"), seat="verifier")
    seen, element = game.observe("verifier"), game.field("element")
    assert "element" not in [column.field.name for column in seen.view]
    before, disputed, after = (seen[name] for name in ("before", "disputed", "after"))
    right = torch.from_numpy(ELEMENTS)[disputed.long(), before.long()] == after
    assert torch.equal(right, game.field("truth") == 1)
    assert bool((disputed[:, None] == element).any(1).all())
    which = (disputed[:, None] == element).int().argmax(1)
    assert which.unique().numel() == 8
