"""Does a verifier know where a proof goes wrong, or only that it does?

    python -m pvg.benchmarks.probe

On Arith, an `mlp` and a `transformer` learn the truth from games that scripted provers play, and are told of no step. From each
layer, multinomial logistic regression is to name the first wrong step of a transcript, or that there is none: fitted on
transcripts of the train split, measured on those of the test split, of which every answer is as frequent. Beside it the
controls: the commonest answer, the same probe of the same network with random weights, and one fitted to shuffled labels. One
thread, a minute and a half.
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
from pvg.agents.interpretability import StepLabels, labelled, probe
from pvg.agents.networks import VerifierNetwork, build
from pvg.agents.training import train
from pvg.benchmarks.provenance import provenance
from pvg.metrics import Figure, proportion
from pvg.protocols import ProverVerifier
from pvg.spec import resolve
from pvg.tasks import Arith

SPEC = resolve(Arith(operations=4), ProverVerifier())
UPDATES = {"mlp": 3000, "transformer": 1000}
LAYERS = {
    "mlp": ("first", "rest.0", "rest.2", "rest.3"),
    "transformer": ("tokens", "trunk.blocks.0", "trunk.blocks.1", "trunk.norm", "trunk.head"),
}
FITTED, TESTED = 4000, 2000  # transcripts
OUT = Path(__file__).parent / "results" / "probe.json"


def learned(network: str, updates: int, seed: int = 0) -> VerifierNetwork:
    """A verifier that has learnt the truth from scripted games of the train split."""
    config = TrainConfig(network=network, phases=(Imitation(updates=updates, seats="verifier"),), lanes=256, seed=seed)
    verifier = train(replace(SPEC, split="train"), config, progress=False).verifier
    assert verifier is not None
    return verifier


def verdicts(verifier: VerifierNetwork, test: StepLabels) -> dict[str, Figure]:
    """How often the likelier verdict is right about true and about false claims."""
    with torch.no_grad():
        right = verifier.log_probs(test.seen.packed).argmax(1) == test.truth
    return {name: proportion(right[test.truth == answer], name) for answer, name in ((1, "true claims"), (0, "false claims"))}


def measure(network: str, train: StepLabels, test: StepLabels, updates: int, seed: int = 0) -> dict[str, Any]:
    """Verdicts, and the probe of each layer with its controls."""
    start = time.process_time()
    verifier, untrained = learned(network, updates, seed), build(network, SPEC, "verifier", seed + 1)
    assert isinstance(untrained, VerifierNetwork)
    seconds = time.process_time() - start
    probes = {layer: probe(verifier, untrained, layer, train, test, seed) for layer in LAYERS[network]}
    return {"updates": updates, "training_cpu_seconds": seconds, "verdicts": verdicts(verifier, test), "layers": probes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT, help="the JSON file to write")
    given = parser.parse_args()
    torch.set_num_threads(1)
    start, rows = provenance(), {}
    fitted, tested = labelled(SPEC, FITTED, 0, "train"), labelled(SPEC, TESTED, 1, "test")
    for network, updates in UPDATES.items():
        rows[network] = measure(network, fitted, tested, updates)
        right = ", ".join(f"{name} {figure.value:.3f}" for name, figure in rows[network]["verdicts"].items())
        print(f"{network}: right about {right}; {rows[network]['training_cpu_seconds']:.0f} s of CPU")
        for layer, figures in rows[network]["layers"].items():
            print(f"  {layer:15s}", ", ".join(f"{name} {figure.value:.3f}" for name, figure in figures.items()), flush=True)
    result = {"provenance": start, "game": f"{SPEC.task}, {SPEC.label}", "fitted": FITTED, "tested": TESTED, "networks": rows}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=2, default=Figure.as_dict) + "\n")


if __name__ == "__main__":
    main()
