"""Checkability rounds, at tiny size: every arm is trained and attacked, and each claim can fail."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pvg.agents import checkability as algorithm
from pvg.benchmarks.papers import checkability
from pvg.protocols import HelpfulSneaky
from pvg.spec import resolve
from pvg.tasks import Arith


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(algorithm, "TRANSCRIPTS", 32)
    monkeypatch.setattr(checkability, "SPEC", resolve(Arith(operations=2, modulus=3), HelpfulSneaky()))
    monkeypatch.setattr(checkability, "TEACH", replace(checkability.TEACH, updates=2))
    monkeypatch.setattr(checkability, "ROUNDS", replace(checkability.ROUNDS, updates=16, verifier_updates=2, samples=2))
    monkeypatch.setattr(checkability, "ATTACKER", replace(checkability.ATTACKER, samples=2))
    monkeypatch.setattr(checkability, "LIMIT", 2)
    ours = checkability.config
    monkeypatch.setattr(checkability, "config", lambda arm, seed: replace(ours(arm, seed), lanes=16))


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("arm", ["src", "cgc, verifier of width 4"])
def test_an_arm_is_trained_and_attacked(arm: str) -> None:
    row = checkability.run(arm, 0)
    for name in (*checkability.ENDED, "attack_updates"):
        assert len(row[name]) == 4, "a figure a round"
    assert all(updates in (None, 0, 1, 2) for updates in row["attack_updates"])
    assert row == {**checkability.run(arm, 0), "cpu_seconds": row["cpu_seconds"]}


def test_arms_differ_in_what_they_say() -> None:
    made = {arm: checkability.config(arm, 0) for arm in checkability.ARMS}
    assert {config.phases[1].reward for config in made.values()} == {"src", "cgc"}  # type: ignore[attr-defined]
    assert {config.width for config in made.values()} == {4, 16, 64, 256}
    assert {config.prover_width for config in made.values()} == {64}


def rows(**changes: Any) -> list[dict[str, Any]]:
    """Of two seeds, in which all claims hold but for what is changed of an arm."""
    found = []
    for arm, separability in (("src", 0.6), ("cgc", 0.9)):
        for seed in (0, 1):
            row = {"arm": arm, "seed": seed, "separability": [0.9, 0.9, 0.9, separability], "attack_updates": [10, 20, 30, None]}
            row |= dict.fromkeys(checkability.ENDED[1:], [0.5] * 4)
            found.append(row | changes.get(arm, {}))
    return found


def test_each_claim_fails_alone() -> None:
    assert all(checkability.claims_of(rows()).values())
    for arm, change, claim in (
        ("src", {"separability": [0.9] * 4}, "cgc_roles_are_told_apart"),
        ("src", {"attack_updates": [10, 20, 30, 10]}, "src_rounds_harden"),
        ("cgc", {"attack_updates": [None, 20, 30, 90]}, "cgc_rounds_harden"),
    ):
        held = checkability.claims_of(rows(**{arm: change}))
        assert [name for name, holds in held.items() if not holds] == [claim]
    assert not any(checkability.claims_of([*rows(), {"arm": "src", "diverged": "loss is nan"}]).values())


def test_the_figure_and_the_table_are_made(tmp_path: Path) -> None:
    checkability.figure(rows(), tmp_path / "checkability.png")
    assert (tmp_path / "checkability.png").stat().st_size > 5000
    assert "| src | 10, 20, 30, 150 | 0, 0, 0, 2 of 2 | 0.90, 0.90, 0.90, 0.60 |" in checkability.summary(rows())
