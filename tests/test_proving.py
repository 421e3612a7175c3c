"""Provers that learn from a verifier's verdicts on their own transcripts: RLVF and expert iteration."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from pvg.agents.algorithm import Algorithm
from pvg.agents.config import TrainConfig
from pvg.agents.expert_iteration import ExpertIteration, distinct
from pvg.agents.imitation import Imitation, learn_honesty
from pvg.agents.play import deal, play
from pvg.agents.policy_gradient import masked_mean
from pvg.agents.reinforce import RLVF
from pvg.agents.selfplay import evaluate
from pvg.agents.team import assemble
from pvg.agents.training import train
from pvg.game import Game
from pvg.protocols import HelpfulSneaky, ProverVerifier
from pvg.spec import resolve
from pvg.tasks.arith import Arith

SPEC = resolve(Arith(operations=3, modulus=3), ProverVerifier())
STATED = resolve(Arith(operations=2, modulus=3), HelpfulSneaky())
CONFIG = TrainConfig("mlp", width=32, lanes=64, seed=1)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def accepted(*phases: Algorithm) -> float:
    """How often the reference accepts the prover on true claims after training."""
    run = train(SPEC, replace(CONFIG, network="step_check", width=16, phases=phases), progress=False)
    game = Game(SPEC, 400, seed=77)
    game.play({"prover": run.players["prover"], "verifier": "reference"})
    return float((game.field("verdict")[game.field("truth") == 1] == 1).float().mean())


def test_rlvf_and_expert_iteration_improve_a_prover_that_is_hardly_ever_accepted() -> None:
    start = Imitation(updates=20, seats="prover")
    assert accepted(start) < 0.3
    assert accepted(start, RLVF(updates=300, learning_rate=1e-2)) > 0.6
    assert accepted(start, ExpertIteration(updates=150, every=10)) > 0.6


def test_rlvf_steps_along_accepted_transcripts_alone() -> None:
    game, team = Game(SPEC, 64), assemble(SPEC, CONFIG)
    losses = []
    learner = team.learners["prover"]
    step = type(learner).step
    rlvf = RLVF()
    rlvf.begin(team, game)
    deal(game, 0)
    team.name_draws(0)
    dealt = game.bytes.clone()
    try:
        type(learner).step = lambda self, loss, rate: losses.append(loss.detach())  # type: ignore[method-assign, assignment]
        rlvf.update(team, game, 0, 1.0)
    finally:
        type(learner).step = step  # type: ignore[method-assign]
    game.bytes.copy_(dealt)
    team.name_draws(0)
    seen = play(game, game.players({"prover": learner.player}), ["prover"])["prover"]
    log_prob, _ = evaluate(learner.player, seen.packed, seen.symbols)
    right = game.field("verdict") == 1
    assert 0 < int(right.sum()) < 64
    torch.testing.assert_close(losses[0], -masked_mean(log_prob * right, seen.acting).detach())


def test_rlvf_is_worth_acceptance_whatever_the_protocol_pays() -> None:
    game, team = Game(STATED, 400), assemble(STATED, CONFIG)
    deal(game, 0)
    provers = team.seated("prover")
    seen = RLVF().play(team, game, provers, team.players)["prover"]
    accepted = game.field("verdict") == 1
    assert 0 < int(accepted.sum()) < 400
    assert torch.equal(seen.reward.sum(0) == 1, accepted)
    assert int((game.field("helpful")[accepted] == 0).sum()) > 0  # these the protocol punishes
    assert RLVF().learning(team, 0) == provers


@pytest.mark.parametrize(("settings", "named"), [({"seats": "both"}, "seats=both"), ({"reward": "log"}, "reward=log")])
def test_rlvf_refuses_what_it_would_not_heed(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        RLVF(**settings)


def test_only_the_kinds_named_are_learned() -> None:
    game, team = Game(STATED, 64), assemble(STATED, CONFIG)
    deal(game, 0)
    learner = team.learners["prover"]
    seen = play(game, game.players({"prover": "honest"}), ["prover"])["prover"]
    assert bool((game.field("truth") == 1).all())  # whatever the role
    with torch.no_grad():
        claim, message, _ = evaluate(learner.player, seen.packed, seen.symbols)[0]
    for kinds, said in (((), torch.cat([claim, message])), (("claim",), claim), (("message",), message)):
        torch.testing.assert_close(learn_honesty(learner, seen, game, 0.0, kinds), -said.mean())


def test_the_prover_named_is_the_one_imitated() -> None:
    right = []
    for name in ("honest", "dishonest"):
        game, team = Game(STATED, 64), assemble(STATED, CONFIG)
        deal(game, 0)
        Imitation(seats="prover", prover=name).update(team, game, 0, 1.0)
        right.append(int((game.field("truth") == 1).sum()))
    assert right[0] == 64
    assert 16 < right[1] < 48


def test_kinds_that_nobody_says_are_refused() -> None:
    with pytest.raises(ValueError, match="kinds=lemma: the game has message"):
        Imitation(kinds=("lemma",)).begin(assemble(SPEC, CONFIG), Game(SPEC, 64))


def test_what_is_kept_is_accepted_of_true_claims_and_distinct() -> None:
    game, team = Game(SPEC, 64), assemble(SPEC, CONFIG)
    algorithm = ExpertIteration(every=1)
    algorithm.begin(team, game)
    for index in range(6):
        deal(game, index)
        team.name_draws(index)
        algorithm.update(team, game, index, 1.0)
    packed, symbols = team.memory["kept"]["prover"]
    assert len(packed) > 5
    assert len(torch.cat([packed.long(), symbols.long()], 1).unique(dim=0)) == len(packed)
    view = team.players["prover"].view
    columns = {name: packed[:, view[name].start : view[name].stop].long() for name in ("start", "op", "x", "claim")}
    state = columns["start"][:, 0]
    path = []
    for j in range(3):
        change = columns["x"][:, j]
        state = (state + torch.where(columns["op"][:, j] == 0, change, -change)) % 3
        path.append(state)
    assert torch.stack(path[:2], 1).equal(symbols[:, :2].long())
    assert path[2].equal(columns["claim"][:, 0])


def test_distinct_keeps_the_first_of_equals_and_the_newest() -> None:
    new = (torch.tensor([[1], [2], [1]]), torch.tensor([[5], [5], [5]]))
    old = (torch.tensor([[2], [3]]), torch.tensor([[5], [5]]))
    assert distinct([new, old], 9)[0].tolist() == [[1], [2], [3]]
    assert distinct([new, old], 2)[0].tolist() == [[1], [2]]


def test_a_reset_learns_from_the_first_weights_again() -> None:
    game, team = Game(SPEC, 64), assemble(SPEC, CONFIG)
    first = {name: weight.clone() for name, weight in team.players["prover"].state_dict().items()}
    algorithm = ExpertIteration(every=2, reset=True)
    algorithm.begin(team, game)
    moved = []
    for index in range(3):
        deal(game, index)
        algorithm.update(team, game, index, 0.0 if index == 2 else 1.0)
        now = team.players["prover"].state_dict()
        moved.append(any(not now[name].equal(weight) for name, weight in first.items()))
    assert moved == [True, True, False]


def test_lanes_that_are_no_whole_groups_are_refused() -> None:
    with pytest.raises(ValueError, match="samples=5: does not divide lanes=64"):
        ExpertIteration(samples=5).begin(assemble(SPEC, CONFIG), Game(SPEC, 64))
