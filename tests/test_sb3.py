"""Stable-Baselines3 trains on the ids, and on many lanes at once through pvg.envs.sb3."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from interpreted import interpreted
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecCheckNan, VecMonitor
from toys import Bit, DrawnSpeaker, EarlyDecision

import pvg  # noqa: F401  registers the ids
from pvg.envs.sb3 import GameVecEnv, make_vec_env
from pvg.envs.single import GameEnv
from pvg.envs.vector import GameVectorEnv
from pvg.tasks import Arith

ID, LANES, SEED = "pvg/Arith-v0", 6, 9
SMALL: dict[str, Any] = {"operations": 2, "modulus": 2}
PROVER: dict[str, Any] = SMALL | {"role": "prover", "opponents": "reference"}
VERIFIER: dict[str, Any] = SMALL | {"role": "verifier", "opponents": "honest"}

SEATS: dict[str, tuple[Any, dict[str, Any]]] = {
    "verifier": (Arith(), {}),
    "prover": (Arith(), {"role": "prover"}),
    "several turns": (Bit(), {"protocol": EarlyDecision(), "opponents": "honest"}),
    "others' turns": (
        Bit(),
        {"protocol": DrawnSpeaker(), "role": "merlin", "opponents": {"morgana": "opposite", "verifier": "random"}},
    ),
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small only wait for a second thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def same(one: Any, other: Any) -> bool:
    """Equal values in equal places; of arrays the types too."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return np.array_equal(one, other) and getattr(one, "dtype", None) == getattr(other, "dtype", None)


def actions_of(env: Any) -> Any:
    return np.stack([env.action_space.sample() for _ in range(env.num_envs)])


def listed(task: Any, seat: dict[str, Any]) -> DummyVecEnv:
    """A list of single environments, as Stable-Baselines3 makes them, whose lanes play lanes of SEED."""
    env = DummyVecEnv([lambda: Monitor(GameEnv(task, **seat))] * LANES)
    env._seeds = [SEED] * LANES
    env.set_options([{"lane": lane} for lane in range(LANES)])
    return env


@pytest.mark.parametrize(("protocol", "role"), [("solo", "verifier"), ("prover_verifier", "prover")])
def test_its_checker_passes(protocol, role):
    check_env(gym.make(ID, protocol=protocol, role=role))


@pytest.mark.filterwarnings("ignore:.*render_mode='rgb_array'")  # it asks for pictures first
def test_ppo_takes_the_bare_id():
    PPO("MultiInputPolicy", ID, n_steps=16, batch_size=16, device="cpu").learn(16)


@pytest.mark.parametrize(("task", "seat"), SEATS.values(), ids=SEATS)
def test_lanes_are_the_single_games_under_its_own_vecenv(task, seat):
    batched, theirs = make_vec_env(task, LANES, SEED, **seat), listed(task, seat)
    assert (batched.observation_space, batched.action_space) == (theirs.observation_space, theirs.action_space)
    assert same(batched.reset(), dict(theirs.reset()))
    lengths = []
    for _ in range(20):
        actions = actions_of(batched)
        (seen, rewards, dones, infos), expected = batched.step(actions), theirs.step(actions)
        assert same(seen, dict(expected[0]))
        assert same(rewards, expected[1])
        assert same(dones, expected[2])
        assert len(infos) == LANES
        for done, info, single in zip(dones, infos, expected[3], strict=True):
            if not done:
                assert (info, single) == ({}, {"TimeLimit.truncated": False})
                continue
            clocks = info["episode"].pop("t"), single["episode"].pop("t")
            assert 0 <= clocks[0] < 600
            assert same(info, single), (info, single)
            assert info["terminal_observation"] in batched.observation_space
            lengths.append(info["episode"]["l"])
    assert len(lengths) > 2 * LANES
    assert batched.reset_infos == [{}] * LANES
    assert batched.reset() in batched.games.observation_space


def test_a_reset_in_the_middle_of_games_begins_their_statistics_anew():
    env = make_vec_env(Bit(), n_envs=LANES, seed=0, protocol=EarlyDecision(), opponents="honest")
    env.reset()
    env.step(np.full(LANES, 2))
    env.set_options({"reset_mask": np.arange(LANES) < 2})
    env.reset()
    _, rewards, _, infos = env.step(np.zeros(LANES, int))
    assert [info["episode"]["l"] for info in infos] == [1, 1, 2, 2, 2, 2]
    assert [info["episode"]["r"] for info in infos] == (rewards - 0.25 * (np.arange(LANES) >= 2)).tolist()


def test_a_seed_names_the_games_it_names_everywhere():
    first, _ = gym.make_vec(ID, num_envs=LANES, **SMALL).reset(seed=SEED)
    env = make_vec_env(ID, n_envs=LANES, seed=SEED, **SMALL)
    sampled = env.action_space.sample()
    assert same(env.reset(), first)
    assert not same(env.reset(), first)
    assert env.seed(SEED) == [SEED] * LANES
    assert same(env.reset(), first)
    assert same(make_vec_env("Arith", LANES, SEED, **SMALL).reset(), first)
    assert make_vec_env(ID, LANES, SEED, **SMALL).action_space.sample() == sampled
    env.seed()
    assert not same(env.reset(), first)


def test_what_was_returned_never_changes():
    env = make_vec_env(ID, LANES, 0)
    env.reset()
    seen, rewards, dones, infos = env.step(np.ones(LANES, int))
    before = ({name: entry.copy() for name, entry in seen.items()}, rewards.copy(), dones.copy(), str(list(infos)))
    unread = env.step(np.zeros(LANES, int))[3]
    for _ in range(3):
        env.step(np.full(LANES, 2))
    assert same(dict(enumerate(before[:3])), dict(enumerate((seen, rewards, dones))))
    assert str(list(infos)) == before[3]
    assert {info["verdict"] for info in unread} == {0}
    infos[0]["kept"] = True
    assert infos[0:1][0]["kept"]
    assert next(iter(infos))["kept"]


@dataclass
class Kept(KVWriter):
    """The last figures a model logged."""

    values: dict[str, Any]

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        self.values.update(key_values)


LEARNERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "ppo": (PPO, {"n_steps": 4, "batch_size": 256, "n_epochs": 6, "learning_rate": 5e-3, "gamma": 0}),
    "a2c": (A2C, {"n_steps": 1}),
    "dqn": (DQN, {"learning_starts": 500, "train_freq": 1, "gradient_steps": 8, "learning_rate": 3e-3}),
}


@pytest.mark.parametrize(
    ("learner", "task", "seat", "before", "after"),
    # A prover of one bit is accepted on the half of the claims that are true; a verifier of honest bits is right.
    # On Bit the reference verifier is gullible, and the honest prover says nothing half of the time.
    [
        ("ppo", ID, PROVER, 0.35, 0.45),
        ("ppo", ID, VERIFIER, 0.3, 0.95),
        ("dqn", ID, VERIFIER, 0.3, 0.95),
        ("a2c", Bit(), {"role": "prover", "opponents": "reference"}, 0.1, 0.95),
        ("a2c", Bit(), {"role": "verifier", "opponents": "honest"}, 0.0, 0.35),
    ],
)
def test_its_algorithms_learn_from_either_seat(learner, task, seat, before, after):
    env = make_vec_env(task, 64, seed=0, protocol="prover_verifier", **seat)
    algorithm, settings = LEARNERS[learner]
    model = algorithm("MultiInputPolicy", env, seed=2 if learner == "a2c" else 1, device="cpu", **settings)
    model.set_logger(Logger(None, [logged := Kept({})]))
    assert evaluate_policy(model, env, 320)[0] < before
    model.learn(4096, log_interval=1)
    assert evaluate_policy(model, env, 320)[0] > after
    assert logged.values["rollout/ep_rew_mean"] > before
    assert logged.values["rollout/ep_len_mean"] == 1


def test_a_saved_model_goes_on_learning(tmp_path):
    env = make_vec_env(ID, 64, seed=0, **VERIFIER)
    model = PPO("MultiInputPolicy", env, seed=0, n_steps=2, batch_size=128, device="cpu").learn(128)
    model.save(tmp_path / "verifier")
    loaded = PPO.load(tmp_path / "verifier", env=env, device="cpu")
    seen = env.reset()
    assert same(loaded.predict(seen, deterministic=True)[0], model.predict(seen, deterministic=True)[0])
    loaded.learn(256, reset_num_timesteps=False)
    assert loaded.num_timesteps == 128 + 256
    weights = zip(loaded.policy.parameters(), model.policy.parameters(), strict=True)
    assert any(not torch.equal(one, other) for one, other in weights)


def test_its_wrappers_go_around():
    with pytest.warns(UserWarning, match="already wrapped with a `Monitor`"):
        env = VecMonitor(make_vec_env(ID, LANES, 0), info_keywords=("truth",))
    env, bare = VecCheckNan(env, raise_exception=True), make_vec_env(ID, LANES, 0)
    assert same(env.reset(), bare.reset())
    for _ in range(3):
        actions = actions_of(bare)
        wrapped, own = env.step(actions), bare.step(actions)
        assert same(dict(enumerate(wrapped[:3])), dict(enumerate(own[:3])))
        for info, expected in zip(wrapped[3], own[3], strict=True):
            assert info["episode"] | {"t": 0} == expected["episode"] | {"t": 0, "truth": expected["truth"]}
            assert same(info["terminal_observation"], expected["terminal_observation"])


def test_attributes_and_methods_are_those_of_the_batch():
    env = make_vec_env(ID, LANES, 0, render_mode="ansi", **PROVER)
    assert env.render_mode == "ansi"
    assert env.get_attr("render_mode", [0, 2]) == ["ansi"] * 2
    assert env.get_attr("action_space", 0) == [env.action_space]
    assert env.has_attr("game")
    assert not env.has_attr("missing")
    env.set_attr("note", "kept")
    assert env.get_attr("note") == ["kept"] * LANES
    with pytest.raises(ValueError, match="the 6 lanes are one batch"):
        env.set_attr("note", "lost", indices=[0])
    env.reset()
    shown = env.env_method("render", indices=[1, 3])
    assert shown == [env.games.render()[1], env.games.render()[3]]
    assert "(mod 2)" in shown[0]
    assert env.render() is None
    assert env.env_is_wrapped(Monitor) == [True] * LANES
    assert env.env_is_wrapped(gym.Wrapper, 0) == [False]
    assert env.get_attr("spec", 0)[0].id == ID
    assert env.env_method("close") == [None] * LANES
    env.close()


def test_wrong_words_name_what_is_expected():
    for games in (GameVectorEnv(Arith()), GameVectorEnv(Arith(), backend="torch", autoreset_mode="NEXT_STEP")):
        with pytest.raises(ValueError, match=r"games: expected (backend='torch'|autoreset_mode=.*SAME_STEP)"):
            GameVecEnv(games)
    env = make_vec_env(ID, LANES, 0)
    with pytest.raises(ValueError, match="expected a dict for all 6 lanes, got a list of 2"):
        env.set_options([{}, {}])
    env.set_options({"lane": 3})
    with pytest.raises(ValueError, match="unknown reset option 'lane'"):
        env.reset()
    env.set_options()
    env.reset()
    with pytest.raises(ValueError, match="action of verifier: expected integers"):
        env.step(np.zeros(LANES))
    with pytest.raises(ValueError, match=r"action of verifier: expected integers \(6,\)"):
        env.step(np.zeros(LANES - 1, int))
    with pytest.raises(TypeError, match="autoreset_mode"):
        make_vec_env(ID, autoreset_mode="DISABLED")


def test_a_symbol_outside_the_alphabet_forfeits():
    env = make_vec_env(ID, LANES, 0, **PROVER)
    env.reset()
    _, rewards, _, infos = env.step(np.full(LANES, 5))
    assert rewards.tolist() == [-1] * LANES
    assert {(info["forfeit"], info["verdict"]) for info in infos} == {("prover", -1)}


def test_without_it_the_error_names_the_extra_and_nothing_else_imports_it():
    code = "import sys; sys.modules['stable_baselines3'] = None; import pvg.envs.vector, pvg.envs; import pvg.envs.sb3"
    failed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ImportError: pvg.envs.sb3 needs Stable-Baselines3: pip install 'prover-verifier-games[sb3]'" in failed.stderr
    assert interpreted("import sys, pvg, pvg.envs.vector; print('stable_baselines3' in sys.modules)") == "False\n"
