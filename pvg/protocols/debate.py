"""debate: two debaters argue for two answers, one of them the true one, before a judge."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from pvg.field import Field, Seat
from pvg.lane import LaneFunction, draw, lane
from pvg.protocol import VERDICT, Protocol, ProtocolRules, Role, Row, next_turn, protocols, score
from pvg.task import Proof, Task

FIRST, SECOND, JUDGE = 0, 1, 2

Order = Literal["sequential", "simultaneous"]


@protocols.register("debate")
@dataclass(frozen=True)
class Debate(Protocol):
    """One debater argues for the truth, the other for a wrong answer, drawn; the judge hears both and decides.

    Of a proof whose script is several messages that are weighed, the debaters take turns at the script. Otherwise the task has
    two answers and the proof proves 1 in one message: each debater sends such messages, and the reference judge answers 1 if
    any of them proves it, whoever sent it, so that the debater who argues for 0 has nothing to prove.
    order: "sequential" (default), or "simultaneous": the messages of a round are not heard before all are said.
    honest: who argues for the truth: "drawn" (default), "first" or "second", for judges that do not learn: they could learn that.
    precommit: True (default): all know both answers from the start, and the reference judge decides between them, by weight;
        False: only the debaters know them, and any wrong verdict is the win of the one who does not argue for the truth.
    turns: how often each debater speaks where the script does not say it, 1..16; default 1.
    questions: how many symbols the judge has for a question to both before every round but the first, 2..1024; 0 (default): it
        asks none. The reference judge asks 0.
    Paid: a debater 1 if the verdict is its answer (without precommit, whoever does not argue for the truth: if it is any wrong
        answer), else 0, so both 0 for "don't know" (-1 for an illegal message); the judge 1 if right, -1 if wrong, 0 for
        "don't know".
    Source: Irving, Christiano & Amodei 2018; questions as in Michael et al. 2023, order as in Khan et al. 2024, rewards as in
        Hammond & Adam-Day 2024.
    """

    complexity: ClassVar[str] = "PSPACE"

    order: Order = "sequential"
    honest: Literal["drawn", "first", "second"] = "drawn"
    precommit: bool = True
    turns: int = 1
    questions: int = 0

    roles = (
        Role("first", "prover", minimum=-1.0, sees=("side",)),
        Role("second", "prover", minimum=-1.0, sees=("side",)),
        Role("judge", "verifier", minimum=-1.0),
    )

    def __post_init__(self) -> None:
        check_settings(self)

    def kinds(self, task: Task, proof: Proof | None) -> Mapping[str, tuple[Field, ...]]:
        return question(self.questions)

    def fields(self, task: Task, proof: Proof | None) -> tuple[Field, ...]:
        seen_by: tuple[Seat, ...] = ("prover", "verifier") if self.precommit else ("prover",)
        return (Field("stated", task.answers, (2,), ("debater",), seen_by=seen_by),)

    def rows(self, task: Task, proof: Proof | None) -> tuple[Row, ...]:
        messages = messages_heard(task, proof, self.turns)
        return turns_of(messages, ("first", "second"), "judge", self.order == "simultaneous", self.questions)

    def build(self, task: Task, proof: Proof | None) -> ProtocolRules:
        answers, fixed = task.answers, ("first", "second", "drawn").index(self.honest)

        @lane
        def deal(s: Any, tables: Any) -> None:
            truthful = draw(s, 2) if fixed == 2 else fixed
            s.side[truthful] = s.truth
            s.side[1 - truthful] = another(s, answers)
            for debater in range(2):
                s.stated[debater] = s.side[debater]

        @lane
        def tell(s: Any, tables: Any, role: Any, slot: Any, honest: Any, out: Any) -> None:
            out[0] = 0

        check = between(proof) if weighed(proof) and self.precommit else proven(proof, messages_heard(task, proof, self.turns))
        return ProtocolRules(deal=deal, after=next_turn, pay=debaters_paid(answers, self.precommit), tell=tell, check=check)


# What debates and consultancies share.


def check_settings(protocol: Any) -> None:
    """ValueError where a setting that protocols of this family have in common, or debate's own, is not what it may be."""
    allowed: dict[str, tuple[Container[object], str]] = {
        "order": (("sequential", "simultaneous"), "neither 'sequential' nor 'simultaneous'"),
        "honest": (("drawn", "first", "second"), "none of 'drawn', 'first' and 'second'"),
        "precommit": ((True, False), "neither True nor False"),
        "turns": (range(1, 17), "outside 1..16"),
        "questions": ((0, *range(2, 1025)), "neither 0 nor in 2..1024"),
    }
    for name, (values, wrong) in allowed.items():
        if hasattr(protocol, name) and getattr(protocol, name) not in values:
            raise ValueError(f"{type(protocol).__name__}: {name}={getattr(protocol, name)!r} is {wrong}")


def question(symbols: int) -> dict[str, tuple[Field, ...]]:
    """The judge's own kind of question, of so many symbols."""
    return {"question": (Field("question", symbols),)} if symbols else {}


def weighed(proof: Proof | None) -> bool:
    """Whether a proof is an argument: several messages, which any prover may say any of, that are weighed for each answer."""
    return proof is not None and len(proof.script) > 1 and proof.weigh is not None


def messages_heard(task: Task, proof: Proof | None, turns: int) -> int:
    """How many messages two debaters exchange; ValueError where a proof does not lend itself to it."""
    if proof is None or set(proof.script) != {"message"} or (len(proof.script) > 1 and not weighed(proof)):
        raise ValueError(f"it needs one message, or several that are weighed; the script is {proof.script if proof else ()}")
    if weighed(proof):
        if turns != 1:
            raise ValueError(f"turns={turns}: the script of {len(proof.script)} messages says how often each debater speaks")
        return len(proof.script)
    if task.answers != 2 or proof.proves != (1,):
        raise ValueError(f"of one message it must prove 1 of two answers; of {task.answers} it proves {proof.proves}")
    if proof.evidence is not None:
        raise ValueError("evidence is kept of one message, and it hears several")
    return 2 * turns


def turns_of(messages: int, speakers: tuple[str, ...], judge: str, simultaneous: bool, questions: int) -> tuple[Row, ...]:
    """Messages by speakers in rotation, in slots 0..messages-1, with the judge's questions before every round but the first,
    in the slots after them; then the verdict.
    """
    if questions and messages <= len(speakers):
        raise ValueError(f"questions={questions}: none is asked before the first round, and there is no other")
    rows, turn = [], 0
    for first in range(0, messages, len(speakers)):
        if questions and first:
            rows.append(Row(turn, (judge,), "question", messages + first // len(speakers) - 1, speakers))
            turn += 1
        said = range(first, min(first + len(speakers), messages))
        for slot in said:
            speaker = speakers[slot - first]
            hearers = tuple(name for name in (*speakers, judge) if name != speaker)
            rows.append(Row(turn if simultaneous else turn + slot - first, (speaker,), "message", slot, hearers))
        turn += 1 if simultaneous else len(said)
    return (*rows, Row(turn, (judge,), VERDICT))


def opened(rows: tuple[Row, ...], roles: tuple[Role, ...]) -> tuple[Row, ...]:
    """The table after a first turn in which the first role states the answer it will argue, in the slot after all others."""
    slot = 1 + max(row.slot for row in rows if row.slot is not None)
    speaker, *others = (role.name for role in roles)
    return (Row(0, (speaker,), "answer", slot, tuple(others)), *(replace(row, turn=row.turn + 1) for row in rows))


@lane
def another(s: Any, answers: Any) -> Any:
    """A wrong answer, drawn."""
    return (np.int64(s.truth) + 1 + draw(s, answers - 1)) % answers


@lane
def picked(s: Any, honest: Any, answers: Any) -> Any:
    """The answer a textbook player picks to argue: the truth, or, if it is dishonest, half the time a wrong one."""
    return np.int64(s.truth) if honest == 1 or draw(s, 2) == 0 else another(s, answers)


def between(proof: Proof | None) -> LaneFunction:
    """The judge that decides between the two answers in `s.stated` by weight; of equals it takes the lower answer."""
    assert proof is not None, "its weights are asked for"
    assert proof.weigh is not None, "its weights are asked for"
    weigh = proof.weigh

    @lane
    def check(s: Any, tables: Any) -> Any:
        low = min(np.int64(s.stated[0]), np.int64(s.stated[1]))
        high = max(np.int64(s.stated[0]), np.int64(s.stated[1]))
        return high if weigh(s, tables, high) > weigh(s, tables, low) else low

    return check


def proven(proof: Proof | None, messages: int) -> LaneFunction:
    """The judge of what was said as a whole, or of one-message proofs: 1 if any of them is one."""
    assert proof is not None, "a debate is of a proof"
    check, whole = proof.check, len(proof.script) > 1

    @lane
    def verdict(s: Any, tables: Any) -> Any:
        if whole:
            return np.int64(check(s, tables, 0))
        for slot in range(messages):
            if check(s, tables, slot) == 1:
                return np.int64(1)
        return np.int64(0)

    return verdict


def debaters_paid(answers: int, precommit: bool) -> LaneFunction:
    """The `pay` of debates: 1 to the debater (roles 0 and 1) who wins, and the judge's (role 2) score."""

    @lane
    def pay(s: Any, tables: Any, reward: Any) -> None:
        if s.turn < 0:
            for debater in range(2):
                if precommit or s.side[debater] == s.truth:
                    reward[debater] += s.verdict == s.side[debater]
                else:
                    reward[debater] += s.verdict != s.truth and s.verdict != answers
            reward[JUDGE] += score(s.verdict, s.truth, answers)

    return pay
