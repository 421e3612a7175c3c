"""Self-play: learned players play each other, and each learns from what it was paid."""

from __future__ import annotations

import torch
from torch import Tensor

from pvg.agents.config import TrainConfig
from pvg.agents.imitation import Figures
from pvg.agents.play import Experience, play
from pvg.agents.ppo import advantages, masked_mean, ppo_loss, returns
from pvg.agents.team import Learner, Team, descend
from pvg.game import Game


def play_and_learn(team: Team, game: Game, config: TrainConfig, pace: float) -> Figures:
    """One update of the seats in self-play on the games dealt, played by all learned players with each other."""
    learners = team.seated(config.selfplay_seats)
    seen = play(game, team.players, learners)
    figures, rate = outcome_figures(game), pace * config.selfplay_learning_rate
    for role, learner in learners.items():
        figures[f"{role}_return"] = masked_mean(returns(seen[role].reward)[0], seen[role].acting[0])
        figures |= {f"{role}_{name}": x for name, x in improve(learner, seen[role], config, rate, team.generator).items()}
    return figures


def outcome_figures(game: Game) -> Figures:
    """The verdicts of games that are over: right ones, and acceptance given true and given false claims; forfeits
    count nowhere.
    """
    truth, verdict, played = game.field("truth"), game.field("verdict"), game.field("forfeit") < 0
    return {
        "accuracy": masked_mean((verdict == truth).float(), played),
        "accepted_true": masked_mean((verdict == 1).float(), played & (truth == 1)),
        "accepted_false": masked_mean((verdict == 1).float(), played & (truth != 1)),
    }


def improve(learner: Learner, seen: Experience, config: TrainConfig, rate: float, generator: torch.Generator) -> Figures:
    """PPO on one role's part of the games: `epochs` passes over the lanes in random minibatches."""
    turns, lanes = seen.acting.shape
    with torch.no_grad():
        value = learner.critic(seen.packed.flatten(0, 1)).unflatten(0, (turns, lanes))
        old, _ = evaluate(learner, seen)
    advantage, target = advantages(seen.reward, value, seen.acting), returns(seen.reward)
    losses: list[Tensor] = []
    for _ in range(config.epochs):
        for some in torch.randperm(lanes, generator=generator, device=generator.device).chunk(config.minibatches):
            part = Experience(*(x[:, some] for x in seen))
            log_prob, entropy = evaluate(learner, part)
            policy = ppo_loss(log_prob, old[:, some], advantage[:, some], part.acting, config.clip)
            learner.step(policy - config.entropy * masked_mean(entropy, part.acting), rate)
            expected = learner.critic(part.packed.flatten(0, 1)).unflatten(0, (turns, -1))
            miss = masked_mean((expected - target[:, some]) ** 2, part.acting)
            descend(learner.critic_optimiser, miss, rate)
            losses.append(torch.stack([policy.detach(), miss.detach(), masked_mean(entropy.detach(), part.acting)]))
    policy_loss, value_loss, nats = torch.stack(losses).mean(0)
    return {"loss": policy_loss, "value_loss": value_loss, "entropy": nats}


def evaluate(learner: Learner, seen: Experience) -> tuple[Tensor, Tensor]:
    """Log probability and entropy of what was said: `turn lane` each."""
    log_prob, entropy = learner.player.evaluate(seen.packed.flatten(0, 1), seen.symbols.flatten(0, 1))
    return log_prob.unflatten(0, seen.acting.shape), entropy.unflatten(0, seen.acting.shape)
