"""REINFORCE: one policy-gradient step an update, with no critic; of several samples a statement, each is judged by the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from pvg.agent import Agent
from pvg.agents.algorithm import Figures, Seats, algorithms
from pvg.agents.distributed import total
from pvg.agents.networks import VerifierNetwork
from pvg.agents.play import Experience
from pvg.agents.policy_gradient import kl_to_reference, leave_one_out, masked_mean, reinforce_loss, returns
from pvg.agents.selfplay import SelfPlay, by_learner, evaluate, joined, outcome_figures, score_loss
from pvg.agents.team import Learner, Team
from pvg.game import Game

Baseline = Literal["none", "mean", "leave_one_out"]


@algorithms.register("reinforce")
@dataclass(frozen=True)
class Reinforce(SelfPlay):
    """Self-play by REINFORCE: ascend E[(R - b) log pi], one step an update.

    Source: Williams 1992; leave_one_out (RLOO): Kool, van Hoof & Welling 2019.
    """

    samples: int = 4
    """Games of each statement, which must divide the lanes."""
    baseline: Baseline = "leave_one_out"
    """b: 0, the mean return of all games, or of the other samples of the same statement."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.within("samples", 2 if self.baseline == "leave_one_out" else 1)

    def begin(self, team: Team, game: Game) -> None:
        super().begin(team, game)
        if game.num_envs % self.samples:
            raise ValueError(f"samples={self.samples}: does not divide the {game.num_envs} lanes of a process")

    def update(self, team: Team, game: Game, index: int, pace: float) -> Figures:
        repeat(game, self.samples)
        learning = self.learning(team, index)
        seen = self.play(team, game, learning, team.players)
        figures = outcome_figures(game)
        for learner, roles in by_learner(learning).items():
            part, truth = joined([seen[role] for role in roles]), game.field("truth").repeat(len(roles))
            reference = self.reference(team, roles[0], part)
            loss, found = self._loss(learner, part, truth, reference)
            learner.step(loss, pace * self.learning_rate)
            figures |= {f"{roles[0]}_{name}": value.detach() for name, value in found.items()}
        return figures

    def _loss(self, learner: Learner, part: Experience, truth: Tensor, reference: Tensor | None) -> tuple[Tensor, Figures]:
        if self.reward != "paid" and isinstance(learner.player, VerifierNetwork):
            return score_loss(learner, part.packed, part.acting, truth, self.reward)
        outcome = returns(part.reward)
        log_prob, entropy = evaluate(learner, part.packed, part.symbols)
        policy = reinforce_loss(log_prob, outcome - self._baseline(outcome, part.acting), part.acting)
        nats = masked_mean(entropy, part.acting)
        figures = {"return": masked_mean(outcome[0], part.acting[0]), "loss": policy, "entropy": nats}
        loss = policy - self.entropy * nats
        if reference is not None:
            figures["kl_to_reference"] = masked_mean(kl_to_reference(log_prob, reference, part.acting), part.acting)
            loss = loss + self.kl * figures["kl_to_reference"]
        return loss, figures

    def _baseline(self, outcome: Tensor, acting: Tensor) -> Tensor:
        if self.baseline == "leave_one_out":
            return leave_one_out(outcome, self.samples)
        return total(masked_mean(outcome, acting)) if self.baseline == "mean" else torch.zeros_like(outcome)


@algorithms.register("rlvf")
@dataclass(frozen=True)
class RLVF(Reinforce):
    """Reinforcement learning from verifier feedback: a prover ascends log pi of its own transcripts that are accepted, no others.

    It is REINFORCE without a baseline where, whatever the protocol pays, a verdict for the prover's side is worth 1 and all else
    nothing. The reference verifier judges, so that only true claims teach where it is sound. It needs a prover that is accepted
    now and then, such as one that has imitated.
    Source: Amit, Goldwasser, Paradise & Rothblum 2024, algorithm 2.
    """

    seats: Seats = "prover"
    scripted: tuple[str, ...] = ("verifier=reference",)
    entropy: float = 0.0
    samples: int = 1
    baseline: Baseline = "none"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, only in (("seats", "prover"), ("reward", "paid")):
            if getattr(self, name) != only:
                raise ValueError(f"{name}={getattr(self, name)}: provers learn from verdicts, which leaves {only}")

    def play(self, team: Team, game: Game, roles: Mapping[str, Learner], cast: Mapping[str, Agent]) -> dict[str, Experience]:
        seen, judged = super().play(team, game, roles, cast), {}
        for role, part in seen.items():
            won = (game.field("verdict") == game.field("side")[:, game.spec.role_index(role)]) & (game.field("forfeit") < 0)
            reward = torch.zeros_like(part.reward)
            reward[-1] = won
            judged[role] = part._replace(reward=reward)
        return judged


def repeat(game: Game, samples: int) -> None:
    """Make each group of `samples` lanes next to each other play the game its first lane was dealt."""
    groups = game.bytes.unflatten(0, (-1, samples))
    game.bytes.copy_(groups[:, :1].expand_as(groups).flatten(0, 1).clone())
