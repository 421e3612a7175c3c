"""transformer: attention between the places of a view, where aligned fields meet in one token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pvg.agents.networks.base import ProverNetwork, VerifierNetwork
from pvg.agents.networks.reading import Given
from pvg.agents.networks.registry import Network, networks
from pvg.agents.networks.tokens import Tokens, places_said
from pvg.spec import Spec

HEADS = 4

# Keys and values of the tokens before, `N head token d` each.
Past: TypeAlias = tuple[Tensor, Tensor]


class Block(nn.Module):
    """Attention and a two-layer perceptron, each on normalised inputs and added to them.

    Source: Vaswani et al. 2017; normalised before, not after: Xiong et al. 2020.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.ask, self.tell = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.perceptron = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor, mask: Tensor | None, past: Past | None = None) -> tuple[Tensor, Past]:
        """x: `N token width`, returned with the past of the tokens after it; mask: `token token`, whether the first attends to
        the second.
        """
        query, key, value = self.ask(self.norm(x)).unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)  # N head token d
        if past is not None:
            key, value = torch.cat([past[0], key], 2), torch.cat([past[1], value], 2)
        heard = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        x = x + self.tell(heard.transpose(1, 2).flatten(2))
        return x + self.perceptron(self.norm_2(x)), (key, value)


class Trunk(nn.Module):
    """Blocks, and a linear reading of what they make."""

    def __init__(self, width: int, layers: int, out: int) -> None:
        super().__init__()
        if width % HEADS:
            raise ValueError(f"width={width}: a transformer's must be a multiple of {HEADS}")
        self.blocks = nn.ModuleList(Block(width) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, out)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, past: Sequence[Past | None] | None = None
    ) -> tuple[Tensor, list[Past]]:
        """`N token width`, normalised, and each block's past of the tokens after these."""
        kept = []
        for block, before in zip(self.blocks, past or [None] * len(self.blocks), strict=True):
            x, after = block(x, mask, before)
            kept.append(after)
        return self.norm(x), kept


class TransformerVerifier(VerifierNetwork):
    """Attention over all places, then the mean of what the tokens hold. width, layers: of the blocks.

    The mean, because every token can find fault by itself; a token that must first ask the others learns far later.
    """

    def __init__(self, spec: Spec, role: str = "verifier", width: int = 64, layers: int = 2, abstains: bool | None = None) -> None:
        super().__init__(spec, role, abstains)
        self.tokens = Tokens(self.view, width)
        self.trunk = Trunk(width, layers, self.outputs)

    def log_probs(self, packed: Tensor, given: Given | None = None) -> Tensor:
        out: Tensor = self.trunk.head(self.trunk(self.tokens(packed, given))[0].mean(1))
        return out.log_softmax(1)


class TransformerProver(ProverNetwork):
    """A decoder: the token that says position j has the place of j and the symbol before it, and attends to the
    tokens before.
    """

    mine: Tensor
    mask: Tensor

    def __init__(self, spec: Spec, role: str = "prover", width: int = 64, layers: int = 2, abstains: bool | None = None) -> None:
        super().__init__(spec, role, abstains)
        known = places_said(spec, self.role)
        self.tokens = Tokens(self.view, width, known)
        self.said = nn.Embedding(self.symbols + 1, width)
        self.trunk = Trunk(width, layers, self.symbols)
        seen, length = len(self.tokens.tokens), len(self.tokens.tokens) + self.positions
        mask = torch.ones((length, length), dtype=torch.bool).tril()
        mask[:seen, :seen] = True
        self.register_buffer("mask", mask, persistent=False)
        self.register_buffer("mine", torch.tensor([self.tokens.number[p] for p in known]), persistent=False)

    def encode(self, packed: Tensor) -> Tensor:
        out: Tensor = self.tokens(packed)
        return out

    def decode(self, context: Tensor, message: Tensor) -> Tensor:
        length = message.shape[1]
        before = F.pad(message[:, :-1], (1, 0), value=self.symbols)  # N l  with a symbol of its own for "nothing yet"
        x = torch.cat([context, self.said(before) + self.tokens.places()[self.mine[:length]]], 1)
        out: Tensor = self.trunk.head(self.trunk(x, self.mask[: x.shape[1], : x.shape[1]])[0][:, -length:])
        return out

    def next(self, context: Tensor, said: Tensor, memory: list[Past] | None) -> tuple[Tensor, list[Past]]:
        before = F.pad(said, (1, 0), value=self.symbols)[:, -1:]
        here = said.shape[1]
        # Places by a slice: one number from a tensor is one the host would wait for.
        x = self.said(before) + self.tokens.places()[self.mine[here : here + 1]]  # N 1 width
        if memory is None:
            x, length = torch.cat([context, x], 1), context.shape[1] + 1
            x, memory = self.trunk(x, self.mask[:length, :length])
        else:
            x, memory = self.trunk(x, past=memory)
        return self.trunk.head(x[:, -1]), memory


networks.register("transformer")(
    Network(
        "attention between places, at each of which aligned fields meet; no structure beyond that",
        TransformerVerifier,
        TransformerProver,
        width=64,
        layers=2,
        learning_rate=3e-3,
    )
)
