"""What a protocol is: a table of who speaks when and who hears it, and three lane functions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from numpy.typing import NDArray

from pvg.field import Field, Seat
from pvg.lane import LaneFunction, lane
from pvg.registry import Registry
from pvg.task import Proof, Task

VERDICT = "verdict"


@dataclass(frozen=True)
class Role:
    """A player: its name, its seat, and what of the game's own state it sees beside the fields its seat may see.

    minimum: its least reward in a whole game; whoever says something illegal gets it.
    beside: another seat whose fields it sees too.
    """

    name: str
    seat: Seat
    minimum: float
    sees: tuple[Literal["side", "speaker", "truth"], ...] = ()
    beside: Seat | None = None


@dataclass(frozen=True)
class Row:
    """One utterance of the table; rows of one turn are simultaneous.

    speakers: one role, or several of which the lane's `s.speaker` (drawn by `deal`) speaks.
    kind: a kind of the proof or of the protocol, or "verdict": an answer 0..A-1, or A for "don't know", kept as
        `s.verdict`.
    slot: the row of `s.said` it is kept in; a verdict has none.
    hearers: the roles that hear it besides its speaker, from turn `revealed` on (None: from the next step on) or when
        the game is over.
    """

    turn: int
    speakers: tuple[str, ...]
    kind: str
    slot: int | None = None
    hearers: tuple[str, ...] = ()
    revealed: int | None = None


@dataclass(frozen=True)
class ProtocolRules:
    """The compiled side of a protocol. Lane functions take the lane `s` and the task's `tables`.

    deal(s, tables): after the statement is dealt: sets `s.side[role]` (the answer a role argues), `s.speaker`, the
        protocol's own fields; may set `s.turn`, where the game starts (0 otherwise).
    after(s, tables): the next turn; a turn past the table's last, or a negative one, ends the game. `s.turn` is still
        the turn just played.
    pay(s, tables, reward): adds to `reward[role]`, zero before each turn; `s.turn` is the next turn, negative when the
        game is over.

    And its reference players, where a proof alone does not make them:
    tell(s, tables, role, slot, honest, out): what a role says in a kind of utterance that is the protocol's own; honest: 1,
        or 0 for who argues what is false.
    check(s, tables): the reference verifier's verdict at turn `s.turn`, from what the verifier sees alone; None: the proof's.
    """

    deal: LaneFunction
    pay: LaneFunction
    after: LaneFunction
    tell: LaneFunction | None = None
    check: LaneFunction | None = None


class Protocol(ABC):
    """Who speaks when, who hears it, and what each side is paid.

    complexity: the class of problems that have such proofs, where it is known.
    """

    roles: tuple[Role, ...]
    table: tuple[Row, ...] = ()
    complexity: ClassVar[str] = ""

    @abstractmethod
    def build(self, task: Task, proof: Proof | None) -> ProtocolRules:
        """Make the lane functions."""

    def kinds(self, task: Task, proof: Proof | None) -> Mapping[str, tuple[Field, ...]]:
        """The kinds of utterance that are its own, and the Fields each is made of."""
        return {}

    def fields(self, task: Task, proof: Proof | None) -> tuple[Field, ...]:
        """What it keeps in a lane beside what every game keeps."""
        return ()

    def rows(self, task: Task, proof: Proof | None) -> tuple[Row, ...]:
        """The table for a task's proof, or without one for a protocol that needs none; ValueError says why it does not fit.

        By default the protocol's own `table`, for proofs whose script is said in it, once or several times.
        """
        own = {VERDICT, *self.kinds(task, proof)}
        said = tuple(row.kind for row in sorted(self.table, key=lambda row: row.turn) if row.kind not in own)
        missing = set(said) - set(proof.kinds if proof else ())
        if missing:
            raise ValueError(f"it needs utterances {sorted(missing)}")
        if proof is not None and said != proof.script * (len(said) // len(proof.script)):
            raise ValueError(f"it says {said}; the proof's script is {proof.script}")
        return self.table

    def tables(self, task: Task, proof: Proof | None) -> Mapping[str, NDArray[Any]]:
        """Read-only arrays all lanes share, beside the task's in `tables`."""
        return {}

    def horizon(self, turns: int, task: Task) -> int:
        """The most steps a game of a table of `turns` turns can take; by default each once."""
        return turns


def script_rows(proof: Proof, speakers: Mapping[str, str], roles: tuple[Role, ...]) -> tuple[Row, ...]:
    """A proof's script as a table: `speakers` says each kind for all to hear, then who judges decides."""
    names = [role.name for role in roles]
    judge = next(role.name for role in roles if role.seat == "verifier")
    rows = []
    for slot, kind in enumerate(proof.script):
        hearers = tuple(name for name in names if name != speakers[kind])
        rows.append(Row(slot, (speakers[kind],), kind, slot, hearers))
    return (*rows, Row(len(rows), (judge,), VERDICT))


@lane
def next_turn(s: Any, tables: Any) -> Any:
    """The `after` of a protocol that goes through its table once."""
    return s.turn + 1


@lane
def score(verdict: Any, truth: Any, answers: Any) -> Any:
    """The verifier's reward for a verdict: 1 if right, -1 if wrong, 0 for "don't know"."""
    if verdict == truth:
        return 1.0
    return 0.0 if verdict == answers else -1.0


protocols: Registry[type[Protocol]] = Registry("protocol")
