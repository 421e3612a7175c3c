"""The vector environment: one seat of many games, each the same game a single environment plays."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import FlattenObservation, RecordEpisodeStatistics
from toys import Bit, Different, DrawnSpeaker, EarlyDecision, PrivateCoin

from pvg.envs.single import GameEnv
from pvg.envs.vector import GameVectorEnv
from pvg.lane import lane
from pvg.protocol import ProtocolRules, next_turn, score
from pvg.protocols import ProverVerifier
from pvg.registry import UnknownName
from pvg.task import Proof, Task
from pvg.tasks import Arith

ID, LANES = "pvg/Arith-v0", 5
MODES = list(AutoresetMode)


@dataclass(frozen=True)
class Toll(ProverVerifier):
    """prover_verifier in which the verifier pays 1/4 for the message, before it says anything."""

    def build(self, task: Task, proof: Proof | None) -> ProtocolRules:
        @lane
        def pay(s: Any, tables: Any, reward: Any) -> None:
            reward[1] += score(s.verdict, s.truth, 2) if s.turn < 0 else -0.25

        return ProtocolRules(super().build(task, proof).deal, pay, next_turn)


SEATS: list[tuple[Any, ...]] = [
    ("Arith", "prover_verifier", "verifier", None),
    ("Arith", "prover_verifier", "prover", None),
    (Bit(), EarlyDecision(), "verifier", "honest"),
    (Bit(), DrawnSpeaker(), "merlin", {"morgana": "opposite", "verifier": "random"}),
    (Different(), PrivateCoin(), "verifier", None),
    (Arith(), Toll(), "verifier", None),
]


class OfLane(gym.Wrapper[Any, Any, Any, Any]):
    """A single environment that plays a lane of the seed it is given."""

    def __init__(self, seat: tuple[Any, ...], lane: int) -> None:
        super().__init__(GameEnv(*seat))
        self.lane = lane

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        return self.env.reset(seed=seed, options=None if seed is None else {"lane": self.lane})


def same(one: Any, other: Any) -> bool:
    """Equal values in equal places, whatever the width of a number."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if any(value is None or isinstance(value, dict | str) for value in one):
        pairs = zip(one, other, strict=True)
        return all(same(a, b) if isinstance(a, dict) and isinstance(b, dict) else a == b for a, b in pairs)
    return np.array_equal(one, other)


def vector(num_envs: int = LANES, **settings: Any) -> Any:
    return gym.make_vec(ID, num_envs=num_envs, **settings)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seat", SEATS, ids=lambda seat: f"{type(seat[1]).__name__}-{seat[2]}")
def test_lanes_are_the_single_games_under_gymnasiums_own_vector_environment(seat, mode):
    batched = GameVectorEnv(*seat, num_envs=LANES, autoreset_mode=mode)
    listed = SyncVectorEnv([partial(OfLane, seat, lane) for lane in range(LANES)], autoreset_mode=mode)
    assert (batched.observation_space, batched.action_space) == (listed.observation_space, listed.action_space)
    assert same(batched.reset(seed=9), listed.reset(seed=[9] * LANES))
    batched.action_space.seed(9)
    endings = 0
    for _ in range(25):
        actions = batched.action_space.sample()
        one, other = batched.step(actions), listed.step(actions)
        assert all(same(a, b) for a, b in zip(one, other, strict=True)), (one, other)
        assert one[0] in batched.observation_space
        ended = one[2]
        endings += ended.sum()
        if mode is AutoresetMode.DISABLED and ended.any():
            options = {"reset_mask": ended}
            assert same(batched.reset(options=options), listed.reset(options=dict(options)))
    assert endings > 2 * LANES
    assert same(batched.reset(), listed.reset())
    one, other = batched.step(actions), listed.step(actions)
    assert all(same(a, b) for a, b in zip(one, other, strict=True))


def test_what_is_paid_before_the_first_turn_comes_with_the_first_step():
    single, batched = GameEnv(Arith(), Toll()), GameVectorEnv(Arith(), Toll(), num_envs=2)
    single.reset(seed=1)
    batched.reset(seed=1)
    for _ in range(3):
        assert batched.step(np.array([2, 2]))[1].tolist() == [-0.25, -0.25]
        assert single.step(2)[1] == -0.25
        single.reset()


@pytest.mark.parametrize("mode", MODES)
def test_torch_returns_tensors_of_the_same_games(mode):
    arrays, tensors = (vector(backend=backend, autoreset_mode=mode) for backend in ("numpy", "torch"))
    assert same(arrays.reset(seed=2)[0], tensors.reset(seed=2)[0])
    for step in range(6):
        actions = np.arange(LANES) * (step + 1) % 4
        one, other = arrays.step(actions), tensors.step(torch.from_numpy(actions))
        assert all(isinstance(x, torch.Tensor) for x in (*other[0].values(), *other[1:4]))
        assert same(one[0], other[0])
        assert all(same(a, b) for a, b in zip(one[1:4], other[1:4], strict=True))
        assert one[4].keys() == other[4].keys()
        ended, how = (infos.get("final_info", infos) for infos in (one[4], other[4]))
        if ended:
            roles = [[*("prover", "verifier"), None][i] for i in how["forfeit"]]
            assert (roles, how["truth"].tolist()) == (ended["forfeit"].tolist(), ended["truth"].tolist())
        if "final_obs" in one[4]:
            assert all(
                same(seen, {k: v[i] for k, v in other[4]["final_obs"].items()}) for i, seen in enumerate(one[4]["final_obs"])
            )


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_what_was_returned_never_changes(backend):
    env = vector(backend=backend, role="prover")
    returned = [env.reset(seed=1)]
    actions = torch.zeros((LANES, 5), dtype=torch.int64)
    returned += [env.step(actions if backend == "torch" else actions.numpy()) for _ in range(3)]
    before = pickle.dumps(returned[0]), pickle.dumps(returned[1])
    env.step(actions + 9 if backend == "torch" else actions.numpy() + 9)
    env.reset(seed=2)
    assert (pickle.dumps(returned[0]), pickle.dumps(returned[1])) == before


def test_unfinished_lanes_are_told_nothing_of_their_ending():
    env = GameVectorEnv(Bit(), EarlyDecision(), opponents="honest", num_envs=40)
    env.reset(seed=0)
    _, _, ended, _, infos = env.step(np.array([2, 0] * 20))
    assert ended.tolist() == [False, True] * 20
    assert infos["_final_info"].tolist() == infos["final_info"]["_truth"].tolist() == ended.tolist()
    assert not infos["final_info"]["truth"][~ended].any()
    assert infos["final_info"]["truth"][ended].any()


def test_disabled_leaves_finished_lanes_as_they_are():
    env = vector(autoreset_mode="DISABLED")
    env.reset(seed=0)
    seen, reward, ended, _, _ = env.step(np.ones(LANES, int))
    assert ended.all()
    assert reward.all()
    again, reward, ended, _, _ = env.step(np.ones(LANES, int))
    assert same(again, seen)
    assert ended.all()
    assert not reward.any()
    mask = np.arange(LANES) == 2
    fresh, _ = env.reset(options={"reset_mask": mask})
    assert [same({k: v[i] for k, v in fresh.items()}, {k: v[i] for k, v in seen.items()}) for i in range(LANES)] == list(~mask)
    assert env.step(np.ones(LANES, int))[1].astype(bool).tolist() == mask.tolist()


def test_seeded_mask_names_the_games_of_its_lanes_alone():
    env = vector()
    env.reset(seed=0)
    mask = np.arange(LANES) == 3
    seen, _ = env.reset(seed=8, options={"reset_mask": mask})
    whole, _ = vector().reset(seed=8)
    first, _ = vector().reset(seed=0)
    for i in range(LANES):
        wanted = whole if mask[i] else first
        assert same({k: v[i] for k, v in seen.items()}, {k: v[i] for k, v in wanted.items()})


@pytest.mark.parametrize("mode", ["SAME_STEP", "SameStep", AutoresetMode.SAME_STEP])
def test_autoreset_mode_is_known_by_name_and_value(mode):
    assert vector(autoreset_mode=mode).metadata["autoreset_mode"] is AutoresetMode.SAME_STEP


@pytest.mark.parametrize(
    ("settings", "nearest"),
    [({"autoreset_mode": "SAMESTEP"}, "SAME_STEP"), ({"backend": "troch"}, "torch"), ({"bakend": "torch"}, "backend")],
)
def test_unknown_setting_is_answered_with_the_nearest(settings, nearest):
    with pytest.raises(UnknownName, match=f"nearest are .*{nearest}"):
        vector(**settings)


@pytest.mark.parametrize("num_envs", [0, -1, 2**31])
def test_number_of_lanes_that_is_none_is_refused(num_envs):
    with pytest.raises(ValueError, match=f"num_envs={num_envs} is outside"):
        vector(num_envs)


def test_device_that_is_not_there_is_refused():
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="torch finds no CUDA device"):
            vector(device="cuda", backend="torch")
    with pytest.raises(ValueError, match="expected 'cpu' or 'cuda'"):
        vector(device="meta")


@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize("wrong", ["lanes", "dimensions", "float", "nan", "bool", "object", "list", "other"])
def test_wrong_actions_are_refused_before_anything_happens(backend, wrong):
    right = np.ones(LANES, int)
    actions: Any = {
        "lanes": right[1:],
        "dimensions": right[:, None],
        "float": right * 1.0,
        "nan": np.full(LANES, np.nan),
        "bool": right > 0,
        "object": right.astype(object),
        "list": [[1], [1, 1], 1, 1, 1],
        "other": torch.from_numpy(right).to("meta") if backend == "torch" else "accept",
    }[wrong]
    if backend == "torch" and wrong in ("lanes", "dimensions", "float", "nan", "bool"):
        actions = torch.from_numpy(actions)
    env = vector(backend=backend)
    env.reset(seed=0)
    before = env.unwrapped.game.bytes.clone(), env.unwrapped.game.actions.clone()
    with pytest.raises(ValueError, match=r"action of verifier: expected integers \(5,\) in 0..2, got "):
        env.step(actions)
    assert torch.equal(env.unwrapped.game.bytes, before[0])
    assert torch.equal(env.unwrapped.game.actions, before[1])


@pytest.mark.parametrize("mask", [True, [True] * LANES, np.ones(LANES), np.ones(3, bool), np.zeros(LANES, bool)])
def test_wrong_reset_mask_is_refused(mask):
    env = vector()
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"options\['reset_mask'\]: expected bool \(5,\)"):
        env.reset(options={"reset_mask": mask})


def test_first_call_is_a_reset_of_every_lane():
    env = vector()
    with pytest.raises(ResetNeeded):
        env.step(np.ones(LANES, int))
    with pytest.raises(ResetNeeded):
        env.reset(options={"reset_mask": np.arange(LANES) == 0})
    with pytest.raises(UnknownName, match="nearest are reset_mask"):
        env.reset(options={"resetmask": None})
    assert not same(vector().reset()[0], vector().reset()[0])


@pytest.mark.parametrize("role", ["verifier", "prover"])
def test_a_hundred_thousand_fuzzed_actions_change_no_other_lane(role):
    lanes = 250
    fuzzed, clean = (vector(lanes, role=role) for _ in range(2))
    alone, random = np.arange(lanes) % 2 == 0, np.random.default_rng(0)
    seen = fuzzed.reset(seed=3)[0], clean.reset(seed=3)[0]
    wild = np.array([-1, 5, 127, 128, 255, 256, 2**31 - 1, 2**31, 2**32, 2**32 + 1, 2**63 - 1, -(2**31), -(2**63)])
    for _ in range(800):
        assert all(np.array_equal(seen[0][name][alone], seen[1][name][alone]) for name in seen[0])
        actions = random.integers(0, 3, fuzzed.action_space.shape)
        other = np.where(alone.reshape(-1, *[1] * (actions.ndim - 1)), actions, random.choice(wild, actions.shape))
        one, two = fuzzed.step(other), clean.step(actions)
        assert np.array_equal(one[1][alone], two[1][alone])
        assert (one[1][~alone] == -1).all()
        assert set(one[4]["final_info"]["forfeit"][~alone]) == {role}
        seen = one[0], two[0]


def test_final_observations_are_an_array_once_looked_into():
    env = vector()
    env.reset(seed=0)
    final = env.step(np.ones(LANES, int))[4]["final_obs"]
    assert len(final) == LANES
    assert len(final[np.array([True, False, True, False, False])]) == 2
    final[1] = None
    assert final[1] is None
    assert np.asarray(final).shape == (LANES,)


def test_gymnasiums_wrappers_fit():
    env = RecordEpisodeStatistics(vector())
    env.reset(seed=0)
    _, rewards, _, _, infos = env.step(np.ones(LANES, int))
    assert np.array_equal(infos["episode"]["r"], rewards)
    flat = FlattenObservation(vector(autoreset_mode="NEXT_STEP"))
    assert flat.reset(seed=0)[0].shape == (LANES, 5 + 2 * 6 + 5 * 6 + 5 + 6 * 5)


def test_each_lane_has_its_transcript():
    env = vector(render_mode="ansi")
    env.reset(seed=0)
    single = gym.make(ID, render_mode="ansi")
    single.reset(seed=0, options={"lane": 3})
    assert env.render()[3] == single.render()
    assert vector().render() is None


def test_spec_of_a_vector_environment_makes_it_again():
    env = vector(role="prover", backend="torch", autoreset_mode="NEXT_STEP")
    again = gym.make_vec(pickle.loads(pickle.dumps(env.spec)))
    assert again.spec == env.spec
    assert same(again.reset(seed=0)[0], env.reset(seed=0)[0])
