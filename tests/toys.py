"""Four small protocols and three tasks of a few bits that between them use every hook there is, with known values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pvg.field import Field
from pvg.lane import draw, lane
from pvg.protocol import Protocol, ProtocolRules, Role, Row, next_turn, score
from pvg.task import Proof, Task, TaskRules, Values


@dataclass(frozen=True)
class Bit(Task):
    """A hidden bit; a prover's message is 0, 1 or 2, and the honest one says the bit, or with probability 1/2 a 2."""

    erased: bool = True

    @property
    def statement(self) -> tuple[Field, ...]:
        return (Field("bit", 2, kind="bit", seen_by=("prover",)),)

    def build(self) -> TaskRules:
        erased = self.erased

        @lane
        def sample(s: Any, tables: Any) -> None:
            s.truth = s.bit = draw(s, 2)

        @lane
        def honest(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            out[0] = 2 if erased and draw(s, 2) == 0 else s.bit

        @lane
        def opposite(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            out[0] = 1 - s.bit

        @lane
        def check(s: Any, tables: Any, first: Any) -> Any:
            return min(np.int64(s.said[first, 0]), 1)

        kinds = {"message": (Field("word", 3),)}
        return TaskRules(sample, {"word": Proof(kinds, honest, {"opposite": opposite}, check, proves=(0, 1), soundness_error=1.0)})

    def render(self, values: Values) -> str:
        return f"the bit is {int(values['bit'])}"

    def parse(self, text: str) -> dict[str, Any]:
        return {"bit": np.array(int(text.split()[-1]), dtype=np.int8)}


@dataclass(frozen=True)
class Different(Task):
    """Are a and b, residues modulo 5, different up to sign? The challenge is the one a private coin picks, under a random sign."""

    leaks: bool = False

    @property
    def statement(self) -> tuple[Field, ...]:
        return (Field("pair", 5, (2,)),)

    @property
    def private(self) -> tuple[Field, ...]:  # type: ignore[override]
        return (Field("coin", 2, kind="bit", seen_by=("prover", "verifier") if self.leaks else ("verifier",)),)

    def build(self) -> TaskRules:
        @lane
        def sample(s: Any, tables: Any) -> None:
            s.truth, s.coin = draw(s, 2), draw(s, 2)
            a, sign = 1 + draw(s, 4), draw(s, 2)
            b = a if s.truth == 0 else 2 * a % 5
            s.pair[0], s.pair[1] = a, b if sign == 0 else 5 - b

        @lane
        def honest(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            asked, a = np.int64(s.said[0, 0]), np.int64(s.pair[0])
            out[0] = 0 if asked == a or asked == 5 - a else 1

        @lane
        def ask(s: Any, tables: Any, slot: Any, out: Any) -> None:
            v = np.int64(s.pair[np.int64(s.coin)])
            out[0] = v if draw(s, 2) == 0 else 5 - v

        @lane
        def check(s: Any, tables: Any, first: Any) -> Any:
            return 1 if s.said[1, 0] == s.coin else 0

        kinds = {"question": (Field("challenge", 5),), "message": (Field("guess", 2, kind="bit"),)}
        script = ("question", "message")
        proof = Proof(kinds, honest, {"constant": honest}, check, script=script, ask=ask, soundness_error=0.5)
        return TaskRules(sample, {"coin": proof})

    def render(self, values: Values) -> str:
        return f"{values['pair'][0]} and {values['pair'][1]} differ up to sign"

    def parse(self, text: str) -> dict[str, Any]:
        return {"pair": np.array([int(text.split()[0]), int(text.split()[2])], dtype=np.int8)}


@dataclass(frozen=True)
class Lookup(Task):
    """Is a hidden row of a table the second? The message points at a column, and its cell is evidence; only the last tells."""

    @property
    def statement(self) -> tuple[Field, ...]:
        return (Field("row", 2, kind="bit", seen_by=("prover",)),)

    @property
    def tables(self) -> dict[str, Any]:
        return {"cells": np.array([[0, 1, 0], [0, 1, 1]], dtype=np.int8)}

    def build(self) -> TaskRules:
        @lane
        def sample(s: Any, tables: Any) -> None:
            s.truth = s.row = draw(s, 2)

        @lane
        def honest(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            out[0] = 2

        @lane
        def elsewhere(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            out[0] = draw(s, 2)

        @lane
        def evidence(s: Any, tables: Any, slot: Any) -> None:
            s.cell = tables.cells[s.row, s.said[slot, 0]]

        @lane
        def check(s: Any, tables: Any, first: Any) -> Any:
            return 1 if s.said[first, 0] == 2 and s.cell == 1 else 0

        kinds = {"message": (Field("column", 3),)}
        cell = Field("cell", 2, kind="bit", seen_by=("verifier",), blank=True)
        return TaskRules(sample, {"cell": Proof(kinds, honest, {"elsewhere": elsewhere}, check, fields=(cell,), evidence=evidence)})

    def render(self, values: Values) -> str:
        return f"the row is {int(values['row'])}"

    def parse(self, text: str) -> dict[str, Any]:
        return {"row": np.array(int(text.split()[-1]), dtype=np.int8)}


class Misstated(Lookup):
    """Lookup with a soundness error that no prover attains."""

    def build(self) -> TaskRules:
        rules = super().build()
        return TaskRules(rules.sample, {"cell": replace(rules.proofs["cell"], soundness_error=0.5)})


PROVER, VERIFIER = Role("prover", "prover", -1.0), Role("verifier", "verifier", -2.0)


@dataclass(frozen=True)
class EarlyDecision(Protocol):
    """Two messages; the verifier may decide after the first, or pay 1/4 ("don't know") to hear the second."""

    roles = (PROVER, VERIFIER)
    table = (
        Row(0, ("prover",), "message", 0, ("verifier",)),
        Row(1, ("verifier",), "verdict"),
        Row(2, ("prover",), "message", 1, ("verifier",)),
        Row(3, ("verifier",), "verdict"),
    )

    def build(self, task: Task, proof: Proof | None) -> ProtocolRules:
        @lane
        def deal(s: Any, tables: Any) -> None:
            s.side[0] = s.truth

        @lane
        def after(s: Any, tables: Any) -> Any:
            return -1 if s.verdict == 0 or s.verdict == 1 else s.turn + 1

        @lane
        def pay(s: Any, tables: Any, reward: Any) -> None:
            reward[1] += score(s.verdict, s.truth, 2) if s.turn < 0 else (-0.25 if s.turn == 2 else 0.0)

        return ProtocolRules(deal, pay, after)


@dataclass(frozen=True)
class DrawnSpeaker(Protocol):
    """Merlin or Morgana, drawn per game, speaks; Merlin argues the truth and Morgana the opposite."""

    seen: bool = False
    table = (Row(0, ("merlin", "morgana"), "message", 0, ("verifier",)), Row(1, ("verifier",), "verdict"))

    @property
    def roles(self) -> tuple[Role, ...]:  # type: ignore[override]
        verifier = Role("verifier", "verifier", -1.0, sees=("speaker",) if self.seen else ())
        return (
            Role("merlin", "prover", -1.0, sees=("side",)),
            Role("morgana", "prover", -1.0, sees=("side",)),
            verifier,
        )

    def build(self, task: Task, proof: Proof | None) -> ProtocolRules:
        @lane
        def deal(s: Any, tables: Any) -> None:
            s.speaker = draw(s, 2)
            s.side[0], s.side[1] = s.truth, 1 - s.truth

        @lane
        def pay(s: Any, tables: Any, reward: Any) -> None:
            if s.turn < 0:
                reward[2] += score(s.verdict, s.truth, 2)
                reward[s.speaker] += -reward[2] if s.speaker == 1 else reward[2]

        return ProtocolRules(deal, pay, next_turn)


@dataclass(frozen=True)
class PrivateCoin(Protocol):
    """The verifier asks a challenge made with its private coin, the prover guesses the coin, the verifier decides."""

    roles = (PROVER, VERIFIER)
    table = (
        Row(0, ("verifier",), "question", 0, ("prover",)),
        Row(1, ("prover",), "message", 1, ("verifier",)),
        Row(2, ("verifier",), "verdict"),
    )

    def build(self, task: Task, proof: Proof | None) -> ProtocolRules:
        @lane
        def deal(s: Any, tables: Any) -> None:
            s.side[0] = 1

        @lane
        def pay(s: Any, tables: Any, reward: Any) -> None:
            if s.turn < 0:
                reward[0] += s.verdict == 1
                reward[1] += score(s.verdict, s.truth, 2)

        return ProtocolRules(deal, pay, next_turn)


@dataclass(frozen=True)
class HiddenSlot(Protocol):
    """Both write a word at once; the verifier hears the first's only from turn 2 on, and guesses it before and after."""

    roles = (PROVER, Role("rival", "prover", -1.0), VERIFIER)
    table = (
        Row(0, ("prover",), "message", 0, ("verifier",), revealed=2),
        Row(0, ("rival",), "message", 1, ("verifier",)),
        Row(1, ("verifier",), "guess", 2),
        Row(2, ("verifier",), "guess", 3),
    )

    def kinds(self, task: Task, proof: Proof | None) -> dict[str, tuple[Field, ...]]:
        return {"guess": (Field("guess", 3),)}

    def build(self, task: Task, proof: Proof | None) -> ProtocolRules:
        @lane
        def deal(s: Any, tables: Any) -> None:
            s.side[0] = s.side[1] = s.truth

        @lane
        def pay(s: Any, tables: Any, reward: Any) -> None:
            if s.turn == 2 or s.turn < 0:
                reward[2] += s.said[2 if s.turn == 2 else 3, 0] == s.said[0, 0]

        return ProtocolRules(deal, pay, next_turn)
