"""Emergence of proof systems, at tiny size: checks of steps are what they say, every arm learns, and each claim can fail."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pvg.agents.attacks import exhaustive
from pvg.benchmarks.papers import emergence
from pvg.benchmarks.papers.emergence import ARMS, Arm, SpareSymbols
from pvg.protocols import ProverVerifier
from pvg.spec import resolve

SPEC = resolve(SpareSymbols(operations=2, modulus=3, symbols=7), ProverVerifier())


def test_the_best_message_of_a_table_is_the_best_of_all() -> None:
    table = emergence.StepTable(SPEC, torch.Generator().manual_seed(1))
    _, statement, _ = emergence.statements(SPEC, 50, 0, "test")
    best, value = exhaustive(table, statement, (7,))
    assert torch.equal(emergence.best_messages(table, statement), best)
    assert int(best.max()) >= 3, "spare symbols can be said"
    found = emergence.measure(table, statement, torch.arange(50) % 2)
    assert found["completeness"] == pytest.approx(float(value[1::2].mean()))
    assert found["soundness_error"] == pytest.approx(float(value[::2].mean()))


def test_a_step_of_the_table_against_a_false_claim_makes_it_less_acceptable() -> None:
    table = emergence.StepTable(SPEC, torch.Generator().manual_seed(1))
    _, statement, truth = emergence.statements(SPEC, 200, 0, "test")
    heard = emergence.with_messages(statement, emergence.best_messages(table, statement)[:, None])
    before = table.log_probs(heard.packed).gather(1, truth.long()[:, None]).mean()
    emergence.learn(table, torch.optim.Adam(table.parameters(), 0.01), heard.packed, truth)
    assert table.log_probs(heard.packed).gather(1, truth.long()[:, None]).mean() > before


def test_a_prover_learns_what_is_accepted() -> None:
    table = emergence.StepTable(SPEC, torch.Generator().manual_seed(1))
    with torch.no_grad():
        table.table.mul_(20)  # some messages are much better than others
    stated, statement, _ = emergence.statements(SPEC, 400, 0, "test")
    prover = emergence.LearnedProver(SPEC, Arm(prover="mlp"), 0)
    accepted = []
    for _ in range(2):
        accepted.append(float(table.verdict(statement, prover.say(stated)[:, None]).mean()))
        for _ in range(60):
            prover.improve(table, stated, statement)
    assert accepted[1] > 1.3 * accepted[0]


@pytest.mark.parametrize("name", list(ARMS))
def test_every_arm_learns_and_is_measured(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emergence, "POOL", 300)
    monkeypatch.setattr(emergence, "TESTS", 100)
    arm = replace(ARMS[name], updates=25)
    row = emergence.run(name, arm, 0)
    again = emergence.run(name, arm, 0)
    assert {**row, "cpu_seconds": 0} == {**again, "cpu_seconds": 0}
    assert [stage["steps"] for stage in row["stages"]] == [arm.steps[0]]  # 25 updates are too few to go on
    assert row["stages"][0]["updates"] == 25
    assert row["reached"] == 0


def test_a_seed_goes_on_with_what_it_has_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[float] = []

    def stage(arm: Arm, verifier: emergence.StepTable, *_: Any) -> tuple[int, dict[str, float]]:
        found.append(float(verifier.table.detach().mean()))
        with torch.no_grad():
            verifier.table.add_(1)
        return 25, {"completeness": 1.0, "soundness_error": 0.0}

    monkeypatch.setattr(emergence, "TESTS", 100)
    monkeypatch.setattr(emergence, "stage", stage)
    row = emergence.run("any", Arm(), 0)
    assert found == pytest.approx([found[0] + k for k in range(5)], abs=1e-4)
    assert [each["steps"] for each in row["stages"]] == [2, 3, 4, 5, 6]
    assert row["reached"] == 6


def rows(whole: int = 9, bare: int = 1) -> list[dict[str, Any]]:
    names = list(ARMS)[2:4]
    ends = {"completeness": 0.9, "soundness_error": 0.1, "stages": [{"steps": 2, "updates": 50}]}
    return [
        {"arm": name, "seed": seed, "reached": 6 if seed < count else 5, **ends}
        for name, count in zip(names, (whole, bare), strict=True)
        for seed in range(10)
    ]


def test_each_claim_fails_alone() -> None:
    assert emergence.claims_of(rows()) == dict.fromkeys(emergence.CLAIMED, True)
    assert emergence.claims_of(rows(whole=8)) == {emergence.CLAIMED[0]: False, emergence.CLAIMED[1]: True}
    assert emergence.claims_of(rows(bare=2)) == {emergence.CLAIMED[0]: True, emergence.CLAIMED[1]: False}
    assert not any(emergence.claims_of([]).values())


def test_the_figure_and_the_table_are_made(tmp_path: Path) -> None:
    emergence.figure(rows(), tmp_path / "emergence.png")
    assert (tmp_path / "emergence.png").stat().st_size > 5000
    assert "9 of 10 | 2 steps | 50 to 50 | 0.900 [0.900, 0.900]" in emergence.summary(rows())
