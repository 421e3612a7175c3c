"""Imitation: verifiers learn the truth, and provers the honest proof, from games scripted players play."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pvg.agents.algorithm import Algorithm, Figures, Seats, algorithms
from pvg.agents.networks import VerifierNetwork
from pvg.agents.play import Experience, play
from pvg.agents.policy_gradient import masked_mean, score
from pvg.agents.team import Learner, Team
from pvg.game import Game
from pvg.protocol import VERDICT


@algorithms.register("imitation")
@dataclass(frozen=True)
class Imitation(Algorithm):
    """Verifiers learn the truth, and provers what the honest one says, from games that scripted players play.

    Provers are shown true sides only ("transcript learning", Amit et al. 2024). On a false side there is no one way to argue,
    and a network that cannot tell a false claim before it has computed it would mix the dishonest provers' errors into its
    true transcripts. Verifiers that ask learn the reference's questions.
    """

    updates: int = 500
    seats: Seats = "both"
    """Whose players learn."""

    def update(self, team: Team, game: Game, index: int, pace: float) -> Figures:
        learners = team.seated(self.seats)
        seen = play(game, game.players({r.name: "dishonest" for r in game.spec.roles if r.seat == "prover"}), learners)
        figures: Figures = {}
        for role, learner in learners.items():
            if isinstance(learner.player, VerifierNetwork):
                loss, accuracy = learn_truth(learner, seen[role], game.field("truth"), pace)
                figures |= accuracy
            elif game.spec.roles[learner.player.role].seat == "verifier":
                loss = learn_asking(learner, seen[role], game, pace)
            else:
                loss = learn_honesty(learner, seen[role], game, pace)
            figures[f"{role}_loss"] = loss
        return figures


def truth_loss(log_probs: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy of answers (`N answer` log probabilities) against the truth (`N`), over entries in `mask`."""
    return -masked_mean(score(log_probs, truth, "log"), mask)


def learn_truth(learner: Learner, seen: Experience, truth: Tensor, pace: float) -> tuple[Tensor, Figures]:
    """One step of a verifier on what it heard; its loss, and its figures before the step."""
    assert isinstance(learner.player, VerifierNetwork)
    turns = len(seen.packed)
    truth, acting = truth.repeat(turns), seen.acting.flatten()
    log_probs = learner.log_probs(seen.packed.flatten(0, 1))
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
    return learn_saying(learner, seen, seen.acting & (game.field("side")[:, role] == game.field("truth")), pace)


def learn_asking(learner: Learner, seen: Experience, game: Game, pace: float) -> Tensor:
    """One step of a verifier that asks on what the reference asked, and on the truth where a verdict was due; its loss."""
    spec, player = game.spec, learner.player
    kinds = ["over", *(spec.rows[row].kind if row >= 0 else "silent" for row in spec.row_of(player.role))]
    verdict = torch.tensor([kind == VERDICT for kind in kinds], device=seen.packed.device)
    symbols = seen.symbols.clone()
    if VERDICT in kinds:
        deciding = verdict[seen.packed[..., player.view["turn"].start].long()]  # turn lane
        symbols[..., 0] = torch.where(deciding, game.field("truth").int(), symbols[..., 0])
    return learn_saying(learner, seen._replace(symbols=symbols), seen.acting, pace)


def learn_saying(learner: Learner, seen: Experience, which: Tensor, pace: float) -> Tensor:
    """One step of a player towards having said what `seen` holds, at the entries `turn lane` in `which`; its loss."""
    log_prob, _ = learner.evaluate(seen.packed.flatten(0, 1), seen.symbols.flatten(0, 1))
    loss = -masked_mean(log_prob, which.flatten())
    learner.step(loss, pace * learner.learning_rate)
    return loss.detach()
