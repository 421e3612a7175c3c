"""Imitation: verifiers learn the truth, and provers the honest proof, from games scripted players play."""

from __future__ import annotations

from torch import Tensor

from pvg.agents.config import TrainConfig
from pvg.agents.networks import VerifierNetwork
from pvg.agents.play import Experience, play
from pvg.agents.ppo import masked_mean
from pvg.agents.team import Learner, Team
from pvg.game import Game

Figures = dict[str, Tensor]


def truth_loss(log_probs: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy of answers (`N answer` log probabilities) against the truth (`N`), over entries in `mask`."""
    return -masked_mean(log_probs.gather(1, truth.long()[:, None])[:, 0], mask)


def imitate(team: Team, game: Game, config: TrainConfig, pace: float) -> Figures:
    """One update on the games dealt: cross-entropy against the truth, and against what the honest prover says.

    Provers are shown true sides only. On a false side there is no one way to argue, and a network that cannot tell a
    false claim before it has computed it would mix the dishonest provers' errors into its true transcripts.
    """
    learners = team.seated(config.imitation_seats)
    seen = play(game, game.players({r.name: "dishonest" for r in game.spec.roles if r.seat == "prover"}), learners)
    figures: Figures = {}
    for role, learner in learners.items():
        if isinstance(learner.player, VerifierNetwork):
            loss, accuracy = learn_truth(learner, seen[role], game.field("truth"), pace)
            figures |= accuracy
        else:
            loss = learn_honesty(learner, seen[role], game, pace)
        figures[f"{role}_loss"] = loss
    return figures


def learn_truth(learner: Learner, seen: Experience, truth: Tensor, pace: float) -> tuple[Tensor, Figures]:
    """One step of a verifier on what it heard; its loss, and its figures before the step."""
    assert isinstance(learner.player, VerifierNetwork)
    turns = len(seen.packed)
    truth, acting = truth.repeat(turns), seen.acting.flatten()
    log_probs = learner.player.log_probs(seen.packed.flatten(0, 1))
    loss = truth_loss(log_probs, truth, acting)
    learner.step(loss, pace * learner.learning_rate)
    return loss.detach(), verdict_figures(log_probs.detach(), truth, acting)


def verdict_figures(log_probs: Tensor, truth: Tensor, mask: Tensor) -> Figures:
    """Accuracy of the likeliest answer, and the mean v given true and given false claims."""
    accepted = log_probs[:, 1].exp()
    return {
        "accuracy": masked_mean((log_probs.argmax(1) == truth).float(), mask),
        "accepted_true": masked_mean(accepted, mask & (truth == 1)),
        "accepted_false": masked_mean(accepted, mask & (truth != 1)),
    }


def learn_honesty(learner: Learner, seen: Experience, game: Game, pace: float) -> Tensor:
    """One step of a prover on what the honest prover said where it argued a true side; its loss."""
    role = learner.player.role
    honest = seen.acting & (game.field("side")[:, role] == game.field("truth"))
    log_prob, _ = learner.player.evaluate(seen.packed.flatten(0, 1), seen.symbols.flatten(0, 1))
    loss = -masked_mean(log_prob, honest.flatten())
    learner.step(loss, pace * learner.learning_rate)
    return loss.detach()
