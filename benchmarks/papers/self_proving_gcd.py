"""Self-proving GCD: which way of learning makes a prover state the gcd and prove it most often?

    python -m pvg.benchmarks.papers.self_proving_gcd --out benchmarks/papers/results

A prover is given two numbers up to 100, log-uniform, each one symbol, states their gcd y and writes z0 and z1 with
y = z0 x0 + z1 x1 (Amit, Goldwasser, Paradise & Rothblum 2024, at a size for two cores; they have numbers up to 10,000 and a
transformer of 6.3 million weights; here 600 updates of 256 games for a perceptron). All is measured with sampled answers on 4,000
games of the test split, none of whose pairs was seen in training: `correct`, y is the gcd; `accepted`, the reference verifier
accepts y with the pair said (verifiability); `canonical`, y and the pair are those of the extended Euclidean algorithm. Many pairs
are accepted and one of them is canonical, so a comparison with that one, which published figures may be, is a lower bound.
`accepted_seen` is of pairs of the training split.

Arms: `plain` learns right answers alone. `transcripts` (TL) learns answers and canonical pairs. From the weights that has after
BASE updates, go on for as many updates, MORE, `more_transcripts` (the control), `rlvf` and `expert_iteration`, who learn from what
the verifier accepts of what they say. `annotated` learns transcripts that have the first T = 3 divisions of Euclid before the pair.
`plain` and `annotated` take BASE + MORE updates. All learn at one rate.

Claims, of the means over seeds; the first four are the paper's orderings, and where one fails at this size the result says so:
- `answers_are_easier_than_proofs`: `plain` is correct more often than any prover is accepted, by at least 0.2;
- `feedback_improves`: `rlvf` is accepted more often than the `transcripts` it began with, the bound of the mean gain being above 0;
- `feedback_beats_transcripts`: `rlvf` is accepted more often than `more_transcripts`;
- `annotation_improves`: `annotated` is accepted more often than `more_transcripts`;
- `accepted_is_hardly_more_than_canonical`: of no arm is `accepted` more than 0.01 above `canonical`.
Not claimed: anything of compute, since updates cost differently (`cpu_seconds`); the published figures, which are of another size.
Nothing was tuned on the seeds reported; there are five, since a seed takes a minute.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from pvg.agents.algorithm import Algorithm
from pvg.agents.config import TrainConfig, plain
from pvg.agents.expert_iteration import ExpertIteration
from pvg.agents.imitation import Imitation
from pvg.agents.networks import Player
from pvg.agents.play import deal
from pvg.agents.reinforce import RLVF
from pvg.agents.report import canvas
from pvg.agents.training import CHECKPOINT, Diverged, train
from pvg.benchmarks.papers.results import over_seeds, save
from pvg.benchmarks.provenance import provenance
from pvg.game import Game
from pvg.protocols import HelpfulSneaky
from pvg.spec import Spec, resolve
from pvg.tasks import GCD

TASK = GCD(limit=100, base=101, annotation=3)
BASE, MORE, LANES, RATE = 300, 300, 256, 3e-3
PAIRS = 4000  # of the measurement
TEACH = Imitation(seats="prover", prover="honest")
ARMS = ("plain", "transcripts", "more_transcripts", "rlvf", "expert_iteration", "annotated")
MEASURED = ("correct", "accepted", "canonical")
CLAIMED = (
    "answers_are_easier_than_proofs",
    "feedback_improves",
    "feedback_beats_transcripts",
    "annotation_improves",
    "accepted_is_hardly_more_than_canonical",
)


def game_of(arm: str) -> Spec:
    """The prover states the claim itself, then argues for it; what its role is does not matter here."""
    return resolve(TASK, HelpfulSneaky(), "annotated_bezout" if arm == "annotated" else "bezout")


def phases(arm: str) -> tuple[Algorithm, ...]:
    """What an arm learns by; the arms that go on from `transcripts` begin with its phase."""
    teach = replace(TEACH, updates=BASE)
    more: dict[str, Algorithm] = {
        "more_transcripts": replace(TEACH, updates=MORE),
        "rlvf": RLVF(updates=MORE, learning_rate=RATE),
        "expert_iteration": ExpertIteration(updates=MORE),
    }
    if arm in more:
        return (teach, more[arm])
    if arm == "transcripts":
        return (teach,)
    return (replace(TEACH, updates=BASE + MORE, kinds=("claim",) if arm == "plain" else ()),)


def config(arm: str, seed: int) -> TrainConfig:
    """How an arm learns."""
    return TrainConfig("mlp", width=128, lanes=LANES, learning_rate=RATE, phases=phases(arm), seed=seed)


def run(seed: int, arms: tuple[str, ...] = ARMS) -> list[dict[str, Any]]:
    """All arms of a seed trained and measured, as rows of the result; `transcripts` comes before those that go on from it."""
    rows = []
    with TemporaryDirectory() as folder:
        for arm in arms:
            spec, start = game_of(arm), time.process_time()
            base = Path(folder) if arm == "transcripts" else None
            resume = Path(folder) / CHECKPOINT if len(phases(arm)) > 1 else None
            row: dict[str, Any] = {"arm": arm, "seed": seed}
            try:
                made = train(replace(spec, split="train"), config(arm, seed), base, resume=resume, progress=False)
            except Diverged as error:
                rows.append(row | {"diverged": str(error)})
                continue
            cpu, prover = time.process_time() - start, made.players["prover"]
            seen = {"accepted_seen": measured(prover, replace(spec, split="train"), seed)["accepted"]}
            rows.append(row | measured(prover, replace(spec, split="test"), seed) | seen | {"cpu_seconds": round(cpu, 1)})
    return rows


def measured(prover: Player | str, spec: Spec, seed: int) -> dict[str, float]:
    """How often a prover's claim is right, accepted with its proof, and proven as the honest prover does."""
    game = Game(spec, PAIRS)
    deal(game, seed, "measurement")
    dealt, said = game.bytes.clone(), []
    for player in ("honest", prover):
        game.bytes.copy_(dealt)
        game.play({"prover": player, "verifier": "reference"})
        said.append(game.field("said").clone())
    y, z = said[0][:, 0] == said[1][:, 0], said[0][:, 1] == said[1][:, 1]
    pair = z[:, spec.view(1)["sign0"].offset :].all(1)
    found = (game.field("truth") == 1, game.field("verdict") == 1, y.all(1) & pair)
    return {name: float(share.float().mean()) for name, share in zip(MEASURED, found, strict=True)}


def claims_of(rows: list[dict[str, Any]]) -> dict[str, bool]:
    """Which claims hold; none does if a run diverged."""
    if any("diverged" in row for row in rows):
        return dict.fromkeys(CLAIMED, False)
    correct, accepted, canonical = ({arm: over_seeds(values(rows, arm, name)) for arm in ARMS} for name in MEASURED)
    control = accepted["more_transcripts"].value
    ends = zip(values(rows, "transcripts", "accepted"), values(rows, "rlvf", "accepted"), strict=True)
    gained = [after - before for before, after in ends]
    held = (
        correct["plain"].value - max(figure.value for figure in accepted.values()) >= 0.2,
        over_seeds(gained).low > 0,
        accepted["rlvf"].value > control,
        accepted["annotated"].value > control,
        all(accepted[arm].value - canonical[arm].value <= 0.01 for arm in ARMS),
    )
    return dict(zip(CLAIMED, held, strict=True))


def values(rows: list[dict[str, Any]], arm: str, name: str) -> list[float]:
    """A figure of every seed of an arm."""
    return [row[name] for row in rows if row["arm"] == arm]


def figure(rows: list[dict[str, Any]], path: Path) -> None:
    """The three shares of every arm; every seed a point."""
    shown = canvas((9, 3.6))
    axes = shown.subplots()
    for k, name in enumerate(MEASURED):
        for i, arm in enumerate(ARMS):
            shares = [row[name] for row in rows if row["arm"] == arm and name in row]
            axes.plot([i + (k - 1) * 0.2] * len(shares), shares, "o", color=f"C{k}", alpha=0.7, label=name if i == 0 else None)
    axes.set_xticks(range(len(ARMS)), [arm.replace("_", "\n") for arm in ARMS])
    axes.set(ylim=(0, 1.02), ylabel="share of games on unseen pairs")
    axes.legend()
    shown.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=int, default=100, help="the first seed")
    parser.add_argument("--seeds", type=int, default=5, help="how many: a seed takes a minute")
    parser.add_argument("--out", type=Path, help="folder for self_proving_gcd.json and .png")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows, made_by = [], provenance()
    for seed in range(given.first, given.first + given.seeds):
        for row in run(seed):
            rows.append(row)
            print(row, flush=True)
    held = claims_of(rows)
    for arm in ARMS:
        print(arm, {name: str(over_seeds(values(rows, arm, name))) for name in (*MEASURED, "accepted_seen")})
    print(held)
    if given.out:
        configs = {arm: plain(config(arm, given.first)) for arm in ARMS}
        save(given.out, "self_proving_gcd", made_by, configs, held, rows)
        figure(rows, given.out / "self_proving_gcd.png")


if __name__ == "__main__":
    main()
