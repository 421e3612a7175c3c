"""Architectures by name, and players made of them."""

from __future__ import annotations

from collections.abc import Callable
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

    verifier: of roles that only judge, made by verifier(spec, role, width=, layers=, abstains=). prover: of all others, verifiers
    that ask among them. structural: whether it is told how the parts of a statement and its proof belong together; it may then
    refuse games (ValueError), and is ranked apart.
    """

    about: str
    verifier: Callable[..., VerifierNetwork]
    prover: Callable[..., ProverNetwork]
    width: int
    layers: int
    learning_rate: float
    structural: bool = False


class Networks(Registry[Network]):
    """The registered architectures, and any module of anybody's under `package.module:ClassName`."""

    def __getitem__(self, name: str) -> Network:
        if ":" in name and name not in self:
            from pvg.agents.networks.module import network_of  # it knows the other networks

            self.register(name)(network_of(name))
        return super().__getitem__(name)


networks = Networks("network")


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


def widest(name: str, spec: Spec, role: str, parameters: int) -> int:
    """The largest width, of the multiples of 8 up to 1,024, at which the player of a role has at most so many parameters.

    ValueError: it has more even 8 wide, or refuses the game.
    """

    def fits(width: int) -> bool:
        return size_of(build(name, spec, role, width=width)) <= parameters

    if not fits(8):
        least = size_of(build(name, spec, role, width=8))
        raise ValueError(f"{name}, {spec.task}: {least:,} parameters at width 8, and at most {parameters:,} are allowed")
    low, high = 1, 128  # in eights: fits at low, and above high nothing is tried
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(8 * middle) else (low, middle - 1)
    return 8 * low


def size_of(player: Player) -> int:
    """How many parameters it has."""
    return sum(weights.numel() for weights in player.parameters())
