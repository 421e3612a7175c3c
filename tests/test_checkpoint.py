"""A run that is cut off, its log and its checkpoint: resumed to the bit, refused when broken, never overwritten silently."""

from __future__ import annotations

import csv
import json
import math
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import rich
import torch
from toys import Bit, DrawnSpeaker

from pvg.agents import checkpoint
from pvg.agents.adversarial import Adversarial
from pvg.agents.algorithm import algorithms
from pvg.agents.checkpoint import describe, load, load_players, load_verifier, rebuild, save
from pvg.agents.config import TrainConfig
from pvg.agents.imitation import Imitation
from pvg.agents.networks import networks
from pvg.agents.selfplay import PPO
from pvg.agents.training import CHECKPOINT, Diverged, Trained, train
from pvg.protocols import ProverVerifier, Solo
from pvg.spec import resolve
from pvg.task import tasks
from pvg.tasks.arith import Arith
from pvg.testing import fitting

SPEC = resolve(Arith(operations=3, modulus=3), ProverVerifier(), split="train")
CONFIG = TrainConfig(
    lanes=32,
    phases=(Imitation(updates=6), Adversarial(updates=6), PPO(updates=6, pool=2, pool_every=2, kl=0.1)),
    log_every=1,
    checkpoint_every=3,
    seed=7,
)

PHASES = ("imitation", "adversarial", "ppo")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small gain nothing from a second thread, and wait for it where the machine is busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a short run."""
    out = tmp_path_factory.mktemp("run")
    train(SPEC, CONFIG, out, progress=False)
    return out / CHECKPOINT


def cut_off(monkeypatch: pytest.MonkeyPatch, phase: Any, update: int, out: Path, config: TrainConfig) -> None:
    """Train until the machine stops in the middle of an update."""
    kind = algorithms[phase]
    real, seen = kind.update, [0]

    def stops(*arguments: Any) -> Any:
        seen[0] += 1
        if seen[0] > update:
            raise KeyboardInterrupt
        return real(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(kind, "update", stops)
        with pytest.raises(KeyboardInterrupt):
            train(SPEC, config, out, progress=False)


def everything(path: Path) -> dict[str, Any]:
    """All a checkpoint holds but wall-clock time, tensors as lists."""

    def plain(thing: Any) -> Any:
        if isinstance(thing, torch.Tensor):
            return thing.tolist()
        if isinstance(thing, dict):
            return {key: plain(value) for key, value in thing.items() if key != "seconds"}
        return [plain(value) for value in thing] if isinstance(thing, list | tuple) else thing

    whole = plain(load(path))
    assert isinstance(whole, dict)
    return whole


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("network", [name for name in networks if name != "graph"])  # the task has none
def test_a_run_that_was_cut_off_goes_on_to_the_bit(
    network: str, phase: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(CONFIG, network=network)
    train(SPEC, config, tmp_path / "whole", progress=False)
    cut_off(monkeypatch, phase, 5, tmp_path / "cut", config)
    left = load(tmp_path / "cut" / CHECKPOINT)
    assert left["done"][PHASES.index(phase)] == 3, "the last checkpoint is two updates back"
    train(SPEC, config, tmp_path / "cut", resume=tmp_path / "cut" / CHECKPOINT, progress=False)
    assert everything(tmp_path / "cut" / CHECKPOINT) == everything(tmp_path / "whole" / CHECKPOINT)


def test_a_resumed_log_neither_repeats_nor_loses_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_off(monkeypatch, "adversarial", 5, tmp_path, CONFIG)
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 11, "rows are on disk as they come"
    trained = train(SPEC, CONFIG, tmp_path, resume=tmp_path / CHECKPOINT, progress=False)
    expected = [(phase, update) for phase in PHASES for update in range(6)]
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(row["phase"], row["update"]) for row in rows] == expected
    assert rows == trained.history
    with (tmp_path / "metrics.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [(row["phase"], int(row["update"])) for row in table] == expected
    assert table[0]["prover_entropy"] == "", "self-play brings figures of its own"
    assert float(table[-1]["accuracy"]) == rows[-1]["accuracy"]
    seconds = [row["seconds"] for row in rows]
    assert seconds == sorted(seconds)


def test_a_finished_run_can_be_prolonged_by_a_phase(made: Path, tmp_path: Path) -> None:
    first = replace(CONFIG, phases=CONFIG.phases[:1])
    train(SPEC, first, tmp_path / "first", progress=False)
    train(SPEC, CONFIG, tmp_path / "second", resume=tmp_path / "first" / CHECKPOINT, progress=False)
    assert everything(tmp_path / "second" / CHECKPOINT) == everything(made)


def test_resuming_a_finished_run_changes_nothing(made: Path) -> None:
    before = everything(made)
    again: Trained = train(SPEC, CONFIG, resume=made, progress=False)
    weights = again.players["verifier"].state_dict()
    assert all(weights[name].tolist() == value for name, value in before["state"]["learners"]["verifier"]["player"].items())
    assert len(again.history) == 18


def test_a_verifier_read_back_gives_the_same_verdicts(made: Path) -> None:
    spec, verifier = load_verifier(made)
    trained = train(SPEC, CONFIG, resume=made, progress=False)
    packed = torch.ones((5, verifier.view.width), dtype=torch.int64)
    assert spec == SPEC
    assert trained.verifier is not None
    assert verifier.log_probs(packed).equal(trained.verifier.log_probs(packed))
    assert set(load_players(made)[1]) == {"prover", "verifier"}


@pytest.mark.parametrize("task", list(tasks))
def test_every_registered_game_can_be_rebuilt_from_its_description(task: str) -> None:
    for spec in fitting(tasks[task]()):
        assert rebuild(json.loads(json.dumps(describe(spec)))) == spec


def test_a_game_nobody_registered_is_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"task Bit has no name.*@tasks.register"):
        train(resolve(Bit(), DrawnSpeaker()), replace(CONFIG, network="mlp"), tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def corrupted(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
    whole = bytearray(path.read_bytes())
    whole[largest.header_offset + 200 + largest.file_size // 2] ^= 0xFF
    path.write_bytes(whole)


def text(path: Path) -> None:
    path.write_text("not a checkpoint")


def foreign(path: Path) -> None:
    torch.save({"model": torch.ones(3)}, path)


def another_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme", "hello")


def code(path: Path) -> None:
    torch.save({"format": checkpoint.FORMAT, "version": 1, "run": print}, path)


def changed(**entries: Any) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        torch.save(torch.load(path, weights_only=True) | entries, path)

    return change


def incomplete(path: Path) -> None:
    contents = torch.load(path, weights_only=True)
    del contents["state"]
    torch.save(contents, path)


REFUSED = [
    (truncated, "truncated"),
    (corrupted, "corrupted"),
    (text, "truncated, or no checkpoint"),
    (foreign, "written by something else"),
    (another_zip, "cannot be read"),
    (code, "cannot be read"),
    (changed(version=2), "format version 2"),
    (incomplete, "lacks .'state'"),
    (changed(spec={"task": "Arithmetic", "task_parameters": {}}), "cannot be built here: unknown task 'Arithmetic'"),
    (Path.unlink, "no such file"),
]


@pytest.mark.parametrize(("breaks", "reason"), REFUSED, ids=[reason.split()[-1] for _, reason in REFUSED])
def test_a_broken_checkpoint_is_refused_with_its_path_and_the_reason(
    breaks: Callable[[Path], None], reason: str, made: Path, tmp_path: Path
) -> None:
    path = tmp_path / "broken.pt"
    path.write_bytes(made.read_bytes())
    assert load_verifier(path)[0] == SPEC
    breaks(path)
    with pytest.raises(ValueError, match=rf"broken\.pt: .*{reason}"):
        load_verifier(path)


def test_a_checkpoint_whose_writing_fails_leaves_the_old_one(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / CHECKPOINT
    path.write_bytes(made.read_bytes())
    contents = {name: value for name, value in load(made).items() if name in checkpoint.PARTS}
    real = torch.save

    def half(thing: Any, file: Any) -> None:
        real({"half": 1}, file)
        raise OSError("disk full")

    def fails(part: Path, path: Path) -> None:
        raise OSError("no such device")

    for owner, name, replacement in ((torch, "save", half), (checkpoint.os, "replace", fails)):
        with monkeypatch.context() as patched:
            patched.setattr(owner, name, replacement)
            with pytest.raises(OSError, match=r"disk full|no such device"):
                save(path, contents)
    assert path.read_bytes() == made.read_bytes()
    assert [file.name for file in tmp_path.iterdir()] == [CHECKPOINT]


@pytest.mark.parametrize(
    ("changes", "spec", "reason"),
    [
        ({"network": "mlp"}, SPEC, "network='step_check'"),
        ({"width": 32}, SPEC, "width=None"),
        ({"shared": True}, SPEC, "shared=False"),
        ({"phases": (Imitation(updates=9), *CONFIG.phases[1:])}, SPEC, "imitation updates=9.*left imitation after 6"),
        ({"phases": (Imitation(updates=6), PPO(updates=6))}, SPEC, "its phase 2 is adversarial, and the config's ppo"),
        ({"phases": CONFIG.phases[:2]}, SPEC, "its phase 3 is ppo, and the config's no more"),
        ({}, resolve(SPEC.task, Solo(), split="train"), "trained on .*prover_verifier"),
        ({}, replace(SPEC, split=None), "trained on"),
    ],
)
def test_a_checkpoint_of_something_else_is_not_resumed(changes: dict[str, Any], spec: Any, reason: str, made: Path) -> None:
    with pytest.raises(ValueError, match=reason):
        train(spec, replace(CONFIG, **changes), resume=made, progress=False)


def test_a_folder_that_holds_another_run_is_not_overwritten(made: Path, tmp_path: Path) -> None:
    before = made.read_bytes()
    with pytest.raises(ValueError, match=f"out={made.parent}: the folder holds another run"):
        train(SPEC, CONFIG, made.parent, progress=False)
    (tmp_path / "metrics.csv").write_text("mine")
    with pytest.raises(ValueError, match="holds another run"):
        train(SPEC, CONFIG, tmp_path, resume=made, progress=False)
    assert made.read_bytes() == before
    assert (tmp_path / "metrics.csv").read_text() == "mine"


@pytest.mark.parametrize("seen", ["imitation", "ppo"])
def test_a_loss_that_is_not_finite_stops_the_run_and_says_where(seen: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = algorithms[seen]
    real: Any = kind.update

    def spoils(phase: Any, team: Any, game: Any, index: int, pace: float) -> Any:
        if index == 4:
            with torch.no_grad():
                next(iter(team.verifier.parameters())).fill_(math.nan)
        return real(phase, team, game, index, pace)

    monkeypatch.setattr(kind, "update", spoils)
    with pytest.raises(Diverged, match=rf"{seen} update 4: .* is nan; the last good checkpoint is .*{CHECKPOINT}"):
        train(SPEC, CONFIG, tmp_path, progress=False)
    assert load(tmp_path / CHECKPOINT)["done"][PHASES.index(seen)] == 3
    weights = load_verifier(tmp_path / CHECKPOINT)[1].parameters()
    assert all(bool(weight.isfinite().all()) for weight in weights)


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real: Any = Imitation.update

    def spoils(phase: Any, team: Any, game: Any, index: int, pace: float) -> Any:
        figures = real(phase, team, game, index, pace)
        if index == 5:
            with torch.no_grad():
                next(iter(team.prover.parameters()))[0] = math.inf
        return figures

    monkeypatch.setattr(Imitation, "update", spoils)
    with pytest.raises(Diverged, match="imitation update 5: the sum of the prover's weights is inf; the last good"):
        train(SPEC, CONFIG, tmp_path, progress=False)
    assert load(tmp_path / CHECKPOINT)["done"][0] == 3


def test_progress_is_shown_with_the_live_figures(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(rich, "_console", None)  # the shared console reads its width when it is made
    train(SPEC, replace(CONFIG, phases=CONFIG.phases[:1]))
    shown = capsys.readouterr().out
    assert "imitation" in shown
    assert "6/6" in shown
    assert "true accepted" in shown
