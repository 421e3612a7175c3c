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
from pvg.task import Proof


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
    """What a batch agent says: symbols, with a verdict its probability that the answer is 1, and how likely it was to say so."""

    symbols: Tensor  # lane position  int32
    belief: Tensor | None = None  # lane  float32
    log_prob: Tensor | None = None  # lane  float32


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
    return agents["random" if _missing(spec, role) else "reference"]


def _missing(spec: Spec, role: int) -> list[str]:
    """What a role is to say, verdicts included, that neither the proof's reference verifier nor the protocol's own player can."""
    rules, proof = spec.rules, spec.proof
    sayable = set() if rules.tell is None else set(spec.protocol.kinds(spec.task, proof))
    sayable |= set() if proof is None or proof.ask is None else set(proof.kinds)
    sayable |= {VERDICT} if proof is not None or rules.check is not None else set()
    return sorted({spec.rows[row].kind for row in spec.row_of(role) if row >= 0} - sayable)


def _arguing_or_registered(spec: Spec, role: int, name: str) -> LaneFunction:
    """In a prover's seat, the dishonest prover of that name; in another, the registered player who shares it."""
    if spec.roles[role].seat == "prover":
        assert spec.proof is not None, "found among the proof's provers"
        return _arguing(spec, role, [spec.proof.dishonest[name]])
    if name not in agents:
        raise ValueError(f"agent {name!r} is a prover: it cannot play {spec.roles[role].name!r}")
    return agents[name].build(spec, role)


def _arguing(spec: Spec, role: int, dishonest: list[LaneFunction], always_honest: bool = False) -> LaneFunction:
    """Prove the side argued where it is true; where it is false, one of the dishonest provers, drawn for each game, does.

    A false side that the proof cannot prove is argued by saying anything, so that nothing is proved.
    """
    proof, rules, rows = spec.proof, spec.rules, spec.row_of(role)
    slots, own = spec.slot[rows], _own(spec, rows)
    tell = _tell_nothing if rules.tell is None else rules.tell
    if proof is None:
        if _missing(spec, role):
            raise ValueError(f"no textbook player of {spec.label} says {_missing(spec, role)}, as {spec.roles[role].name!r} has to")

        @lane
        def say(s: Any, tables: Any, out: Any) -> None:
            tell(s, tables, role, slots[s.turn], 1 if always_honest or s.side[role] == s.truth else 0, out)

        return say
    withholding = np.array([spec.rows[row].kind == "message" for row in rows])  # challenges are answers to the other side
    proves = np.array([answer in proof.proves for answer in range(spec.task.answers)])
    once = bool(((rows >= 0) & ~own).sum() <= 1)
    honest, anything = proof.honest, _random(spec, role)
    count, cheat = len(dishonest), one_of(dishonest)

    @lane
    def act(s: Any, tables: Any, out: Any) -> None:
        side, slot = s.side[role], slots[s.turn]
        truthful = count == 0 or side == s.truth
        if own[s.turn]:
            tell(s, tables, role, slot, 1 if truthful else 0, out)
        elif truthful:
            honest(s, tables, side, slot, out)
        elif withholding[s.turn] and not proves[side]:
            anything(s, tables, out)
        else:
            k = np.int64(0)
            if count > 1 and once:
                k = draw(s, count)
            elif count > 1:  # who speaks several times in a game stays who it is
                k = np.int64((mix(s.key + np.uint64(s.episode) * GOLDEN) >> np.uint64(32)) % np.uint64(count))
            cheat(k, s, tables, side, slot, out)

    return act


def _own(spec: Spec, rows: Any) -> Any:
    """At which turns a role speaks in a kind that is the protocol's own."""
    kinds = spec.protocol.kinds(spec.task, spec.proof)
    return np.array([row >= 0 and spec.rows[row].kind in kinds for row in rows])


@lane
def _tell_nothing(s: Any, tables: Any, role: Any, slot: Any, honest: Any, out: Any) -> None:
    pass


def one_of(functions: list[LaneFunction]) -> LaneFunction:
    """A lane function that calls the k-th of several; compiled code has no list of functions to index."""
    if not functions:
        return _nobody
    lines = [f"    {'elif' if k else 'if'} k == {k}:\n        f{k}(s, tables, side, slot, out)\n" for k in range(len(functions))]
    bound = {f"f{k}": function for k, function in enumerate(functions)}
    exec("def call(k, s, tables, side, slot, out):\n" + "".join(lines), bound)
    return lane(bound["call"])


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
    proof, rules, rows = spec.proof, spec.rules, spec.row_of(role)
    if _missing(spec, role):
        raise ValueError(f"agent 'reference': no reference verifier of {spec.label} says {_missing(spec, role)}")
    slots, own = spec.slot[rows], _own(spec, rows)
    tell = _tell_nothing if rules.tell is None else rules.tell
    ask = _ask_nothing if proof is None or proof.ask is None else proof.ask
    check = rules.check if rules.check is not None else _from_the_start(proof)

    @lane
    def act(s: Any, tables: Any, out: Any) -> None:
        if slots[s.turn] < 0:
            out[0] = check(s, tables)
        elif own[s.turn]:
            tell(s, tables, role, slots[s.turn], 1, out)
        else:
            ask(s, tables, slots[s.turn], out)

    return act


def _from_the_start(proof: Proof | None) -> LaneFunction:
    """The proof's own check, of a script said from slot 0 on; what is not there is never called."""
    if proof is None:
        return _tell_nothing
    check = proof.check

    @lane
    def verdict(s: Any, tables: Any) -> Any:
        return check(s, tables, 0)

    return verdict


@lane
def _ask_nothing(s: Any, tables: Any, slot: Any, out: Any) -> None:
    pass


def _cheating(spec: Spec, role: int) -> LaneFunction:
    return _arguing(spec, role, [] if spec.proof is None else list(spec.proof.dishonest.values()))


def _truthful(spec: Spec, role: int) -> LaneFunction:
    return _arguing(spec, role, [], always_honest=True)


for _agent in (
    LaneAgent("honest", _truthful, "the textbook prover, whatever the truth"),
    LaneAgent("dishonest", _cheating, "honest where the claim argued is true, else one of the dishonest provers, drawn"),
    LaneAgent("random", _random, "any symbols, uniformly; plays any role"),
    LaneAgent("reference", _reference, "the reference verifier: its questions and its check"),
):
    agents.register(_agent.name)(_agent)
