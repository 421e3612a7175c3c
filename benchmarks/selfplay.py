"""How fast is self-play PPO beside its own networks, and beside other people's PPO, on one thread?

    python -m pvg.benchmarks.selfplay --out benchmarks/results/selfplay.json      (about ten minutes)

Claims, in samples a second of CPU time, all measured in one run on one machine with one thread (a sample is one role's whole
utterance, from the deal to the last epoch over it): with 4,096 lanes, self-play PPO runs at 70 % of the network-only
ceiling or more on Arith (networks 64 wide) and on graph isomorphism; on graph isomorphism with networks of about 26,000
parameters, 8 rounds, 1,000 frames an iteration and 4 epochs of minibatches of 64 frames, a multilayer perceptron learns from 2,000
frames a second or more. Not claimed: 70 % with 1,024 lanes, where the MLPs are about there, or with 256, where minibatches are
so small that every operation costs its call; 2,000 frames a second with message passing.

The ceiling is what no loop around these networks can beat: every pass through a network that PPO makes and nothing else, on
tensors that lie ready. That is, for each utterance of the rollout the player's forward pass, symbol by symbol where it speaks so;
one forward pass of the critic; and for each minibatch a forward pass of player and critic up to their last layer, a backward pass
from the plain sum of what they say, and the step of the same optimiser. No game, no sampling, no loss, no advantages, no clipping,
no gathering of minibatches. Networks, batch sizes and numbers of passes are those of the run beside it.

A frame is one round of one game: an exchange has 8, four questions and their answers; the verdict after them is not counted. A
minibatch of 64 frames is 8 games, so that there are 16 in each of 4 epochs, and 64 steps of either seat's optimiser an iteration.

Stable-Baselines3's PPO trains one seat (the prover, against the reference verifier) of the same task through Gymnasium: 8
environments, policy and value networks 64 wide, rollouts of as many utterances as there are lanes, the same epochs and minibatches.
A PPO in JAX (`pvg.benchmarks.jax_ppo`, where jax is installed) trains the same seat of Arith at the same sizes, game and learning
in one compiled program. Both draw a message's symbols apart, where our prover says them one by one.
Contestants of a setting take turns, so that a machine that slows down slows all; figures are medians over rounds, ratios medians of
ratios within a round. Compiled networks (torch.compile) were compiled before.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pvg.agents.config import TrainConfig
from pvg.agents.networks import Player, VerifierNetwork
from pvg.agents.play import Experience, deal, play
from pvg.agents.selfplay import PPO
from pvg.agents.team import Learner, Team, assemble
from pvg.benchmarks.provenance import provenance
from pvg.game import Game
from pvg.protocols import InteractiveProof, ProverVerifier
from pvg.spec import Spec, resolve
from pvg.tasks.arith import Arith
from pvg.tasks.graph_iso import GraphIso

ARITH = resolve(Arith(), ProverVerifier())
ISOMORPHISM = resolve(GraphIso(), ProverVerifier())
ROUNDS = 8
# Four questions and their answers, and the verdict.
EXCHANGE = resolve(GraphIso(rounds=ROUNDS // 2), InteractiveProof(), "one_node_a_turn")
Work = Callable[[], int]


@dataclass(frozen=True)
class Setting:
    """A game, the networks that learn it, and how: PPO with `lanes` games an update in `minibatches` parts.

    frames: rounds of a game. env: its id, where one seat of it is trained by others too.
    """

    name: str
    spec: Spec
    network: str
    width: int
    lanes: int
    minibatches: int = 2
    compiled: bool = False
    frames: int | None = None
    env: str | None = None

    def team(self) -> Team:
        config = TrainConfig(self.network, width=self.width, lanes=self.lanes, compiled=self.compiled)
        return assemble(self.spec, config)

    @property
    def algorithm(self) -> PPO:
        return PPO(minibatches=self.minibatches)


LANES = (256, 1024, 4096)
SETTINGS = [
    *(Setting(f"Arith, mlp, {n} lanes", ARITH, "mlp", 64, n, env="pvg/Arith-v0") for n in LANES),
    *(Setting(f"Arith, step_check, {n} lanes", ARITH, "step_check", 64, n) for n in LANES),
    *(Setting(f"GraphIso, mlp, {n} lanes", ISOMORPHISM, "mlp", 64, n, env="pvg/GraphIso-v0") for n in LANES),
    *(Setting(f"GraphIso, graph, {n} lanes", ISOMORPHISM, "graph", 33, n) for n in LANES[:2]),
    Setting("GraphIso, 8 rounds, mlp", EXCHANGE, "mlp", 72, 125, 16, frames=ROUNDS),
    Setting("GraphIso, 8 rounds, graph", EXCHANGE, "graph", 33, 125, 16, frames=ROUNDS),
    Setting("GraphIso, 8 rounds, graph, compiled", EXCHANGE, "graph", 33, 125, 16, compiled=True, frames=ROUNDS),
]


def selfplay(setting: Setting) -> Work:
    """An update of self-play, as `train` makes it. Returns the samples it learned from."""
    game, team, algorithm = Game(setting.spec, setting.lanes), setting.team(), setting.algorithm
    algorithm.begin(team, game)
    index = 0

    def update() -> int:
        nonlocal index
        index += 1
        deal(game, 0, index)
        team.name_draws(0, index)
        algorithm.update(team, game, index, 1.0)
        return setting.lanes * setting.spec.turns

    return update


def ceiling(setting: Setting) -> Work:
    """The passes through networks of one update on fixed tensors. Returns the samples they stand for."""
    game, team, algorithm = Game(setting.spec, setting.lanes), setting.team(), setting.algorithm
    seen = play(game, team.players, team.learners)
    parts = {role: [of(some, seen[role]) for some in torch.arange(setting.lanes).chunk(setting.minibatches)] for role in seen}

    def passes() -> int:
        for role, learner in team.learners.items():
            with torch.no_grad():
                for packed, symbols in zip(seen[role].packed, seen[role].symbols, strict=True):
                    speak(learner.player, packed, symbols)
                learner.critic(seen[role].packed.flatten(0, 1))
            for _ in range(algorithm.epochs):
                for packed, symbols in parts[role]:
                    step(learner, packed, symbols)
        return setting.lanes * setting.spec.turns

    return passes


def of(some: Tensor, seen: Experience) -> tuple[Tensor, Tensor]:
    """What some lanes saw and said, a row an utterance."""
    return seen.packed[:, some].flatten(0, 1), seen.symbols[:, some].flatten(0, 1).long()


def speak(player: Player, packed: Tensor, symbols: Tensor) -> None:
    """The forward passes of one utterance."""
    if isinstance(player, VerifierNetwork):
        player.log_probs(packed)
        return
    context, memory, said = player.encode(packed), None, symbols[:, : player.positions].long()  # type: ignore[operator]
    for j in range(said.shape[1]):
        _, memory = player.next(context, said[:, :j], memory)  # type: ignore[operator]


def step(learner: Learner, packed: Tensor, symbols: Tensor) -> None:
    """One step of learning with the plainest of losses, which moves nothing."""
    player: Any = learner.player
    if isinstance(player, VerifierNetwork):
        out = player.log_probs(packed)
    else:
        out = player.decode(player.encode(packed), symbols[:, : player.positions])
    learner.optimiser.zero_grad(set_to_none=True)
    (out.sum() + learner.critic(packed).sum()).backward()
    for group in learner.optimiser.param_groups:
        group["lr"] = 0.0
    learner.optimiser.step()


def stable_baselines(setting: Setting) -> Work:
    """Stable-Baselines3's PPO in the prover's seat: one rollout and its epochs. Returns the samples it learned from."""
    from gymnasium.wrappers import FlattenObservation
    from stable_baselines3 import PPO as TheirPPO
    from stable_baselines3.common.env_util import make_vec_env

    environments = 8
    assert setting.env is not None
    warnings.filterwarnings("ignore", ".*render_mode='rgb_array'")  # it asks for pictures first
    given: Any = {"env_kwargs": {"role": "prover", "opponents": "reference"}, "wrapper_class": FlattenObservation}
    vector = make_vec_env(setting.env, environments, seed=0, **given)
    sizes: Any = {"n_steps": setting.lanes // environments, "batch_size": setting.lanes // setting.minibatches}
    model = TheirPPO("MlpPolicy", vector, n_epochs=4, policy_kwargs={"net_arch": [64, 64]}, device="cpu", **sizes)

    def learn() -> int:
        model.learn(setting.lanes, reset_num_timesteps=False)
        return setting.lanes

    return learn


def jax_ppo(setting: Setting) -> Work:
    """The PPO in JAX in the prover's seat: one update. Returns the samples it learned from."""
    from pvg.benchmarks.jax_ppo import prover

    assert isinstance(setting.spec.task, Arith)
    work = prover(setting.spec.task, setting.lanes, setting.minibatches)

    def update() -> int:
        work()
        return setting.lanes

    return update


def measure(contestants: dict[str, Work], rounds: int, seconds: float) -> dict[str, list[float]]:
    """Samples a CPU second of each contestant in each round, after two calls that do not count."""
    found: dict[str, list[float]] = {name: [] for name in contestants}
    for work in contestants.values():
        work()
        work()
    for _ in range(rounds):
        for name, work in contestants.items():
            samples, start = 0, time.process_time()
            while (spent := time.process_time() - start) < seconds:
                samples += work()
            found[name].append(samples / spent)
    return found


def row(setting: Setting, rounds: int, seconds: float) -> dict[str, Any]:
    """The figures of a setting."""
    contestants = {"selfplay": selfplay(setting), "ceiling": ceiling(setting)}
    if setting.env is not None:
        contestants["stable_baselines3"] = stable_baselines(setting)
        if isinstance(setting.spec.task, Arith) and find_spec("jax") is not None:
            contestants["jax"] = jax_ppo(setting)
    rates = measure(contestants, rounds, seconds)
    parameters = {role: sum(p.numel() for p in player.parameters()) for role, player in setting.team().players.items()}
    found: dict[str, Any] = {"setting": setting.name, "lanes": setting.lanes, "parameters": parameters}
    found |= {f"{name}_samples_per_cpu_s": statistics.median(values) for name, values in rates.items()}
    found["ratio_to_ceiling"] = statistics.median(a / b for a, b in zip(rates["selfplay"], rates["ceiling"], strict=True))
    if setting.frames is not None:
        found["frames_per_cpu_s"] = found["selfplay_samples_per_cpu_s"] * setting.frames / setting.spec.turns
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each contestant in a round")
    parser.add_argument("--only", default="", help="settings whose name contains this")
    parser.add_argument("--out", type=Path, help="a JSON file to write")
    given = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"  # before jax is imported
    result: dict[str, Any] = {"provenance": provenance(), "threads": 1, "rows": []}
    for setting in SETTINGS:
        if given.only in setting.name:
            result["rows"].append(row(setting, given.rounds, given.seconds))
            shown = {k: f"{v:,.2f}" if isinstance(v, float) else v for k, v in result["rows"][-1].items()}
            print("  ".join(f"{name}={value}" for name, value in shown.items()), flush=True)
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
