"""Environments in forked processes and in threads."""

from __future__ import annotations

import subprocess
import sys


def run(code: str) -> str:
    """What a process of its own prints, where a crash is only a failed test."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


PARALLEL = """
import torch
torch.set_num_threads(2)
import gymnasium as gym, numpy as np, pvg
big = gym.make_vec("pvg/Arith-v0", num_envs=5000)
big.reset(seed=1)
big.step(np.ones(5000, int))
"""


def test_forked_workers_play_after_parallel_kernels_ran_in_the_parent():
    code = f"""{PARALLEL}
def main():
    games = []
    for mode in ("async", "sync"):
        env = gym.make_vec("pvg/Arith-v0", num_envs=2, vectorization_mode=mode)
        played = [env.reset(seed=5)[0], *(env.step(np.array([0, 1]))[1].tolist() for _ in range(4))]
        games.append(str(played))
        env.close()
    assert games[0] == games[1]
    print("played")
main()
"""
    assert run(code).split() == ["played"]


def test_four_threads_step_four_environments():
    # Numba's workqueue layer ends a process in which two threads run a parallel kernel at once.
    code = f"""import os
os.environ["NUMBA_THREADING_LAYER"] = "workqueue"
{PARALLEL}
from concurrent.futures import ThreadPoolExecutor
def play(job):
    seed, lanes = job
    env = gym.make_vec("pvg/Arith-v0", num_envs=lanes)
    env.reset(seed=seed)
    return sum(float(env.step(np.ones(lanes, int))[1].sum()) for _ in range(20))
jobs = [(0, 5000), (1, 5000), (2, 3), (3, 3)]
with ThreadPoolExecutor(4) as pool:
    together = list(pool.map(play, jobs))
assert together == [play(job) for job in jobs]
print("played")
"""
    assert run(code).split() == ["played"]
