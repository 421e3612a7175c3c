"""The command line: what a newcomer types, and what it answers."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from pvg.agents.algorithm import described
from pvg.agents.checkpoint import load
from pvg.agents.selfplay import PPO
from pvg.cli import main
from pvg.frozen import load as load_transcripts

TINY = [
    "--algorithm",
    "imitation",
    "updates=3",
    "adversarial",
    "updates=2",
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


@pytest.mark.parametrize("command", [(), ("list",), ("train",), ("evaluate",), ("attack",), ("play",)])
def test_help_explains_every_option(pvg: Any, command: tuple[str, ...]) -> None:
    status, out, _ = pvg(*command, "--help")
    assert status == 0
    for word in {(): ["train", "play"], ("train",): ["--seed", "--device", "--out", "--json", "ENV_ID"]}.get(command, ["--json"]):
        assert word in out or command == ()


def test_list_names_what_there_is_with_a_line_about_it(pvg: Any) -> None:
    _, out, _ = pvg("list", "--json")
    found = json.loads(out)
    assert set(found) == {"tasks", "protocols", "agents", "networks", "algorithms", "attacks"}
    assert found["algorithms"]["ppo"]["settings"]["order=simultaneous"].startswith("Who waits for whom")
    assert {"prover_verifier", "solo"} <= set(found["protocols"])
    assert {"honest", "dishonest", "reference", "random", "one_wrong_step"} <= set(found["agents"])
    lines = [line["about"] if isinstance(line, dict) else line for things in found.values() for line in things.values()]
    assert all(len(about) > 10 for about in lines)
    arith = found["tasks"]["Arith"]
    assert arith["proofs"]["transcript"] == {"game": "prover_verifier, transcript", "numbers": "1, 0", "bytes_per_lane": 112}
    assert arith["presets"] == ["hard"]
    shown = pvg("list", "tasks")[1]
    assert all(word in shown for word in ("pvg/Arith-v0", "transcript", "112"))
    shown = pvg("list", "algorithms")[1]
    assert all(word in shown for word in ("imitation", "seats=both", "--algorithm NAME"))


def test_train_under_a_protocol_without_a_search_reports_games_the_learned_players_play(pvg: Any, tmp_path: Path) -> None:
    words = ["train", "pvg/Arith-v0", "--protocol", "debate", "--algorithm", "ppo", "updates=2", "--lanes", "8", "--claims", "50"]
    out = tmp_path / "run"
    status, printed, _ = pvg(*words, "--set", "operations=3", "modulus=3", "--out", str(out))
    assert status == 0
    report = json.loads((out / "report.json").read_text())
    assert report["games"] == 50
    assert set(report["accuracy"]) >= FIGURE
    assert "judge accuracy" in printed
    assert "No best response is searched for" in " ".join(printed.split())
    assert load(out / "checkpoint.pt")["config"]["phases"] == [described(PPO(updates=2))]


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

    checkpoint, file = str(out / "checkpoint.pt"), str(tmp_path / "games.npz")
    words = ("attack", checkpoint, "--claims", "20", "--budget", "100", "--train-games", "0", "--transfer-from", checkpoint)
    status, printed, _ = pvg(*words, "--seed", "3", "--out", str(tmp_path / "attacks"), "--json")
    assert status == 0
    attacked = json.loads(printed)
    assert attacked == json.loads((tmp_path / "attacks" / "report.json").read_text())
    assert attacked["left_out"] == {"learned": "0 games to train a prover with; it needs at least 256"}
    exact, success = attacked["exact"]["value"], attacked["success"]
    assert exact == success["exhaustive"][0]["value"] >= success["transfer"][0]["value"]
    assert (tmp_path / "attacks" / "figure.png").exists()
    status, printed, _ = pvg("attack", checkpoint, "--claims", "9", "--budget", "100", "--attacks", "gradient", "coordinates")
    assert status == 0
    assert all(word in printed for word in ("gradient", "coordinates", "all attacks", "exact: the best", "Winning attack"))
    words = ("play", "pvg/Arith-v0", "--set", "operations=3", "modulus=3", "--role", "none", "--games", "50", "--save", file)
    status, printed, _ = pvg(*words, "--players", f"prover={checkpoint}", "--json")
    assert status == 0
    assert json.loads(printed)["players"] == {"prover": checkpoint, "verifier": "reference"}
    swapped = json.loads(pvg("evaluate", checkpoint, "--transcripts", file, "--against", "reference", "--json")[1])
    assert set(swapped["judges"]) == {checkpoint, "reference"}
    assert -2 < swapped["judges"][checkpoint]["brier_score"]["value"] < 0
    status, _, complaint = pvg("play", "pvg/Arith-v0", "--role", "none", "--players", f"prover={checkpoint}")
    assert status == 2
    assert "of task Arith(operations=3, modulus=3" in complaint


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
    file = tmp_path / "mine.npz"
    typed = "perhaps\naccept\nreject\nunsure\n"
    status, printed, _ = pvg("play", "pvg/Arith-v0", "--games", "3", "--seed", "4", "--save", str(file), typed=typed)
    assert status == 0
    assert printed.count("truth: the claim is") == 3
    assert "your reject/accept/unsure (or quit):\nunknown answer 'perhaps': nearest are" in printed
    assert printed.index("verdict: accept") < printed.index("truth:")
    kept = load_transcripts(file)
    assert kept.ended["verdict"].tolist() == [1, 0, 2]
    assert kept.ended["episode"].tolist() == [1, 2, 3]
    assert kept.returns[2].tolist() == [0, 0]
    assert kept.provenance["players"] == {"prover": "dishonest", "verifier": "person"}
    assert kept.provenance["seed"] == 4


def test_a_person_may_sit_in_the_provers_seat(pvg: Any) -> None:
    status, printed, _ = pvg("play", "pvg/Arith-v0", "--role", "prover", "--games", "1", typed="1 2\n0 0 0 0 5\n0 0 0 0 0\n")
    assert status == 0
    assert "your message: partial 5 times 0..4 (or quit):\nmessage '1 2': expected 5 whole numbers" in printed
    assert "partial: 5 is outside 0..4" in printed
    assert "prover: 0 0 0 0 0" in printed
    assert "1 games," in printed


def test_a_person_may_speak_several_times_and_leave_between(pvg: Any, tmp_path: Path) -> None:
    file = tmp_path / "mine.npz"
    words = ("play", "pvg/Arith-v0", "--protocol", "bisection", "--role", "challenger", "--seed", "3", "--save", str(file))
    status, printed, _ = pvg(*words, "--players", "prover=honest", typed="2\n0\n1\n0\n1\nquit\n")
    assert status == 0
    assert "your challenge: half 0..1 (or quit):\nhalf: 2 is outside 0..1" in printed
    shown = printed[printed.index("Game 1") : printed.index("Game 2")]
    assert shown[shown.index("challenger: 0") :].index("challenger: 1") > 0
    assert "\n1 games," in printed
    kept = load_transcripts(file)
    assert kept.ended["said"][:, [1, 3, 5], 0].tolist() == [[0, 1, 0]]
    assert kept.provenance["players"] == {"prover": "honest", "challenger": "person", "verifier": "reference"}


def test_a_person_is_told_which_answer_to_argue(pvg: Any) -> None:
    words = ("play", "pvg/SparseDigits-v0", "--protocol", "consultancy", "--set", "pixels=1", "--role", "consultant", "--json")
    status, printed, shown = pvg(*words, "--games", "1", "--seed", "1", typed="3\n")
    assert status == 0
    assert re.search(r"consultant argues: \d", shown)
    assert re.search(r"consultant argues: \d", json.loads(printed)[0]["transcript"])


def test_agents_play_a_thousand_games_for_judges_to_come(pvg: Any, tmp_path: Path) -> None:
    file = str(tmp_path / "games.npz")
    words = ("play", "pvg/Arith-v0", "--role", "none", "--players", "prover=true_transcript", "--games", "1000", "--seed", "2")
    status, printed, noted = pvg(*words, "--save", file, "--json")
    assert status == 0
    assert "1,000 games written to" in noted
    found = json.loads(printed)
    assert found["players"] == {"prover": "true_transcript", "verifier": "reference"}
    assert (found["games"], found["accuracy"]["value"], found["messages"]["value"]) == (1000, 1, 1)
    assert set(found["returns"]) == {"prover", "verifier"}
    status, _, complaint = pvg(*words, "--save", file)
    assert status == 2
    assert "there is such a file already" in complaint

    status, printed, _ = pvg("evaluate", "reference", "--transcripts", file, "--against", "random", "--json")
    assert status == 0
    swapped = json.loads(printed)
    assert swapped["judges"]["reference"]["accuracy"]["value"] == 1
    assert swapped["judges"]["random"]["accuracy"]["value"] == pytest.approx(1 / 3, abs=0.06)
    assert set(swapped["paired_difference"]["accuracy"]) == FIGURE
    assert swapped["paired_difference"]["accuracy"]["low"] > 0.6
    assert swapped["provenance"]["players"] == found["players"]
    shown = pvg("evaluate", "reference", "--transcripts", file, "--claims", "50")[1]
    assert all(word in shown for word in ("accuracy", "prover argues the truth", "log score", "Brier score", "calibration"))
    status, _, complaint = pvg("evaluate", "reference", "--transcripts", file, "--env", "pvg/Arith-v0", "--set", "modulus=7")
    assert status == 2
    assert "modulus=5, multiplication=False), not of Arith(operations=6, modulus=7" in complaint


def test_a_protocol_that_no_search_fits_gets_a_report_of_its_games(pvg: Any, tmp_path: Path) -> None:
    out = tmp_path / "report"
    words = ("evaluate", "reference", "--env", "pvg/Arith-v0", "--protocol", "bisection", "--claims", "60")
    status, printed, _ = pvg(*words, "--players", "challenger=honest", "--out", str(out), "--json")
    assert status == 0
    found = json.loads(printed)
    assert json.loads((out / "report.json").read_text()) == found
    assert set(found["by_side"]["challenger argues the truth"]) == FIGURE
    assert found["players"] == {"prover": "dishonest", "challenger": "honest", "verifier": "reference"}
    shown = " ".join(pvg(*words)[1].split())
    assert all(word in shown for word in ("judge accuracy", "worst side", "bits a game", "No best response is searched for"))


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["train", "pvg/Arit-v0"], "unknown environment 'pvg/Arit-v0': nearest are pvg/Arith-v0"),
        (["train", "pvg/Arith-v0", "--protocol", "sol"], "unknown protocol 'sol': nearest are solo"),
        (["train", "pvg/Arith-v0", "--network", "transformr"], "unknown network 'transformr': nearest are transformer"),
        (
            ["train", "pvg/Arith-v0", "--set", "modulos=7"],
            "unknown size of Arith or setting of ProverVerifier 'modulos': nearest are modulus",
        ),
        (["train", "pvg/Arith-v0", "--set", "modulus=seven"], "expected modulus=<int>"),
        (["train", "pvg/Arith-v0", "--set", "modulus=500"], "modulus=500 is outside 2..127"),
        (["train", "pvg/Arith-v0", "--lanes", "0"], "lanes=0"),
        (["train", "pvg/Arith-v0", "--device", "cuda"], "device='cuda'"),
        (["evaluate", "referenc", "--env", "pvg/Arith-v0"], "unknown agent 'referenc': nearest are reference"),
        (["evaluate", "reference"], "needs --env"),
        (["evaluate", "missing.pt"], "checkpoint missing.pt: there is no such file"),
        (["evaluate", "reference", "--protocol", "bisection"], "name it with --env"),
        (["evaluate", "reference", "--transcripts", "missing.npz"], "transcripts missing.npz: there is no such file"),
        (["evaluate", "reference", "--env", "pvg/Arith-v0", "--against", "random"], "give them with --transcripts"),
        (["evaluate", "reference", "--env", "pvg/Arith-v0", "--players", "verifier=random"], "reference plays that role"),
        (["attack", "reference"], "reference: an agent needs --env"),
        (["attack", "reference", "--env", "pvg/Arith-v0", "--protocol", "debate"], "a search over messages needs one verdict"),
        (["attack", "reference", "--env", "pvg/Arith-v0", "--attacks", "beams"], "unknown attack 'beams': nearest are beam"),
        (["attack", "reference", "--env", "pvg/Arith-v0", "--budget", "10"], "budget=10 is outside 100..1000000"),
        (["play", "pvg/Arith-v0", "--players", "verifier=random"], "that is your own seat"),
        (["play", "pvg/Arith-v0", "--players", "prove=random"], "unknown role 'prove': nearest are prover"),
        (["play", "pvg/Arith-v0", "--players", "random"], "expected ROLE=AGENT"),
        (["play", "pvg/Arith-v0", "--role", "judge"], "unknown role 'judge'"),
        (["play", "pvg/Arith-v0", "--role", "none", "--games", "0"], "games=0"),
    ],
)
def test_what_the_user_got_wrong_is_one_line(pvg: Any, words: list[str], complaint: str) -> None:
    status, _, printed = pvg(*words)
    assert status == 2
    assert complaint in " ".join(printed.replace("│", " ").split())
    assert "Traceback" not in printed
