"""How fast is the engine beside Gymnasium's own CartPole, in the same run on the same machine?

    python -m pvg.benchmarks.throughput            (add --out results/throughput.json to keep the figures)

Claims: dealing and playing 16,384 lanes of Arith, at least twice the steps a second of Gymnasium's NumPy CartPole-v1 vector
environment; one lane through `gym.make`, within twice CartPole's time a step. Rounds of all contestants alternate, so
that a machine that slows down slows all of them; figures are medians over rounds, ratios are medians of ratios within a round.
A step is one message or verdict in one lane.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch

import pvg
from pvg.benchmarks.provenance import provenance
from pvg.game import Game
from pvg.spec import Spec

LANES = 16_384


def engine(threads: int, scripted: bool) -> Callable[[], int]:
    """Deal and play every lane once: with given symbols, or with the default players in the loop. Returns the steps made."""
    game = pvg.game("Arith", num_envs=LANES, seed=0)
    game.actions.random_(0, 2, generator=torch.Generator().manual_seed(0))

    def play() -> int:
        torch.set_num_threads(threads)
        if scripted:
            game.play()
        else:
            game.redeal()
            game.step()
            game.step()
        return 2 * LANES

    return play


def cartpole_vector() -> Callable[[], int]:
    """Gymnasium's NumPy CartPole, one step in every lane."""
    envs = gymnasium.make_vec("CartPole-v1", num_envs=LANES, vectorization_mode="vector_entry_point")
    envs.reset(seed=0)
    actions = np.random.default_rng(0).integers(0, 2, LANES)

    def step() -> int:
        envs.step(actions)
        return LANES

    return step


def single(env_id: str, steps: int = 2000, **settings: Any) -> Callable[[], int]:
    """Steps of one environment through `gym.make`, with its resets."""
    env = gymnasium.make(env_id, **settings)
    env.reset(seed=0)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(steps)]

    def play() -> int:
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()
        return steps

    return play


def whole_games(spec: Spec) -> Callable[[], int]:
    """Deal and play every lane of a game once, with the default players. Returns the steps made."""
    game = Game(spec, LANES, seed=0)

    def play() -> int:
        game.play()
        return int(game.field("elapsed").sum())

    return play


def measure(contestants: dict[str, Callable[[], int]], rounds: int, seconds: float) -> dict[str, list[float]]:
    """Steps a second of each contestant in each round, after one round that does not count."""
    found: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name, work in contestants.items():
            steps, start = work(), time.perf_counter()
            steps = 0
            while (spent := time.perf_counter() - start) < seconds:
                steps += work()
            if number > 0:
                found[name].append(steps / spent)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.3, help="of each contestant in a round")
    parser.add_argument("--out", type=Path, help="a JSON file to write")
    given = parser.parse_args()
    contestants = {
        "CartPole-v1, Gymnasium's NumPy vector env": cartpole_vector(),
        "Arith, deal and play, 1 thread": engine(1, scripted=False),
        "Arith, deal and play, 2 threads": engine(2, scripted=False),
        "Arith, default players in the loop, 2 threads": engine(2, scripted=True),
        "CartPole-v1, one lane through gym.make": single("CartPole-v1"),
        "Arith, one lane through gym.make": single("pvg/Arith-v0"),
    }
    rates = measure(contestants, given.rounds, given.seconds)
    peers = [name for name in rates if name.startswith("CartPole")]
    rows = {}
    for name, values in rates.items():
        peer = peers["one lane" in name]
        ratio = statistics.median(a / b for a, b in zip(values, rates[peer], strict=True))
        rows[name] = {"steps_per_s": statistics.median(values), "ratio_to_cartpole": ratio}
        print(f"{name:48s} {rows[name]['steps_per_s'] / 1e6:8.3f} M steps/s   x{ratio:.2f} CartPole")
    games = rows["Arith, deal and play, 2 threads"]["steps_per_s"] / 2
    size = pvg.game("Arith").spec.dtype.itemsize
    print(f"Arith: {games / 1e6:.1f} M games/s, {size} bytes a lane; CartPole's resets are in its figures as Arith's deals are")
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps({"provenance": provenance(), "lanes": LANES, "figures": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
