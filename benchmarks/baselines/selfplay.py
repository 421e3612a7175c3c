"""Self-play with pvg's own learners: prover and verifier start from what scripted players do, and go on against each other.

    python -m pvg.benchmarks.baselines.selfplay

Both seats imitate for a while, then learn by PPO from what the protocol pays, the verifier leading. Printed: the report of the
verifier on statements it has not met, after imitation and after self-play: what it accepts of true claims, and of false ones from
scripted provers, the learned one, and the worst message.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
import tyro
from rich.console import Console

import pvg
from pvg.agents.config import TrainConfig
from pvg.agents.imitation import Imitation
from pvg.agents.report import Report, table
from pvg.agents.selfplay import PPO
from pvg.agents.training import train
from pvg.protocols import ProverVerifier
from pvg.spec import resolve
from pvg.tasks import Arith


@dataclass(frozen=True)
class Settings:
    """Sizes of the task and of the run."""

    operations: int = 3
    modulus: int = 3
    network: str = "step_check"
    imitation: int = 20
    """Updates of it."""
    selfplay: int = 200
    """Updates of PPO."""
    lanes: int = 256
    claims: int = 500
    """How many true and how many false claims the report is about."""
    seed: int = 0


def run(settings: Settings) -> dict[str, Report]:
    """Reports after imitation and after self-play."""
    torch.set_num_threads(1)
    spec = resolve(Arith(settings.operations, settings.modulus), ProverVerifier())
    phases = (Imitation(updates=settings.imitation), PPO(updates=settings.selfplay, order="verifier_leading", steps=2))
    reports = {}
    for name, part in (("imitation", phases[:1]), ("self-play", phases)):
        config = TrainConfig(settings.network, phases=part, lanes=settings.lanes, seed=settings.seed)
        trained = train(replace(spec, split="train"), config, progress=False)
        assert trained.verifier is not None, "the protocol has one"
        sizes: dict[str, Any] = {"claims": settings.claims, "validation_claims": settings.claims, "seed": settings.seed}
        reports[name] = pvg.evaluate(trained.verifier, spec, **sizes, prover=trained.prover)
    return reports


def main() -> None:
    Console().print(table(run(tyro.cli(Settings, description=__doc__))))


if __name__ == "__main__":
    main()
