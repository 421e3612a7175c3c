"""A person in any seat of any protocol, at a terminal."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pvg.agent import Observation, Utterance
from pvg.game import Game
from pvg.protocol import VERDICT, Row
from pvg.registry import unknown
from pvg.spec import Spec
from pvg.transcript import read_utterance, transcript


class Left(Exception):
    """The person has left the game."""


def seat_of(spec: Spec, role: str | None) -> int:
    """The role a person takes, the first in the verifier's seat unless told otherwise; ValueError where it never speaks."""
    if role is None:
        return [r.seat for r in spec.roles].index("verifier")
    index = spec.role_index(role)
    if spec.roles[index].seat == "nature" or (spec.row_of(index) < 0).all():
        raise ValueError(f"role={role!r}: {'nature is no player' if spec.roles[index].seat == 'nature' else 'it never speaks'}")
    return index


class Person:
    """A player of one lane that reads the transcript as its role knows it, and is asked until what it types can be said.

    show: prints a text. Left is raised where it types "quit", or nothing is left to read.
    """

    def __init__(self, game: Game, role: int, show: Callable[[str], object] = print) -> None:
        self._game, self._role, self._show = game, role, show

    def act(self, observation: Observation, acting: Tensor) -> Utterance:
        """What it types, where it is to speak."""
        if not bool(acting[0]):
            return Utterance(torch.zeros((1, 0), dtype=torch.int32))
        spec = self._game.spec
        row = spec.rows[int(spec.row_of(self._role)[int(self._game.field("turn")[0])])]
        self._show(f"\n{transcript(self._game, 0, self._role)}")
        while True:
            self._show(f"your {hint(spec, row)} (or quit):")  # not a prompt of `input`, which would go to the output of --json
            try:
                text = input().strip()
            except EOFError:
                raise Left from None
            if text in ("quit", "q"):
                raise Left
            try:
                return Utterance(torch.from_numpy(read(spec, row, text))[None])
            except ValueError as error:
                self._show(str(error))


def hint(spec: Spec, row: Row) -> str:
    """What can be said in a row of the table: the answers, or the fields of the utterance and their range."""
    if row.kind == VERDICT:
        return "/".join(_words(spec))
    parts = [f"{part.name} {f'{part.size} times ' if part.size != 1 else ''}0..{part.high - 1}" for part in spec.parts(row)]
    return f"{row.kind}: {', '.join(parts)}"


def read(spec: Spec, row: Row, text: str) -> NDArray[np.int32]:
    """The symbols of what was typed; ValueError says what was expected."""
    if row.kind == VERDICT:
        words = _words(spec)
        matches = [i for i, word in enumerate(words) if word == text] or [
            i for i, word in enumerate(words) if word.startswith(text)
        ]
        if not text or not matches:
            raise unknown("answer", text, words, "the line above")
        return np.array(matches[:1], dtype=np.int32)
    return read_utterance(spec, row, text)


def _words(spec: Spec) -> list[str]:
    answers = ["reject", "accept"] if spec.task.answers == 2 else [str(a) for a in range(spec.task.answers)]
    return [*answers, "unsure"]
