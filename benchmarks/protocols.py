"""How fast is a step of every protocol beside `prover_verifier`, on the same task in the same run?

    python -m pvg.benchmarks.protocols             (add --out benchmarks/results/protocols.json to keep the figures)

Claim: at 16,384 lanes and one thread, deals and the default players in the loop, a step of a protocol takes at most 3 times as long
as one of `prover_verifier` on the same task, or its documentation says why. A step is all that is said in one turn of one lane.
A protocol that shares no task with `prover_verifier` is held against it on Arith. Rounds alternate; figures are medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

import torch

from pvg.benchmarks.provenance import provenance
from pvg.benchmarks.throughput import LANES, measure, whole_games
from pvg.protocol import protocols
from pvg.protocols import ProverVerifier
from pvg.spec import Spec, resolve
from pvg.task import tasks
from pvg.testing import fitting


def pairs() -> dict[str, tuple[Spec, Spec]]:
    """For each protocol, a game of it and the game of `prover_verifier` it is held against, on one task where there is one."""
    one_message = {
        spec.task: spec for name in tasks for spec in fitting(tasks[name]()) if isinstance(spec.protocol, ProverVerifier)
    }
    arith = resolve(tasks["Arith"](), ProverVerifier())
    found = {}
    for name in protocols:
        games = [spec for task in tasks for spec in fitting(tasks[task]()) if type(spec.protocol) is protocols[name]]
        shared = [spec for spec in games if spec.task in one_message]
        game = min(shared or games, key=lambda spec: spec.bytes_per_lane)
        found[name] = (game, one_message.get(game.task, arith))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.2, help="of each game in a round")
    parser.add_argument("--out", type=Path, help="a JSON file to write")
    given = parser.parse_args()
    torch.set_num_threads(1)
    start, chosen, rows = provenance(), pairs(), {}
    rates = measure(
        {f"{name}{end}": whole_games(spec) for name, pair in chosen.items() for end, spec in zip(("", " base"), pair, strict=True)},
        given.rounds,
        given.seconds,
    )
    for name, (spec, base) in chosen.items():
        ratio = statistics.median(b / a for a, b in zip(rates[name], rates[f"{name} base"], strict=True))
        on = f"{type(spec.task).__name__}, {spec.label}; beside {type(base.task).__name__}, {base.label}"
        rate = statistics.median(rates[name])
        rows[name] = {"steps_per_s": rate, "times_as_long": ratio, "game": on}
        print(f"{name:20s} {rate / 1e6:8.3f} M steps/s   x{ratio:.2f} as long a step   {on}")
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps({"provenance": start, "lanes": LANES, "threads": 1, "protocols": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
