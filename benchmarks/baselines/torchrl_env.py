"""TorchRL on a batch of games: its rollouts, its actor and its clipped PPO loss, in the verifier's seat.

    python -m pvg.benchmarks.baselines.torchrl_env      (needs torchrl: pip install torchrl)

TorchRL resets finished lanes itself, so that `GymWrapper` takes the vector environment with the autoreset mode DISABLED. The
prover cheats where the claim is false. Printed, every tenth of the run: the mean return of a game, which is 1 for a right verdict,
-1 for a wrong one and 0 for "don't know".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium
import torch
import tyro
from tensordict.nn import InteractionType, TensorDictModule
from torch import Tensor, nn
from torch.nn.functional import one_hot
from torchrl.envs import GymWrapper
from torchrl.modules import ProbabilisticActor, ValueOperator
from torchrl.objectives import ClipPPOLoss

import pvg  # noqa: F401  registers the ids


@dataclass(frozen=True)
class Settings:
    """Sizes of the task and of the run."""

    operations: int = 3
    modulus: int = 3
    steps: int = 200_000
    lanes: int = 256
    epochs: int = 6
    learning_rate: float = 3e-3
    width: int = 64
    seed: int = 0


class OneHot(nn.Module):
    """The entries of an observation, all of them categories, one-hot in a row: `lane feature`."""

    def __init__(self, sizes: list[int], width: int, out: int) -> None:
        super().__init__()
        self.sizes = sizes
        self.layers = nn.Sequential(nn.LazyLinear(width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, out))

    def forward(self, *seen: Tensor) -> Tensor:
        rows = [one_hot(entry.long(), size).flatten(-2).float() for entry, size in zip(seen, self.sizes, strict=True)]
        out: Tensor = self.layers(torch.cat(rows, -1))
        return out


def environment(settings: Settings) -> tuple[Any, Any]:
    """The games as Gymnasium's vector environment, and around it TorchRL's, a batch of as many as there are lanes."""
    sizes: dict[str, Any] = {"operations": settings.operations, "modulus": settings.modulus}
    games = gymnasium.make_vec("pvg/Arith-v0", num_envs=settings.lanes, autoreset_mode="DISABLED", **sizes)
    env = GymWrapper(games, categorical_action_encoding=True)
    env.set_seed(settings.seed)
    return games, env


def run(settings: Settings) -> list[float]:
    """Train. Returns the mean return of each tenth of the run."""
    torch.set_num_threads(1)
    torch.manual_seed(settings.seed)
    games, env = environment(settings)
    one: Any = games.single_observation_space
    sizes = [int(space.nvec.max()) for space in one.values()]
    names, choices = [*one], int(games.single_action_space.n)
    actor = ProbabilisticActor(
        TensorDictModule(OneHot(sizes, settings.width, choices), names, ["logits"]),
        in_keys=["logits"],
        distribution_class=torch.distributions.Categorical,
        default_interaction_type=InteractionType.RANDOM,  # the most likely action otherwise, outside of its collectors
        return_log_prob=True,
    )
    critic = ValueOperator(OneHot(sizes, settings.width, 1), names)
    actor(start := env.reset())
    critic(start)
    loss = ClipPPOLoss(actor, critic, entropy_coeff=0.01, normalize_advantage=True)
    loss.make_value_estimator(gamma=1.0, lmbda=0.95)
    optimiser = torch.optim.Adam(loss.parameters(), settings.learning_rate)
    returns: list[float] = []
    for _ in range(max(10, settings.steps // (4 * settings.lanes))):
        with torch.no_grad():  # a verifier's game is one step, so that no rollout breaks one off
            batch = env.rollout(4, actor, break_when_any_done=False)
            loss.value_estimator(batch, params=loss.critic_network_params, target_params=loss.target_critic_network_params)
        rows = batch.reshape(-1)
        for _ in range(settings.epochs):
            for some in torch.randperm(len(rows)).chunk(4):
                parts = loss(rows[some])
                optimiser.zero_grad()
                (parts["loss_objective"] + parts["loss_critic"] + parts["loss_entropy"]).backward()
                nn.utils.clip_grad_norm_(loss.parameters(), 0.5)
                optimiser.step()
        returns.append(float(batch["next", "reward"].sum() / batch["next", "done"].sum().clamp(min=1)))
    tenth = len(returns) // 10
    return [sum(returns[k * tenth : (k + 1) * tenth]) / tenth for k in range(10)]


def main() -> None:
    for mean in run(tyro.cli(Settings, description=__doc__)):
        print(f"return {mean:6.3f}")


if __name__ == "__main__":
    main()
