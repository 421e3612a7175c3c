"""Another PPO in JAX: the prover's seat of Arith against the reference verifier, game and learning in one compiled program.

Only there to be timed beside self-play (`pvg.benchmarks.selfplay`); the game is written again, since JAX cannot call ours. In the
style of PureJaxRL (Lu et al. 2022): everything from the deal to the last epoch is one XLA program, networks are perceptrons 64
wide, and as in Stable-Baselines3 a message's symbols are drawn apart.
Needs jax (extra `jax`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from pvg.tasks.arith import Arith

EPOCHS, CLIP, ENTROPY, RATE, WIDTH = 4, 0.2, 0.01, 1e-3, 64
State = tuple[Any, Any, Any, jax.Array]  # weights, Adam's means and mean squares, its steps


class Statements(NamedTuple):
    """Claims: `lane` each, `op` (0 is +, 1 is -) and `x` are `lane step`."""

    start: jax.Array
    op: jax.Array
    x: jax.Array
    claim: jax.Array


def values(task: Arith, start: jax.Array, op: jax.Array, x: jax.Array) -> jax.Array:
    """What stands after each step: `lane step`."""
    return (start[:, None] + jnp.cumsum(jnp.where(op == 0, x, -x), 1)) % task.modulus


def deal(task: Arith, lanes: int, key: jax.Array) -> Statements:
    """Statements as `Arith` deals them, half of them true."""
    keys = jax.random.split(key, 5)
    start = jax.random.randint(keys[0], (lanes,), 0, task.modulus)
    op = jax.random.randint(keys[1], (lanes, task.operations), 0, 2)
    x = jax.random.randint(keys[2], (lanes, task.operations), 0, task.modulus)
    off = jax.random.randint(keys[3], (lanes,), 1, task.modulus) * jax.random.bernoulli(keys[4], 0.5, (lanes,))
    return Statements(start, op, x, (values(task, start, op, x)[:, -1] + off) % task.modulus)


def accepted(task: Arith, some: Statements, message: jax.Array) -> jax.Array:
    """Whether the reference verifier accepts messages `lane step-1`: all steps are right. `lane`."""
    states = jnp.concatenate([some.start[:, None], message, some.claim[:, None]], 1)
    moved = states[:, :-1] + jnp.where(some.op == 0, some.x, -some.x)
    result: jax.Array = (moved % task.modulus == states[:, 1:]).all(1)
    return result


def seen(task: Arith, some: Statements) -> jax.Array:
    """What the prover sees, one-hot: `lane width`."""
    parts = [jax.nn.one_hot(some.op, 2), *(jax.nn.one_hot(part, task.modulus) for part in (some.x, some.start, some.claim))]
    return jnp.concatenate([part.reshape(len(some.start), -1) for part in parts], 1)


def perceptron(key: jax.Array, *sizes: int) -> list[tuple[jax.Array, jax.Array]]:
    """Weights and biases of each layer."""
    keys = jax.random.split(key, len(sizes) - 1)
    layers = zip(keys, sizes[:-1], sizes[1:], strict=True)
    return [(jax.random.normal(k, (a, b)) / a**0.5, jnp.zeros(b)) for k, a, b in layers]


def forward(layers: list[tuple[jax.Array, jax.Array]], x: jax.Array) -> jax.Array:
    for weight, bias in layers[:-1]:
        x = jnp.tanh(x @ weight + bias)
    return x @ layers[-1][0] + layers[-1][1]


def log_probs(task: Arith, weights: Any, x: jax.Array) -> jax.Array:
    """`lane position symbol`."""
    return jax.nn.log_softmax(forward(weights[0], x).reshape(len(x), task.operations - 1, task.modulus))


def loss(task: Arith, weights: Any, batch: tuple[jax.Array, ...]) -> jax.Array:
    """PPO's of a minibatch: what was seen, said, how likely it was, its advantage and its return."""
    x, message, old, advantage, paid = batch
    log_p = log_probs(task, weights, x)
    said = jnp.take_along_axis(log_p, message[:, :, None], 2)[:, :, 0].sum(1)
    ratio = jnp.exp(said - old)
    gained = jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - CLIP, 1 + CLIP) * advantage).mean()
    entropy = -(jnp.exp(log_p) * log_p).sum((1, 2)).mean()
    error = jnp.square(forward(weights[1], x)[:, 0] - paid).mean()
    return 0.5 * error - gained - ENTROPY * entropy


def adam(state: State, gradient: Any) -> State:
    """A step of Adam, the gradient clipped to norm 0.5."""
    weights, mean, square, t = state
    norm = jnp.sqrt(sum(jnp.square(g).sum() for g in jax.tree.leaves(gradient)))
    gradient = jax.tree.map(lambda g: g * jnp.minimum(1.0, 0.5 / (norm + 1e-6)), gradient)
    mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, mean, gradient)
    square = jax.tree.map(lambda s, g: 0.999 * s + 0.001 * g * g, square, gradient)
    pace = RATE * jnp.sqrt(1 - 0.999 ** (t + 1)) / (1 - 0.9 ** (t + 1))
    weights = jax.tree.map(lambda w, m, s: w - pace * m / (jnp.sqrt(s) + 1e-8), weights, mean, square)
    return weights, mean, square, t + 1


def prover(task: Arith, lanes: int, minibatches: int, seed: int = 0) -> Callable[[], float]:
    """A prover that learns: each call is an update on so many games, and returns the share that was accepted."""

    def update(state: State, key: jax.Array) -> tuple[State, jax.Array]:
        dealing, speaking, key = jax.random.split(key, 3)
        some = deal(task, lanes, dealing)
        x = seen(task, some)
        log_p = log_probs(task, state[0], x)
        message = jax.random.categorical(speaking, log_p)
        old = jnp.take_along_axis(log_p, message[:, :, None], 2)[:, :, 0].sum(1)
        paid = accepted(task, some, message).astype(jnp.float32)
        advantage = paid - forward(state[0][1], x)[:, 0]
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)

        def epoch(state: State, key: jax.Array) -> tuple[State, None]:
            order = jax.random.permutation(key, lanes).reshape(minibatches, -1)

            def step(state: State, rows: jax.Array) -> tuple[State, None]:
                batch = tuple(part[rows] for part in (x, message, old, advantage, paid))
                return adam(state, jax.grad(lambda weights: loss(task, weights, batch))(state[0])), None

            return jax.lax.scan(step, state, order)

        return jax.lax.scan(epoch, state, jax.random.split(key, EPOCHS))[0], paid.mean()

    first, second, key = jax.random.split(jax.random.key(seed), 3)
    width = seen(task, deal(task, 1, key)).shape[1]
    symbols = (task.operations - 1) * task.modulus
    weights = (perceptron(first, width, WIDTH, WIDTH, symbols), perceptron(second, width, WIDTH, WIDTH, 1))
    state: State = (weights, *(jax.tree.map(jnp.zeros_like, weights) for _ in range(2)), jnp.zeros((), jnp.int32))
    compiled, done = jax.jit(update, donate_argnums=0), 0

    def work() -> float:
        nonlocal state, done
        state, paid = compiled(state, jax.random.fold_in(key, done))
        done += 1
        return float(paid)

    return work
