"""Do CPU and GPU play the same games, and how fast? One call for a machine with a CUDA GPU.

    python -m pvg.benchmarks.gpu --out results/gpu.json
    python -m pvg.benchmarks.gpu --dry --out dry.json      (no GPU: PTX for sm_90, and the CUDA simulator at tiny size)

For every registered task with each of its proofs, and every registered protocol on one task: builds every kernel, plays
the same seeds on both devices with random and with default players and compares the records bit for bit, then times the
environment alone (deal and step with given symbols), whole scripted games in one kernel, games in which a small network
decides, and rollouts of learned players as training makes them, with what makes the host wait for the device, if anything does.
Rollouts are not captured in a CUDA graph. Stops before 8 minutes.
Needs torch, numpy, numba, numba-cuda, gymnasium and tyro.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pvg.agent import Observation, Utterance, agents, default_agent
from pvg.agents.config import TrainConfig
from pvg.agents.play import play
from pvg.agents.team import assemble
from pvg.benchmarks.provenance import provenance
from pvg.engine import kernels
from pvg.game import Game
from pvg.protocol import protocols
from pvg.spec import Spec, played
from pvg.task import tasks
from pvg.testing import fitting, on_two_tasks

DEADLINE = 480.0  # seconds
COMPARED, TIMED = 4096, 2**20  # lanes


class Policy(nn.Module):
    """A two-layer network of 64 over the packed observation, choosing each symbol by Gumbel-argmax."""

    def __init__(self, spec: Spec, role: int, device: str) -> None:
        super().__init__()
        self.choices = [int(n) for n in spec.choices(role)]
        self.body = nn.Sequential(nn.Linear(spec.view(role).width, 64), nn.ReLU(), nn.Linear(64, sum(self.choices)))
        self.to(device)

    @torch.no_grad()
    def act(self, observation: Observation, acting: Tensor) -> Utterance:
        logits = self.body(observation.packed.float())
        noisy = logits - torch.empty_like(logits).exponential_().log()
        return Utterance(torch.stack([part.argmax(1) for part in noisy.split(self.choices, dim=1)], dim=1).int())


def specs() -> list[Spec]:
    """Every registered task at its defaults with each of its proofs, and every registered protocol on one task."""
    every = [spec for name in tasks for spec in fitting(tasks[name]())]
    own = (spec for name in tasks for spec in played(tasks[name]()))
    return list(dict.fromkeys([*own, *(on_two_tasks(protocols[name], every)[0] for name in protocols)]))


def casts(spec: Spec) -> dict[str, dict[str, Any]]:
    """The players the comparison is made with."""
    default = {role.name: default_agent(spec, i) for i, role in enumerate(spec.roles)}
    return {"default": default, "random": {role.name: agents["random"] for role in spec.roles}}


def same_records(spec: Spec, lanes: int, device: str) -> bool:
    """Whether two games a lane end in the same records, rewards and observations on the CPU and on the device."""
    alike = True
    for cast in casts(spec).values():
        here, there = Game(spec, lanes, "cpu", seed=1), Game(spec, lanes, device, seed=1)
        for _ in range(2):
            rewards = here.play(cast), there.play(cast).cpu()
        alike &= torch.equal(here.bytes, there.bytes.cpu()) and torch.equal(*rewards)
        alike &= all(torch.equal(here.observe(r).packed, there.observe(r).packed.cpu()) for r in range(len(spec.roles)))
    return alike


def seconds(work: Callable[[], Any], repeats: int = 7) -> float:
    """The median time of a call on the current GPU, after two that do not count."""
    times = []
    for _ in range(repeats + 2):
        torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:])


def speeds(spec: Spec, lanes: int) -> dict[str, float]:
    """Lane-steps or games a second on the GPU, by what is in the loop."""
    game = Game(spec, lanes, "cuda", seed=0)
    said = torch.zeros_like(game.actions)

    def environment() -> None:
        game.redeal()
        for _ in range(spec.turns):
            game.step(said)

    learned = {role.name: Policy(spec, i, "cuda") for i, role in enumerate(spec.roles)}
    return {
        "environment_steps_per_s": lanes * spec.turns / seconds(environment),
        "scripted_games_per_s": lanes / seconds(lambda: game.play(casts(spec)["default"])),
        "policy_games_per_s": lanes / seconds(lambda: game.play(learned)),
        "bytes_per_lane": float(spec.dtype.itemsize),
    }


def rollouts(spec: Spec, lanes: int) -> dict[str, Any]:
    """Games a second of a rollout for learning on the GPU, and the first thing in it that the host waits for."""
    game, team = Game(spec, lanes, "cuda", seed=0), assemble(spec, TrainConfig("mlp", width=64, lanes=lanes, device="cuda"))
    cast = game.players(team.players)

    def rollout() -> None:
        game.redeal()
        play(game, cast, team.learners)

    rollout()  # builds what is built once
    torch.cuda.set_sync_debug_mode("error")
    try:
        rollout()
        waits = "nothing"
    except RuntimeError as error:
        waits = str(error).splitlines()[0]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return {"rollout_waits_for": waits, "rollout_games_per_s": lanes / seconds(rollout)}


def built(number: int) -> dict[str, Any]:
    """How many kernels of a game, by its place in `specs`, make PTX."""
    spec = specs()[number]
    return {"game": label(spec), "kernels": len(kernels(spec, tuple(casts(spec)["default"].values())).all_ptx())}


def dry_run() -> list[dict[str, Any]]:
    """Without a GPU: every kernel to PTX for sm_90, then this script's comparison in the CUDA simulator."""
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        rows = list(pool.map(built, range(len(specs()))))
    simulator = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run([sys.executable, "-m", __spec__.name, "--simulated"], env=simulator, check=True, capture_output=True)
    alike = json.loads(done.stdout.splitlines()[-1])
    return [{**row, "same_records": alike[row["game"]]} for row in rows]


def label(spec: Spec) -> str:
    return f"{type(spec.task).__name__} {spec.label}"


def run() -> list[dict[str, Any]]:
    """On a GPU: build, compare, time; games that no time is left for are named as left out."""
    rows: list[dict[str, Any]] = []
    start = time.monotonic()
    for spec in specs():
        if time.monotonic() - start > 0.85 * DEADLINE:
            rows.append({"game": label(spec), "left_out": "no time left"})
            continue
        built = time.monotonic()
        row: dict[str, Any] = {"game": label(spec), "same_records": same_records(spec, COMPARED, "cuda")}
        row["seconds_to_build_and_compare"] = time.monotonic() - built
        rows.append(row | speeds(spec, TIMED) | rollouts(spec, COMPARED))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("gpu.json"), help="the JSON file to write")
    parser.add_argument("--dry", action="store_true", help="no GPU: compile to PTX, run the simulator at tiny size")
    parser.add_argument("--simulated", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.simulated:
        print(json.dumps({label(spec): same_records(spec, 3, "cuda") for spec in specs()}))
        return
    if not given.dry and not torch.cuda.is_available():
        parser.error("torch finds no CUDA device on this machine; --dry needs none")
    rows = dry_run() if given.dry else run()
    result = {"provenance": provenance("cpu" if given.dry else "cuda"), "dry": given.dry, "games": rows}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=2) + "\n")
    for row in rows:
        print("  ".join(f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}" for name, value in row.items()))
    if not all(row.get("same_records", True) for row in rows):
        sys.exit("CPU and CUDA records differ")


if __name__ == "__main__":
    main()
