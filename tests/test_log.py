"""The log for TensorBoard: the same rows as in the files, once each."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pvg.agents.config import TrainConfig
from pvg.agents.imitation import Imitation
from pvg.agents.log import Log
from pvg.agents.reinforce import Reinforce
from pvg.agents.training import CHECKPOINT, train
from pvg.protocols import ProverVerifier
from pvg.spec import resolve
from pvg.tasks.arith import Arith

SPEC = resolve(Arith(operations=2, modulus=2), ProverVerifier())
PHASES = (Imitation(updates=3), Reinforce(updates=2), Imitation(updates=2))
CONFIG = TrainConfig("mlp", width=8, layers=1, lanes=8, log_every=1, tensorboard=True)


def drawn(out: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard reads in a run's folder: (step, value) by figure."""
    board = EventAccumulator(str(out / "tensorboard"))
    board.Reload()
    return {tag: [(event.step, event.value) for event in board.Scalars(tag)] for tag in board.Tags()["scalars"]}


def expected(history: list[Any]) -> dict[str, list[tuple[int, Any]]]:
    figures: dict[str, list[tuple[int, Any]]] = {}
    for step, row in enumerate(history):
        for name in set(row) - {"phase", "update"}:
            figures.setdefault(f"{row['phase']}/{name}", []).append((step, pytest.approx(row[name], abs=1e-6)))
    return figures


def test_tensorboard_shows_every_row_once_also_after_resuming(tmp_path: Path) -> None:
    first = train(SPEC, replace(CONFIG, phases=PHASES[:2]), tmp_path, progress=False)
    assert drawn(tmp_path) == expected(first.history)
    whole = train(SPEC, replace(CONFIG, phases=PHASES), tmp_path, resume=tmp_path / CHECKPOINT, progress=False)
    assert len(whole.history) == 7
    assert drawn(tmp_path) == expected(whole.history)


def test_without_tensorboard_nothing_is_written_and_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ValueError, match=r"tensorboard=True.*prover-verifier-games\[tensorboard\]"):
        Log(tmp_path / "out", [], tensorboard=True)
    assert not (tmp_path / "out").exists()
