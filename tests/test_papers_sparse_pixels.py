"""Sparse-pixel debate, at tiny size: its figures are of the games it says, and claims fail where they do not hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from pvg.agents.training import Diverged
from pvg.benchmarks.papers import sparse_pixels
from pvg.benchmarks.papers.pixel_judges import Judge, at_random, learn, pool
from pvg.benchmarks.papers.sparse_pixels import CLAIMED, ORDERS, PIXELS, additive, claims_of, drawn, exact, run, searched


def test_a_judge_learns_from_random_pixels_that_are_not_dark() -> None:
    images, shows, learnt, _ = pool()
    judge = learn(images[learnt], shows[learnt], 6, 0, updates=300)
    some = at_random(images[~learnt], 6, torch.Generator().manual_seed(0))
    assert ((some > 0).sum(1) == 6).all()
    assert (judge(some).argmax(1) == shows[~learnt]).float().mean() > 0.4  # chance is 0.1
    assert not any(parameter.requires_grad for parameter in judge.parameters())


def test_a_judge_that_does_not_converge_is_a_failed_row(monkeypatch: pytest.MonkeyPatch) -> None:
    images, shows, learnt, _ = pool()
    with pytest.raises(Diverged, match="judge of 4 pixels, seed 2: loss nan"):
        learn(images[learnt] * torch.nan, shows[learnt], 4, 2, updates=2)
    monkeypatch.setattr(sparse_pixels, "learn", lambda *_: learn(images[learnt] * torch.nan, shows[learnt], 4, 2, updates=2))
    row = run(2, 4)
    assert "loss nan" in row["diverged"]
    assert not any(claims_of([row]).values())


def test_exact_play_before_an_additive_judge_is_its_closed_form() -> None:
    figures = additive(5, images=4)["figures"]
    assert figures["closed form"]["value"] == 1
    assert 0 < figures["additive, none, liar first"]["value"] < 1
    for order in ORDERS:
        assert figures[f"additive, precommitment, {order}"]["value"] == figures["additive, closed form of 4"]["value"]


@pytest.mark.parametrize("order", ORDERS)
def test_the_honest_debater_wins_where_the_judge_prefers_the_truth_to_the_lie(order: str) -> None:
    images, shows, _, _ = pool()
    threes = images[shows == 3][:2]
    for believed, lost in ((3, []), (5, [1])):  # lie j is 3 + 1 + j
        judge = Judge(64)
        torch.nn.init.zeros_(judge.layers[-1].weight)
        with torch.no_grad():
            judge.layers[-1].bias.copy_(2 * torch.eye(10)[believed] + torch.eye(10)[3])
        won, free = (searched(judge, threes, torch.tensor([3, 3]), 4, pre, order, 1, 0) for pre in (True, False))
        assert won.tolist() == [[j not in lost for j in range(9)]] * 2
        assert free.tolist() == [[believed == 3]] * 2


def test_exact_play_is_of_every_lie_and_of_none_for_both_orders() -> None:
    images, shows, learnt, _ = pool()
    won, right = exact(learn(images[learnt], shows[learnt], 4, 0, updates=200), drawn(3, 0), 4)
    assert won.shape == (3, 2, 10)
    assert 0 < right < 1
    # Whoever wins over all ten answers wins against each that is stated.
    assert (won[:, :, :-1] >= won[:, :, -1:]).all()
    assert not won.all()


def rows(**values: float) -> list[dict[str, Any]]:
    found = {"random": 0.5, "none": 0.6, "precommitment": 0.9, "form": 1.0} | values
    figures = {"random pixels": {"value": found["random"]}}
    for player in ("exact", "search"):
        for order in ORDERS:
            for arm in ("none", "precommitment"):
                figures[f"{player}, {arm}, {order}"] = {"value": found[arm]}
    form = {"judge": "additive", "seed": 0, "pixels": 4, "figures": {"closed form": {"value": found["form"]}}}
    return [form, *({"judge": "network", "seed": s, "pixels": k, "figures": figures} for s in (0, 1) for k in PIXELS)]


def test_each_claim_fails_alone() -> None:
    assert claims_of(rows()) == dict.fromkeys(CLAIMED, True)
    for name, value, claim in (
        ("none", 0.9, "precommitment_helps"),
        ("random", 0.9, "debate_beats_random"),
        ("form", 0.99, "closed_form"),
    ):
        assert [c for c, holds in claims_of(rows(**{name: value})).items() if not holds] == [claim]


def test_the_figure_is_drawn(tmp_path: Path) -> None:
    sparse_pixels.figure(rows(), tmp_path / "sparse_pixels.png")
    assert (tmp_path / "sparse_pixels.png").stat().st_size > 5000
    assert sparse_pixels.summary(rows())["6"]["random pixels"].startswith("0.5000")
