"""Verifying against solving: how deep must a network be to follow a word of length n alone, and to check a transcript of it?

    python -m pvg.benchmarks.papers.verifying_against_solving --out benchmarks/papers/results

Following a point through n permutations of five points is complete for NC1 (Barrington 1989); checking one step of it is one
look-up. The same perceptrons (width 128, one to three hidden layers) with the same games learn to judge `WordProblem` claims alone
(`solo`), hearing the prover's transcript (`proof`), and as the judge of a prover and a challenger who halve the word until one
step is left (`bisection`), of which it sees that step's element and the points said before and after it. Provers and challengers
are scripted, honest where what they argue is true. `step_check` is the network that knows of steps, hearing the transcript.
Accuracy is of the likeliest verdict on statements of the test split.

Claimed, of the means over seeds:
- `alone_at_chance`: no depth is right about more than 0.55 of claims alone, at n = 2 already;
- `proof_of_two`: at n = 2 depths 2 and 3 are right about at least 0.95 hearing the transcript;
- `bisection_at_any_length`: so are depths 2 and 3 about at least 0.98 as judges of a bisection, at n = 2 and n = 16;
- `steps_at_any_length`: the step check is right about at least 0.98 at n = 4 and n = 16, hearing the transcript.
Not claimed: that what is not learned from so many games cannot be learned or represented; that depth is what is missing where a
perceptron does not learn to check a transcript of four steps. Nothing was tuned on the seeds reported; there are four, since a seed
takes two minutes.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
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
from pvg.chain import interval
from pvg.field import Field
from pvg.game import Game
from pvg.lane import lane
from pvg.protocol import Protocol
from pvg.protocols import Bisection, ProverVerifier, Solo
from pvg.spec import Spec, resolve
from pvg.task import TaskRules
from pvg.tasks.word_problem import ELEMENTS, POINTS, WordProblem

PROTOCOLS: dict[str, Protocol] = {"solo": Solo(), "proof": ProverVerifier(), "bisection": Bisection()}


@dataclass(frozen=True)
class LastStep(WordProblem):
    """WordProblem where verifiers see nothing of the word but the element in dispute when a bisection ends, and the points said to
    stand before and after it.
    """

    @property
    def statement(self) -> tuple[Field, ...]:
        start, element = super().statement
        return (start, replace(element, seen_by=("prover",)))

    def build(self) -> TaskRules:
        rules, n = super().build(), self.length
        bisection = rules.proofs["bisection"]
        last = len(bisection.script)

        @lane
        def evidence(s: Any, tables: Any, slot: Any) -> None:
            if slot == last - 1:
                low, _, low_slot, high_slot = interval(s, n, last)
                s.before = s.start if low_slot < 0 else s.said[low_slot, 0]
                s.disputed = s.element[low]
                s.after = s.claim if high_slot < 0 else s.said[high_slot, 0]

        sizes = {"before": POINTS, "disputed": len(ELEMENTS), "after": POINTS}
        fields = tuple(Field(name, high, seen_by=("verifier",), blank=True) for name, high in sizes.items())
        return replace(rules, proofs={"bisection": replace(bisection, fields=fields, evidence=evidence)})


DEPTHS = (1, 2, 3)
LENGTHS = {"solo": (2, 4), "proof": (2, 4), "bisection": (2, 16)}
UPDATES, LANES = 900, 1024
GAMES = 5000  # of the measurement
CLAIMED = ("alone_at_chance", "proof_of_two", "bisection_at_any_length", "steps_at_any_length")


def config(network: str, layers: int, seed: int) -> TrainConfig:
    """How a judge learns."""
    updates, lanes = (UPDATES, LANES) if network == "mlp" else (1000, 256)
    width = 128 if network == "mlp" else 64
    phases = (Imitation(updates=updates, seats="verifier"),)
    return TrainConfig(network, width=width, layers=layers, lanes=lanes, phases=phases, seed=seed)


def run(arm: str, network: str, layers: int, length: int, seed: int) -> dict[str, Any]:
    """A judge trained and measured, as a row of the result."""
    task = LastStep(length=length) if arm == "bisection" else WordProblem(length=length)
    spec, start = resolve(task, PROTOCOLS[arm]), time.process_time()
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
    deep = {cell: value for cell, value in found.items() if cell[1:3] in (("mlp", 2), ("mlp", 3))}
    held = (
        max(value for (arm, *_), value in found.items() if arm == "solo") <= 0.55,
        min(value for (arm, *_, length), value in deep.items() if (arm, length) == ("proof", 2)) >= 0.95,
        min(value for (arm, *_), value in deep.items() if arm == "bisection") >= 0.98,
        min(value for (_, network, *_), value in found.items() if network == "step_check") >= 0.98,
    )
    return dict(zip(CLAIMED, held, strict=True))


def figure(rows: list[dict[str, Any]], path: Path) -> None:
    """Accuracy by length, a panel an arm, a colour a network; every seed a point."""
    shown = canvas((12, 3.6))
    panels = dict(zip(PROTOCOLS, shown.subplots(1, len(PROTOCOLS), sharey=True), strict=True))
    networks = [*(("mlp", depth) for depth in DEPTHS), ("step_check", 2)]
    for arm, axes in panels.items():
        lengths = sorted({row["length"] for row in rows if row["arm"] == arm})
        for k, (network, layers) in enumerate(networks):
            found = [
                row for row in rows if (row["arm"], row["network"], row["layers"]) == (arm, network, layers) and "accuracy" in row
            ]
            places = [lengths.index(row["length"]) + 0.15 * (k - 1.5) for row in found]
            label = network if network == "step_check" else f"{network}, {layers} hidden layer{'s' if layers > 1 else ''}"
            axes.plot(places, [row["accuracy"] for row in found], "o", markersize=4, color=f"C{k}", label=label)
        axes.axhline(0.5, color="black", linewidth=0.5, linestyle=":")
        axes.set(title=arm, xlabel="length n of the word", ylim=(0.4, 1.02))
        axes.set_xticks(range(len(lengths)), [str(n) for n in lengths])
    panels["solo"].set_ylabel("right verdicts")
    panels["solo"].legend(fontsize=8)
    shown.savefig(path, dpi=150)


def cells() -> list[tuple[str, str, int, int]]:
    """What is measured: arm, network, layers, length."""
    perceptrons = [(arm, "mlp", depth, n) for arm, lengths in LENGTHS.items() for depth in DEPTHS for n in lengths]
    return perceptrons + [("proof", "step_check", 2, n) for n in (4, 16)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=int, default=100, help="the first seed")
    parser.add_argument("--seeds", type=int, default=4, help="how many: a seed takes two minutes")
    parser.add_argument("--out", type=Path, help="folder for verifying_against_solving.json and .png")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows, made_by = [], provenance()
    for cell in cells():
        for seed in range(given.first, given.first + given.seeds):
            rows.append(run(*cell, seed))
            print(rows[-1], flush=True)
    held = claims_of(rows)
    for cell, value in (means(rows) if not any("diverged" in row for row in rows) else {}).items():
        print(*cell, f"{value:.3f}")
    print(held)
    if given.out:
        configs = {f"{network}, {layers} layers": plain(config(network, layers, given.first)) for _, network, layers, _ in cells()}
        save(given.out, "verifying_against_solving", made_by, configs, held, rows)
        figure(rows, given.out / "verifying_against_solving.png")


if __name__ == "__main__":
    main()
