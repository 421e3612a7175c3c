"""Searches that leave nothing out: every message, or every path through the steps a verifier checks one by one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from pvg.agent import Observation
from pvg.agents.attacks import queries
from pvg.agents.attacks.attack import Attack, Target, attacks
from pvg.agents.attacks.queries import Queries, ask, tosses_of
from pvg.metrics import NonFiniteVerdict
from pvg.verifier import Verifier, message_columns


@runtime_checkable
class StepChecking(Protocol):
    """A verifier whose verdict is the product of the probabilities that it accepts each step of a chain of states."""

    def verdict(self, statement: Observation, messages: Tensor) -> Tensor:
        """As in `pvg.verifier.Verifier`."""
        ...

    def step_log_probs(self, packed: Tensor) -> Tensor:
        """`B step state state`: the log-probability that a step from the one state to the other is accepted.

        States past the message's alphabet (a blank, at the end) are allowed; a message cannot use them.
        """
        ...

    def end_states(self, packed: Tensor) -> tuple[Tensor, Tensor]:
        """`B`, `B`: the first state and the last, which the statement and the claim fix."""
        ...


def exhaustive(verifier: Verifier, statement: Observation, alphabet: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Every message for every statement: the best ones `B position` int32 and their verdicts `B`."""
    total, device = math.prod(alphabet), statement.packed.device
    width = min(total, max(1, queries.CHUNK // tosses_of(statement)))
    found = []
    height = max(1, queries.CHUNK // (width * tosses_of(statement)))
    for row in range(0, len(statement.packed), height):
        block = statement.rows(slice(row, row + height))
        count = len(block.packed)
        best = torch.full((count,), -1.0, device=device)  # statement
        which = torch.zeros(count, dtype=torch.long, device=device)  # statement
        for first in range(0, total, width):
            some = numbered(torch.arange(first, min(first + width, total), device=device), alphabet)  # message position
            values, index = ask(verifier, block, some.expand(count, -1, -1)).max(dim=1)
            which = torch.where(values > best, first + index, which)
            best = torch.maximum(values, best)
        found.append((numbered(which, alphabet), best))
    return torch.cat([messages for messages, _ in found]), torch.cat([values for _, values in found])


def numbered(numbers: Tensor, alphabet: tuple[int, ...]) -> Tensor:
    """The messages `n position` int32 of numbers 0..(how many there are)-1; the last position counts fastest."""
    symbols = []
    for high in reversed(alphabet):
        symbols.append(numbers % high)
        numbers = numbers // high
    return torch.stack(symbols[::-1], dim=1).int() if symbols else numbers.new_zeros((len(numbers), 0)).int()


@torch.no_grad()
def dynamic_programming(verifier: StepChecking, statement: Observation) -> tuple[Tensor, Tensor]:
    """The likeliest path from the first state to the last: messages `B position` int32, probabilities `B`.

    Source: Viterbi 1967; a path's score is the sum of its steps' log-probabilities, so it extends a best path.
    """
    highs = {c.field.high for c in statement.view if c.row is not None}
    if len(highs) != 1:
        raise ValueError(f"step_log_probs: the message needs one alphabet of states, got sizes {sorted(highs)}")
    high = highs.pop()
    steps = 1 + len(message_columns(statement.view))
    found = []
    for packed in statement.packed.split(max(1, queries.CHUNK // (steps * (high + 1) ** 2))):
        first, last = (state.long() for state in verifier.end_states(packed))
        found.append(_likeliest(verifier.step_log_probs(packed), first, last, high))
    return torch.cat([messages for messages, _ in found]), torch.cat([values for _, values in found])


def _likeliest(steps: Tensor, first: Tensor, last: Tensor, high: int) -> tuple[Tensor, Tensor]:
    """Viterbi's algorithm through `B step state state`, states between the ends below `high`."""
    if bool((steps.isnan() | (steps > 1e-6)).any()):
        raise NonFiniteVerdict("step_log_probs: expected logarithms of probabilities, got NaN or a positive number")
    rows = torch.arange(len(steps), device=steps.device)
    score = steps[rows, 0, first, :high]  # B state
    came_from = []
    for step in range(1, steps.shape[1] - 1):
        score, source = (score[:, :, None] + steps[:, step, :high, :high]).max(dim=1)
        came_from.append(source)  # B state
    value, state = (score + steps[rows, -1, :high, last]).max(dim=1)
    path = [state]
    for source in reversed(came_from):
        path.append(source[rows, path[-1]])
    return torch.stack(path[::-1], dim=1).int(), value.exp()


@attacks.register("exhaustive")
@dataclass
class Exhaustive(Attack):
    """Every message, where the budget allows for all of them."""

    def unfit(self, target: Target, budget: int) -> str | None:
        needed = target.claims.seats.messages * tosses_of(target.claims.statement)
        return None if needed <= budget else f"{needed:,} queries for every message, and the budget is {budget:,}"

    def search(self, target: Target, ask: Queries, generator: torch.Generator) -> None:
        total, width = target.claims.seats.messages, target.at_once(1000)
        for first in range(0, total, width):
            numbers = torch.arange(first, min(first + width, total), device=target.claims.dealt.device)
            ask(numbered(numbers, target.alphabet).expand(len(target.claims), -1, -1))


@attacks.register("dynamic_programming")
@dataclass
class DynamicProgramming(Attack):
    """The likeliest path through the steps of a verifier that checks a computation step by step: the best message there is.

    It reads the probabilities of all steps, which counts as one query.
    """

    white_box = True

    def unfit(self, target: Target, budget: int) -> str | None:
        return None if isinstance(target.verifier, StepChecking) else "the verifier does not say how likely each step is"

    def search(self, target: Target, ask: Queries, generator: torch.Generator) -> None:
        assert isinstance(target.verifier, StepChecking)
        ask.charge()
        ask(dynamic_programming(target.verifier, target.claims.statement)[0][:, None])
