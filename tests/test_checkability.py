"""Checkability training: its figures by hand, what each round starts from and learns from, and what a killed run goes on to."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_checkpoint import everything
from torch import Tensor

from pvg.agents import checkability, imitation
from pvg.agents.algorithm import Algorithm, Figures
from pvg.agents.checkability import (
    Checkability,
    Solutions,
    attack_updates,
    auc,
    balanced_loss,
    convincingness,
    deceive,
    separability,
    solution_figures,
)
from pvg.agents.config import TrainConfig
from pvg.agents.imitation import Imitation
from pvg.agents.play import deal
from pvg.agents.team import Team, assemble
from pvg.agents.training import CHECKPOINT, train
from pvg.game import Game
from pvg.protocols import HelpfulSneaky, ProverVerifier
from pvg.spec import resolve
from pvg.tasks import Arith

SPEC = resolve(Arith(operations=2, modulus=3), HelpfulSneaky())
ROUNDS = Checkability(updates=10, rounds=2, verifier_updates=3, epochs=1)
CONFIG = TrainConfig("mlp", width=16, layers=1, lanes=16, phases=(Imitation(updates=2, seats="prover", prover="honest"), ROUNDS))


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def few_transcripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkability, "TRANSCRIPTS", 32)


# Pure functions.


def test_auc_is_the_share_of_pairs_in_order_and_half_of_the_ties() -> None:
    # Of 1s 3, 1 and of 0s 2, 1, 0: 3 is above all three, 1 above one and ties one. 4.5 of 6.
    scores, labels = torch.tensor([3.0, 2.0, 1.0, 1.0, 0.0]), torch.tensor([1, 0, 1, 0, 0])
    assert float(auc(scores, labels)) == 0.75
    assert float(auc(-scores, labels)) == 0.25
    assert float(auc(torch.zeros(4), torch.tensor([1, 0, 0, 1]))) == 0.5
    with pytest.raises(ValueError, match="expected both kinds, got 4 of 1 and 0 of 0"):
        auc(torch.zeros(4), torch.ones(4))


def test_right_and_wrong_solutions_weigh_the_same_in_the_verifiers_loss() -> None:
    scores = torch.tensor([0.0, 1.0, 2.0, -1.0])
    correct = torch.tensor([True, False, True, True])
    right = [math.log(1 + math.exp(-v)) + 0.1 * v**2 for v in (0.0, 2.0, -1.0)]
    wrong = math.log(1 + math.e) + 0.1
    assert float(balanced_loss(scores, correct, 0.1)) == pytest.approx((sum(right) / 3 + wrong) / 2)
    assert float(balanced_loss(scores[:1], correct[:1], 0.1)) == pytest.approx(math.log(2) / 2)  # of the other kind there is none


def test_at_the_default_weight_of_the_squared_score_no_score_is_best_below_minus_two() -> None:
    scores = torch.linspace(-6, 6, 2401)
    loss = torch.stack([balanced_loss(v[None], torch.tensor([False]), Checkability().centring) for v in scores])
    assert -2.0 <= float(scores[loss.argmin()]) < -1.9


def made(score: list[float], correct: list[int], helpful: list[int]) -> Solutions:
    said: Any = None
    return Solutions(said, torch.tensor(score), torch.tensor(correct).bool(), torch.tensor(helpful).bool())


def test_figures_of_solutions_are_split_by_role_and_correctness() -> None:
    some = made([1.0, 2.0, 5.0, 3.0, 7.0, 4.0], [1, 1, 0, 0, 1, 0], [1, 1, 1, 0, 0, 0])
    figures = {name: float(value) for name, value in solution_figures(*some[1:]).items()}
    expected = {"helpful_correct": 1.5, "sneaky_incorrect": 3.5, "helpful_accuracy": 2 / 3, "sneaky_accuracy": 1 / 3}
    assert figures == pytest.approx({**expected, "aligned": 4 / 6})


def test_who_deceives_is_wrong_and_as_convincing_as_the_right() -> None:
    wrong = made([1.0, 3.0, 9.0], [0, 0, 1], [0, 0, 1])
    assert deceive(wrong, torch.tensor(2.0))
    assert not deceive(wrong, torch.tensor(2.1))
    assert not deceive(made([3.0, 3.0, 9.0], [0, 1, 1], [0, 0, 1]), torch.tensor(2.0))  # right half of the time
    assert deceive(made([3.0] * 20, [0] * 19 + [1], [0] * 20), torch.tensor(2.0))  # right 1 time in 20
    assert not deceive(made([9.0], [1], [1]), torch.tensor(-1.0))  # nobody is sneaky
    assert not deceive(wrong, convincingness(wrong.score, torch.zeros(3, dtype=torch.bool)))  # nobody is helpful and right
    assert float(convincingness(wrong.score, wrong.correct)) == 9.0


def test_roles_that_show_in_what_is_said_are_told_apart_and_others_are_not() -> None:
    view = SPEC.view(1)
    generator = torch.Generator().manual_seed(0)
    packed = torch.randint(2, (600, view.width), generator=generator)
    helpful = torch.rand(600, generator=generator) < 0.5
    assert abs(float(separability(view, packed, helpful)) - 0.5) < 0.1
    packed[:, view["claim"].start] = helpful.long()
    before = torch.get_rng_state()
    assert float(separability(view, packed, helpful)) > 0.99
    assert torch.get_rng_state().equal(before)


# Rounds.


def begun(algorithm: Checkability = ROUNDS, lanes: int = 16) -> tuple[Team, Game]:
    team, game = assemble(SPEC, CONFIG), Game(SPEC, lanes)
    algorithm.begin(team, game)
    return team, game


def go_on(algorithm: Checkability, team: Team, game: Game, updates: range) -> Figures:
    figures: Figures = {}
    for update in updates:
        deal(game, "rounds", update)
        team.name_draws("rounds", update)
        figures = algorithm.update(team, game, update, 1.0)
    return figures


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(a[name].equal(b[name]) for name in a)


def test_each_round_begins_where_the_first_did_or_goes_on_where_the_last_ended() -> None:
    for reset in (True, False):
        algorithm = replace(ROUNDS, reset=reset, verifier_updates=1)
        team, game = begun(algorithm)
        base = team.weights()
        go_on(algorithm, team, game, range(5))
        ended = team.weights()
        assert not same(base["prover"], ended["prover"])
        go_on(algorithm, team, game, range(5, 6))  # the second round's only update of the verifier
        assert same(team.weights()["prover"], (base if reset else ended)["prover"])
        assert bool(team.learners["prover"].optimiser.state) is not reset
        assert same(team.memory["initial"]["prover"]["player"], base["prover"])  # which learning has left alone


def test_the_verifier_learns_from_the_base_prover_and_each_earlier_rounds_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    team, game = begun()
    go_on(ROUNDS, team, game, range(5))
    heard: list[dict[str, Tensor]] = []
    play = checkability.play

    def listening(game: Game, cast: Any, roles: Any) -> Any:
        heard.append(cast["prover"].state_dict())
        return play(game, cast, roles)

    monkeypatch.setattr(checkability, "play", listening)
    go_on(ROUNDS, team, game, range(5, 8))
    base, first = team.memory["reference"]["prover"], team.memory["provers"][0]
    assert [same(which, base) for which in heard] == [True, False, True]
    assert [same(which, first) for which in heard] == [False, True, False]


def test_a_prover_that_deceives_learns_no_more_in_its_round() -> None:
    team, game = begun()
    go_on(ROUNDS, team, game, range(4))
    team.memory["deceived"] = True
    before = team.weights()
    figures = go_on(ROUNDS, team, game, range(4, 5))
    assert same(team.weights()["prover"], before["prover"])
    assert 0 <= float(figures["separability"]) <= 1
    go_on(ROUNDS, team, game, range(5, 9))
    assert not same(team.weights()["prover"], before["prover"])


def test_a_killed_run_goes_on_to_the_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(CONFIG, log_every=1, checkpoint_every=1)
    train(SPEC, config, tmp_path / "whole", progress=False)
    for instant in (4, 6):  # in a prover's updates, and in the second round's verifier's
        update = Checkability.update

        def killed(
            self: Algorithm, team: Team, game: Game, index: int, pace: float, at: int = instant, update: Any = update
        ) -> Figures:
            if index == at:
                raise KeyboardInterrupt
            found: Figures = update(self, team, game, index, pace)
            return found

        out = tmp_path / str(instant)
        with monkeypatch.context() as patched:
            patched.setattr(Checkability, "update", killed)
            with pytest.raises(KeyboardInterrupt):
                train(SPEC, config, out, progress=False)
        train(SPEC, config, out, resume=out / CHECKPOINT, progress=False)
        assert everything(out / CHECKPOINT) == everything(tmp_path / "whole" / CHECKPOINT)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="not a multiple of rounds=3"):
        replace(ROUNDS, rounds=3)
    with pytest.raises(ValueError, match=r"verifier_updates=6 is outside 0\.\.5"):
        replace(ROUNDS, verifier_updates=6)
    with pytest.raises(ValueError, match=r"clip=2 is outside 0\.\.1"):
        replace(ROUNDS, clip=2)
    with pytest.raises(ValueError, match="samples=4: does not divide the 6 lanes"):
        begun(lanes=6)
    other = resolve(SPEC.task, ProverVerifier())
    with pytest.raises(ValueError, match="is not under helpful_sneaky"):
        ROUNDS.begin(assemble(other, CONFIG), Game(other, 16))


# Learning.


@pytest.mark.parametrize(("prover", "of_sneaky_games"), [("honest", 1.0), ("dishonest", 0.0)])
def test_provers_are_shown_how_to_solve_whatever_their_role_by_honest_games_and_helpful_ones_alone_by_obedient_games(
    prover: str, of_sneaky_games: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Tensor] = []
    monkeypatch.setattr(imitation, "learn_saying", lambda learner, seen, which, pace: shown.append(which) or torch.zeros(()))
    team, game = assemble(SPEC, CONFIG), Game(SPEC, 64)
    Imitation(seats="prover", prover=prover).update(team, game, 0, 1.0)
    helpful = game.field("helpful") == 1
    assert float(shown[0][:2, helpful].float().mean()) == 1.0  # its claim and its proof
    assert float(shown[0][:2, ~helpful].float().mean()) == of_sneaky_games


def test_paid_by_alignment_provers_come_to_keep_to_their_roles() -> None:
    aligned = Checkability(updates=60, rounds=1, verifier_updates=10, reward="cgc", learning_rate=0.01, kl=0.0)
    config = TrainConfig("mlp", width=32, lanes=64, phases=(Imitation(updates=60, seats="prover", prover="honest"), aligned))
    history = train(resolve(Arith(operations=2, modulus=2), HelpfulSneaky()), config, progress=False).history
    last = history[-1]
    assert float(last["helpful_accuracy"]) - float(last["sneaky_accuracy"]) > 0.5


def test_a_verifier_that_believes_all_alike_is_deceived_as_soon_as_a_prover_is_wrong() -> None:
    team, _ = begun()
    credulous, attacker = team.weights()["verifier"], replace(ROUNDS, reward="cgc", learning_rate=0.03)
    for name in ("rest.1.weight", "rest.1.bias"):
        credulous[name].zero_()
    updates = [attack_updates(SPEC, CONFIG, attacker, team.memory, credulous, limit) for limit in (0, 40)]
    assert updates[0] is None  # the base prover, which knows nothing, is right by chance
    assert updates[1] is not None
    assert 1 <= updates[1] <= 40
