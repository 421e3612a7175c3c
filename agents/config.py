"""What a training run is: network, sizes, how many updates of each phase, seed and device."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Literal

from pvg.agents.networks import networks
from pvg.spec import Spec

Seats = Literal["both", "prover", "verifier"]
Phase = Literal["imitation", "adversarial", "selfplay"]

PHASES: tuple[Phase, ...] = ("imitation", "adversarial", "selfplay")


@dataclass(frozen=True)
class TrainConfig:
    """Three phases one after the other; 0 updates leave one out.

    Each update plays `lanes` whole games, dealt from the seed.
    """

    network: str | None = None
    """Architecture of every learned player; `pvg list networks` says what each is.

    None: step_check where the task's proof lists the states of a computation, mlp elsewhere.
    """
    prover_network: str | None = None
    """Another architecture for the prover's seats."""
    width: int | None = None
    """Width of its layers; None: the network's own."""
    layers: int | None = None
    """How many; None: the network's own."""
    lanes: int = 256
    """Games an update."""
    learning_rate: float | None = None
    """Of Adam, at its highest; each phase warms up to it and falls along a cosine to 2 % of it.

    None: the network's own.
    """
    imitation_updates: int = 300
    """Updates of supervised learning: verifiers of the truth, provers of honest utterances, on scripted games."""
    imitation_seats: Seats = "both"
    """Whose players imitation trains."""
    adversarial_updates: int = 150
    """Updates in which the verifier learns from the message it likes best, for a share of the false claims."""
    adversarial_share: float = 0.5
    """That share; 0 makes the phase more imitation by the verifier: the control with the same number of updates."""
    search_restarts: int = 1
    """Random messages the search for the best message climbs from, besides the scripted one; no matter where the
    search is exact.
    """
    search_sweeps: int = 1
    """Sweeps over the message's positions of each climb."""
    selfplay_updates: int = 0
    """Updates of PPO on games the learned players play with each other."""
    selfplay_seats: Seats = "prover"
    """Whose players self-play trains; the others stay as they are."""
    selfplay_learning_rate: float = 1e-3
    """Of Adam in self-play, with the same schedule."""
    epochs: int = 4
    """PPO: passes over each update's games."""
    minibatches: int = 2
    """PPO: parts of a pass."""
    clip: float = 0.2
    """PPO: how far the probability ratio may leave 1 before its gradient is cut."""
    entropy: float = 0.01
    """PPO: weight of the entropy bonus, a nat an utterance."""
    log_every: int = 20
    """Updates between two rows of the log."""
    checkpoint_every: int = 500
    """Updates between two checkpoints; one is also written at the end of each phase."""
    seed: int = 0
    """Decides initial weights, games, and every draw."""
    device: str = "cpu"
    """cpu or cuda."""

    def __post_init__(self) -> None:
        for name in (self.network, self.prover_network):
            if name is not None:
                networks[name]
        least = {"lanes": 2, "epochs": 1, "minibatches": 1, "log_every": 1, "checkpoint_every": 1, "search_sweeps": 1}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int) and value < least.get(field.name, 0):
                raise ValueError(f"{field.name}={value}: expected at least {least.get(field.name, 0)}")
        for name, low, high in (
            ("selfplay_learning_rate", 0.0, 1.0),
            ("adversarial_share", 0.0, 1.0),
            ("clip", 0.0, 1.0),
            ("entropy", 0.0, 10.0),
        ):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name}={getattr(self, name)} is outside {low:g}..{high:g}")
        if self.minibatches > self.lanes:
            raise ValueError(f"minibatches={self.minibatches} is outside 1..lanes={self.lanes}")

    def updates(self, phase: Phase) -> int:
        """How many updates of a phase."""
        return {
            "imitation": self.imitation_updates,
            "adversarial": self.adversarial_updates,
            "selfplay": self.selfplay_updates,
        }[phase]

    def for_game(self, spec: Spec) -> TrainConfig:
        """With the architecture that suits a game, where none is named."""
        proofs = [spec.proof] if spec.proof is not None else list(spec.task.rules.proofs.values())
        steps = any(proof.path is not None for proof in proofs)
        return self if self.network is not None else replace(self, network="step_check" if steps else "mlp")

    def network_of(self, seat: str) -> str:
        """The name of a seat's network."""
        assert self.network is not None, "for_game() names one"
        return self.prover_network or self.network if seat == "prover" else self.network


def schedule(update: int, total: int) -> float:
    """The learning rate's factor at update 0..total-1: linear over the first tenth (at most 50 updates), then a half
    cosine from 1 to 0.02.
    """
    warm = min(50, total // 10)
    if update < warm:
        return (update + 1) / (warm + 1)
    return 0.02 + 0.98 * (1 + math.cos(math.pi * (update - warm) / max(1, total - warm))) / 2
