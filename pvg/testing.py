"""Conformance: what every task, protocol and environment must hold to, each broken rule with its own message.

For the ones registered here and for your own: call these from a test. All raise AssertionError.
"""

from __future__ import annotations

import hashlib
import math
import pickle
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.utils.env_checker import check_env as gymnasium_check_env
from numpy.typing import NDArray
from scipy.stats import binom

from pvg.agent import LaneAgent, agents, default_agent, find_agent, one_of
from pvg.game import Game
from pvg.lane import lane
from pvg.protocol import VERDICT, Protocol, protocols
from pvg.spec import Spec, default_protocol, played, resolve
from pvg.task import Proof, Task, tasks
from pvg.verifier import remember

UNLIKELY = 1e-6  # a correct rate is refused this rarely
PARITY = 2**31 - 1  # the bits of a lane's key that say which dishonest prover plays in it
NUMBERS = 4000  # lanes in which the stated numbers are counted
LANES = 120  # few enough for the serial kernels alone: compiling is what takes the time here, or interpreting


def check_task(task: Task, games: int = 4000, seed: int = 0) -> None:
    """A task keeps its contract with each of its proofs, under the protocol that plays it unless told otherwise."""
    _require(pickle.loads(pickle.dumps(task)) == task, f"{task} does not survive pickling")
    specs = list(played(task))
    for spec in specs:
        with _global_randomness_untouched(str(task)):
            _values_in_range(spec, games, seed)
            _same_game_at_any_batch_size(spec, seed)
            _seeds_share_no_game(spec, seed)
    _text_round_trip(specs[0], seed)
    for spec in specs:
        _no_secret_is_visible(spec, seed)
        if spec.proof is not None and (not _asked(spec) or spec.proof.ask is not None):
            _stated_numbers_hold(spec, spec.proof, games, seed)
        _reference_decides_on_what_it_sees(spec, seed)


def check_numbers(
    task: Task, protocol: Protocol | None = None, proof: str | None = None, games: int = 200_000, seed: int = 0
) -> None:
    """The stated completeness against the honest prover, and soundness error against the strongest, each in at least that many
    games: within a binomial interval where exact, else not above.
    """
    spec = resolve(task, protocol or default_protocol(task, proof), proof)
    _require(spec.proof is not None, f"{spec.protocol} plays no proof of {task}")
    assert spec.proof is not None
    strongest = list(spec.proof.dishonest)[-1]
    counts = [(0, 0), (0, 0)]
    while min(n for _, n in counts) < games:
        more = _counts(spec, spec.proof, find_agent(strongest, spec), 1, games, seed)
        counts = [(hits + hit, n + extra) for (hits, n), (hit, extra) in zip(counts, more, strict=True)]
        _require(min(n for _, n in more) > 0, f"{spec.task}: {games} games held no true claim, or no false one")
        seed += 1
    for number, count in enumerate(counts):
        _agrees(spec, spec.proof, number, strongest if number else "honest", *count)


def check_protocol(protocol: Protocol, task: Task, proof: str | None = None, seed: int = 0) -> None:
    """A protocol keeps its contract on a task: players that say anything at all cannot break the game."""
    _require(pickle.loads(pickle.dumps(protocol)) == protocol, f"{protocol} does not survive pickling")
    spec = resolve(task, protocol, proof)
    with _global_randomness_untouched(str(protocol)):
        _ends_in_time_and_pays_no_less_than_the_minimum(spec, seed)
        _finished_and_held_lanes_are_inert(spec, seed)
        _illegal_symbols_forfeit(spec, seed)
        _nothing_is_heard_before_its_time(spec, seed)
        _no_secret_is_visible(spec, seed)
        _reference_decides_on_what_it_sees(spec, seed)
        _same_game_at_any_batch_size(spec, seed)


def check_env(env_id: str, episodes: int = 5, **settings: Any) -> None:
    """An environment id keeps Gymnasium's contract in every role, and lane i of its vector environment is its single game i."""
    roles = _roles(env_id, settings)
    for role, speaks in roles.items():
        if not speaks:
            continue
        # Opponents who say anything at all: as good for this, and compiled in no time.
        chosen = {"role": role, "opponents": dict.fromkeys(set(roles) - {role}, "random"), **settings}
        env = gymnasium.make(env_id, **chosen)
        gymnasium_check_env(env.unwrapped, skip_render_check=True)
        env.close()
        _vector_lane_is_the_single_game(env_id, chosen, episodes)


def covering() -> Iterator[Spec]:
    """Every registered task with its own proofs, and every registered protocol on two tasks."""
    every = [spec for name in tasks for spec in fitting(tasks[name]())]
    yield from dict.fromkeys(
        [
            *(spec for name in tasks for spec in played(tasks[name]())),
            *(spec for name in protocols for spec in on_two_tasks(protocols[name], every)),
        ]
    )


def on_two_tasks(protocol: type[Protocol], games: Iterable[Spec]) -> list[Spec]:
    """Of some games, those of a protocol on the two tasks of the smallest lanes."""
    fits: dict[type[Task], Spec] = {}
    for spec in sorted(games, key=lambda spec: spec.bytes_per_lane):
        if type(spec.protocol) is protocol:
            fits.setdefault(type(spec.task), spec)
    return list(fits.values())[:2]


def records(spec: Spec, lanes: int = 16) -> str:
    """A hash of what whole games of seed 0 come to, played by the default players: the same on every device, compiled or not."""
    game = Game(spec, lanes, seed=0)
    game.play()
    return hashlib.sha256(game.bytes.numpy().tobytes()).hexdigest()


def fitting(task: Task) -> Iterator[Spec]:
    """The task under each registered protocol, with each proof that fits it."""
    found: dict[Spec, None] = {}
    for name in protocols:
        for proof in (*task.rules.proofs, None):
            try:
                found[resolve(task, protocols[name](), proof)] = None
            except ValueError:
                continue
    yield from found


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


def _asked(spec: Spec) -> bool:
    return any(row.kind == "question" for row in spec.rows)


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
    """The answer argued is given at the stated completeness where it is true and the proof proves it; where it is false, no
    dishonest prover gets it above the stated soundness error, and the last gets it at that error if exact.
    """
    names = list(proof.dishonest)
    for number, count in enumerate(_counts(spec, proof, EACH_IN_TURN, len(names), games, seed)):
        _agrees(spec, proof, number, names[number - 1] if number else "honest", *count)


def _counts(spec: Spec, proof: Proof, prover: LaneAgent, dishonest: int, games: int, seed: int) -> list[tuple[int, int]]:
    """How often the answer argued was given, and in how many games: of true answers the proof proves, then of false ones as
    argued by each of so many dishonest provers.
    """
    game = Game(spec, min(games, NUMBERS), seed=seed)
    players, argues = in_turn(game, prover), [role.seat for role in spec.roles].index("prover")
    provable = torch.tensor(proof.proves, dtype=torch.int8)
    hits, games_of = np.zeros((2, 1 + dishonest), dtype=np.int64)
    for _ in range(math.ceil(games / game.num_envs)):
        game.play(players)
        side, truth = game.field("side")[:, argues], game.field("truth")
        who = 1 + (game.field("key") & PARITY) % max(dishonest, 1)
        who = torch.where(side == truth, torch.where(torch.isin(truth, provable), 0, -1), who)
        for i in range(1 + dishonest):
            hits[i] += int((game.field("verdict") == side)[who == i].sum())
            games_of[i] += int((who == i).sum())
    return [(int(hit), int(n)) for hit, n in zip(hits, games_of, strict=True)]


def _agrees(spec: Spec, proof: Proof, number: int, prover: str, accepted: int, n: int) -> None:
    """What was counted is not unlikely under what is stated; number 0 is the honest prover, the last is the strongest."""
    stated = proof.soundness_error if number else proof.completeness
    if stated is None:
        return
    _require(n > 0, f"{spec.task}: no game held a {'false' if number else 'true'} claim")
    too_few = binom.cdf(accepted, n, stated) < UNLIKELY
    too_many = binom.sf(accepted - 1, n, stated) < UNLIKELY
    attained = number == 0 or (proof.exact and prover == list(proof.dishonest)[-1])
    says = f"{spec.task}, proof {spec.proof_name!r}: {prover} accepted {accepted} of {n}, stated"
    says += f" {'soundness error' if number else 'completeness'} {stated}"
    _require(not too_many, says)
    _require(not (too_few and attained), says + (", exact, and this is the strongest" if number else ""))


def _each(spec: Spec, role: int) -> Any:
    rows = spec.row_of(role)
    own = [spec.rows[row].kind in spec.protocol.kinds(spec.task, spec.proof) for row in rows[rows >= 0]]
    if spec.proof is None or any(own):
        return agents["dishonest"].build(spec, role)
    honest, slots = spec.proof.honest, spec.slot[rows]
    count, cheat = len(spec.proof.dishonest), one_of(list(spec.proof.dishonest.values()))

    @lane
    def act(s: Any, tables: Any, out: Any) -> None:
        side, slot = s.side[role], slots[s.turn]
        if side == s.truth:
            honest(s, tables, side, slot, out)
        else:
            cheat(np.int64(s.key & np.uint64(PARITY)) % max(count, 1), s, tables, side, slot, out)

    return act


def in_turn(game: Game, prover: LaneAgent | None = None) -> dict[str, LaneAgent]:
    """Players for a game: in every prover's seat the given one (None: EACH_IN_TURN), elsewhere the default ones."""
    provers = {role.name: prover or EACH_IN_TURN for role in game.spec.roles if role.seat == "prover"}
    return {name: player for name, player in game.players(provers).items() if isinstance(player, LaneAgent)}


# One compiled player in place of one a prover.
EACH_IN_TURN = LaneAgent("each_in_turn", _each, "honest where the side argued is true, else the dishonest provers, by lane")


def _reference_decides_on_what_it_sees(spec: Spec, seed: int) -> None:
    """The reference verifier decides the same in a record that holds its observation and nothing else."""
    deciding = {(row.turn, name) for row in spec.rows if row.kind == VERDICT for name in row.speakers}
    if not deciding:
        return
    turn, name = max(deciding)
    me = spec.role_index(name)
    if default_agent(spec, me).name != "reference":
        return
    game, blank = Game(spec, LANES, seed=seed), Game(spec, LANES, seed=seed)
    game.play(in_turn(game))
    remember(blank, game.observe(me))
    for field in ("key", "episode"):
        blank.field(field).copy_(game.field(field))
    blank.field("elapsed").copy_(game.field("elapsed") - 1)
    blank.field("turn").fill_(turn)
    blank.speak(tuple(agents["reference"] if i == me else None for i in range(len(spec.roles))))
    elapsed = game.field("elapsed")
    last = (elapsed == elapsed.max()) | (len(deciding) == 1)  # of several verdicts, who decided earlier did at another turn
    same = torch.equal(blank.actions[last, me, 0].to(torch.int8), game.field("verdict")[last])
    _require(same, f"{spec.task}, proof {spec.proof_name!r}: `check` reads what the verifier does not see")


def _no_secret_is_visible(spec: Spec, seed: int) -> None:
    """No integer hidden from a seat stands, under whatever names, in a column of anything that seat sees at any turn."""
    game = Game(spec, LANES, seed=seed)
    cast = tuple(agents["random"] for _ in spec.roles)
    seen: dict[frozenset[Any], list[NDArray[Any]]] = defaultdict(list)
    for _ in range(spec.horizon):
        for i, role in enumerate(spec.roles):
            if role.seat != "nature":
                seen[frozenset({role.seat, role.beside} - {None})].append(game.observe(i).packed.numpy())
        game.speak(cast)
        game.step()
    held = [(f, game.field(f.name).reshape(LANES, -1).numpy()) for f in spec.fields]
    for row in spec.rows:
        parts = spec.parts(row) if row.slot is not None else ()
        ends = np.cumsum([part.size for part in parts])
        held += [(f, game.field("said")[:, row.slot, end - f.size : end].numpy()) for f, end in zip(parts, ends, strict=True)]
    for seats, packed in seen.items():
        columns = {_pattern(column) for part in packed for column in part.T}
        for f, values in held:
            shown = any(len(np.unique(column)) > 1 and _pattern(column) in columns for column in values.T)
            visible = not seats & {*f.seen_by} and shown
            who = "/".join(sorted(seats))
            _require(not visible, f"{spec.task}, proof {spec.proof_name!r}: a {who} sees {f.name!r}, which is hidden from it")


def _pattern(column: NDArray[Any]) -> bytes:
    """A column up to the names of its values."""
    _, first, inverse = np.unique(column, return_index=True, return_inverse=True)
    return first[inverse].astype(np.int32).tobytes()


def _ends_in_time_and_pays_no_less_than_the_minimum(spec: Spec, seed: int) -> None:
    game = _played(spec, LANES, seed)
    returns = game.returns
    _require(bool(game.over.all()), f"{spec.protocol}: not over after its horizon of {spec.horizon}")
    steps = int(game.field("elapsed").max())
    _require(steps <= spec.horizon, f"{spec.protocol}: took {steps} turns, horizon {spec.horizon}")
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
    for _ in range(spec.horizon):
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


def _roles(env_id: str, settings: Mapping[str, Any]) -> dict[str, bool]:
    """The roles of a game, and whether somebody sits there who speaks."""
    env = gymnasium.make(env_id, **settings)
    spec: Spec = env.unwrapped.game.spec  # type: ignore[attr-defined]
    env.close()
    return {role.name: role.seat != "nature" and bool((spec.row_of(i) >= 0).any()) for i, role in enumerate(spec.roles)}


def _vector_lane_is_the_single_game(env_id: str, settings: Mapping[str, Any], episodes: int) -> None:
    lanes, chosen, seed = 5, 3, 11
    vector = gymnasium.make_vec(env_id, num_envs=lanes, **settings)
    single = gymnasium.make(env_id, **settings)
    seen, _ = vector.reset(seed=seed)
    alone, _ = single.reset(seed=seed, options={"lane": chosen})
    vector.action_space.seed(seed)
    for _ in range(episodes * single.unwrapped.game.spec.horizon):  # type: ignore[attr-defined]
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
