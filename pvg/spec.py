"""A task under a protocol, resolved: the record of a lane, the table as arrays, and what each role sees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pvg.field import Field, integer_type
from pvg.protocol import VERDICT, Protocol, ProtocolRules, Role, Row, protocols
from pvg.registry import unknown
from pvg.task import Proof, Task

# The protocols a task is played under unless told otherwise, in the order of preference.
DEFAULTS = ("prover_verifier", "interactive_proof", "bisection", "consultancy", "multi_prover", "stochastic_debate")

Split = Literal["train", "validation", "test"]

# Of ten buckets of the statement's hash: 0..7 train, 8 validation, 9 test.
BUCKETS: dict[Split | None, tuple[int, int]] = {None: (0, 10), "train": (0, 8), "validation": (8, 9), "test": (9, 10)}

Origin = Literal["game", "statement", "claim", "private", "proof", "protocol", "said"]


@dataclass(frozen=True)
class Column:
    """Where a field stands in a packed observation: values at start..stop-1, plus `shift` (1 where -1 means nothing
    there).

    row, offset: for fields of an utterance, its row of the table and the position of the field among the utterance's
        symbols.
    """

    field: Field
    start: int
    shift: int
    origin: Origin
    row: Row | None = None
    offset: int = 0

    @property
    def stop(self) -> int:
        return self.start + self.field.size

    @property
    def high(self) -> int:
        """Packed values are 0..high-1."""
        return self.field.high + self.shift


@dataclass(frozen=True)
class View:
    """What a role sees: columns of one packed row of integers. 0 stands for "nothing heard yet" in columns with a shift."""

    role: str
    columns: tuple[Column, ...]

    @property
    def width(self) -> int:
        return self.columns[-1].stop if self.columns else 0

    @property
    def dtype(self) -> np.dtype[np.signedinteger]:
        return integer_type(max((column.high for column in self.columns), default=0))

    def __getitem__(self, name: str) -> Column:
        for column in self.columns:
            if column.field.name == name:
                return column
        raise unknown(f"field of the {self.role}'s view", name, [c.field.name for c in self.columns], "`view.columns`")

    def __iter__(self) -> Iterator[Column]:
        return iter(self.columns)


@dataclass(frozen=True)
class Spec:
    """A task under a protocol, with the proof its messages are made of and the split its statements come from."""

    task: Task
    protocol: Protocol
    proof_name: str | None
    split: Split | None = None

    @property
    def proof(self) -> Proof | None:
        return None if self.proof_name is None else self.task.rules.proofs[self.proof_name]

    @cached_property
    def rules(self) -> ProtocolRules:
        return self.protocol.build(self.task, self.proof)

    @property
    def roles(self) -> tuple[Role, ...]:
        return self.protocol.roles

    def role_index(self, name: str) -> int:
        """The index of a role; UnknownName with the nearest ones."""
        names = [role.name for role in self.roles]
        if name not in names:
            raise unknown("role", name, names, "the protocol's `roles`")
        return names.index(name)

    @property
    def label(self) -> str:
        """The protocol, and the proof where there is one: what a task is played under."""
        kind = type(self.protocol)
        name = next((name for name in protocols if protocols[name] is kind), kind.__name__)
        return name if self.proof_name is None else f"{name}, {self.proof_name}"

    @property
    def fields(self) -> tuple[Field, ...]:
        """All fields a lane keeps beside what every game keeps."""
        proof = self.proof
        return (*self.task.fields, *(proof.fields if proof else ()), *self.protocol.fields(self.task, proof))

    # The table as arrays, a row of the table per entry.

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        return tuple(sorted(self.protocol.rows(self.task, self.proof), key=lambda row: row.turn))

    @property
    def horizon(self) -> int:
        """The most steps a game can take."""
        return self.protocol.horizon(self.turns, self.task)

    def parts(self, row: Row) -> tuple[Field, ...]:
        """The fields an utterance of a row is made of."""
        if row.kind == VERDICT:
            return (Field("verdict", self.task.answers + 1),)
        return self.kinds[row.kind]

    @cached_property
    def kinds(self) -> Mapping[str, tuple[Field, ...]]:
        """The kinds of utterance but the verdict: the proof's, and the protocol's own."""
        return {**(self.proof.kinds if self.proof else {}), **self.protocol.kinds(self.task, self.proof)}

    @cached_property
    def turns(self) -> int:
        return 1 + self.rows[-1].turn

    @cached_property
    def first_row(self) -> NDArray[np.int64]:
        """first_row[t] .. first_row[t + 1] - 1 are the rows of turn t."""
        first: NDArray[np.int64] = np.asarray(
            np.searchsorted([row.turn for row in self.rows], np.arange(self.turns + 1)), dtype=np.int64
        )
        return first

    @cached_property
    def speaker(self) -> NDArray[np.int64]:
        """The role that speaks in a row, -1 where the lane says who."""
        return np.array([self.role_index(r.speakers[0]) if len(r.speakers) == 1 else -1 for r in self.rows])

    @cached_property
    def alphabet(self) -> NDArray[np.int64]:
        """alphabet[row, j]: symbols at position j of a row's utterance are 0..alphabet-1; 0 past its end."""
        table = np.zeros((len(self.rows), self.width), dtype=np.int64)
        for i, row in enumerate(self.rows):
            highs = [part.high for part in self.parts(row) for _ in range(part.size)]
            table[i, : len(highs)] = highs
        return table

    @cached_property
    def width(self) -> int:
        """The longest utterance, in symbols."""
        return max(sum(part.size for part in self.parts(row)) for row in self.rows)

    @cached_property
    def slot(self) -> NDArray[np.int64]:
        """The slot a row's utterance is kept in, -1 for a verdict."""
        return np.array([-1 if row.slot is None else row.slot for row in self.rows])

    @property
    def slots(self) -> int:
        return 1 + int(self.slot.max())

    def row_of(self, role: int) -> NDArray[np.int64]:
        """row_of(role)[t]: the row in which a role may speak at turn t, -1 where there is none."""
        name = self.roles[role].name
        found = np.full(self.turns, -1, dtype=np.int64)
        for i, row in enumerate(self.rows):
            if name in row.speakers:
                found[row.turn] = i
        return found

    def choices(self, role: int) -> NDArray[np.int64]:
        """How many symbols a role may have to choose from at each position, over all its turns; 1 where it never speaks there."""
        rows = self.row_of(role)
        table = self.alphabet[rows[rows >= 0]]
        table = table[:, : max(1, int((table > 0).sum(axis=1).max(initial=0)))]
        return np.asarray(np.maximum(table.max(axis=0, initial=1), 1))

    # The record.

    @cached_property
    def dtype(self) -> np.dtype[np.void]:
        return self.record(tape=0)

    def record(self, tape: int) -> np.dtype[np.void]:
        """The record of a lane; `tape` > 0 makes room for that many draws decided from outside."""
        said = integer_type(
            max((int(self.alphabet[i].max()) - 1 for i, r in enumerate(self.rows) if r.slot is not None), default=0)
        )
        state: list[tuple[str, Any, tuple[int, ...]]] = [
            ("key", np.uint64, ()),
            ("coins", np.uint64, ()),
            ("episode", np.uint32, ()),
            ("belief", np.float32, ()),
            ("elapsed", np.uint16, ()),
            ("turn", np.int8, ()),
            ("truth", np.int8, ()),
            ("speaker", np.int8, ()),
            ("verdict", np.int8, ()),
            ("forfeit", np.int8, ()),
            ("side", np.int8, (len(self.roles),)),
        ]
        own = [(f.name, f.dtype, f.shape) for f in self.fields]
        own.append(("said", said, (self.slots, self.width)))
        own.sort(key=lambda part: -np.dtype(part[1]).itemsize)
        tapes = [("drawn", np.uint32, (min(tape, 1),)), ("tape", np.uint32, (tape,)), ("arity", np.uint32, (tape,))]
        return np.dtype([*state, *own, *tapes], align=True)

    @cached_property
    def mail(self) -> np.dtype[np.void]:
        """The record beside a lane's that carries what is said to it and what it pays: not part of the game's state."""
        roles = len(self.roles)
        parts = [
            ("act", np.int32, (roles, self.width)),
            ("reward", np.float32, (roles,)),
            ("returns", np.float32, (roles,)),
        ]
        return np.dtype(parts, align=True)

    @property
    def bytes_per_lane(self) -> int:
        """What a lane takes: its record, and what is said to it and paid."""
        return int(self.dtype.itemsize + self.mail.itemsize)

    @cached_property
    def tables(self) -> NDArray[Any]:
        """The task's tables and the protocol's as one record."""
        arrays = {**self.task.tables, **self.protocol.tables(self.task, self.proof)} or {"none": np.zeros((), np.int8)}
        tables = np.zeros(1, np.dtype([(name, a.dtype, a.shape) for name, a in arrays.items()], align=True))
        for name, array in arrays.items():
            tables[name][0] = array
        return tables

    # What each role sees.

    @cache  # noqa: B019  specs are few and live as long as the process
    def view(self, role: int) -> View:
        me = self.roles[role]
        seats = {me.seat, me.beside}
        columns: list[Column] = []

        def add(f: Field, shift: int, origin: Origin, row: Row | None = None, offset: int = 0) -> None:
            columns.append(Column(f, columns[-1].stop if columns else 0, shift, origin, row, offset))

        if np.count_nonzero(self.row_of(role) >= 0) > 1:
            add(Field("turn", self.turns), 1, "game")
        for name in me.sees:
            add(Field(name, len(self.roles) if name == "speaker" else self.task.answers), 1, "game")
        groups: list[tuple[Origin, tuple[Field, ...]]] = [
            ("statement", self.task.statement),
            ("claim", self.task.claim),
            ("private", self.task.private),
            ("proof", self.proof.fields if self.proof else ()),
            ("protocol", self.protocol.fields(self.task, self.proof)),
        ]
        for origin, fields in groups:
            for f in fields:
                if seats & {*f.seen_by}:
                    add(f, int(f.blank), origin)
        heard = {row.slot: row for row in self.rows[::-1] if row.slot is not None and me.name in (*row.speakers, *row.hearers)}
        names = [part.name for row in heard.values() for part in self.parts(row)] + [column.field.name for column in columns]
        for slot in sorted(heard):
            offset = 0
            for part in self.parts(heard[slot]):
                if seats & {*part.seen_by}:
                    alone = names.count(part.name) == 1
                    add(part if alone else replace(part, name=f"{part.name}_{slot}"), 1, "said", heard[slot], offset)
                offset += part.size
        if not columns:
            add(Field("turn", self.turns), 1, "game")  # whoever speaks sees something, if only that it is to speak
        return View(me.name, tuple(columns))


@cache
def resolve(task: Task, protocol: Protocol, proof: str | None = None, split: Split | None = None) -> Spec:
    """The Spec of a task under a protocol; ValueError says what does not fit.

    proof: a name among the task's proofs; None takes the first that fits.
    """
    if split not in BUCKETS:
        raise unknown("split", split, [s for s in BUCKETS if s], "'train', 'validation', 'test' or None: that")
    _names(task, proof)
    spec = Spec(task, protocol, None if _fits(task, protocol, None) else _fitting(task, protocol, proof), split)
    _check(spec)
    return spec


def default_protocol(task: Task, proof: str | None = None) -> Protocol:
    """What a task is played under unless told otherwise: the first of DEFAULTS that fits a proof of it, its first proof first."""
    for name in _names(task, proof) or (None,):
        for candidate in DEFAULTS:
            try:
                resolve(task, protocols[candidate](), name)
            except ValueError:
                continue
            return protocols[candidate]()
    raise ValueError(f"{task}: none of the protocols {', '.join(DEFAULTS)} fits {proof or 'a proof of it'}")


def played(task: Task) -> Iterator[Spec]:
    """The task with each of its proofs, under the protocol that plays it unless told otherwise."""
    for proof in (*task.rules.proofs,) or (None,):
        yield resolve(task, default_protocol(task, proof), proof)


def _names(task: Task, proof: str | None) -> tuple[str, ...]:
    """The proof that is named, or all there are."""
    proofs = task.rules.proofs
    if proof is not None and proof not in proofs:
        raise unknown(f"proof of {type(task).__name__}", proof, proofs, "`task.rules.proofs`")
    return tuple(proofs) if proof is None else (proof,)


def _fits(task: Task, protocol: Protocol, proof: Proof | None) -> bool:
    try:
        protocol.rows(task, proof)
    except ValueError:
        return False
    return True


def _fitting(task: Task, protocol: Protocol, proof: str | None) -> str:
    """The proof that is named, or the first that fits."""
    reasons = {}
    for name in _names(task, proof):
        try:
            protocol.rows(task, task.rules.proofs[name])
        except ValueError as error:
            reasons[name] = str(error)
        else:
            return name
    if not reasons:
        try:
            protocol.rows(task, None)
        except ValueError as error:
            reasons["no proof"] = str(error)
    why = "; ".join(f"{name!r}: {reason}" for name, reason in reasons.items())
    raise ValueError(f"{type(protocol).__name__} does not fit {type(task).__name__} ({why})")


def _check(spec: Spec) -> None:
    """Refuse what the record cannot hold."""
    if not 2 <= spec.task.answers <= 126:
        raise ValueError(f"{spec.task}: answers={spec.task.answers} is outside 2..126")
    if spec.turns > 127 or spec.horizon > 65535:
        raise ValueError(f"{spec.protocol}: {spec.turns} turns (at most 127) or horizon={spec.horizon} (at most 65535)")
    if set(spec.first_row[1:] - spec.first_row[:-1]) & {0}:
        raise ValueError(f"{spec.protocol}: every turn up to {spec.turns - 1} needs a row")
    names = [f.name for f in spec.fields]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"{spec.task} and {spec.protocol}: fields {sorted(twice)} are declared twice")
    for row in spec.rows:
        for name in (*row.speakers, *row.hearers):
            spec.role_index(name)
        if (row.slot is None) != (row.kind == VERDICT):
            raise ValueError(f"{row}: a verdict has no slot, and every other utterance has one")
