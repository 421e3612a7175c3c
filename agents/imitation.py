"""Imitation: verifiers learn the truth, and provers the honest proof, from games scripted players play."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from pvg.agents.algorithm import Algorithm, Figures, Seats, algorithms
from pvg.agents.networks import Player, VerifierNetwork
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
    prover: str = "dishonest"
    """The scripted prover whose games are shown; `honest` under helpful_sneaky, where it is the prover who states the claim, shows
    right claims whatever the role."""
    kinds: tuple[str, ...] = ()
    """Kinds of utterance that provers learn, such as `claim`, to solve without proving; none named, all."""

    def begin(self, team: Team, game: Game) -> None:
        if unknown := set(self.kinds) - set(game.spec.kinds):
            raise ValueError(f"kinds={','.join(sorted(unknown))}: the game has {', '.join(game.spec.kinds)}")

    def update(self, team: Team, game: Game, index: int, pace: float) -> Figures:
        learners = team.seated(self.seats)
        seen = play(game, game.players({r.name: self.prover for r in game.spec.roles if r.seat == "prover"}), learners)
        figures: Figures = {}
        for role, learner in learners.items():
            if isinstance(learner.player, VerifierNetwork):
                loss, accuracy = learn_truth(learner, seen[role], game.field("truth"), pace)
                figures |= accuracy
            elif game.spec.roles[learner.player.role].seat == "verifier":
                loss = learn_asking(learner, seen[role], game, pace)
            else:
                loss = learn_honesty(learner, seen[role], game, pace, self.kinds)
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


def learn_honesty(learner: Learner, seen: Experience, game: Game, pace: float, kinds: Collection[str] = ()) -> Tensor:
    """One step of a prover on what the honest prover said, of some kinds or all, where it argued a true side; its loss."""
    right = seen.acting & (game.field("side")[:, learner.player.role] == game.field("truth"))
    return learn_saying(learner, seen, right & of_kinds(learner.player, seen.packed, kinds) if kinds else right, pace)


def learn_asking(learner: Learner, seen: Experience, game: Game, pace: float) -> Tensor:
    """One step of a verifier that asks on what the reference asked, and on the truth where a verdict was due; its loss."""
    symbols = seen.symbols.clone()
    if VERDICT in learner.player.kinds:
        deciding = of_kinds(learner.player, seen.packed, [VERDICT])
        symbols[..., 0] = torch.where(deciding, game.field("truth").int(), symbols[..., 0])
    return learn_saying(learner, seen._replace(symbols=symbols), seen.acting, pace)


def of_kinds(player: Player, packed: Tensor, kinds: Collection[str]) -> Tensor:
    """Where the turn is one at which a player says something of these kinds: `turn lane`, of observations `turn lane width`."""
    wanted = torch.tensor([kind in kinds for kind in (None, *player.kinds)], device=packed.device)
    if sum(kind is not None for kind in player.kinds) == 1:  # who speaks at one turn is not told which
        return wanted.any().expand(packed.shape[:2])
    return wanted[packed[..., player.view["turn"].start].long()]


def learn_saying(learner: Learner, seen: Experience, which: Tensor, pace: float) -> Tensor:
    """One step of a player towards having said what `seen` holds, at the entries `turn lane` in `which`; its loss."""
    some = which.any(1) if bool(which.any()) else slice(None)  # the turns there is something to learn of
    log_prob, _ = learner.evaluate(seen.packed[some].flatten(0, 1), seen.symbols[some].flatten(0, 1))
    loss = -masked_mean(log_prob, which[some].flatten())
    learner.step(loss, pace * learner.learning_rate)
    return loss.detach()
