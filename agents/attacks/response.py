"""The quick search of training and evaluation: the best message exactly where that is cheap, else by coordinate ascent."""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from pvg.agent import Observation
from pvg.agents.attacks.coordinates import best_of, coordinate_ascent
from pvg.agents.attacks.exact import StepChecking, dynamic_programming, exhaustive
from pvg.agents.attacks.queries import ask, tosses_of
from pvg.agents.claims import seats
from pvg.spec import Spec
from pvg.verifier import Verifier

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
    return asked_again(
        verifier, statement, _search(verifier, statement, seats(spec).alphabet, generator, restarts, sweeps, starts, exact_limit)
    )


def asked_again(verifier: Verifier, statement: Observation, found: BestResponse) -> BestResponse:
    """With verdicts asked once more; no longer exact where they differ from what the search saw."""
    values = ask(verifier, statement, found.messages[:, None])[:, 0]
    off = float((values - found.values).abs().max())
    if off > AGREE:
        found = found._replace(method=f"{found.method}; asked again, verdicts differ by up to {off:.3f}", exact=False)
    return found._replace(values=values, queries=found.queries + tosses_of(statement))


def exact_response(verifier: Verifier, statement: Observation, alphabet: tuple[int, ...], limit: float) -> BestResponse | None:
    """The best message there is, by dynamic programming over steps or by trying all; None where neither can be done.

    limit: of statements x messages x tosses. Where evidence draws coins, trying all is not exact: verdicts are averages over some.
    """
    total, tosses = math.prod(alphabet), tosses_of(statement)
    if isinstance(verifier, StepChecking) and alphabet:
        return BestResponse(*dynamic_programming(verifier, statement), "dynamic programming over steps", True, 0)
    if len(statement.packed) * total * tosses > limit and alphabet:
        return None
    method = f"all {total:,} messages tried{_each(tosses)}" if alphabet else "there is no message"
    return BestResponse(*exhaustive(verifier, statement, alphabet), method, tosses == 1, total * tosses)


def _each(tosses: int) -> str:
    return f", each over {tosses} tosses of the game's coins" if tosses > 1 else ""


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
    count, tosses = len(statement.packed), tosses_of(statement)
    exact = exact_response(verifier, statement, alphabet, exact_limit)
    if exact is not None:
        return exact
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
    climbed = coordinate_ascent(partial(ask, verifier, statement), alphabet, messages, sweeps, generator)
    method = f"coordinate ascent from {climbs} starts, {sweeps} sweeps{_each(tosses)}"
    return BestResponse(*best_of(*climbed), method, False, climbs * (1 + sweeps * sum(alphabet)) * tosses)
