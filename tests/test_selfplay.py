"""Self-play: who learns when, against whom and for what; baselines and scores by hand; every protocol can be played and learned."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from pvg.agents.algorithm import Algorithm, algorithms, phases, settings_of, words
from pvg.agents.config import TrainConfig
from pvg.agents.imitation import Imitation
from pvg.agents.play import deal, play
from pvg.agents.policy_gradient import kl_to_reference, leave_one_out, reinforce_loss, score
from pvg.agents.reinforce import Reinforce, repeat
from pvg.agents.selfplay import PPO, SelfPlay, evaluate
from pvg.agents.team import Team, assemble
from pvg.agents.training import train
from pvg.game import Game
from pvg.protocol import protocols
from pvg.protocols import Debate, ProverVerifier
from pvg.spec import Spec, resolve
from pvg.tasks.arith import Arith
from pvg.testing import covering

SMALL = resolve(Arith(operations=2, modulus=2), ProverVerifier())
DEBATE = resolve(Arith(operations=2, modulus=2), Debate())
CONFIG = TrainConfig("mlp", width=16, layers=1, lanes=16, log_every=1)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def close(actual: Tensor, expected: Any) -> None:
    torch.testing.assert_close(actual, torch.as_tensor(expected))


def weights(team: Team) -> dict[str, Tensor]:
    return {role: torch.cat([p.detach().flatten() for p in player.parameters()]) for role, player in team.players.items()}


def changes(algorithm: Algorithm, updates: int, spec: Spec = SMALL, config: TrainConfig = CONFIG) -> list[str]:
    """Who has other weights after each update, as the initials of their roles."""
    game, team = Game(spec, config.lanes), assemble(spec, config)
    algorithm.begin(team, game)
    found = []
    for index in range(updates):
        before = weights(team)
        deal(game, index)
        algorithm.update(team, game, index, 1.0)
        found.append("".join(role[0] for role, now in weights(team).items() if not now.equal(before[role])))
    return found


# Pure functions.


def test_leave_one_out_is_the_mean_of_the_others_of_a_group() -> None:
    outcome = torch.tensor([[1.0, 2.0, 6.0, 0.0, 0.0, 3.0]])
    close(leave_one_out(outcome, 3), [[4.0, 3.5, 1.5, 1.5, 1.5, 0.0]])


def test_reinforce_loss_has_minus_the_policy_gradient() -> None:
    log_prob = torch.tensor([0.5, -1.0, 3.0], requires_grad=True)
    acting = torch.tensor([True, True, False])
    (gradient,) = torch.autograd.grad(reinforce_loss(log_prob, torch.tensor([2.0, -1.0, 7.0]), acting), log_prob)
    close(gradient, [-1.0, 0.5, 0.0])


def test_the_kl_estimate_is_that_of_two_coins() -> None:
    p, q = 0.3, 0.6
    exact = p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
    # Heads 3 times in 10, as often as p says it.
    log_prob = torch.tensor([math.log(p)] * 3 + [math.log(1 - p)] * 7)
    reference = torch.tensor([math.log(q)] * 3 + [math.log(1 - q)] * 7)
    close(kl_to_reference(log_prob, reference, torch.ones(10, dtype=torch.bool)).mean(), exact)


@pytest.mark.parametrize(("rule", "expected"), [("log", math.log(0.2)), ("brier", -(0.3**2 + (0.2 - 1) ** 2 + 0.5**2))])
def test_proper_scores_of_three_answers(rule: str, expected: float) -> None:
    close(score(torch.tensor([[0.3, 0.2, 0.5]]).log(), torch.tensor([1]), rule), [expected])


@pytest.mark.parametrize("rule", ["log", "brier"])
def test_no_answer_scores_better_on_average_than_the_truth_s_own_probability(rule: str) -> None:
    grid = torch.linspace(0.01, 0.99, 99)
    both = torch.stack([1 - grid, grid], 1).log()
    for true in (0.2, 0.5, 0.9):
        mean = (1 - true) * score(both, torch.zeros(99), rule) + true * score(both, torch.ones(99), rule)
        assert float(grid[mean.argmax()]) == pytest.approx(true)


# Who learns.


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [
        (PPO(), ["pv", "pv"]),
        (PPO(seats="prover"), ["p", "p"]),
        (PPO(seats="verifier"), ["v", "v"]),
        (PPO(scripted=("prover=honest",)), ["v", "v"]),
        (PPO(order="alternating", steps=2), ["p", "p", "v", "v", "p"]),
        (PPO(order="verifier_leading", steps=2), ["p", "p", "v", "p", "p", "v"]),
        (PPO(order="prover_leading", steps=2), ["v", "v", "p", "v"]),
        (PPO(reward="log"), ["pv"]),
        (PPO(pool=2, pool_every=1), ["pv", "pv"]),
        (Reinforce(), ["pv", "pv"]),
        (Reinforce(seats="prover", scripted=("verifier=reference",)), ["p"]),
    ],
    ids=lambda x: " ".join(words(x)) if isinstance(x, Algorithm) else "",
)
def test_those_learn_whose_turn_it_is(algorithm: Algorithm, expected: list[str]) -> None:
    assert changes(algorithm, len(expected)) == expected


def test_debaters_may_share_one_network_and_then_differ_in_nothing() -> None:
    team = assemble(DEBATE, replace(CONFIG, shared=True))
    provers = [learner for role, learner in team.learners.items() if role in team.seated("prover")]
    assert len(provers) == 2
    game, ppo = Game(DEBATE, 16), PPO()
    before = weights(team)
    deal(game, 0)
    ppo.begin(team, game)
    ppo.update(team, game, 0, 1.0)
    after = weights(team)
    first, second = team.seated("prover")
    assert after[first].equal(after[second])
    assert not after[first].equal(before[first])
    assert provers[0].player.role != provers[1].player.role
    apart = assemble(DEBATE, CONFIG)
    assert not weights(apart)[first].equal(weights(apart)[second])


def test_a_shared_network_learns_from_both_roles_games() -> None:
    config = replace(CONFIG, shared=True)
    teams = [assemble(DEBATE, config) for _ in range(2)]
    first, second = teams[0].seated("prover")
    for team, scripted in zip(teams, ((), (f"{second}=honest",)), strict=True):
        game = Game(DEBATE, 16)
        deal(game, 0)
        team.name_draws(0)
        ppo = PPO(seats="prover", scripted=scripted)
        ppo.begin(team, game)
        ppo.update(team, game, 0, 1.0)
    assert not weights(teams[0])[first].equal(weights(teams[1])[first])


def test_roles_that_see_different_things_are_not_shared() -> None:
    spec = next(spec for spec in covering() if type(spec.protocol) is protocols["merlin_arthur"])
    assemble(spec, replace(CONFIG, shared=True))  # Merlin and Morgana see and say the same
    spec = next(spec for spec in covering() if type(spec.protocol) is protocols["prover_estimator"])
    with pytest.raises(ValueError, match="shared=True: 'prover' and 'estimator' do not see and say the same"):
        assemble(spec, replace(CONFIG, shared=True))


# Against whom, and for what.


def first_weights(player: Any) -> float:
    return float(next(player.parameters()).detach().sum())


def test_opponents_are_past_selves_of_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    game, team = Game(SMALL, 16), assemble(SMALL, CONFIG)
    ppo = PPO(seats="prover", pool=2, pool_every=1)
    ppo.begin(team, game)
    met: list[float] = []
    real = SelfPlay.play

    def watched(self: SelfPlay, team: Team, game: Game, roles: Any, cast: Any) -> Any:
        met.append(first_weights(cast["verifier"]))
        assert cast["prover"] is team.players["prover"]
        return real(self, team, game, roles, cast)

    monkeypatch.setattr(SelfPlay, "play", watched)
    present = []
    for index in range(12):
        with torch.no_grad():
            next(iter(team.players["verifier"].parameters())).fill_(index)
        present.append(first_weights(team.players["verifier"]))
        deal(game, index)
        team.name_draws(index)
        ppo.update(team, game, index, 1.0)
    # The pool holds the selves of this update and of the one before; the present self is the first of these.
    ages = [present.index(value) - index for index, value in enumerate(met)]
    assert {*ages} == {0, -1}
    assert len(team.memory["pool"]) == 2


def test_a_prover_is_paid_the_score_of_the_verifier_s_probability_for_its_side() -> None:
    game, team = Game(SMALL, 16), assemble(SMALL, CONFIG)
    deal(game, 1)
    seen = PPO(reward="brier").play(team, game, team.learners, team.players)
    believed = team.players["verifier"].log_probs(seen["verifier"].packed[0])[:, 1].exp()  # type: ignore[operator]
    close(seen["prover"].reward, (-2 * (1 - believed.detach()) ** 2)[None])
    assert float((seen["verifier"].reward ** 2).min()) == 1, "the verifier's own pay stays the protocol's in the record"


def test_descending_the_log_score_against_scripted_provers_is_imitation() -> None:
    config = replace(CONFIG, learning_rate=1e-2)
    scored = PPO(seats="verifier", reward="log", scripted=("prover=dishonest",), learning_rate=1e-2, epochs=1, minibatches=1)
    found = []
    for algorithm in (scored, Imitation(seats="verifier")):
        game, team = Game(SMALL, 16), assemble(SMALL, config)
        algorithm.begin(team, game)
        for index in range(3):
            deal(game, index)
            algorithm.update(team, game, index, 1.0)
        found.append(weights(team)["verifier"])
    torch.testing.assert_close(found[0], found[1])
    assert not found[0].equal(weights(assemble(SMALL, config))["verifier"])


def test_a_strong_kl_weight_keeps_the_prover_near_what_it_was() -> None:
    moved = []
    for kl in (0.0, 50.0):
        config = replace(CONFIG, phases=(PPO(updates=12, seats="prover", kl=kl, learning_rate=1e-2),), lanes=64)
        run = train(SMALL, config, progress=False)
        start = assemble(SMALL, config).players["prover"]
        game = Game(SMALL, 400, seed=3)
        seen = play(game, game.players(run.players), ["prover"])["prover"]
        before = evaluate(start, seen.packed, seen.symbols)[0].detach()
        moved.append(float((seen.log_prob - before).mean()))  # an estimate of KL(now || start)
    assert 0 <= moved[1] < moved[0] / 3


def test_passes_end_once_the_policy_has_moved_too_far() -> None:
    game, team = Game(SMALL, 16), assemble(SMALL, CONFIG)
    steps = []
    for target in (None, 0.0):
        ppo = PPO(seats="prover", epochs=5, minibatches=1, target_kl=target, learning_rate=1e-2)
        ppo.begin(team, game)
        deal(game, 0)
        before = team.learners["prover"].optimiser.state_dict()["state"]
        count = int(before[0]["step"]) if before else 0
        ppo.update(team, game, 0, 1.0)
        steps.append(int(team.learners["prover"].optimiser.state_dict()["state"][0]["step"]) - count)
    # The first step's own ratio is 1; the second one's has moved.
    assert steps == [5, 2]


def test_the_log_probabilities_of_play_are_those_of_what_was_said() -> None:
    for spec in (SMALL, DEBATE):
        game, team = Game(spec, 16), assemble(spec, CONFIG)
        deal(game, 0)
        for role, seen in play(game, team.players, team.players).items():
            torch.testing.assert_close(seen.log_prob, evaluate(team.players[role], seen.packed, seen.symbols)[0].detach())


def test_repeated_games_are_those_of_each_group_s_first_lane() -> None:
    game = Game(SMALL, 6)
    deal(game, 0)
    dealt = game.bytes.clone()
    repeat(game, 3)
    assert game.bytes.equal(dealt[[0, 0, 0, 3, 3, 3]])


@pytest.mark.parametrize("baseline", ["none", "mean", "leave_one_out"])
def test_reinforce_teaches_the_prover_to_prove(baseline: Any) -> None:
    learn = Reinforce(120, "prover", ("verifier=reference",), learning_rate=3e-2, baseline=baseline, entropy=0)
    config = replace(CONFIG, lanes=64, phases=(learn,))
    history = train(SMALL, config, progress=False).history
    assert float(history[0]["accepted_true"]) < 0.8
    assert float(history[-1]["accepted_true"]) > 0.9


# Every protocol.


@pytest.mark.parametrize("spec", list(covering()), ids=lambda spec: f"{type(spec.task).__name__}-{spec.label}")
def test_every_seat_of_every_protocol_learns_by_imitation_and_self_play(spec: Spec) -> None:
    config = replace(CONFIG, lanes=4, phases=(Imitation(updates=1), PPO(updates=1), Reinforce(updates=1, samples=2)))
    trained = train(spec, config, progress=False)
    speaking = {name for row in spec.rows for name in row.speakers}
    assert set(trained.players) == {role.name for role in spec.roles if role.seat != "nature"} & speaking
    assert len(trained.history) == 3


# Words.


def test_words_become_phases_and_phases_words() -> None:
    said = ["imitation", "updates=3", "ppo", "seats=prover", "scripted=verifier=reference", "target_kl=0.5", "reinforce"]
    made = phases(said)
    assert made == (
        Imitation(updates=3),
        PPO(seats="prover", scripted=("verifier=reference",), target_kl=0.5),
        Reinforce(),
    )
    assert [word for phase in made for word in words(phase)] == said


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (["updates=3"], "algorithm updates=3: expected the name of an algorithm before its settings"),
        (["pppo"], "unknown algorithm 'pppo': nearest are ppo"),
        (["ppo", "clap=1"], "unknown setting of ppo 'clap': nearest are clip; `pvg list algorithms` lists all"),
        (["ppo", "order=simultan"], "order=simultan: expected one of simultaneous, alternating"),
        (["ppo", "epochs=two"], "epochs=two: expected epochs=<int>"),
        (["ppo", "seats=prover", "order=alternating"], "order=alternating: needs seats=both, and seats=prover"),
    ],
)
def test_words_that_name_nothing_are_refused_with_what_was_expected(said: list[str], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        phases(said)


@pytest.mark.parametrize("name", list(algorithms))
def test_every_setting_of_every_algorithm_says_what_it_is(name: str) -> None:
    assert all(len(about) > 10 for about in settings_of(name).values()), settings_of(name)
    assert algorithms[name].__doc__


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [
        (PPO(scripted=("prover",)), "scripted=prover: expected ROLE=AGENT, with a role of prover, verifier"),
        (PPO(scripted=("alice=honest",)), "alice"),
        (PPO(seats="verifier", scripted=("verifier=reference",)), "nobody of seats=verifier is left to learn"),
        (PPO(minibatches=17), "minibatches=17 is outside 1..lanes=16"),
        (Reinforce(samples=3), "samples=3: does not divide the 16 lanes of a process"),
    ],
)
def test_what_does_not_fit_the_game_is_refused_before_the_first_update(algorithm: Algorithm, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        algorithm.begin(assemble(SMALL, CONFIG), Game(SMALL, 16))
