"""What does a verifier know before anybody has said anything?

    python -m pvg.benchmarks.leaks                 (all tasks at their defaults; add --tasks Arith --out leaks.json)

For every task, without a message: the largest Bayes accuracy of all marginals of at most two of the integers the verifier sees; a
linear probe on all of them, one-hot; and the `mlp` network after a million games. The probes are trained on statements of the
train split and measured on those of the test split. `base` is what the most frequent answer alone scores.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

import pvg
from pvg.agents.config import TrainConfig
from pvg.agents.imitation import Imitation
from pvg.agents.networks.mlp import OneHot, column_highs
from pvg.agents.training import train
from pvg.benchmarks.provenance import provenance
from pvg.leaks import marginal_leaks
from pvg.metrics import Figure, proportion
from pvg.protocols import Solo
from pvg.spec import Split, resolve
from pvg.task import Task, tasks

FITTED, SCORED = 100_000, 20_000  # games
EPOCHS, BATCH = 10, 1000
MLP = TrainConfig(network="mlp", phases=(Imitation(updates=1000),), lanes=1000)


def linear_probe(task: Task, seed: int = 0) -> Figure:
    """Accuracy on fresh statements of logistic regression on the one-hot view, fitted by Adam."""
    view = resolve(task, Solo()).view(0)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        probe = OneHot(column_highs(view), task.answers)
        seen, truth = dealt(task, "train", FITTED, seed)
        optimiser = torch.optim.Adam(probe.parameters(), lr=0.02)
        for epoch in range(EPOCHS):
            optimiser.param_groups[0]["lr"] = 0.02 * (1 - epoch / EPOCHS)
            for some in torch.randperm(FITTED).split(BATCH):
                optimiser.zero_grad()
                F.cross_entropy(probe(seen[some]), truth[some]).backward()
                optimiser.step()
    seen, truth = dealt(task, "test", SCORED, seed)
    return proportion(probe(seen).argmax(1) == truth, "fresh statements")


def mlp_probe(task: Task) -> Figure:
    """Accuracy on fresh statements of the `mlp` network, trained on a million."""
    verifier = train(resolve(task, Solo(), split="train"), MLP, progress=False).verifier
    assert verifier is not None
    seen, truth = dealt(task, "test", SCORED, 0)
    with torch.no_grad():
        return proportion(verifier.log_probs(seen).argmax(1) == truth, "fresh statements")


def dealt(task: Task, split: Split, games: int, seed: int) -> tuple[Tensor, Tensor]:
    """What the verifier sees of so many statements, `game column`, and their truth."""
    game = pvg.game(task, "solo", games, seed=seed, split=split)
    return game.observe("verifier").packed, game.field("truth").long()


def measure(task: Task) -> dict[str, Any]:
    """The figures of one task, and a sentence for each."""
    marginal, linear, network = marginal_leaks(task), linear_probe(task), mlp_probe(task)
    figures = {"marginals of two": marginal.accuracy, "linear probe": linear, "MLP": network}
    return {
        "base": marginal.base,
        "figures": {name: figure.as_dict() for name, figure in figures.items()},
        "summary": {"marginals of two": str(marginal), "linear probe": str(linear), "MLP": str(network)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="*", default=list(tasks), help="names of tasks")
    parser.add_argument("--out", type=Path, help="a JSON file to write")
    given = parser.parse_args()
    start, rows = provenance(), {}
    for name in given.tasks:
        rows[name] = measure(tasks[name]())
        print(name, json.dumps(rows[name]["summary"], indent=2), flush=True)
        if given.out:  # each as it comes: a run takes minutes
            given.out.parent.mkdir(parents=True, exist_ok=True)
            given.out.write_text(json.dumps({"provenance": start, "tasks": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
