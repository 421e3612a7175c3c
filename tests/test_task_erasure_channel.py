"""ErasureChannel against exact values: by enumeration of every strategy, in games, and in what evaluations make of it."""

from __future__ import annotations

import itertools
import math
import re
from collections import defaultdict
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from pvg.agent import Observation, agents, find_agent
from pvg.agents.adversarial import Adversarial
from pvg.agents.attacks import ask, best_response, exhaustive, queries
from pvg.agents.config import TrainConfig
from pvg.agents.evaluation import Claims, Outcome, deal, evaluate, strongest
from pvg.agents.experiment import experiment
from pvg.agents.imitation import Imitation
from pvg.agents.report import Report
from pvg.agents.selfplay import PPO
from pvg.enumerator import Enumerator, State, Strategy
from pvg.extensive_form import best_response as optimum
from pvg.extensive_form import expected_return
from pvg.game import Game
from pvg.leaks import marginal_leaks
from pvg.protocols import ProverVerifier
from pvg.spec import Spec, Split, resolve
from pvg.tasks.erasure_channel import ErasureChannel
from pvg.testing import check_numbers
from pvg.verifier import BlackBox, ScriptedVerifier, messages_said, replayed, with_messages

SPEC = resolve(ErasureChannel(), ProverVerifier())
SMALL = [
    ErasureChannel(length=1),
    ErasureChannel(length=2, erased=1, of=3),
    ErasureChannel(length=1, erased=1, of=3, yes=1, yes_of=4),  # all ones are to be rejected
    ErasureChannel(length=3, yes=1, yes_of=3),
]


def error(task: ErasureChannel) -> Fraction:
    return (1 - Fraction(task.erased, task.of)) ** task.length


@cache
def tree_of(task: ErasureChannel) -> Enumerator:
    return Enumerator(resolve(task, ProverVerifier()))


def one_of_each(state: State) -> bool:
    """Whether a deal has the first serial, of which nothing depends."""
    return bool(state["serial"][0] == 0)


def channel(tree: Enumerator) -> dict[int, dict[tuple[int, ...], dict[tuple[int, ...], float]]]:
    """truth -> message -> delivered -> probability, from the game."""
    law: dict[int, dict[tuple[int, ...], dict[tuple[int, ...], float]]] = {0: {}, 1: {}}
    for _, state in tree.deals():
        for message in itertools.product((0, 1), repeat=len(tree.alphabet(state, 0))):
            delivered: dict[tuple[int, ...], float] = defaultdict(float)
            for p, after, _ in tree.step(state, {0: message}):
                delivered[tuple(after["delivered"][0].tolist())] += p
            law[int(state["truth"][0])][message] = delivered
    return law


def own_and_all(symbol: int, claims: Claims) -> Tensor:
    return torch.full((claims.game.num_envs, 4), symbol, dtype=torch.int32)


# The channel.


def test_a_game_by_hand() -> None:
    game, verifier = Game(SPEC, 400, seed=2), ScriptedVerifier(SPEC)
    seen = replayed(SPEC, 1, game.observe("verifier"), game.bytes)
    tried = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 1], [0, 0, 0, 0]]).expand(400, -1, -1)
    delivered = with_messages(seen, tried)["delivered"].reshape(400, 3, 4)
    accepted = verifier.verdict(seen, tried)
    true = game.field("bit") == 1
    assert torch.equal(delivered[true], tried[true].to(delivered.dtype))
    assert accepted[true].unique(dim=0).tolist() == [[1, 0, 0]]
    assert set(delivered[~true, 0].unique().tolist()) == {1, 2}
    assert torch.equal(delivered[~true, 2], tried[~true, 2].to(delivered.dtype))  # zeros are never erased
    assert torch.equal(accepted[~true, 0] == 1, (delivered[~true, 0] == 1).all(dim=1))
    assert not accepted[~true, 1:].any()


def test_the_truth_and_the_erasures_have_the_stated_rates() -> None:
    game = Game(resolve(ErasureChannel(length=2, erased=1, of=3, yes=1, yes_of=5), ProverVerifier()), 100_000)
    assert torch.equal(game.field("bit"), game.field("truth"))
    assert float(game.field("bit").float().mean()) == pytest.approx(1 / 5, abs=0.007)
    game.play({"prover": "ones"})
    lost = (game.field("delivered") == 2).float()
    false = game.field("bit") == 0
    assert not lost[~false].any()
    assert lost[false].mean(dim=0).tolist() == pytest.approx([1 / 3, 1 / 3], abs=0.009)
    assert float(lost[false].prod(dim=1).mean()) == pytest.approx(1 / 9, abs=0.006)


def test_the_verifier_sees_what_is_delivered_and_not_what_is_sent() -> None:
    assert [column.field.name for column in SPEC.view(1)] == ["delivered"]
    assert [column.field.name for column in resolve(ErasureChannel(), ProverVerifier()).view(0)] == ["bit", "delivered", "sent"]


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_every_split_has_games_of_both_truths(split: Split) -> None:
    game = Game(resolve(ErasureChannel(), ProverVerifier(), split=split), 500)
    assert game.field("truth").unique().tolist() == [0, 1]


@pytest.mark.parametrize("task", [ErasureChannel(), SMALL[1], ErasureChannel(length=8, erased=1, of=8, yes=1, yes_of=4)])
def test_all_ones_are_accepted_as_often_as_stated(task: ErasureChannel) -> None:
    assert task.rules.proofs["channel"].soundness_error == pytest.approx(float(error(task)), abs=1e-15)
    check_numbers(task)


def test_a_verifier_without_a_prover_has_nothing_to_learn_from() -> None:
    assert not marginal_leaks(ErasureChannel()).leaks


# Every strategy.


@pytest.mark.parametrize("task", SMALL)
def test_no_prover_does_better_than_all_ones_against_the_reference(task: ErasureChannel) -> None:
    players = {"verifier": agents["reference"]}
    value, _ = optimum(tree_of(task), "prover", players, given=lambda s: one_of_each(s) and s["truth"][0] == 0)
    assert value == pytest.approx(float(error(task)), abs=1e-12)


@pytest.mark.parametrize("task", SMALL)
def test_no_verifier_does_better_against_all_ones_than_the_bayes_accuracy(task: ErasureChannel) -> None:
    prior = Fraction(task.yes, task.yes_of)
    accepting, rejecting = prior + (1 - prior) * (1 - error(task)), 1 - prior
    assert task.bayes_accuracy == pytest.approx(float(max(accepting, rejecting)), abs=1e-12)
    tree = tree_of(task)
    value, plan = optimum(tree, "verifier", {"prover": find_agent("ones", tree.spec)}, given=one_of_each)
    assert (1 + value) / 2 == pytest.approx(task.bayes_accuracy, abs=1e-12)
    assert plan[bytes([2] * task.length)] == ((1,) if accepting > rejecting else (0,))  # all ones, as 1 + symbol


def test_a_channel_that_erases_all_leaves_no_error_and_one_that_erases_nothing_no_proof() -> None:
    assert ErasureChannel(erased=2).bayes_accuracy == 1
    assert ErasureChannel(erased=0, yes=2, yes_of=3).bayes_accuracy == pytest.approx(2 / 3)
    assert ErasureChannel(erased=0, yes=1, yes_of=3).bayes_accuracy == pytest.approx(2 / 3)


# The orders of play.


@pytest.mark.parametrize("prior", [Fraction(1, 2), Fraction(1, 4), Fraction(9, 10)])
def test_a_verifier_that_leads_accepts_all_ones_if_the_prior_is_high_enough_and_else_nothing(prior: Fraction) -> None:
    law, p = channel(tree_of(SMALL[1])), float(prior)
    patterns = list(itertools.product((0, 1, 2), repeat=2))
    accuracy = {}
    for choice in itertools.product((False, True), repeat=9):
        accepted = frozenset(itertools.compress(patterns, choice))
        best = [max(sum(q for d, q in delivered.items() if d in accepted) for delivered in law[y].values()) for y in (0, 1)]
        accuracy[accepted] = p * best[1] + (1 - p) * (1 - best[0])
    task = ErasureChannel(length=2, erased=1, of=3, yes=prior.numerator, yes_of=prior.denominator)
    highest = max(accuracy.values())
    assert highest == pytest.approx(task.bayes_accuracy, abs=1e-12)
    leading = [accepted for accepted, value in accuracy.items() if value > highest - 1e-9]
    if prior >= (1 - prior) * error(task):
        assert frozenset({(1, 1)}) in leading
        assert all((1, 1) in accepted for accepted in leading)
    else:
        assert leading == [frozenset()]


def test_of_strategies_fixed_at_once_the_proof_is_an_equilibrium_and_babbling_is_one_too() -> None:
    tree = tree_of(SMALL[3])
    proof = {"prover": find_agent("ones", tree.spec), "verifier": agents["reference"]}
    nothing = {tree.information(state, 0): (0, 0, 0) for _, state in tree.deals()}
    reject: Strategy = defaultdict(lambda: (0,))
    babble = {"prover": nothing, "verifier": reject}
    for players in (proof, babble):
        played = expected_return(tree, players)
        for i, role in enumerate(("prover", "verifier")):
            others = {name: player for name, player in players.items() if name != role}
            assert optimum(tree, role, others)[0] == pytest.approx(played[i], abs=1e-6)
    assert (1 + expected_return(tree, babble)[1]) / 2 == pytest.approx(2 / 3)  # the prior, for a message nobody needs
    assert (1 + expected_return(tree, proof)[1]) / 2 == pytest.approx(SMALL[3].bayes_accuracy)


def test_a_prover_that_leads_says_nothing() -> None:
    law, prior = channel(tree_of(SMALL[0])), 1 / 3
    loss = {}
    for ones in itertools.product(np.linspace(0, 1, 21), repeat=2):  # how often 1 is sent, by the bit
        joint = np.zeros((2, 3))  # truth delivered
        for y, message in itertools.product((0, 1), (0, 1)):
            for (symbol,), q in law[y][message,].items():
                joint[y, symbol] += (prior if y else 1 - prior) * (ones[y] if message else 1 - ones[y]) * q
        seen = joint.sum(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            belief = np.where(seen > 0, joint[1] / seen, 1.0)
            loss[ones] = float(np.where(seen > 0, -seen * np.log(belief), 0).sum())
    assert min(loss, key=lambda ones: loss[ones]) == (0, 0)
    assert min(loss.values()) == pytest.approx(-math.log(prior))
    assert sorted(loss.values())[1] > -math.log(prior) + 1e-4


def test_once_the_instance_is_known_the_verifier_needs_no_message() -> None:
    tree = tree_of(SMALL[0])
    for truth in (0, 1):
        value, plan = optimum(tree, "verifier", {"prover": agents["random"]}, given=lambda s, t=truth: s["truth"][0] == t)
        assert (value, set(plan.values())) == (pytest.approx(1), {(truth,)})


# Attacks and evaluations, where what a message does depends on coins.


@pytest.fixture(scope="module")
def false() -> Claims:
    return deal(SPEC, False, 2000)


def test_a_replay_in_the_claims_own_game_is_what_the_verifier_heard() -> None:
    game = Game(SPEC, 300, seed=7)
    dealt = game.bytes.clone()
    game.advance({"prover": find_agent("ones", SPEC)}, seat="verifier")
    heard = game.observe("verifier")
    replay = replayed(SPEC, 1, heard, dealt)
    assert torch.equal(with_messages(replay, messages_said(game, 1)[:, None]).packed, heard.packed)
    assert (heard["delivered"] == 2).any()


def test_an_average_over_coins_is_over_others_for_every_claim(false: Claims) -> None:
    values = ask(ScriptedVerifier(SPEC), false.statement, own_and_all(1, false)[:, None])[:, 0]
    spread = math.sqrt(1 / 16 * 15 / 16 / 256)
    assert float(values.std()) == pytest.approx(spread, rel=0.1)
    assert float(values.mean()) == pytest.approx(1 / 16, abs=5 * spread / math.sqrt(2000))


def test_all_messages_meet_the_same_coins_and_searches_stay_within_their_bounds(
    false: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    statement, asked, reference = false.statement.rows(slice(3)), [], ScriptedVerifier(SPEC)

    def verdict(some: Observation, messages: Tensor) -> Tensor:
        asked.append(messages.shape[0] * messages.shape[1])
        return reference.verdict(some, messages)

    alike = ask(reference, statement, own_and_all(1, false)[:3, None].repeat(1, 2, 1))
    assert torch.equal(alike[:, 0], alike[:, 1])
    monkeypatch.setattr(queries, "CHUNK", 1024)
    messages, values = exhaustive(BlackBox(verdict), statement, (2, 2, 2, 2))
    assert (max(asked), sum(asked)) == (1024, 3 * 16 * 256)
    assert bool((messages == 1).all())
    assert torch.equal(values, alike[:, 0])


@pytest.mark.parametrize("enough", [True, False])
def test_the_queries_counted_are_those_asked_and_tosses_count_towards_the_limit(false: Claims, enough: bool) -> None:
    box, statement = BlackBox(ScriptedVerifier(SPEC).verdict), false.statement.rows(slice(5))
    limit = 5 * 16 * 256 - (not enough)
    found = best_response(box, statement, SPEC, generator=torch.Generator().manual_seed(0), exact_limit=limit)
    assert box.queries == 5 * found.queries
    assert found.method.startswith("all 16 messages tried, each over 256" if enough else "coordinate ascent from 4 starts")
    assert not found.exact


def test_the_strongest_attack_is_chosen_before_the_coins_fall() -> None:
    everywhere, message = torch.ones(2, dtype=torch.bool), torch.zeros((2, 1), dtype=torch.int32)
    likely = Outcome(message, torch.tensor([0.0, 1.0]), everywhere, torch.tensor([0.9, 0.1]))
    lucky = Outcome(message + 1, torch.tensor([1.0, 0.0]), everywhere, torch.tensor([0.5, 0.5]))
    worst = strongest([likely, lucky])
    assert (worst.messages[:, 0].tolist(), worst.verdicts.tolist()) == ([0, 1], [0.0, 0.0])


def test_an_evaluation_of_the_reference_finds_the_exact_soundness_error() -> None:
    report = evaluate(ScriptedVerifier(SPEC), SPEC, claims=2000, validation_claims=100)
    for figures in (report.randomised, report.at_threshold):
        found = figures.best_response_soundness_error
        assert found.value == pytest.approx(1 / 16, abs=5 * math.sqrt(1 / 16 * 15 / 16 / 2000))
        assert (figures.completeness.value, found.high) == (1, 1)
        assert figures.attack_success["ones"].value == found.value
        assert figures.attack_success["random"].value < 0.02
    assert "LOWER BOUND: all 16 messages tried, each over 256 tosses" in found.method


def test_a_network_learns_the_channel_and_is_trained_against_its_best_message() -> None:
    spec: Spec = resolve(SMALL[1], ProverVerifier())
    phases = (Imitation(updates=60), Adversarial(updates=10), PPO(updates=2))
    report = experiment(spec, TrainConfig("mlp", width=32, lanes=64, phases=phases), claims=500, progress=False)
    assert isinstance(report, Report)
    assert report.solo_accuracy is not None
    assert report.solo_accuracy.value == 0.5
    assert report.at_threshold.completeness.value > 0.9
    error_found = report.at_threshold.best_response_soundness_error.value
    assert error_found == pytest.approx(float(error(SMALL[1])), abs=5 * math.sqrt(0.25 / 500))


# Sizes and text.


@pytest.mark.parametrize(
    ("sizes", "named"),
    [
        ({"length": 0}, "length=0 is outside 1..64"),
        ({"length": 65}, "length=65 is outside 1..64"),
        ({"erased": 3}, "erased=3 is outside 0..2"),
        ({"erased": -1}, "erased=-1 is outside 0..2"),
        ({"of": 0}, "of=0 is outside 1..1000"),
        ({"yes": 0}, "yes=0 is outside 1..1"),
        ({"yes": 2}, "yes=2 is outside 1..1"),
        ({"yes_of": 1001}, "yes_of=1001 is outside 2..1000"),
    ],
)
def test_a_bad_size_is_named(sizes: dict[str, int], named: str) -> None:
    with pytest.raises(ValueError, match=f"ErasureChannel: {named}"):
        ErasureChannel(**sizes)


def test_text_is_read_back_and_what_is_none_is_refused() -> None:
    task = ErasureChannel()
    assert task.render(task.parse("the hidden bit is 1")) == "the hidden bit is 1"
    for text in ("the hidden bit is 2", "1"):
        with pytest.raises(ValueError, match=re.escape("expected 'the hidden bit is 0' or 'the hidden bit is 1'")):
            task.parse(text)
