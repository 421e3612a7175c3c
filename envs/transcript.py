"""A game as text, as one seat knows it."""

from __future__ import annotations

import numpy as np

from pvg.envs.seat import Seat


def transcript(seat: Seat, lane: int = 0) -> str:
    """The statement, a line an utterance the seat has heard, and once the game is over the verdict and the truth."""
    over = bool(seat.game.over[lane])
    lines = [_statement(seat, lane, over), *_heard(seat, lane)]
    return "\n".join([*lines, *(_ending(seat, lane) if over else [])])


def _statement(seat: Seat, lane: int, over: bool) -> str:
    """The task's own text, or what there is of it while some of it is hidden from the seat."""
    task = seat.game.spec.task
    names = [field.name for field in (*task.statement, *task.claim)]
    seen = [column.field.name for column in seat.view if column.origin in ("statement", "claim")]
    values = {name: seat.game.field(name)[lane].cpu().numpy() for name in names}
    if over or set(names) <= set(seen):
        return task.render(values)
    return ", ".join(f"{name} = {values[name].tolist()}" for name in seen)


def _heard(seat: Seat, lane: int) -> list[str]:
    spec, packed = seat.game.spec, seat.game.observe(seat.index).packed[lane].cpu().numpy()
    lines = []
    for row in spec.rows:
        said = [packed[c.start : c.stop].astype(np.int32) - c.shift for c in seat.view if c.row == row]
        symbols = np.concatenate(said or [np.array([-1])])
        if symbols.min(initial=0) >= 0:
            text = spec.task.render_utterance(row.kind, spec.parts(row), symbols)
            lines.append(f"{' or '.join(row.speakers)}: {text}")
    return lines


def _ending(seat: Seat, lane: int) -> list[str]:
    verdict, truth, forfeit = (int(seat.game.field(name)[lane]) for name in ("verdict", "truth", "forfeit"))
    answers = seat.game.spec.task.answers
    lines = [f"forfeit: {seat.game.spec.roles[forfeit].name} said something illegal"] if forfeit >= 0 else []
    lines += [f"verdict: {_answer(verdict, answers, ('reject', 'accept'))}"] if verdict >= 0 else []
    return [*lines, f"truth: {_answer(truth, answers, ('the claim is false', 'the claim is true'))}"]


def _answer(answer: int, answers: int, words: tuple[str, str]) -> str:
    if answer == answers:
        return "don't know"
    return words[answer] if answers == 2 else str(answer)
