"""A game as text."""

from __future__ import annotations

import numpy as np

from pvg.game import Game
from pvg.spec import Spec


def transcript(game: Game, lane: int = 0, role: int | None = None) -> str:
    """The statement, a line an utterance, the evidence, and once the game is over the verdict and the truth: as a role knows
    it, or all of it.
    """
    over = bool(game.over[lane])
    lines = [_statement(game, lane, None if over else role), *_said(game, lane, role), *_evidence(game, lane, role)]
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
            lines.append(f"{' or '.join(row.speakers)}: {spec.task.render_utterance(row.kind, parts, symbols)}")
    return lines


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
