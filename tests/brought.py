"""Verifiers as users bring them: one that keeps the contract, and one for each way to break it."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pvg.agent import Observation
from pvg.agents.networks import VerifierNetwork
from pvg.protocols import ProverVerifier
from pvg.spec import View, resolve
from pvg.tasks import Arith
from pvg.verifier import ScriptedVerifier

TASK = Arith(operations=2, modulus=2)
REFERENCE = ScriptedVerifier(resolve(TASK, ProverVerifier()))


class Mine(nn.Module):
    """A perceptron on one-hot inputs.

    The rest of the docstring is not shown.
    """

    learning_rate = 5e-3

    def __init__(self, view: View, width: int = 64) -> None:
        super().__init__()
        self.highest = max(column.high for column in view)
        self.net = nn.Sequential(nn.Linear(view.width * self.highest, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, packed: Tensor) -> Any:
        return self.net(F.one_hot(packed, self.highest).float().flatten(1))[:, 0]


class Shaped(Mine):
    def forward(self, packed: Tensor) -> Any:
        return super().forward(packed)[:, None]


class NotANumber(Mine):
    def forward(self, packed: Tensor) -> Any:
        return super().forward(packed) * torch.nan


class Diverging(Mine):
    def forward(self, packed: Tensor) -> Any:
        logits = super().forward(packed)
        return logits * torch.nan if self.training and len(packed) > 30 else logits  # in a batch of training, not when inspected


class Elsewhere(Mine):
    def forward(self, packed: Tensor) -> Any:
        return super().forward(packed).to("meta")


class Listing(Mine):
    def forward(self, packed: Tensor) -> Any:
        return super().forward(packed).tolist()


class Raising(Mine):
    def forward(self, packed: Tensor) -> Any:
        raise RuntimeError("mat1 and mat2 cannot be multiplied")


class Unmade(Mine):
    def __init__(self, view: View) -> None:
        super().__init__(view)


class Fickle(Mine):
    def forward(self, packed: Tensor) -> Any:
        return super().forward(packed) + torch.randn(len(packed))


class Random(Fickle):
    stochastic = True


class Gregarious(Mine):
    def forward(self, packed: Tensor) -> Any:
        logits = super().forward(packed)
        return logits - logits.mean()


class Choosy(VerifierNetwork):
    """A structural prior that is made for one task."""

    structural = True
    relaxed = None  # it reads symbols alone

    def __init__(self, spec: Any, role: str, width: int = 64, layers: int = 2, abstains: bool | None = None) -> None:
        if spec.task != TASK:
            raise ValueError("made for another task")
        super().__init__(spec, role, abstains)
        self.module = Mine(self.view, width)

    def log_probs(self, packed: Tensor, given: Any = None) -> Tensor:
        logits = self.module(packed.long())
        return F.logsigmoid(torch.stack([-logits, logits], 1))


class Inattentive(VerifierNetwork):
    """Says that it reads mixtures of symbols, and does not."""

    def __init__(self, spec: Any, role: str, width: int = 64, layers: int = 2, abstains: bool | None = None) -> None:
        super().__init__(spec, role, abstains)
        self.module = Mine(self.view, width)

    def log_probs(self, packed: Tensor, given: Any = None) -> Tensor:
        logits = self.module(packed.long())
        return F.logsigmoid(torch.stack([-logits, logits], 1))


def credulous(statement: Observation, messages: Tensor) -> Tensor:
    """Believes nearly everything."""
    return torch.full(messages.shape[:2], 0.9)


def flat(statement: Observation, messages: Tensor) -> Tensor:
    return torch.full(messages.shape[:1], 0.9)


class Reference:
    """The reference verifier as a black box."""

    def verdict(self, statement: Observation, messages: Tensor) -> Tensor:
        return REFERENCE.verdict(statement, messages)


class Reader:
    """A black box that reads sums as text, and does them."""

    reads = "text"

    def verdict(self, statements: list[str], messages: list[list[str]]) -> list[list[float]]:
        return [[self.right(s, m) for m in some] for s, some in zip(statements, messages, strict=True)]

    def right(self, statement: str, message: str) -> float:
        expression, _, claim = statement.removesuffix(" (mod 2)").partition(" = ")
        start, *steps = expression.replace("- ", "-").replace("+ ", "+").split()
        states = [int(start)]
        for step in steps:
            states.append((states[-1] + int(step)) % 2)
        said = [int(word) for word in message.removeprefix("prover: ").split()]
        return float(said == states[1:-1] and states[-1] == int(claim))


number = 3


def count(name: str, log: str, fails: str = "") -> dict[str, Any]:
    """A job that says it was run, in a file, and may fail."""
    with open(log, "a") as file:
        file.write(f"{name}\n")
    if fails == "raises":
        raise ValueError(f"no {name}")
    if fails == "dies":
        os._exit(3)
    return {"name": name}
