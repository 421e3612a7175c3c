"""The calibrated red team, at tiny size: what is missed is what the exact error says, and claims fail where they do not hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pvg.benchmarks.papers import red_team
from pvg.protocols import ProverVerifier
from pvg.spec import resolve
from pvg.tasks import Arith


@pytest.fixture
def row(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setitem(red_team.UPDATES, "mlp", 20)
    spec = resolve(Arith(operations=3, modulus=3), ProverVerifier())
    return red_team.run("mlp", 3, 30, spec, budget=200, games=256)


def test_an_attack_that_can_try_every_message_misses_nothing(row: dict[str, Any]) -> None:
    assert row["budgets"] == [100, 200]
    assert {"beam", "coordinates", "gradient", "learned", "random"} <= set(row["missed"])
    # Of nine messages; a random draw of a hundred has them all, and nobody finds one better than the best.
    assert row["missed"]["coordinates"][-1] == row["missed"]["random"][-1] == row["missed"]["all"][-1] == 0
    assert min(left for curve in row["missed"].values() for left in curve) >= 0
    assert 0 < row["exact"] <= 1


def rows(**missed: float) -> list[dict[str, Any]]:
    found = {red_team.ONCE: 0.5, red_team.VERDICTS: 0.0, "coordinates": 0.0} | missed
    return [
        {"network": n, "seed": 0, "exact": 0.9, "budgets": [100], "missed": {k: [v] for k, v in found.items()}}
        for n in ("mlp", "gru")
    ]


def test_each_claim_fails_alone() -> None:
    assert all(red_team.claims_of(rows()).values())
    for name, value, claim in (
        (red_team.ONCE, 0.2, "one_message_each_misleads"),
        ("coordinates", 0.06, "searches_close_in"),
        (red_team.VERDICTS, 0.03, "verdicts_suffice"),
    ):
        held = red_team.claims_of(rows(**{name: value}))
        assert [name for name, holds in held.items() if not holds] == [claim]


def test_a_diverged_run_is_a_failure_of_every_claim() -> None:
    assert not any(red_team.claims_of([*rows(), {"network": "mlp", "seed": 1, "diverged": "nan"}]).values())


def test_the_figure_is_drawn(tmp_path: Path) -> None:
    red_team.figure(rows(), tmp_path / "red_team.png")
    assert (tmp_path / "red_team.png").stat().st_size > 5000
    assert red_team.summary(rows())["gru"]["exact error"].startswith("0.9000")
