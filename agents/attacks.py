"""The search for the message a verifier accepts most readily: what a prover who only wants acceptance would send.

All searches need only `verdict`, so they work for black boxes; a verifier that checks steps one by one is searched
exactly by dynamic programming as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from pvg.agent import Observation
from pvg.metrics import NonFiniteVerdict, checked
from pvg.protocol import VERDICT
from pvg.spec import Spec
from pvg.verifier import Verifier, message_columns, message_rows

CHUNK = 200_000  # verdicts asked for at once: bounds the memory of a search
AGREE = 1e-3  # largest difference between the verdict a search found and the verdict asked again


class BestResponse(NamedTuple):
    """The message found for each of B statements, and how far it is known to be the best.

    exact: no other message is accepted more readily; otherwise `values` are lower bounds of the best.
    queries: verdicts asked for, a statement.
    """

    messages: Tensor  # B position  int32
    values: Tensor  # B  float32, the verifier's own verdicts on these messages
    method: str
    exact: bool
    queries: int


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


@dataclass(frozen=True)
class Seats:
    """The role that decides, the role it hears (None: nobody), and how many symbols each position of a message has."""

    verifier: int
    prover: int | None
    alphabet: tuple[int, ...]

    @property
    def messages(self) -> int:
        """How many messages there are."""
        return math.prod(self.alphabet)


def seats(spec: Spec) -> Seats:
    """Who argues and who decides; ValueError where a verdict does not follow one prover's messages and nothing else."""
    if spec.task.answers != 2:
        raise ValueError(f"{spec.task}: a search is for the message that is accepted, and the task has {spec.task.answers} answers")
    deciding = {name for row in spec.rows if row.kind == VERDICT for name in row.speakers}
    verifier = spec.role_index(min(deciding))
    rows = message_rows(spec, verifier)
    me = spec.roles[verifier].name
    heard = {name for row in spec.rows if row.slot is not None and me in (*row.hearers, *row.speakers) for name in row.speakers}
    turns = int((spec.row_of(verifier) >= 0).sum())
    if len(deciding) > 1 or turns > 1 or len(heard) > 1:
        raise ValueError(
            f"{type(spec.protocol).__name__}: a search over messages needs one verdict, by one role, after the "
            f"messages of one prover; here {sorted(deciding)} speak in {turns} turns and hear {sorted(heard)}"
        )
    highs = (spec.alphabet[spec.rows.index(row)] for row in rows)
    alphabet = tuple(int(high) for row in highs for high in row if high > 0)
    return Seats(verifier, spec.role_index(heard.pop()) if heard else None, alphabet)


def tosses_of(statement: Observation) -> int:
    """Over how many tosses of the game's coins a verdict is averaged; 1 where evidence draws none."""
    return 1 if statement.replay is None else statement.replay.tosses


@torch.no_grad()
def ask(verifier: Verifier, statement: Observation, messages: Tensor, averaged: bool = True) -> Tensor:
    """The verdicts `B K` float32 on `messages` (`B K position`), asked in parts of at most CHUNK.

    averaged: over the game's coins, where evidence draws some; otherwise as they fall in each statement's own game (K = 1).
    NonFiniteVerdict: a verdict is no probability. ValueError: the verifier answers in another shape.
    """
    tosses = tosses_of(statement) if averaged else 1
    height = max(1, CHUNK // max(1, messages.shape[1] * tosses))
    parts = []
    for first in range(0, len(messages), height):
        some = messages[first : first + height].repeat_interleave(tosses, dim=1)
        verdicts = verifier.verdict(statement.rows(slice(first, first + height)), some)
        if verdicts.shape != some.shape[:2]:
            raise ValueError(f"verdict: expected shape {tuple(some.shape[:2])}, got {tuple(verdicts.shape)}")
        parts.append(checked(verdicts.float()).unflatten(1, (messages.shape[1], tosses)).mean(2))
    return torch.cat(parts)


def exhaustive(verifier: Verifier, statement: Observation, alphabet: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Every message for every statement: the best ones `B position` int32 and their verdicts `B`."""
    total, device = math.prod(alphabet), statement.packed.device
    width = min(total, max(1, CHUNK // tosses_of(statement)))
    found = []
    height = max(1, CHUNK // (width * tosses_of(statement)))
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
    for packed in statement.packed.split(max(1, CHUNK // (steps * (high + 1) ** 2))):
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


def coordinate_ascent(
    verifier: Verifier,
    statement: Observation,
    alphabet: tuple[int, ...],
    starts: Tensor,
    sweeps: int,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Climb from every start: a sweep tries every symbol at every position, in random order, and keeps the best.

    Ties are broken at random. starts: `B R position`.
    Returns the best end of the R climbs, `B position` int32, and its verdict `B`.
    """
    messages = starts.int().clone()
    values = ask(verifier, statement, messages)  # B R
    for _ in range(sweeps):
        for position in torch.randperm(len(alphabet), generator=generator, device=generator.device).tolist():
            symbols = torch.arange(alphabet[position], dtype=torch.int32, device=messages.device)
            tried = messages[:, :, None].repeat(1, 1, len(symbols), 1)  # B R symbol position
            tried[..., position] = symbols
            verdicts = ask(verifier, statement, tried.flatten(1, 2)).unflatten(1, (-1, len(symbols)))  # B R symbol
            values = verdicts.amax(dim=2)
            order = torch.rand(verdicts.shape, generator=generator, device=generator.device).to(verdicts.device)
            messages[:, :, position] = symbols[torch.where(verdicts == values[..., None], order, -1.0).argmax(dim=2)]
    value, best = values.max(dim=1)
    return messages[torch.arange(len(best), device=best.device), best], value


def best_response(
    verifier: Verifier,
    statement: Observation,
    spec: Spec,
    *,
    generator: torch.Generator,
    restarts: int = 4,
    sweeps: int = 2,
    starts: Tensor | None = None,
    exact_limit: float = 2e7,
) -> BestResponse:
    """The message each of B statements is most readily accepted with, as far as it can be found.

    Exact by dynamic programming for verifiers that expose their steps, and by trying every message where statements x
    messages x tosses is at most `exact_limit` (0: never); otherwise a lower bound by coordinate ascent from `starts`
    (`B R position`) and from `restarts` random messages. Values are verdicts asked once more for the messages found:
    where they differ from what the search saw (the verifier answers at random, or its steps are not those of its
    verdict), the result is labelled a lower bound.
    """
    found = _search(verifier, statement, seats(spec).alphabet, generator, restarts, sweeps, starts, exact_limit)
    values = ask(verifier, statement, found.messages[:, None])[:, 0]
    off = float((values - found.values).abs().max())
    if off > AGREE:
        found = found._replace(method=f"{found.method}; asked again, verdicts differ by up to {off:.3f}", exact=False)
    return found._replace(values=values, queries=found.queries + tosses_of(statement))


def _search(
    verifier: Verifier,
    statement: Observation,
    alphabet: tuple[int, ...],
    generator: torch.Generator,
    restarts: int,
    sweeps: int,
    starts: Tensor | None,
    exact_limit: float,
) -> BestResponse:
    """The strongest search that applies, with the verdicts as the search saw them."""
    count, total, tosses = len(statement.packed), math.prod(alphabet), tosses_of(statement)
    each = f", each over {tosses} tosses of the game's coins" if tosses > 1 else ""
    if isinstance(verifier, StepChecking) and alphabet:
        return BestResponse(*dynamic_programming(verifier, statement), "dynamic programming over steps", True, 0)
    if count * total * tosses <= exact_limit or not alphabet:
        method = f"all {total:,} messages tried{each}" if alphabet else "there is no message"
        return BestResponse(*exhaustive(verifier, statement, alphabet), method, tosses == 1, total * tosses)
    given = starts if starts is not None else torch.zeros((count, 0, len(alphabet)))
    climbs = given.shape[1] + restarts
    if given.shape != (count, given.shape[1], len(alphabet)) or climbs < 1:
        raise ValueError(
            f"starts: expected ({count}, R, {len(alphabet)}) with R + restarts >= 1, "
            f"got {tuple(given.shape)} and restarts={restarts}"
        )
    random = torch.rand((count, restarts, len(alphabet)), generator=generator, device=generator.device)
    highs = torch.tensor(alphabet, device=random.device)
    messages = torch.cat([t.int().to(statement.packed.device) for t in (given, random * highs)], dim=1)
    climbed = coordinate_ascent(verifier, statement, alphabet, messages, sweeps, generator)
    method = f"coordinate ascent from {climbs} starts, {sweeps} sweeps{each}"
    return BestResponse(*climbed, method, False, climbs * (1 + sweeps * sum(alphabet)) * tosses)
