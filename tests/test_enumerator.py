"""The enumerator: the toy protocols solved exactly against values known by hand."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from toys import Bit, Different, DrawnSpeaker, EarlyDecision, HiddenSlot, Lookup, PrivateCoin

from pvg.agent import agents, find_agent
from pvg.enumerator import Enumerator
from pvg.extensive_form import best_response, expected_return
from pvg.game import Game
from pvg.protocol import Protocol
from pvg.protocols import ProverVerifier, Solo
from pvg.spec import resolve
from pvg.task import Task
from pvg.tasks import Arith

HONEST, REFERENCE, RANDOM = agents["honest"], agents["reference"], agents["random"]


def tree(task: Task, protocol: Protocol) -> Enumerator:
    return Enumerator(resolve(task, protocol))


def test_deciding_early_is_worth_what_it_should_be() -> None:
    # Half the time the first word tells: 1. Else pay 1/4 for a second that tells half the time: 1/2 - 1/4 > 0 for guessing now.
    value, plan = best_response(tree(Bit(), EarlyDecision()), "verifier", {"prover": HONEST})
    assert value == pytest.approx(1 / 2 + 1 / 2 * (1 / 2 - 1 / 4))
    assert Counter(plan.values())[2,] == 1  # "don't know" exactly when the first word was erased


@pytest.mark.parametrize(("seen", "worth"), [(False, 0.0), (True, 1.0)])
def test_a_word_is_worth_nothing_until_its_speaker_is_known(seen: bool, worth: float) -> None:
    game = tree(Bit(erased=False), DrawnSpeaker(seen))
    liar = find_agent("opposite", game.spec)
    assert best_response(game, "verifier", {"merlin": HONEST, "morgana": liar})[0] == pytest.approx(worth)


@pytest.mark.parametrize(("leaks", "error"), [(False, 1 / 2), (True, 1.0)])
def test_private_coin_halves_the_lie_and_a_leaked_one_does_not(leaks: bool, error: float) -> None:
    game = tree(Different(leaks), PrivateCoin())
    for truth, accepted in ((1, 1.0), (0, error)):
        best, _ = best_response(game, "prover", {"verifier": REFERENCE}, given=lambda s, truth=truth: s["truth"][0] == truth)
        assert best == pytest.approx(accepted)


def test_hidden_word_is_a_guess_until_it_is_opened() -> None:
    value, _ = best_response(tree(Bit(), HiddenSlot()), "verifier", {"prover": RANDOM, "rival": RANDOM})
    assert value == pytest.approx(1 / 3 + 1)


def test_evidence_is_worth_what_the_cell_tells() -> None:
    game = tree(Lookup(), ProverVerifier())
    assert best_response(game, "verifier", {"prover": HONEST})[0] == pytest.approx(1)
    # Of three columns the last tells; the other two are the same in both rows, and worth a guess.
    assert best_response(game, "verifier", {"prover": RANDOM})[0] == pytest.approx(1 / 3)
    # The reference verifier is right about every false claim, and about a true one when the last column is shown.
    assert expected_return(game, {"prover": RANDOM, "verifier": REFERENCE})[1] == pytest.approx(1 / 2 + 1 / 2 * (1 / 3 - 2 / 3))


def test_best_strategy_attains_the_best_value() -> None:
    game = tree(Bit(), EarlyDecision())
    value, plan = best_response(game, "verifier", {"prover": HONEST})
    assert expected_return(game, {"prover": HONEST, "verifier": plan})[1] == pytest.approx(value)


def test_no_prover_fools_the_reference_verifier_of_a_small_arith() -> None:
    game = tree(Arith(operations=2, modulus=3), ProverVerifier())
    best, _ = best_response(game, "prover", {"verifier": REFERENCE}, given=lambda s: s["truth"][0] == 0)
    assert best == 0
    assert expected_return(game, {"prover": HONEST, "verifier": REFERENCE}).tolist() == pytest.approx([0.5, 1.0])


def test_solo_verifier_of_a_small_arith_can_know_all() -> None:
    assert best_response(tree(Arith(operations=2, modulus=2), Solo()), "verifier", {})[0] == pytest.approx(1.0)


def test_deals_are_the_distribution_that_is_played() -> None:
    spec = resolve(Arith(operations=2, modulus=2), ProverVerifier())
    exact: Counter[tuple[int, ...]] = Counter()
    names = ("truth", "start", "claim")
    for p, state in Enumerator(spec).deals():
        exact[tuple(int(state[name][0]) for name in names) + tuple(state["op"][0]) + tuple(state["x"][0])] += p  # type: ignore[assignment]
    assert sum(exact.values()) == pytest.approx(1)
    game = Game(spec, 40_000, seed=0)
    played = torch.cat([game.field(n)[:, None] for n in names] + [game.field("op"), game.field("x")], dim=1)
    rows, counts = np.unique(played.numpy(), axis=0, return_counts=True)
    assert {tuple(int(v) for v in row) for row in rows} == set(exact)
    for row, count in zip(rows, counts, strict=True):
        assert count / 40_000 == pytest.approx(exact[tuple(int(v) for v in row)], abs=5 * (1 / 64 / 40_000) ** 0.5)


def test_a_game_that_draws_past_the_tape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"tape=3: Arith.*draws more often"):
        next(Enumerator(resolve(Arith(operations=2, modulus=2), ProverVerifier()), tape=3).deals())
