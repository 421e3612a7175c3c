"""The command line: what a newcomer types, and what it answers."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from pvg.agents.checkpoint import load
from pvg.cli import main

TINY = [
    "--imitation-updates",
    "3",
    "--adversarial-updates",
    "2",
    "--lanes",
    "8",
    "--claims",
    "20",
    "--set",
    "operations=3",
    "modulus=3",
]
FIGURE = {"value", "low", "high", "n", "method"}


@pytest.fixture
def pvg(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run the command with words; returns (exit status, stdout, stderr)."""

    def run(*words: str, typed: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["pvg", *words])
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        status = 0
        try:
            main()
        except SystemExit as stop:
            status = int(stop.code or 0)
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


@pytest.mark.parametrize("command", [(), ("list",), ("train",), ("evaluate",), ("play",)])
def test_help_explains_every_option(pvg: Any, command: tuple[str, ...]) -> None:
    status, out, _ = pvg(*command, "--help")
    assert status == 0
    for word in {(): ["train", "play"], ("train",): ["--seed", "--device", "--out", "--json", "ENV_ID"]}.get(command, ["--json"]):
        assert word in out or command == ()


def test_list_names_what_there_is_with_a_line_about_it(pvg: Any) -> None:
    _, out, _ = pvg("list", "--json")
    found = json.loads(out)
    assert set(found) == {"tasks", "protocols", "agents", "networks"}
    assert {"prover_verifier", "solo"} <= set(found["protocols"])
    assert {"honest", "dishonest", "reference", "random", "one_wrong_step"} <= set(found["agents"])
    lines = [line["about"] if isinstance(line, dict) else line for things in found.values() for line in things.values()]
    assert all(len(about) > 10 for about in lines)
    arith = found["tasks"]["Arith"]
    assert arith["proofs"]["transcript"] == {"game": "prover_verifier, transcript", "numbers": "1, 0", "bytes_per_lane": 112}
    assert arith["presets"] == ["hard"]
    shown = pvg("list", "tasks")[1]
    assert all(word in shown for word in ("pvg/Arith-v0", "transcript", "112"))


def test_train_writes_a_report_and_evaluate_reads_the_checkpoint(pvg: Any, tmp_path: Path) -> None:
    out = tmp_path / "run"
    status, printed, _ = pvg("train", "pvg/Arith-v0", *TINY, "--seed", "3", "--out", str(out), "--json")
    assert status == 0
    report = json.loads((out / "report.json").read_text())
    assert json.loads(printed) == report
    wanted = {"env", "protocol", "task", "seed", "completeness", "attack_success", "best_response_soundness_error"}
    assert wanted | {"solo_accuracy", "seconds", "versions"} <= set(report)
    assert (report["env"], report["protocol"], report["seed"]) == ("pvg/Arith-v0", "prover_verifier", 3)
    for figure in (report["completeness"], report["solo_accuracy"], *report["attack_success"].values()):
        assert set(figure) == FIGURE
        assert figure["low"] <= figure["value"] <= figure["high"]
    assert load(out / "checkpoint.pt")["spec"]["split"] == "train"
    assert report["split"] == "test"
    assert (out / "figure.png").read_bytes().startswith(b"\x89PNG")

    status, printed, _ = pvg("evaluate", str(out / "checkpoint.pt"), "--claims", "20", "--seed", "3", "--json")
    again = json.loads(printed)
    assert again["best_response_soundness_error"] == report["best_response_soundness_error"]
    assert again["attack_success"] == report["attack_success"]


def test_out_is_never_overwritten_silently(pvg: Any, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert pvg("train", "pvg/Arith-v0", *TINY, "--out", str(out), "--json")[0] == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    status, _, complaint = pvg("train", "pvg/Arith-v0", *TINY, "--out", str(out), "--json")
    assert status == 2
    assert str(out) in complaint
    (out / "checkpoint.pt").unlink()
    before.pop("checkpoint.pt")
    status, _, complaint = pvg("train", "pvg/Arith-v0", *TINY, "--out", str(out), "--json")
    assert status == 2
    status, _, complaint = pvg("evaluate", "reference", "--env", "pvg/Arith-v0", "--claims", "9", "--out", str(out))
    assert status == 2
    assert str(out) in complaint
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_reference_verifier_is_complete_and_sound(pvg: Any) -> None:
    _, printed, _ = pvg("evaluate", "reference", "--env", "pvg/Arith-v0", "--set", "operations=3", "--claims", "50", "--json")
    report = json.loads(printed)
    assert report["completeness"]["value"] == 1
    assert report["best_response_soundness_error"]["value"] == 0
    assert "exact" in report["best_response_soundness_error"]["method"]


def test_a_person_judges_and_sees_the_truth_after(pvg: Any, tmp_path: Path) -> None:
    out = tmp_path / "games"
    typed = "perhaps\naccept\nreject\nunsure\n"
    status, printed, _ = pvg("play", "pvg/Arith-v0", "--games", "3", "--seed", "4", "--out", str(out), typed=typed)
    assert status == 0
    assert printed.count("truth: the claim is") == 3
    assert "unknown answer 'perhaps': nearest are" in printed
    assert printed.index("verdict: accept") < printed.index("truth:")
    record = json.loads((out / "games.json").read_text())
    assert [entry["game"] for entry in record] == [0, 1, 2]
    assert record[2]["paid"] == 0


def test_a_person_may_sit_in_the_provers_seat(pvg: Any) -> None:
    status, printed, _ = pvg("play", "pvg/Arith-v0", "--role", "prover", "--games", "1", typed="1 2\n0 0 0 0 0\n")
    assert status == 0
    assert "expected 5 whole numbers" in printed
    assert "prover: 0 0 0 0 0" in printed


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["train", "pvg/Arit-v0"], "unknown environment 'pvg/Arit-v0': nearest are pvg/Arith-v0"),
        (["train", "pvg/Arith-v0", "--protocol", "sol"], "unknown protocol 'sol': nearest are solo"),
        (["train", "pvg/Arith-v0", "--network", "transformr"], "unknown network 'transformr': nearest are transformer"),
        (["train", "pvg/Arith-v0", "--set", "modulos=7"], "unknown size of Arith 'modulos': nearest are modulus"),
        (["train", "pvg/Arith-v0", "--set", "modulus=seven"], "expected modulus=<int>"),
        (["train", "pvg/Arith-v0", "--set", "modulus=500"], "modulus=500 is outside 2..127"),
        (["train", "pvg/Arith-v0", "--lanes", "0"], "lanes=0"),
        (["train", "pvg/Arith-v0", "--device", "cuda"], "device='cuda'"),
        (["evaluate", "referenc", "--env", "pvg/Arith-v0"], "unknown agent 'referenc': nearest are reference"),
        (["evaluate", "reference"], "needs --env"),
        (["evaluate", "missing.pt"], "checkpoint missing.pt: there is no such file"),
    ],
)
def test_what_the_user_got_wrong_is_one_line(pvg: Any, words: list[str], complaint: str) -> None:
    status, _, printed = pvg(*words)
    assert status == 2
    assert complaint in " ".join(printed.replace("│", " ").split())
    assert "Traceback" not in printed
