"""Asking a verifier: verdicts in bounded parts, and within a budget that no attack can exceed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from pvg.agent import Observation
from pvg.metrics import NonFiniteVerdict, checked
from pvg.verifier import Verifier

CHUNK = 200_000  # verdicts asked for at once: bounds the memory of a search
CERTAIN = 1 - 1e-6  # from this verdict on, no more is asked about a statement: no message can gain anything


def tosses_of(statement: Observation) -> int:
    """Over how many tosses of the game's coins a verdict is averaged; 1 where evidence draws none."""
    return 1 if statement.replay is None else statement.replay.tosses


@torch.no_grad()
def ask(verifier: Verifier, statement: Observation, messages: Tensor, averaged: bool = True) -> Tensor:
    """The verdicts `B K` float32 on `messages` (`B K position`), asked in parts of at most CHUNK.

    averaged: over the game's coins, where evidence draws some; otherwise as they fall in each statement's own game (K = 1).
    NonFiniteVerdict: a verdict is no probability; names the first such input. ValueError: the verifier answers in another
    shape.
    """
    tosses = tosses_of(statement) if averaged else 1
    height = max(1, CHUNK // max(1, messages.shape[1] * tosses))
    parts = []
    for first in range(0, len(messages), height):
        asked = statement.rows(slice(first, first + height))
        some = messages[first : first + height].repeat_interleave(tosses, dim=1)
        verdicts = verifier.verdict(asked, some)
        if verdicts.shape != some.shape[:2]:
            raise ValueError(f"verdict: expected shape {tuple(some.shape[:2])}, got {tuple(verdicts.shape)}")
        try:
            checked(verdicts)
        except NonFiniteVerdict as error:
            row, k = (~((verdicts >= 0) & (verdicts <= 1))).nonzero()[0].tolist()
            seen = {c.field.name: asked[c.field.name][row].tolist() for c in asked.view if c.row is None and c.origin != "proof"}
            raise NonFiniteVerdict(f"{error}: message {some[row, k].tolist()} for {seen}") from None
        parts.append(verdicts.float().unflatten(1, (messages.shape[1], tosses)).mean(2))
    return torch.cat(parts)


class OutOfQueries(Exception):
    """The budget is spent, or every statement has a message accepted for certain."""


class Queries:
    """A verifier as an attack sees it: verdicts on B statements, counted, up to a budget a statement.

    A query is one verdict on one message; where evidence draws coins, one verdict for each toss averaged over. About a
    statement with a message accepted for certain nothing more is asked. What was best is kept as it was after each of
    `marks` queries, so that one search is measured at every smaller budget.
    """

    def __init__(self, verifier: Verifier, statement: Observation, positions: int, marks: Sequence[int]) -> None:
        self._verifier, self._statement, self.marks = verifier, statement, tuple(marks)
        count, device = len(statement.packed), statement.packed.device
        self.tosses, self.spent = tosses_of(statement), 0
        self.messages = torch.zeros((count, positions), dtype=torch.int32, device=device)  # statement position  the best
        self.values = torch.full((count,), -1.0, device=device)  # statement  their verdicts, -1 before the first
        self.used = torch.zeros(count, dtype=torch.int64, device=device)  # statement  queries asked
        self.found_at = self.used.clone()  # statement  queries asked when the best was found
        self.kept: list[tuple[Tensor, Tensor]] = []  # mark (messages, values)

    @property
    def open(self) -> Tensor:
        """`statement` bool: about which of them it is still worth asking."""
        return self.values < CERTAIN

    def __call__(self, messages: Tensor, legal: Tensor | None = None) -> Tensor:
        """The verdicts `statement K` on `messages` (`statement K position`); 0 for statements that are no longer open.

        legal: `statement K` bool, which of them may be said; an illegal one costs no less, and never counts as accepted.
        OutOfQueries: after as many of them as the budget allows, which are not lost.
        """
        fits = min(messages.shape[1], (self.marks[-1] - self.spent) // self.tosses)
        rows = self.open.nonzero()[:, 0]
        if len(rows) == 0 or (fits == 0 and messages.shape[1] > 0):
            raise OutOfQueries
        tried = messages[:, :fits].int()
        verdicts = torch.zeros(tried.shape[:2], device=tried.device)
        verdicts[rows] = ask(self._verifier, self._statement.rows(rows), tried[rows])
        scored = torch.full_like(verdicts, -1.0)
        scored[rows] = verdicts[rows]
        if legal is not None:
            scored = scored.where(legal[:, :fits], -1.0)
            verdicts = verdicts.where(legal[:, :fits], 0.0)
        ends = {(mark - self.spent) // self.tosses for mark in self.marks if mark > self.spent}
        for first, last in pairwise(sorted({0, fits, *(end for end in ends if 0 < end < fits)})):
            self._note(scored[:, first:last], tried[:, first:last], rows)
        if fits < messages.shape[1]:
            raise OutOfQueries
        return verdicts

    def charge(self) -> None:
        """Count a query whose answer is not a verdict: a gradient, or the tables of a verifier's steps."""
        if self.spent + 1 > self.marks[-1] or not bool(self.open.any()):
            raise OutOfQueries
        self._count(1, self.open.nonzero()[:, 0])

    def _note(self, verdicts: Tensor, messages: Tensor, rows: Tensor) -> None:
        value, index = verdicts.max(dim=1)
        better = value > self.values
        at = torch.arange(len(index), device=index.device)
        self.messages = torch.where(better[:, None], messages[at, index], self.messages)
        self.found_at = torch.where(better, self.used + (index + 1) * self.tosses, self.found_at)
        self.values = torch.where(better, value, self.values)
        self._count(verdicts.shape[1] * self.tosses, rows)

    def _count(self, queries: int, rows: Tensor) -> None:
        """Of `rows`, and what is best by now for every mark that the next query would pass."""
        self.used[rows] += queries
        self.spent += queries
        while len(self.kept) < len(self.marks) and self.spent + self.tosses > self.marks[len(self.kept)]:
            self.kept.append((self.messages, self.values))

    def best(self) -> list[tuple[Tensor, Tensor]]:
        """The best messages and their verdicts at every mark; past the end of a search, those at its end."""
        return self.kept + [(self.messages, self.values)] * (len(self.marks) - len(self.kept))
