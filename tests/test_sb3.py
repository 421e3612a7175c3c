"""Stable-Baselines3 trains on the ids."""

from __future__ import annotations

from collections.abc import Iterator

import gymnasium as gym
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

import pvg  # noqa: F401  registers the ids

ID = "pvg/Arith-v0"

# It asks for pictures first, of any environment it makes from an id.
pytestmark = pytest.mark.filterwarnings("ignore:.*render_mode='rgb_array'")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small only wait for a second thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize(("protocol", "role"), [("solo", "verifier"), ("prover_verifier", "prover")])
def test_its_checker_passes(protocol, role):
    check_env(gym.make(ID, protocol=protocol, role=role))


@pytest.mark.parametrize(
    ("role", "opponents", "before", "after"),
    # A prover of one bit is accepted on the half of the claims that are true; a verifier of honest bits is right.
    [("prover", "reference", 0.35, 0.45), ("verifier", "honest", 0.3, 0.95)],
)
def test_ppo_learns_from_either_seat(role, opponents, before, after):
    settings = {"role": role, "opponents": opponents, "operations": 2, "modulus": 2}
    env = make_vec_env(ID, 8, env_kwargs=settings, seed=0)
    model = PPO(
        "MultiInputPolicy",
        env,
        seed=0,
        n_steps=32,
        batch_size=256,
        n_epochs=6,
        learning_rate=5e-3,
        gamma=0,
        device="cpu",
    )
    assert evaluate_policy(model, env, 400)[0] < before
    model.learn(4000)
    assert evaluate_policy(model, env, 400)[0] > after


def test_ppo_takes_the_bare_id():
    PPO("MultiInputPolicy", ID, n_steps=16, batch_size=16, device="cpu").learn(16)
