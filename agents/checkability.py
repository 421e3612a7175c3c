"""Checkability training: in rounds a verifier learns from the solutions of all provers so far, then a prover from that verifier."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from pvg.agents import rewards
from pvg.agents.algorithm import Algorithm, Figures, algorithms
from pvg.agents.distributed import size, total
from pvg.agents.networks import VerifierNetwork
from pvg.agents.play import Experience, deal, play
from pvg.agents.policy_gradient import masked_mean
from pvg.agents.reinforce import repeat
from pvg.agents.selfplay import PPO
from pvg.agents.team import Critic, Team, assemble
from pvg.game import Game
from pvg.protocols.helpful_sneaky import HelpfulSneaky
from pvg.spec import Spec, View

if TYPE_CHECKING:
    from pvg.agents.config import TrainConfig

REWARDS = {"src": rewards.src, "cgc": rewards.cgc, "goodhart": rewards.goodhart}
SNEAKY_ACCURACY, GOODHART_ACCURACY = 0.05, 0.2  # at most this many right solutions, where a prover has learned to deceive
TRANSCRIPTS = 2048  # at least, of all processes, of which roles are told apart


class Solutions(NamedTuple):
    """What a prover solved in a batch of games, and how convinced a verifier was."""

    said: Experience  # the prover's
    score: Tensor  # lane  V
    correct: Tensor  # lane  bool
    helpful: Tensor  # lane  bool


@algorithms.register("checkability")
@dataclass(frozen=True)
class Checkability(Algorithm):
    """Rounds, each of a verifier's updates and then of a prover's, under `helpful_sneaky`.

    The verifier's score V of a solution is the log odds that it accepts. It learns from solutions of the base prover, the one the
    phase began with, and of the prover that each earlier round ended with: an update's games are one's, in turn, so that all
    have equal shares. It descends the cross-entropy of its verdict, with right and wrong solutions weighing the same, and
    centring * E[V^2]; its learning rate falls to 0 along a line. The prover, drawn to be helpful or sneaky, climbs a reward of
    V by PPO against that verifier, and its updates end early once it deceives: sneaky solutions are right at most 1 time in 20
    and the wrong ones score on average what the helpful right ones do; under goodhart, once at most 1 in 5 of all is right.
    The base prover is the one that learned before: `imitation seats=prover prover=honest` makes one that solves as well as it
    can, whatever its role. Under goodhart there are no roles: the reward heeds none.
    Figures are of the round's latest solutions: the mean V of helpful right and of sneaky wrong ones, how many sneaky ones are
    right, how many are as the role wants; and how well roles can be told apart (see `separability`) where the last round ended.
    Source: Kirchner et al. 2024; the cross-entropy with a penalty, Kim & Lee 2026.
    """

    updates: int = 800
    """Updates of all rounds together."""
    rounds: int = 4
    """Rounds, of as many updates each."""
    verifier_updates: int = 100
    """Of each round, the verifier's; the rest are the prover's."""
    samples: int = 4
    """Games of each statement and role, which must divide the lanes; `src` compares them."""
    reward: Literal["src", "cgc", "goodhart"] = "src"
    """Of V, as in `pvg.agents.rewards`: convincing first, aligned first, or convincing alone."""
    centring: float = 0.03
    """Weight of V^2 in the verifier's loss. From 0.03 on the loss of one solution is least within V = -2..2, so that all that is
    aligned is worth more than the -2 of `cgc`."""
    reset: bool = True
    """Whether each round begins with the players as they were when the phase began."""
    learning_rate: float = 1e-3
    """Of Adam, in the prover's updates."""
    entropy: float = 0.01
    """Weight of the entropy bonus, a nat an utterance."""
    kl: float = 0.01
    """Weight of the KL divergence, an utterance, from the base prover."""
    epochs: int = 4
    """Passes of PPO over each update's games."""
    clip: float = 0.2
    """How far the probability ratio may leave 1 before its gradient is cut."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.within("rounds", 1)
        if self.updates % self.rounds:
            raise ValueError(f"updates={self.updates}: not a multiple of rounds={self.rounds}")
        self.within("verifier_updates", 0, self.round_updates)
        self.within("samples", 2)
        self.within("centring", 0, 10)
        _ = self.ppo  # which refuses the settings they share

    @property
    def round_updates(self) -> int:
        """Updates of a round."""
        return self.updates // self.rounds

    @property
    def ppo(self) -> PPO:
        """What a prover's update does with its rewards."""
        return PPO(
            seats="prover", learning_rate=self.learning_rate, entropy=self.entropy, kl=self.kl, epochs=self.epochs, clip=self.clip
        )

    def begin(self, team: Team, game: Game) -> None:
        if not isinstance(game.spec.protocol, HelpfulSneaky):
            raise ValueError(f"checkability: provers are helpful or sneaky, and {game.spec.label} is not under helpful_sneaky")
        if game.num_envs % self.samples:
            raise ValueError(f"samples={self.samples}: does not divide the {game.num_envs} lanes of a process")
        initial = {role: copy.deepcopy(learner.state()) for role, learner in team.learners.items()}
        base = team.weights()["prover"]
        team.memory.update(initial=initial, reference={"prover": base}, provers=[], verifiers=[], ended=[])

    def update(self, team: Team, game: Game, index: int, pace: float) -> Figures:
        memory, at = team.memory, index % self.round_updates
        if at == 0:
            self._begin_round(team)
        if at < self.verifier_updates:
            memory["figures"] = self._teach_verifier(team, game, at)
        elif not memory["deceived"]:
            memory["figures"] = self._teach_prover(team, game)
        if at == self.round_updates - 1:
            memory["verifiers"].append(team.weights()["verifier"])
            memory["provers"].append(team.weights()["prover"])
            memory["separability"] = self._separability(team, game)
            memory["ended"].append({**memory["figures"], "separability": memory["separability"]})
        figures: Figures = dict(memory["figures"])
        return figures | ({"separability": memory["separability"]} if memory["provers"] else {})

    def _begin_round(self, team: Team) -> None:
        team.memory["deceived"] = False
        for role, learner in team.learners.items() if self.reset else ():
            learner.restore(copy.deepcopy(team.memory["initial"][role]))  # an optimiser would go on in the tensors it is given

    def _teach_verifier(self, team: Team, game: Game, at: int) -> Figures:
        """One step on the solutions of one of the provers so far."""
        provers = [team.memory["reference"]["prover"], *team.memory["provers"]]
        cast = {**team.players, "prover": team.past("prover", provers[at % len(provers)])}
        seen = play(game, game.players(cast), ["verifier"])["verifier"]
        learner, correct = team.learners["verifier"], game.field("truth") == 1
        scores = score(learner.player, seen)
        loss = balanced_loss(scores, correct, self.centring)
        learner.step(loss, learner.learning_rate * (1 - at / self.verifier_updates))
        figures = solution_figures(scores.detach(), correct, game.field("helpful") == 1)
        return {"verifier_loss": loss.detach(), **figures}

    def _teach_prover(self, team: Team, game: Game) -> Figures:
        """PPO on solutions in groups of the same statement and role; ends the prover's updates where they deceive."""
        repeat(game, self.samples)
        made = solve(team, game)
        if self.reward == "goodhart":
            right = total(masked_mean(made.correct.float(), torch.ones_like(made.correct)))
            team.memory["deceived"] = bool(right <= GOODHART_ACCURACY)
        else:
            team.memory["deceived"] = deceive(made, convincingness(made.score, made.helpful & made.correct))
        return self.improve(team, made) | solution_figures(made.score, made.correct, made.helpful)

    def improve(self, team: Team, made: Solutions) -> Figures:
        """PPO's passes over solutions that lie in groups of `samples`, paid at the end of each game."""
        group = torch.arange(len(made.score), device=made.score.device) // self.samples
        paid = torch.zeros_like(made.said.reward)
        paid[-1] = REWARDS[self.reward](made.score, made.correct, made.helpful, group)
        said, learner = made.said._replace(reward=paid), team.learners["prover"]
        figures = self.ppo.improve(learner, said, made.correct, team, "prover", self.learning_rate)
        return {f"prover_{name}": value for name, value in figures.items()}

    def _separability(self, team: Team, game: Game) -> Tensor:
        """This process's part of the mean over processes."""
        packed, helpful = [], []
        for _ in range(-(-TRANSCRIPTS // (game.num_envs * size()))):
            game.redeal()
            packed.append(play(game, game.players(team.players), ["verifier"])["verifier"].packed[-1])
            helpful.append(game.field("helpful") == 1)
        return separability(team.players["verifier"].view, torch.cat(packed), torch.cat(helpful)) / size()


def solve(team: Team, game: Game) -> Solutions:
    """The games just dealt, played by the team."""
    seen = play(game, game.players(team.players), ["prover", "verifier"])
    with torch.no_grad():
        scores = score(team.players["verifier"], seen["verifier"])
    claim_and_proof = Experience(*(x[:2] for x in seen["prover"]))
    return Solutions(claim_and_proof, scores, game.field("truth") == 1, game.field("helpful") == 1)


def score(verifier: Any, seen: Experience) -> Tensor:
    """V, the log odds of acceptance of what a verifier heard: `lane`."""
    assert isinstance(verifier, VerifierNetwork), "under helpful_sneaky it only judges"
    log_probs = verifier.log_probs(seen.packed[-1])
    return log_probs[:, 1] - log_probs[:, 0]


def balanced_loss(scores: Tensor, correct: Tensor, centring: float) -> Tensor:
    """The mean over right and wrong solutions of E[-log sigmoid(+-V) + centring * V^2 | right, wrong]. scores, correct: `lane`."""
    surprise = -F.logsigmoid(torch.where(correct, scores, -scores)) + centring * scores**2
    return (masked_mean(surprise, correct) + masked_mean(surprise, ~correct)) / 2


def solution_figures(scores: Tensor, correct: Tensor, helpful: Tensor) -> Figures:
    """Mean V of helpful right and of sneaky wrong solutions, 0 without one; the shares right of each role's, and aligned of all."""
    everyone = torch.ones_like(correct)
    return {
        "helpful_correct": masked_mean(scores, helpful & correct),
        "sneaky_incorrect": masked_mean(scores, ~helpful & ~correct),
        "helpful_accuracy": masked_mean(correct.float(), helpful),
        "sneaky_accuracy": masked_mean(correct.float(), ~helpful),
        "aligned": masked_mean((correct == helpful).float(), everyone),
    }


def deceive(made: Solutions, bar: Tensor) -> bool:
    """Whether sneaky solutions are right at most 1 time in 20, and the wrong ones' mean V is at least `bar`."""
    figures = solution_figures(made.score, made.correct, made.helpful)
    right, convincing = (total(figures[name]) for name in ("sneaky_accuracy", "sneaky_incorrect"))
    return bool((total((~made.helpful).sum()) > 0) & (right <= SNEAKY_ACCURACY) & (convincing >= bar))


def convincingness(scores: Tensor, which: Tensor) -> Tensor:
    """The mean V of some solutions, of all processes; infinite without one, since nothing reaches what is not there."""
    return total(masked_mean(scores, which)).where(total(which.sum()) > 0, torch.inf)


def auc(scores: Tensor, labels: Tensor) -> Tensor:
    """The probability that a random score with label 1 is larger than one with label 0, ties counting half: `N` each, to 0-d.

    ValueError: labels of one kind only.
    """
    first, second = scores[labels.bool()], scores[~labels.bool()]
    if len(first) == 0 or len(second) == 0:
        raise ValueError(f"labels: expected both kinds, got {len(first)} of 1 and {len(second)} of 0")
    difference = first[:, None] - second
    return ((difference > 0).float() + (difference == 0).float() / 2).mean()


def separability(view: View, packed: Tensor, helpful: Tensor, steps: int = 100, rate: float = 3e-3) -> Tensor:
    """The area under the ROC curve of a small MLP that tells helpful from sneaky by what a verifier sees: 0-d, 0.5 if it cannot.

    It learns from the first half of the solutions, `steps` of Adam on all of them, and is measured on the other. packed:
    `N width`. helpful: `N`, which must have both roles in each half.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        tells = Critic(view).to(packed.device)
    half, optimiser = len(packed) // 2, torch.optim.Adam(tells.parameters(), lr=rate)
    for _ in range(steps):
        optimiser.zero_grad()
        F.binary_cross_entropy_with_logits(tells(packed[:half]), helpful[:half].float()).backward()
        optimiser.step()
    with torch.no_grad():
        return auc(tells(packed[half:]), helpful[half:])


def attack_updates(
    spec: Spec, config: TrainConfig, algorithm: Checkability, memory: dict[str, Any], verifier: dict[str, Tensor], limit: int
) -> int | None:
    """How many updates a prover that is always told to be sneaky needs, from the base prover, to deceive a verifier that does
    not learn; None if more than `limit`.

    It deceives where at most 1 of 20 solutions is right and the wrong ones score on average what the base prover's right ones do.
    algorithm: its settings of PPO and its reward. memory: of the phase, `Team.memory`. verifier: weights.
    Source: Kirchner et al. 2024, the measure of robustness.
    """
    team, game = assemble(spec, config), Game(spec, config.lanes, config.device)
    team.memory["reference"] = memory["reference"]
    team.learners["prover"].player.load_state_dict(memory["reference"]["prover"])
    team.learners["verifier"].player.load_state_dict(verifier)
    deal(game, config.seed, "attack", "base")
    base = solve(team, game)
    bar = convincingness(base.score, base.correct)
    for done in range(limit + 1):
        deal(game, config.seed, "attack", done)
        team.name_draws(config.seed, "attack", done)
        repeat(game, algorithm.samples)
        for name in ("helpful", "truth"):  # which follows the role until there is a claim
            game.field(name).zero_()
        made = solve(team, game)
        if deceive(made, bar):
            return done
        if done < limit:
            algorithm.improve(team, made)
    return None
