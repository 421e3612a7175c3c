"""A leader's gradient through its follower's best response, and learning by it where every message can be weighed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from pvg.agents import distributed
from pvg.agents.algorithm import Algorithm, Figures, algorithms
from pvg.agents.attacks import numbered, seats
from pvg.agents.networks import ProverNetwork, VerifierNetwork
from pvg.agents.opponent_shaping import Weights, flat_gradient, lola, sos, terms
from pvg.agents.policy_gradient import masked_mean
from pvg.agents.team import Learner, Team
from pvg.game import Game
from pvg.protocol import VERDICT
from pvg.spec import Spec
from pvg.verifier import replayed, with_messages

MOST_MESSAGES = 1024  # all of them are weighed for every statement


class Solved(NamedTuple):
    """What conjugate gradients found.

    residual: |A x - b| / |b|. converged: whether that is within the tolerance; it is not where the iterations ran out or A
    turned out not to be positive definite, and x is then the last iterate before.
    """

    x: Tensor
    residual: float
    iterations: int
    converged: bool


def conjugate_gradient(product: Callable[[Tensor], Tensor], b: Tensor, tolerance: float, iterations: int) -> Solved:
    """x with A x = b, for a symmetric positive definite A known by its products with vectors. Source: Hestenes & Stiefel 1952."""
    x, left = torch.zeros_like(b), b.clone()
    direction, size, goal = left, float(left @ left), tolerance**2 * float(b @ b)
    done = 0
    while size > goal and done < iterations:
        turned = product(direction)
        curvature = float(direction @ turned)
        if not curvature > 0:
            break
        x = x + size / curvature * direction
        left = left - size / curvature * turned
        size, before = float(left @ left), size
        direction = left + size / before * direction
        done += 1
    return Solved(x, math.sqrt(size / max(float(b @ b), 1e-300)), done, size <= goal)


def implicit_gradient(
    leader_loss: Tensor,
    follower_loss: Tensor,
    leader: Weights,
    follower: Weights,
    *,
    damping: float = 0.0,
    tolerance: float = 1e-6,
    iterations: int = 100,
) -> tuple[Tensor, Solved]:
    """The flat gradient in w of `f(w, theta*(w))`, `theta*(w)` = argmin over theta of g(w, theta):

        df/dw - (d2g / dw dtheta)^T (d2g / dtheta2 + damping I)^-1 df/dtheta,

    at weights where d g / d theta = 0, by products of the Hessian with vectors. f, g: losses of leader and follower, 0-d, with
    their graphs; w, theta: the weights of `leader` and `follower`.
    Where f = g or f = -g, df/dtheta is 0 and the first term is all there is: the envelope theorem, which `adversarial` uses.
    Source: the implicit function theorem; Stackelberg gradients of Fiez, Chasnov & Ratliff 2020.
    """
    inner = flat_gradient(follower_loss, follower, differentiable=True)

    def curvature(v: Tensor) -> Tensor:
        return flat_gradient(inner @ v, follower) + damping * v

    solved = conjugate_gradient(curvature, flat_gradient(leader_loss, follower), tolerance, iterations)
    return flat_gradient(leader_loss, leader) - flat_gradient(inner @ solved.x, leader), solved


class Expected(NamedTuple):
    """What players expect of the statements dealt, over all messages: 0-d each, differentiable to second order in all weights.

    prover: E[-log v(side)] - entropy weight * nats. verifier: E[-log v(truth)]. accepted_true, accepted_false: E[v] given each.
    """

    prover: Tensor
    verifier: Tensor
    nats: Tensor
    accepted_true: Tensor
    accepted_false: Tensor


class Weighing:
    """All messages for each of the statements just dealt, heard once: what the losses are sums over.

    Where evidence draws coins, all messages for a statement meet the coins of its own game.
    """

    def __init__(self, game: Game) -> None:
        spec, who = game.spec, seats(game.spec)
        assert who.prover is not None, "refuse_unweighable"
        self.truth = game.field("truth").clone()  # B
        self.side = game.field("side")[:, who.prover].clone()  # B
        self.stated = game.observe(who.prover).packed.clone()  # B width
        self.messages = numbered(torch.arange(who.messages, device=self.stated.device), who.alphabet)  # M position
        statement = replayed(spec, who.verifier, game.observe(who.verifier), game.bytes, tosses=1)
        self.heard = with_messages(statement, self.messages.expand(len(self.truth), -1, -1)).packed.clone()  # B*M width

    def __call__(self, prover: ProverNetwork, verifier: VerifierNetwork, entropy: float) -> Expected:
        """What these players expect. entropy: weight of the prover's entropy, a nat an utterance."""
        lanes, count = len(self.truth), len(self.messages)
        said = self.messages.long().repeat(lanes, 1)  # B*M position
        scores = prover.logits(self.stated.repeat_interleave(count, 0), said).log_softmax(2)
        log_p = scores.gather(2, said[:, :, None]).sum((1, 2)).reshape(lanes, count)  # B M
        p, verdicts = log_p.exp(), verifier.log_probs(self.heard).reshape(lanes, count, -1)  # B M, B M output
        wrong, unmoved = (-(p * verdicts[torch.arange(lanes), :, answer.long()]).sum(1) for answer in (self.truth, self.side))
        accepted, all_of_them = (p * verdicts[:, :, 1].exp()).sum(1), torch.ones_like(self.truth, dtype=torch.bool)
        nats = masked_mean(-(p * log_p).sum(1), all_of_them)
        true, false = (masked_mean(accepted, (self.truth == 1) == truth) for truth in (True, False))
        prover_loss = masked_mean(unmoved, all_of_them) - entropy * nats
        return Expected(prover_loss, masked_mean(wrong, all_of_them), nats, true, false)


def refuse_unweighable(spec: Spec) -> None:
    """ValueError where a verdict does not follow one prover's one message, of which there are few."""
    who = seats(spec)
    if [row.kind == VERDICT for row in spec.rows] != [False, True] or who.prover is None:
        raise ValueError(f"stackelberg: one message and then the verdict are weighed, and {spec.label} has {len(spec.rows)} rows")
    if who.messages > MOST_MESSAGES:
        raise ValueError(f"stackelberg: {who.messages} messages of {spec.label} are outside 1..{MOST_MESSAGES}")
    if distributed.size() > 1:
        raise ValueError(f"stackelberg: Hessians are of one process's games, and there are {distributed.size()} processes")


@algorithms.register("stackelberg")
@dataclass(frozen=True)
class Stackelberg(Algorithm):
    """Gradient play of expected losses, exact over all messages, by players who reckon with how the other learns.

    Losses are the prover's E[-log v(its side)], less its entropy bonus, and the verifier's E[-log v(truth)]. Who follows takes
    `steps` steps down its own gradient; who leads then takes one by the method. In simultaneous play both take one by it.
    Source: losses and orders, Anil, Zhang, Wu & Grosse 2021; methods, see `implicit_gradient` and `pvg.agents.opponent_shaping`.
    """

    order: Literal["verifier_leading", "prover_leading", "simultaneous"] = "verifier_leading"
    """Who moves first, and reckons with the other's answer."""
    method: Literal["implicit", "lola", "sos", "naive"] = "implicit"
    """implicit: through the follower's best response (needs a leader). lola, sos: through one step of the other (sos: of
    simultaneous play). naive: the other is what it is."""
    steps: int = 5
    """Updates of who follows for one of who leads, on the same games."""
    lookahead: float = 1.0
    """Learning rate of the other's step that lola and sos look ahead to."""
    entropy: float = 0.05
    """Weight of the prover's entropy, a nat an utterance, which keeps the Hessian of its loss regular."""
    damping: float = 1e-3
    """Added to the follower's Hessian."""
    iterations: int = 20
    """Of conjugate gradients, at most."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.within("steps", 1)
        self.within("lookahead", 0, 100)
        self.within("entropy", 0, 10)
        self.within("damping", 0, 100)
        self.within("iterations", 1)
        refused = {"implicit": "simultaneous", "sos": "verifier_leading or prover_leading"}
        if self.method in refused and self.order in refused[self.method]:
            raise ValueError(f"method={self.method}: not in order={self.order}, choose method=lola, or another order")

    def begin(self, team: Team, game: Game) -> None:
        refuse_unweighable(game.spec)

    def update(self, team: Team, game: Game, index: int, pace: float) -> Figures:
        weighing = Weighing(game)
        prover, verifier = (next(iter(team.seated(seat).values())) for seat in ("prover", "verifier"))
        assert isinstance(prover.player, ProverNetwork)
        assert isinstance(verifier.player, VerifierNetwork)
        for _ in range(self.steps if self.order != "simultaneous" else 0):
            now = weighing(prover.player, verifier.player, self.entropy)
            follower, loss = (prover, now.prover) if self.order == "verifier_leading" else (verifier, now.verifier)
            follower.step(loss, pace * follower.learning_rate)
        now = weighing(prover.player, verifier.player, self.entropy)
        gradients, figures = self._gradients(now, list(prover.player.parameters()), list(verifier.player.parameters()))
        for learner, seat, gradient in zip((prover, verifier), ("prover", "verifier"), gradients, strict=True):
            if self.order in ("simultaneous", f"{seat}_leading"):
                descend(learner, gradient, pace * learner.learning_rate)
        figures |= {"prover_loss": now.prover, "verifier_loss": now.verifier, "entropy": now.nats}
        figures |= {"accepted_true": now.accepted_true, "accepted_false": now.accepted_false}
        return {name: value.detach() for name, value in figures.items()}

    def _gradients(self, now: Expected, prover: Weights, verifier: Weights) -> tuple[list[Tensor], Figures]:
        """Of prover and verifier, by the method; and how it went."""
        if self.method == "naive":
            return [flat_gradient(now.prover, prover), flat_gradient(now.verifier, verifier)], {}
        if self.method != "implicit":
            found = terms((now.prover, now.verifier), (prover, verifier))
            if self.method == "lola":
                return lola(found, self.lookahead), {}
            gradients, p = sos(found, self.lookahead)
            return gradients, {"p": now.prover.new_tensor(p)}
        led = [(now.verifier, verifier), (now.prover, prover)]
        (f, w), (g, theta) = led if self.order == "verifier_leading" else led[::-1]
        gradient, solved = implicit_gradient(f, g, w, theta, damping=self.damping, tolerance=1e-3, iterations=self.iterations)
        figures = {"residual": f.new_tensor(solved.residual), "unsolved": f.new_tensor(float(not solved.converged))}
        return [gradient, gradient], figures  # only the leader's is used


def descend(learner: Learner, gradient: Tensor, rate: float) -> None:
    """One step of a learner's optimiser down a flat gradient of its player's weights."""
    learner.step(torch.cat([part.flatten() for part in learner.player.parameters()]) @ gradient.detach(), rate)
