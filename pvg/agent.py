"""Who plays a role: scripted players compiled into the game's loop, and players that act on whole batches.

Neither kind has hidden memory: a player re-reads the transcript at each of its turns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np
from torch import Tensor

from pvg.lane import GOLDEN, LaneFunction, draw, lane, mix
from pvg.protocol import VERDICT
from pvg.registry import Registry, unknown
from pvg.spec import Spec, View


class Replay(Protocol):
    """What a verifier would see had other messages been said: needed where the game adds evidence to a message.

    tosses: over how many coins of the game verdicts are to be averaged; 1 where evidence draws none.
    """

    tosses: int

    def __getitem__(self, rows: Any) -> Replay:
        """For some of the statements."""
        ...

    def hear(self, messages: Tensor) -> Tensor:
        """`B * K width` after the messages `B K position`. Where `tosses` divides K, message k meets toss k modulo
        `tosses`; otherwise every lane meets the coins of its own game.
        """
        ...


@dataclass(frozen=True)
class Observation:
    """What one role sees, in every lane: the packed integers and where each field stands in them."""

    packed: Tensor  # lane width  integers
    view: View
    replay: Replay | None = None

    def rows(self, index: Any) -> Observation:
        """Some of the lanes."""
        return Observation(self.packed[index], self.view, None if self.replay is None else self.replay[index])

    def __getitem__(self, name: str) -> Tensor:
        """One field as `lane *shape`, as in the record: -1 where nothing is there yet."""
        column = self.view[name]
        values = self.packed[:, column.start : column.stop] - column.shift
        return values.reshape(-1, *column.field.shape)


class Utterance(NamedTuple):
    """What a batch agent says: symbols, and with a verdict its probability that the answer is 1."""

    symbols: Tensor  # lane position  int32
    belief: Tensor | None = None  # lane  float32


@runtime_checkable
class BatchAgent(Protocol):
    """A player over a whole batch: a network, a black box, a person."""

    def act(self, observation: Observation, acting: Tensor) -> Utterance:
        """Its symbols in every lane; only those of lanes where `acting` holds are heard."""
        ...


@dataclass(frozen=True)
class LaneAgent:
    """A scripted player: build(spec, role) makes the lane function act(s, tables, out) that writes its symbols into `out`."""

    name: str
    build: Callable[[Spec, int], LaneFunction]
    about: str


Agent: TypeAlias = "LaneAgent | BatchAgent"

agents: Registry[LaneAgent] = Registry("agent")


@cache
def find_agent(name: str, spec: Spec) -> LaneAgent:
    """A scripted player by name: one of the registry, or one of the proof's dishonest provers."""
    dishonest = {} if spec.proof is None else spec.proof.dishonest
    if name in dishonest:
        about = "honest where the claim argued is true, else this dishonest prover"
        return LaneAgent(name, lambda spec, role: _arguing_or_registered(spec, role, name), about)
    if name not in agents:
        raise unknown("agent", name, [*agents, *dishonest], "`pvg list agents`")
    return agents[name]


def default_agent(spec: Spec, role: int) -> LaneAgent:
    """Who sits in a seat nobody was named for: the prover that cheats where it must, the reference verifier, else chance."""
    if spec.roles[role].seat == "prover":
        return agents["dishonest"]
    return agents["reference" if spec.proof is not None and not _unasked(spec, role) else "random"]


def _unasked(spec: Spec, role: int) -> set[str]:
    """The kinds of utterance a role makes that the reference verifier of the proof has no function for."""
    kinds = {spec.rows[row].kind for row in spec.row_of(role) if row >= 0} - {VERDICT}
    return kinds if spec.proof is None or spec.proof.ask is None else kinds - set(spec.proof.kinds)


def _proof(spec: Spec, who: str) -> Any:
    if spec.proof is None:
        raise ValueError(f"agent {who!r} needs a protocol with a proof, and {type(spec.protocol).__name__} has none")
    return spec.proof


def _arguing_or_registered(spec: Spec, role: int, name: str) -> LaneFunction:
    """In a prover's seat, the dishonest prover of that name; in another, the registered player who shares it."""
    if spec.roles[role].seat == "prover":
        return _arguing(spec, role, [_proof(spec, name).dishonest[name]])
    if name not in agents:
        raise ValueError(f"agent {name!r} is a prover: it cannot play {spec.roles[role].name!r}")
    return agents[name].build(spec, role)


def _arguing(spec: Spec, role: int, dishonest: list[LaneFunction]) -> LaneFunction:
    """Prove the side argued where it is true; where it is false, one of the dishonest provers, drawn for each game, does."""
    honest, rows = _proof(spec, "prover").honest, spec.row_of(role)
    slots, once = spec.slot[rows], bool((rows >= 0).sum() <= 1)
    count, cheat = len(dishonest), one_of(dishonest)

    @lane
    def act(s: Any, tables: Any, out: Any) -> None:
        side, slot = s.side[role], slots[s.turn]
        if count == 0 or side == s.truth:
            honest(s, tables, side, slot, out)
        else:
            k = np.int64(0)
            if count > 1 and once:
                k = draw(s, count)
            elif count > 1:  # who speaks several times in a game stays who it is
                k = np.int64((mix(s.key + np.uint64(s.episode) * GOLDEN) >> np.uint64(32)) % np.uint64(count))
            cheat(k, s, tables, side, slot, out)

    return act


def one_of(functions: list[LaneFunction]) -> LaneFunction:
    """A lane function that calls the k-th of several; compiled code has no list of functions to index."""
    if not functions:
        return _nobody
    first, rest = functions[0], one_of(functions[1:])

    @lane
    def call(k: Any, s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
        if k == 0:
            first(s, tables, side, slot, out)
        else:
            rest(k - 1, s, tables, side, slot, out)

    return call


@lane
def _nobody(k: Any, s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
    pass


def _random(spec: Spec, role: int) -> LaneFunction:
    rows, alphabet = spec.row_of(role), spec.alphabet
    width = alphabet.shape[1]

    @lane
    def act(s: Any, tables: Any, out: Any) -> None:
        row = rows[s.turn]
        for j in range(width):
            if alphabet[row, j] > 0:
                out[j] = draw(s, alphabet[row, j])

    return act


def _reference(spec: Spec, role: int) -> LaneFunction:
    proof, rows = _proof(spec, "reference"), spec.row_of(role)
    if _unasked(spec, role):
        raise ValueError(f"agent 'reference': proof {spec.proof_name!r} cannot say {sorted(_unasked(spec, role))}")
    slots, check, ask = spec.slot[rows], proof.check, _ask_nothing if proof.ask is None else proof.ask

    @lane
    def act(s: Any, tables: Any, out: Any) -> None:
        if slots[s.turn] < 0:
            out[0] = check(s, tables)
        else:
            ask(s, tables, slots[s.turn], out)

    return act


@lane
def _ask_nothing(s: Any, tables: Any, slot: Any, out: Any) -> None:
    pass


def _cheating(spec: Spec, role: int) -> LaneFunction:
    return _arguing(spec, role, list(_proof(spec, "dishonest").dishonest.values()))


for _agent in (
    LaneAgent("honest", lambda spec, role: _arguing(spec, role, []), "the textbook prover, whatever the truth"),
    LaneAgent("dishonest", _cheating, "honest where the claim argued is true, else one of the dishonest provers, drawn"),
    LaneAgent("random", _random, "any symbols, uniformly; plays any role"),
    LaneAgent("reference", _reference, "the proof's own verifier: its questions and its check"),
):
    agents.register(_agent.name)(_agent)
