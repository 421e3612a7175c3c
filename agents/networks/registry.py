"""Architectures by name, and players made of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from pvg.agents.networks.base import Player, ProverNetwork, VerifierNetwork
from pvg.registry import Registry
from pvg.spec import Spec


@dataclass(frozen=True)
class Network:
    """An architecture: a line that says what it is, its players, and the sizes and learning rate it has unless told
    otherwise.

    verifier: of roles that only judge. prover: of all others, verifiers that ask among them.
    """

    about: str
    verifier: type[VerifierNetwork]
    prover: type[ProverNetwork]
    width: int
    layers: int
    learning_rate: float


networks: Registry[Network] = Registry("network")


def build(
    name: str,
    spec: Spec,
    role: str,
    seed: int = 0,
    *,
    width: int | None = None,
    layers: int | None = None,
    device: str | torch.device = "cpu",
    abstains: bool | None = None,
) -> Player:
    """A player of `role` by a registered network, its weights and its draws decided by `seed`; global random state is
    untouched.

    width, layers: sizes, None for the network's own. abstains: as in `Player`. ValueError: sizes below 1, or a role the
    network cannot play.
    """
    network = networks[name]
    sizes = {"width": network.width if width is None else width, "layers": network.layers if layers is None else layers}
    for size, value in sizes.items():
        if value < 1:
            raise ValueError(f"{size}={value}: expected at least 1")
    judge = spec.roles[spec.role_index(role)].seat == "verifier" and VerifierNetwork.judges_only(spec, role)
    kind: Any = network.verifier if judge else network.prover
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        player: Player = kind(spec, role, **sizes, abstains=abstains)
    player.generator = torch.Generator(device).manual_seed(seed)
    return player.to(device)
