"""Searches for the best message, against each other, against brute force, and against verifiers with a known answer."""

from __future__ import annotations

import itertools
import math
from functools import partial

import pytest
import torch
from torch import Tensor

import pvg
from pvg.agent import Observation
from pvg.agents.attacks import (
    BestResponse,
    Seats,
    StepChecking,
    ask,
    best_of,
    best_response,
    coordinate_ascent,
    dynamic_programming,
    exhaustive,
    numbered,
    queries,
    seats,
)
from pvg.field import Field
from pvg.metrics import NonFiniteVerdict
from pvg.protocol import Protocol, ProtocolRules, Role, Row, next_turn
from pvg.protocols import ProverVerifier, Solo
from pvg.spec import resolve
from pvg.task import Proof, Task
from pvg.tasks.arith import Arith
from pvg.verifier import BlackBox, Constant, ScriptedVerifier, Verifier

SPEC = resolve(Arith(), ProverVerifier())
ALPHABET = (5, 5, 5, 5, 5)


@pytest.fixture(scope="module")
def statement() -> Observation:
    """Forty statements with both true and false claims."""
    return pvg.game("Arith", num_envs=40, seed=11).observe("verifier")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def right(statement: Observation, messages: Tensor) -> Tensor:
    """Which steps hold, by PyTorch alone: `B K step`."""
    op, x = statement["op"].long()[:, None], statement["x"].long()[:, None]
    ends = (statement[name].long()[:, None, None].expand(-1, messages.shape[1], 1) for name in ("start", "claim"))
    start, claim = ends
    states = torch.cat([start, messages.long(), claim], dim=2)
    return (states[:, :, :-1] + torch.where(op == 0, x, -x)) % 5 == states[:, :, 1:]


def climbed(verifier: Verifier, statement: Observation, starts: Tensor, sweeps: int) -> tuple[Tensor, Tensor]:
    """The best end of coordinate ascent from several starts."""
    return best_of(*coordinate_ascent(partial(ask, verifier, statement), ALPHABET, starts, sweeps, seeded()))


class Rough:
    """A step check with random probabilities that depend on everything a step may depend on, -inf for some."""

    def __init__(self, states: int = 6) -> None:
        table = torch.rand((6, 2, 5, states, states), generator=seeded(1))
        self.table = table.where(table > 0.1, 0.0).log()  # step op x state state

    def step_log_probs(self, packed: Tensor) -> Tensor:
        op, x = packed[:, 1:7].long(), packed[:, 7:13].long()
        return self.table[torch.arange(6), op, x]

    def end_states(self, packed: Tensor) -> tuple[Tensor, Tensor]:
        return packed[:, 0].long(), packed[:, 13].long()

    def verdict(self, statement: Observation, messages: Tensor) -> Tensor:
        first, last = self.end_states(statement.packed)
        ends = (state[:, None, None].expand(-1, messages.shape[1], 1) for state in (first, last))
        states = torch.cat([next(ends), messages.long(), next(ends)], dim=2)
        steps = self.step_log_probs(statement.packed)
        claims = torch.arange(len(messages))[:, None, None]
        return steps[claims, torch.arange(6), states[:, :, :-1], states[:, :, 1:]].sum(dim=2).exp()


def test_every_message_has_one_number() -> None:
    messages = numbered(torch.arange(24), (2, 3, 4))
    assert messages.tolist() == [list(m) for m in itertools.product(range(2), range(3), range(4))]
    assert numbered(torch.arange(1), ()).shape == (1, 0)


def test_exhaustive_search_knows_which_claims_are_true_from_the_reference(statement: Observation) -> None:
    messages, values = exhaustive(ScriptedVerifier(SPEC), statement, ALPHABET)
    true = right(statement, messages[:, None])[:, 0].all(dim=1)
    assert torch.equal(values, true.float())
    assert 0 < values.mean() < 1


@pytest.mark.parametrize("chunk", [7, 3125, 10_000])
def test_exhaustive_search_asks_for_a_bounded_number_at_once_whatever_the_chunk(
    statement: Observation, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = exhaustive(Rough(), statement, ALPHABET)
    asked: list[int] = []
    rough = Rough()

    def verdict(some: Observation, messages: Tensor) -> Tensor:
        asked.append(messages.shape[0] * messages.shape[1])
        return rough.verdict(some, messages)

    monkeypatch.setattr(queries, "CHUNK", chunk)
    few = Observation(statement.packed[:4], statement.view)
    found = exhaustive(BlackBox(verdict), few, ALPHABET)
    assert (max(asked) <= chunk, sum(asked)) == (True, 4 * 3125)
    assert torch.equal(found[1], whole[1][:4])
    assert torch.equal(ask(rough, few, found[0][:, None])[:, 0], found[1])


def test_dynamic_programming_finds_what_exhaustive_search_finds(statement: Observation) -> None:
    rough = Rough()
    assert isinstance(rough, StepChecking)
    messages, values = dynamic_programming(rough, statement)
    _, best = exhaustive(rough, statement, ALPHABET)
    assert torch.allclose(values, best, atol=1e-6)
    assert torch.allclose(ask(rough, statement, messages[:, None])[:, 0], best, atol=1e-6)
    assert best.unique().numel() > 20  # statements differ


def test_dynamic_programming_never_says_the_blank_a_message_has_no_symbol_for(statement: Observation) -> None:
    rough = Rough()
    rough.table[:, :, :, :, 5] = rough.table[:, :, :, 5, :] = 0.0  # the blank would always be accepted
    messages, values = dynamic_programming(rough, statement)
    assert int(messages.max()) <= 4
    assert torch.allclose(values, exhaustive(rough, statement, ALPHABET)[1], atol=1e-6)


def test_dynamic_programming_in_parts_is_the_same(statement: Observation, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = dynamic_programming(Rough(), statement)
    monkeypatch.setattr(queries, "CHUNK", 1000)
    parts = dynamic_programming(Rough(), statement)
    assert all(torch.equal(a, b) for a, b in zip(whole, parts, strict=True))


def test_coordinate_ascent_solves_a_verdict_of_independent_positions_in_one_sweep(statement: Observation) -> None:
    def verdict(some: Observation, messages: Tensor) -> Tensor:
        wanted = some["x"][:, None, :5].long()
        return (messages.long() == wanted).float().mean(dim=2)

    start = torch.zeros((40, 1, 5), dtype=torch.int32)
    messages, values = climbed(BlackBox(verdict), statement, start, 1)
    assert torch.equal(messages, statement["x"][:, :5].int())
    assert bool((values == 1).all())


def test_coordinate_ascent_never_leaves_a_start_for_worse_nor_beats_exhaustive_search(statement: Observation) -> None:
    rough = Rough()
    starts = torch.randint(0, 5, (40, 3, 5), generator=seeded(2))
    before = ask(rough, statement, starts).amax(dim=1)
    best = exhaustive(rough, statement, ALPHABET)[1]
    reached = [climbed(rough, statement, starts, k)[1] for k in range(3)]
    assert torch.equal(reached[0], before)
    for worse, better in itertools.pairwise([*reached, best]):
        assert bool((better >= worse - 1e-6).all())
    assert reached[2].mean() > reached[0].mean() + 0.1


def test_ties_are_broken_at_random_so_that_plateaus_are_crossed(statement: Observation) -> None:
    starts = torch.zeros((40, 2, 5), dtype=torch.int32)
    messages, _ = climbed(Constant(0.5), statement, starts, 1)
    assert messages.unique().tolist() == [0, 1, 2, 3, 4]


def test_the_strongest_search_that_applies_is_taken(statement: Observation) -> None:
    def found(verifier: Verifier, **settings: float) -> BestResponse:
        return best_response(verifier, statement, SPEC, generator=seeded(), **settings)  # type: ignore[arg-type]

    rough = Rough()
    box = BlackBox(rough.verdict)
    by_steps, by_all = found(rough, exact_limit=0), found(box)
    climbed = found(box, exact_limit=0, restarts=2)
    at_limit, above = found(box, exact_limit=40 * 3125), found(box, exact_limit=40 * 3125 - 1)
    assert [f.exact for f in (by_steps, by_all, climbed, at_limit, above)] == [True, True, False, True, False]
    assert by_steps.method == "dynamic programming over steps"
    assert by_all.method == "all 3,125 messages tried"
    assert climbed.method == "coordinate ascent from 2 starts, 2 sweeps"
    assert torch.allclose(by_steps.values, by_all.values, atol=1e-6)
    assert bool((climbed.values <= by_all.values + 1e-6).all())
    assert climbed.messages.dtype == by_all.messages.dtype == by_steps.messages.dtype == torch.int32


@pytest.mark.parametrize("limit", [0, 2e7])
def test_the_queries_reported_are_those_a_black_box_counts(statement: Observation, limit: float) -> None:
    box = BlackBox(Rough().verdict)
    starts = torch.zeros((40, 3, 5), dtype=torch.int32)
    found = best_response(box, statement, SPEC, generator=seeded(), starts=starts, exact_limit=limit)
    assert box.queries == 40 * found.queries
    assert found.queries == (3126 if limit else 7 * (1 + 2 * 25) + 1)


def test_climbs_begin_at_the_starts_given(statement: Observation) -> None:
    best, values = exhaustive(Rough(), statement, ALPHABET)
    box = BlackBox(Rough().verdict)
    found = best_response(box, statement, SPEC, generator=seeded(), starts=best[:, None], restarts=0, sweeps=1, exact_limit=0)
    assert torch.allclose(found.values, values, atol=1e-6)
    with pytest.raises(ValueError, match=r"starts: expected \(40, R, 5\).*restarts=0"):
        best_response(box, statement, SPEC, generator=seeded(), restarts=0, exact_limit=0)
    with pytest.raises(ValueError, match=r"starts: expected \(40, R, 5\)"):
        best_response(box, statement, SPEC, generator=seeded(), starts=best[:, None, :4], exact_limit=0)


def test_a_search_depends_on_its_generator_and_touches_no_other(statement: Observation) -> None:
    before = torch.get_rng_state()
    found = [
        best_response(BlackBox(Rough().verdict), statement, SPEC, generator=seeded(s), restarts=1, sweeps=1, exact_limit=0)
        for s in (1, 1, 2)
    ]
    assert torch.equal(found[0].messages, found[1].messages)
    assert not torch.equal(found[0].messages, found[2].messages)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1.5, -0.5])
@pytest.mark.parametrize("limit", [0, 2e7])
def test_one_verdict_that_is_no_probability_voids_the_search(statement: Observation, bad: float, limit: float) -> None:
    def verdict(some: Observation, messages: Tensor) -> Tensor:
        here = (some.packed == statement.packed[17]).all(dim=1)[:, None]
        return torch.where(here & (messages[:, :, 2] == 3), bad, 0.5)

    with pytest.raises(NonFiniteVerdict):
        best_response(BlackBox(verdict), statement, SPEC, generator=seeded(), exact_limit=limit)


@pytest.mark.parametrize("bad", [math.nan, 0.1])
def test_steps_that_are_no_probabilities_void_the_search(statement: Observation, bad: float) -> None:
    rough = Rough()
    rough.table[3, 0, 2, 1, 1] = bad
    with pytest.raises(NonFiniteVerdict):
        best_response(rough, statement, SPEC, generator=seeded())


def test_steps_that_are_not_those_of_the_verdict_are_no_exact_search(statement: Observation) -> None:
    class Dishonest(Rough):
        def verdict(self, statement: Observation, messages: Tensor) -> Tensor:
            return 1 - super().verdict(statement, messages)

    found = best_response(Dishonest(), statement, SPEC, generator=seeded())
    assert not found.exact
    assert "asked again, verdicts differ by up to" in found.method
    assert torch.equal(found.values, ask(Dishonest(), statement, found.messages[:, None])[:, 0])


def test_the_luck_of_a_verifier_that_answers_at_random_is_no_exact_search(statement: Observation) -> None:
    generator = seeded(5)
    box = BlackBox(lambda _, messages: torch.rand(messages.shape[:2], generator=generator))
    found = best_response(box, statement, SPEC, generator=seeded())
    assert not found.exact
    assert float(found.values.mean()) == pytest.approx(0.5, abs=0.2)  # not the largest of 3,125 draws


def test_a_verifier_that_answers_in_another_shape_is_refused(statement: Observation) -> None:
    with pytest.raises(ValueError, match=r"verdict: expected shape \(40, 3125\), got \(40,\)"):
        best_response(BlackBox(lambda _, messages: torch.zeros(len(messages))), statement, SPEC, generator=seeded())


def test_the_seats_of_the_games_that_can_be_searched() -> None:
    assert seats(SPEC) == Seats(verifier=1, prover=0, alphabet=ALPHABET)
    assert seats(SPEC).messages == 3125
    assert seats(resolve(Arith(), Solo())) == Seats(verifier=0, prover=None, alphabet=())


class Asking(Protocol):
    """The verifier asks before it hears anything, which a search over messages cannot stand for."""

    roles = (Role("prover", "prover", -1.0), Role("verifier", "verifier", -1.0))
    table = (
        Row(0, ("verifier",), "question", slot=0, hearers=("prover",)),
        Row(1, ("prover",), "message", slot=1, hearers=("verifier",)),
        Row(2, ("verifier",), "verdict"),
    )

    def kinds(self, task: Task, proof: Proof | None) -> dict[str, tuple[Field, ...]]:
        return {"question": (Field("question", 2),)}

    def build(self, task: Task, proof: Proof | None) -> ProtocolRules:
        return ProtocolRules(deal=next_turn, after=next_turn, pay=next_turn)


def test_a_game_with_questions_is_refused_and_says_why() -> None:
    with pytest.raises(ValueError, match=r"Asking: a search over messages needs one verdict.*2 turns"):
        seats(resolve(Arith(), Asking()))


def test_without_messages_the_best_response_is_the_verdict() -> None:
    spec = resolve(Arith(), Solo())
    statement = pvg.game("Arith", "solo", num_envs=5).observe("verifier")
    found = best_response(Constant(0.3), statement, spec, generator=seeded(), exact_limit=0)
    assert (found.exact, found.method, found.messages.shape) == (True, "there is no message", (5, 0))
    assert found.values.tolist() == pytest.approx([0.3] * 5)
