"""Does a small verifier learn to judge every task, at its defaults, in minutes?

    python -m pvg.benchmarks.learnable             (all tasks; add --tasks Arith --out learnable.json)

For each task's first proof under its default protocol (where the verifier would ask, nature tosses the coins): networks of at most
100,000 parameters (`step_check`, which knows of steps, where the proof lists states) learn the truth from games that
scripted provers play, honest where the claim is true. Measured on
statements of the test split: how often the network is right about true claims argued honestly, and about false ones argued by the
scripted provers, which says nothing yet of the best message there is. One thread.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pvg.agents.config import TrainConfig
from pvg.agents.imitation import Imitation
from pvg.agents.networks import VerifierNetwork, widest
from pvg.agents.training import train
from pvg.benchmarks.provenance import provenance
from pvg.game import Game
from pvg.metrics import proportion
from pvg.protocols import InteractiveProof
from pvg.spec import Spec, default_protocol, resolve
from pvg.task import Task, tasks

PARAMETERS, GAMES = 100_000, 20_000
UPDATES = {"mlp": 6000, "transformer": 1500, "step_check": 3000}


def judged(task: Task) -> Spec:
    """The task's first proof, in a game in which the verifier only judges."""
    protocol = default_protocol(task)
    return resolve(task, InteractiveProof(asks="nature") if isinstance(protocol, InteractiveProof) else protocol)


def judge(spec: Spec) -> str:
    """The role in the verifier's seat."""
    return next(role.name for role in spec.roles if role.seat == "verifier")


def learn(task: Task, network: str, seed: int = 0) -> dict[str, Any]:
    """Train one network and measure it."""
    spec = judged(task)
    start = time.process_time()
    phase = Imitation(updates=UPDATES[network], seats="verifier")
    wide = min(256, widest(network, spec, judge(spec), PARAMETERS))
    config = TrainConfig(network=network, width=wide, phases=(phase,), lanes=256, seed=seed)
    verifier = train(replace(spec, split="train"), config, progress=False).verifier
    assert verifier is not None
    seconds = time.process_time() - start
    return {"width": config.width, "cpu_seconds": seconds, **measure(verifier, replace(spec, split="test"), seed)}


def measure(verifier: VerifierNetwork, spec: Spec, seed: int) -> dict[str, Any]:
    """Right verdicts (the likeliest answer) where the side argued is true, and where it is false."""
    game = Game(spec, GAMES, seed=seed)
    prover = next(role.name for role in spec.roles if role.seat == "prover")
    game.advance(game.players(seat=judge(spec)), seat=judge(spec))
    with torch.no_grad():
        answers = torch.cat([verifier.log_probs(part).argmax(1) for part in game.observe(judge(spec)).packed.split(4096)])
    right, argued = answers == game.field("truth"), game.field("side")[:, spec.role_index(prover)] == game.field("truth")
    figures = {
        "true": proportion(right[argued], "honest"),
        "false": proportion(right[~argued], "false sides, scripted"),
    }
    return {name: figure.as_dict() for name, figure in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="*", default=[name for name in tasks if tasks[name]().rules.proofs], help="names of tasks")
    parser.add_argument("--networks", nargs="*", default=list(UPDATES), choices=list(UPDATES), help="architectures")
    parser.add_argument("--out", type=Path, help="a JSON file to write")
    given = parser.parse_args()
    torch.set_num_threads(1)
    start, rows = provenance(), []
    for name in given.tasks:
        spec = judged(tasks[name]())
        assert spec.proof is not None
        for network in given.networks:
            if network == "step_check" and spec.proof.path is None:
                continue
            row = {"task": name, "game": spec.label, "network": network, **learn(tasks[name](), network)}
            rows.append(row)
            rates = [f"{row[side]['value']:.3f}" for side in ("true", "false")]
            print(f"{name:16s} {network:12s} {row['width']:4d} wide   right about true {rates[0]}, false {rates[1]}", end="   ")
            print(f"{row['cpu_seconds']:.0f} s of CPU", flush=True)
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps({"provenance": start, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
