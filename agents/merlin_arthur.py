"""Merlin-Arthur training: Arthur learns to believe Merlin, who means well, and not Morgana, who does not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from pvg.agent import Agent
from pvg.agents import distributed
from pvg.agents.algorithm import Figures, algorithms
from pvg.agents.attacks.exact import numbered
from pvg.agents.networks import VerifierNetwork
from pvg.agents.policy_gradient import masked_mean
from pvg.agents.prover_verifier import Persuading
from pvg.agents.team import Team
from pvg.game import Game
from pvg.metrics import Figure, checked, coins, decide, proportion, worst
from pvg.protocols.merlin_arthur import ARTHUR, MERLIN, MORGANA, MerlinArthur
from pvg.spec import Spec

TRIED = 10_000  # as many messages Morgana may have for the best of them to be searched


class Losses(NamedTuple):
    """What Arthur's verdict costs him in each game, by who spoke: `N` each."""

    merlin: Tensor
    morgana: Tensor


def losses(log_probs: Tensor, truth: Tensor) -> Losses:
    """L_Merlin = -log p(true) and L_Morgana = -log(p(true) + p(don't know)), so that not to know is safe from Morgana alone.

    log_probs: `N answer + 1`, the last of "don't know". truth: `N`.
    Source: Waldchen, Sharma, Turan, Zimmer & Pokutta 2024.
    """
    right = log_probs.gather(1, truth.long()[:, None])[:, 0]
    return Losses(-right, -torch.logaddexp(right, log_probs[:, -1]))


@algorithms.register("merlin_arthur")
@dataclass(frozen=True)
class MerlinArthurTraining(Persuading):
    """Arthur descends L_Merlin + gamma L_Morgana; Merlin descends L_Merlin, Morgana ascends L_Morgana, each where they spoke.

    L_Merlin = -log p(true), L_Morgana = -log(p(true) + p(don't know)). Where gamma is 0 Merlin and Arthur cooperate: they may agree
    on any code, and Morgana, whom Arthur then does not learn from, speaks it.
    Needs the protocol merlin_arthur and a verifier that may say "don't know" (`abstain`).
    Source: Waldchen, Sharma, Turan, Zimmer & Pokutta 2024, whose provers are differentiable; policy gradients are ours.
    """

    updates: int = 500
    gamma: float = 2.0
    """Weight of L_Morgana in what Arthur descends."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.within("gamma", 0, 100)

    def begin(self, team: Team, game: Game) -> None:
        if not isinstance(game.spec.protocol, MerlinArthur):
            raise ValueError(f"merlin_arthur: trains the roles of that protocol, and the game is {game.spec.label}")
        if not team.players["arthur"].abstains:
            raise ValueError("abstain: merlin_arthur needs True, since Arthur's safe answer to Morgana is \"don't know\"")
        super().begin(team, game)

    def update(self, team: Team, game: Game, index: int, pace: float) -> Figures:
        seen = self.play(team, game)
        learning, arthur, saw, truth = self.learning(team, "both", index), team.verifier, seen["arthur"], game.field("truth")
        assert arthur is not None
        figures = least_over_classes(game)
        gains = {"merlin": lambda log_probs: -losses(log_probs, truth).merlin, "morgana": lambda x: losses(x, truth).morgana}
        for name, gain in gains.items():
            if name in learning:
                found = self.persuade(learning[name], seen[name], arthur, saw, game, gain, pace)
                figures |= {f"{name}_{figure}": value for figure, value in found.items()}
        if "arthur" in learning:
            costs = losses(arthur.log_probs(saw.packed[-1]), truth)._asdict()
            merlin, morgana = (masked_mean(costs[name], seen[name].acting[0]) for name in gains)
            learning["arthur"].step(merlin + self.gamma * morgana, pace * learning["arthur"].learning_rate)
            figures |= {"merlin_loss": merlin.detach(), "morgana_loss": morgana.detach()}
        return figures


# What is reported.


def outcomes(game: Game) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Of games that are over, by what is good, whether it happened and in which games it counts, of who spoke: `lane` bool."""
    truth, verdict, speaker = (game.field(name) for name in ("truth", "verdict", "speaker"))
    played = game.field("forfeit") < 0
    good = {"completeness": verdict == truth, "soundness": (verdict == truth) | (verdict == game.spec.task.answers)}
    return good, {"completeness": played & (speaker == MERLIN), "soundness": played & (speaker == MORGANA)}


def least_over_classes(game: Game) -> Figures:
    """Completeness, the share of right verdicts after Merlin, and soundness, that of right ones and "don't know" after Morgana:
    each of the class of which it is least, in games that are over.
    """
    good, counted = outcomes(game)
    figures: Figures = {}
    for name in good:
        of_class = [counted[name] & (game.field("truth") == answer) for answer in range(game.spec.task.answers)]
        shares = torch.stack([masked_mean(good[name].float(), some) for some in of_class])
        there = distributed.total(torch.stack([some.any() for some in of_class]).float()) > 0
        figures[name] = distributed.total(shares).where(there, 1.0).min() / distributed.size()
    return figures


def precision_bound(completeness_error: float, soundness_error: float, ratio: float = 1.0, imbalance: float = 1.0) -> float:
    """The least average precision of the features Merlin shows: 1 - e_c - r e_s / (1 - e_c + r e_s / B).

    ratio: r, the asymmetric feature correlation kappa over Morgana's relative success rate alpha; both are 1 for features that are
        not correlated and a Morgana as able as Merlin. imbalance: B, of the classes, at least 1.
    Source: Waldchen, Sharma, Turan, Zimmer & Pokutta 2024, the main theorem.
    """
    fraud = ratio * soundness_error
    return 1 - completeness_error - fraud / (1 - completeness_error + fraud / imbalance)


@dataclass(frozen=True)
class Measured:
    """An Arthur's least figures over classes: completeness with this Merlin, soundness with this Morgana and with the best one.

    best: None where there are more than TRIED messages. A soundness error is 1 - soundness.
    """

    completeness: Figure
    soundness: Figure
    best: Figure | None


def measure(players: Mapping[str, Agent], spec: Spec, games: int = 2000, seed: int = 0, device: str = "cpu") -> Measured:
    """What becomes of games of `seed`, of which Merlin speaks in one half; Morgana's best message is searched in all of them."""
    game = Game(spec, games, device, seed)
    dealt, truth = game.bytes.clone(), game.field("truth").clone()
    game.advance(game.players(players))
    good, counted = outcomes(game)
    whole = torch.ones_like(truth, dtype=torch.bool)
    arthur = players["arthur"]
    if isinstance(arthur, VerifierNetwork) and messages_of(spec) <= TRIED:
        game.bytes.copy_(dealt)
        good["best"], counted["best"] = ~decide(best_morgana(arthur, game), coins(seed, games).to(truth.device)), whole
    found = {
        name: worst({f"class {a}": proportion(good[name][counted[name] & (truth == a)], name) for a in range(spec.task.answers)})
        for name in good
    }
    return Measured(found["completeness"], found["soundness"], found.get("best"))


def messages_of(spec: Spec) -> int:
    """How many messages there are; more than TRIED where there are several utterances."""
    return math.prod(alphabet_of(spec)) if len(spec.rows) == 2 else TRIED + 1


def alphabet_of(spec: Spec) -> tuple[int, ...]:
    """How many symbols each position of the message has."""
    return tuple(int(high) for high in spec.alphabet[0] if high > 0)


@torch.no_grad()
def best_morgana(arthur: VerifierNetwork, game: Game) -> Tensor:
    """The largest probability of a wrong answer that any message gets out of Arthur: `lane`, in the games just dealt."""
    dealt, alphabet, truth = game.bytes.clone(), alphabet_of(game.spec), game.field("truth").clone()
    most = torch.zeros(game.num_envs, device=dealt.device)
    for number in range(math.prod(alphabet)):
        game.bytes.copy_(dealt)
        game.field("speaker").fill_(MORGANA)
        game.actions[:, MORGANA, : len(alphabet)] = numbered(torch.tensor([number], device=dealt.device), alphabet)
        game.step()
        safe = losses(arthur.log_probs(game.observe(ARTHUR).packed), truth).morgana.neg().exp()
        most = torch.maximum(most, 1 - safe)
    return checked(most.clamp(0, 1))
