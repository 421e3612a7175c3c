"""Evaluations of verifiers whose figures are known, and what people and programs get to see of them."""

from __future__ import annotations

import io
import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from pvg.agent import Observation, Utterance, find_agent
from pvg.agents.attacks import StepChecking
from pvg.agents.evaluation import Outcome, Search, deal, evaluate, solo_accuracy, strongest
from pvg.agents.report import Report, figure, table, write
from pvg.metrics import NonFiniteVerdict, clopper_pearson
from pvg.protocols import ProverVerifier, Solo
from pvg.spec import resolve
from pvg.tasks.arith import Arith
from pvg.verifier import BlackBox, Constant, ScriptedVerifier, Verifier

SPEC = resolve(Arith(), ProverVerifier())
SOLO = resolve(Arith(), Solo())
N = 120
PROVERS = ["random", "several_wrong_steps", "consistent_backwards", "true_transcript", "one_wrong_step"]


def right(statement: Observation, messages: Tensor) -> Tensor:
    """Which steps hold: `B K step`."""
    op, x = statement["op"].long()[:, None], statement["x"].long()[:, None]
    start, claim = (statement[name].long()[:, None, None].expand(-1, messages.shape[1], 1) for name in ("start", "claim"))
    states = torch.cat([start, messages.long(), claim], dim=2)
    return (states[:, :, :-1] + torch.where(op == 0, x, -x)) % 5 == states[:, :, 1:]


def strict(statement: Observation, messages: Tensor) -> Tensor:
    return right(statement, messages).all(dim=2).float()


def careless(statement: Observation, messages: Tensor) -> Tensor:
    """Does not look at step 3 where its operand is 0: sound but for the claims that have one, a fifth of them."""
    holds = right(statement, messages)
    holds[:, :, 3] |= (statement["x"][:, 3] == 0)[:, None]
    return holds.all(dim=2).float()


def password(statement: Observation, messages: Tensor) -> Tensor:
    """Takes one message for a proof of everything: hardly a scripted prover says it, and it argues every claim."""
    return strict(statement, messages).maximum((messages == torch.tensor([3, 1, 4, 1, 0])).all(dim=2).float())


def measured(verifier: Verifier, **settings: Any) -> Report:
    return evaluate(verifier, SPEC, claims=N, validation_claims=40, **settings)


@pytest.fixture(scope="module")
def reference() -> Report:
    return measured(ScriptedVerifier(SPEC))


def test_the_reference_is_complete_and_sound_against_every_prover_and_message(reference: Report) -> None:
    for figures in (reference.randomised, reference.at_threshold):
        assert figures.completeness.value == figures.achievable_completeness.value == 1
        assert list(figures.attack_success) == [*PROVERS, "search"]
        assert {f.value for f in figures.attack_success.values()} == {0}
        assert figures.best_response_soundness_error.value == 0
        assert (figures.J.value, figures.completeness.n, figures.best_response_soundness_error.n) == (1, N, N)
        assert figures.best_response_soundness_error.high == pytest.approx(1 - 0.05 ** (1 / N))
        assert figures.best_response_soundness_error.method.startswith(
            "false claims, best message; exact: all 3,125 messages tried"
        )
    assert (reference.exact, reference.threshold) == (True, 0.5)
    assert reference.queries == dict.fromkeys(PROVERS, 1) | {"search": 3126}
    assert set(reference.forfeits.values()) == {0}


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("spec", [SPEC, SOLO], ids=["prover_verifier", "solo"])
def test_a_constant_verifier_gets_nothing_for_it(probability: float, spec: Any) -> None:
    found = evaluate(Constant(probability), spec, claims=N, validation_claims=20, search=Search(exact_limit=0))
    assert found.randomised.J.value == found.at_threshold.J.value == 0
    assert found.randomised.completeness.value == pytest.approx(probability, abs=0.15)


def test_a_step_not_looked_at_costs_what_can_be_computed_by_hand() -> None:
    found = measured(BlackBox(careless)).randomised
    false = deal(resolve(Arith(), ProverVerifier(), split="test"), False, N)
    open_to_attack = (false.statement["x"][:, 3] == 0).double()
    assert found.best_response_soundness_error.value == pytest.approx(float(open_to_attack.mean()))
    assert 0.1 < found.best_response_soundness_error.value < 0.3
    assert found.attack_success["search"].value == found.best_response_soundness_error.value
    assert found.completeness.value == 1
    # The best scripted prover errs at a random one of six steps.
    assert found.attack_success["one_wrong_step"].value < 0.1
    union = found.union_of_provers
    assert union is not None
    assert union.value < found.best_response_soundness_error.value


def test_scripted_provers_do_not_see_what_the_best_response_finds() -> None:
    found = measured(BlackBox(password)).randomised
    assert found.completeness.value == found.achievable_completeness.value == 1
    assert found.union_of_provers is not None
    assert found.union_of_provers.value <= 0.02
    assert (found.best_response_soundness_error.value, found.J.value) == (1, 0)


def test_a_climb_that_misses_the_best_message_is_printed_as_a_lower_bound() -> None:
    found = measured(BlackBox(password), search=Search(restarts=1, sweeps=1, exact_limit=0))
    error = found.randomised.best_response_soundness_error
    assert error.value < 0.5
    assert "LOWER BOUND: coordinate ascent from 6 starts, 1 sweeps" in error.method
    assert error.high == 1  # nobody knows how much more a better search would find
    assert "AT MOST" in found.randomised.J.method
    assert found.randomised.J.low == pytest.approx(found.randomised.completeness.low - 1)
    assert not found.exact


def test_the_union_is_the_mean_of_the_largest_and_not_the_largest_mean() -> None:
    message = torch.zeros((3, 1), dtype=torch.int32)
    everywhere = torch.ones(3, dtype=torch.bool)
    first = Outcome(message, torch.tensor([1.0, 0.0, 0.5]), everywhere)
    second = Outcome(message + 1, torch.tensor([0.0, 1.0, 0.25]), everywhere)
    worst = strongest([first, second])
    assert worst.verdicts.tolist() == [1, 1, 0.5]
    assert worst.messages[:, 0].tolist() == [0, 1, 0]
    assert float(worst.verdicts.mean()) > max(float(o.verdicts.mean()) for o in (first, second))


def test_a_forfeited_game_takes_no_part_in_the_union() -> None:
    message, counted = torch.zeros((2, 1), dtype=torch.int32), torch.tensor([True, False])
    worst = strongest([Outcome(message, torch.tensor([0.25, 1.0]), counted)])
    assert (worst.verdicts[0].item(), worst.counted.tolist()) == (0.25, [True, False])


@pytest.mark.parametrize("truth", [True, False])
@pytest.mark.parametrize("limit", [0, 2e7])
def test_one_verdict_that_is_no_number_voids_the_run(truth: bool, limit: float) -> None:
    claim = deal(resolve(Arith(), ProverVerifier(), split="test"), truth, N).statement.packed[5]

    def verdict(statement: Observation, messages: Tensor) -> Tensor:
        here = (statement.packed[:, :14] == claim[:14]).all(dim=1)[:, None]
        return torch.where(here, math.nan, 0.0).expand(messages.shape[:2])

    with pytest.raises(NonFiniteVerdict):
        measured(BlackBox(verdict), search=Search(exact_limit=limit))


class HalfMute:
    """Says the true results where x1 is small and something no alphabet has elsewhere."""

    def act(self, observation: Observation, acting: Tensor) -> Utterance:
        state, said = observation["start"].long(), []
        for j in range(5):
            op, x = observation["op"][:, j], observation["x"][:, j].long()
            state = (state + torch.where(op == 0, x, -x)) % 5
            said.append(state)
        symbols = torch.stack(said, dim=1).int()
        symbols[observation["x"][:, 0] > 1, 4] = 5
        return Utterance(symbols)


def test_a_learned_prover_is_one_more_attack_and_its_forfeits_count_nowhere() -> None:
    found = measured(ScriptedVerifier(SPEC), prover=HalfMute())
    convinces = found.randomised.prover_convinces
    assert convinces is not None
    assert (convinces.value, found.randomised.attack_success["learned"].value) == (1, 0)
    assert 0 < convinces.n < N
    assert convinces.n == N - found.forfeits["learned, true claims"]
    assert found.randomised.attack_success["learned"].n == N - found.forfeits["learned"]
    assert found.randomised.best_response_soundness_error.n == N


def test_claims_are_fresh_of_one_truth_and_the_same_for_every_prover() -> None:
    for split, bucket in (("validation", 8), ("test", 9)):
        spec = resolve(Arith(), ProverVerifier(), split=split)  # type: ignore[arg-type]
        for truth in (True, False):
            claims = deal(spec, truth, 50, seed=3)
            assert bool(((claims.game.field("truth") == 1) == truth).all())
            # As an unsigned integer, the hash is 6 more modulo 10 where it reads as negative (2**64 is 6 modulo 10).
            hashes = claims.game.statement_hash()
            assert {int(h) % 2**64 % 10 for h in hashes} == {bucket}
            before = claims.statement.packed.clone()
            first, _ = claims.argue(find_agent("one_wrong_step", spec))
            claims.argue(find_agent("random", spec))
            again, legal = claims.argue(find_agent("one_wrong_step", spec))
            assert torch.equal(first, again)
            assert bool(legal.all())
            assert torch.equal(claims.game.observe("verifier")["x"], claims.statement["x"])
            assert torch.equal(before, claims.statement.packed)
    assert not torch.equal(deal(spec, True, 50).statement["x"], deal(spec, False, 50).statement["x"])


def test_the_threshold_comes_from_the_validation_claims() -> None:
    high = BlackBox(lambda statement, messages: 0.2 + 0.5 * strict(statement, messages))
    found = evaluate(high, SPEC, claims=10, validation_claims=40)
    assert found.threshold == pytest.approx(0.45)
    assert (found.at_threshold.completeness.value, found.at_threshold.J.value) == (1, 1)
    assert found.randomised.J.value < 0.9

    def shifted(truth: bool, value: float) -> BlackBox:
        """The same, but for the best verdicts on validation claims of one truth."""
        validation = deal(resolve(Arith(), ProverVerifier(), split="validation"), truth, 40).statement

        def verdict(statement: Observation, messages: Tensor) -> Tensor:
            same = statement.packed[:, None, :14] == validation.packed[None, :, :14]
            known = same.all(dim=2).any(dim=1)[:, None]
            return (0.2 + 0.5 * strict(statement, messages)).where(~known, value)

        return BlackBox(verdict)

    for truth, value, threshold in ((True, 1.0, 0.6), (False, 0.4, 0.55)):
        moved = evaluate(shifted(truth, value), SPEC, claims=10, validation_claims=40)
        assert moved.threshold == pytest.approx(threshold)


def test_the_same_seed_gives_the_same_report_and_another_seed_other_claims() -> None:
    noisy = BlackBox(lambda statement, messages: 0.1 + 0.3 * right(statement, messages).float().mean(dim=2))
    first, again, other = (measured(noisy, seed=seed).as_dict() | {"seconds": 0} for seed in (0, 0, 1))
    assert first == again
    assert first["completeness"] != other["completeness"]


def test_alone_only_accuracy_and_false_acceptance_are_left() -> None:
    guess = BlackBox(lambda statement, messages: (statement["claim"] == 0).float()[:, None].expand(messages.shape[:2]))
    found = evaluate(guess, SOLO, claims=N, validation_claims=20)
    assert (found.randomised.attack_success, found.randomised.union_of_provers) == ({}, None)
    assert found.proof is None
    alone = solo_accuracy(guess, SOLO, claims=N)
    assert found.solo_accuracy == alone
    expected = (found.randomised.completeness.value + 1 - found.randomised.best_response_soundness_error.value) / 2
    assert alone.value == pytest.approx(expected)
    assert (alone.low, alone.high) == clopper_pearson(round(alone.value * 2 * N), 2 * N)
    assert "false acceptance" in printed(table(found))
    with pytest.raises(ValueError, match="ProverVerifier has a prover"):
        solo_accuracy(guess, SPEC)
    with pytest.raises(ValueError, match="nobody argues in Solo"):
        evaluate(guess, SOLO, prover=HalfMute())


@pytest.mark.parametrize("setting", ["claims", "validation_claims"])
def test_at_least_one_claim_is_asked_for(setting: str) -> None:
    with pytest.raises(ValueError, match=f"{setting}=0: expected at least 1"):
        evaluate(Constant(0.5), SPEC, **{setting: 0})


def figures_in(tree: Any) -> list[dict[str, Any]]:
    if not isinstance(tree, dict):
        return []
    here = [tree] if "method" in tree else []
    return here + [found for branch in tree.values() for found in figures_in(branch)]


def test_the_json_has_what_programs_look_for(reference: Report, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write(replace(reference, solo_accuracy=reference.randomised.completeness), path)
    read = json.loads(path.read_text())
    assert (read["env"], read["protocol"], read["seed"]) == ("pvg/Arith-v0", "prover_verifier", 0)
    assert read["task"] == "Arith(operations=6, modulus=5, multiplication=False)"
    assert set(read["attack_success"]) == {*PROVERS, "search"}
    assert read["maximum_over_statements"].startswith("not measured")
    assert {"python", "torch", "numpy", "numba", "pvg"} <= set(read["versions"])
    assert read["seconds"] > 0
    found = figures_in(read)
    assert len(found) == 1 + 2 * (2 + 6 + 3)  # solo accuracy; then all figures, for both ways of deciding
    for one in found:
        assert set(one) == {"value", "low", "high", "n", "method"}
        assert one["low"] <= one["value"] <= one["high"]
    assert "J" in read
    assert "solo_accuracy" in read


def test_a_report_that_cannot_be_written_leaves_what_was_there(reference: Report, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write(reference, path)
    before = path.read_text()
    with pytest.raises(ValueError, match="not JSON compliant"):
        write(replace(reference, seconds=math.nan), path)
    assert path.read_text() == before
    assert list(tmp_path.iterdir()) == [path]


def printed(shown: Table) -> str:
    console = Console(width=170, record=True, file=io.StringIO())
    console.print(shown)
    return console.export_text()


def test_the_table_of_one_report_explains_its_figures(reference: Report) -> None:
    text = " ".join(printed(table(reference)).split())
    for word in ("completeness", "attack true_transcript", "best-response soundness error", "all 3,125 messages tried"):
        assert word in text
    assert "0.0000 (0.0000..0.0247)" in text
    assert "not measured" in text
    assert "Games forfeited, not counted: 0" in text


def test_the_table_of_several_says_which_errors_are_lower_bounds(reference: Report) -> None:
    bounded = replace(reference, exact=False)
    lines = printed(table({"[exact]": reference, "bounded": bounded})).splitlines()
    assert [("at least" in line) for line in lines if "exact]" in line] == [False]
    assert [("at least" in line) for line in lines if "bounded" in line] == [True]


def test_the_figure_is_a_picture(reference: Report, tmp_path: Path) -> None:
    figure({"reference": reference, "bounded": replace(reference, exact=False)}, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="expected at least one report"):
        figure({}, tmp_path / "none.png")


def test_without_matplotlib_the_figure_names_the_extra(reference: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ValueError, match=r"prover-verifier-games\[plots\]"):
        figure({"reference": reference}, tmp_path / "figure.png")


def test_black_boxes_are_not_taken_for_step_checks() -> None:
    assert not isinstance(BlackBox(strict), StepChecking)
