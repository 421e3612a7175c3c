"""How much faster does Stable-Baselines3 get with thousands of lanes of one game than with its own eight environments?

    python -m pvg.benchmarks.sb3 --out benchmarks/results/sb3.json      (about seven minutes)

Samples (steps of one seat of Arith) a second of CPU time on one thread, of `pvg.envs.sb3.make_vec_env` with 256, 1,024 and 4,096
lanes and of Stable-Baselines3's `make_vec_env` with 8 environments (its DummyVecEnv), which take turns within each round.
Figures are medians over rounds, ratios medians of ratios within a round.

Measured: `steps`, with random actions drawn before; `steps, infos read`, where every lane's info is looked at too, as all its
algorithms do; `collection`, PPO's rollouts, with its policy and its buffer; `learning`, whole PPO, everybody with the same
rollouts of 4,096 samples and 4 passes of minibatches of 2,048; `learning, wide`, ours with rollouts of 16,384 samples and 4
passes of minibatches of 4,096, theirs as PPO comes: rollouts of 16,384 samples and 10 passes of minibatches of 64; `learning,
one pass`, the same but ours with one pass of one minibatch. In the last two the optimiser makes fewer steps of as many samples:
they say how fast samples are learned from, and not how soon something is learned.

Claimed, with 1,024 lanes or more: steps are 30 times as fast, and learning, wide, is 20 times. Not claimed: 20 times in collection,
which comes near it, since a dict a lane, which its algorithms read, costs more than the lane's game, and the policy's pass as much
again; nor in learning with the same settings, where most of the time goes to the networks.
"""

from __future__ import annotations

import argparse
import json
import statistics
import warnings
from collections.abc import Callable
from importlib.metadata import version
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common import env_util
from stable_baselines3.common.vec_env import VecEnv

import pvg  # noqa: F401  registers the ids
from pvg.benchmarks.provenance import provenance
from pvg.benchmarks.selfplay import Work, measure
from pvg.envs.sb3 import make_vec_env

ID, SEED, LANES = "pvg/Arith-v0", 0, (256, 1024, 4096)
SAME = {"samples": 4096, "batch_size": 2048, "n_epochs": 4}
WIDE = {"samples": 16384, "batch_size": 4096, "n_epochs": 4}
ONE_PASS = {"samples": 16384, "batch_size": 16384, "n_epochs": 1}
DEFAULTS = {"samples": 16384, "batch_size": 64, "n_epochs": 10}
THEIRS = "8 environments"


def environments(role: str) -> dict[str, VecEnv]:
    """Everybody's environments of a seat, by name; theirs is the first."""
    found: dict[str, VecEnv] = {THEIRS: env_util.make_vec_env(ID, 8, seed=SEED, env_kwargs={"role": role})}
    return found | {f"{lanes} lanes": make_vec_env(ID, lanes, seed=SEED, role=role) for lanes in LANES}


def steps(env: VecEnv, read: bool) -> Work:
    """A hundred steps with random actions, with a look at every info if `read`. Returns the samples."""
    env.reset()
    drawn = cycle([np.stack([env.action_space.sample() for _ in range(env.num_envs)]) for _ in range(8)])

    def work() -> int:
        for _ in range(100):
            infos = env.step(next(drawn))[3]
            if read:
                for _ in infos:
                    pass
        return 100 * env.num_envs

    return work


def model(env: VecEnv, samples: int, batch_size: int, n_epochs: int) -> PPO:
    """PPO with rollouts of so many samples."""
    sizes: dict[str, Any] = {"n_steps": samples // env.num_envs, "batch_size": batch_size, "n_epochs": n_epochs}
    return PPO("MultiInputPolicy", env, seed=SEED, device="cpu", **sizes)


def collection(env: VecEnv) -> Work:
    """One rollout of PPO without learning from it. Returns the samples."""
    learner = model(env, **SAME)
    _, callback = learner._setup_learn(0, None)
    callback.on_training_start({}, {})

    def work() -> int:
        learner.collect_rollouts(env, callback, learner.rollout_buffer, learner.n_steps)
        return SAME["samples"]

    return work


def learning(env: VecEnv, settings: dict[str, int]) -> Work:
    """One rollout of PPO and all passes over it. Returns the samples."""
    learner = model(env, **settings)

    def work() -> int:
        learner.learn(settings["samples"], reset_num_timesteps=False)
        return settings["samples"]

    return work


MEASURES: dict[str, Callable[[str, VecEnv], Work]] = {
    "steps": lambda name, env: steps(env, read=False),
    "steps, infos read": lambda name, env: steps(env, read=True),
    "collection": lambda name, env: collection(env),
    "learning": lambda name, env: learning(env, SAME),
    "learning, wide": lambda name, env: learning(env, DEFAULTS if name == THEIRS else WIDE),
    "learning, one pass": lambda name, env: learning(env, DEFAULTS if name == THEIRS else ONE_PASS),
}


def row(role: str, name: str, rounds: int, seconds: float) -> dict[str, Any]:
    """The figures of a measure in a seat."""
    rates = measure({who: MEASURES[name](who, env) for who, env in environments(role).items()}, rounds, seconds)
    ratios = {who: [a / b for a, b in zip(values, rates[THEIRS], strict=True)] for who, values in rates.items() if who != THEIRS}
    return {
        "seat": role,
        "measure": name,
        "samples_per_cpu_s": {who: statistics.median(values) for who, values in rates.items()},
        "ratio": {who: statistics.median(values) for who, values in ratios.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each contestant in a round")
    parser.add_argument("--only", default="", help="measures whose name contains this")
    parser.add_argument("--out", type=Path, help="a JSON file to write")
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", ".*render_mode='rgb_array'")  # it asks for pictures first
    settings = {"learning": SAME, "learning, wide": WIDE, "learning, one pass": ONE_PASS, "theirs, in those two": DEFAULTS}
    result: dict[str, Any] = {
        "provenance": provenance() | {"stable_baselines3": version("stable-baselines3")},
        "env": ID,
        "seed": SEED,
        "threads": 1,
        "ppo": settings,
        "rows": [],
    }
    for role in ("verifier", "prover"):
        for name in MEASURES:
            if given.only in name:
                result["rows"].append(found := row(role, name, given.rounds, given.seconds))
                each = found["samples_per_cpu_s"].items()
                shown = "  ".join(f"{who}: {rate:,.0f} ({found['ratio'].get(who, 1):.1f}x)" for who, rate in each)
                print(f"{role:8} {name:18}", shown, flush=True)
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
