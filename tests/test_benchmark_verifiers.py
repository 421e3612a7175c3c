"""The benchmark of verifiers: anybody's takes part beside its controls, and what is wrong with one is said of that one alone."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import brought
import pytest
import torch

from pvg.agents.networks import build, networks, size_of, widest
from pvg.benchmarks.verifiers import arms
from pvg.benchmarks.verifiers.arms import games_to
from pvg.benchmarks.verifiers.contestant import BadVerifier, Contestant
from pvg.benchmarks.verifiers.leaderboard import FAILED, Standing, file_of, load, load_all
from pvg.benchmarks.verifiers.run import benchmark
from pvg.benchmarks.verifiers.scores import holm, interquartile_mean, permutation_p
from pvg.benchmarks.verifiers.suite import Entry, Suite, suites
from pvg.benchmarks.verifiers.sweep import Sweep
from pvg.cli import main
from pvg.registry import UnknownName
from pvg.tasks import Arith

TINY = Suite(
    "tiny",
    1,
    (Entry("arith", "arithmetic", brought.TASK, 30, 10), Entry("longer", "arithmetic", Arith(operations=3, modulus=2), 5, 2)),
    seeds=(0, 1),
    parameters=5000,
    rates=(1e-3, 2e-2),
    cpu_seconds=0.05,
    claims=40,
    attacked=3,
    queries=100,
    lanes=64,
    validation=10,
)
ARITH = TINY.narrowed(("arith",), (0,))


def run(names: list[str], folder: Path, suite: Suite = ARITH) -> dict[str, Standing]:
    done = benchmark(
        [name if ":" not in name else f"brought{name}" for name in names], suite, folder, Sweep(folder / "jobs", progress=False)
    )
    return {standing.verifier.removeprefix("brought"): standing for standing in done}


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Standing]]:
    """A module of somebody's, two black boxes and a structural prior on both tiny games."""
    folder = tmp_path_factory.mktemp("board")
    return folder, run([":Mine", ":Reference", ":credulous", ":Choosy"], folder, TINY)


# Who takes part.


def test_a_module_of_ten_lines_is_tuned_trained_and_measured_beside_its_controls(board):
    mine = board[1][":Mine"]
    assert mine.about == "A perceptron on one-hot inputs."
    assert [(r["game"], r["seed"]) for r in mine.runs] == [("arith", 0), ("arith", 1), ("longer", 0), ("longer", 1)]
    for r in mine.runs:
        assert list(r["arms"]) == ["adversarial", "control", "cpu-matched"]
        for arm in r["arms"].values():
            assert arm["J"]["value"] == pytest.approx(arm["completeness"]["value"] - arm["error"]["value"])
            assert arm["exact"]  # 2 and 4 messages
            assert arm["error"]["value"] == max(arm["error"]["value"], *arm["union"])
            games = [point["games"] for point in arm["curve"]]
            assert games == sorted(games)
            assert games[-1] == arm["games"]
            assert [point["cpu_seconds"] for point in arm["curve"]][-1] == arm["cpu_seconds"]
        assert r["arms"]["adversarial"]["cpu_seconds"] > 0
        adversarial, control, timed = r["arms"].values()
        entry = next(entry for entry in TINY if entry.name == r["game"])
        assert adversarial["games"] == control["games"] == r["solo"]["games"] == 64 * (entry.imitation + entry.adversarial)
        assert timed["games"] % 64 == 0
    assert mine.games["arith"]["rate"] in TINY.rates
    assert mine.games["arith"]["rate"] == float(max(mine.games["arith"]["scores"], key=mine.games["arith"]["scores"].get))
    assert 0.5 * TINY.parameters < mine.games["arith"]["parameters"] <= TINY.parameters
    assert mine.games["arith"]["flops"] > 2 * mine.games["arith"]["parameters"] * 0.9  # a product and a sum a weight


def test_the_control_differs_in_its_last_phase_alone(board):
    for r in board[1][":Mine"].runs:
        adversarial, control = (r["arms"][arm]["curve"] for arm in ("adversarial", "control"))
        shared = [point for point in adversarial if point["games"] <= 64 * (30 if r["game"] == "arith" else 5)]
        assert adversarial[: len(shared)] == control[: len(shared)]
        assert len(shared) >= 3
        assert len({(point["completeness"], point["error"]) for point in shared}) == len(shared)  # it learns all the while
        assert [point["games"] for point in adversarial] == [point["games"] for point in control]
        assert adversarial[-1]["error"] != control[-1]["error"]


def test_games_to_look_at_say_who_argued_and_where_the_first_wrong_step_is(board):
    (first, *others) = [r["arms"]["adversarial"] for r in board[1][":Mine"].runs if r["game"] == "longer"]
    assert not any("examples" in arm for arm in others)  # those of one seed are enough
    for game in first["examples"]:
        start, *steps = game["statement"].partition(" =")[0].replace("- ", "-").replace("+ ", "+").split()
        states = [int(start)]
        for step in steps:
            states.append((states[-1] + int(step)) % 2)
        ((_, message),) = game["said"]
        said = [int(start), *map(int, message.split()), int(game["statement"].split()[-3])]
        wrong = [j for j, step in enumerate(steps) if said[j + 1] != (said[j] + int(step)) % 2]
        assert game["first_wrong_step"] == (wrong[0] if wrong else None)
        assert (game["by"] == "the honest prover") == (game["truth"] == 1)
        assert game["truth"] == (states[-1] == said[-1])
    assert {game["truth"] for game in first["examples"]} == {0, 1}


def test_a_black_box_is_measured_by_its_verdicts_alone(board):
    folder, standings = board
    reference, credulous = standings[":Reference"], standings[":credulous"]
    assert reference.scores() == {"arith": [1.0, 1.0], "longer": [FAILED, FAILED]}  # it knows one task
    assert "operations=3" in reference.failures[0]["error"]
    for r in credulous.runs:
        (arm,) = r["arms"].values()
        assert arm["completeness"]["value"] > 0.75
        assert arm["error"]["value"] > 0.6
        assert set(arm["left_out"]) >= {"gradient", "dynamic_programming"}
        assert arm["verdicts"] > 40
        assert r["solo"] is None
    assert json.loads((folder / file_of("brought:credulous")).read_text())["games"]["arith"].get("parameters") is None


def test_a_black_box_may_read_text(tmp_path):
    (reader,) = run([":Reader"], tmp_path).values()
    assert reader.failures == ()
    assert reader.scores() == {"arith": [1.0]}


def test_a_structural_prior_may_refuse_a_game_and_is_no_failure(board):
    choosy = board[1][":Choosy"]
    assert choosy.structural
    assert choosy.games["longer"]["refused"] == "made for another task"
    assert choosy.failures == ()
    assert set(choosy.scores()) == {"arith"}


def test_the_same_benchmark_again_does_nothing_and_elsewhere_finds_the_same(board, tmp_path, monkeypatch):
    _, standings = board
    again = run([":Mine"], tmp_path)[":Mine"]
    (first,), (second,) = again.runs, [r for r in standings[":Mine"].runs if (r["game"], r["seed"]) == ("arith", 0)]
    for arm in ("adversarial", "control"):
        assert first["arms"][arm]["attacks"] == second["arms"][arm]["attacks"]
        assert first["arms"][arm]["completeness"] == second["arms"][arm]["completeness"]
    assert first["solo"]["accuracy"] == second["solo"]["accuracy"]

    def not_again(*arguments: Any) -> None:
        raise AssertionError("it was done")

    monkeypatch.setattr("pvg.benchmarks.verifiers.sweep.attempt", not_again)
    assert run([":Mine"], tmp_path)[":Mine"].runs == again.runs


def test_another_source_of_the_same_name_is_another_verifier(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "changing.py").write_text("def verdict(statement, messages):\n    return messages[..., 0].float() * 0\n")
    before = Contestant("changing:verdict").source
    (tmp_path / "changing.py").write_text("def verdict(statement, messages):\n    return messages[..., 0].float() * 0 + 1\n")
    assert Contestant("changing:verdict").source != before != ""


# What is wrong with one.


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            ":Shaped",
            ["Shaped, Arith(operations=2", "forward: expected floating point (18,) on cpu, got torch.float32 (18, 1) on cpu"],
        ),
        (":NotANumber", ["brought:NotANumber, Arith(operations=2", "verdict[0, 0] is nan"]),
        (":Diverging", ["brought:Diverging, Arith(operations=2", "Diverged: imitation update 0", "is nan"]),
        (":Elsewhere", ["Elsewhere, Arith(operations=2", "forward", "on meta"]),
        (":Listing", ["Listing, Arith(operations=2", "forward: expected a tensor (18,) of log odds, got list"]),
        (":Raising", ["brought:Raising, Arith(operations=2", "RuntimeError: mat1 and mat2 cannot be multiplied"]),
        (":Unmade", ["brought:Unmade, Arith(operations=2", "making it raised TypeError"]),
        (":Fickle", ["brought:Fickle, Arith(operations=2", "verdict[2, ", "differs when asked again"]),
        (":Gregarious", ["brought:Gregarious, Arith(operations=2", "changes with the others it is asked about"]),
        (":flat", ["brought:flat, Arith(operations=2", "verdict: expected floating point (6, 3) on cpu, got torch.float32 (6,)"]),
        (":Inattentive", ["brought:Inattentive, Arith(operations=2", "measuring it raised RuntimeError", "not have been used"]),
        (":number", ["brought:number", "expected a function verdict(statement, messages)"]),
    ],
)
def test_what_breaks_the_contract_is_named_and_the_others_go_on(tmp_path, name, said):
    standings = run([name, ":Reference"], tmp_path)
    (failure,) = standings[name].failures
    for part in said:
        assert part in failure["error"]
    assert failure["traceback"].startswith("Traceback")
    assert standings[name].runs == ()
    assert standings[name].scores() == {"arith": [FAILED]}
    assert standings[":Reference"].scores() == {"arith": [1.0]}


def test_a_verifier_at_random_takes_part_if_it_says_so(tmp_path):
    (found,) = run([":Random"], tmp_path).values()
    assert found.failures == ()
    assert not found.exact("arith")  # what it is asked again it answers otherwise


@pytest.mark.parametrize(
    ("name", "said"),
    [("mpl", "nearest are mlp"), ("nowhere:Mine", "cannot import 'nowhere'"), ("brought:Yours", "module 'brought' has no 'Yours'")],
)
def test_a_name_that_stands_for_nothing_is_refused_before_anything_is_run(tmp_path, name, said):
    with pytest.raises(ValueError, match=said):
        benchmark(["mlp", name], ARITH, tmp_path / "out", Sweep(tmp_path / "jobs"))
    assert list(tmp_path.iterdir()) == []


def test_a_verifier_that_cannot_be_small_enough_is_told_so(tmp_path):
    (found,) = run([":Mine"], tmp_path, replace(ARITH, parameters=100)).values()
    assert "parameters at width 8, and at most 100 are allowed" in found.failures[0]["error"]


# Sizes and goals.


def test_the_widest_network_is_just_within_the_parameters():
    spec = ARITH.entries[0].spec
    width = widest("mlp", spec, "verifier", 5000)
    sizes = [size_of(build("mlp", spec, "verifier", width=w)) for w in (width, width + 8)]
    assert sizes[0] <= 5000 < sizes[1]


def test_a_name_with_a_colon_is_a_network_wherever_networks_are_named():
    spec = ARITH.entries[0].spec
    player = build("brought:Mine", spec, "verifier", width=16)
    packed = torch.zeros((3, spec.view(1).width), dtype=torch.uint8)
    assert torch.allclose(player.log_probs(packed)[:, 1].exp(), player.module(packed.long()).sigmoid())
    assert torch.allclose(player.log_probs(packed).exp().sum(1), torch.ones(3))
    assert networks["brought:Mine"].learning_rate == 5e-3
    with pytest.raises(ValueError, match="a black box is measured, not trained"):
        networks["brought:credulous"]


def test_games_to_the_goal_are_those_of_the_first_point_that_reaches_it():
    curve = [{"games": g, "completeness": c, "error": e} for g, c, e in ((10, 1, 0.5), (20, 0.98, 0), (30, 0.99, 0.01), (40, 1, 0))]
    assert games_to(curve) == 30
    assert games_to(curve[:2]) is None


def test_updates_that_fit_a_time_keep_the_proportion_of_the_phases():
    entry = Entry("a", "b", brought.TASK, 1000, 100)
    fitted = arms._fitted(entry, {"imitation": 0.01, "adversarial": 0.1}, 5)
    assert (fitted.imitation, fitted.adversarial) == (250, 25)


# Scores.


def test_interquartile_mean_drops_a_quarter_of_all_runs_at_each_end():
    found = interquartile_mean({"a": [0, 1, 2, 3], "b": [4, 5, 6, 100]}, "J")
    assert found.value == (2 + 3 + 4 + 5) / 4
    assert found.low < found.value < found.high
    constant = interquartile_mean({"a": [0.5, 0.5], "b": [1.0, 1.0]}, "J")
    assert (constant.low, constant.high) == (0.75, 0.75)  # seeds are drawn within games, games are not drawn
    with pytest.raises(ValueError, match="no scores"):
        interquartile_mean({}, "J")


def test_permutation_test_exchanges_runs_within_games():
    # 3 and 3 runs of one game, wholly apart: 2 of the 20 ways to part them are as far.
    assert permutation_p({"a": [1, 2, 3]}, {"a": [11, 12, 13]}) == pytest.approx(0.1, abs=0.02)
    assert permutation_p({"a": [1, 2, 3]}, {"a": [1, 2, 3]}) == 1
    # Games of very different levels do not hide a difference within each.
    first = {"a": [0.10, 0.11, 0.12], "b": [0.90, 0.91, 0.92]}
    second = {"a": [0.20, 0.21, 0.22], "b": [0.97, 0.98, 0.99]}
    assert permutation_p(first, second) < 0.02
    with pytest.raises(ValueError, match="no game in common"):
        permutation_p({"a": [1]}, {"b": [1]})


def test_holms_correction_by_hand():
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "c": 0.06, "b": 0.06})
    assert holm({"a": 0.7, "b": 0.6}) == {"a": 1, "b": 1}


# Files.


def test_a_file_of_another_version_of_the_suite_is_refused_by_name(board, tmp_path, monkeypatch):
    folder, _ = board
    held = json.loads((folder / "brought_Mine.json").read_text())
    assert load(folder / "brought_Mine.json").verifier == "brought:Mine"
    monkeypatch.setattr(suites, "_things", {**suites._things, "tiny": replace(TINY, version=2)})
    held["suite"]["whole"] = True
    (tmp_path / "mlp.json").write_text(json.dumps(held))
    with pytest.raises(
        ValueError, match=rf"mlp.json: made on suite tiny version 1 with hash {TINY.hash}, and this is tiny version 2"
    ):
        load(tmp_path / "mlp.json")
    other = {**held, "suite": {**held["suite"], "hash": "0123", "whole": False}}
    (tmp_path / "b.json").write_text(json.dumps({**held, "suite": {**held["suite"], "whole": False}}))
    (tmp_path / "c.json").write_text(json.dumps(other))
    with pytest.raises(ValueError, match=r"c.json was made on suite tiny version 1 \(part of it\) with hash 0123, and"):
        load_all([tmp_path / "b.json", tmp_path / "c.json"])
    (tmp_path / "d.json").write_text("{}")
    with pytest.raises(ValueError, match=r"d.json: it is no leaderboard file"):
        load(tmp_path / "d.json")


def test_whatever_is_measured_on_changes_the_hash():
    others = [
        replace(TINY, version=2),
        replace(TINY, queries=200),
        replace(TINY, seeds=(0,)),
        TINY.narrowed(("arith",)),
        replace(TINY, entries=(replace(TINY.entries[0], task=Arith(operations=3, modulus=2)), TINY.entries[1])),
        replace(TINY, entries=(replace(TINY.entries[0], imitation=21), TINY.entries[1])),
    ]
    assert len({suite.hash for suite in (TINY, *others)}) == 1 + len(others)
    assert replace(TINY).hash == TINY.hash
    with pytest.raises(UnknownName, match="unknown game of suite tiny 'arit': nearest are arith"):
        TINY.narrowed(("arit",))


def test_core_has_two_sizes_of_one_task_of_every_kind():
    sizes = Counter((entry.kind, type(entry.task)) for entry in suites["core"])
    assert {kind for (kind, _), count in sizes.items() if count >= 2} == {"arithmetic", "word problem", "graph", "code"}


@pytest.mark.parametrize("name", list(suites))
def test_every_suite_has_games_that_verifiers_can_be_built_for(name):
    suite = suites[name]
    for entry in suite:
        assert widest("mlp", entry.spec, "verifier", suite.parameters) >= 8
    if name != "quick":
        kinds = [entry.kind for entry in suite]
        assert {"arithmetic", "word problem", "graph", "code"} <= {kind for kind in kinds if kinds.count(kind) >= 2}


# The command.


def test_the_command_runs_a_black_box_and_says_what_failed(tmp_path, capsys, monkeypatch):
    out = str(tmp_path / "out")
    words = [
        "pvg",
        "benchmark",
        "verifiers",
        "--verifier",
        "brought:credulous",
        "brought:flat",
        "--games",
        "arith-3",
        "--seeds",
        "1",
    ]
    monkeypatch.setattr("sys.argv", [*words, "--out", out, "--queries", "100"])
    main()
    shown = capsys.readouterr()
    assert "brought:cre" in shown.out
    assert "failed: brought:flat on arith-3, seed 0: brought:flat, Arith(" in shown.err
    monkeypatch.setattr("sys.argv", ["pvg", "benchmark", "report", out])
    main()
    assert "brought:flat" in capsys.readouterr().out.replace("\n", "")
    assert {"report.md", "page.html", "attacks.png"} <= set(os.listdir(out))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["verifiers", "--verifier", "mlp", "--suite", "cor"], "unknown suite 'cor': nearest are core"),
        (["verifiers", "--verifier", "mlp", "--games", "arith"], "unknown game of suite quick 'arith': nearest are arith-3"),
        (["verifiers", "--verifier", "mlp", "--seeds", "0"], "seeds=0 is below 1"),
        (["verifiers", "--verifier", "mlp", "--queries", "5"], "queries=5 is outside 100..1000000"),
        (["verifiers", "--verifier", "mlp", "--jobs", "0"], "jobs=0 is below 1"),
        (["report", "nowhere"], "folder=nowhere: there is no such folder"),
        (["report", "."], "no leaderboard files there"),
    ],
)
def test_what_the_user_got_wrong_is_one_line(words, said, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["pvg", "benchmark", *words])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_bad_verifier_is_a_value_error():
    assert issubclass(BadVerifier, ValueError)


def test_learning_is_watched_on_validation_claims_and_measured_on_test_claims(monkeypatch):
    dealt: list[str | None] = []
    deal = arms.deal
    monkeypatch.setattr(arms, "deal", lambda spec, *more: dealt.append(spec.split) or deal(spec, *more))
    arms.measure_box("brought:credulous", ARITH.entries[0], ARITH, 0)
    assert dealt == ["test"]
    arms.Watch(ARITH.entries[0], ARITH)
    assert dealt[1:] == ["validation", "validation"]
