"""Proximal policy optimisation in one file of plain torch, in any seat of any of the games.

    python -m pvg.benchmarks.baselines.single_file_ppo      (--role prover; --task BugHunt --steps 2000000)

The vector environment hands over tensors, so that no step leaves torch. Printed, every tenth of the run: the mean return of a game,
and the shares of true and of false claims that were accepted. Other players are the default ones: provers cheat where the claim is
false, and the verifier is the reference.
Source: Schulman et al. 2017; the details that matter as CleanRL lists them (Huang et al. 2022).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import torch
import tyro
from torch import Tensor, nn
from torch.distributions import Categorical
from torch.nn.functional import one_hot, pad

import pvg  # noqa: F401  registers the ids


@dataclass(frozen=True)
class Settings:
    """What is learned, and how."""

    task: str = "Arith"
    sizes: str = '{"operations": 3, "modulus": 3}'
    """The task's parameters, and what else `gymnasium.make_vec` is to be given, as JSON."""
    role: str = "verifier"
    steps: int = 300_000
    lanes: int = 256
    rollout: int = 4
    """Steps of a lane between two updates."""
    epochs: int = 6
    minibatches: int = 4
    learning_rate: float = 3e-3
    gamma: float = 1.0
    gae_lambda: float = 0.95
    clip: float = 0.2
    entropy: float = 0.01
    width: int = 64
    seed: int = 0


class Policy(nn.Module):
    """Actor and critic on one-hot observations; a message's positions are drawn apart from each other."""

    def __init__(self, spaces: gymnasium.spaces.Dict, action: Any, width: int) -> None:
        super().__init__()
        self.spaces, self.choices = spaces, [*np.atleast_1d(action.nvec if hasattr(action, "nvec") else action.n)]
        seen = self.features({name: torch.from_numpy(space.sample()[None]) for name, space in spaces.items()}).shape[1]

        def network(out: int) -> nn.Sequential:
            return nn.Sequential(nn.Linear(seen, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, out))

        self.actor, self.critic = network(sum(self.choices)), network(1)
        for last in self.actor[-1].parameters():
            last.data.mul_(0.01)

    def features(self, observation: dict[str, Tensor]) -> Tensor:
        """`lane feature`: categories one-hot, numbers between 0 and 1."""
        parts = []
        for name, entry in observation.items():
            space: Any = self.spaces[name]
            if isinstance(space, gymnasium.spaces.MultiDiscrete):
                parts.append(one_hot(entry.long(), int(space.nvec.max())).flatten(1).float())
            else:
                parts.append(entry.flatten(1) / float(space.high.max()))
        return torch.cat(parts, 1)

    def forward(self, features: Tensor) -> tuple[Categorical, Tensor]:
        """The distributions of a symbol at each position, and the value (`lane`)."""
        logits = self.actor(features).split(self.choices, 1)
        padded = [pad(part, (0, max(self.choices) - part.shape[1]), value=-1e9) for part in logits]
        return Categorical(logits=torch.stack(padded, 1)), self.critic(features)[:, 0]


def advantages(rewards: Tensor, values: Tensor, dones: Tensor, gamma: float, gae_lambda: float) -> Tensor:
    """Generalised advantage estimates, `step lane`, from `values` of one step more; nothing flows across the end of a game."""
    found, carried = torch.zeros_like(rewards), torch.zeros_like(rewards[0])
    for t in reversed(range(len(rewards))):
        on = gamma * (~dones[t]).float()
        carried = rewards[t] + on * values[t + 1] - values[t] + on * gae_lambda * carried
        found[t] = carried
    return found


def run(settings: Settings) -> list[dict[str, float]]:
    """Train. Returns the figures of each tenth of the run."""
    torch.set_num_threads(1)
    torch.manual_seed(settings.seed)
    words = {"role": settings.role, "backend": "torch", **json.loads(settings.sizes)}
    env: Any = gymnasium.make_vec(f"pvg/{settings.task}-v0", num_envs=settings.lanes, **words)
    policy = Policy(env.single_observation_space, env.single_action_space, settings.width)
    optimiser = torch.optim.Adam(policy.parameters(), settings.learning_rate, eps=1e-5)
    updates = max(10, settings.steps // (settings.lanes * settings.rollout))
    features = policy.features(env.reset(seed=settings.seed)[0])
    rows: list[dict[str, float]] = []
    paid, games, ends = 0.0, 0, torch.zeros(2, 2)  # truth (games, accepted)
    for update in range(updates):
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * (1 - update / updates)
        kept: list[tuple[Tensor, ...]] = []
        with torch.no_grad():
            for _ in range(settings.rollout):
                drawn, value = policy(features)
                symbols = drawn.sample()
                observation, reward, done, _, infos = env.step(symbols.reshape(env.action_space.shape))
                kept.append((features, symbols, drawn.log_prob(symbols).sum(1), value, reward, done))
                features = policy.features(observation)
                paid, games = paid + float(reward.sum()), games + int(done.sum())
                if "final_info" in infos:
                    truth, verdict = (infos["final_info"][name][done].long() for name in ("truth", "verdict"))
                    ends[:, 0] += torch.bincount(truth, minlength=2)
                    ends[:, 1] += torch.bincount(truth[verdict == 1], minlength=2)
            seen, said, old, values, rewards, dones = (torch.stack(column) for column in zip(*kept, strict=True))
            values = torch.cat([values, policy(features)[1][None]])
        advantage = advantages(rewards, values, dones, settings.gamma, settings.gae_lambda)
        data = [part.flatten(0, 1) for part in (seen, said, old, advantage, advantage + values[:-1])]
        for _ in range(settings.epochs):
            for some in torch.randperm(len(data[0])).chunk(settings.minibatches):
                x, a, before, gain, target = (part[some] for part in data)
                drawn, value = policy(x)
                gain = (gain - gain.mean()) / (gain.std() + 1e-8)
                ratio = (drawn.log_prob(a).sum(1) - before).exp()
                surrogate = torch.minimum(ratio * gain, ratio.clamp(1 - settings.clip, 1 + settings.clip) * gain)
                loss = -surrogate.mean() + (value - target).square().mean() - settings.entropy * drawn.entropy().sum(1).mean()
                optimiser.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(policy.parameters(), 0.5)
                optimiser.step()
        if (update + 1) * 10 // updates > len(rows):
            false, true = (ends[:, 1] / ends[:, 0]).tolist()
            rows.append({"return": paid / max(1, games), "true claims accepted": true, "false claims accepted": false})
            paid, games, ends = 0.0, 0, torch.zeros(2, 2)
    return rows


def main() -> None:
    for row in run(tyro.cli(Settings, description=__doc__)):
        print("  ".join(f"{name} {value:6.3f}" for name, value in row.items()))


if __name__ == "__main__":
    main()
