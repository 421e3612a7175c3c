"""transformer: attention between the packed positions of a view, with place embeddings shared along shared axes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pvg.agent import Observation
from pvg.agents.networks.base import Network, ProverNetwork, VerifierNetwork, networks
from pvg.field import Field
from pvg.spec import Spec
from pvg.verifier import message_columns

HEADS = 4


def axes_of(f: Field) -> tuple[str, ...]:
    """A field's axes; those nobody named are its own."""
    return f.axes or tuple(f"{f.name} {d}" for d in range(len(f.shape)))


class Tokens(nn.Module):
    """A vector for each value of each field, and one for each place: the sum over a field's axes of a vector for the index there.

    Fields that share a named axis share its vectors, which is how attention finds what is aligned.
    fields: each with how many values its packed positions have; its positions are tokens, one after the other.
    """

    offset: Tensor
    place: Tensor

    def __init__(self, fields: Sequence[tuple[Field, int]], width: int) -> None:
        super().__init__()
        length = {axis: 0 for f, _ in fields for axis in axes_of(f)}
        for f, _ in fields:
            for axis, size in zip(axes_of(f), f.shape, strict=True):
                length[axis] = max(length[axis], size)
        first = dict(zip(length, np.cumsum([0, *length.values()]).tolist(), strict=False))
        deepest = max([len(f.shape) for f, _ in fields], default=0)
        self.nowhere = sum(length.values())
        place = []
        for f, _ in fields:
            starts = [first[axis] for axis in axes_of(f)]
            for index in np.ndindex(f.shape):
                rows = [start + i for start, i in zip(starts, index, strict=True)]
                place.append(rows + [self.nowhere] * (deepest - len(rows)))
        highs = [0, *(high for _, high in fields)]
        offset = np.repeat(np.cumsum(highs)[:-1], [f.size for f, _ in fields])
        self.value = nn.Embedding(sum(highs), width)
        self.along = nn.Embedding(self.nowhere + 1, width, padding_idx=self.nowhere)
        self.register_buffer("offset", torch.as_tensor(offset), persistent=False)
        self.register_buffer("place", torch.tensor(place).reshape(len(place), deepest), persistent=False)

    def values(self, values: Tensor, tokens: Tensor) -> Tensor:
        """`... t width` for the values `... t` of the listed tokens, without their places."""
        out: Tensor = self.value(values.long() + self.offset[tokens])
        return out

    def places(self, tokens: Tensor) -> Tensor:
        """`t width`."""
        out: Tensor = self.along(self.place[tokens]).sum(1)
        return out


class Block(nn.Module):
    """Pre-norm attention and a two-layer perceptron, both added to what came in. Source: Vaswani et al. 2017; Xiong et al. 2020."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key_value = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.perceptron = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor, seen: Tensor | None, mask: Tensor | None) -> Tensor:
        """x: `B K t width`, K sequences of tokens that follow what was `seen` (`B s width`); mask: `t t`, added to their scores."""
        inside = self.norm(x)
        query = _heads(self.query(inside))  # B K head t d
        key, value = (_heads(part) for part in self.key_value(inside).chunk(2, dim=-1))
        scores = query @ key.mT
        scores = scores if mask is None else scores + mask
        if seen is not None:
            # All K sequences ask the same keys: one product, in which they stand one after the other.
            asked = query.transpose(1, 2).flatten(2, 3)  # B head (K t) d
            before, told = (_heads(part) for part in self.key_value(self.norm(seen)).chunk(2, dim=-1))
            outer = (asked @ before.mT).unflatten(2, (x.shape[1], x.shape[2])).transpose(1, 2)  # B K head t s
            scores = torch.cat([outer, scores], -1)
        weight = (scores * query.shape[-1] ** -0.5).softmax(-1)
        heard = weight[..., weight.shape[-1] - x.shape[2] :] @ value
        if seen is not None:
            outer = weight[..., : seen.shape[1]].transpose(1, 2).flatten(2, 3)
            heard = heard + (outer @ told).unflatten(2, (x.shape[1], x.shape[2])).transpose(1, 2)
        x = x + self.out(heard.transpose(2, 3).flatten(3))
        out: Tensor = x + self.perceptron(self.norm_2(x))
        return out


def _heads(x: Tensor) -> Tensor:
    return x.unflatten(-1, (HEADS, -1)).transpose(-3, -2)


class Trunk(nn.Module):
    """Blocks over a context, and over what follows it: the context attends to itself only, so it is computed once for many followers."""

    def __init__(self, width: int, layers: int, out: int) -> None:
        super().__init__()
        if width % HEADS:
            raise ValueError(f"width={width}: a transformer's must be a multiple of {HEADS}")
        self.blocks = nn.ModuleList(Block(width) for _ in range(layers))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, out))

    def context(self, x: Tensor) -> list[Tensor]:
        """What each block sees of the context `B s width`."""
        seen = [x]
        for block in list(self.blocks)[:-1]:
            seen.append(block(seen[-1][:, None], None, None)[:, 0])
        return seen

    def forward(self, context: list[Tensor], x: Tensor, mask: Tensor | None = None) -> Tensor:
        """`B K t out` of the followers `B K t width`."""
        for block, seen in zip(self.blocks, context, strict=True):
            x = block(x, seen, mask)
        out: Tensor = self.head(x)
        return out


class TransformerVerifier(VerifierNetwork):
    """Reads the verdict off a token of its own that follows the statement and the message. width, layers: of the blocks."""

    said: Tensor
    given: Tensor

    def __init__(self, spec: Spec, role: str = "verifier", width: int = 64, layers: int = 2) -> None:
        super().__init__(spec, role)
        self.tokens = Tokens([(column.field, column.high) for column in self.view], width)
        self.asking = nn.Parameter(torch.randn(width))
        self.trunk = Trunk(width, layers, spec.task.answers)
        said = message_columns(self.view)
        self.register_buffer("said", said, persistent=False)
        given = torch.tensor(sorted(set(range(self.view.width)) - set(said.tolist())), dtype=torch.long)
        self.register_buffer("given", given, persistent=False)

    def log_probs(self, packed: Tensor) -> Tensor:
        return self._answers(packed, packed[:, None, self.said])[:, 0]

    def acceptance(self, statement: Observation, messages: Tensor) -> Tensor:
        return self._answers(statement.packed, messages + 1)[:, :, 1].exp()

    def _answers(self, packed: Tensor, said: Tensor) -> Tensor:
        """`B K answer` for packed values of K messages `B K position` to each statement."""
        context = self.tokens.values(packed[:, self.given], self.given) + self.tokens.places(self.given)
        heard = self.tokens.values(said, self.said) + self.tokens.places(self.said)
        asking = self.asking.expand(*said.shape[:2], 1, -1)
        out: Tensor = self.trunk(self.trunk.context(context), torch.cat([heard, asking], 2))
        return out[:, :, -1].log_softmax(2)


class TransformerProver(ProverNetwork):
    """A decoder: the token that says position j knows the symbol at j - 1, the place of j, and attends to the tokens before."""

    given: Tensor
    mine: Tensor

    def __init__(self, spec: Spec, role: str = "prover", width: int = 64, layers: int = 2) -> None:
        super().__init__(spec, role)
        rows = spec.row_of(self.role)
        utterances = {spec.parts(spec.rows[row]) for row in rows if row >= 0}
        parts = utterances.pop() if len(utterances) == 1 else (Field("symbol", self.symbols, (self.positions,)),)
        seen = [(column.field, column.high) for column in self.view]
        self.tokens = Tokens([*seen, *((part, part.high) for part in parts)], width)
        self.begin = nn.Parameter(torch.randn(width))
        self.trunk = Trunk(width, layers, self.symbols)
        self.register_buffer("given", torch.arange(self.view.width), persistent=False)
        self.register_buffer("mine", self.view.width + torch.arange(self.positions), persistent=False)

    def encode(self, packed: Tensor) -> list[Tensor]:
        return self.trunk.context(self.tokens.values(packed, self.given) + self.tokens.places(self.given))

    def decode(self, context: list[Tensor], message: Tensor) -> Tensor:
        length = message.shape[1]
        before = self.tokens.values(message[:, :-1], self.mine[: length - 1])
        said = torch.cat([self.begin.expand(len(message), 1, -1), before], 1) + self.tokens.places(self.mine[:length])
        mask = torch.full((length, length), -torch.inf, device=said.device).triu(1)
        out: Tensor = self.trunk(context, said[:, None], mask)
        return out[:, 0]


networks.register("transformer")(
    Network("attention between the fields' positions; no structure", TransformerVerifier, TransformerProver, width=64, layers=2)
)
