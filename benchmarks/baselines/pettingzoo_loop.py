"""Prover and verifier as PettingZoo agents, each with its own table of logits and REINFORCE.

    python -m pvg.benchmarks.baselines.pettingzoo_loop

A loop over single games of the parallel environment, in a game small enough for a table with a row for every observation. Whoever
is to speak draws a symbol for each position, and moves its logits by what it was paid beyond its average pay. Printed: the shares
of true and of false claims accepted in the first and in the last tenth of the games, and how often the verdict was right.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tyro
from numpy.typing import NDArray

import pvg


@dataclass(frozen=True)
class Settings:
    """Sizes of the task and of the run."""

    operations: int = 2
    modulus: int = 2
    games: int = 40_000
    learning_rate: float = 1.0
    seed: int = 0


@dataclass
class Table:
    """An agent's logits (`position symbol`) by observation, and what it has been paid on average."""

    choices: NDArray[np.int64]
    rng: np.random.Generator
    rows: dict[bytes, NDArray[np.float64]] = field(default_factory=dict)
    usual: float = 0.0

    def act(self, observation: dict[str, Any]) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
        """The symbols drawn, the logits they were drawn from, and how the log probability changes with them."""
        seen = b"".join(entry.tobytes() for entry in observation.values())
        if seen not in self.rows:
            self.rows[seen] = np.where(np.arange(self.choices.max()) < self.choices[:, None], 0.0, -np.inf)
        logits = self.rows[seen]
        share = np.exp(logits - logits.max(1, keepdims=True))
        share /= share.sum(1, keepdims=True)
        symbols = (share.cumsum(1) < self.rng.random((len(share), 1))).sum(1)
        gradient = -share
        gradient[np.arange(len(symbols)), symbols] += 1
        return symbols, logits, gradient

    def learn(self, logits: NDArray[np.float64], gradient: NDArray[np.float64], reward: float, rate: float) -> None:
        """A step of REINFORCE."""
        logits += rate * (reward - self.usual) * gradient
        self.usual += 0.01 * (reward - self.usual)


def run(settings: Settings) -> dict[str, float]:
    """Play and learn. Returns the shares of the first and of the last tenth."""
    env = pvg.envs.parallel_env(
        "pvg/Arith-v0", protocol="prover_verifier", operations=settings.operations, modulus=settings.modulus
    )
    rng = np.random.default_rng(settings.seed)
    spaces: dict[str, Any] = {agent: env.action_space(agent) for agent in env.possible_agents}
    choices = {agent: np.atleast_1d(space.nvec if hasattr(space, "nvec") else space.n) for agent, space in spaces.items()}
    tables = {agent: Table(choices[agent], rng) for agent in env.possible_agents}
    ends = np.zeros((settings.games, 2), int)  # game (truth, verdict)
    for game in range(settings.games):
        observations, infos = env.reset(seed=settings.seed) if game == 0 else env.reset()
        said: list[tuple[str, Any, Any]] = []
        paid = dict.fromkeys(tables, 0.0)
        while env.agents:
            actions = {}
            for agent in env.agents:
                if infos[agent]["acting"]:
                    symbols, logits, gradient = tables[agent].act(observations[agent])
                    actions[agent] = symbols.reshape(spaces[agent].shape)
                    said.append((agent, logits, gradient))
            observations, rewards, _, _, infos = env.step(actions)
            paid = {agent: paid[agent] + reward for agent, reward in rewards.items()}
        for agent, logits, gradient in said:
            tables[agent].learn(logits, gradient, paid[agent], settings.learning_rate)
        ends[game] = infos["verifier"]["truth"], infos["verifier"]["verdict"]
    tenth = max(1, settings.games // 10)
    parts = {"first": ends[:tenth], "last": ends[-tenth:]}
    return {f"{name}, {when} tenth": value for when, part in parts.items() for name, value in shares(part).items()}


def shares(ends: NDArray[np.int64]) -> dict[str, float]:
    """Of games (`game (truth, verdict)`), the true and the false claims accepted, and the right verdicts."""
    truth, verdict = ends.T
    true, false = (float((verdict[truth == side] == 1).mean()) for side in (1, 0))
    return {"true claims accepted": true, "false claims accepted": false, "right verdicts": float((truth == verdict).mean())}


def main() -> None:
    for name, value in run(tyro.cli(Settings, description=__doc__)).items():
        print(f"{name:36} {value:.3f}")


if __name__ == "__main__":
    main()
