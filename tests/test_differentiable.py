"""Differentiable messages: weights that are the message itself, with the gradient of its relaxation; evidence that can be mixed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from toys import Bit, Different

from pvg.agents import claims
from pvg.agents.algorithm import Algorithm
from pvg.agents.attacks.attack import Target
from pvg.agents.attacks.exact import exhaustive
from pvg.agents.attacks.gradient import Gradient
from pvg.agents.attacks.library import attempt
from pvg.agents.config import TrainConfig
from pvg.agents.differentiable import (
    gumbel_given,
    heard,
    refuse_unsmooth,
    statement_of,
    straight_through,
    verdicts,
)
from pvg.agents.networks import VerifierNetwork, build
from pvg.agents.play import deal, play
from pvg.agents.prover_verifier import ProverVerifierTraining
from pvg.agents.team import Team, assemble
from pvg.agents.training import train
from pvg.game import Game
from pvg.protocols import Consultancy, InteractiveProof, ProverVerifier, Solo
from pvg.spec import Spec, resolve
from pvg.task import Task, tasks
from pvg.tasks import ErasureChannel, FindThePlus, SparseDigits

PLUS = resolve(FindThePlus(height=4, width=3, colours=3), ProverVerifier())
BIT = resolve(Bit(), ProverVerifier())
CONFIG = TrainConfig("mlp", width=16, layers=1, lanes=32, learning_rate=1e-2, log_every=1)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def logits_of(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Scores of which the last symbol of the first position cannot be said."""
    logits = torch.randn(shape, generator=generator(), dtype=dtype)
    logits[:, 0, -1] = -torch.inf
    return logits


# Weights.


def test_weights_are_the_message_and_their_gradient_is_that_of_the_softmax() -> None:
    logits, noise = logits_of(5, 2, 4).requires_grad_(), torch.randn((5, 2, 4), generator=generator(), dtype=torch.float64)
    message = torch.tensor([[0, 3], [1, 2], [2, 1], [0, 0], [1, 3]])
    slope = torch.randn((5, 2, 4), generator=generator(), dtype=torch.float64)
    for temperature, added in ((1.0, None), (0.5, noise)):
        said = straight_through(logits, message, temperature, added)
        assert said.equal(F.one_hot(message, 4).double())
        smooth = ((logits + (0 if added is None else added)) / temperature).softmax(2)
        found, expected = (torch.autograd.grad((w * slope).sum(), logits, retain_graph=True)[0] for w in (said, smooth))
        assert found.equal(expected)
        assert found.isfinite().all()


def test_gumbel_noise_given_a_message_makes_it_the_largest_and_over_all_messages_is_gumbel() -> None:
    logits = torch.tensor([0.3, -1.2, 2.0, -torch.inf]).expand(100_000, 1, 4)
    message = (logits[:, 0].softmax(1)).multinomial(1, generator=generator())
    noise = gumbel_given(logits, message, generator(1))
    assert (logits + noise).argmax(2).equal(message)
    assert noise[..., 3].eq(0).all()
    for symbol in range(3):
        drawn = noise[:, 0, symbol]
        assert drawn.mean() == pytest.approx(0.5772, abs=0.02)
        assert drawn.var() == pytest.approx(torch.pi**2 / 6, abs=0.05)
        assert (drawn < 0).float().mean() == pytest.approx(float(torch.tensor(-1.0).exp()), abs=0.01)


# Evidence.

MIXED = [
    (task, name)
    for task in (PLUS.task, *(tasks[name]() for name in tasks))
    for name, proof in task.rules.proofs.items()
    if proof.relaxed is not None
]


def protocol_of(task: Task) -> Any:
    return ProverVerifier() if task.answers == 2 else Consultancy()


def test_tasks_whose_evidence_can_be_mixed_are_found() -> None:
    assert {type(task) for task, _ in MIXED} >= {FindThePlus, SparseDigits}


@pytest.mark.parametrize(("task", "proof"), MIXED, ids=str)
def test_the_evidence_of_one_hot_weights_is_what_the_game_shows(task: Task, proof: str) -> None:
    spec = resolve(task, protocol_of(task), proof)
    game = Game(spec, 40)
    prover = next(role.name for role in spec.roles if role.seat == "prover")
    alphabet = [int(high) for high in spec.alphabet[0] if high > 0]
    message = torch.stack([torch.randint(high, (40,), generator=generator()) for high in alphabet], 1)
    game.actions[:, spec.role_index(prover), : len(alphabet)] = message
    game.step()
    relaxed = task.rules.proofs[proof].relaxed
    assert relaxed is not None
    shown = relaxed(statement_of(game), F.one_hot(message, max(alphabet)).double())
    for name, weights in shown.items():
        assert weights.equal(F.one_hot(game.field(name).long().flatten(1), weights.shape[2]).double())


@pytest.mark.parametrize("task", [PLUS.task, SparseDigits(pixels=2, levels=3)], ids=str)
def test_mixed_evidence_has_the_gradients_of_finite_differences(task: Task) -> None:
    spec = resolve(task, protocol_of(task))
    game, proof = Game(spec, 2), spec.proof
    assert proof is not None
    assert proof.relaxed is not None
    relaxed, statement = proof.relaxed, statement_of(game)
    high = int(spec.alphabet[0].max())
    weights = logits_of(2, int((spec.alphabet[0] > 0).sum()), high).softmax(2).requires_grad_()
    assert torch.autograd.gradcheck(lambda w: tuple(relaxed(statement, w).values()), weights)


# Verdicts.


def network(spec: Spec) -> VerifierNetwork:
    built = build("mlp", spec, "verifier", width=16)
    assert isinstance(built, VerifierNetwork)
    return built


def test_the_verdict_on_weights_that_are_the_message_is_the_verdict_on_the_message() -> None:
    for spec in (PLUS, BIT):
        team, game = assemble(spec, CONFIG), Game(spec, 32)
        seen = play(game, game.players(team.players), team.players)
        verifier, packed = network(spec), seen["verifier"].packed[0]
        for estimator in ("straight_through", "gumbel"):
            log_probs, entropy = heard(verifier, team.players["prover"], seen["prover"], packed, game, estimator, 1.0)
            torch.testing.assert_close(log_probs, verifier.log_probs(packed))
            expected = team.players["prover"].evaluate(seen["prover"].packed[0], seen["prover"].symbols[0])[1]
            torch.testing.assert_close(entropy, expected)


def test_the_verdict_on_mixed_messages_has_the_gradients_of_finite_differences() -> None:
    game, verifier = Game(PLUS, 2), network(PLUS).double()
    packed = game.observe("verifier").packed
    logits = torch.randn((2, 2, 4), generator=generator(), dtype=torch.float64)
    logits[:, 1, 3] = -20.0  # there are three columns
    statement = statement_of(game)
    assert torch.autograd.gradcheck(lambda x: verdicts(verifier, packed, x.softmax(2), statement), logits.requires_grad_())


def test_gradients_pass_through_the_verifier_to_the_prover_alone() -> None:
    team, game = assemble(PLUS, CONFIG), Game(PLUS, 32)
    verifier = team.players["verifier"]
    assert isinstance(verifier, VerifierNetwork)
    seen = play(game, game.players(team.players), team.players)
    log_probs, _ = heard(
        verifier, team.players["prover"], seen["prover"], seen["verifier"].packed[0], game, "straight_through", 1.0
    )
    log_probs[:, 1].sum().backward()
    assert all(p.grad is None and p.requires_grad for p in verifier.parameters())
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in team.players["prover"].parameters())


def test_the_gradient_attack_goes_through_evidence(monkeypatch: pytest.MonkeyPatch) -> None:
    target = Target(network(PLUS), claims.deal(PLUS, False, 20))
    slopes, relaxed = [], target.verifier.relaxed

    def watched(packed: Tensor, message: Tensor, evidence: Any = None) -> Tensor:
        for weights in evidence.values():
            weights.register_hook(slopes.append)
        return relaxed(packed, message, evidence)

    monkeypatch.setattr(target.verifier, "relaxed", watched)
    assert Gradient().unfit(target, 100) is None
    found = attempt(Gradient(), target, [100], generator())
    torch.testing.assert_close(found.values, exhaustive(target.verifier, target.claims.statement, target.alphabet)[1])
    assert slopes
    assert all(float(slope.abs().max()) > 0 for slope in slopes)
    hidden = resolve(ErasureChannel(), ProverVerifier())
    unseen = Gradient().unfit(Target(network(hidden), claims.deal(hidden, False, 2)), 100)
    assert unseen == "the game adds evidence to messages, which does not follow from them smoothly"


# Learning.


def weights(team: Team) -> dict[str, Tensor]:
    return {role: torch.cat([p.detach().flatten() for p in player.parameters()]) for role, player in team.players.items()}


def changes(algorithm: Algorithm, updates: int, spec: Spec = BIT) -> list[str]:
    """Who has other weights after each update, as the initials of their roles."""
    game, team = Game(spec, CONFIG.lanes), assemble(spec, CONFIG)
    algorithm.begin(team, game)
    found = []
    for index in range(updates):
        before = weights(team)
        deal(game, index)
        algorithm.update(team, game, index, 1.0)
        found.append("".join(role[0] for role, now in weights(team).items() if not now.equal(before[role])))
    return found


def test_the_prover_takes_its_steps_for_each_of_the_verifiers() -> None:
    assert changes(ProverVerifierTraining(steps=2, messages="gumbel"), 4) == ["p", "p", "v", "p"]
    assert changes(ProverVerifierTraining(), 2) == ["pv", "pv"]
    assert changes(ProverVerifierTraining(seats="verifier"), 1) == ["v"]


@pytest.mark.parametrize("messages", ["sampled", "straight_through", "gumbel"])
def test_a_pair_that_cooperates_agrees_on_a_code_and_one_that_does_not_babbles(messages: Any) -> None:
    """The message is one word of three, and nothing ties it to the bit the prover sees: a code is possible, a proof is not."""
    last = {}
    for objective in ("cooperative", "adversarial"):
        phase = ProverVerifierTraining(updates=100, objective=objective, messages=messages, entropy=0.001)  # type: ignore[arg-type]
        config = TrainConfig("mlp", width=16, layers=1, lanes=32, learning_rate=2e-2, phases=(phase,))
        last[objective] = train(BIT, config, progress=False).history[-1]
    assert float(last["cooperative"]["verifier_loss"]) < 0.1
    assert float(last["adversarial"]["verifier_loss"]) > 0.6


def test_what_a_gradient_cannot_be_taken_of_is_refused() -> None:
    with pytest.raises(
        ValueError, match="messages=gumbel: gradients are of one message before one verdict, and solo is of verdict"
    ):
        ProverVerifierTraining(messages="gumbel").begin(*team_and_game(resolve(Bit(), Solo())))
    with pytest.raises(ValueError, match=r"ErasureChannel's proof '\w+' adds evidence to messages, and has no `relaxed`"):
        refuse_unsmooth(resolve(ErasureChannel(), ProverVerifier()), "differentiable")
    with pytest.raises(ValueError, match="steps=2: needs seats=both, and seats=prover"):
        ProverVerifierTraining(steps=2, seats="prover")
    with pytest.raises(ValueError, match="samples=3: does not divide the 32 lanes"):
        ProverVerifierTraining(samples=3).begin(*team_and_game(BIT))
    with pytest.raises(
        ValueError, match="prover_verifier: needs one verdict, of a verifier that only judges; the game is interactive"
    ):
        ProverVerifierTraining().begin(*team_and_game(resolve(Different(), InteractiveProof())))
    for setting, value in (("temperature", 0.0), ("entropy", -1.0), ("steps", -1)):
        with pytest.raises(ValueError, match=f"{setting}={value}"):
            ProverVerifierTraining(**{setting: value})


def team_and_game(spec: Spec) -> tuple[Team, Game]:
    return assemble(spec, CONFIG), Game(spec, CONFIG.lanes)
