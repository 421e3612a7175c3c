"""How fast is every task beside Arith, in the same run on the same machine?

    python -m pvg.benchmarks.tasks                 (add --out benchmarks/results/tasks.json to keep the figures)

Claim: at 16,384 lanes and one thread, deals and the default players in the loop, no task makes less than 1/100 of Arith's steps a
second. A step is all that is said in one turn of one lane. Rounds of all tasks alternate; figures are medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

import torch

import pvg
from pvg.benchmarks.provenance import provenance
from pvg.benchmarks.throughput import LANES, measure, whole_games
from pvg.task import tasks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.2, help="of each task in a round")
    parser.add_argument("--out", type=Path, help="a JSON file to write")
    given = parser.parse_args()
    torch.set_num_threads(1)
    start = provenance()
    rates = measure({name: whole_games(pvg.game(name).spec) for name in tasks}, given.rounds, given.seconds)
    rows = {}
    for name, values in rates.items():
        ratio = statistics.median(a / b for a, b in zip(values, rates["Arith"], strict=True))
        spec = pvg.game(name).spec
        rate = statistics.median(values)
        rows[name] = {"steps_per_s": rate, "ratio_to_arith": ratio, "bytes_per_lane": spec.bytes_per_lane, "game": spec.label}
        print(f"{name:18s} {rate / 1e6:8.3f} M steps/s   x{ratio:.3f} Arith   {spec.bytes_per_lane:5d} bytes   {spec.label}")
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps({"provenance": start, "lanes": LANES, "threads": 1, "tasks": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
