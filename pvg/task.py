"""What a task is: statements with a known answer, and the proofs there are of it."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pvg.field import Field
from pvg.lane import LaneFunction
from pvg.registry import Registry, unknown

Values = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Proof:
    """One way to convince a verifier of a statement. Lane functions take the lane `s` and the task's `tables` first.

    kinds: for each kind of utterance (message, question, challenge) the Fields it is made of. A part that one seat alone
        sees (`seen_by`) is an ideal commitment, or a private coin: bound and hidden, but for what `evidence` shows of it.
    script: the kinds in the order they are said; utterance i is row i of `s.said`. Questions are the verifier's,
        challenges are those of a second prover who argues the other side, a `second_message` is of a second prover who argues
        the same side and hears nothing of the first, everything else is the prover's.
    honest(s, tables, side, slot, out): the textbook prover; `slot` is the row of `s.said` it fills, `out` its symbols.
    dishonest: provers of the same signature that argue a false side, by name, the strongest known last.
    check(s, tables, first): the reference verifier's verdict, from what the verifier sees alone; the script was said from slot
        `first` on, which is 0 but where a protocol hears a one-message proof several times.
    ask(s, tables, slot, out): the reference verifier's question.
    fields: what the proof keeps in a lane beside the statement; evidence is blank until it is written.
    evidence(s, tables, slot): writes the verified facts the utterance in `slot` points at into the proof's fields.
    noisy: evidence draws coins.
    relaxed(statement, message): the weights of the values of each field that `evidence` writes, by name, `N entry value`, where the
        message is given as weights `N position symbol`, in which they are differentiable. statement: the statement's fields
        by name. Of one-hot weights, one-hot at what `evidence` writes.
    proves: the answers the proof can prove.
    completeness, soundness_error: of `check`, the probability that it gives the answer argued, where that is true and
        `honest` proves it, and where it is false, against every prover; None where there is no number. The second is a
        supremum where `exact` (attained by the last of `dishonest`), else a bound.
    path: for proofs that list a computation's states: the names of the fields that hold the first state, the states
        between, and the last. Aligned along the axis `step` with the fields of the statement that have it first.

    What some protocols need beside it, where a proof has it:
    steps, check_step(s, tables, slot, j): the message in `slot` is right if all of its steps 0..steps-1 are; 1 if step j is.
    weigh(s, tables, answer): how much what was said speaks for an answer, as an integer; `check` gives the answer that weighs
        most, the lowest of equals.
    simulate(s, tables): writes into `s.said` and the proof's fields what the verifier might have seen of a whole script, knowing
        nothing but the statement; perfect if it is distributed as what it does see where the claim is true.
    """

    kinds: Mapping[str, tuple[Field, ...]]
    honest: LaneFunction
    dishonest: Mapping[str, LaneFunction]
    check: LaneFunction
    script: tuple[str, ...] = ("message",)
    ask: LaneFunction | None = None
    fields: tuple[Field, ...] = ()
    evidence: LaneFunction | None = None
    noisy: bool = False
    relaxed: Callable[[Mapping[str, Tensor], Tensor], Mapping[str, Tensor]] | None = None
    proves: tuple[int, ...] = (1,)
    completeness: float | None = 1.0
    soundness_error: float | None = 0.0
    exact: bool = True
    path: tuple[str, str, str] | None = None
    steps: int = 0
    check_step: LaneFunction | None = None
    weigh: LaneFunction | None = None
    simulate: LaneFunction | None = None

    def __str__(self) -> str:
        """Completeness and soundness error."""
        if self.completeness is None or self.soundness_error is None:
            return "measured"
        return f"{self.completeness:.4g}, {'' if self.exact else 'at most '}{self.soundness_error:.4g}"


@dataclass(frozen=True)
class Machine:
    """A computation of bits by an oracle: each bit is 1 with the probability the oracle answers; the last bit is the output.

    steps: T, how many bits.
    lipschitz: K; if every answer moves by at most e, the probability that the output is 1 moves by at most K e.
    answers: the different answers there are.
    oracle(s, tables, step): the index in `answers` of the probability that bit `step` is 1 given `s.bits[:step]`, where the
        protocol keeps the bits.
    """

    steps: int
    lipschitz: int
    answers: tuple[Fraction, ...]
    oracle: LaneFunction


@dataclass(frozen=True)
class Decomposition:
    """A statement that is true or false as the nodes below it are: the root is 0, node v has the children
    `branching * v + 1` .. `branching * v + branching`, and the nodes `depth` levels below the root are leaves.

    gate(s, tables, node, values): the value (1: true) of a node whose child j has the value in bit j of `values`.
    holds(s, tables, node): the value of any node; the root's is the truth. Verifiers can tell it of leaves alone.
    law(s, tables, node, value, values): the probability of a node's children's values given its own, for those who see no leaf;
        whatever is not below the node must not change it, and the root be true with probability 1/2. None: not known.
    """

    branching: int
    depth: int
    gate: LaneFunction
    holds: LaneFunction
    law: LaneFunction | None = None


@dataclass(frozen=True)
class TaskRules:
    """The compiled side of a task: sample(s, tables) deals a statement with its truth (and claim); proofs by name,
    first is default.

    Where it is the prover who may state the claim:
    solve(s, tables, out): writes the claim that holds, the symbols of the task's `claim` fields one after the other.
    restate(s, tables, symbols): makes the claim the one in `symbols`, and the truth whether it holds.

    machine: where the truth is whether a computation outputs 1 with probability at least 2/3, or at most 1/3.
    tree: where the truth is that of a formula's root.
    """

    sample: LaneFunction
    proofs: Mapping[str, Proof] = field(default_factory=dict)
    solve: LaneFunction | None = None
    restate: LaneFunction | None = None
    machine: Machine | None = None
    tree: Decomposition | None = None


class Task(ABC):
    """A distribution of statements with a known answer among 0..answers-1.

    Subclasses are frozen dataclasses of their sizes, checked on construction. A statement's fields are what bug reports
    name it by; the claim varies with the side that is argued; `private` fields hold what else a lane must remember.

    presets: named sets of sizes beside the defaults. split_by: the fields whose hash decides a statement's split, where
        they are not all of the statement (an index into a pool, of which many statements are copies).
    """

    answers: ClassVar[int] = 2
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    private: tuple[Field, ...] = ()
    split_by: tuple[str, ...] = ()

    @classmethod
    def preset(cls, name: str, **sizes: Any) -> Self:
        """The task at the sizes of a preset, but for those given."""
        if name not in cls.presets:
            raise unknown(f"preset of {cls.__name__}", name, cls.presets, f"{cls.__name__}'s documentation")
        return cls(**{**cls.presets[name], **sizes})

    @property
    @abstractmethod
    def statement(self) -> tuple[Field, ...]:
        """The fields of the statement."""

    @property
    def claim(self) -> tuple[Field, ...]:
        """The fields of the claim about the statement, where the game states one."""
        return ()

    @abstractmethod
    def build(self) -> TaskRules:
        """Make the lane functions. Called once for all equal tasks; read them from `rules`."""

    @property
    def rules(self) -> TaskRules:
        """The lane functions; equal tasks share them, and so the compiled code."""
        return _rules(self)

    @property
    def tables(self) -> Mapping[str, NDArray[Any]]:
        """Read-only arrays all lanes share, read in lane functions as `tables.name`."""
        return {}

    @property
    def fields(self) -> tuple[Field, ...]:
        """All fields the task keeps in a lane."""
        return (*self.statement, *self.claim, *self.private)

    @abstractmethod
    def render(self, values: Values) -> str:
        """The statement and claim as text; `values` holds one array a field."""

    @abstractmethod
    def parse(self, text: str) -> dict[str, NDArray[Any]]:
        """The fields of a rendered statement; ValueError names what does not parse."""

    def render_utterance(self, kind: str, fields: tuple[Field, ...], symbols: NDArray[Any]) -> str:
        """An utterance of a kind as text; `symbols` holds the integers of `fields` one after the other."""
        return " ".join(str(int(symbol)) for symbol in symbols)

    def parse_utterance(self, kind: str, fields: tuple[Field, ...], text: str) -> NDArray[Any]:
        """The symbols of a rendered utterance; ValueError names the number expected."""
        words = text.split()
        width = sum(f.size for f in fields)
        if len(words) != width or not all(re.fullmatch(r"\d+", word) for word in words):
            raise ValueError(f"{kind} {text!r}: expected {width} whole numbers separated by blanks")
        return np.array([int(word) for word in words], dtype=np.int32)


def within(task: Task, name: str, low: float, high: float) -> None:
    """ValueError where a size of a task is outside low..high."""
    value = getattr(task, name)
    if not low <= value <= high:
        raise ValueError(f"{type(task).__name__}: {name}={value} is outside {low}..{high}")


@cache
def _rules(task: Task) -> TaskRules:
    return task.build()


tasks: Registry[type[Task]] = Registry("task")
