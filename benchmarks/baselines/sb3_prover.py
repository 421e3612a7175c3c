"""Stable-Baselines3's PPO in the prover's seat, against a verifier that no longer learns.

    python -m pvg.benchmarks.baselines.sb3_prover      (--verifier reference, or a checkpoint.pt of `pvg train`)

The verifier is a network that learned from what scripted provers say (`imitation`), trained here in a few seconds. The prover is
paid 1 for every claim that is accepted, true or false. Printed: the shares of true and of false claims accepted from it, before and
after, beside those accepted from the scripted prover, which is honest where the claim is true and cheats where it is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from stable_baselines3 import PPO

from pvg.agent import Agent
from pvg.agents.checkpoint import load_verifier
from pvg.agents.config import TrainConfig
from pvg.agents.imitation import Imitation
from pvg.agents.training import train
from pvg.benchmarks.baselines.sb3_verifier import accepted
from pvg.envs.sb3 import make_vec_env
from pvg.game import Game
from pvg.protocols import ProverVerifier
from pvg.spec import Spec, resolve
from pvg.tasks import Arith


@dataclass(frozen=True)
class Settings:
    """Sizes of the task and of the run."""

    operations: int = 3
    modulus: int = 3
    verifier: str = "imitation"
    """imitation, a scripted agent such as reference, or a checkpoint.pt, whose game is then played."""
    updates: int = 400
    """Of the imitation."""
    steps: int = 100_000
    """Games for the prover to learn from."""
    lanes: int = 256
    seed: int = 0


def opponent(settings: Settings) -> tuple[Spec, Agent | str]:
    """The game, and the verifier in it."""
    spec = resolve(Arith(settings.operations, settings.modulus), ProverVerifier())
    if settings.verifier.endswith(".pt"):
        return load_verifier(Path(settings.verifier))
    if settings.verifier != "imitation":
        return spec, settings.verifier
    phases = (Imitation(updates=settings.updates, seats="verifier"),)
    verifier = train(spec, TrainConfig("mlp", phases=phases, seed=settings.seed), progress=False).verifier
    assert verifier is not None, "the protocol has one"
    return spec, verifier


def scripted(spec: Spec, verifier: Agent | str, games: int, seed: int) -> tuple[float, float]:
    """The shares of true and of false claims accepted from the scripted prover."""
    game = Game(spec, games, seed=seed)
    game.play({"verifier": verifier})
    truth, took = game.field("truth"), (game.field("verdict") == 1).float()
    return float(took[truth == 1].mean()), float(took[truth == 0].mean())


def run(settings: Settings) -> dict[str, float]:
    """Train the prover, and measure before and after."""
    torch.set_num_threads(1)
    spec, verifier = opponent(settings)
    env = make_vec_env(spec.task, settings.lanes, settings.seed, protocol=spec.protocol, role="prover", opponents=verifier)
    sizes: dict[str, Any] = {"n_steps": 4, "batch_size": settings.lanes, "n_epochs": 6, "learning_rate": 3e-3}
    model = PPO("MultiInputPolicy", env, gamma=0, seed=settings.seed, device="cpu", **sizes)
    shares = {"from the scripted prover": scripted(spec, verifier, 8 * settings.lanes, settings.seed)}
    shares["before"] = accepted(model, env)
    model.learn(settings.steps)
    shares["after"] = accepted(model, env)
    return {
        f"{kind} claims accepted {when}": share
        for when, pair in shares.items()
        for kind, share in zip(("true", "false"), pair, strict=True)
    }


def main() -> None:
    for name, value in run(tyro.cli(Settings, description=__doc__)).items():
        print(f"{name:46} {value:.3f}")


if __name__ == "__main__":
    main()
