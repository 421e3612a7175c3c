"""Order of play on the erasure channel, at tiny size: ends are measured exactly, and claims fail where they do not hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from pvg.agents.networks import ProverNetwork, VerifierNetwork, build
from pvg.agents.selfplay import PPO
from pvg.agents.stackelberg import Stackelberg
from pvg.benchmarks.papers import ordering
from pvg.enumerator import Enumerator
from pvg.extensive_form import best_response, expected_return
from pvg.protocols import ProverVerifier
from pvg.spec import resolve
from pvg.tasks import ErasureChannel


def test_what_is_measured_is_what_the_exact_solver_finds() -> None:
    task = ErasureChannel(length=2, erased=1, of=4, yes=1, yes_of=3)
    spec = resolve(task, ProverVerifier())
    prover, verifier = build("mlp", spec, "prover", 1, width=8, layers=1), build("mlp", spec, "verifier", 2, width=8, layers=1)
    assert isinstance(prover, ProverNetwork)
    assert isinstance(verifier, VerifierNetwork)
    found = ordering.measure(task, prover, verifier)
    tree, players = Enumerator(spec), {"prover": prover.probabilities, "verifier": verifier.probabilities}
    best: dict[int, float] = {}
    for bit in (0, 1):
        best[bit], _ = best_response(tree, "prover", players, given=lambda state, bit=bit: bool(state["bit"][0] == bit))  # type: ignore[misc]
    assert found["completeness"] == pytest.approx(best[1], abs=1e-6)
    assert found["soundness_error"] == pytest.approx(best[0], abs=1e-6)
    paid = expected_return(tree, players)
    accepted = found["accepted_true"] / 3 + 2 * found["accepted_false"] / 3
    assert paid[0] == pytest.approx(accepted, abs=1e-6)
    # The verifier is paid 1 if right and -1 if wrong; the best possible one is right `told` of the time.
    assert 2 * found["told"] - 1 == pytest.approx(best_response(tree, "verifier", players)[0], abs=1e-6)


@torch.no_grad()
def test_a_prover_that_always_sends_ones_is_told_apart_as_the_closed_form_says() -> None:
    task = ErasureChannel(length=2)
    spec = resolve(task, ProverVerifier())
    prover, verifier = build("mlp", spec, "prover", 1, width=8, layers=1), build("mlp", spec, "verifier", 2, width=8, layers=1)
    assert isinstance(prover, ProverNetwork)
    assert isinstance(verifier, VerifierNetwork)
    last: Any = [module for module in prover.modules() if isinstance(module, torch.nn.Linear)][-1]
    last.weight.zero_()
    last.bias.copy_(torch.tensor([-30.0, 30.0]))
    found = ordering.measure(task, prover, verifier)
    assert found["told"] == pytest.approx(task.bayes_accuracy)
    assert found["accepted_true"] <= found["completeness"]


def row(arm: str, completeness: float = 1.0, soundness_error: float = 0.5, told: float = 1.0) -> dict[str, Any]:
    figures = dict.fromkeys(ordering.MEASURED, 0.5) | {
        "completeness": completeness,
        "soundness_error": soundness_error,
        "told": told,
    }
    made: dict[str, Any] = {"arm": arm, "seed": 0, "curve": {"accepted_true": [0.5, 1], "accepted_false": [0.5, 0]}, **figures}
    return made | {"end": ordering.end_of(made)}


def test_ends_are_told_apart() -> None:
    assert row("a")["end"] == "complete and sound"
    assert row("a", completeness=0.94)["end"] == row("a", soundness_error=0.56)["end"] == "other"
    assert row("a", told=0.55)["end"] == "babbling"
    assert ordering.end_of({"diverged": "nan"}) == "diverged"


def test_each_claim_fails_alone(tmp_path: Path) -> None:
    good = {"verifier leading": 1.0, "verifier leading, then prover leading": 0.5, "... then simultaneous": 0.5}
    rows = [row(arm, told=told) for arm, told in good.items() for _ in range(10)]
    assert all(ordering.claims_of(rows).values())
    for claim, (arm, _) in ordering.CLAIMS.items():
        bad = [row(arm, completeness=0.6, told=0.7) for _ in range(2)]
        held = ordering.claims_of([*[r for r in rows if r["arm"] != arm], *[r for r in rows if r["arm"] == arm][:8], *bad])
        assert [name for name, holds in held.items() if not holds] == [claim]
    assert not any(ordering.claims_of([]).values())
    rows.append({"arm": "verifier leading", "seed": 11, "diverged": "nan", "end": "diverged"})
    assert "10 complete and sound, 1 diverged | 1.000" in ordering.summary(rows)
    ordering.figure(rows, tmp_path / "ordering.png")
    assert (tmp_path / "ordering.png").stat().st_size > 5000


def test_runs_of_both_kinds_of_learning_end_in_rows() -> None:
    for phases in ((Stackelberg(2, steps=1), Stackelberg(2, "simultaneous", "sos")), (PPO(2, epochs=1),)):
        made = ordering.run("tiny", phases, 0)
        assert made["end"] in ("complete and sound", "babbling", "other")
        assert made["curve"]["accepted_true"]
