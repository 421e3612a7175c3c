"""What a training run is: networks, sizes, phases, seed and device."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any

from tyro.conf import arg
from tyro.constructors import PrimitiveConstructorSpec

from pvg.agents.algorithm import Algorithm, described, phases, words
from pvg.agents.algorithms import Adversarial, Imitation
from pvg.agents.networks import build, networks
from pvg.spec import Spec

_PHASES: PrimitiveConstructorSpec[tuple[Algorithm, ...]] = PrimitiveConstructorSpec(
    nargs="*",
    metavar="ALGORITHM [SETTING=VALUE ...] ...",
    instance_from_str=phases,
    is_instance=lambda value: isinstance(value, tuple) and all(isinstance(phase, Algorithm) for phase in value),
    str_from_instance=lambda chosen: [word for phase in chosen for word in words(phase)],
)


@dataclass(frozen=True)
class TrainConfig:
    """Phases one after the other, each an algorithm with its settings. Each update plays `lanes` whole games, dealt from
    the seed.
    """

    network: str | None = None
    """Architecture of every learned player; `pvg list networks` says what each is.

    None: step_check where one message lists the states of a computation, mlp elsewhere.
    """
    prover_network: str | None = None
    """Another architecture for the prover's seats."""
    width: int | None = None
    """Width of its layers; None: the network's own."""
    prover_width: int | None = None
    """Another width for the prover's seats."""
    layers: int | None = None
    """How many; None: the network's own."""
    shared: bool = False
    """One network, and one critic, for all roles of a seat, such as both debaters."""
    abstain: bool | None = None
    """Whether a verifier's verdict may be "don't know"; None: where it may give one at several turns."""
    phases: Annotated[tuple[Algorithm, ...], _PHASES, arg(name="algorithm")] = (Imitation(), Adversarial())
    """Algorithms in their order, each with its settings, such as `imitation updates=300 ppo updates=100 seats=prover`;
    `pvg list algorithms` shows them all.
    """
    lanes: int = 256
    """Games an update, of all processes together."""
    learning_rate: float | None = None
    """Of Adam in supervised learning, at its highest; each phase warms up to it and falls along a cosine to 2 % of it.

    None: the network's own.
    """
    compiled: bool = False
    """Whether networks are compiled (torch.compile) for learning, which takes a C++ compiler and a minute or more at the start.

    On one CPU thread it pays for `graph` in small minibatches, and makes an `mlp` prover slower: see benchmarks/selfplay.py.
    """
    log_every: int = 20
    """Updates between two rows of the log."""
    tensorboard: bool = False
    """Whether the log in the run's folder is drawn for TensorBoard too (extra `tensorboard`)."""
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
        least = {"lanes": 2, "log_every": 1, "checkpoint_every": 1}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int) and value < least.get(field.name, 0):
                raise ValueError(f"{field.name}={value}: expected at least {least.get(field.name, 0)}")
        for phase in self.phases:
            if not isinstance(phase, Algorithm):
                raise ValueError(f"phases: expected algorithms, such as Imitation(updates=300), got {phase!r}")

    def for_game(self, spec: Spec) -> TrainConfig:
        """With the architecture that suits a game, where none is named."""
        return self if self.network is not None else replace(self, network="step_check" if checks_steps(spec) else "mlp")

    def network_of(self, seat: str) -> str:
        """The name of a seat's network."""
        assert self.network is not None, "for_game() names one"
        return self.prover_network or self.network if seat == "prover" else self.network

    def sizes_of(self, seat: str) -> dict[str, Any]:
        """What else a seat's network is built with."""
        width = self.prover_width if seat == "prover" and self.prover_width is not None else self.width
        return {"width": width, "layers": self.layers, "abstains": self.abstain if seat == "verifier" else None}


def checks_steps(spec: Spec) -> bool:
    """Whether a proof lists the states of a computation, and every role of the game can be played by a step check."""
    proofs = [spec.proof] if spec.proof is not None else list(spec.task.rules.proofs.values())
    if not any(proof.path is not None for proof in proofs):
        return False
    try:
        for role in spec.roles:
            if role.seat != "nature":
                build("step_check", spec, role.name)
    except ValueError:
        return False
    return True


def plain(config: TrainConfig) -> dict[str, Any]:
    """In plain containers, as files hold it."""
    return {f.name: getattr(config, f.name) for f in fields(config)} | {"phases": [described(phase) for phase in config.phases]}


def schedule(update: int, total: int) -> float:
    """The learning rate's factor at update 0..total-1: linear over the first tenth (at most 50 updates), then a half
    cosine from 1 to 0.02.
    """
    warm = min(50, total // 10)
    if update < warm:
        return (update + 1) / (warm + 1)
    return 0.02 + 0.98 * (1 + math.cos(math.pi * (update - warm) / max(1, total - warm))) / 2
