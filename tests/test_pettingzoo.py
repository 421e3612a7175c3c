"""All seats of a game as PettingZoo environments, and each as a Gymnasium environment."""

from __future__ import annotations

import copy
import doctest
import pickle
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.error import NameNotFound, ResetNeeded
from interpreted import interpreted
from pettingzoo.test import api_test, parallel_api_test, parallel_seed_test, seed_test
from toys import PROVER, VERIFIER, Bit, Different, DrawnSpeaker, EarlyDecision, HiddenSlot, PrivateCoin

import pvg
from pvg.agent import default_agent
from pvg.envs import aec_env, parallel_env
from pvg.envs import pettingzoo as faces
from pvg.envs.single import GameEnv
from pvg.field import Field
from pvg.game import Game
from pvg.lane import lane
from pvg.protocol import Protocol, ProtocolRules, Role, Row, next_turn, protocols
from pvg.registry import UnknownName
from pvg.spec import default_protocol, resolve
from pvg.task import Proof, Task, tasks
from pvg.tasks import Arith


@dataclass(frozen=True)
class PublicCoins(Protocol):
    """Nature tosses a coin before, beside and after what the prover says, which has the last word beside the verdict, and pays
    the prover for each that is 1.
    """

    roles = (PROVER, Role("nature", "nature", 0.0), VERIFIER, Role("idle", "prover", -1.0))
    table = (
        Row(0, ("nature",), "coin", 0, ("prover", "verifier")),
        Row(1, ("nature",), "coin", 1, ("prover", "verifier")),
        Row(1, ("prover",), "message", 2, ("verifier",)),
        Row(2, ("prover",), "message", 4),
        Row(2, ("verifier",), "verdict"),
        Row(3, ("nature",), "coin", 3, ("prover", "verifier")),
    )

    def kinds(self, task: Task, proof: Proof | None) -> dict[str, tuple[Field, ...]]:
        return {"coin": (Field("toss", 2),)}

    def build(self, task: Task, proof: Proof | None) -> ProtocolRules:
        @lane
        def deal(s: Any, tables: Any) -> None:
            s.side[0] = s.truth

        @lane
        def pay(s: Any, tables: Any, reward: Any) -> None:
            if s.turn == 1 or s.turn == 2:
                reward[0] += s.said[s.turn - 1, 0]
            if s.turn < 0:
                reward[0] += s.said[3, 0]

        return ProtocolRules(deal, pay, next_turn)


TOYS: list[tuple[Task, Protocol]] = [
    (Bit(), EarlyDecision()),
    (Bit(), DrawnSpeaker()),
    (Different(), PrivateCoin()),
    (Bit(), HiddenSlot()),
    (Bit(), PublicCoins()),
]
toys = pytest.mark.parametrize(("task", "protocol"), TOYS, ids=lambda thing: type(thing).__name__)

ADVICE = (
    "unknown reset option 'options'",  # which PettingZoo's tests give
    "Observation is not a NumPy array",  # what they say of Dict spaces and of players with names
    "Observation space for each agent probably should be",
    "Action space for each agent probably should be",
    "Agents have different observation space sizes",
    "We recommend agents to be named",
)
pytestmark = [pytest.mark.filterwarnings(f"ignore:{advice}") for advice in ADVICE]


def check_pettingzoo(task: Task | str, **words: Any) -> None:
    """Both environments of a game pass PettingZoo's own tests."""
    api_test(aec_env(task, **words), num_cycles=100)
    parallel_api_test(parallel_env(task, **words), num_cycles=100)
    seed_test(lambda: aec_env(task, **words))
    parallel_seed_test(lambda: parallel_env(task, **words))


EVERY_PROTOCOL = """
import warnings
from pvg.protocol import protocols
from pvg.task import tasks
from pvg.testing import fitting, on_two_tasks
from test_pettingzoo import ADVICE, check_pettingzoo
for advice in ADVICE:
    warnings.filterwarnings("ignore", advice)
every = [spec for name in tasks for spec in fitting(tasks[name]())]
for name in protocols:
    print(name, flush=True)
    spec = on_two_tasks(protocols[name], every)[0]
    check_pettingzoo(spec.task, protocol=spec.protocol, proof=spec.proof_name)
"""


def test_every_protocol_passes_pettingzoos_tests() -> None:
    interpreted(EVERY_PROTOCOL)


@toys
def test_toy_passes_pettingzoos_tests(task: Task, protocol: Protocol) -> None:
    check_pettingzoo(task, protocol=protocol)


def moves(game: Game) -> dict[str, Any]:
    """What the default agents say this turn, by the shapes of the action spaces."""
    spec = game.spec
    game.speak(tuple(default_agent(spec, i) for i in range(len(spec.roles))))
    said = {role.name: game.actions[0, i, : len(spec.choices(i))].numpy().copy() for i, role in enumerate(spec.roles)}
    return {name: symbols[0] if len(symbols) == 1 else symbols for name, symbols in said.items()}


@pytest.mark.parametrize(("task", "protocol"), [*TOYS[-2:], (Arith(), None)], ids=lambda thing: type(thing).__name__)
def test_scripted_actions_play_the_scripted_game(task: Task, protocol: Protocol | None) -> None:
    spec = resolve(task, protocol or default_protocol(task))
    whole, aside = Game(spec, 4, seed=5), Game(spec)
    returns = whole.play().clone()
    env, one_by_one = parallel_env(task, protocol=protocol), aec_env(task, protocol=protocol)
    for chosen in range(4):
        for game in (env, one_by_one):
            game.reset(seed=5, options={"lane": chosen})
            game.reset()
        paid = dict.fromkeys(env.possible_agents, 0.0)
        while env.agents:
            aside.bytes.copy_(env.game.bytes)
            _, rewards, *_ = env.step(moves(aside))
            paid = {name: paid[name] + rewards[name] for name in paid}
        assert torch.equal(env.game.bytes[0], whole.bytes[chosen])
        assert paid == {name: float(returns[chosen, i]) for name, i in env.roles.items()}
        paid = dict.fromkeys(env.possible_agents, 0.0)
        for agent in one_by_one.agent_iter():
            aside.bytes.copy_(one_by_one.game.bytes)
            _, reward, over, _, _ = one_by_one.last()
            paid[agent] += reward
            one_by_one.step(None if over else moves(aside)[agent])
        assert torch.equal(one_by_one.game.bytes[0], whole.bytes[chosen])
        assert paid == {name: float(returns[chosen, i]) for name, i in env.roles.items()}


def test_agent_sees_and_says_what_its_seat_does_as_a_gymnasium_environment() -> None:
    env = parallel_env(Bit(), protocol=EarlyDecision())
    seats = {name: GameEnv(Bit(), EarlyDecision(), name, "random") for name in env.possible_agents}
    for name, seat in seats.items():
        assert env.observation_space(name) == seat.observation_space
        assert env.action_space(name) == seat.action_space
    named: list[dict[str, Any]] = [{"seed": 5, "options": {"lane": 3}}, {}, {"seed": 6}, {"options": {"lane": 3}}, {}]
    for words in named:
        seen, alone = env.reset(**words)[0]["prover"], seats["prover"].reset(**words)[0]
        assert pickle.dumps(seen) == pickle.dumps(alone)
        assert torch.equal(env.game.bytes, seats["prover"].game.bytes)


def test_simultaneous_speakers_do_not_see_one_anothers_words() -> None:
    env = aec_env(Bit(), protocol=HiddenSlot())
    for word in range(3):
        env.reset(seed=0)
        before = {name: copy.deepcopy(env.observe(name)) for name in env.agents}
        record = env.game.bytes.clone()
        assert env.agent_selection == "prover"
        env.step(word)
        assert env.agent_selection == "rival"
        assert {name: repr(env.observe(name)) for name in env.agents} == {name: repr(seen) for name, seen in before.items()}
        assert torch.equal(env.game.bytes, record)
        env.step(2 - word)
        heard = env.last()[0]
        assert (env.agent_selection, heard["word_0"], heard["word_1"]) == ("verifier", 0, 3 - word)
        env.step(0)
        assert env.observe("verifier")["word_0"] == 1 + word


def test_only_who_is_to_speak_is_selected_and_everybody_once_more_at_the_end() -> None:
    env = aec_env(Bit(), protocol=HiddenSlot())
    env.reset(seed=0)
    selected = []
    for agent in env.agent_iter():
        selected.append(agent)
        env.step(None if env.terminations[agent] else 0)
    assert selected == ["prover", "rival", "verifier", "verifier", "prover", "rival", "verifier"]


def test_rewards_add_up_from_one_turn_of_an_agent_to_its_next() -> None:
    env = aec_env(Bit(), protocol=EarlyDecision())
    env.reset(seed=0)
    truth = int(env.game.field("truth")[0])
    env.step(2)
    env.step(2)
    assert (env.agent_selection, env.rewards["verifier"]) == ("prover", -0.25)
    env.step(2)
    assert (env.agent_selection, env.rewards["verifier"], env.last()[1]) == ("verifier", 0.0, -0.25)
    env.step(truth)
    assert env.agent_selection == "prover"
    env.step(None)
    assert env.last()[1:4] == (1.0, True, False)


def test_a_game_over_tells_everybody_how_it_ended() -> None:
    env = parallel_env(Bit(), protocol=EarlyDecision())
    _, infos = env.reset(seed=0)
    assert {name: info["acting"] for name, info in infos.items()} == {"prover": True, "verifier": False}
    assert all({*info} == {"acting", "action_mask"} for info in infos.values())
    env.step({"prover": 2})
    truth = int(env.game.field("truth")[0])
    _, rewards, terminations, truncations, infos = env.step({"verifier": truth})
    assert (rewards, env.agents) == ({"prover": 0.0, "verifier": 1.0}, [])
    assert terminations == {"prover": True, "verifier": True}
    assert truncations == {"prover": False, "verifier": False}
    for info in infos.values():
        assert (info["acting"], info["truth"], info["verdict"], info["forfeit"]) == (False, truth, truth, None)


@pytest.mark.parametrize("symbol", [3, -1, 2**31, np.uint64(2**63)])
def test_illegal_symbol_forfeits(symbol: Any) -> None:
    env = parallel_env(Bit(), protocol=EarlyDecision())
    env.reset(seed=0)
    _, rewards, terminations, _, infos = env.step({"prover": symbol, "verifier": 0})
    assert (rewards, all(terminations.values())) == ({"prover": -1.0, "verifier": 0.0}, True)
    assert infos["verifier"]["forfeit"] == "prover"


def test_only_those_whose_turn_it_is_are_heard() -> None:
    env = parallel_env(Bit(), protocol=EarlyDecision())
    records = []
    for other in ({}, {"verifier": 1}, {"verifier": 99}, {"verifier": "nonsense"}, {"verifier": None}):
        env.reset(seed=0)
        env.step({"prover": 1, **other})
        records.append(env.game.bytes.clone())
    assert all(torch.equal(record, records[0]) for record in records)


def test_bad_action_is_refused_before_anything_happens() -> None:
    env, one_by_one = parallel_env(Bit(), protocol=HiddenSlot()), aec_env(Bit(), protocol=HiddenSlot())
    env.reset(seed=0)
    before = env.game.bytes.clone()
    with pytest.raises(ValueError, match=r"actions of \['prover'\]: it is the turn of \['prover', 'rival'\]"):
        env.step({"prover": 1})
    for wrong in (1.0, None, [1], "accept"):
        with pytest.raises(ValueError, match=r"action of rival: expected integers \(\) in 0..2, got "):
            env.step({"prover": 1, "rival": wrong})
        one_by_one.reset(seed=0)
        with pytest.raises(ValueError, match=r"action of prover: expected integers \(\) in 0..2, got "):
            one_by_one.step(wrong)
        assert one_by_one.agent_selection == "prover"
    assert torch.equal(env.game.bytes, before)


def test_a_finished_game_wants_a_reset() -> None:
    env, one_by_one = parallel_env(Bit(), protocol=EarlyDecision()), aec_env(Bit(), protocol=EarlyDecision())
    for _ in range(2):
        with pytest.raises(ResetNeeded):
            env.step({"prover": 1})
        with pytest.raises(ResetNeeded):
            one_by_one.step(1)
        env.reset()
        env.step({"prover": 9})
        one_by_one.reset()
        for symbol in (9, None, None):
            one_by_one.step(symbol)


def test_mask_holds_the_symbols_of_the_turn_and_none_to_choose_from_out_of_turn() -> None:
    env = parallel_env(Different(), protocol=PrivateCoin())
    _, infos = env.reset(seed=0)
    assert infos["verifier"]["action_mask"].tolist() == [1, 1, 1, 1, 1]
    assert infos["prover"]["action_mask"].tolist() == [1, 0]
    *_, infos = env.step({"verifier": 0})
    assert infos["verifier"]["action_mask"].tolist() == [1, 0, 0, 0, 0]
    assert infos["prover"]["action_mask"].tolist() == [1, 1]
    *_, infos = env.step({"prover": 0})
    assert infos["verifier"]["action_mask"].tolist() == [1, 1, 1, 0, 0]
    drawn = parallel_env(Bit(), protocol=DrawnSpeaker())
    for seed in range(10):
        _, infos = drawn.reset(seed=seed)
        for name in ("merlin", "morgana"):
            assert infos[name]["action_mask"].tolist() == ([1, 1, 1] if infos[name]["acting"] else [1, 0, 0])


def test_masked_action_never_forfeits() -> None:
    for task, protocol in TOYS:
        env = parallel_env(task, protocol=protocol)
        for seed in range(10):
            _, infos = env.reset(seed=seed)
            while env.agents:
                *_, infos = env.step({name: env.action_space(name).sample(infos[name]["action_mask"]) for name in env.agents})
            assert infos[env.possible_agents[0]]["forfeit"] is None


def test_nature_tosses_its_coins_itself_and_what_never_speaks_is_no_agent() -> None:
    env = parallel_env(Bit(), protocol=PublicCoins())
    tossed = set()
    for seed in range(40):
        seen, infos = env.reset(seed=seed)
        assert [*seen] == [*infos] == env.agents == ["prover", "verifier"]
        assert infos["prover"]["acting"]
        first = env.step({"prover": 0})[1]["prover"]
        _, rewards, *_ = env.step({"verifier": 0, "prover": 0})
        coins = [int(env.game.field("said")[0, slot, 0]) for slot in (0, 1, 3)]
        assert (first, rewards["prover"], env.agents) == (coins[0] + coins[1], coins[2], [])
        tossed.add(tuple(coins))
    assert len(tossed) == 8


def test_transcript_is_the_onlookers() -> None:
    env = aec_env(Bit(), protocol=EarlyDecision(), render_mode="ansi")
    env.reset(seed=0)
    env.step(2)
    bit = int(env.game.field("bit")[0])
    assert env.render() == f"the bit is {bit}\nprover: 2"
    assert aec_env(Bit(), protocol=EarlyDecision()).render() is None
    env.close()


@pytest.mark.parametrize("make", [parallel_env, aec_env])
def test_copied_environment_is_one_of_its_own(make: Any) -> None:
    env = make(Bit(), protocol=HiddenSlot())
    env.reset(seed=3)
    for again in (copy.deepcopy(env), pickle.loads(pickle.dumps(env))):
        assert again.game is not env.game
        again.reset(seed=3)
        assert torch.equal(again.game.bytes, env.game.bytes)


def test_first_reset_without_a_seed_takes_a_random_one() -> None:
    keys = []
    for _ in range(5):
        env = parallel_env(Bit(), protocol=HiddenSlot())
        env.reset()
        keys.append(int(env.game.field("key")[0]))
    assert len({*keys}) == 5


def test_a_game_is_named_by_id_task_or_name() -> None:
    for named in ("pvg/Arith-v0", "Arith", Arith()):
        spec = parallel_env(named, protocol="solo", modulus=7, split="train").game.spec
        assert (spec.task, spec.protocol, spec.split) == (Arith(modulus=7), protocols["solo"](), "train")
    assert aec_env("pvg/SparseDigits-v0").game.spec.task == tasks["SparseDigits"]()
    with pytest.raises(NameNotFound, match="Did you mean: `Arith`"):
        aec_env("pvg/Arit-v0")


@pytest.mark.parametrize(
    ("words", "nearest"),
    [
        ({"protocol": "prover_verifer"}, "nearest are prover_verifier"),
        ({"modulo": 7}, "nearest are modulus"),
        ({"protocl": "solo"}, "nearest are protocol"),
        ({"proof": "transcrpt"}, "nearest are transcript"),
        ({"split": "training"}, "nearest are train"),
        ({"role": "verifier"}, "nearest are"),
    ],
)
@pytest.mark.parametrize("make", [parallel_env, aec_env])
def test_unknown_word_is_answered_with_the_nearest(make: Any, words: dict[str, Any], nearest: str) -> None:
    with pytest.raises(UnknownName, match=nearest):
        make("pvg/Arith-v0", **words)


def test_unknown_option_is_warned_of_and_a_lane_that_is_none_refused() -> None:
    env = parallel_env(Bit(), protocol=HiddenSlot())
    with pytest.warns(UserWarning, match="unknown reset option 'lanes': nearest are lane"):
        env.reset(options={"lanes": 3})
    with pytest.raises(ValueError, match=r"options\['lane'\]=-1"):
        env.reset(options={"lane": -1})


def test_game_that_nobody_gets_to_play_is_an_error() -> None:
    env = parallel_env(Bit(), protocol=HiddenSlot())
    env.game.redeal = lambda mask=None: env.game.field("turn").fill_(-1)  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="1000 games in a row ended before any agent's turn"):
        env.reset()


@pytest.mark.parametrize("make", [parallel_env, aec_env])
def test_example_plays(make: Any) -> None:
    runner = doctest.DocTestRunner()
    for example in doctest.DocTestFinder().find(make, globs={"pvg": pvg}):
        runner.run(example)
    assert (runner.failures, runner.tries > 2) == (0, True)


def test_without_pettingzoo_the_gymnasium_environments_work_and_the_error_names_the_extra() -> None:
    code = "import sys; sys.modules['pettingzoo'] = None; import pvg.envs.vector, pvg.envs.single; pvg.envs.parallel_env"
    failed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ImportError: parallel_env and aec_env need PettingZoo: pip install" in failed.stderr
    assert "'prover-verifier-games[pettingzoo]'" in failed.stderr
    with pytest.raises(AttributeError, match=r"'pvg\.envs' has no attribute 'env'"):
        _ = pvg.envs.env  # type: ignore[attr-defined]
    assert pvg.envs.aec_env is faces.aec_env
