"""The PPO in JAX plays the game it is timed on, and learns it."""

from __future__ import annotations

import numpy as np
import torch

from pvg.benchmarks import jax_ppo
from pvg.game import Game
from pvg.protocols import ProverVerifier
from pvg.spec import resolve
from pvg.tasks import Arith

TASK = Arith(operations=3, modulus=4)


def test_its_verdicts_are_the_reference_verifiers() -> None:
    game = Game(resolve(TASK, ProverVerifier()), 500)
    game.play({"prover": "random", "verifier": "reference"})
    start, op, x, claim = (game.field(name).numpy().astype(np.int32) for name in ("start", "op", "x", "claim"))
    some = jax_ppo.Statements(*map(jax_ppo.jnp.asarray, (start.reshape(-1), op, x, claim.reshape(-1))))
    said = game.field("said")[:, 0, : TASK.operations - 1].numpy().astype(np.int32)
    verdict = torch.from_numpy(np.array(jax_ppo.accepted(TASK, some, jax_ppo.jnp.asarray(said))))
    assert torch.equal(verdict, game.field("verdict") == 1)
    assert verdict.any()


def test_it_deals_true_claims_half_of_the_time() -> None:
    some = jax_ppo.deal(TASK, 4000, jax_ppo.jax.random.key(0))
    values = jax_ppo.values(TASK, some.start, some.op, some.x)
    assert 0.45 < float((values[:, -1] == some.claim).mean()) < 0.55
    assert bool(jax_ppo.accepted(TASK, some, values[:, :-1])[values[:, -1] == some.claim].all())


def test_it_learns() -> None:
    work = jax_ppo.prover(Arith(operations=2, modulus=3), 512, 2)
    paid = [work() for _ in range(100)]
    assert np.mean(paid[:5]) < 0.22
    assert np.mean(paid[-5:]) > 0.3  # half of the claims are false, so that 0.5 is the most, and 0.17 chance
