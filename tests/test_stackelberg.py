"""Gradients of players who reckon with each other: closed forms, finite differences, fixed points; expected losses by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from pvg.agents.config import TrainConfig
from pvg.agents.opponent_shaping import flat_gradient, lola, look_ahead, sos, terms
from pvg.agents.stackelberg import Stackelberg, Weighing, conjugate_gradient, implicit_gradient
from pvg.agents.team import assemble
from pvg.agents.training import train
from pvg.game import Game
from pvg.protocols import Debate, ProverVerifier
from pvg.spec import resolve
from pvg.tasks import Arith, ErasureChannel

CHANNEL = resolve(ErasureChannel(length=1), ProverVerifier())
CONFIG = TrainConfig("mlp", width=8, layers=1, lanes=16, learning_rate=1e-2, log_every=1)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def weights(*shape: int, seed: int = 0) -> Tensor:
    return numbers(*shape, seed=seed).requires_grad_()


def differences(f: Callable[[Tensor], Tensor], at: Tensor, step: float = 1e-5) -> Tensor:
    """Central differences of a scalar function, a coordinate at a time."""
    moves = step * torch.eye(len(at), dtype=at.dtype)
    return torch.stack([(f(at + move) - f(at - move)).detach() / (2 * step) for move in moves])


# The leader's gradient


def test_conjugate_gradients_solve_and_say_when_they_do_not() -> None:
    root = numbers(6, 6)
    matrix, b = root @ root.T + torch.eye(6, dtype=torch.float64), numbers(6, seed=1)
    solved = conjugate_gradient(lambda v: matrix @ v, b, 1e-10, 50)
    assert solved.converged
    assert solved.residual <= 1e-10
    torch.testing.assert_close(solved.x, torch.linalg.solve(matrix, b))
    early = conjugate_gradient(lambda v: matrix @ v, b, 1e-10, 2)
    assert (early.converged, early.iterations) == (False, 2)
    assert early.residual == pytest.approx(float((matrix @ early.x - b).norm() / b.norm()))
    indefinite = conjugate_gradient(lambda v: -(matrix @ v), b, 1e-10, 50)
    assert not indefinite.converged
    assert not indefinite.x.any()
    assert conjugate_gradient(lambda v: matrix @ v, torch.zeros_like(b), 1e-10, 50).converged


def test_the_implicit_gradient_of_a_quadratic_game_is_its_closed_form() -> None:
    a, c = numbers(3, 3, seed=1) + 4 * torch.eye(3, dtype=torch.float64), numbers(2, 3, seed=2)
    hessian, target = a @ a.T, numbers(3, seed=3)
    w = weights(2)
    theta = torch.linalg.solve(hessian, c.T @ w.detach()).requires_grad_()  # the follower's best response
    f = w.square().sum() + (theta - target).square().sum()
    g = theta @ hessian @ theta / 2 - w @ c @ theta
    found, solved = implicit_gradient(f, g, [w], [theta], tolerance=1e-12)
    assert solved.converged
    response = c @ torch.linalg.inv(hessian)  # of d theta* / dw, transposed
    torch.testing.assert_close(found, (2 * w + response @ (2 * (theta - target))).detach())
    damped, _ = implicit_gradient(f, g, [w], [theta], tolerance=1e-12, damping=0.5)
    shifted = c @ torch.linalg.inv(hessian + 0.5 * torch.eye(3, dtype=torch.float64))
    torch.testing.assert_close(damped, (2 * w + shifted @ (2 * (theta - target))).detach())


def test_the_implicit_gradient_through_tanh_networks_is_that_of_finite_differences() -> None:
    x, y = numbers(8, 3, seed=5), numbers(8, 2, seed=6)

    def out(w: Tensor, theta: Tensor) -> Tensor:
        """A layer of the leader's, then one of both."""
        hidden = torch.tanh(x @ w[:6].reshape(3, 2))
        return torch.tanh(hidden @ w[6:].reshape(2, 2)) + torch.tanh(hidden @ theta.reshape(2, 2))

    def g(w: Tensor, theta: Tensor) -> Tensor:
        return (out(w, theta) - y).square().mean() + 0.5 * theta.square().sum()

    def f(w: Tensor, theta: Tensor) -> Tensor:
        return (out(w, theta) + y).square().mean() + (theta[0] - theta[3]) ** 2

    def respond(w: Tensor) -> Tensor:
        """argmin over theta of g, by Newton's method."""
        theta = torch.full((4,), 0.1, dtype=torch.float64, requires_grad=True)
        for _ in range(30):
            slope = flat_gradient(g(w, theta), [theta])
            curve = torch.autograd.functional.hessian(lambda t: g(w, t), theta)
            theta = (theta - torch.linalg.solve(curve, slope)).detach().requires_grad_()
        assert flat_gradient(g(w, theta), [theta]).abs().max() < 1e-10
        return theta

    w = weights(10, seed=4)
    theta = respond(w.detach())
    found, solved = implicit_gradient(f(w, theta), g(w, theta), [w], [theta], tolerance=1e-10)
    assert solved.converged
    torch.testing.assert_close(found, differences(lambda at: f(at, respond(at)), w.detach()), rtol=1e-4, atol=1e-7)
    assert (found - flat_gradient(f(w, theta), [w])).norm() > 0.01  # the response matters


def test_against_an_opponent_of_the_opposite_loss_the_implicit_gradient_is_the_envelope_gradient() -> None:
    w, b = weights(2), numbers(2, 2, seed=1)
    theta = (b @ w.detach()).requires_grad_()  # argmax of the leader's loss
    f = w.square().sum() + theta @ b @ w - theta.square().sum() / 2
    found, _ = implicit_gradient(f, -f, [w], [theta])
    torch.testing.assert_close(found, flat_gradient(f, [w]))
    torch.testing.assert_close(found, (2 * w + b.T @ b @ w).detach())


# Opponent shaping


def losses(one: Tensor, two: Tensor) -> tuple[Tensor, Tensor]:
    """A smooth game of two players with two weights each."""
    return (
        (one[0] * two[1]).tanh() + (one[1] - two[0]) ** 2 * one[0],
        (one[1] * two[0]).sin() + (two[1] * one[0]) ** 2 + two[0] * two[1],
    )


def ahead_of(i: int, at: Tensor, rate: float, *, first_order: bool, taken: bool) -> Tensor:
    """Player i's loss where the other has taken a step, to first order in the rate or exactly, as a function of all weights.

    taken: the other's step is that from here, whatever i does.
    """
    both = [at[:2].detach().clone().requires_grad_(), at[2:].detach().clone().requires_grad_()]
    there = [weights(2, seed=8).detach().requires_grad_(), weights(2, seed=9).detach().requires_grad_()] if taken else both
    j = 1 - i
    step = flat_gradient(losses(*there)[j], [there[j]])
    if first_order:
        return losses(*both)[i] - rate * flat_gradient(losses(*both)[i], [both[j]]) @ step
    moved = [both[0], both[1]]
    moved[j] = both[j] - rate * step
    return losses(moved[0], moved[1])[i]


def own_differences(i: int, rate: float, **how: bool) -> Tensor:
    at = torch.cat([numbers(2, seed=8), numbers(2, seed=9)])
    return differences(lambda moved: ahead_of(i, moved, rate, **how), at)[2 * i : 2 * i + 2]


def test_lola_and_look_ahead_descend_the_loss_after_the_others_step() -> None:
    one, two = weights(2, seed=8), weights(2, seed=9)
    found = terms(losses(one, two), ([one], [two]))
    for i in range(2):
        torch.testing.assert_close(found.own[i], flat_gradient(losses(one, two)[i], [(one, two)[i]]))
        expected = own_differences(i, 0.3, first_order=True, taken=False)
        torch.testing.assert_close(lola(found, 0.3)[i], expected, rtol=1e-6, atol=1e-8)
        expected = own_differences(i, 0.3, first_order=True, taken=True)
        torch.testing.assert_close(look_ahead(found, 0.3)[i], expected, rtol=1e-6, atol=1e-8)
        # The loss at the very step differs in the second order of the rate only.
        error = [float((lola(found, r)[i] - own_differences(i, r, first_order=False, taken=False)).norm()) for r in (0.02, 0.01)]
        assert 3.5 < error[0] / error[1] < 4.5


def test_terms_of_three_players_add_up_over_the_others() -> None:
    x = [weights(1, seed=s) for s in range(3)]
    b = numbers(3, 3, 3, seed=7)  # L_i = sum over j, k of b_ijk x_j x_k / 2
    game = [sum((b[i, j, k] * x[j] * x[k] / 2).sum() for j in range(3) for k in range(3)) for i in range(3)]
    found = terms([torch.as_tensor(loss) for loss in game], [[part] for part in x])
    both, at = (b + b.transpose(1, 2)) / 2, torch.cat(x).detach()
    slope = both @ at  # i j: dL_i / dx_j
    own = slope.diagonal()
    for i in range(3):
        others = [j for j in range(3) if j != i]
        assert float(found.anticipated[i]) == pytest.approx(float(sum(both[i, i, j] * own[j] for j in others)))
        assert float(found.shaping[i]) == pytest.approx(float(sum(both[j, j, i] * slope[i, j] for j in others)))


def played(
    game: Callable[[Tensor, Tensor], Any], how: Callable[[Any, float], list[Tensor]], start: tuple[float, float], updates: int
) -> Tensor:
    """Where plain gradient steps of 0.1 lead, looking 0.1 ahead."""
    x, y = (torch.tensor([value], dtype=torch.float64, requires_grad=True) for value in start)
    for _ in range(updates):
        steps = how(terms(game(x, y), ([x], [y])), 0.1)
        x, y = ((part - 0.1 * step).detach().requires_grad_() for part, step in zip((x, y), steps, strict=True))
    return torch.cat([x, y]).detach()


def tandem(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Both pay for how far x + y is from 0, and are paid for pedalling: fixed points where x + y = 1."""
    return ((x + y) ** 2 - 2 * x)[0], ((x + y) ** 2 - 2 * y)[0]


def test_sos_keeps_the_fixed_points_of_the_tandem_game_and_lola_does_not() -> None:
    for start in ((0.3, -0.2), (1.5, 0.4)):
        stable = played(tandem, lambda found, rate: sos(found, rate)[0], start, 400)
        assert float(stable.sum()) == pytest.approx(1, abs=1e-3)
        arrogant = played(tandem, lola, start, 100)
        # (1 - 2 rate)(2 s - 2) = 4 rate s
        assert float(arrogant.sum()) == pytest.approx((1 - 0.2) / (1 - 0.4), abs=1e-6)


def test_sos_settles_where_plain_gradients_spiral_out() -> None:
    def pennies(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return (x * y)[0], -(x * y)[0]

    assert played(pennies, lambda found, rate: sos(found, rate)[0], (0.5, 0.5), 600).norm() < 0.05
    assert played(pennies, lambda found, rate: found.own, (0.5, 0.5), 600).norm() > 5


def test_sos_leaves_a_strict_saddle_that_look_ahead_settles_in() -> None:
    # L = xy for both; xi = (y, x), H_o xi = (x, y). Along x = -y plain gradients grow by 1.1, along x = y all shrink.
    def saddle(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return (x * y)[0], (x * y)[0]

    start = (1e-3, -0.9e-3)
    assert played(saddle, lambda found, rate: sos(found, rate)[0], start, 200).norm() > 1


def test_p_of_sos_follows_both_of_its_criteria() -> None:
    x, y = weights(1, seed=1), weights(1, seed=2)
    found = terms(tandem(x, y), ([x], [y]))
    rate = 0.1
    ahead, chi = torch.cat(look_ahead(found, rate)), torch.cat(found.shaping)
    along, norm = float(-rate * chi @ ahead), float(torch.cat(found.own).norm())
    assert norm > 0.1
    expected = 1.0 if along >= 0 else min(1.0, -0.5 * float(ahead @ ahead) / along)
    assert sos(found, rate)[1] == pytest.approx(expected)
    small = found._replace(own=[own * 0.05 / norm for own in found.own], anticipated=[0 * a for a in found.anticipated])
    assert sos(small, rate)[1] <= 0.05**2 * (1 + 1e-9)
    against = found._replace(shaping=[10 * own for own in ahead.split(1)])  # rate * chi = xi_0: at p = 1 nothing would be left
    assert sos(against, rate)[1] == pytest.approx(0.5)
    steps, p = sos(against, rate)
    torch.testing.assert_close(torch.cat(steps), (1 - p) * ahead)
    with pytest.raises(ValueError, match="a=1 is outside"):
        sos(found, rate, a=1)


# Expected losses


@torch.no_grad()
def test_expected_losses_are_sums_over_all_messages_by_hand() -> None:
    game, team = (
        Game(resolve(Arith(operations=3, modulus=2), ProverVerifier()), 6, seed=1),
        assemble(resolve(Arith(operations=3, modulus=2), ProverVerifier()), CONFIG),
    )
    now = Weighing(game)(team.prover, team.verifier, 0.5)  # type: ignore[arg-type]
    prover, verifier, nats = 0.0, 0.0, 0.0
    stated, heard, truth = game.observe(0), game.observe(1), game.field("truth")
    assert team.prover is not None
    assert team.verifier is not None
    for lane in range(6):
        for m in ([0, 0], [0, 1], [1, 0], [1, 1]):
            log_p = team.prover.evaluate(stated.packed[lane : lane + 1], torch.tensor([m]))[0]
            v = team.verifier.verdict(heard.rows(slice(lane, lane + 1)), torch.tensor([[m]]))[0, 0]
            prover -= float(log_p.exp() * v.log()) / 6
            verifier -= float(log_p.exp() * (v if truth[lane] == 1 else 1 - v).log()) / 6
            nats -= float(log_p.exp() * log_p) / 6
    assert float(now.nats) == pytest.approx(nats, rel=1e-5)
    assert float(now.prover) == pytest.approx(prover - 0.5 * nats, rel=1e-5)
    assert float(now.verifier) == pytest.approx(verifier, rel=1e-5)


@pytest.fixture
def doubles() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("doubles")
def test_expected_losses_have_the_second_derivatives_of_finite_differences() -> None:
    """The networks' own gradients are written by hand; these go through what can be differentiated twice."""
    game, team = Game(CHANNEL, 16, seed=2), assemble(CHANNEL, CONFIG)
    assert team.prover is not None
    assert team.verifier is not None
    prover, verifier = team.prover.double(), team.verifier.double()
    weighing = Weighing(game)
    theta, w = list(prover.parameters()), list(verifier.parameters())
    direction = torch.sin(torch.arange(sum(p.numel() for p in theta)) * 1.7).double()

    def slope(of: list[Any], along: float, loss: str) -> Tensor:
        """d loss / d of, where the prover's weights have moved along the direction."""
        kept = torch.nn.utils.parameters_to_vector(theta).detach().clone()
        torch.nn.utils.vector_to_parameters(kept + along * direction, theta)
        found = flat_gradient(getattr(weighing(prover, verifier, 0.3), loss), of)
        torch.nn.utils.vector_to_parameters(kept, theta)
        return found

    for of in (theta, w):
        for loss in ("prover", "verifier"):
            first = flat_gradient(getattr(weighing(prover, verifier, 0.3), loss), theta, differentiable=True)
            product = flat_gradient(first @ direction, of)
            expected = (slope(of, 1e-5, loss) - slope(of, -1e-5, loss)) / 2e-5
            torch.testing.assert_close(product, expected, rtol=1e-4, atol=1e-7)
            assert expected.abs().max() > 1e-4


def test_babbling_is_a_fixed_point_however_far_the_players_look_ahead() -> None:
    game, team = Game(CHANNEL, 256, seed=3), assemble(CHANNEL, CONFIG)
    prover, verifier = team.prover, team.verifier
    assert prover is not None
    assert verifier is not None
    weighing = Weighing(game)
    with torch.no_grad():
        share = weighing.truth.double().mean()
        for player, bias in (
            (prover, torch.tensor([60.0, 0.0])),
            (verifier, torch.tensor([0.0, float((share / (1 - share)).log())])),
        ):
            last: Any = [module for module in player.modules() if isinstance(module, torch.nn.Linear)][-1]
            last.weight.zero_()
            last.bias.copy_(bias)
    now = weighing(prover, verifier, 0.0)
    theta, w = list(prover.parameters()), list(verifier.parameters())
    assert flat_gradient(now.prover, theta).abs().max() < 1e-6
    assert flat_gradient(now.verifier, w).abs().max() < 1e-6
    # Nor does it matter to either how the other would answer a step.
    found = terms((now.prover, now.verifier), (theta, w))
    assert max(float(part.abs().max()) for part in (*found.anticipated, *found.shaping)) < 1e-6
    assert float(now.verifier.detach()) == pytest.approx(float(-(share * share.log() + (1 - share) * (1 - share).log())))


# The algorithm


@pytest.mark.parametrize(
    ("order", "method"),
    [
        ("verifier_leading", "implicit"),
        ("prover_leading", "implicit"),
        ("verifier_leading", "lola"),
        ("simultaneous", "sos"),
        ("simultaneous", "naive"),
    ],
)
def test_every_order_and_method_learns_and_says_how_it_went(order: Any, method: Any) -> None:
    found = train(
        CHANNEL,
        TrainConfig("mlp", width=8, layers=1, lanes=32, phases=(Stackelberg(3, order, method, steps=2),), log_every=1),
        progress=False,
    )
    row = found.history[-1]
    assert {"prover_loss", "verifier_loss", "entropy", "accepted_true", "accepted_false"} <= set(row)
    assert ("unsolved" in row) == (method == "implicit")
    assert ("p" in row) == (method == "sos")


def test_only_those_whose_turn_it_is_move() -> None:
    game, team = Game(CHANNEL, 16, seed=4), assemble(CHANNEL, CONFIG)
    before = team.weights()
    still = Stackelberg(order="verifier_leading", method="naive", steps=1)
    now = Weighing(game)(team.prover, team.verifier, still.entropy)  # type: ignore[arg-type]
    expected = flat_gradient(now.verifier, list(team.learners["verifier"].player.parameters()))
    still.update(team, game, 0, 0.0)  # a learning rate of 0: only the optimisers' memory moves
    assert all(
        torch.equal(a, b)
        for role, part in team.weights().items()
        for a, b in zip(part.values(), before[role].values(), strict=True)
    )
    moments = team.learners["verifier"].optimiser.state_dict()["state"]
    found = torch.cat([moments[i]["exp_avg"].flatten() for i in range(len(list(team.learners["verifier"].player.parameters())))])
    # The first moment of one step is a tenth of its gradient: the verifier's own, with nothing of the prover's loss.
    scale = min(1.0, 1 / float(expected.norm()))
    torch.testing.assert_close(found, 0.1 * scale * expected, rtol=1e-3, atol=1e-6)


def test_what_cannot_be_weighed_is_refused_before_the_first_update() -> None:
    for task, protocol, message in (
        (Arith(), ProverVerifier(), r"3125 messages .* outside 1..1024"),
        (Arith(), Debate(), "one role, after the messages of one prover"),
    ):
        with pytest.raises(ValueError, match=message):
            train(resolve(task, protocol), TrainConfig("mlp", phases=(Stackelberg(1),), lanes=4), progress=False)
    for settings, message in (
        ({"method": "implicit", "order": "simultaneous"}, "method=implicit"),
        ({"method": "sos"}, "method=sos"),
        ({"steps": 0}, "steps=0 is below 1"),
        ({"damping": -1.0}, "damping"),
    ):
        with pytest.raises(ValueError, match=message):
            Stackelberg(**settings)
