"""The learners of a run: a network a role, a critic and an optimiser beside it, and the randomness that is theirs."""

from __future__ import annotations

import copy
import hashlib
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pvg.agents.distributed import add_gradients
from pvg.agents.networks import Player, ProverNetwork, VerifierNetwork, build, networks
from pvg.agents.networks.mlp import OneHot, column_highs, perceptron
from pvg.spec import Spec, View

if TYPE_CHECKING:
    from pvg.agents.config import TrainConfig

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
    """A role's player and critic, and their optimiser: a group of parameters each.

    learning_rate: of supervised learning, at its highest. compiled: whether what is learned through is, when first called.
    """

    player: Player
    critic: Critic
    optimiser: torch.optim.Adam
    learning_rate: float
    compiled: bool = False
    _made: dict[str, Callable[..., Any]] = field(default_factory=dict, compare=False, repr=False)

    def evaluate(self, packed: Tensor, symbols: Tensor) -> tuple[Tensor, Tensor]:
        """`evaluate` of the player."""
        log_prob, entropy = self._through("evaluate", self.player.evaluate)(packed, symbols)
        return log_prob, entropy

    def log_probs(self, packed: Tensor) -> Tensor:
        """`log_probs` of a verifier that only judges."""
        assert isinstance(self.player, VerifierNetwork)
        out: Tensor = self._through("log_probs", self.player.log_probs)(packed)
        return out

    def value(self, packed: Tensor) -> Tensor:
        """What the critic expects: `N` from `N width`."""
        out: Tensor = self._through("value", self.critic)(packed)
        return out

    def _through(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        if self.compiled and name not in self._made:
            self._made[name] = torch.compile(function, dynamic=False)
        return self._made.get(name, function)

    def step(self, loss: Tensor, rate: float) -> None:
        """One step of Adam down `loss` at a learning rate; gradients of player and critic are clipped to norm 1 each."""
        for group in self.optimiser.param_groups:
            for parameter in group["params"]:  # another's loss may have left some
                parameter.grad = None
        loss.backward()
        for group in self.optimiser.param_groups:
            group["lr"] = rate
            clip(add_gradients(group["params"]))
        self.optimiser.step()

    def state(self) -> dict[str, Any]:
        """Everything the learner is, as plain containers of tensors."""
        return {name: getattr(self, name).state_dict() for name in PARTS}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Become what `state()` was."""
        for name in PARTS:
            getattr(self, name).load_state_dict(state[name])


def clip(gradients: list[Tensor], norm: float = 1.0) -> None:
    """Scale gradients in place to a joint Euclidean norm of at most `norm`, as `clip_grad_norm_` does with a third of its calls."""
    if gradients:
        whole = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        torch._foreach_mul_(gradients, (norm / (whole + 1e-6)).clamp(max=1.0))


PARTS = ("player", "critic", "optimiser")


@dataclass(frozen=True)
class Team:
    """All learners by role, the generator of everything that is drawn in training besides their play, and what a phase
    remembers from update to update: plain containers of tensors.
    """

    spec: Spec
    learners: dict[str, Learner]
    generator: torch.Generator
    memory: dict[str, Any] = field(default_factory=dict)

    @property
    def players(self) -> dict[str, Player]:
        return {role: learner.player for role, learner in self.learners.items()}

    @property
    def verifier(self) -> VerifierNetwork | None:
        """The player of the first verifier's seat; None where it asks too, and so is not one that only judges."""
        return next((p for p in self.players.values() if isinstance(p, VerifierNetwork)), None)

    @property
    def prover(self) -> ProverNetwork | None:
        """The player of the first prover's seat; None where no prover speaks."""
        return next(iter(self.seated("prover").values())).player if self.seated("prover") else None  # type: ignore[return-value]

    def seated(self, seats: str) -> dict[str, Learner]:
        """The learners of "both" seats, or of the prover's or the verifier's."""
        seat = {role.name: role.seat for role in self.spec.roles}
        return {role: learner for role, learner in self.learners.items() if seats in ("both", seat[role])}

    def name_draws(self, *name: object) -> None:
        """Make everything drawn from now on that of a name, such as (seed, phase, update): the same whenever it is given."""
        self.generator.manual_seed(hashed(*name))
        for role, learner in self.learners.items():
            learner.player.generator.manual_seed(hashed(*name, role))

    def state(self) -> dict[str, Any]:
        """Everything the team is, as plain containers of tensors."""
        learners = {role: learner.state() for role, learner in self.learners.items()}
        return {"learners": learners, "memory": self.memory}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Become what `state()` was."""
        for role, learner in self.learners.items():
            learner.restore(state["learners"][role])
        self.memory.clear()
        self.memory.update(state["memory"])

    def weights(self) -> dict[str, dict[str, Tensor]]:
        """A copy of every player's weights, by role."""
        return {role: copy.deepcopy(player.state_dict()) for role, player in self.players.items()}

    def past(self, role: str, weights: Mapping[str, Tensor]) -> Player:
        """A player of a role as it was, with draws of its own; it does not learn."""
        player = copy.deepcopy(self.learners[role].player)
        player.load_state_dict(weights)
        player.generator.manual_seed(hashed(self.learners[role].player.generator.initial_seed(), "past"))
        return player.requires_grad_(False)


def hashed(*name: object) -> int:
    """A seed of 63 bits from a name."""
    digest = hashlib.blake2b("|".join(map(str, name)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def assemble(spec: Spec, config: TrainConfig) -> Team:
    """New learners for every role of a game that speaks, nature aside, all from the run's seed.

    ValueError: `shared` where two roles of a seat do not see and say the same things; `compiled` without a C++ compiler.
    """
    if config.compiled and not any(shutil.which(name) for name in (os.environ.get("CXX", ""), "g++", "clang++")):
        raise ValueError("compiled=True: torch.compile needs a C++ compiler, and there is neither $CXX, g++ nor clang++")
    learners: dict[str, Learner] = {}
    first: dict[str, Learner] = {}
    for i, role in enumerate(spec.roles):
        if role.seat == "nature" or not bool((spec.row_of(i) >= 0).any()):
            continue
        seed = config.seed * len(spec.roles) + i
        name = config.network_of(role.seat)
        player = build(name, spec, role.name, seed, **config.sizes_of(role.seat), device=config.device)
        if config.shared and role.seat in first:
            model = first[role.seat]
            tie(player, model.player)
            learners[role.name] = Learner(player, model.critic, model.optimiser, model.learning_rate, config.compiled)
            continue
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            critic = Critic(player.view).to(config.device)
        groups = [{"params": list(part.parameters())} for part in (player, critic)]
        rate = networks[name].learning_rate if config.learning_rate is None else config.learning_rate
        learners[role.name] = Learner(player, critic, torch.optim.Adam(groups, fused=True), rate, config.compiled)
        first[role.seat] = learners[role.name]
    return Team(spec, learners, torch.Generator(config.device))


def tie(player: Player, model: Player) -> None:
    """Make a player's weights those of another role's player, so that what either learns both know."""
    roles = [p.spec.roles[p.role].name for p in (model, player)]
    layouts = [[(c.start, c.stop, c.high) for c in p.view] for p in (model, player)]
    weights = [{name: p.shape for name, p in which.named_parameters()} for which in (model, player)]
    if layouts[0] != layouts[1] or weights[0] != weights[1]:
        raise ValueError(
            f"shared=True: {roles[0]!r} and {roles[1]!r} do not see and say the same things; one network cannot be both"
        )
    for name, weight in model.named_parameters():
        owner, _, leaf = name.rpartition(".")
        player.get_submodule(owner)._parameters[leaf] = weight
