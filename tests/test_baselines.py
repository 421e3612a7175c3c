"""The baseline scripts learn, at tiny sizes."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest
import torch

from pvg.agents.config import TrainConfig
from pvg.agents.imitation import Imitation
from pvg.agents.networks import VerifierNetwork
from pvg.agents.training import CHECKPOINT, train
from pvg.benchmarks.baselines import pettingzoo_loop, sb3_prover, sb3_verifier, selfplay, single_file_ppo
from pvg.protocols import ProverVerifier
from pvg.spec import resolve
from pvg.tasks import Arith

TINY: dict[str, Any] = {"operations": 2, "modulus": 2}
needs_torchrl = pytest.mark.skipif(find_spec("torchrl") is None, reason="torchrl is not installed")


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """Scripts take one thread, and seed torch."""
    threads = torch.get_num_threads()
    with torch.random.fork_rng():
        yield
    torch.set_num_threads(threads)


def test_a_verifier_of_sb3_learns_whom_to_believe_and_is_measured():
    found = sb3_verifier.run(sb3_verifier.Settings(**TINY, steps=5120, lanes=64, claims=20, seed=1))
    assert found["true claims accepted before"] < 0.6
    assert found["true claims accepted after"] > 0.9
    assert found["false claims accepted after"] < 0.1
    assert found["completeness"] > 0.7
    assert 0 <= found["best-response soundness error"] < 0.6


def test_a_prover_of_sb3_learns_to_convince_the_reference():
    found = sb3_prover.run(sb3_prover.Settings(**TINY, verifier="reference", steps=4096, lanes=64, seed=1))
    assert found["true claims accepted from the scripted prover"] == 1
    assert found["true claims accepted before"] < 0.7
    assert found["true claims accepted after"] > 0.9
    assert found["false claims accepted after"] == 0


def test_a_prover_of_sb3_plays_a_network_and_repeats_itself():
    settings = sb3_prover.Settings(**TINY, updates=4, steps=256, lanes=16)
    found = sb3_prover.run(settings)
    assert all(0 <= value <= 1 for value in found.values())
    assert sb3_prover.run(settings) == found


def test_a_checkpoint_is_played_against(tmp_path):
    phases = (Imitation(updates=1, seats="verifier"),)
    train(resolve(Arith(3, 2), ProverVerifier()), TrainConfig("mlp", lanes=4, phases=phases), tmp_path, progress=False)
    spec, verifier = sb3_prover.opponent(sb3_prover.Settings(**TINY, verifier=str(tmp_path / CHECKPOINT)))
    assert spec.task == Arith(3, 2)
    assert isinstance(verifier, VerifierNetwork)
    assert all(0 <= share <= 1 for share in sb3_prover.scripted(spec, verifier, 20, 0))


@pytest.mark.parametrize(("role", "least"), [("verifier", 0.7), ("prover", 0.42)])
def test_the_single_file_learns_from_either_seat(role, least):
    sizes = '{"operations": 2, "modulus": 2}'
    small: dict[str, Any] = {"steps": 6144, "lanes": 64, "minibatches": 2, "learning_rate": 2e-2}
    rows = single_file_ppo.run(single_file_ppo.Settings(sizes=sizes, role=role, **small))
    assert len(rows) == 10
    assert rows[0]["return"] < least - 0.1
    assert rows[-1]["return"] > least
    assert rows[-1]["false claims accepted"] < 0.2


def test_advantages_by_hand():
    rewards, values = torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([[0.5], [1.0], [1.0], [3.0]])
    dones = torch.tensor([[False], [True], [False]])
    found = single_file_ppo.advantages(rewards, values, dones, gamma=0.5, gae_lambda=0.5)
    assert found[:, 0].tolist() == [1 + 0.5 * 1 - 0.5 + 0.25 * 1, 2 - 1, 4 + 0.5 * 3 - 1]


def test_selfplay_makes_a_better_verifier():
    reports = selfplay.run(selfplay.Settings(**TINY, imitation=10, selfplay=60, lanes=128, claims=40))
    before, after = (reports[name].randomised.J.value for name in ("imitation", "self-play"))
    assert after > before + 0.2


def test_tables_of_pettingzoo_agents_learn():
    found = pettingzoo_loop.run(pettingzoo_loop.Settings(games=2500))
    assert found["right verdicts, first tenth"] < 0.65
    assert found["right verdicts, last tenth"] > 0.8
    assert pettingzoo_loop.run(pettingzoo_loop.Settings(games=30)) == pettingzoo_loop.run(pettingzoo_loop.Settings(games=30))


@needs_torchrl
def test_torchrl_takes_the_games_and_learns():
    from torchrl.envs.utils import check_env_specs

    from pvg.benchmarks.baselines import torchrl_env

    settings = torchrl_env.Settings(**TINY, steps=6144, lanes=64, learning_rate=1e-2)
    check_env_specs(torchrl_env.environment(settings)[1])
    returns = torchrl_env.run(settings)
    assert returns[0] < 0.3
    assert returns[-1] > 0.7


SMALLEST = {
    "sb3_verifier": ("--steps 64 --lanes 16 --claims 4", "completeness"),
    "sb3_prover": ("--verifier reference --steps 64 --lanes 16", "false claims accepted after"),
    "single_file_ppo": ("--steps 1 --lanes 8 --rollout 1 --epochs 1", "false claims accepted"),
    "selfplay": ("--imitation 1 --selfplay 1 --lanes 4 --claims 4", "self-play"),
    "pettingzoo_loop": ("--games 40", "right verdicts, last tenth"),
    "torchrl_env": ("--steps 1 --lanes 8 --epochs 1", "return"),
}


@pytest.mark.parametrize("name", [pytest.param(name, marks=needs_torchrl if name == "torchrl_env" else ()) for name in SMALLEST])
def test_every_script_prints_what_it_found(name, capsys, monkeypatch):
    words, printed = SMALLEST[name]
    monkeypatch.setattr(sys, "argv", [name, *words.split()])
    importlib.import_module(f"pvg.benchmarks.baselines.{name}").main()
    assert printed in capsys.readouterr().out
