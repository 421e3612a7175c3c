"""What every network is: a player of one role that reads packed observations and knows how likely its choices are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pvg.agent import Observation, Utterance
from pvg.agents import distributed
from pvg.agents.interpretability import StepLabels, activations
from pvg.agents.networks.reading import Given, mixtures
from pvg.protocol import VERDICT
from pvg.spec import Spec
from pvg.verifier import with_messages

# Observations evaluated at once by `verdict`: bounds its memory.
ROWS = 16384


class Player(nn.Module, ABC):
    """A learned player of one role.

    Its draws come from `generator`, so that playing never touches global random state.
    abstains: whether its verdict may be "don't know". None: where it may give one at several turns, and so can wait to hear
    more; elsewhere its probability says that better. ValueError: of a role that gives no verdict.
    """

    def __init__(self, spec: Spec, role: str, abstains: bool | None = None) -> None:
        super().__init__()
        self.spec, self.role = spec, spec.role_index(role)
        self.view = spec.view(self.role)
        self.generator = torch.Generator()
        self.kinds = [spec.rows[row].kind if row >= 0 else None for row in spec.row_of(self.role)]  # by turn
        verdicts = self.kinds.count(VERDICT)
        if abstains is not None and verdicts == 0:
            raise ValueError(f"abstains={abstains}: role {role!r} gives no verdict")
        self.abstains = verdicts > 1 if abstains is None else abstains

    @abstractmethod
    def act(self, observation: Observation, acting: Tensor) -> Utterance:
        """Sample what to say in every lane."""

    @abstractmethod
    def evaluate(self, packed: Tensor, symbols: Tensor) -> tuple[Tensor, Tensor]:
        """The log probability of saying `symbols` (`N position`) at `packed` (`N width`), and the entropy: both `N`."""

    @torch.no_grad()
    def probabilities(self, observation: Observation, actions: Tensor) -> Tensor:
        """How likely it is to say each of A utterances (`A position`) at each of N observations: `N A`, as `pvg.solver` asks."""
        n, packed = len(observation.packed), observation.packed.repeat_interleave(len(actions), 0)
        said: Tensor = self.evaluate(packed, actions.repeat(n, 1))[0].exp()
        return said.reshape(n, -1)


class VerifierNetwork(Player):
    """A verifier that only judges: it gives a probability to each answer, and to "don't know" where it abstains.

    outputs: how many verdicts it may give, A answers and, where it abstains, "don't know", the last.
    """

    def __init__(self, spec: Spec, role: str, abstains: bool | None = None) -> None:
        super().__init__(spec, role, abstains)
        if not self.judges_only(spec, role):
            said = sorted({row.kind for row in spec.rows if role in row.speakers})
            raise ValueError(f"role {role!r}: a verifier network gives verdicts only, and the protocol has it say {said}")
        self.outputs = spec.task.answers + self.abstains

    @staticmethod
    def judges_only(spec: Spec, role: str) -> bool:
        """Whether all a role says is verdicts; what says more is for a ProverNetwork, whichever seat it has."""
        return {row.kind for row in spec.rows if role in row.speakers} == {VERDICT}

    @abstractmethod
    def log_probs(self, packed: Tensor, given: Given | None = None) -> Tensor:
        """The log probability of each verdict: `N output`, from packed observations `N width`.

        given: fields that are mixtures of values, whatever `packed` holds of them.
        """

    def relaxed(self, packed: Tensor, message: Tensor, evidence: Given | None = None) -> Tensor:
        """`log_probs` where what is heard is given as weights of symbols, in which it is differentiable: `N output`.

        message: `N position symbol`, positions as in `message_columns`, symbols up to the largest alphabet; one-hot weights
        are the message itself. evidence: by field, `N entry value` of packed values (0: nothing there). ValueError: other shapes.
        """
        return self.log_probs(packed, mixtures(self.view, len(packed), message, evidence))

    @torch.no_grad()
    def act(self, observation: Observation, acting: Tensor) -> Utterance:
        log_probs = self.log_probs(observation.packed)
        verdict = sample(log_probs, self.generator)
        said = log_probs.gather(1, verdict[:, None])
        return Utterance(verdict[:, None].to(torch.int32), log_probs[:, 1].exp(), said[:, 0])

    def evaluate(self, packed: Tensor, symbols: Tensor) -> tuple[Tensor, Tensor]:
        log_probs = self.log_probs(packed)
        said = log_probs.gather(1, symbols[:, :1].long())[:, 0]
        return said, -(log_probs.exp() * log_probs).sum(1)

    @torch.no_grad()
    def probabilities(self, observation: Observation, actions: Tensor) -> Tensor:
        known = self.log_probs(observation.packed).exp()
        return F.pad(known, (0, self.spec.task.answers + 1 - self.outputs))[:, actions[:, 0].long()]

    @torch.no_grad()
    def verdict(self, statement: Observation, messages: Tensor) -> Tensor:
        """v(x, m), as `pvg.verifier.Verifier` has it: `B K` from B statements and messages `B K position`."""
        if messages.dim() != 3 or len(messages) != len(statement.packed):
            raise ValueError(f"messages: expected (B={len(statement.packed)}, K, position), got {tuple(messages.shape)}")
        some = max(1, min(messages.shape[1], ROWS))
        batch = ROWS // some
        accepted = torch.empty(messages.shape[:2], device=messages.device)  # B K  float32
        for b in range(0, len(messages), batch):
            part = statement.rows(slice(b, b + batch))
            for k in range(0, messages.shape[1], some):
                tried = messages[b : b + batch, k : k + some]
                accepted[b : b + batch, k : k + some] = self.acceptance(part, tried)
        return accepted

    def acceptance(self, statement: Observation, messages: Tensor) -> Tensor:
        """`verdict` of as many messages as fit at once; networks that can share work between messages do it here."""
        heard = with_messages(statement, messages)
        return self.log_probs(heard.packed)[:, 1].exp().reshape(messages.shape[:2])

    def activations(self, dataset: Observation | StepLabels, layer: str) -> Tensor:
        """What the submodule of a dotted name puts out for each game, `n ...`: `pvg.agents.interpretability.activations`."""
        return activations(self, dataset, layer)


class ProverNetwork(Player):
    """A player that says its utterances symbol by symbol: p(m | x) = product over j of p(m_j | x, m_1 .. m_{j-1}).

    A prover, or a verifier that asks too: a verdict is an utterance of one symbol.
    """

    legal: Tensor
    judging: Tensor

    def __init__(self, spec: Spec, role: str, abstains: bool | None = None) -> None:
        super().__init__(spec, role, abstains)
        highs = spec.choices(self.role)
        self.positions, self.symbols = len(highs), int(highs.max())
        speaking = [turn for turn, kind in enumerate(self.kinds) if kind is not None]
        self._only = speaking[0] if len(speaking) == 1 else None
        self.register_buffer("legal", self._legal(), persistent=False)
        self.register_buffer("judging", torch.tensor([False, *(kind == VERDICT for kind in self.kinds)]), persistent=False)

    @abstractmethod
    def encode(self, packed: Tensor) -> Any:
        """What `decode` needs of the observations, computed once an utterance."""

    @abstractmethod
    def decode(self, context: Any, message: Tensor) -> Tensor:
        """`N l symbol` scores for the first l positions of messages `N l`; position j reads symbols before j only."""

    def next(self, context: Any, said: Tensor, memory: Any) -> tuple[Tensor, Any]:
        """`N symbol` scores for the position after `said` (`N l`), and what is to be remembered for the position after it.

        memory: what was to be remembered, None at the start. Where nothing is, all that was said is decoded again.
        """
        return self.decode(context, F.pad(said, (0, 1)))[:, -1], None

    def logits(self, packed: Tensor, message: Tensor) -> Tensor:
        """Unnormalised log probabilities of each next symbol of given messages: `N position symbol`, -inf outside the
        alphabet.
        """
        return self.decode(self.encode(packed), message).masked_fill(self.at_turn(~self.legal, packed), -torch.inf)

    @torch.no_grad()
    def act(self, observation: Observation, acting: Tensor) -> Utterance:
        """As in `Player`; a verifier's belief is its probability of answer 1 at turns at which it judges, else -1."""
        packed = observation.packed
        context, illegal = self.encode(packed), self.at_turn(~self.legal, packed)
        message = torch.zeros((len(packed), self.positions), dtype=torch.int64, device=packed.device)
        scores, memory, belief = [], None, None
        for j in range(self.positions):
            score, memory = self.next(context, message[:, :j], memory)
            scores.append(score.masked_fill(illegal[:, j], -torch.inf))
            message[:, j] = sample(scores[j], self.generator)
        if self.spec.roles[self.role].seat == "verifier":
            belief = torch.where(self.at_turn(self.judging, packed), scores[0].softmax(1)[:, 1], -1)
        return Utterance(message.to(torch.int32), belief, how_likely(torch.stack(scores, 1), message)[0])

    def evaluate(self, packed: Tensor, symbols: Tensor) -> tuple[Tensor, Tensor]:
        symbols = symbols[:, : self.positions].long()
        return how_likely(self.logits(packed, symbols), symbols)

    def _legal(self) -> Tensor:
        """`turn + 1, position, symbol` bool: what may be said at each turn; past an utterance's end, and when the
        game is over, only 0.
        """
        rows = self.spec.row_of(self.role)
        legal = torch.zeros((self.spec.turns + 1, self.positions, self.symbols), dtype=torch.bool)
        legal[:, :, 0] = True
        for turn, row in enumerate(rows):
            for j in range(self.positions if row >= 0 else 0):
                symbols = int(self.spec.alphabet[row, j]) - (self.kinds[turn] == VERDICT and not self.abstains)
                legal[turn + 1, j, : max(1, symbols)] = True
        return legal

    def at_turn(self, table: Tensor, packed: Tensor) -> Tensor:
        """The entry of a table by turn + 1 at each observation; a role that speaks at one turn only is not told the turn."""
        if self._only is not None:
            return table[self._only + 1].expand(len(packed), *table.shape[1:])
        return table[packed[:, self.view["turn"].start].long()]


def sample(logits: Tensor, generator: torch.Generator) -> Tensor:
    """One draw a row from softmax(logits) by the Gumbel-argmax: `N` int64 from `N symbol`; six times faster than
    `multinomial`.

    Of several processes that train together each draws what one would for all their lanes, and takes its own.
    """
    waiting = logits.new_empty((distributed.size() * len(logits), logits.shape[1])).exponential_(generator=generator)
    return (logits - distributed.own(waiting).log()).argmax(1)


class HowLikely(torch.autograd.Function):
    """See `how_likely`: with its gradient, in a third of the time. Symbols go first, since a softmax over few neighbours in
    memory takes eight times as long.
    """

    @staticmethod
    def forward(ctx: Any, scores: Tensor, symbols: Tensor) -> tuple[Tensor, Tensor]:
        log_p = scores.movedim(2, 0).contiguous().log_softmax(0)  # symbol N position
        said = log_p.gather(0, symbols[None])[0]
        log_p.clamp_(min=-1e4)  # finite, and its exponential 0
        p = log_p.exp()
        entropy = -(p * log_p).sum(0)  # N position
        ctx.save_for_backward(scores, symbols, p, log_p, entropy)
        return said.sum(1), entropy.sum(1)

    @staticmethod
    def backward(ctx: Any, of_said: Tensor, of_entropy: Tensor) -> tuple[Tensor, None]:
        """d said / d score = 1[symbol] - p; d entropy / d score = -p (log p + entropy)."""
        scores, symbols, p, log_p, entropy = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is asked for: of what depends on the scores
            log_p = scores.movedim(2, 0).log_softmax(0).clamp(min=-1e4)
            p = log_p.exp()
            entropy = -(p * log_p).sum(0)
        gradient = -p * ((log_p + entropy) * of_entropy[:, None] + of_said[:, None])
        gradient = gradient.scatter_add(0, symbols[None], of_said[None, :, None].expand(1, *symbols.shape))
        return gradient.movedim(0, 2), None


def how_likely(scores: Tensor, symbols: Tensor) -> tuple[Tensor, Tensor]:
    """The log probability of saying symbols (`N position`) and the entropy of what might be said, both `N`, where each position's
    symbol is drawn from the softmax of its scores: `N position symbol`, -inf where it cannot be said.
    """
    said, entropy = HowLikely.apply(scores, symbols)
    return said, entropy
