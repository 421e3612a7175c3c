"""Provers that learn from the verdict itself, by policy gradient or through their messages; a prover and a verifier that do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from pvg.agents.algorithm import Algorithm, Figures, Seats, algorithms
from pvg.agents.differentiable import heard, refuse_unsmooth
from pvg.agents.imitation import learn_truth
from pvg.agents.networks import VerifierNetwork
from pvg.agents.play import Experience, play
from pvg.agents.policy_gradient import leave_one_out, masked_mean, reinforce_loss
from pvg.agents.reinforce import repeat
from pvg.agents.selfplay import evaluate, outcome_figures
from pvg.agents.team import Learner, Team
from pvg.game import Game

# What a prover gains by the log probability of each verdict, `N output`: `N`.
Gain = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Persuading(Algorithm):
    """What all learning has in which provers ascend a function of one verifier's probabilities, and not what was paid."""

    messages: Literal["sampled", "straight_through", "gumbel"] = "sampled"
    """How provers learn: by policy gradient, or by gradients through their messages (`pvg.agents.differentiable`)."""
    samples: int = 4
    """Games of each statement where messages are sampled; of each, the others are the baseline (RLOO)."""
    temperature: float = 1.0
    """Of the softmax whose gradient a differentiable message has."""
    steps: int = 0
    """Updates of provers for one of the verifier, which keeps them near their best response; 0: all learn in every update."""
    entropy: float = 0.01
    """Weight of the provers' entropy bonus, a nat an utterance."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.within("samples", 2)
        self.within("temperature", 0.01, 100)
        self.within("steps", 0)
        self.within("entropy", 0, 10)

    def begin(self, team: Team, game: Game) -> None:
        if self.messages != "sampled":
            refuse_unsmooth(game.spec, f"messages={self.messages}")
        elif game.num_envs % self.samples:
            raise ValueError(f"samples={self.samples}: does not divide the {game.num_envs} lanes of a process")

    def learning(self, team: Team, seats: Seats, index: int) -> Mapping[str, Learner]:
        """Who of `seats` learns in an update."""
        if seats != "both" or self.steps == 0:
            return team.seated(seats)
        return team.seated("prover" if index % (self.steps + 1) < self.steps else "verifier")

    def play(self, team: Team, game: Game) -> dict[str, Experience]:
        """The games just dealt, played by all learners to their end."""
        if self.messages == "sampled":
            repeat(game, self.samples)
        return play(game, game.players(team.players), team.players)

    def persuade(
        self, learner: Learner, said: Experience, verifier: VerifierNetwork, saw: Experience, game: Game, gain: Gain, pace: float
    ) -> Figures:
        """One step of a prover up its gain where it spoke; what it gained, and its entropy, before."""
        player, acting = learner.player, said.acting
        if self.messages == "sampled":
            gained = gain(verifier.log_probs(saw.packed[-1]).detach()).expand_as(acting)
            log_prob, entropy = evaluate(player, said.packed, said.symbols)
            loss = reinforce_loss(log_prob, gained - leave_one_out(gained, self.samples), acting)
        else:
            log_probs, nats = heard(verifier, player, said, saw.packed[-1], game, self.messages, self.temperature)
            gained, entropy = gain(log_probs)[None], nats[None]
            loss = -masked_mean(gained, acting)
        mean = masked_mean(entropy, acting)
        learner.step(loss - self.entropy * mean, pace * learner.learning_rate)
        return {"gain": masked_mean(gained.detach(), acting), "entropy": mean.detach()}


@algorithms.register("prover_verifier")
@dataclass(frozen=True)
class ProverVerifierTraining(Persuading):
    """The verifier descends -log v(truth), the prover the loss of its objective.

    Adversarial: -log v(the answer it argues), so that only what a false claim cannot show is worth believing. Cooperative: -log
    v(truth) too, and the pair may agree on any code. Needs a verifier that only judges, once.
    Source: the losses and the comparison are those of Anil, Zhang, Wu & Grosse 2021.
    """

    updates: int = 500
    seats: Seats = "both"
    """Whose players learn; the others stay as they are."""
    objective: Literal["adversarial", "cooperative"] = "adversarial"
    """What the prover descends: -log v of the answer it argues, or of the truth."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps > 0 and self.seats != "both":
            raise ValueError(f"steps={self.steps}: needs seats=both, and seats={self.seats}")

    def begin(self, team: Team, game: Game) -> None:
        super().begin(team, game)
        if team.verifier is None or sum(row.slot is None for row in game.spec.rows) != 1:
            raise ValueError(f"prover_verifier: needs one verdict, of a verifier that only judges; the game is {game.spec.label}")

    def update(self, team: Team, game: Game, index: int, pace: float) -> Figures:
        seen = self.play(team, game)
        judge = next(role for role, player in team.players.items() if player is team.verifier)
        verifier, truth = team.verifier, game.field("truth").long()
        assert verifier is not None
        figures = outcome_figures(game)
        for role, learner in self.learning(team, self.seats, index).items():
            if role == judge:
                figures[f"{role}_loss"] = learn_truth(learner, seen[role], truth, pace)[0]
                continue
            argued = game.field("side")[:, learner.player.role].long().clamp(min=0)
            wanted = truth if self.objective == "cooperative" else argued
            found = self.persuade(learner, seen[role], verifier, seen[judge], game, _of(wanted), pace)
            figures |= {f"{role}_{name}": value for name, value in found.items()}
        return figures


def _of(wanted: Tensor) -> Gain:
    """The log probability of an answer, `N`."""
    return lambda log_probs: log_probs.gather(1, wanted[:, None])[:, 0]
