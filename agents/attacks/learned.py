"""A prover trained by reinforcement learning to be accepted by one verifier, which stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import torch

from pvg.agent import Agent
from pvg.agents.attacks.attack import Attack, Target, attacks
from pvg.agents.attacks.queries import Queries
from pvg.agents.claims import redeal
from pvg.agents.config import TrainConfig, schedule
from pvg.agents.networks import Player
from pvg.agents.play import Experience, deal, play
from pvg.agents.selfplay import PPO
from pvg.agents.team import Learner, Team, assemble, hashed
from pvg.agents.training import refuse_non_finite
from pvg.game import Game
from pvg.spec import Spec, resolve
from pvg.verifier import Judging, Verifier

LANES = 256  # games an update
LEAST = 1e-6  # probabilities are not paid for below this, so that one hopeless message does not outweigh all others


@dataclass(frozen=True)
class AgainstFrozen(PPO):
    """PPO of the prover's seat against agents that do not learn, paid log v at the end of a game whatever the protocol pays."""

    frozen: Mapping[str, Agent] = field(default_factory=dict)

    def play(self, team: Team, game: Game, roles: Mapping[str, Learner], cast: Mapping[str, Agent]) -> dict[str, Experience]:
        """The games just dealt, played to their end, with what the provers are paid."""
        seen = play(game, game.players({**cast, **self.frozen}), roles)
        for part in seen.values():
            part.reward.zero_()
            part.reward[-1] = game.field("belief").clamp(min=LEAST).log()
        return seen


def train_prover(verifier: Verifier, spec: Spec, games: int, seed: int, device: str | torch.device = "cpu") -> Player:
    """A prover from scratch, trained on false claims of the training split to be accepted: `games` of them in updates of LANES.

    ValueError: games below LANES; NonFiniteVerdict: a verdict was no probability.
    """
    updates = games // LANES
    if updates < 1:
        raise ValueError(f"games={games}: expected at least {LANES}, one update")
    of_training = resolve(spec.task, spec.protocol, spec.proof_name, "train")
    config = TrainConfig(lanes=LANES, seed=seed, device=str(device)).for_game(spec)
    game, team = Game(of_training, LANES, device), assemble(of_training, config)
    coins = torch.Generator(device).manual_seed(seed)
    toss = partial(torch.rand, generator=coins, device=device, dtype=torch.float64)
    judges = {role.name: Judging(verifier, toss) for role in spec.roles if role.seat == "verifier"}
    phase = AgainstFrozen(updates=updates, seats="prover", frozen=judges)
    phase.begin(team, game)
    for update in range(updates):
        deal(game, "attack", seed, update)
        redeal(game, False)
        team.name_draws("attack", seed, update)
        figures = phase.update(team, game, update, schedule(update, updates))
        refuse_non_finite(figures, "learned", update, None)
    assert team.prover is not None, "somebody argues"
    return team.prover


@attacks.register("learned")
@dataclass
class Learned(Attack):
    """A prover trained by PPO against this verifier, on false claims of the training split; it then says what it draws.

    Games of its training, each with one verdict, are counted apart. It is paid log v.

    samples: drawn for each claim.
    """

    samples: int = 128

    def unfit(self, target: Target, budget: int) -> str | None:
        games = target.means.games
        return None if games >= LANES else f"{games:,} games to train a prover with; it needs at least {LANES}"

    def prepare(self, target: Target, generator: torch.Generator) -> dict[str, int]:
        seed, games = generator.initial_seed() % 2**31, target.means.games
        self._prover = train_prover(target.verifier, target.spec, games, seed, target.claims.game.device)
        self._prover.generator.manual_seed(hashed(seed, "samples"))
        return {"games to train a prover": games // LANES * LANES}

    def search(self, target: Target, ask: Queries, generator: torch.Generator) -> None:
        for _ in range(self.samples):
            said, legal = target.claims.argue(self._prover)
            ask(said[:, None], legal[:, None])
