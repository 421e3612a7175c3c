"""Verifying against solving: how deep must a network be to follow a word of length n alone, and to check a transcript of it?

    python -m pvg.benchmarks.papers.verifying_against_solving --out benchmarks/papers/results

Following a point through n permutations of five points is complete for NC1 (Barrington 1989); checking one step of it is one
look-up. The same perceptrons (width 128, one to four hidden layers) with the same games learn to judge `WordProblem` claims alone
(`solo`), hearing the prover's transcript (`proof`), and as the judge of a prover and a challenger who halve the word until one
step is left (`bisection`). Provers and challengers are scripted, honest where what they argue is true. `step_check` is the network
that knows of steps, hearing the transcript. Accuracy is of the likeliest verdict on statements of the test split.

Claimed, of the means over seeds:
- `alone_at_chance`: at n = 4 no depth is right about more than 0.55 of claims alone;
- `proof_of_two`: at n = 2 depth 2 is right about at least 0.95 hearing the transcript, and about at most 0.8 alone;
- `steps_at_any_length`: the step check is right about at least 0.98 at every length, n = 16 included.
Not claimed: that what is not learned from so many games cannot be learned or represented; that depth is what is missing where a
perceptron fails on long transcripts.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pvg.agents.config import TrainConfig, plain
from pvg.agents.imitation import Imitation
from pvg.agents.networks import VerifierNetwork
from pvg.agents.report import canvas
from pvg.agents.training import Diverged, train
from pvg.benchmarks.papers.results import over_seeds, save
from pvg.benchmarks.provenance import provenance
from pvg.game import Game
from pvg.protocol import Protocol
from pvg.protocols import Bisection, ProverVerifier, Solo
from pvg.spec import Spec, resolve
from pvg.tasks import WordProblem

PROTOCOLS: dict[str, Protocol] = {"solo": Solo(), "proof": ProverVerifier(), "bisection": Bisection()}
DEPTHS, LENGTHS, LONG = (1, 2, 4), (2, 4), (2, 4, 16)
UPDATES, LANES = 1200, 1024
GAMES = 5000  # of the measurement
CLAIMED = ("alone_at_chance", "proof_of_two", "steps_at_any_length")


def config(network: str, layers: int, seed: int) -> TrainConfig:
    """How a judge learns."""
    updates, lanes = (UPDATES, LANES) if network == "mlp" else (1000, 256)
    width = 128 if network == "mlp" else 64
    phases = (Imitation(updates=updates, seats="verifier"),)
    return TrainConfig(network, width=width, layers=layers, lanes=lanes, phases=phases, seed=seed)


def run(arm: str, network: str, layers: int, length: int, seed: int) -> dict[str, Any]:
    """A judge trained and measured, as a row of the result."""
    spec, start = resolve(WordProblem(length=length), PROTOCOLS[arm]), time.process_time()
    row = {"arm": arm, "network": network, "layers": layers, "length": length, "seed": seed}
    try:
        judge = train(replace(spec, split="train"), config(network, layers, seed), progress=False).verifier
    except Diverged as error:
        return row | {"diverged": str(error)}
    assert judge is not None
    return row | {"accuracy": accuracy(judge, spec, seed), "cpu_seconds": time.process_time() - start}


@torch.no_grad()
def accuracy(judge: VerifierNetwork, spec: Spec, seed: int) -> float:
    """The share of right likeliest verdicts in games of the test split."""
    game, seat = Game(replace(spec, split="test"), GAMES, seed=seed), spec.roles[judge.role].name
    game.advance(game.players(seat=seat), seat=seat)
    answers = judge.log_probs(game.observe(seat).packed).argmax(1)
    return float((answers == game.field("truth")).float().mean())


def means(rows: list[dict[str, Any]]) -> dict[tuple[str, str, int, int], float]:
    """By arm, network, layers and length, the mean accuracy over seeds."""
    cells: dict[tuple[str, str, int, int], list[float]] = {}
    for row in rows:
        cells.setdefault((row["arm"], row["network"], row["layers"], row["length"]), []).append(row["accuracy"])
    return {cell: over_seeds(values).value for cell, values in cells.items()}


def claims_of(rows: list[dict[str, Any]]) -> dict[str, bool]:
    """Which claims hold; none does if a run diverged."""
    if any("diverged" in row for row in rows):
        return dict.fromkeys(CLAIMED, False)
    found = means(rows)
    alone = [value for (arm, *_, length), value in found.items() if arm == "solo" and length >= 4]
    steps = [value for (_, network, *_), value in found.items() if network == "step_check"]
    return dict(
        zip(
            CLAIMED,
            (max(alone) <= 0.55, found["proof", "mlp", 2, 2] >= 0.95 and found["solo", "mlp", 2, 2] <= 0.8, min(steps) >= 0.98),
            strict=True,
        )
    )


def figure(rows: list[dict[str, Any]], path: Path) -> None:
    """Accuracy against length, a panel an arm, a line a depth; every seed a point."""
    shown = canvas((12, 3.6))
    panels = dict(zip(PROTOCOLS, shown.subplots(1, len(PROTOCOLS), sharey=True), strict=True))
    for k, (network, layers) in enumerate([*(("mlp", depth) for depth in DEPTHS), ("step_check", 2)]):
        for arm, axes in panels.items():
            mine = [
                row for row in rows if (row["arm"], row["network"], row["layers"]) == (arm, network, layers) and "accuracy" in row
            ]
            label = f"{network}, {layers} layer{'s' if layers > 1 else ''}"
            axes.plot([row["length"] for row in mine], [row["accuracy"] for row in mine], "o", color=f"C{k}", label=label)
    for arm, axes in panels.items():
        axes.set(title=arm, xscale="log", xlabel="length n", ylim=(0.4, 1.02))
    panels["solo"].set_ylabel("right verdicts")
    panels["proof"].legend(fontsize=8)
    shown.savefig(path, dpi=150)


def cells() -> list[tuple[str, str, int, int]]:
    """What is measured: arm, network, layers, length."""
    perceptrons = [(arm, "mlp", depth, n) for arm in ("solo", "proof") for depth in DEPTHS for n in LENGTHS]
    return perceptrons + [("bisection", "mlp", 2, n) for n in LENGTHS] + [("proof", "step_check", 2, n) for n in LONG]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=int, default=100, help="the first seed")
    parser.add_argument("--seeds", type=int, default=3, help="how many: a seed takes minutes")
    parser.add_argument("--out", type=Path, help="folder for verifying_against_solving.json and .png")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows, made_by = [], provenance()
    for cell in cells():
        for seed in range(given.first, given.first + given.seeds):
            rows.append(run(*cell, seed))
            print(rows[-1], flush=True)
    held = claims_of(rows)
    print(held)
    if given.out:
        configs = {f"{network}, {layers} layers": plain(config(network, layers, given.first)) for _, network, layers, _ in cells()}
        save(given.out, "verifying_against_solving", made_by, configs, held, rows)
        figure(rows, given.out / "verifying_against_solving.png")


if __name__ == "__main__":
    main()
