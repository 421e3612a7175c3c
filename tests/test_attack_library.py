"""Attacks with equal budgets: planted weaknesses are found, budgets kept, and nothing is left out silently."""

from __future__ import annotations

import io
import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor
from torch.nn import functional as F

from pvg.agent import Observation
from pvg.agents.attacks import learned
from pvg.agents.attacks.attack import Means, Target, attacks
from pvg.agents.attacks.beam import Beam
from pvg.agents.attacks.exact import StepChecking
from pvg.agents.attacks.gradient import Gradient, Relaxed
from pvg.agents.attacks.library import Results, Saying, attack, attempt, marks_of
from pvg.agents.attacks.queries import OutOfQueries, Queries
from pvg.agents.attacks.report import AttackReport, table, write
from pvg.agents.claims import Claims, deal
from pvg.frozen import load, record
from pvg.game import Game
from pvg.judging import judge
from pvg.lane import lane
from pvg.metrics import NonFiniteVerdict
from pvg.protocol import Protocol, ProtocolRules, Role, Row, next_turn
from pvg.protocols import ProverVerifier, Solo
from pvg.spec import resolve
from pvg.task import Proof, Task
from pvg.tasks.arith import Arith
from pvg.tasks.erasure_channel import ErasureChannel
from pvg.verifier import BlackBox, Constant, Judging, ScriptedVerifier, Verifier

SPEC = resolve(Arith(operations=5, modulus=3), ProverVerifier())
POSITIONS, SYMBOLS = 4, 3
SEARCHES = ["beam", "coordinates", "dynamic_programming", "exhaustive", "gradient", "random"]


class Steps:
    """Accepts with probability 0.99 for each step that holds and 0.1 for each that does not, but for steps it ignores."""

    def __init__(self, *ignored: int) -> None:
        op, x, before, after = torch.meshgrid(*(torch.arange(n) for n in (2, 3, 3, 3)), indexing="ij")
        holds = (before + torch.where(op == 0, x, -x)) % 3 == after
        table = torch.where(holds, 0.99, 0.1)
        self.table = torch.stack([torch.ones_like(table) if j in ignored else table for j in range(5)])  # step op x state state

    def tables(self, packed: Tensor) -> Tensor:
        seen = Observation(packed, SPEC.view(1))
        return self.table[torch.arange(5), seen["op"].long(), seen["x"].long()]

    def step_log_probs(self, packed: Tensor) -> Tensor:
        return F.pad(self.tables(packed).log(), (0, 1, 0, 1))  # a blank is one more state

    def end_states(self, packed: Tensor) -> tuple[Tensor, Tensor]:
        seen = Observation(packed, SPEC.view(1))
        return seen["start"].long(), seen["claim"].long()

    def relaxed(self, packed: Tensor, message: Tensor, evidence: Any = None) -> Tensor:
        first, last = (F.one_hot(state, SYMBOLS).float()[:, None] for state in self.end_states(packed))
        states = torch.cat([first, message, last], dim=1)
        steps = torch.einsum("nja,njab,njb->nj", states[:, :-1], self.tables(packed), states[:, 1:])
        v = steps.prod(1).clamp(1e-9, 1 - 1e-9)
        return torch.stack([(1 - v).log(), v.log()], dim=1)

    def verdict(self, statement: Observation, messages: Tensor) -> Tensor:
        packed = statement.packed.repeat_interleave(messages.shape[1], dim=0)
        log_v = self.relaxed(packed, F.one_hot(messages.flatten(0, 1).long(), SYMBOLS).float())[:, 1]
        return log_v.exp().reshape(messages.shape[:2])


def constant(value: Tensor | float, messages: Tensor) -> Tensor:
    return torch.as_tensor(value).expand(messages.shape[:2]).float()


def says(*magic: int | None) -> BlackBox:
    """Accepts every message that has these symbols, whatever the claim; None: any."""

    def verdict(statement: Observation, messages: Tensor) -> Tensor:
        hits = [messages[:, :, j] == symbol for j, symbol in enumerate(magic) if symbol is not None]
        return torch.stack(hits).all(0).float()

    return BlackBox(verdict)


def attacked(verifier: Verifier, *names: str, **settings: Any) -> AttackReport:
    return attack(verifier, SPEC, names=names, **{"budget": 100, "claims": 30, "validation_claims": 10, **settings})


@pytest.fixture(scope="module")
def claims() -> Claims:
    return deal(resolve(SPEC.task, SPEC.protocol, split="test"), False, 30)


@pytest.fixture(scope="module")
def careless() -> AttackReport:
    """All attacks on a verifier that ignores step 3, but for those that need other means."""
    return attacked(Steps(2), *SEARCHES, "learned", "transfer", budget=1000)


def rendered(report: AttackReport) -> str:
    out = io.StringIO()
    Console(file=out, width=80).print(table(report))
    return out.getvalue()


# Planted weaknesses.


@pytest.mark.parametrize("name", ["beam", "coordinates", "dynamic_programming", "exhaustive", "gradient"])
def test_a_step_that_is_ignored_is_found_by(name: str, careless: AttackReport) -> None:
    assert isinstance(Steps(), StepChecking)
    assert isinstance(Steps(), Relaxed)
    assert careless.success[name][-1].value == careless.exact.value > 0.9  # type: ignore[union-attr]


def test_a_verifier_that_ignores_nothing_is_not_said_to() -> None:
    sound = attacked(Steps(), *SEARCHES, budget=300)
    assert sound.exact is not None
    assert sound.exact.value < 0.35  # 0.1 x 0.99^4 of 30 claims
    assert max(figure.value for curve in sound.success.values() for figure in curve) <= sound.exact.value


def test_a_magic_token_is_found_and_its_games_are_kept() -> None:
    found = attacked(says(None, 2), "random", "coordinates")
    assert (found.union[0].value, found.success["random"][0].value) == (1, 1)
    assert len(found.won) == 30
    assert all(won.message[1] == 2 for won in found.won)
    assert found.transcripts is not None
    said = found.transcripts.game().field("said")[:, 0, :POSITIONS]
    assert said.tolist() == [won.message for won in found.won]
    assert (found.transcripts.game().field("verdict") == 1).all()
    assert all("verdict: accept" in won.transcript for won in found.won)


def test_two_magic_tokens_that_do_nothing_alone_are_found_by_chance_and_by_search() -> None:
    found = attacked(says(1, None, None, 2), "random", "beam", "coordinates", budget=300)
    assert [curve[-1].value for curve in found.success.values()] == [1, 1, 1]


def test_a_magic_message_that_is_missed_shows_between_the_attacks_and_the_exact_value() -> None:
    spec = resolve(Arith(operations=6, modulus=7), ProverVerifier())
    box = says(3, 1, 4, 1, 5)
    found = attack(box, spec, names=["random"], budget=100, claims=20, validation_claims=10)
    assert found.exact is not None
    assert (found.union[-1].value, found.exact.value) == (0, 1)
    unknown = attack(box, spec, names=["random", "exhaustive"], budget=100, claims=20, validation_claims=10, exact_limit=1e5)
    assert unknown.exact is None
    assert "LOWER BOUND" in unknown.how_exact
    assert "lower bound" in rendered(unknown)
    assert unknown.left_out == {"exhaustive": "16,807 queries for every message, and the budget is 100"}
    assert (unknown.won, unknown.winning, unknown.transcripts) == ((), None, None)


def test_memorised_statements_are_accepted_at_their_share_by_every_attack(claims: Claims) -> None:
    box = BlackBox(lambda statement, messages: constant((statement["start"] == 0).reshape(-1, 1), messages))
    found = attacked(box, "random", "beam", "coordinates", "exhaustive")
    known = (claims.statement["start"].reshape(-1) == 0).double().mean()
    assert 0 < known < 1
    assert found.union[0].value == found.exact.value == pytest.approx(float(known))  # type: ignore[union-attr]
    assert {curve[-1].value for curve in found.success.values()} == {found.union[0].value}
    assert {won.queries for won in found.won} == {1}
    assert found.winning == "beam"  # of equals the first


@pytest.mark.parametrize("names", [("exhaustive",), ("prover",)])
def test_nan_on_one_input_voids_the_run_and_is_named(claims: Claims, names: tuple[str, ...]) -> None:
    where = claims.statement.packed[7]

    def verdict(statement: Observation, messages: Tensor) -> Tensor:
        here = (statement.packed == where).all(1)[:, None] & (messages == torch.tensor([2, 0, 1, 1])).all(2)
        return torch.where(here, math.nan, 0.5)

    with pytest.raises(NonFiniteVerdict, match=r"nan.*message \[2, 0, 1, 1\] for \{'start'"):
        attacked(BlackBox(verdict), *names)


def test_the_gradient_names_the_swap_that_is_best_where_v_is_linear_in_each_symbol(claims: Claims) -> None:
    target, generator = Target(Steps(), claims), torch.Generator().manual_seed(0)
    message = target.random(1, generator)[:, 0]
    swaps = torch.arange(POSITIONS * SYMBOLS)
    tried = message[:, None].repeat(1, len(swaps), 1)  # claim swap position
    tried[:, swaps, swaps // SYMBOLS] = (swaps % SYMBOLS).int()
    verdicts = Steps().verdict(claims.statement, tried)
    verdicts[(tried == message[:, None]).all(2)] = 0  # what stays is no swap
    named = Gradient(swaps=1).promising(target, message, generator)
    assert torch.allclose(verdicts.gather(1, named)[:, 0], verdicts.amax(1))


def test_a_beam_of_one_grows_the_message_whose_beginnings_are_better_the_longer() -> None:
    magic = torch.tensor([3, 1, 4, 1, 5])
    box = BlackBox(lambda statement, messages: (messages == magic).float().mean(2) * 0.9)
    target = Target(box, deal(resolve(Arith(operations=6, modulus=7), ProverVerifier()), False, 5))
    queries = Queries(box, target.claims.statement, 5, [1000])
    grown = Beam().grow(target, queries, 1, torch.Generator().manual_seed(0))
    assert grown.tolist() == [[magic.tolist()]] * 5
    assert queries.spent == 4 * 7 * 4 + 7


def test_restarts_leave_a_trap_that_every_climb_from_far_away_ends_in(claims: Claims) -> None:
    def verdict(statement: Observation, messages: Tensor) -> Tensor:
        return torch.where((messages == 2).all(2), 1.0, (messages == 0).float().mean(2) / 2)

    found = attempt(attacks["coordinates"](), Target(BlackBox(verdict), claims), [5000], torch.Generator().manual_seed(0))
    assert found.values.tolist() == [1] * 30


# Budgets.


class Counting:
    """Counts what is asked about each statement."""

    def __init__(self, claims: Claims) -> None:
        self.rows, self.count = claims.statement.packed, torch.zeros(len(claims), dtype=torch.long)
        self.inside = Steps(2)
        self.step_log_probs, self.end_states, self.relaxed = self.inside.step_log_probs, self.inside.end_states, self.inside.relaxed

    def verdict(self, statement: Observation, messages: Tensor) -> Tensor:
        same = (statement.packed[:, None] == self.rows).all(2)
        self.count += (same.float() / same.sum(1, keepdim=True)).sum(0).round().long() * messages.shape[1]
        return self.inside.verdict(statement, messages) * 0.999


@pytest.mark.parametrize("budget", [1, 100, 137])
@pytest.mark.parametrize("name", [*SEARCHES, "prover", "transfer"])
def test_no_attack_asks_more_than_its_budget_and_what_it_asks_is_counted(claims: Claims, name: str, budget: int) -> None:
    distinct = torch.unique(claims.statement.packed, dim=0).shape[0]
    assert distinct == len(claims)  # so that statements can be told apart
    box = Counting(claims)
    target = Target(box, claims, Means({"other": Steps()}))
    one = next(iter(attacks[name].members(target).values()))
    one.prepare(target, torch.Generator().manual_seed(0))
    found = attempt(one, target, [budget], torch.Generator().manual_seed(0))
    assert int(found.used.max()) <= budget
    if name in ("gradient", "dynamic_programming"):  # gradients and tables are queries that are no verdicts
        assert bool((box.count < found.used).all())
    else:
        assert torch.equal(box.count, found.used)
    if name == "exhaustive":
        assert found.used.tolist() == [min(budget, SYMBOLS**POSITIONS)] * 30
    assert bool((found.found_at <= found.used).all())


def test_queries_past_the_budget_are_refused_and_those_before_are_kept(claims: Claims) -> None:
    queries = Queries(says(2), claims.statement, POSITIONS, [3, 5])
    messages = torch.zeros((30, 4, POSITIONS), dtype=torch.int32)
    messages[:, 3, 0] = 2
    queries(messages[:, :2])
    with pytest.raises(OutOfQueries):
        queries(messages)
    assert (queries.spent, queries.used.tolist()) == (5, [5] * 30)
    (at_three, values), (_, last) = queries.best()
    assert (values.unique().tolist(), last.unique().tolist(), at_three.unique().tolist()) == ([0], [0], [0])
    with pytest.raises(OutOfQueries):
        queries.charge()


def test_a_search_is_measured_at_every_smaller_budget_within_one_question(claims: Claims) -> None:
    queries = Queries(says(2), claims.statement, POSITIONS, [3, 4, 6])
    messages = torch.zeros((30, 6, POSITIONS), dtype=torch.int32)
    messages[:, 3, 0] = 2
    assert queries(messages).tolist() == [[0, 0, 0, 1, 0, 0]] * 30
    assert [values.unique().tolist() for _, values in queries.best()] == [[0], [1], [1]]
    assert queries.found_at.unique().tolist() == [4]
    with pytest.raises(OutOfQueries):  # all are accepted for certain: nothing more is asked
        queries(messages)
    assert queries.used.unique().tolist() == [6]


def test_illegal_messages_cost_a_query_and_count_as_nothing(claims: Claims) -> None:
    queries = Queries(Constant(0.7), claims.statement, POSITIONS, [2])
    messages = torch.zeros((30, 1, POSITIONS), dtype=torch.int32)
    illegal = torch.zeros((30, 1), dtype=torch.bool)
    assert queries(messages, illegal).unique().tolist() == [0]
    assert (queries.values.unique().tolist(), queries.spent) == ([-1], 1)


def test_marks_are_decades_up_to_the_budget() -> None:
    assert marks_of(100) == [100]
    assert marks_of(5000) == [100, 1000, 5000]
    assert marks_of(10**6) == [100, 1000, 10**4, 10**5, 10**6]


@pytest.mark.parametrize(("settings", "complaint"), [({"budget": 99}, "budget=99"), ({"claims": 0}, "claims=0")])
def test_settings_outside_their_range_are_named(settings: dict[str, int], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        attacked(Constant(0.5), **settings)


# What is reported.


def test_success_never_falls_with_queries_and_the_union_is_no_worse_than_any(careless: AttackReport) -> None:
    curves = [*careless.success.values(), careless.union, careless.black_box_union]
    for curve in curves:
        assert all(a.value <= b.value for a, b in itertools.pairwise(curve))
        assert all(f.low <= f.value <= f.high for f in curve)
    for k in range(len(careless.marks)):
        assert careless.union[k].value >= max(curve[k].value for curve in careless.success.values())
        assert careless.union[k].value >= careless.black_box_union[k].value
    assert careless.exact is not None
    assert careless.exact.value >= careless.union[-1].value


def test_equal_seeds_find_the_same_and_attacks_do_not_depend_on_each_other() -> None:
    first, again, other = (attacked(Steps(2), "random", "beam", seed=seed, claims=10) for seed in (1, 1, 2))
    assert (first.success, first.won) == (again.success, again.won)
    assert [won.message for won in first.won] != [won.message for won in other.won]
    tried: list[Tensor] = []
    for seed in (1, 1, 2):
        asked: list[Tensor] = []
        attacked(BlackBox(lambda _, messages: asked.append(messages) or constant(0.5, messages)), "random", seed=seed, claims=2)  # noqa: B023
        tried.append(asked[0][0])  # messages drawn do not depend on the claim
    assert torch.equal(tried[0], tried[1])
    assert not torch.equal(tried[1], tried[2])
    assert attacked(Steps(2), "beam", seed=1, claims=10).success["beam"] == first.success["beam"]


def test_a_claim_is_won_by_the_best_message_and_of_equals_by_the_one_found_with_fewest_queries(claims: Claims) -> None:
    first, second = (Queries(Constant(0.5), claims.statement, POSITIONS, [100]) for _ in range(2))
    first.values, second.values = torch.tensor([0.5, 0.5, 0.2]), torch.tensor([0.4, 0.5, 0.9])
    first.found_at, second.found_at = torch.tensor([9, 9, 1]), torch.tensor([1, 2, 8])
    which, after = Results(Target(Constant(0.5), claims), {"first": first, "second": second}, torch.zeros(3)).winner
    assert (which.tolist(), after.tolist()) == ([0, 1, 1], [9, 2, 8])


def test_attacks_that_see_more_than_verdicts_are_told_apart() -> None:
    found = attacked(Steps(2), "dynamic_programming", "transfer", others={"stranger": Constant(0.5)})
    assert found.black_box_union == found.success["transfer"]
    assert found.black_box_union[0].value < found.union[0].value == found.success["dynamic_programming"][0].value


def test_attacks_that_cannot_be_used_are_named_with_the_reason(careless: AttackReport) -> None:
    assert set(careless.left_out) == {"learned", "transfer"}
    black = attacked(says(2), claims=2)
    assert set(black.left_out) == {"dynamic_programming", "gradient", "learned", "transfer"}
    assert "no gradients" in black.left_out["gradient"]
    assert "Not used:" in rendered(black)
    named = {name.split()[0] for name in [*black.success, *black.left_out]}
    assert named == set(attacks)
    with pytest.raises(ValueError, match=r"none of these attacks can be used here; gradient: the verifier gives verdicts only"):
        attacked(says(2), "gradient")


def test_attacks_on_a_game_without_a_prover_are_refused() -> None:
    with pytest.raises(ValueError, match="nobody argues in Solo"):
        attack(Constant(0.5), resolve(SPEC.task, Solo()))


def test_a_verifier_that_answers_at_random_is_scored_by_a_verdict_asked_again() -> None:
    generator = torch.Generator().manual_seed(0)
    box = BlackBox(lambda statement, messages: (torch.rand(messages.shape[:2], generator=generator) < 0.5).float())
    found = attacked(box, "random", claims=60, seed=1)
    assert 0.25 < found.union[-1].value < 0.75  # the search saw an acceptance for each of them
    assert found.exact is None


def test_the_report_is_written_as_json_figure_and_transcripts_that_can_be_judged(careless: AttackReport, tmp_path: Path) -> None:
    write(careless, tmp_path)
    found = json.loads((tmp_path / "report.json").read_text())
    assert found["marks"] == [100, 1000]
    assert found["winning"] == careless.winning == max(found["winners"], key=found["winners"].get)
    assert sum(found["winners"].values()) == len(found["won"]) == round(careless.union[-1].value * 30)
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    kept = load(tmp_path / "transcripts.npz")
    assert kept.provenance["attacks"] == [won["attack"] for won in found["won"]]
    strict = judge(kept, Judging(ScriptedVerifier(SPEC), lambda n: torch.full((n,), 0.5)))
    assert not strict.answers.any()
    shown = rendered(careless)
    assert all(word in shown for word in ("exact: the best", "1,000", "Winning attack:", "coordinates"))
    assert max(len(line) for line in shown.splitlines()) <= 80


# Other verifiers, and a prover that learns.


def test_what_another_verifier_accepts_is_tried_best_first() -> None:
    weak, twin, other = says(1, None, None, 2), says(1, None, None, 2), says(1)
    known = attacked(weak, "transfer", others={"twin": twin, "other": other})
    assert known.union[0].value == 1
    assert {won.queries for won in known.won} == {1}  # what both accept is tried first, and has both tokens
    assert known.prepared["transfer"] == {"queries to other verifiers, a claim": 2 * (16 * (1 + 2 * 12) + 32)}
    assert twin.queries == other.queries == 30 * (16 * (1 + 2 * 12) + 32)
    strange = attacked(weak, "transfer", others={"other": Constant(0.5)}, claims=10)
    assert {won.queries for won in strange.won} != {1}


def test_a_prover_learns_what_a_frozen_black_box_accepts(claims: Claims, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the symbols of a random message, a third are ones."""
    monkeypatch.setattr(learned, "LANES", 32)
    box = BlackBox(lambda statement, messages: (messages == 1).float().mean(2))
    prover = learned.train_prover(box, SPEC, 32 * 25, seed=0)
    said, _ = claims.argue(prover)
    assert float((said == 1).float().mean()) > 0.6
    assert box.queries == 32 * 25
    one, target = learned.Learned(samples=3), Target(box, claims, Means(games=50))
    assert one.prepare(target, torch.Generator().manual_seed(0)) == {"games to train a prover": 32}
    found = attempt(one, target, [100], torch.Generator())
    assert bool((found.used[found.open] == 3).all())
    assert bool((found.values > 0).all())


def test_a_verdict_that_is_no_probability_stops_a_prover_from_learning() -> None:
    with pytest.raises(NonFiniteVerdict):
        learned.train_prover(BlackBox(lambda statement, messages: constant(math.nan, messages)), SPEC, 256, seed=0)


def test_a_verifier_in_its_seat_decides_by_its_coins(claims: Claims) -> None:
    judging = Judging(Constant(0.25), lambda n: torch.linspace(0, 1, n, dtype=torch.float64))
    said = judging.act(claims.statement, torch.ones(30, dtype=torch.bool))
    assert said.symbols[:, 0].tolist() == [1] * 8 + [0] * 22
    assert said.belief is not None
    assert said.belief.tolist() == [0.25] * 30


class Twice(Protocol):
    """The prover speaks two times, and only then is there a verdict."""

    roles = (Role("prover", "prover", -1.0), Role("verifier", "verifier", -1.0))
    table = (
        Row(0, ("prover",), "message", slot=0, hearers=("verifier",)),
        Row(1, ("prover",), "message", slot=1, hearers=("verifier",)),
        Row(2, ("verifier",), "verdict"),
    )

    def build(self, task: Task, proof: Proof | None) -> ProtocolRules:
        @lane
        def pay(s: Any, tables: Any, reward: Any) -> None:
            pass

        return ProtocolRules(deal=next_turn, after=next_turn, pay=pay)


def test_games_in_several_turns_are_attacked_and_kept() -> None:
    def verdict(statement: Observation, messages: Tensor) -> Tensor:
        return ((messages[:, :, 0] == 1) & (messages[:, :, 3] == 2)).float()

    spec = resolve(Arith(operations=3, modulus=3), Twice(), "transcript")
    target = Target(BlackBox(verdict), deal(spec, False, 8))
    found = attempt(attacks["coordinates"](), target, [200], torch.Generator().manual_seed(0))
    assert (found.values.tolist(), found.messages.shape) == ([1] * 8, (8, 4))
    game = Game(spec, 8)
    game.bytes.copy_(target.claims.dealt)
    cast = {"prover": Saying(spec, "prover", "verifier", found.messages), "verifier": Judging(target.verifier, torch.zeros)}
    kept = record(game, cast)
    assert kept.ended["said"].reshape(8, -1).tolist() == found.messages.tolist()
    assert kept.ended["verdict"].tolist() == [1] * 8


def test_evidence_that_draws_coins_costs_a_query_a_toss() -> None:
    spec = resolve(ErasureChannel(), ProverVerifier())
    found = attack(
        ScriptedVerifier(spec), spec, names=["random", "gradient"], budget=300, claims=1, validation_claims=1, exact_limit=0
    )
    assert found.marks == (300,)
    assert found.queries == {"random": 256.0}
    assert found.left_out == {"gradient": "the verifier gives verdicts only, no gradients"}
