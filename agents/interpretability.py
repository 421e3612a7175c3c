"""What a verifier's layers hold: their activations, on transcripts whose steps are labelled, and linear probes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pvg.agent import Agent, Observation
from pvg.frozen import record, right_steps
from pvg.game import Game
from pvg.judging import judge_of
from pvg.metrics import Figure, proportion
from pvg.registry import unknown
from pvg.spec import Spec, Split
from pvg.verifier import Heard, Verifier, message_columns, message_rows, messages_said

ROWS = 4096  # games put through a network at once
SURPLUS = 8  # games played for each that is kept, so that there are enough of every first wrong step


class Layered(Verifier, Protocol):
    """A verifier that is a torch module, ours or not."""

    def named_modules(self) -> Iterator[tuple[str, nn.Module]]:
        """As in `torch.nn.Module`."""
        ...


@dataclass(frozen=True)
class StepLabels:
    """Transcripts of n games, each of whose T steps is labelled, as in process supervision.

    seen: what the verifier sees before its verdict, messages included. truth: the right answer. right: whether a step follows from
    the state before it by the proof's own rule. first_error: the first step that does not, 0..T-1; T where all do.
    Source: Lightman et al. 2023 (supervision of steps).
    """

    seen: Observation
    messages: Tensor  # n position  int32
    truth: Tensor  # n  int64
    right: Tensor  # n step  bool
    first_error: Tensor  # n  int64

    def __len__(self) -> int:
        return len(self.truth)


# Activations.


def layers(verifier: Layered) -> list[str]:
    """The dotted names of a verifier's submodules."""
    return [name for name, _ in verifier.named_modules() if name]


def activations(verifier: Layered, dataset: Observation | StepLabels, layer: str) -> Tensor:
    """What a submodule puts out for each game of a dataset, `n ...`, on the dataset's device; of several outputs, the first.

    A layer that reads k rows a game, one game's after the other's, gives `n k ...`.
    ValueError: no such layer, or one that a verdict does not run exactly once, or that puts out no rows of each game.
    """
    modules = dict(verifier.named_modules())
    if not layer or layer not in modules:
        raise unknown("layer", layer, layers(verifier), "`pvg.agents.interpretability.layers(verifier)`")
    seen = dataset.seen if isinstance(dataset, StepLabels) else dataset
    runs: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        out = output[0] if isinstance(output, tuple) else output
        runs.append(out.clone())  # what follows may write over it

    batches, found = seen.packed.split(ROWS), []
    hook = modules[layer].register_forward_hook(keep)
    try:
        for packed in batches:
            messages = packed[:, message_columns(seen.view).to(packed.device)].int() - 1
            with torch.no_grad():
                verifier.verdict(Observation(packed, seen.view, Heard(packed)), messages[:, None])
            if len(runs) != 1:
                raise ValueError(f"layer {layer!r}: expected one that a verdict runs once, and it is run {len(runs)} times")
            out = runs.pop()
            if len(out) % len(packed):
                raise ValueError(f"layer {layer!r}: it puts out {len(out)} rows for {len(packed)} games; expected as many for each")
            found.append(out if len(out) == len(packed) else out.unflatten(0, (len(packed), -1)))
    finally:
        hook.remove()
    return torch.cat(found)


# Transcripts with labelled steps.


def labelled(spec: Spec, games: int, seed: int = 0, split: Split | None = None, prover: Agent | str = "dishonest") -> StepLabels:
    """Transcripts of so many games, each first wrong step, and none, equally often; of what the prover makes too rarely, all.

    prover: in every prover's seat; by default honest where it argues the truth, else one of the proof's dishonest provers, drawn,
        so that there is a wrong step exactly where the claim is false; `pvg.agent.agents["random"]` errs about true ones too.
    Of SURPLUS times as many games, those are taken that come first of their first wrong step.
    ValueError: a game whose judge does not hear exactly one message whose steps the proof can check; too many forfeited games.
    """
    spec = replace(spec, split=split or spec.split)
    judge, slot = judge_of(spec), _slot(spec)
    game = Game(spec, SURPLUS * games, seed=seed)
    cast = game.players({role.name: prover for role in spec.roles if role.seat == "prover"})
    heard = record(game, cast).game(judged=True)
    judged = (heard.field("turn") >= 0).nonzero()[:, 0]
    if len(judged) < games:
        raise ValueError(f"games={games}: only {len(judged)} of {heard.num_envs} played are not forfeited before the verdict")
    right = torch.from_numpy(right_steps(spec, heard.bytes[judged].numpy().view(spec.dtype).reshape(-1), slot))
    first_error = right.long().cumprod(1).sum(1)
    nth = F.one_hot(first_error).cumsum(0).gather(1, first_error[:, None])[:, 0]  # of its first wrong step
    kept = nth.argsort(stable=True)[:games]
    chosen = judged[kept]
    seen, said, truth = heard.observe(judge).rows(chosen), messages_said(heard, judge)[chosen], heard.field("truth")[chosen].long()
    return StepLabels(seen, said, truth, right[kept], first_error[kept])


def _slot(spec: Spec) -> int:
    """Where the one message stands whose steps the proof can check."""
    proof = spec.proof
    rows = [] if proof is None else [row for row in message_rows(spec, judge_of(spec)) if row.kind == proof.script[0]]
    if proof is None or proof.check_step is None or len(rows) != 1 or rows[0].slot is None:
        wanted = "one message with a proof whose steps can be checked one by one (`Proof.check_step`)"
        raise ValueError(f"{type(spec.task).__name__}, {spec.label}: step labels need a judge who hears {wanted}")
    return rows[0].slot


# Linear probes.


def logistic_regression(features: Tensor, labels: Tensor, classes: int, penalty: float = 1e-3) -> Callable[[Tensor], Tensor]:
    """Multinomial logistic regression; returns what gives the likeliest class, `n`, of features `n d`.

    Minimises the mean cross-entropy and penalty / 2 times the squared weights, of features standardised as those given here are:
    `n d`, labelled `n` of 0..classes-1. Full batches, by L-BFGS.
    """
    x = features.double()
    middle, spread = x.mean(0), x.std(0)
    spread = spread.where(spread > 0, 1.0)
    weights = x.new_zeros((x.shape[1], classes)).requires_grad_()
    bias = x.new_zeros(classes).requires_grad_()
    optimiser = torch.optim.LBFGS([weights, bias], max_iter=300, line_search_fn="strong_wolfe")

    def scores(features: Tensor) -> Tensor:
        return (features.double() - middle) / spread @ weights + bias

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = F.cross_entropy(scores(x), labels) + penalty / 2 * weights.square().sum()
        value.backward()
        return value

    optimiser.step(loss)
    return lambda features: scores(features).argmax(1)


def probe(
    verifier: Layered, untrained: Layered, layer: str, train: StepLabels, test: StepLabels, seed: int = 0
) -> dict[str, Figure]:
    """How often a linear probe of a layer, fitted on one dataset, names the first wrong step (or that there is none) on another.

    "accuracy": on all games. "where a step is wrong": on those where one is. The controls, on all games: "commonest": always the
    label that the fitted games have most often; "random weights": the same layer of `untrained`; "shuffled labels": the probe
    fitted to the fitted games' labels in an order drawn from `seed`.
    Source: Alain & Bengio 2016; random weights and shuffled labels as controls in the spirit of Hewitt & Liang 2019.
    """
    labels, classes = train.first_error, train.right.shape[1] + 1
    shuffled = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))]
    fitted, tested = (activations(verifier, some, layer).flatten(1) for some in (train, test))
    control, other = (activations(untrained, some, layer).flatten(1) for some in (train, test))
    named = logistic_regression(fitted, labels, classes)(tested) == test.first_error
    right = {
        "accuracy": named,
        "where a step is wrong": named[test.first_error < classes - 1],
        "commonest": labels.mode().values == test.first_error,
        "random weights": logistic_regression(control, labels, classes)(other) == test.first_error,
        "shuffled labels": logistic_regression(fitted, shuffled, classes)(tested) == test.first_error,
    }
    return {name: proportion(some, f"first wrong step, {name}") for name, some in right.items()}
