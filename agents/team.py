"""The learners of a run: a network a role, a critic and optimisers beside it, and the randomness that is theirs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pvg.agents.config import TrainConfig
from pvg.agents.networks import Player, ProverNetwork, VerifierNetwork, build, networks
from pvg.agents.networks.mlp import OneHot, column_highs, perceptron
from pvg.spec import Spec, View

CRITIC_WIDTH = 64


class Critic(nn.Module):
    """What a role may expect to be paid from here on: a small MLP of its own, so that it never pulls at a player's
    weights.
    """

    def __init__(self, view: View) -> None:
        super().__init__()
        self.first = OneHot(column_highs(view), CRITIC_WIDTH)
        self.rest = perceptron(CRITIC_WIDTH, 2, 1)

    def forward(self, packed: Tensor) -> Tensor:
        """`N` from `N width`."""
        out: Tensor = self.rest(self.first(packed))
        return out[:, 0]


@dataclass(frozen=True)
class Learner:
    """A role's player and critic, each with its optimiser. learning_rate: of supervised learning, at its highest."""

    player: Player
    critic: Critic
    optimiser: torch.optim.Adam
    critic_optimiser: torch.optim.Adam
    learning_rate: float

    def step(self, loss: Tensor, rate: float) -> None:
        """One step of Adam on the player."""
        descend(self.optimiser, loss, rate)

    def state(self) -> dict[str, Any]:
        """Everything the learner is, as plain containers of tensors."""
        parts: dict[str, Any] = {name: getattr(self, name).state_dict() for name in PARTS}
        return parts | {"draws": self.player.generator.get_state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Become what `state()` was."""
        for name in PARTS:
            getattr(self, name).load_state_dict(state[name])
        self.player.generator.set_state(state["draws"])


PARTS = ("player", "critic", "optimiser", "critic_optimiser")


@dataclass(frozen=True)
class Team:
    """All learners by role, and the generator of everything that is drawn in training besides their play."""

    spec: Spec
    learners: dict[str, Learner]
    generator: torch.Generator

    @property
    def players(self) -> dict[str, Player]:
        return {role: learner.player for role, learner in self.learners.items()}

    @property
    def verifier(self) -> VerifierNetwork:
        """The player of the first verifier's seat."""
        return next(p for p in self.players.values() if isinstance(p, VerifierNetwork))

    @property
    def prover(self) -> ProverNetwork | None:
        """The player of the first prover's seat; None where the protocol has none."""
        return next((p for p in self.players.values() if isinstance(p, ProverNetwork)), None)

    def seated(self, seats: str) -> dict[str, Learner]:
        """The learners of "both" seats, or of the prover's or the verifier's."""
        seat = {role.name: role.seat for role in self.spec.roles}
        return {role: learner for role, learner in self.learners.items() if seats in ("both", seat[role])}

    def state(self) -> dict[str, Any]:
        """Everything the team is, as plain containers of tensors."""
        learners = {role: learner.state() for role, learner in self.learners.items()}
        return {"learners": learners, "draws": self.generator.get_state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Become what `state()` was."""
        for role, learner in self.learners.items():
            learner.restore(state["learners"][role])
        self.generator.set_state(state["draws"])


def assemble(spec: Spec, config: TrainConfig) -> Team:
    """New learners for every role of a game but nature, all from the run's seed."""
    learners = {}
    for i, role in enumerate(spec.roles):
        if role.seat == "nature":
            continue
        seed = config.seed * len(spec.roles) + i
        name = config.network_of(role.seat)
        player = build(name, spec, role.name, seed, width=config.width, layers=config.layers, device=config.device)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            critic = Critic(player.view).to(config.device)
        optimiser, other = (torch.optim.Adam(part.parameters()) for part in (player, critic))
        rate = networks[name].learning_rate if config.learning_rate is None else config.learning_rate
        learners[role.name] = Learner(player, critic, optimiser, other, rate)
    return Team(spec, learners, torch.Generator(config.device).manual_seed(config.seed))


def descend(optimiser: torch.optim.Optimizer, loss: Tensor, rate: float) -> None:
    """One step of an optimiser down `loss` at a learning rate, gradients clipped to norm 1."""
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    for group in optimiser.param_groups:
        group["lr"] = rate
        torch.nn.utils.clip_grad_norm_(group["params"], 1.0)
    optimiser.step()
