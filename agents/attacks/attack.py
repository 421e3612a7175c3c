"""What an attack is: a search for the message a verifier accepts, by asking it within a budget."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from pvg.agent import Agent, find_agent
from pvg.agents.attacks import queries
from pvg.agents.attacks.queries import Queries
from pvg.agents.claims import Claims
from pvg.registry import Registry
from pvg.spec import Spec
from pvg.verifier import Verifier


@dataclass(frozen=True)
class Means:
    """What attackers bring besides queries.

    others: other verifiers by name, whose weaknesses may be this one's too. games: played against this one to train a prover.
    """

    others: Mapping[str, Verifier] = field(default_factory=dict)
    games: int = 0


@dataclass(frozen=True)
class Target:
    """A verifier, the claims it is to accept, and the means to attack it."""

    verifier: Verifier
    claims: Claims
    means: Means = Means()

    @property
    def spec(self) -> Spec:
        return self.claims.game.spec

    @property
    def alphabet(self) -> tuple[int, ...]:
        """How many symbols each position has."""
        return self.claims.seats.alphabet

    @property
    def highest(self) -> Tensor:
        """`position` int32: the highest symbol of each position."""
        return torch.tensor(self.alphabet, dtype=torch.int32, device=self.claims.dealt.device) - 1

    @cached_property
    def provers(self) -> dict[str, Agent]:
        """The proof's dishonest provers, the strongest known last."""
        proof = self.spec.proof
        assert proof is not None, "messages are made of a proof"
        return {name: find_agent(name, self.spec) for name in proof.dishonest}

    @cached_property
    def scripted(self) -> Tensor:
        """`claim prover position` int32: what each of them says, the strongest known first, made legal."""
        said = [self.claims.argue(prover)[0] for prover in reversed(self.provers.values())]
        said = said or [torch.zeros_like(self.highest).expand(len(self.claims), -1)]
        return torch.stack(said, dim=1).clamp(min=0).minimum(self.highest)

    def random(self, count: int, generator: torch.Generator) -> Tensor:
        """`claim count position` int32, uniformly drawn messages."""
        draws = torch.rand((len(self.claims), count, len(self.alphabet)), generator=generator, device=generator.device)
        return (draws.to(self.highest.device) * (self.highest + 1)).int().minimum(self.highest)

    def starts(self, generator: torch.Generator) -> Iterator[Tensor]:
        """`claim position`, without end: what the scripted provers say, then random messages."""
        yield from self.scripted.unbind(1)
        while True:
            yield self.random(1, generator)[:, 0]

    def at_once(self, most: int) -> int:
        """How many messages a claim to ask about in one go: `most`, or as many as memory allows."""
        return max(1, min(most, queries.CHUNK // len(self.claims)))


class Attack(ABC):
    """One way to look for the message a verifier accepts; settings are fixed, never fitted to the claims attacked.

    white_box: whether it needs more of the verifier than its verdicts, such as its steps or its gradients.
    """

    white_box: ClassVar[bool] = False

    @classmethod
    def members(cls, target: Target) -> dict[str, Attack]:
        """The attacks there are of the kind, by what is added to its name."""
        return {"": cls()}

    def unfit(self, target: Target, budget: int) -> str | None:
        """Why it cannot be used on this target; None where it can."""
        return None

    def prepare(self, target: Target, generator: torch.Generator) -> dict[str, int]:
        """What is done before any claim is attacked, and what that cost, by what is counted; the budget counts none of it."""
        return {}

    @abstractmethod
    def search(self, target: Target, ask: Queries, generator: torch.Generator) -> None:
        """Ask until nothing is left to try or `ask` ends it; `ask` keeps the best message."""


attacks: Registry[type[Attack]] = Registry("attack")
