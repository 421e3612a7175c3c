"""gru: a recurrent network that reads the places of a view one after the other and says its symbols the same way."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pvg.agents.networks.base import ProverNetwork, VerifierNetwork
from pvg.agents.networks.reading import Given
from pvg.agents.networks.registry import Network, networks
from pvg.agents.networks.tokens import Tokens, places_said
from pvg.spec import Spec


class GRUVerifier(VerifierNetwork):
    """A GRU over the tokens of all places, and a linear reading of its last state. width, layers: of the GRU."""

    def __init__(self, spec: Spec, role: str = "verifier", width: int = 64, layers: int = 1, abstains: bool | None = None) -> None:
        super().__init__(spec, role, abstains)
        self.tokens = Tokens(self.view, width)
        self.reader = nn.GRU(width, width, layers, batch_first=True)
        self.head = nn.Linear(width, self.outputs)

    def log_probs(self, packed: Tensor, given: Given | None = None) -> Tensor:
        out: Tensor = self.head(self.reader(self.tokens(packed, given))[1][-1])
        return out.log_softmax(1)


class GRUProver(ProverNetwork):
    """One GRU reads the tokens; another goes on from its state, and at position j hears the symbol before and what the view
    holds at the place of j.
    """

    mine: Tensor

    def __init__(self, spec: Spec, role: str = "prover", width: int = 64, layers: int = 1, abstains: bool | None = None) -> None:
        super().__init__(spec, role, abstains)
        known = places_said(spec, self.role)
        self.tokens = Tokens(self.view, width, known)
        self.said = nn.Embedding(self.symbols + 1, width)
        self.reader = nn.GRU(width, width, layers, batch_first=True)
        self.speaker = nn.GRU(width, width, layers, batch_first=True)
        self.head = nn.Linear(width, self.symbols)
        self.register_buffer("mine", torch.tensor([self.tokens.number[place] for place in known]), persistent=False)

    def encode(self, packed: Tensor) -> tuple[Tensor, Tensor]:
        tokens = self.tokens(packed)
        alone = self.tokens.places()[tokens.shape[1] :].expand(len(packed), -1, -1)
        state: Tensor = self.reader(tokens)[1]  # layer N width
        return state, torch.cat([tokens, alone], 1)[:, self.mine]

    def decode(self, context: tuple[Tensor, Tensor], message: Tensor) -> Tensor:
        state, at_place = context
        before = F.pad(message[:, :-1], (1, 0), value=self.symbols)  # N l  with a symbol of its own for "nothing yet"
        out: Tensor = self.head(self.speaker(at_place[:, : message.shape[1]] + self.said(before), state)[0])
        return out

    def next(self, context: tuple[Tensor, Tensor], said: Tensor, memory: Tensor | None) -> tuple[Tensor, Tensor]:
        state, at_place = context
        before = F.pad(said, (1, 0), value=self.symbols)[:, -1]
        heard = at_place[:, said.shape[1]] + self.said(before)
        out, memory = self.speaker(heard[:, None], state if memory is None else memory)
        return self.head(out[:, 0]), memory


networks.register("gru")(
    Network(
        "a GRU that reads place by place and says symbol by symbol; aligned fields meet in one step of it",
        GRUVerifier,
        GRUProver,
        width=64,
        layers=1,
        learning_rate=3e-3,
    )
)
