"""Checkability training on Program: does a verifier get harder to deceive by rounds, and what does the provers' reward do to that?

    python -m pvg.benchmarks.papers.checkability --out benchmarks/papers/results

In the style of Kirchner et al. 2024, at toy size: programs of three lines and four steps modulo 3, perceptrons, and a solution
is the output and the trace. A base prover learns by imitation to solve programs. Then come four rounds: the verifier learns from
the solutions of the base prover and of the prover each earlier round ended with, and a prover, drawn to be helpful or sneaky,
from that verifier; both begin every round as they were (`pvg.agents.checkability`). Provers are paid by `src` (convincing first,
then in keeping with the role) or `cgc` (the reverse).
- *Attack updates* are how many updates a prover that is always sneaky needs against the verifier of a round, which stays as it
  is, until at most 1 of 20 solutions is right and the wrong ones are as convincing as the base prover's right ones; at most
  LIMIT are tried. All verifiers are attacked by the same prover, paid by `cgc`, whatever they learned with.
- *Separability* is the area under the ROC curve of a small network that tells helpful from sneaky where a round ended.
The verifier of round 0 knows the base prover alone: it is the control of all rounds, and the same for both rewards.

Claims, of a difference over seeds whose lower bound is above 0:
- `cgc_roles_are_told_apart`: where the last round ended, separability is higher under `cgc` than under `src`;
- `src_rounds_harden`, `cgc_rounds_harden`: the verifier of the last round takes more attack updates than that of round 0.
Where provers do not keep to their roles, roles cannot be told apart either, which is no success of training; how often solutions
of each role are right says which it is.
Reported, not claimed: verifiers of other widths than the prover's 64 under `cgc` (the window of sizes). The figures of the paper
are of language models; a claim that fails is shown as one that fails. Settings were chosen on seeds below 10.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch

from pvg.agents import checkpoint
from pvg.agents.checkability import Checkability, attack_updates
from pvg.agents.config import TrainConfig, plain
from pvg.agents.imitation import Imitation
from pvg.agents.report import canvas
from pvg.agents.training import CHECKPOINT, Diverged, train
from pvg.benchmarks.papers.results import over_seeds, save
from pvg.benchmarks.provenance import provenance
from pvg.protocols import HelpfulSneaky
from pvg.spec import resolve
from pvg.tasks import Program

SPEC = resolve(Program(modulus=3, length=3, steps=4), HelpfulSneaky())
TEACH = Imitation(updates=150, seats="prover", prover="honest")
ROUNDS = Checkability(updates=1200, rounds=4, verifier_updates=100, samples=8, centring=0.005, entropy=0.03)
ATTACKER = replace(ROUNDS, reward="cgc", learning_rate=3e-3)
LIMIT = 150
ARMS: dict[str, tuple[Literal["src", "cgc"], int]] = {  # reward of provers, width of the verifier
    "src": ("src", 64),
    "cgc": ("cgc", 64),
    "cgc, verifier of width 4": ("cgc", 4),
    "cgc, verifier of width 16": ("cgc", 16),
    "cgc, verifier of width 256": ("cgc", 256),
}
SEEDS = dict.fromkeys(ARMS, 3) | {"src": 5, "cgc": 5}  # few, since one takes more than a minute
CLAIMED = ("cgc_roles_are_told_apart", "src_rounds_harden", "cgc_rounds_harden")
ENDED = ("separability", "helpful_accuracy", "sneaky_accuracy", "aligned", "helpful_correct", "sneaky_incorrect")


def config(arm: str, seed: int) -> TrainConfig:
    """How an arm learns."""
    reward, width = ARMS[arm]
    phases = (TEACH, replace(ROUNDS, reward=reward))
    return TrainConfig("mlp", width=width, prover_width=64, lanes=256, phases=phases, seed=seed, log_every=50)


def run(arm: str, seed: int) -> dict[str, Any]:
    """An arm trained and its verifiers attacked, as a row of the result: of every round what it ended with, and attack updates,
    None where the attacker did not succeed.
    """
    start, settings = time.process_time(), config(arm, seed)
    row: dict[str, Any] = {"arm": arm, "seed": seed}
    try:
        with TemporaryDirectory() as folder:
            train(SPEC, settings, Path(folder), progress=False)
            memory = checkpoint.load(Path(folder) / CHECKPOINT)["state"]["memory"]
    except Diverged as error:
        return row | {"diverged": str(error)}
    row |= {name: [float(ended[name]) for ended in memory["ended"]] for name in ENDED}
    row["attack_updates"] = [attack_updates(SPEC, settings, ATTACKER, memory, each, LIMIT) for each in memory["verifiers"]]
    return row | {"cpu_seconds": time.process_time() - start}


def needed(row: dict[str, Any]) -> list[int]:
    """Attack updates by round, LIMIT where it took more."""
    return [LIMIT if updates is None else updates for updates in row["attack_updates"]]


def claims_of(rows: list[dict[str, Any]]) -> dict[str, bool]:
    """Which claims hold; none does if a run diverged."""
    if any("diverged" in row for row in rows):
        return dict.fromkeys(CLAIMED, False)
    src, cgc = ({row["seed"]: row for row in rows if row["arm"] == arm} for arm in ("src", "cgc"))
    apart = [cgc[seed]["separability"][-1] - src[seed]["separability"][-1] for seed in src]
    harder = ([needed(row)[-1] - needed(row)[0] for row in arm.values()] for arm in (src, cgc))
    return dict(zip(CLAIMED, (over_seeds(gained).low > 0 for gained in (apart, *harder)), strict=True))


def summary(rows: list[dict[str, Any]]) -> str:
    """A table in Markdown: means over seeds, round by round."""

    def by_round(values: Sequence[Sequence[float]], digits: int) -> str:
        return ", ".join(f"{fmean(some):.{digits}f}" for some in zip(*values, strict=True))

    lines = ["| arm | attack updates | attacks that fail | separability | right: helpful | right: sneaky |", "| --- " * 6 + "|"]
    for arm in dict.fromkeys(row["arm"] for row in rows):
        mine = [row for row in rows if row["arm"] == arm and "diverged" not in row]
        failed = [sum(row["attack_updates"][k] is None for row in mine) for k in range(ROUNDS.rounds)]
        shown = [by_round([needed(row) for row in mine], 0), ", ".join(map(str, failed)) + f" of {len(mine)}"]
        shown += [by_round([row[name] for row in mine], 2) for name in ENDED[:3]]
        lines.append(" | ".join([f"| {arm}", *shown]) + " |")
    return "\n".join(lines)


def figure(rows: list[dict[str, Any]], path: Path) -> None:
    """Attack updates and separability by round, and solutions right by role; a colour an arm, a line a seed."""
    shown = canvas((14, 4))
    panels = shown.subplots(1, 3)
    for k, arm in enumerate(dict.fromkeys(row["arm"] for row in rows)):
        mine = [row for row in rows if row["arm"] == arm and "diverged" not in row]
        for row in mine:
            rounds, label = [r + 0.08 * (k - 2) for r in range(len(row["separability"]))], arm if row is mine[0] else None
            panels[0].plot(rounds, needed(row), "o-", color=f"C{k}", alpha=0.6, linewidth=0.8, markersize=4, label=label)
            panels[1].plot(rounds, row["separability"], "o-", color=f"C{k}", alpha=0.6, linewidth=0.8, markersize=4)
            panels[2].plot(rounds, row["helpful_accuracy"], "o", color=f"C{k}", alpha=0.6, markersize=4)
            panels[2].plot(rounds, row["sneaky_accuracy"], "x", color=f"C{k}", alpha=0.6, markersize=4)
    panels[0].set(title=f"updates to deceive, {LIMIT}: more", ylim=(0, LIMIT + 5))
    panels[1].set(title="helpful told from sneaky (AUC)", ylim=(0.4, 1.02))
    panels[2].set(title="right solutions: helpful o, sneaky x", ylim=(-0.02, 1.02))
    panels[0].legend(fontsize=7)
    for axes in panels:
        axes.set(xlabel="round", xticks=range(ROUNDS.rounds))
    shown.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--first", type=int, default=100, help="the first seed")
    parser.add_argument("--seeds", type=int, help="how many; the arm's own number if left out")
    parser.add_argument("--out", type=Path, help="folder for checkability.json and checkability.png")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows, made_by = [], provenance()
    for arm in given.arms:
        for seed in range(given.first, given.first + (given.seeds or SEEDS[arm])):
            rows.append(run(arm, seed))
            print(rows[-1], flush=True)
    held = claims_of(rows) if {"src", "cgc"} <= set(given.arms) else {}
    print(summary(rows), held, sep="\n")
    if given.out:
        save(given.out, "checkability", made_by, {arm: plain(config(arm, given.first)) for arm in given.arms}, held, rows)
        figure(rows, given.out / "checkability.png")


if __name__ == "__main__":
    main()
