"""A game as text."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pvg.game import Game
from pvg.protocol import Row
from pvg.spec import Spec
from pvg.task import Task


def transcript(game: Game, lane: int = 0, role: int | None = None) -> str:
    """The statement, who argues what, a line an utterance, the evidence, and once the game is over the verdict and the truth:
    as a role knows it, or all of it.
    """
    over = bool(game.over[lane])
    statement = _statement(game, lane, None if over else role)
    lines = [statement, *_own(game, lane, role), *_said(game, lane, role), *_evidence(game, lane, role)]
    return "\n".join([*(line for line in lines if line), *(_ending(game, lane) if over else [])])


def _seen(spec: Spec, role: int | None, *origins: str) -> list[str] | None:
    """The names of the fields of some origins that a role sees; None for whoever sees all."""
    return None if role is None else [column.field.name for column in spec.view(role) if column.origin in origins]


def _statement(game: Game, lane: int, role: int | None) -> str:
    """The task's own text, or what there is of it while some of it is hidden from the role."""
    task = game.spec.task
    names = [field.name for field in (*task.statement, *task.claim)]
    seen = _seen(game.spec, role, "statement", "claim")
    values = {name: game.field(name)[lane].cpu().numpy() for name in names}
    if seen is None or set(names) <= set(seen):
        return task.render(values)
    return ", ".join(f"{name} = {values[name].tolist()}" for name in seen) or "(the statement is hidden)"


def _own(game: Game, lane: int, role: int | None) -> list[str]:
    """What a role is told of the game itself, and the task's and the protocol's fields that it sees, where anything is there."""
    spec, lines = game.spec, []
    for i, someone in enumerate(spec.roles):
        for name in someone.sees if role in (None, i) else ():
            value = int(game.field(name)[lane, i] if name == "side" else game.field(name)[lane])
            if name == "speaker":
                lines += [f"{spec.roles[value].name} speaks"] if value >= 0 else []
            elif value >= 0:
                what = f"{someone.name} argues" if name == "side" else "truth"
                lines.append(f"{what}: {_answer(value, spec.task.answers, ('the claim is false', 'the claim is true'))}")
    names = _seen(spec, role, "private", "protocol")
    if names is None:
        names = [field.name for field in spec.protocol.fields(spec.task, spec.proof) if field.seen_by]
    shown = {name: game.field(name)[lane].cpu().numpy() for name in names}
    return [*lines, *(f"{name} = {values.tolist()}" for name, values in shown.items() if values.max(initial=-1) >= 0)]


def _said(game: Game, lane: int, role: int | None) -> list[str]:
    spec, lines = game.spec, []
    packed = None if role is None else game.observe(role).packed[lane].cpu().numpy()
    for row in spec.rows:
        parts = spec.parts(row)
        if row.slot is None:
            continue
        if packed is None:
            symbols = game.field("said")[lane, row.slot, : sum(part.size for part in parts)].cpu().numpy().astype(np.int32)
        else:
            columns = [column for column in spec.view(role or 0) if column.row == row]
            parts = tuple(column.field for column in columns)
            symbols = np.concatenate([packed[c.start : c.stop].astype(np.int32) - c.shift for c in columns] or [np.array([-1])])
        if symbols.min(initial=0) >= 0:
            drawn = role is None and len(row.speakers) > 1
            who = spec.roles[int(game.field("speaker")[lane])].name if drawn else " or ".join(row.speakers)
            lines.append(f"{who}: {_author(spec, row).render_utterance(spec.task, row.kind, parts, symbols)}")
    return lines


def read_utterance(spec: Spec, row: Row, text: str) -> NDArray[np.int32]:
    """The symbols of an utterance as `transcript` writes it; ValueError says what was expected, or names the field out of range."""
    parts = spec.parts(row)
    symbols = np.asarray(_author(spec, row).parse_utterance(spec.task, row.kind, parts, text), dtype=np.int32)
    places = [part for part in parts for _ in range(part.size)]
    for symbol, part in zip(symbols.tolist(), places, strict=True):
        if not 0 <= symbol < part.high:
            raise ValueError(f"{part.name}: {symbol} is outside 0..{part.high - 1}")
    return symbols


def _author(spec: Spec, row: Row) -> type[Task]:
    """Whose text a kind of utterance is: the task's, or plain numbers for the protocol's own kinds, which no task knows."""
    return Task if row.kind in spec.protocol.kinds(spec.task, spec.proof) else type(spec.task)


def _evidence(game: Game, lane: int, role: int | None) -> list[str]:
    """The proof's own fields, where something stands in them."""
    fields = () if game.spec.proof is None else game.spec.proof.fields
    seen = _seen(game.spec, role, "proof")
    shown = {f.name: game.field(f.name)[lane].cpu().numpy() for f in fields if f.seen_by and (seen is None or f.name in seen)}
    return [f"evidence: {name} = {values.tolist()}" for name, values in shown.items() if values.max(initial=-1) >= 0]


def _ending(game: Game, lane: int) -> list[str]:
    verdict, truth, forfeit = (int(game.field(name)[lane]) for name in ("verdict", "truth", "forfeit"))
    answers = game.spec.task.answers
    lines = [f"forfeit: {game.spec.roles[forfeit].name} said something illegal"] if forfeit >= 0 else []
    lines += [f"verdict: {_answer(verdict, answers, ('reject', 'accept'))}"] if verdict >= 0 else []
    return [*lines, f"truth: {_answer(truth, answers, ('the claim is false', 'the claim is true'))}"]


def _answer(answer: int, answers: int, words: tuple[str, str]) -> str:
    if answer == answers:
        return "don't know"
    return words[answer] if answers == 2 else str(answer)
