"""Can a prover and a verifier find a proof system of their own, and with whom does it stop?

    python -m pvg.benchmarks.papers.emergence --out benchmarks/papers/results

Nobody shows what a proof looks like. Statements are those of Arith modulo 5, the message has a symbol after each step but the
last, and the verifier accepts if it accepts every step (from one symbol to the next, with the operation and operand between),
by one check for all steps. Play is led by the verifier: it learns from what the prover answers to the check as it is. A
curriculum goes from two steps to six; a stage ends when, on fresh claims, completeness (E[max over m of v | Y = 1]: the code is
the pair's own) is 0.95 or more and the exact best-response soundness error 0.05 or less, and a seed stops for good at the first
stage that takes more updates than it is allowed. Ends are measured exactly, on other claims.

Claims:
- `tables_with_spare_symbols_arrive`: a table of steps against the exact best response (dynamic programming), with four times as
  many symbols as residues, reaches six steps in at least 9 of 10 seeds;
- `not_without_a_curriculum`: begun at six steps, it does so in at most 1 of 10.
Reported, not claimed: with twice as many symbols and with none to spare; a network as the check of a step, with four and eight
times as many symbols; a learned prover (a network that speaks symbol by symbol and learns from the verdict by policy gradient) in
place of the exact one. Not shown: that those who did not arrive could not with other settings; anything of other tasks, or of
verifiers that do not check step by step. Settings were chosen on seeds below 10.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pvg.agent import Observation
from pvg.agents.attacks import dynamic_programming
from pvg.agents.imitation import truth_loss
from pvg.agents.networks import ProverNetwork, StepCheckVerifier, VerifierNetwork, build
from pvg.agents.networks.reading import Given
from pvg.agents.networks.step_check import LEAST_DOUBT, find_path, log_complement
from pvg.agents.policy_gradient import leave_one_out
from pvg.agents.report import canvas
from pvg.agents.team import hashed
from pvg.benchmarks.papers.results import over_seeds, save
from pvg.benchmarks.provenance import provenance
from pvg.field import Field
from pvg.game import Game
from pvg.protocols import ProverVerifier
from pvg.spec import Spec, resolve
from pvg.task import TaskRules
from pvg.tasks import Arith
from pvg.verifier import with_messages

LANES = 256  # statements an update
PROVER_UPDATES = 5  # of a learned prover, for one of the verifier
POOL = 10_000  # statements of each number of steps to learn from
TESTS = 2_000  # to measure on


@dataclass(frozen=True)
class SpareSymbols(Arith):
    """Arith, whose messages may use more symbols than there are residues; scripted provers use the first `modulus`."""

    symbols: int = 20

    def build(self) -> TaskRules:
        rules = super().build()
        kinds = {"message": (Field("partial", self.symbols, (self.operations - 1,), ("step",)),)}
        return replace(rules, proofs={"transcript": replace(rules.proofs["transcript"], kinds=kinds)})


@dataclass(frozen=True)
class Arm:
    """How an arm plays.

    check: "table" or "network". symbols: of a message. prover: "exact" or a network by name. rate: of the verifier's Adam.
    updates: of the verifier in a stage, at most. steps: of each stage, the number in its statements. seeds: how many are run.
    """

    check: str = "table"
    symbols: int = 20
    prover: str = "exact"
    rate: float = 0.3
    updates: int = 2000
    steps: tuple[int, ...] = (2, 3, 4, 5, 6)
    seeds: int = 10


ARMS = {
    "table, no spare symbols": Arm(symbols=5),
    "table, twice the symbols": Arm(symbols=10),
    "table, four times the symbols": Arm(),
    "table, four times the symbols, no curriculum": Arm(steps=(6,)),
    "network, four times the symbols": Arm("network", rate=1e-2),
    "network, eight times the symbols": Arm("network", symbols=40, rate=1e-2),
    "table, learned prover": Arm(prover="mlp", rate=0.03, seeds=5),
    "network, learned prover": Arm("network", prover="mlp", rate=1e-2, updates=1000, seeds=5),
}
CLAIMED = ("tables_with_spare_symbols_arrive", "not_without_a_curriculum")


class StepTable(VerifierNetwork):
    """v(x, m) = product over steps of sigmoid T[operation, operand, symbol before, symbol after], T drawn at first."""

    def __init__(self, spec: Spec, generator: torch.Generator) -> None:
        super().__init__(spec, "verifier")
        self.path = find_path(spec, self.view)
        s, kinds = self.path.states, [column.high for column in self.path.aligned]
        self.table = nn.Parameter(0.1 * torch.randn((*kinds, s, s), generator=generator))

    def log_probs(self, packed: Tensor, given: Given | None = None) -> Tensor:
        first, last = self.end_states(packed)
        assert self.path.between is not None
        between = packed[:, self.path.between.start : self.path.between.stop].long() - 1
        states = torch.cat([first[:, None], between, last[:, None]], 1)  # N step+1
        logits = self.table[(*self._kinds(packed), states[:, :-1], states[:, 1:])]
        accept = (F.logsigmoid(logits) - LEAST_DOUBT).sum(1)
        return torch.stack([log_complement(accept), accept], 1)

    @torch.no_grad()
    def step_log_probs(self, packed: Tensor) -> Tensor:
        """`B step S S`, as `pvg.agents.attacks.StepChecking` has it."""
        return F.logsigmoid(self.table[self._kinds(packed)])

    def end_states(self, packed: Tensor) -> tuple[Tensor, Tensor]:
        """The first and the last state of each statement: `B` each."""
        return packed[:, self.path.first.start].long(), packed[:, self.path.last.start].long()

    def _kinds(self, packed: Tensor) -> tuple[Tensor, ...]:
        """Operation and operand of every step: `N step` each."""
        return tuple(packed[:, column.start : column.stop].long() for column in self.path.aligned)


def statements(spec: Spec, lanes: int, *name: object) -> tuple[Observation, Observation, Tensor]:
    """What prover and verifier see of claims dealt by a name, and which are true."""
    game = Game(spec, lanes, seed=hashed(*name))
    seen = [Observation(game.observe(role).packed.clone(), spec.view(role)) for role in (0, 1)]
    return seen[0], seen[1], game.field("truth").clone()


def best_messages(verifier: Any, statement: Observation) -> Tensor:
    """What the verifier accepts most readily: `B position`."""
    return dynamic_programming(verifier, statement)[0]


def measure(verifier: Any, statement: Observation, truth: Tensor) -> dict[str, float]:
    """Completeness, E[max over m of v] given true claims, and the best-response soundness error: the same given false ones."""
    v = dynamic_programming(verifier, statement)[1]
    return {"completeness": float(v[truth == 1].mean()), "soundness_error": float(v[truth != 1].mean())}


def arrived(figures: dict[str, float]) -> bool:
    return figures["completeness"] >= 0.95 and figures["soundness_error"] <= 0.05


def learn(verifier: VerifierNetwork, optimiser: torch.optim.Optimizer, heard: Tensor, truth: Tensor) -> None:
    """One step of the verifier down -log v(truth) on what it heard; by the envelope theorem, of the best response too."""
    optimiser.zero_grad()
    truth_loss(verifier.log_probs(heard), truth, torch.ones_like(truth, dtype=torch.bool)).backward()
    nn.utils.clip_grad_norm_(verifier.parameters(), 1.0)
    optimiser.step()


class LearnedProver:
    """A network that learns by policy gradient to be accepted by the verifier as it is: four samples a statement, each judged by
    the others (RLOO).
    """

    def __init__(self, spec: Spec, arm: Arm, seed: int) -> None:
        player = build(arm.prover, spec, "prover", seed, width=64)
        assert isinstance(player, ProverNetwork)
        player.generator.manual_seed(hashed(seed, "prover"))
        self.player, self.optimiser = player, torch.optim.Adam(player.parameters(), 3e-3)

    def say(self, stated: Observation) -> Tensor:
        """A message for each statement: `B position`."""
        return self.player.act(stated, torch.ones(len(stated.packed), dtype=torch.bool)).symbols

    def improve(self, verifier: VerifierNetwork, stated: Observation, statement: Observation, entropy: float = 0.01) -> None:
        four = slice(0, len(stated.packed) // 4)
        packed = stated.packed[four].repeat_interleave(4, 0)
        said = self.say(Observation(packed, stated.view))
        reward = verifier.verdict(statement.rows(four), said.unflatten(0, (-1, 4))).flatten()
        log_prob, nats = self.player.evaluate(packed, said)
        self.optimiser.zero_grad()
        advantage = reward - leave_one_out(reward, 4)
        (-(advantage * log_prob).mean() - entropy * nats.mean()).backward()
        nn.utils.clip_grad_norm_(self.player.parameters(), 1.0)
        self.optimiser.step()


def stage(arm: Arm, verifier: VerifierNetwork, optimiser: torch.optim.Optimizer, seed: int) -> tuple[int, dict[str, float]]:
    """Learning at one number of steps until it has arrived or may go on no longer: the updates it took, and how it ended."""
    spec, generator = verifier.spec, torch.Generator().manual_seed(hashed(seed, verifier.spec.task))
    stated, statement, truth = statements(spec, POOL, seed, "learn")
    _, fresh, fresh_truth = statements(spec, TESTS, seed, "stop")
    prover = None if arm.prover == "exact" else LearnedProver(spec, arm, seed)
    for update in count():
        if update % 25 == 0 and (arrived(figures := measure(verifier, fresh, fresh_truth)) or update == arm.updates):
            return update, figures
        some = torch.randint(POOL, (LANES,), generator=generator)
        claims = statement.rows(some)
        if prover is None:
            said = best_messages(verifier, claims)
        else:
            for _ in range(PROVER_UPDATES):
                prover.improve(verifier, stated.rows(some), claims)
            said = prover.say(stated.rows(some))
        learn(verifier, optimiser, with_messages(claims, said[:, None]).packed, truth[some])
    raise AssertionError("updates: expected a multiple of 25")


def run(name: str, arm: Arm, seed: int) -> dict[str, Any]:
    """One seed's curriculum, as a row of the result; reached: the most steps at which it arrived, 0 for none."""
    start, weights = time.process_time(), None
    row: dict[str, Any] = {"arm": name, "seed": seed, "reached": 0, "stages": []}
    for n in arm.steps:
        verifier = made(arm, resolve(SpareSymbols(operations=n, symbols=arm.symbols), ProverVerifier()), seed)
        if weights is not None:
            verifier.load_state_dict(weights)
        updates, figures = stage(arm, verifier, torch.optim.Adam(verifier.parameters(), arm.rate), seed)
        row["stages"].append({"steps": n, "updates": updates, **figures})
        weights = verifier.state_dict()
        if not arrived(figures):
            break
        row["reached"] = n
    _, unseen, truth = statements(verifier.spec, TESTS, seed, "report")
    return row | measure(verifier, unseen, truth) | {"cpu_seconds": time.process_time() - start}


def made(arm: Arm, spec: Spec, seed: int) -> StepTable | StepCheckVerifier:
    """A verifier that knows nothing yet."""
    if arm.check == "table":
        return StepTable(spec, torch.Generator().manual_seed(seed))
    verifier = build("step_check", spec, "verifier", seed)
    assert isinstance(verifier, StepCheckVerifier)
    return verifier


def came_to_the_end(rows: list[dict[str, Any]], name: str) -> list[bool]:
    """Of each seed of an arm, whether it arrived at its last stage."""
    return [row["reached"] == ARMS[name].steps[-1] for row in rows if row["arm"] == name]


def claims_of(rows: list[dict[str, Any]]) -> dict[str, bool]:
    """Which claims hold; none does of an arm that was not run."""
    whole, bare = (came_to_the_end(rows, name) for name in list(ARMS)[2:4])
    held = (bool(whole) and sum(whole) >= 0.9 * len(whole), bool(bare) and sum(bare) <= 0.1 * len(bare))
    return dict(zip(CLAIMED, held, strict=True))


def summary(rows: list[dict[str, Any]]) -> str:
    """A table in Markdown: how many seeds came to the end, where the others stopped, and how all ended."""
    lines = [
        "| arm | came to the end | others stopped at | updates | completeness | soundness error |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name in dict.fromkeys(row["arm"] for row in rows):
        mine = [row for row in rows if row["arm"] == name]
        whole = came_to_the_end(rows, name)
        stopped = sorted({row["stages"][-1]["steps"] for row, end in zip(mine, whole, strict=True) if not end})
        took = sorted(sum(each["updates"] for each in row["stages"]) for row in mine)
        ends = [over_seeds([row[figure] for row in mine]) for figure in ("completeness", "soundness_error")]
        shown = [f"{end.value:.3f} [{end.low:.3f}, {end.high:.3f}]" for end in ends]
        where = ", ".join(f"{n} steps" for n in stopped) or "-"
        lines.append(" | ".join([f"| {name}", f"{sum(whole)} of {len(mine)}", where, f"{took[0]} to {took[-1]}", *shown]) + " |")
    return "\n".join(lines)


def figure(rows: list[dict[str, Any]], path: Path) -> None:
    """How far every seed came, and where it ended: completeness against soundness error; a colour an arm."""
    shown = canvas((13, 4.5))
    reached, ends = shown.subplots(1, 2, width_ratios=(1.6, 1))
    names = list(dict.fromkeys(row["arm"] for row in rows))
    for k, name in enumerate(names):
        mine = [row for row in rows if row["arm"] == name]
        reached.plot(
            [row["reached"] for row in mine],
            [k + 0.07 * (i - len(mine) / 2) for i in range(len(mine))],
            "o",
            markersize=4,
            color=f"C{k}",
        )
        ends.plot([row["soundness_error"] for row in mine], [row["completeness"] for row in mine], "o", markersize=4, color=f"C{k}")
    reached.set_yticks(range(len(names)), names)
    reached.invert_yaxis()
    reached.set(xlabel="steps at which it arrived, at most; 0: at none")
    ends.plot([0, 1], [0, 1], color="black", linewidth=0.5, linestyle=":")
    ends.set(xlabel="exact best-response soundness error", ylabel="completeness", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    shown.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--first", type=int, default=100, help="the first seed")
    parser.add_argument("--seeds", type=int, help="how many; the arm's own number if left out")
    parser.add_argument("--out", type=Path, help="folder for emergence.json and emergence.png")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows, made_by = [], provenance()
    for name in given.arms:
        for seed in range(given.first, given.first + (given.seeds or ARMS[name].seeds)):
            rows.append(run(name, ARMS[name], seed))
            print(rows[-1], flush=True)
    held = claims_of(rows)
    print(summary(rows), held, sep="\n")
    if given.out:
        configs = {name: asdict(ARMS[name]) for name in given.arms}
        save(given.out, "emergence", made_by, configs | {"lanes": LANES, "prover_updates": PROVER_UPDATES}, held, rows)
        figure(rows, given.out / "emergence.png")


if __name__ == "__main__":
    main()
