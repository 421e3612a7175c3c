"""Stable-Baselines3's PPO in the verifier's seat, and how far the verifier it makes can be trusted.

    python -m pvg.benchmarks.baselines.sb3_verifier      (--steps 1000000 for a better one)

It hears a transcript of Arith from a prover that cheats where the claim is false, and is paid 1 for a right verdict, -1 for a wrong
one and 0 for "don't know". Printed: which true and which false claims it accepts from that prover, before and after; then, on
statements it has not met, what an honest prover convinces it of and what the worst message does, every message tried.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import tyro
from stable_baselines3 import PPO
from torch import Tensor

import pvg
from pvg.agent import Observation
from pvg.envs.sb3 import GameVecEnv, make_vec_env
from pvg.envs.spaces import entries, places
from pvg.verifier import with_messages


@dataclass(frozen=True)
class Settings:
    """Sizes of the task and of the run."""

    operations: int = 3
    modulus: int = 3
    steps: int = 200_000
    """Games to learn from."""
    lanes: int = 256
    claims: int = 200
    """How many true and how many false claims the report is about."""
    seed: int = 0


class PolicyVerifier:
    """A policy's probability of the verdict "accept", as `pvg.verifier.Verifier`; "don't know" accepts nothing."""

    def __init__(self, model: PPO) -> None:
        self.policy = model.policy

    @torch.no_grad()
    def verdict(self, statement: Observation, messages: Tensor) -> Tensor:
        """`B K` in [0, 1], for the messages `B K position`."""
        heard = with_messages(statement, messages)
        distribution: Any = self.policy.get_distribution(entries(places(heard.view), heard.packed)).distribution
        accepted: Tensor = distribution.probs[:, 1].reshape(messages.shape[:2])
        return accepted


def accepted(model: PPO, env: GameVecEnv, rounds: int = 8) -> tuple[float, float]:
    """The shares of true and of false claims that are accepted, in games of one step."""
    ends: list[dict[str, Any]] = []
    seen = env.reset()
    for _ in range(rounds):
        seen, _, _, infos = env.step(model.predict(seen)[0])
        ends += infos
    truth, verdict = (np.array([end[name] for end in ends]) for name in ("truth", "verdict"))
    return float((verdict[truth == 1] == 1).mean()), float((verdict[truth == 0] == 1).mean())


def run(settings: Settings) -> dict[str, float]:
    """Train, and measure before and after."""
    torch.set_num_threads(1)
    words: dict[str, Any] = {"operations": settings.operations, "modulus": settings.modulus, "split": "train"}
    env = make_vec_env("pvg/Arith-v0", settings.lanes, settings.seed, **words)
    sizes: dict[str, Any] = {"n_steps": 4, "batch_size": settings.lanes, "n_epochs": 6, "learning_rate": 3e-3}
    model = PPO("MultiInputPolicy", env, gamma=0, ent_coef=0.01, seed=settings.seed, device="cpu", **sizes)
    before = accepted(model, env)
    model.learn(settings.steps)
    after = accepted(model, env)
    counts: dict[str, Any] = {"claims": settings.claims, "validation_claims": settings.claims, "seed": settings.seed}
    found = pvg.evaluate(PolicyVerifier(model), env.games.game.spec, **counts).randomised
    return {
        "true claims accepted before": before[0],
        "false claims accepted before": before[1],
        "true claims accepted after": after[0],
        "false claims accepted after": after[1],
        "completeness": found.completeness.value,
        "best-response soundness error": found.best_response_soundness_error.value,
    }


def main() -> None:
    for name, value in run(tyro.cli(Settings, description=__doc__)).items():
        print(f"{name:32} {value:.3f}")


if __name__ == "__main__":
    main()
