"""The single environment: one seat of one game."""

from __future__ import annotations

import copy
import itertools
import pickle

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import NameNotFound, ResetNeeded
from gymnasium.utils.env_checker import check_env
from toys import Bit, Different, DrawnSpeaker, EarlyDecision, HiddenSlot, PrivateCoin

from pvg.agent import Observation, Utterance, agents
from pvg.envs.single import GameEnv
from pvg.envs.spaces import entries, observation_space, places
from pvg.field import Field
from pvg.registry import UnknownName
from pvg.spec import Column, View
from pvg.task import tasks
from pvg.tasks import Arith

ID = "pvg/Arith-v0"


class Stubborn:
    """A prover that says the same in every lane and counts how often it is asked."""

    def __init__(self, *symbols: int) -> None:
        self.symbols, self.asked = torch.tensor(symbols, dtype=torch.int32), 0

    def act(self, observation: Observation, acting: torch.Tensor) -> Utterance:
        self.asked += 1
        return Utterance(self.symbols.expand(len(acting), -1))


def test_every_task_has_an_id():
    assert {f"pvg/{name}-v0" for name in tasks} == {id for id in gym.registry if id.startswith("pvg/")}


@pytest.mark.parametrize(
    ("protocol", "role"), [("solo", "verifier"), ("prover_verifier", "prover"), ("prover_verifier", "verifier")]
)
def test_registered_seat_passes_gymnasiums_checker(protocol, role):
    check_env(gym.make(ID, protocol=protocol, role=role, render_mode="ansi").unwrapped)


@pytest.mark.parametrize(
    ("task", "protocol", "role", "opponents"),
    [
        (Bit(), EarlyDecision(), "verifier", "honest"),
        (Bit(), DrawnSpeaker(), "merlin", {"morgana": "opposite", "verifier": "random"}),
        (Different(), PrivateCoin(), "verifier", None),
        (Bit(), HiddenSlot(), "prover", {"verifier": "random"}),
    ],
)
def test_seat_of_a_toy_passes_gymnasiums_checker(task, protocol, role, opponents):
    env = GameEnv(task, protocol, role, opponents)
    check_env(env, skip_render_check=True)
    for seed in range(20):
        seen, _ = env.reset(seed=seed)
        assert env.game.acting[0, env.seat.index]
        while True:
            seen, _, over, _, info = env.step(env.action_space.sample())
            assert seen in env.observation_space
            if over:
                break
        assert info["truth"] == env.game.field("truth")[0]


def test_observation_is_the_games_own():
    env = gym.make(ID)
    for seed in range(5):
        seen, _ = env.reset(seed=seed)
        packed = env.unwrapped.game.observe("verifier")
        for column in packed.view:
            raw = packed.packed[0, column.start : column.stop].numpy()
            assert np.array_equal(seen[column.field.name], raw)
    assert np.array_equal(seen["partial"] - 1, env.unwrapped.game.field("said")[0, 0].numpy())


def test_prover_has_heard_nothing_before_it_speaks():
    seen, _ = gym.make(ID, role="prover").reset(seed=0)
    assert seen["partial"].tolist() == [0] * 5


def test_spaces_follow_from_kind_and_shape():
    fields = [
        (Field("a", 7), gym.spaces.MultiDiscrete([7], dtype=np.int8)),
        (Field("b", 7, (3,), kind="node"), gym.spaces.MultiDiscrete([7, 7, 7], dtype=np.int8)),
        (Field("c", 7, (3,), kind="number"), gym.spaces.Box(0, 6, (3,), np.int8)),
        (Field("d", 2, (3,), kind="bit"), gym.spaces.Box(0, 1, (3,), np.int8)),
        (Field("e", 7, (2, 3)), gym.spaces.Box(0, 6, (2, 3), np.int8)),
        (Field("f", 1, kind="coordinate"), gym.spaces.Box(0, 1, (1,), np.int8)),
    ]
    starts = itertools.accumulate((f.size for f, _ in fields), initial=0)
    columns = (Column(f, start, 0, "statement") for (f, _), start in zip(fields, starts, strict=False))
    view = View("verifier", tuple(columns))
    assert observation_space(view) == gym.spaces.Dict({f.name: space for f, space in fields})
    packed = np.zeros((4, view.width), view.dtype)
    packed[:, 10:16] = [0, 1, 2, 3, 4, 5]
    assert entries(places(view), packed)["e"].shape == (4, 2, 3)
    assert entries(places(view), packed[0])["e"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert all(np.shares_memory(entry, packed) for entry in entries(places(view), packed).values())


def test_largest_alphabet_fits_the_space():
    env = gym.make(ID, modulus=127)
    assert env.observation_space["partial"].nvec.tolist() == [128] * 5
    assert all(env.reset(seed=seed)[0] in env.observation_space for seed in range(20))


def test_reset_goes_on_with_the_lanes_next_game():
    env = gym.make(ID)

    def games(first, count=4):
        return [pickle.dumps(seen) for seen, _ in [first, *(env.reset() for _ in range(count))]]

    once = games(env.reset(seed=5, options={"lane": 3}))
    assert len(set(once)) == len(once)
    assert games(env.reset(seed=5, options={"lane": 3})) == once
    assert games(env.reset(options={"lane": 3})) == once
    assert games(env.reset(seed=5)) != once
    assert games(env.reset(seed=6, options={"lane": 3})) != once


def test_first_reset_without_a_seed_takes_a_random_one():
    assert len({pickle.dumps(gym.make(ID).reset()[0]) for _ in range(5)}) == 5


def test_returns_of_an_episode_are_the_games_payments():
    for role in ("verifier", "prover"):
        env = gym.make(ID, role=role)
        for seed in range(20):
            env.reset(seed=seed)
            action = env.unwrapped.game.field("truth")[0].item() if role == "verifier" else np.zeros(5, int)
            _, reward, over, truncated, info = env.step(action)
            assert over
            assert not truncated
            assert reward == (1.0 if role == "verifier" else float(info["verdict"] == 1))


def test_reward_of_a_step_reaches_to_the_next_turn():
    env = GameEnv(Bit(), EarlyDecision(), opponents="honest")
    env.reset(seed=0)
    assert env.step(2)[1:3] == (-0.25, False)
    _, reward, over, _, info = env.step(int(env.game.field("truth")[0]))
    assert (reward, over, info["verdict"]) == (1.0, True, info["truth"])


@pytest.mark.parametrize("action", [3, -1, 2**31, 2**32, 2**40, np.uint64(2**63), np.int64(-(2**40)), np.array(9)])
def test_symbol_outside_the_alphabet_forfeits(action):
    env = gym.make(ID)
    env.reset(seed=0)
    _, reward, over, _, info = env.step(action)
    assert (reward, over, info["verdict"], info["forfeit"]) == (-1.0, True, -1, "verifier")


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
@pytest.mark.parametrize("symbol", [5, 2**32, 2**62])
def test_message_outside_the_alphabet_forfeits(symbol, dtype):
    env = gym.make(ID, role="prover")
    env.reset(seed=0)
    _, reward, over, _, info = env.step(np.array([0, 0, symbol, 0, 0], dtype))
    assert (reward, over, info["verdict"], info["forfeit"]) == (-1.0, True, -1, "prover")


@pytest.mark.parametrize("action", [1.0, np.nan, True, None, "accept", [1], np.array([[1], [0]]), [[1], [2, 3]], {}])
def test_wrong_kind_of_verdict_is_refused_before_anything_happens(action):
    env = gym.make(ID)
    env.reset(seed=0)
    before = env.unwrapped.game.bytes.clone()
    with pytest.raises(ValueError, match=r"action of verifier: expected integers \(\) in 0..2, got "):
        env.step(action)
    assert torch.equal(env.unwrapped.game.bytes, before)
    assert env.step(1)[2]


@pytest.mark.parametrize("action", [0, [0] * 4, np.zeros((1, 5), int), np.zeros(5), [0, 0, 0, 0, np.nan], [True] * 5])
def test_wrong_kind_of_message_is_refused(action):
    env = gym.make(ID, role="prover")
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"action of prover: expected integers \(5,\) in 0..4, got "):
        env.step(action)


def test_a_finished_game_wants_a_reset():
    env = gym.make(ID).unwrapped
    with pytest.raises(ResetNeeded):
        env.step(1)
    env.reset(seed=0)
    env.step(1)
    with pytest.raises(ResetNeeded):
        env.step(1)


@pytest.mark.parametrize(
    ("settings", "nearest"),
    [
        ({"role": "verifer"}, "nearest are verifier"),
        ({"protocol": "prover_verifer"}, "nearest are prover_verifier"),
        ({"opponents": "dishonst"}, "nearest are dishonest"),
        ({"opponents": {"provr": "honest"}}, "nearest are prover"),
        ({"opponents": {"verifier": "reference"}}, "nearest are prover"),
        ({"modulo": 7}, "nearest are modulus"),
        ({"protocl": "solo"}, "nearest are protocol"),
        ({"proof": "transcrpt"}, "nearest are transcript"),
        ({"split": "training"}, "nearest are train"),
    ],
)
def test_unknown_name_is_answered_with_the_nearest(settings, nearest):
    with pytest.raises(UnknownName, match=nearest):
        gym.make(ID, **settings)
    with pytest.raises(UnknownName, match=nearest):
        gym.make_vec(ID, num_envs=2, **settings)


def test_unknown_id_task_render_mode_and_option_are_answered_with_the_nearest():
    with pytest.raises(NameNotFound, match="Did you mean: `Arith`"):
        gym.make("pvg/Arit-v0")
    with pytest.raises(UnknownName, match="nearest are Arith"):
        gym.make(ID, task="Aritm")
    with pytest.raises(TypeError, match="nearest are ansi"):
        GameEnv("Arith", render_mode="ascii")
    with pytest.raises(UnknownName, match="nearest are lane"):
        gym.make(ID).reset(options={"lanes": 3})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"protocol": "solo", "opponents": "honest"}, "opponents='honest': expected a dict"),
        ({"opponents": {"prover": 3}}, r"opponents\['prover'\]=3: expected an agent"),
        ({"modulus": 1}, "modulus=1 is outside 2..127"),
    ],
)
def test_setting_that_does_not_fit_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        gym.make(ID, **settings)


@pytest.mark.parametrize("lane", [-1, 2**31, 1.0, "3", True, None])
def test_lane_that_is_none_is_refused(lane):
    with pytest.raises(ValueError, match=r"options\['lane'\]="):
        gym.make(ID).reset(seed=0, options={"lane": lane})


def test_opponents_are_agents_or_their_names():
    stubborn = Stubborn(1, 2, 3, 4, 0)
    for opponents in (stubborn, {"prover": stubborn}):
        seen, _ = gym.make(ID, opponents=opponents).reset(seed=0)
        assert seen["partial"].tolist() == [2, 3, 4, 5, 1]
    assert stubborn.asked == 2
    by_name, _ = gym.make(ID, opponents="honest").reset(seed=0)
    for opponents in ({"prover": "honest"}, agents["honest"]):
        seen, _ = gym.make(ID, opponents=opponents).reset(seed=0)
        assert np.array_equal(seen["partial"], by_name["partial"])


def test_game_the_opponent_forfeits_in_the_middle_ends_the_episode():
    env = GameEnv(Different(), PrivateCoin(), opponents=Stubborn(7))
    env.reset(seed=0)
    _, reward, over, _, info = env.step(0)
    assert (reward, over, info["forfeit"]) == (0.0, True, "prover")


def test_seat_that_never_gets_its_turn_is_an_error():
    with pytest.raises(RuntimeError, match="verifier: 1000 games in a row ended before its turn"):
        gym.make(ID, opponents=Stubborn(9, 9, 9, 9, 9)).reset(seed=0)


def test_transcript_shows_the_truth_only_when_the_game_is_over():
    env = gym.make(ID, render_mode="ansi", opponents="honest")
    env.reset(seed=4)
    before = env.render()
    assert before == "1 - 2 + 0 + 3 + 4 + 4 - 2 = 2 (mod 5)\nprover: 4 4 2 1 0"
    env.step(0)
    assert env.render() == f"{before}\nverdict: reject\ntruth: the claim is false"
    env.reset()
    env.step(7)
    assert env.render().splitlines()[2] == "forfeit: verifier said something illegal"


def test_transcript_shows_what_the_seat_may_know():
    verifier = GameEnv(Bit(), HiddenSlot(), opponents={"prover": "honest", "rival": "opposite"}, render_mode="ansi")
    verifier.reset(seed=0)
    assert verifier.render().startswith("(the statement is hidden)\nrival: ")
    verifier.step(0)
    lines = verifier.render().splitlines()
    assert [line.split(":")[0] for line in lines] == ["(the statement is hidden)", "prover", "rival", "verifier"]
    verifier.step(0)
    assert verifier.render().startswith("the bit is ")


def test_without_a_render_mode_there_is_no_transcript():
    env = gym.make(ID, disable_env_checker=True)
    env.reset(seed=0)
    assert env.unwrapped.render() is None


def test_spec_survives_json_pickling_and_copying():
    spec = gym.make(ID, protocol="prover_verifier", role="prover", opponents={"verifier": "reference"}, modulus=5).spec
    wanted, _ = spec.make().reset(seed=3)
    for again in (EnvSpec.from_json(spec.to_json()), pickle.loads(pickle.dumps(spec)), copy.deepcopy(spec)):
        assert again == spec
        assert pickle.dumps(again.make().reset(seed=3)[0]) == pickle.dumps(wanted)


def test_copied_environment_is_one_of_its_own():
    env = GameEnv("Arith", role="prover", modulus=5)
    wanted, _ = env.reset(seed=3)
    for again in (copy.deepcopy(env), pickle.loads(pickle.dumps(env))):
        assert again.game is not env.game
        assert again.reset(seed=3)[0]["x"].tolist() == wanted["x"].tolist()


def test_task_may_be_an_object():
    assert gym.make(ID, task=Arith(modulus=7), modulus=5).unwrapped.game.spec.task == Arith()
