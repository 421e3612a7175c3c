"""step_check: checks each step of a listed computation with one shared network.

A structural prior, near a truth table.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pvg.agents.networks.base import ProverNetwork, VerifierNetwork
from pvg.agents.networks.mlp import OneHot, perceptron
from pvg.agents.networks.reading import Given, one_hot
from pvg.agents.networks.registry import Network, networks
from pvg.field import Field
from pvg.spec import Column, Spec, View

# Keeps log v below 0, so that log(1 - v) stays finite. Any larger, and a wrong step once held for certain could not
# be unlearned: the gradient of log(1 - v) fades where the doubt that is left falls below this.
LEAST_DOUBT = 1e-30

# Bounds how sure a step can be. Blame for accepting a false claim goes to steps in proportion to their doubt; without a
# bound, a wrong step that had grown surer than the right ones would get none of it, and stay (half of all seeds did).
SHARPNESS = 20.0


@dataclass(frozen=True)
class Path:
    """Where a listed computation stands in a role's view.

    first, last: columns of the end states. between: of the states between, None where none is heard. aligned: of the
    fields with an entry a step. whole: the statement's other fields, which every step sees. steps: n. states: S, the
    states there may be.
    said: how many states a message has symbols for.
    """

    first: Column
    last: Column
    between: Column | None
    aligned: tuple[Column, ...]
    whole: tuple[Column, ...]
    steps: int
    states: int
    said: int


def find_path(spec: Spec, view: View) -> Path:
    """The path of the game's proof (without one, as in solo, of the task's first that has one); ValueError where
    there is none.
    """
    proofs = [spec.proof] if spec.proof is not None else list(spec.task.rules.proofs.values())
    found = next((proof for proof in proofs if proof.path is not None), None)
    task = type(spec.task).__name__
    if found is None or found.path is None:
        raise ValueError(f"network 'step_check' needs a proof that lists the states of a computation; {task} has none")
    start, between, end = found.path
    listed = next(part for parts in found.kinds.values() for part in parts if part.name == between)
    first, last = view[start], view[end]
    if listed.shape != (listed.size,) or first.field.size != 1 or last.field.size != 1:
        raise ValueError(f"network 'step_check' needs states of one symbol; {task}.{between} has shape {listed.shape}")
    steps = listed.size + 1
    stated = [column for column in view if column.origin in ("statement", "claim") and column not in (first, last)]
    aligned = tuple(c for c in stated if c.field.axes[:1] == ("step",) and c.field.shape[0] == steps)
    whole = tuple(column for column in stated if column not in aligned)
    heard = [column for column in view if column.origin == "said"]
    states = max(first.field.high, listed.high, last.field.high)
    return Path(first, last, _one_message(heard, listed), aligned, whole, steps, states, listed.high)


def _one_message(heard: list[Column], listed: Field) -> Column | None:
    if not heard:
        return None
    if [column.field for column in heard] != [listed]:
        names = [column.field.name for column in heard]
        raise ValueError(f"network 'step_check' reads one message, {listed.name!r}; this role hears {names}")
    return heard[0]


class StepInputs(nn.Module):
    """What is known at each step besides the states, `N step width`: the aligned fields, and those all steps see."""

    def __init__(self, path: Path, width: int) -> None:
        super().__init__()
        self.path = path
        highs = [column.high for column in path.aligned for _ in range(column.field.size // path.steps)]
        self.aligned = OneHot(highs, width)
        self.whole = OneHot([column.high for column in path.whole for _ in range(column.field.size)], width)
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, packed: Tensor) -> Tensor:
        at_step = [packed[:, c.start : c.stop].unflatten(1, (self.path.steps, -1)) for c in self.path.aligned]
        inputs: Tensor = self.bias.expand(len(packed), self.path.steps, -1)
        if at_step:
            inputs = inputs + self.aligned(torch.cat(at_step, 2).flatten(0, 1)).unflatten(0, inputs.shape[:2])
        if self.path.whole:
            seen = torch.cat([packed[:, c.start : c.stop] for c in self.path.whole], 1)
            inputs = inputs + self.whole(seen)[:, None]
        return inputs


class StepCheckVerifier(VerifierNetwork):
    """v(x, m) = product over steps j of sigmoid f(state j, state j + 1, fields aligned with j), with one f for all
    steps.

    A state that is not there (nothing heard, or no prover) is one more state, blank. width, layers: of f.
    """

    def __init__(self, spec: Spec, role: str = "verifier", width: int = 64, layers: int = 2, abstains: bool | None = None) -> None:
        super().__init__(spec, role, abstains)
        if self.outputs != 2:
            raise ValueError(f"network 'step_check' accepts or rejects; {spec.task} has {self.outputs} verdicts for {role!r}")
        self.path = find_path(spec, self.view)
        self.inputs = StepInputs(self.path, width)
        self.before = nn.Embedding(self.path.states + 1, width)
        self.after = nn.Embedding(self.path.states + 1, width)
        self.bias = nn.Parameter(torch.zeros(()))
        self.expect = perceptron(width, layers, width)

    def log_probs(self, packed: Tensor, given: Given | None = None) -> Tensor:
        states, mixed = self._states(packed), self._mixed(packed, given)
        before = self.before(states[:, :-1]) if mixed is None else mixed[:, :-1] @ self.before.weight
        expected = self.expect(self.inputs(packed) + before)  # N step width
        matches = expected @ F.normalize(self.after.weight, dim=1).T  # N step S+1
        after = matches.gather(2, states[:, 1:, None]) if mixed is None else (matches * mixed[:, 1:]).sum(2, keepdim=True)
        accept = self._log_right(after[:, :, 0] / expected.norm(dim=2).clamp(min=1e-8)).sum(1)
        return torch.stack([log_complement(accept), accept], 1)

    @torch.no_grad()
    def step_log_probs(self, packed: Tensor) -> Tensor:
        """`B step S S`: the log probability that step j leads from state a to state b; their sum along a path is log v.

        -inf where a message has no symbol for a state it would have to name. packed: `B width`, in which no message is
        read.
        """
        known = torch.arange(self.path.states, device=packed.device)
        expected = self.expect(self.inputs(packed)[:, :, None] + self.before(known))  # B step S width
        table = self._log_right(F.normalize(expected, dim=-1) @ F.normalize(self.after(known), dim=-1).T)
        table[:, 1:, self.path.said :] = -torch.inf
        table[:, :-1, :, self.path.said :] = -torch.inf
        return table

    def end_states(self, packed: Tensor) -> tuple[Tensor, Tensor]:
        """The first and the last state of each statement: `B` each."""
        first, last = (packed[:, c.start].long() - c.shift for c in (self.path.first, self.path.last))
        return first, last

    def _log_right(self, match: Tensor) -> Tensor:
        return F.logsigmoid(SHARPNESS * match + self.bias) - LEAST_DOUBT

    def _mixed(self, packed: Tensor, given: Given | None) -> Tensor | None:
        """`N step+1 S+1`: weights of all states, where those between are given as mixtures; None where they are not."""
        between, blank = self.path.between, self.path.states
        if not given or between is None or between.field.name not in given:
            return None
        first, last = (one_hot(end, blank + 1) for end in self.end_states(packed))
        nothing, named = given[between.field.name].tensor_split([1], 2)
        heard = torch.cat([F.pad(named, (0, blank - self.path.said)), nothing], 2)
        return torch.cat([first[:, None], heard, last[:, None]], 1)

    def _states(self, packed: Tensor) -> Tensor:
        """`N step+1`: all states, blank (S) where nothing was heard."""
        first, last = self.end_states(packed)
        blank = self.path.states
        if self.path.between is None:
            between = first.new_full((len(packed), self.path.steps - 1), blank)
        else:
            between = packed[:, self.path.between.start : self.path.between.stop].long() - 1
            between = between.where(between >= 0, blank)
        return torch.cat([first[:, None], between, last[:, None]], 1)


class StepCheckProver(ProverNetwork):
    """p(state j + 1 | state j, fields aligned with j), the same for all steps."""

    def __init__(self, spec: Spec, role: str = "prover", width: int = 64, layers: int = 2, abstains: bool | None = None) -> None:
        super().__init__(spec, role, abstains)
        self.path = find_path(spec, self.view)
        if self.path.steps != self.positions + 1:
            raise ValueError(f"network 'step_check' says {self.path.steps - 1} states, and {role!r} {self.positions} symbols")
        self.inputs = StepInputs(self.path, width)
        self.state = nn.Embedding(self.path.states, width)
        self.expect = perceptron(width, layers, self.symbols)

    def encode(self, packed: Tensor) -> tuple[Tensor, Tensor]:
        first = packed[:, self.path.first.start : self.path.first.stop].long() - self.path.first.shift
        return first, self.inputs(packed)

    def decode(self, context: tuple[Tensor, Tensor], message: Tensor) -> Tensor:
        first, inputs = context
        states = torch.cat([first, message[:, :-1]], 1)
        out: Tensor = self.expect(inputs[:, : states.shape[1]] + self.state(states))
        return out

    def next(self, context: tuple[Tensor, Tensor], said: Tensor, memory: None) -> tuple[Tensor, None]:
        first, inputs = context
        j = said.shape[1]
        out: Tensor = self.expect(inputs[:, j] + self.state(first[:, 0] if j == 0 else said[:, -1]))
        return out, None


def log_complement(log_p: Tensor) -> Tensor:
    """log(1 - p) from log p < 0, accurate at both ends."""
    near = log_p > -0.6931
    # Each branch gets arguments it is finite at, or its gradient would be NaN where the other is taken.
    small = torch.log(-torch.expm1(log_p.where(near, -0.6931)))
    return small.where(near, torch.log1p(-torch.exp(log_p.where(~near, -0.6931))))


networks.register("step_check")(
    Network(
        "structural prior: one shared check of each step of the listed computation, then AND",
        StepCheckVerifier,
        StepCheckProver,
        width=64,
        layers=2,
        learning_rate=1e-2,
        structural=True,
    )
)
