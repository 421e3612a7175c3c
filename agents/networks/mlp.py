"""mlp: a multilayer perceptron on one-hot inputs, which knows nothing of how fields align."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pvg.agent import Observation
from pvg.agents.networks.base import ProverNetwork, VerifierNetwork
from pvg.agents.networks.reading import Given, look_up
from pvg.agents.networks.registry import Network, networks
from pvg.spec import Spec, View
from pvg.verifier import message_columns


def column_highs(view: View) -> list[int]:
    """How many values each packed position has."""
    return [column.high for column in view for _ in range(column.field.size)]


class RowSum(torch.autograd.Function):
    """`embedding_bag` in mode sum, of rows that differ within a bag: `N width` from indices `N column` and a table `row width`.

    Its gradient is a product with one-hot indices, which on a CPU takes a tenth of the time of `embedding_bag`'s own.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, table: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        ctx.size = len(table)
        return F.embedding_bag(rows, table, mode="sum")

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        (rows,) = ctx.saved_tensors
        one_hot = gradient.new_zeros((len(rows), ctx.size)).scatter_(1, rows, 1.0)
        return None, one_hot.T @ gradient


class OneHot(nn.Module):
    """A linear layer on one-hot inputs, `N width`: the sum over columns of a learned vector for the column's value."""

    offset: Tensor

    def __init__(self, highs: Sequence[int], width: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(sum(highs), width) / max(1, len(highs)) ** 0.5)
        self.register_buffer("offset", torch.tensor([0, *highs]).cumsum(0)[:-1], persistent=False)

    def vectors(self, values: Tensor) -> Tensor:
        """The vector of every value: `N column width`."""
        return F.embedding(values.long() + self.offset[: values.shape[1]], self.table)

    def forward(self, values: Tensor, columns: Tensor | None = None) -> Tensor:
        """values: `N column`, of all columns or of those whose indices `columns` lists."""
        offset = self.offset if columns is None else self.offset[columns]
        out: Tensor = RowSum.apply(values.long() + offset, self.table)
        return out


def perceptron(width: int, layers: int, out: int) -> nn.Sequential:
    """What follows a first layer of `width`: its activation, `layers - 1` more hidden layers, and the output."""
    hidden = [module for _ in range(layers - 1) for module in (nn.Linear(width, width), nn.ReLU())]
    return nn.Sequential(nn.ReLU(), *hidden, nn.Linear(width, out))


class MLPVerifier(VerifierNetwork):
    """An MLP from the packed observation to the answers. width: of each of `layers` hidden layers."""

    def __init__(self, spec: Spec, role: str = "verifier", width: int = 256, layers: int = 2, abstains: bool | None = None) -> None:
        super().__init__(spec, role, abstains)
        self.first = OneHot(column_highs(self.view), width)
        self.rest = perceptron(width, layers, self.outputs)

    def log_probs(self, packed: Tensor, given: Given | None = None) -> Tensor:
        first = self.first
        read = look_up(first.table, first.offset, packed, self.view, given).sum(1) if given else first(packed)
        out: Tensor = self.rest(read)
        return out.log_softmax(1)

    def acceptance(self, statement: Observation, messages: Tensor) -> Tensor:
        """The first layer's part of the statement is computed once for all its messages."""
        columns = message_columns(statement.view).to(messages.device)
        if statement.replay is not None or len(columns) == 0 or messages.shape[2] != len(columns):
            return super().acceptance(statement, messages)
        others = torch.ones(statement.view.width, dtype=torch.bool, device=messages.device)
        others[columns] = False
        kept = others.nonzero()[:, 0]
        once = self.first(statement.packed[:, kept], kept)
        each = self.first(messages.flatten(0, 1) + 1, columns).unflatten(0, messages.shape[:2])
        out: Tensor = self.rest(each.add_(once[:, None]))
        return out.softmax(2)[:, :, 1]


class MLPProver(ProverNetwork):
    """An MLP for the next symbol: the packed observation, the symbols said so far and the position add up in its
    first layer.
    """

    def __init__(self, spec: Spec, role: str = "prover", width: int = 256, layers: int = 2, abstains: bool | None = None) -> None:
        super().__init__(spec, role, abstains)
        self.first = OneHot(column_highs(self.view), width)
        self.said = OneHot([self.symbols] * self.positions, width)
        self.position = nn.Parameter(torch.randn(self.positions, width))
        self.rest = perceptron(width, layers, self.symbols)

    def encode(self, packed: Tensor) -> Tensor:
        out: Tensor = self.first(packed)
        return out

    def decode(self, context: Tensor, message: Tensor) -> Tensor:
        before = torch.ones((message.shape[1],) * 2, device=message.device).tril(-1)  # l l; three times as fast as a cumsum
        said = before @ self.said.vectors(message)  # N l width
        out: Tensor = self.rest(context[:, None] + said + self.position[: message.shape[1]])
        return out

    def next(self, context: Tensor, said: Tensor, memory: Tensor | None) -> tuple[Tensor, Tensor]:
        j = said.shape[1]
        total = context if memory is None else memory + self.said.table[said[:, -1] + self.said.offset[j - 1]]  # N width
        return self.rest(total + self.position[j]), total


networks.register("mlp")(
    Network("multilayer perceptron on one-hot inputs; no structure", MLPVerifier, MLPProver, 256, 2, learning_rate=3e-3)
)
