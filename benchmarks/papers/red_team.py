"""Calibrated red team: by how much does each attack, at each budget, understate the exact best-response error?

    python -m pvg.benchmarks.papers.red_team --out benchmarks/papers/results

Where every message can be tried, the best-response soundness error is known, so that attacks which are all one has on larger
games can be calibrated: what an attack misses is that error less its success, on the same false claims and the same coins.
Verifiers of every architecture learn default Arith from scripted provers (imitation) and are attacked as they are.

Claimed, of the means over the seeds reported:
- `one_message_each_misleads`: the scripted provers together, one message each, miss more than 0.3 of the MLP's error;
- `searches_close_in`: coordinate ascent with 1,000 queries misses at most 0.05 of any architecture's error;
- `verdicts_suffice`: attacks that see verdicts only, together, with 1,000 queries miss at most 0.02 of any architecture's error.
Not claimed: anything of larger messages, of verifiers trained otherwise, or of attacks that are not in the library.
Nothing was tuned on the seeds reported.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pvg.agents.attacks.attack import attacks
from pvg.agents.attacks.library import attack
from pvg.agents.attacks.report import AttackReport
from pvg.agents.config import TrainConfig, plain
from pvg.agents.evaluation import evaluate
from pvg.agents.imitation import Imitation
from pvg.agents.report import canvas
from pvg.agents.training import Diverged, train
from pvg.benchmarks.papers.results import over_seeds, save
from pvg.benchmarks.provenance import provenance
from pvg.metrics import Figure
from pvg.protocols import ProverVerifier
from pvg.spec import Spec, resolve
from pvg.tasks import Arith

SPEC = resolve(Arith(), ProverVerifier())
UPDATES = {"mlp": 3000, "gru": 800, "transformer": 400, "step_check": 300}
SEEDS = {"mlp": 10, "gru": 5, "transformer": 3, "step_check": 10}  # fewer where a seed takes minutes
CLAIMS = {"mlp": 200, "gru": 50, "transformer": 50, "step_check": 200}  # and fewer claims
GAMES = 20_000  # to train a prover with
SEARCHES = [name for name in attacks if name not in ("prover", "exhaustive", "dynamic_programming", "transfer")]
ONCE, REPEATED = "scripted provers together, one message each", "scripted provers together, drawing on"
CLAIMED = ("one_message_each_misleads", "searches_close_in", "verdicts_suffice")
VERDICTS = "all that see verdicts only"


def config(network: str, seed: int) -> TrainConfig:
    """How a verifier learns."""
    return TrainConfig(network, phases=(Imitation(updates=UPDATES[network], seats="verifier"),), seed=seed)


def run(network: str, seed: int, claims: int, spec: Spec = SPEC, budget: int = 1000, games: int = GAMES) -> dict[str, Any]:
    """A verifier trained and attacked, as a row of the result."""
    start = time.process_time()
    row: dict[str, Any] = {"network": network, "seed": seed}
    try:
        verifier = train(replace(spec, split="train"), config(network, seed), progress=False).verifier
    except Diverged as error:
        return row | {"diverged": str(error)}
    assert verifier is not None
    report, provers = (
        attack(verifier, spec, names=names, budget=budget, claims=claims, seed=seed, games=games)
        for names in (SEARCHES, ["prover"])
    )
    once = evaluate(verifier, spec, claims=claims, validation_claims=1, seed=seed).randomised.union_of_provers
    assert once is not None, "somebody argues"
    return row | {"cpu_seconds": time.process_time() - start, **missed(report, provers, once)}


def missed(report: AttackReport, provers: AttackReport, once: Figure) -> dict[str, Any]:
    """The exact error, and what each attack and their unions miss of it at each budget."""
    assert report.exact is not None, "every message can be tried"
    curves = {**report.success, REPEATED: provers.union, VERDICTS: report.black_box_union, "all": report.union}
    error = report.exact.value
    left = {name: [error - figure.value for figure in curve] for name, curve in curves.items()}
    left[ONCE] = [error - once.value] * len(report.marks)
    return {"exact": error, "budgets": list(report.marks), "missed": left}


def claims_of(rows: list[dict[str, Any]]) -> dict[str, bool]:
    """Which claims hold; none does if a run diverged."""
    if any("diverged" in row for row in rows):
        return dict.fromkeys(CLAIMED, False)

    def most(attack: str, networks: set[str]) -> float:
        """What the attack misses with all its queries, of the architecture of which it misses the most."""
        return max(over_seeds([r["missed"][attack][-1] for r in rows if r["network"] == n]).value for n in networks)

    every = {row["network"] for row in rows}
    held = (most(ONCE, {"mlp"} & every) > 0.3, most("coordinates", every) <= 0.05, most(VERDICTS, every) <= 0.02)
    return dict(zip(CLAIMED, held, strict=True))


def summary(rows: list[dict[str, Any]]) -> dict[str, dict[str, str]]:
    """By architecture, the exact error and what each attack misses with all its queries, as mean [bounds]."""
    found: dict[str, dict[str, str]] = {}
    for network in dict.fromkeys(row["network"] for row in rows):
        mine = [row for row in rows if row["network"] == network and "diverged" not in row]
        exact = {"exact error": str(over_seeds([row["exact"] for row in mine]))}
        left = {name: str(over_seeds([row["missed"][name][-1] for row in mine])) for name in mine[0]["missed"]}
        found[network] = exact | left
    return found


def figure(rows: list[dict[str, Any]], path: Path) -> None:
    """What each attack misses against its budget, a panel an architecture; every seed a point."""
    networks = list(dict.fromkeys(row["network"] for row in rows))
    shown = canvas((4 * len(networks), 4))
    panels = shown.subplots(1, len(networks), sharey=True, squeeze=False)[0]
    for axes, network in zip(panels, networks, strict=True):
        mine = [row for row in rows if row["network"] == network and "diverged" not in row]
        for k, name in enumerate(mine[0]["missed"]):
            for row in mine:
                places = [budget * 1.08 ** (k - 4) for budget in row["budgets"]]
                axes.plot(places, row["missed"][name], "o", markersize=3, color=f"C{k}", label=name if row is mine[0] else None)
        axes.set(xscale="log", xlabel="verdict queries a claim", title=f"{network}, {len(mine)} seeds")
    panels[0].set_ylabel("exact error less attack success")
    handles, labels = panels[0].get_legend_handles_labels()
    shown.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8)
    shown.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=UPDATES, default=list(UPDATES))
    parser.add_argument("--first", type=int, default=100, help="the first seed")
    parser.add_argument("--seeds", type=int, help="how many; the architecture's own number if left out")
    parser.add_argument("--out", type=Path, help="folder for red_team.json and red_team.png")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows, made_by = [], provenance()
    for network in given.networks:
        for seed in range(given.first, given.first + (given.seeds or SEEDS[network])):
            rows.append(run(network, seed, CLAIMS[network]))
            print(rows[-1], flush=True)
    held = claims_of(rows)
    print(*(f"{network}: {figures}" for network, figures in summary(rows).items()), held, sep="\n")
    if given.out:
        save(
            given.out, "red_team", made_by, {network: plain(config(network, given.first)) for network in given.networks}, held, rows
        )
        figure(rows, given.out / "red_team.png")


if __name__ == "__main__":
    main()
