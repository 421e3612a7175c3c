"""Two processes that train together find what one finds, and speak with one voice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from pvg.agents import adversarial, checkpoint, distributed
from pvg.agents.adversarial import Adversarial, replace_worst
from pvg.agents.config import TrainConfig
from pvg.agents.experiment import REPORT, experiment
from pvg.agents.imitation import Imitation
from pvg.agents.log import FILES
from pvg.agents.networks import VerifierNetwork, build
from pvg.agents.reinforce import Reinforce
from pvg.agents.selfplay import PPO
from pvg.agents.training import CHECKPOINT, train
from pvg.game import Game
from pvg.protocols import Debate, ProverVerifier
from pvg.spec import resolve
from pvg.tasks.arith import Arith
from pvg.verifier import messages_said

SPEC = resolve(Arith(operations=2, modulus=2), Debate())
# Eight parts of 16 lanes: many a part has no lane of one of the processes.
CONFIG = TrainConfig(
    "mlp",
    width=16,
    lanes=16,
    log_every=1,
    phases=(
        Imitation(updates=2),
        PPO(updates=2, minibatches=8, pool=2, pool_every=1, kl=0.1),
        Reinforce(updates=2, baseline="mean"),
        Reinforce(updates=1),
    ),
)
COMMAND = (
    "-m torch.distributed.run --standalone --nproc-per-node 2 -m pvg.cli train pvg/Arith-v0 --protocol debate "
    "--set operations=2 modulus=2 --network mlp --width 16 --lanes 16 --log-every 1 --claims 20 --json "
    "--algorithm imitation updates=2 ppo updates=2 minibatches=8 pool=2 pool_every=1 kl=0.1 "
    "reinforce updates=2 baseline=mean reinforce updates=1 --out"
)


def interpreted_torchrun(out: Path) -> str:
    """What two processes print that are started by `torchrun`, with nothing compiled."""
    env = os.environ | {"NUMBA_DISABLE_JIT": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *COMMAND.split(), str(out)], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def apart(one: Any, two: Any) -> float:
    """The largest difference of two alike containers of numbers, wall-clock time aside."""
    if isinstance(one, dict):
        assert set(one) == set(two)
        return max((apart(one[key], two[key]) for key in one if key != "seconds"), default=0.0)
    if isinstance(one, list | tuple):
        assert len(one) == len(two)
        return max(map(apart, one, two), default=0.0)
    if isinstance(one, torch.Tensor):
        return float((one.double() - two.double()).abs().max()) if one.numel() else 0.0
    if isinstance(one, str | None):
        assert one == two
        return 0.0
    return float(abs(one - two))


def test_two_processes_learn_what_one_does_and_write_one_report(tmp_path: Path) -> None:
    printed = json.loads(interpreted_torchrun(tmp_path / "two"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    experiment(SPEC, CONFIG, tmp_path / "one", claims=20, progress=False)
    torch.set_num_threads(threads)
    written = json.loads((tmp_path / "two" / REPORT).read_text())
    assert printed["accuracy"] == written["accuracy"]
    assert apart(json.loads((tmp_path / "one" / REPORT).read_text()), written) < 1e-5
    assert {path.name for path in (tmp_path / "two").iterdir()} == {*FILES, CHECKPOINT, REPORT}
    one, two = (checkpoint.load(tmp_path / name / CHECKPOINT) for name in ("one", "two"))
    assert len(one["history"]) == len((tmp_path / "two" / "metrics.jsonl").read_text().splitlines()) == 7
    assert apart(one["history"], two["history"]) < 1e-5
    assert apart(one["state"], two["state"]) < 1e-5


def test_lanes_are_shared_out_evenly_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "size", lambda: 3)
    monkeypatch.setattr(distributed, "rank", lambda: 0)
    with pytest.raises(ValueError, match="lanes=16: not a multiple of the 3 processes"):
        train(SPEC, CONFIG, progress=False)


def test_processes_answer_together_the_share_of_false_claims_that_one_would(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = resolve(Arith(operations=3, modulus=3), ProverVerifier())
    verifier = build("step_check", spec, "verifier", width=8)
    assert isinstance(verifier, VerifierNetwork)
    game = Game(spec, 24, seed=1)
    truth, seen = game.field("truth").clone(), game.observe(verifier.role)
    said, draws = messages_said(game, verifier.role) * 0, torch.Generator()
    search = Adversarial(share=0.4)
    whole = replace_worst(verifier, seen, said, truth, search, draws)
    parts, false = [], truth != 1
    for rows in (slice(0, 12), slice(12, 24)):
        where = torch.tensor([int(false[: rows.start].sum()), int(false.sum())])
        monkeypatch.setattr(adversarial, "counted", lambda local, where=where: tuple(where.tolist()))
        parts.append(replace_worst(verifier, seen.rows(rows), said[rows], truth[rows], search, draws))
    assert torch.equal(torch.cat(parts), whole)
    assert int((whole != seen.packed).any(1).sum()) <= round(int(false.sum()) * 0.4)
    assert not torch.equal(whole, seen.packed)
