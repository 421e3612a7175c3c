"""Conformance: what every task, protocol and environment must hold to, each broken rule with its own message.

For the ones registered here and for your own: call these from a test. All raise AssertionError.
"""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.utils.env_checker import check_env as gymnasium_check_env
from scipy.stats import binom

from pvg.game import Game
from pvg.protocol import Protocol, protocols
from pvg.spec import Spec, resolve
from pvg.task import Proof, Task

UNLIKELY = 1e-6  # a correct rate is refused this rarely
LANES = 250  # few enough for the serial kernels alone: compiling is what takes the time here


def check_task(task: Task, games: int = 4000, seed: int = 0) -> None:
    """A task keeps its contract under every registered protocol that one of its proofs fits."""
    _require(pickle.loads(pickle.dumps(task)) == task, f"{task} does not survive pickling")
    specs = list(fitting(task))
    _require(bool(specs), f"no registered protocol fits {task}")
    for spec in specs:
        with _global_randomness_untouched(str(task)):
            _values_in_range(spec, games, seed)
            _same_game_at_any_batch_size(spec, seed)
            _seeds_share_no_game(spec, seed)
    _text_round_trip(specs[0], seed)
    for name, proof in task.rules.proofs.items():
        for spec in specs:
            if spec.proof_name == name and "reference" not in _unplayable(spec):
                _stated_numbers_hold(spec, proof, games, seed)


def check_protocol(protocol: Protocol, task: Task, seed: int = 0) -> None:
    """A protocol keeps its contract on a task: players that say anything at all cannot break the game."""
    _require(pickle.loads(pickle.dumps(protocol)) == protocol, f"{protocol} does not survive pickling")
    spec = resolve(task, protocol)
    with _global_randomness_untouched(str(protocol)):
        _ends_in_time_and_pays_no_less_than_the_minimum(spec, seed)
        _finished_and_held_lanes_are_inert(spec, seed)
        _illegal_symbols_forfeit(spec, seed)
        _nothing_is_heard_before_its_time(spec, seed)
        _same_game_at_any_batch_size(spec, seed)


def check_env(env_id: str, episodes: int = 5, **settings: Any) -> None:
    """An environment id keeps Gymnasium's contract in every role, and lane i of its vector environment is its single game i."""
    for role in _roles(env_id, settings):
        env = gymnasium.make(env_id, role=role, **settings)
        gymnasium_check_env(env.unwrapped, skip_render_check=True)
        env.close()
        _vector_lane_is_the_single_game(env_id, {**settings, "role": role}, episodes)


def fitting(task: Task) -> Iterator[Spec]:
    """The task under each registered protocol that one of its proofs fits."""
    for name in protocols:
        for proof in task.rules.proofs:
            try:
                spec = resolve(task, protocols[name](), proof)
            except ValueError:
                continue
            yield spec


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise AssertionError(message)


@contextmanager
def _global_randomness_untouched(who: str) -> Iterator[None]:
    def state() -> tuple[Any, ...]:
        return random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state().numpy().tobytes()  # type: ignore[index]  # noqa: NPY002

    before = state()
    yield
    _require(state() == before, f"{who} moved a global random state")


def _unplayable(spec: Spec) -> set[str]:
    """Which scripted players the proof has no functions for."""
    return {"honest", "dishonest", "reference"} if spec.proof is None else set()


def _played(spec: Spec, lanes: int, seed: int) -> Game:
    """Lanes in which everybody said anything at all."""
    game = Game(spec, lanes, seed=seed)
    game.play({role.name: "random" for role in spec.roles})
    return game


def _values_in_range(spec: Spec, games: int, seed: int) -> None:
    game = Game(spec, games, seed=seed)
    truth = game.field("truth")
    _require(bool(((truth >= 0) & (truth < spec.task.answers)).all()), f"{spec.task}: truth is outside its answers")
    for f in spec.task.fields:
        values, low = game.field(f.name), -1 if f.blank else 0
        _require(
            bool(((values >= low) & (values < f.high)).all()),
            f"{spec.task}: field {f.name!r} leaves {low}..{f.high - 1}",
        )


def _same_game_at_any_batch_size(spec: Spec, seed: int) -> None:
    whole = _played(spec, LANES, seed).bytes
    for lanes in (1, 7, 64):
        _require(
            torch.equal(_played(spec, lanes, seed).bytes, whole[:lanes]),
            f"{spec.task}: a lane depends on the batch size",
        )
    alone = Game(spec, 1, seed=seed)
    alone.seed(seed, first_lane=LANES - 1)
    alone.play({role.name: "random" for role in spec.roles})
    _require(torch.equal(alone.bytes[0], whole[-1]), f"{spec.task}: lane {LANES - 1} alone plays another game")


def _seeds_share_no_game(spec: Spec, seed: int) -> None:
    coins = torch.cat([_played(spec, LANES, seed + i).field("coins") for i in range(3)])
    _require(len(coins.unique()) == len(coins), f"{spec.task}: two seeds share a stream of draws")


def _text_round_trip(spec: Spec, seed: int) -> None:
    game = _played(spec, 20, seed)
    fields = (*spec.task.statement, *spec.task.claim)
    for i in range(20):
        values = {f.name: game.field(f.name)[i].numpy() for f in fields}
        again = spec.task.parse(spec.task.render(values))
        for f in fields:
            _require(np.array_equal(again[f.name], values[f.name]), f"{spec.task}: {f.name!r} does not survive its text")
    for kind, parts in (spec.proof.kinds if spec.proof else {}).items():
        symbols = np.array([part.high - 1 for part in parts for _ in range(part.size)], dtype=np.int32)
        text = spec.task.render_utterance(kind, parts, symbols)
        back = spec.task.parse_utterance(kind, parts, text)
        _require(np.array_equal(back, symbols), f"{spec.task}: a {kind} does not survive its text")


def _stated_numbers_hold(spec: Spec, proof: Proof, games: int, seed: int) -> None:
    """Honest accepted at the stated completeness; no dishonest prover above the stated soundness error, the last at it."""
    provers = [role.name for role in spec.roles if role.seat == "prover"]
    for prover in ("honest", *proof.dishonest):
        game = Game(spec, LANES, seed=seed)
        players = game.players(dict.fromkeys(provers, prover))
        accepted = n = 0
        for _ in range(max(1, games // LANES)):
            game.play(players)
            provable = torch.isin(game.field("truth"), torch.tensor(proof.proves, dtype=torch.int8))
            lanes = provable if prover == "honest" else ~provable
            accepted, n = accepted + int((game.field("verdict") == 1)[lanes].sum()), n + int(lanes.sum())
        _require(n > 0, f"{spec.task}: {games} games held no {'true' if prover == 'honest' else 'false'} claim")
        if prover == "honest":
            low = binom.cdf(accepted, n, proof.completeness) > UNLIKELY
            _require(low, f"{spec.task}: honest accepted {accepted} of {n}, stated completeness {proof.completeness}")
        else:
            high = binom.sf(accepted - 1, n, proof.soundness_error) > UNLIKELY
            stated = f"{spec.task}: {prover} accepted {accepted} of {n}, stated soundness error {proof.soundness_error}"
            _require(high, stated)
            strongest = proof.exact and prover == list(proof.dishonest)[-1]
            attained = not strongest or binom.cdf(accepted, n, proof.soundness_error) > UNLIKELY
            _require(attained, f"{stated}, exact, and this is the strongest")


def _ends_in_time_and_pays_no_less_than_the_minimum(spec: Spec, seed: int) -> None:
    game = _played(spec, LANES, seed)
    returns = game.returns
    _require(bool(game.over.all()), f"{spec.protocol}: not over after its horizon of {spec.protocol.horizon}")
    steps = int(game.field("elapsed").max())
    _require(steps <= spec.protocol.horizon, f"{spec.protocol}: took {steps} turns, horizon {spec.protocol.horizon}")
    for i, role in enumerate(spec.roles):
        least = float(returns[:, i].min())
        _require(least >= role.minimum, f"{spec.protocol}: {role.name} got {least}, less than its minimum {role.minimum}")


def _finished_and_held_lanes_are_inert(spec: Spec, seed: int) -> None:
    game = Game(spec, 8, seed=seed)
    before = game.bytes.clone()
    game.step(torch.zeros_like(game.actions), hold=torch.ones(8, dtype=torch.bool))
    _require(torch.equal(game.bytes, before), f"{spec.protocol}: a held lane changed")
    game.play({role.name: "random" for role in spec.roles})
    over = game.bytes.clone()
    reward = game.step(torch.zeros_like(game.actions))
    _require(torch.equal(game.bytes, over), f"{spec.protocol}: a finished lane changed")
    _require(not reward.any(), f"{spec.protocol}: a finished lane was paid")


def _each_turn(spec: Spec, seed: int, visit: Callable[[Game, Any], None]) -> None:
    """Play random games in 16 lanes and visit each row of the table when its turn has come in some lane."""
    game = Game(spec, 16, seed=seed)
    scripted = {role.name: "random" for role in spec.roles}
    cast = tuple(game.players(scripted).values())
    for _ in range(spec.protocol.horizon):
        for row in spec.rows:
            if bool((game.field("turn") == row.turn).any()):
                visit(game, row)
        game.speak(cast)  # type: ignore[arg-type]
        game.step()


def _illegal_symbols_forfeit(spec: Spec, seed: int) -> None:
    def visit(game: Game, row: Any) -> None:
        here = game.field("turn") == row.turn
        before, actions = game.bytes.clone(), torch.zeros_like(game.actions)
        for name in row.speakers:
            role = spec.role_index(name)
            acting = here & game.acting[:, role]
            for symbol in (-1, int(spec.alphabet[spec.rows.index(row), 0]), 2**31 - 1):
                actions.zero_()
                actions[:, role, 0] = symbol
                reward = game.step(actions, hold=~acting)
                fair = torch.zeros(len(spec.roles))
                fair[role] = spec.roles[role].minimum
                _require(bool((game.field("forfeit")[acting] == role).all()), f"{row}: symbol {symbol} is no forfeit")
                _require(bool((reward[acting] == fair).all()), f"{row}: a forfeit pays {reward[acting]}, not {fair}")
                _require(bool(game.over[acting].all()), f"{row}: the game goes on after a forfeit")
                game.bytes.copy_(before)

    _each_turn(spec, seed, visit)


def _nothing_is_heard_before_its_time(spec: Spec, seed: int) -> None:
    """An utterance shows in no observation but its speaker's until it is revealed, and in no column of a role that is no hearer."""

    def visit(game: Game, row: Any) -> None:
        if row.slot is None:
            return
        here = game.field("turn") == row.turn
        for i, role in enumerate(spec.roles):
            columns = [c for c in spec.view(i) if c.row is not None and c.row.slot == row.slot]
            concerned = role.name in (*row.speakers, *row.hearers)
            _require(concerned or not columns, f"{row}: {role.name} is no hearer and has a column for it")
            packed = game.observe(i).packed
            said = game.field("said")[:, row.slot, 0] >= 0
            for column in columns:
                known = packed[:, column.start : column.stop].bool().any(1)
                _require(not bool((known & here & ~said).any()), f"{row}: {role.name} hears what was not said")
                early = here & (row.revealed is not None) & (role.name not in row.speakers)
                _require(not bool((known & early).any()), f"{row}: {role.name} hears it too early")

    _each_turn(spec, seed, visit)


def _roles(env_id: str, settings: Mapping[str, Any]) -> list[str]:
    env = gymnasium.make(env_id, **settings)
    names = [role.name for role in env.unwrapped.game.spec.roles]  # type: ignore[attr-defined]
    env.close()
    return names


def _vector_lane_is_the_single_game(env_id: str, settings: Mapping[str, Any], episodes: int) -> None:
    lanes, chosen, seed = 5, 3, 11
    vector = gymnasium.make_vec(env_id, num_envs=lanes, **settings)
    single = gymnasium.make(env_id, **settings)
    seen, _ = vector.reset(seed=seed)
    alone, _ = single.reset(seed=seed, options={"lane": chosen})
    vector.action_space.seed(seed)
    for _ in range(episodes * single.unwrapped.game.spec.protocol.horizon):  # type: ignore[attr-defined]
        for name in alone:
            _require(np.array_equal(seen[name][chosen], alone[name]), f"{env_id}: lane {chosen} sees another {name!r}")
        actions = vector.action_space.sample()
        seen, rewards, ended, _, _ = vector.step(actions)
        alone, reward, over, _, _ = single.step(actions[chosen])
        same = float(rewards[chosen]) == float(reward) and bool(ended[chosen]) == over
        _require(same, f"{env_id}: lane {chosen} was paid or ended otherwise")
        if over:
            alone, _ = single.reset()
    vector.close()
    single.close()
