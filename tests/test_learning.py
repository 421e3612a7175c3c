"""Losses against numbers worked out by hand; then imitation, adversarial training and self-play on small games."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor
from toys import Bit, DrawnSpeaker, EarlyDecision

import pvg
from pvg.agent import Observation
from pvg.agents.adversarial import Adversarial, replace_worst
from pvg.agents.algorithm import Algorithm
from pvg.agents.attacks import best_response
from pvg.agents.config import TrainConfig, schedule
from pvg.agents.imitation import Imitation, learn_honesty, truth_loss, verdict_figures
from pvg.agents.networks import StepCheckVerifier, VerifierNetwork, build
from pvg.agents.play import deal, play
from pvg.agents.policy_gradient import advantages, masked_mean, ppo_loss, returns
from pvg.agents.reinforce import Reinforce
from pvg.agents.selfplay import PPO
from pvg.agents.team import assemble
from pvg.agents.training import train
from pvg.lane import lane
from pvg.protocol import Protocol, ProtocolRules, next_turn
from pvg.protocols import ProverVerifier, Solo
from pvg.spec import resolve
from pvg.task import Proof, Task
from pvg.tasks.arith import Arith
from pvg.verifier import messages_said

SPEC = resolve(Arith(operations=3, modulus=3), ProverVerifier())
SMALL = resolve(Arith(operations=2, modulus=2), ProverVerifier())
QUICK = TrainConfig(lanes=128, phases=(Imitation(updates=60), Adversarial(updates=30)), seed=1)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small gain nothing from a second thread, and wait for it where the machine is busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def close(actual: Tensor, expected: list[float] | list[list[float]] | float) -> None:
    torch.testing.assert_close(actual, torch.tensor(expected))


# Pure functions.


def test_a_return_is_the_sum_of_rewards_still_to_come() -> None:
    close(returns(torch.tensor([[1.0, 0.0], [2.0, 5.0], [-4.0, 1.0]])), [[-1.0, 6.0], [-2.0, 6.0], [-4.0, 1.0]])


def test_a_masked_mean_looks_at_nothing_outside_its_mask() -> None:
    values = torch.tensor([1.0, math.nan, 3.0, -math.inf])
    close(masked_mean(values, torch.tensor([True, False, True, False])), 2.0)
    close(masked_mean(values, torch.zeros(4, dtype=torch.bool)), 0.0)


def test_advantages_are_returns_less_values_made_mean_zero_and_variance_one_where_the_role_acts() -> None:
    reward = torch.tensor([[0.0, 9.0], [3.0, 1.0]])
    value = torch.tensor([[1.0, 50.0], [0.0, 2.0]])
    acting = torch.tensor([[True, False], [True, True]])
    # Returns less values are 2, 3, -1 where it acts: mean 4/3, variance 26/9.
    deviation = math.sqrt(26 / 9)
    expected = [[(2 - 4 / 3) / deviation, 0.0], [(3 - 4 / 3) / deviation, (-1 - 4 / 3) / deviation]]
    close(advantages(reward, value, acting), expected)


def test_equal_advantages_are_zero() -> None:
    assert advantages(torch.ones(1, 5), torch.zeros(1, 5), torch.ones(1, 5, dtype=torch.bool)).abs().max() == 0


def test_ppo_loss_takes_the_worse_of_the_clipped_and_the_plain_ratio() -> None:
    ratio = torch.tensor([1.5, 1.5, 0.5, 0.5, 1.1, 7.0])
    advantage = torch.tensor([1.0, -1.0, 1.0, -1.0, 2.0, 100.0])
    acting = torch.tensor([True] * 5 + [False])
    # min(1.5, 1.2), min(-1.5, -1.2), min(0.5, 0.8), min(-0.5, -0.8), min(2.2, 2.2): 1.2, -1.5, 0.5, -0.8, 2.2.
    close(masked_mean(ppo_loss(ratio.log(), torch.zeros(6), advantage, acting, clip=0.2), acting), -1.6 / 5)


def test_ppo_has_no_gradient_past_the_clip_and_none_where_the_role_does_not_act() -> None:
    log_prob = torch.tensor([1.0, -1.0, 0.0, 0.0], requires_grad=True)
    old = torch.tensor([0.0, 0.0, 0.0, -math.inf])
    advantage = torch.tensor([1.0, -1.0, 3.0, 5.0])
    acting = torch.tensor([True, True, True, False])
    (gradient,) = torch.autograd.grad(masked_mean(ppo_loss(log_prob, old, advantage, acting, 0.2), acting), log_prob)
    close(gradient, [0.0, 0.0, -1.0, 0.0])


def test_truth_loss_is_the_mean_surprise_at_the_truth() -> None:
    log_probs = torch.tensor([[0.25, 0.75], [0.5, 0.5], [0.9, 0.1]]).log()
    loss = truth_loss(log_probs, torch.tensor([1, 0, 1]), torch.tensor([True, True, False]))
    close(loss, -(math.log(0.75) + math.log(0.5)) / 2)


def test_figures_of_verdicts_are_split_by_the_truth() -> None:
    log_probs = torch.tensor([[0.25, 0.75], [0.4, 0.6], [0.9, 0.1], [0.0, 1.0]]).log()
    mask = torch.tensor([True, True, True, False])
    figures = verdict_figures(log_probs, torch.tensor([1, 0, 0, 0]), mask)
    close(torch.stack(list(figures.values())), [2 / 3, 0.75, 0.35])


def test_the_learning_rate_rises_then_falls_to_two_percent() -> None:
    rates = [schedule(update, 400) for update in range(400)]
    assert rates[:3] == pytest.approx([1 / 41, 2 / 41, 3 / 41])
    assert max(rates) == rates[40] == 1
    assert rates[220] == pytest.approx(0.51)
    assert rates[-1] == pytest.approx(0.02, abs=1e-4)
    assert 0 < schedule(0, 1) <= 1


# Games with what was said.


def test_played_games_hold_what_each_role_saw_said_and_was_paid() -> None:
    game = pvg.game(SPEC.task, SPEC.protocol, num_envs=50)
    deal(game, "a name")
    prover = game.observe("prover").packed
    seen = play(game, game.players({"prover": "honest"}), ["prover", "verifier"])
    assert seen["prover"].packed[0].equal(prover)
    assert seen["prover"].symbols[0].equal(game.field("said")[:, 0, :2].int())
    assert seen["verifier"].packed[0].equal(game.observe("verifier").packed)
    assert seen["verifier"].symbols[0, :, 0].equal(game.field("verdict").int())
    assert all(bool(part.acting.all()) and len(part.packed) == 1 for part in seen.values())
    accepted = (game.field("verdict") == 1).float()
    assert seen["prover"].reward[0].equal(accepted)
    assert seen["verifier"].reward[0].equal(torch.ones(50))


def test_a_name_deals_the_same_games_again_and_another_name_others() -> None:
    game = pvg.game(SPEC.task, SPEC.protocol, num_envs=50)
    dealt = []
    for name in (("imitation", 1), ("imitation", 1), ("imitation", 2), ("selfplay", 1)):
        deal(game, 0, *name)
        dealt.append(game.observe("prover").packed)
    assert dealt[0].equal(dealt[1])
    assert not dealt[0].equal(dealt[2])
    assert not dealt[0].equal(dealt[3])


def test_rewards_are_credited_to_the_turn_that_came_before_them() -> None:
    game = pvg.game(Bit(), EarlyDecision(), num_envs=200)
    deal(game, 0)
    seen = play(game, game.players({"prover": "honest", "verifier": "random"}), ["verifier"])["verifier"]
    first, second = seen.acting[1], seen.acting[3]
    waited = seen.symbols[1, :, 0] == 2
    assert 0 < int(waited.sum()) < 200
    assert second.equal(first & waited)
    assert bool((seen.reward[1][waited] == -0.25).all())
    total = seen.reward.sum(0)
    right = game.field("verdict") == game.field("truth")
    unsure = game.field("verdict") == 2
    expected = torch.where(unsure, 0.0, torch.where(right, 1.0, -1.0)) - 0.25 * waited
    torch.testing.assert_close(total, expected)


@dataclass(frozen=True)
class PaidEveryTurn(ProverVerifier):
    """Pays the prover 1 after each of the two turns."""

    def build(self, task: Task, proof: Proof | None) -> ProtocolRules:
        @lane
        def deal(s: Any, tables: Any) -> None:
            s.side[0] = 1

        @lane
        def pay(s: Any, tables: Any, reward: Any) -> None:
            reward[0] += 1

        return ProtocolRules(deal, pay, next_turn)


def test_rewards_of_turns_at_which_a_role_is_silent_add_to_its_last_turn() -> None:
    game = pvg.game(SPEC.task, PaidEveryTurn(), num_envs=5)
    seen = play(game, game.players(), ["prover", "verifier"])
    close(seen["prover"].reward, [[2.0] * 5])
    close(seen["verifier"].reward, [[0.0] * 5])


# Learning.


@pytest.fixture(scope="module")
def trained() -> VerifierNetwork:
    verifier = train(SPEC, QUICK, progress=False).verifier
    assert verifier is not None
    return verifier


def exact(verifier: VerifierNetwork, claims: int = 200) -> tuple[float, float]:
    """Completeness and best-response soundness error on fresh games."""
    game = pvg.game(SPEC.task, SPEC.protocol, num_envs=2 * claims, seed=12345)
    game.play({"prover": "honest"})
    statement, true = game.observe("verifier"), game.field("truth") == 1
    honest = verifier.verdict(statement, statement["partial"][:, None])[:, 0]
    false = Observation(statement.packed[~true], statement.view)
    found = best_response(verifier, false, SPEC, generator=torch.Generator())
    assert found.exact
    return float(honest[true].mean()), float(found.values.mean())


def test_imitation_and_adversarial_training_make_a_complete_and_sound_verifier(trained: VerifierNetwork) -> None:
    completeness, error = exact(trained)
    assert completeness > 0.98
    assert error < 0.02


@pytest.mark.parametrize(("name", "updates"), [("mlp", 150), ("transformer", 150)])
def test_imitation_teaches_verifiers_without_structure(name: str, updates: int) -> None:
    config = replace(QUICK, network=name, phases=(Imitation(updates=updates, seats="verifier"),))
    history = train(SMALL, config, progress=False).history
    accuracy = float(history[-1]["accuracy"])
    assert accuracy > 0.95
    assert abs(float(history[0]["accuracy"]) - 0.5) < 0.2


@pytest.mark.parametrize("name", ["mlp", "step_check", "transformer"])
def test_imitation_teaches_provers_the_honest_proof(name: str) -> None:
    config = replace(QUICK, network=name, learning_rate=1e-2, phases=(Imitation(updates=150, seats="prover"),))
    trained = train(SPEC, config, progress=False)
    assert trained.prover is not None
    game = pvg.game(SPEC.task, SPEC.protocol, num_envs=400, seed=9)
    game.play({"prover": trained.prover, "verifier": "reference"})
    true = game.field("truth") == 1
    accepted = float((game.field("verdict")[true] == 1).float().mean())
    assert accepted > 0.9


def test_imitation_shows_provers_true_sides_only(monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(QUICK, lanes=64)
    team = assemble(SPEC, config.for_game(SPEC))
    game = pvg.game(SPEC.task, SPEC.protocol, num_envs=64)
    deal(game, 0)
    seen = play(game, game.players({"prover": "dishonest"}), ["prover"])["prover"]
    true = game.field("truth") == 1
    losses = []
    monkeypatch.setattr(type(team.learners["prover"]), "step", lambda self, loss, rate: losses.append(loss))
    learn_honesty(team.learners["prover"], seen, game, 0.1)
    log_prob, _ = team.players["prover"].evaluate(seen.packed[0], seen.symbols[0])
    torch.testing.assert_close(losses[0], -log_prob[true].mean())


def test_adversarial_training_puts_the_best_message_in_place_of_its_share_of_false_claims(
    trained: VerifierNetwork,
) -> None:
    game = pvg.game(SPEC.task, SPEC.protocol, num_envs=400)
    deal(game, 0)
    seen = play(game, game.players({"prover": "random"}), ["verifier"])["verifier"]
    truth, view = game.field("truth"), trained.view
    verifier = build("step_check", SPEC, "verifier", seed=8)
    assert isinstance(verifier, StepCheckVerifier)
    search = Adversarial(share=0.75)
    statement = Observation(seen.packed[0], view)
    packed = replace_worst(verifier, statement, messages_said(game, 1), truth, search, torch.Generator())
    changed = (packed != seen.packed[0]).any(1)
    false = (truth != 1).nonzero()[:, 0]
    searched = false[: round(0.75 * len(false))]
    assert set(changed.nonzero()[:, 0].tolist()) <= set(searched.tolist())
    assert int(changed.sum()) > 0.8 * len(searched)
    best = best_response(verifier, Observation(packed[searched], view), SPEC, generator=torch.Generator()).values
    now = verifier.log_probs(packed[searched])[:, 1].exp()
    torch.testing.assert_close(now, best)
    assert packed[truth == 1].equal(seen.packed[0][truth == 1])


def test_the_control_of_adversarial_training_is_imitation() -> None:
    control, searched, imitation = (
        train(SPEC, replace(QUICK, lanes=16, phases=(phase,)), progress=False)
        for phase in (Adversarial(updates=5, share=0.0), Adversarial(updates=5), Imitation(updates=5, seats="verifier"))
    )
    weights = [torch.cat([p.flatten() for p in run.players["verifier"].parameters()]) for run in (control, searched)]
    assert {*control.history[0]} == {*imitation.history[0]}
    assert not weights[0].equal(weights[1])
    assert control.history[0]["verifier_loss"] != searched.history[0]["verifier_loss"]


@pytest.mark.parametrize("name", ["mlp", "step_check", "transformer"])
def test_solo_learns_nothing_of_a_claim_that_needs_a_proof_but_runs_all_phases(name: str) -> None:
    phases: tuple[Algorithm, ...] = (Imitation(updates=3), Adversarial(updates=3), PPO(updates=3))
    done = train(resolve(SPEC.task, Solo()), replace(QUICK, network=name, lanes=32, phases=phases), progress=False)
    assert done.prover is None
    assert [row["phase"] for row in done.history] == [p for p in ("imitation", "adversarial", "ppo") for _ in "12"]


def test_self_play_of_the_prover_leaves_the_verifier_and_still_convinces_it() -> None:
    # The prover imitates nothing: what it says in the end it learned from the verdicts alone.
    taught = (Imitation(updates=60, seats="verifier"), Adversarial(updates=30))
    before = train(SMALL, replace(QUICK, phases=taught), progress=False)
    play = PPO(updates=80, seats="prover", learning_rate=3e-3)
    after = train(SMALL, replace(QUICK, phases=(*taught, play)), progress=False)
    weights = [torch.cat([p.flatten() for p in run.players["verifier"].parameters()]) for run in (before, after)]
    assert weights[0].equal(weights[1])
    played = [row for row in after.history if row["phase"] == "ppo"]
    assert float(played[0]["accepted_true"]) < 0.8
    assert float(played[-1]["accepted_true"]) > 0.9
    assert float(played[-1]["accepted_false"]) < 0.1


def test_self_play_of_the_verifier_learns_from_rewards() -> None:
    learn = PPO(updates=150, seats="verifier", learning_rate=3e-3, entropy=0.05)
    config = replace(QUICK, lanes=256, phases=(Imitation(updates=60, seats="prover"), learn))
    history = train(SMALL, config, progress=False).history
    assert float(history[-1]["accuracy"]) > 0.9


@pytest.mark.parametrize("protocol", [EarlyDecision(), DrawnSpeaker()], ids=lambda p: type(p).__name__)
def test_every_phase_but_the_search_runs_on_games_of_several_turns_or_speakers(protocol: Protocol) -> None:
    phases = (Imitation(updates=3), Adversarial(updates=3, share=0), PPO(updates=3))
    config = TrainConfig(network="mlp", lanes=64, phases=phases, log_every=1)
    history = train(resolve(Bit(), protocol), config, progress=False).history
    assert len(history) == 9
    assert all(math.isfinite(float(value)) for row in history for name, value in row.items() if name != "phase")


def test_a_merlin_learns_to_tell_the_truth_when_it_is_the_one_who_speaks() -> None:
    spec = resolve(Bit(erased=False), DrawnSpeaker(seen=True))
    config = TrainConfig(network="mlp", width=32, learning_rate=1e-2, phases=(Imitation(updates=100),))
    trained = train(spec, config, progress=False)
    game = pvg.game(spec.task, spec.protocol, num_envs=400, seed=3)
    game.play({"merlin": trained.players["merlin"], "morgana": "random", "verifier": "reference"})
    honest = game.field("speaker") == 0
    assert float((game.field("verdict") == game.field("truth"))[honest].float().mean()) > 0.95


def test_training_leaves_global_randomness_alone() -> None:
    state = torch.get_rng_state()
    train(SPEC, replace(QUICK, phases=(Imitation(updates=2), Adversarial(updates=2), PPO(updates=2))), progress=False)
    assert torch.get_rng_state().equal(state)


def test_the_same_seed_trains_the_same_players_and_another_seed_others() -> None:
    config = replace(QUICK, lanes=16, phases=(Imitation(updates=3), Adversarial(updates=2), PPO(updates=3)))
    runs = [train(SPEC, replace(config, seed=seed), progress=False).players for seed in (4, 4, 5)]
    weights = [torch.cat([p.flatten() for who in run.values() for p in who.parameters()]) for run in runs]
    assert weights[0].equal(weights[1])
    assert not weights[0].equal(weights[2])


@pytest.mark.parametrize(("field", "value"), [("lanes", 1), ("seed", -1), ("log_every", 0)])
def test_a_setting_out_of_range_is_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{field}={value}"):
        replace(QUICK, **{field: value})


@pytest.mark.parametrize(
    ("algorithm", "field", "value"),
    [
        (Imitation(), "updates", -1),
        (Adversarial(), "share", 1.5),
        (PPO(), "clip", -0.1),
        (PPO(), "epochs", 0),
        (PPO(), "target_kl", -1.0),
        (PPO(), "learning_rate", 2.0),
        (Reinforce(), "samples", 1),
    ],
)
def test_an_algorithm_s_setting_out_of_range_is_refused_by_name(algorithm: Algorithm, field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{field}={value} is (outside|below)"):
        replace(algorithm, **{field: value})


def test_an_unknown_network_is_refused_before_anything_is_made() -> None:
    with pytest.raises(ValueError, match="nearest are step_check"):
        TrainConfig(network="stepcheck")
