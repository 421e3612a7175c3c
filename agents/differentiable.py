"""Differentiable messages: a message as weights of symbols, so that a verdict's gradient goes back through what was said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from pvg.agents import distributed
from pvg.agents.networks import Player, ProverNetwork, VerifierNetwork
from pvg.agents.play import Experience
from pvg.game import Game
from pvg.protocol import VERDICT
from pvg.spec import Spec, View
from pvg.task import Proof
from pvg.verifier import message_columns

Estimator = Literal["straight_through", "gumbel"]


def straight_through(logits: Tensor, message: Tensor, temperature: float, noise: Tensor | None = None) -> Tensor:
    """A message as weights `N position symbol`: one-hot, with the gradient of softmax((logits + noise) / temperature).

    logits: `N position symbol`, -inf where nothing can be said. message: `N position`. The gradient is biased: it is that of
    a mixture of symbols the verifier never hears, and an utterance's later symbols are taken as they were drawn.
    Source: Bengio, Leonard & Courville 2013; with Gumbel noise Jang, Gu & Poole 2017, Maddison, Mnih & Teh 2017.
    """
    soft = ((logits if noise is None else logits + noise) / temperature).softmax(2)
    said = F.one_hot(message.long(), logits.shape[2]).to(soft)
    return said + (soft - soft.detach())


@torch.no_grad()
def gumbel_given(logits: Tensor, message: Tensor, generator: torch.Generator) -> Tensor:
    """Gumbel noise under which the message is what logits + noise is largest at: `N position symbol`, drawn given that it is.

    So a message drawn before, by any means, has the noise it might have been drawn with. logits, message: as in
    `straight_through`; 0 where nothing can be said.
    Source: Paulus, Maddison & Krause 2021, equation 6: the largest is -log E + log Z, another symbol -log(E' / exp(logit) + E / Z)
    with E, E' exponential and Z the sum of exp(logit).
    """
    logits = logits.log_softmax(2)  # so that Z is 1; noise does not depend on it
    shape = (distributed.size() * len(logits), *logits.shape[1:])
    waiting = distributed.own(logits.new_empty(shape).exponential_(generator=generator)).clamp(min=1e-20)
    said = F.one_hot(message.long(), logits.shape[2]).bool()
    first = waiting.masked_fill(~said, 0).sum(2, keepdim=True)  # E
    perturbed = -torch.where(said, first, waiting / logits.exp() + first).log()
    return (perturbed - logits).masked_fill(logits == -torch.inf, 0)


def weights_said(player: Player, part: Experience, estimator: Estimator, temperature: float) -> tuple[Tensor, Tensor]:
    """What a prover said in its one utterance as weights `N position symbol`, and the entropy of what it might have said, `N`."""
    assert isinstance(player, ProverNetwork)
    packed, message = part.packed[0], part.symbols[0, :, : player.positions]
    logits = player.logits(packed, message.long())
    noise = gumbel_given(logits, message, player.generator) if estimator == "gumbel" else None
    log_p = logits.log_softmax(2).clamp(min=-1e4)
    return straight_through(logits, message, temperature, noise), -(log_p.exp() * log_p).sum((1, 2))


def evidence_of(spec: Spec, view: View, weights: Tensor, statement: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The evidence in a view by field, as weights of packed values `N entry value`, of a message given as weights; none where the
    proof has no `relaxed`. statement: the statement's fields by name.
    """
    if spec.proof is None or spec.proof.relaxed is None:
        return {}
    shown = spec.proof.relaxed(statement, weights)
    shifts = {column.field.name: column.shift for column in view if column.origin == "proof"}
    return {name: F.pad(shown[name], (shift, 0)) for name, shift in shifts.items()}  # a packed 0 is "nothing there"


def verdicts(verifier: VerifierNetwork, packed: Tensor, weights: Tensor, statement: Mapping[str, Tensor]) -> Tensor:
    """The log probability of each verdict, `N output`, where the message is given as weights `N position symbol`.

    packed: `N width`, what the verifier sees besides. statement: the statement's fields by name, which evidence is of.
    """
    return verifier.relaxed(packed, weights, evidence_of(verifier.spec, verifier.view, weights, statement))


def heard(
    verifier: VerifierNetwork,
    player: Player,
    part: Experience,
    packed: Tensor,
    game: Game,
    estimator: Estimator,
    temperature: float,
) -> tuple[Tensor, Tensor]:
    """The log probability of each verdict on what a prover said, `N output`, with gradients for the prover alone; and its
    entropy, `N`. part: of the prover, in the games just played. packed: `N width`, what the verifier saw.
    """
    weights, entropy = weights_said(player, part, estimator, temperature)
    with constant(verifier):
        return verdicts(verifier, packed, weights, statement_of(game)), entropy


def statement_of(game: Game) -> dict[str, Tensor]:
    """The fields of the statements just played, by name."""
    return {field.name: game.field(field.name) for field in game.spec.task.statement}


def refuse_unsmooth(spec: Spec, what: str) -> None:
    """ValueError where a verdict does not follow differentiably from one message."""
    proof = spec.proof
    if [row.kind == VERDICT for row in spec.rows] != [False, True] or spec.horizon > 2 or not isinstance(proof, Proof):
        said = ", ".join(row.kind for row in spec.rows)
        raise ValueError(f"{what}: gradients are of one message before one verdict, and {spec.label} is of {said}")
    task = f"{type(spec.task).__name__}'s proof {spec.proof_name!r}"
    if proof.evidence is not None and proof.relaxed is None:
        raise ValueError(f"{what}: {task} adds evidence to messages, and has no `relaxed` that says what it is of weights")
    message, verdict = spec.rows
    heard_of = len(message_columns(spec.view(spec.role_index(verdict.speakers[0]))))
    if heard_of != (symbols := sum(part.size for part in spec.parts(message))):
        raise ValueError(f"{what}: of the {symbols} symbols of a message of {task} the verifier hears {heard_of}")


@contextmanager
def constant(player: Player) -> Iterator[None]:
    """Gradients pass through a player, and none is kept for its weights."""
    player.requires_grad_(False)
    try:
        yield
    finally:
        player.requires_grad_(True)
