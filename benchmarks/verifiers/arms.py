"""What is done with a verifier on one game: tuned, trained beside its controls, and measured. Each of these is a job of its own."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from pvg.agent import find_agent
from pvg.agents.adversarial import Adversarial
from pvg.agents.algorithm import Algorithm
from pvg.agents.attacks.library import attack
from pvg.agents.attacks.report import AttackReport
from pvg.agents.claims import Claims, deal
from pvg.agents.config import TrainConfig
from pvg.agents.evaluation import Search, outcome, solo_accuracy
from pvg.agents.evaluation import attack as search_from
from pvg.agents.imitation import Imitation
from pvg.agents.log import Row
from pvg.agents.networks import Player, VerifierNetwork, build, size_of, widest
from pvg.agents.training import CHECKPOINT, train
from pvg.benchmarks.verifiers.contestant import Contestant, guarded, inspect_verdicts
from pvg.benchmarks.verifiers.examples import examples
from pvg.benchmarks.verifiers.leaderboard import BOX, CONTROL, MAIN, TIMED
from pvg.benchmarks.verifiers.suite import Entry, Suite
from pvg.judging import judge_of
from pvg.metrics import coins, decide, difference, proportion
from pvg.protocols import Solo
from pvg.spec import Spec, resolve
from pvg.verifier import Verifier

GOAL = (0.99, 0.01)  # completeness at least, error at most
QUICK_SEARCH = Search(restarts=2, sweeps=1, exact_limit=1e4)


@dataclass(frozen=True)
class Cost:
    """CPU seconds an update, by phase."""

    imitation: float
    adversarial: float


class Watch:
    """Follows a verifier as it learns: how complete and how sound it is on validation claims, after how many games and CPU seconds.

    What watching takes is no part of those seconds.
    """

    def __init__(self, entry: Entry, suite: Suite, games: int = 0, seconds: float = 0.0) -> None:
        spec = replace(entry.spec, split="validation")
        self._true, self._false = (deal(spec, truth, suite.validation) for truth in (True, False))
        self._lanes, self.games, self.seconds = suite.lanes, games, seconds
        self._done, self._left = 0, time.process_time()
        self.points: list[dict[str, float]] = []

    def __call__(self, row: Row, players: Mapping[str, Player]) -> None:
        done = int(row["update"]) + 1
        if done == 1:
            self._done = 0  # a phase begins; its first update compiles, and its time does not count
        else:
            self.seconds += time.process_time() - self._left
        self.games += (done - self._done) * self._lanes
        self._done = done
        completeness, error = quick_look(_judge(players), self._true, self._false)
        point = {"games": self.games, "cpu_seconds": self.seconds, "completeness": completeness, "error": error}
        self.points.append(point)
        self._left = time.process_time()


def quick_look(verifier: Verifier, true: Claims, false: Claims) -> tuple[float, float]:
    """Mean verdicts on true claims argued honestly, and on the best messages a short search finds for false ones."""
    honest = outcome(verifier, true, find_agent("honest", true.game.spec))
    spec = false.game.spec
    assert spec.proof is not None, "messages are made of a proof"
    scripted = {name: outcome(verifier, false, find_agent(name, spec)) for name in spec.proof.dishonest}
    found = search_from(verifier, false, scripted, QUICK_SEARCH, seed=0).found
    return float(honest.verdicts[honest.counted].mean()), float(found.values.mean())


def tune(name: str, entry: Entry, suite: Suite) -> dict[str, Any]:
    """The learning rate a verifier does best with on validation claims, and what its updates cost; BadVerifier: it is none."""
    verifier, width = _entrant(name, entry, suite)
    share = {phase: max(1, round(suite.tuning_share * getattr(entry, phase))) for phase in ("imitation", "adversarial")}
    scores: dict[str, float] = {}
    costs: list[Cost] = []
    for rate in suite.rates:
        short = replace(entry, **share)
        config = _config(name, width, rate, suite, suite.tuning_seed, short)
        first = Watch(entry, suite)
        with TemporaryDirectory() as folder:
            _trained(name, entry, replace(config, phases=config.phases[:1]), first, Path(folder))
            second = Watch(entry, suite)
            _trained(name, entry, config, second, None, Path(folder) / CHECKPOINT)
        costs.append(Cost(first.seconds / short.imitation, second.seconds / short.adversarial))
        scores[str(rate)] = second.points[-1]["completeness"] - second.points[-1]["error"]
    best = max(suite.rates, key=lambda rate: scores[str(rate)])
    cost = Cost(*(sorted(getattr(c, phase) for c in costs)[len(costs) // 2] for phase in ("imitation", "adversarial")))
    size, flops = size_of(verifier), flops_of(verifier, entry.spec)
    return {"rate": best, "scores": scores, "width": width, "parameters": size, "flops": flops, "cost": vars(cost)}


def compete(name: str, entry: Entry, suite: Suite, seed: int, tuned: Mapping[str, Any]) -> dict[str, Any]:
    """A verifier trained adversarially, its update-matched control, itself matched by CPU time, and alone: each measured on the
    same fresh claims.
    """
    spec, width, rate = entry.spec, int(tuned["width"]), float(tuned["rate"])
    config = _config(name, width, rate, suite, seed, entry)
    control = (config.phases[0], Adversarial(updates=entry.adversarial, share=0.0))
    arms: dict[str, Any] = {}
    with TemporaryDirectory() as folder:
        start = Path(folder) / CHECKPOINT
        begun = Watch(entry, suite)
        _trained(name, entry, replace(config, phases=config.phases[:1]), begun, Path(folder))
        for arm, phases in ((MAIN, config.phases), (CONTROL, control)):
            watch = Watch(entry, suite, begun.games, begun.seconds)
            judge = _trained(name, entry, replace(config, phases=phases), watch, None, start)
            arms[arm] = _measured(name, judge, spec, seed, suite, watch, begun.points)
    fitted = _fitted(entry, tuned["cost"], suite.cpu_seconds)
    watch = Watch(entry, suite)
    judge = _trained(name, entry, _config(name, width, rate, suite, seed, fitted), watch)
    arms[TIMED] = _measured(name, judge, spec, seed, suite, watch, [])
    for arm in arms.values():
        arm["games_to_goal"] = games_to(arm["curve"])
    return {"arms": arms, "solo": _alone(name, entry, config, suite, seed)}


def measure_box(name: str, entry: Entry, suite: Suite, seed: int) -> dict[str, Any]:
    """A black box measured as it is, by attacks that see its verdicts alone."""
    contestant, spec = Contestant(name), entry.spec
    box = guarded(name, spec, "making it", lambda: contestant.box(spec))
    inspect_verdicts(name, box, spec, contestant.stochastic)
    arm = guarded(name, spec, "verdict", lambda: _report(box, spec, seed, suite))
    return {"arms": {BOX: arm | {"verdicts": box.queries}}, "solo": None}


def _entrant(name: str, entry: Entry, suite: Suite) -> tuple[VerifierNetwork, int]:
    """A verifier of the size that is allowed, and its width; BadVerifier: it cannot be made, or its verdicts are none."""
    spec, contestant = entry.spec, Contestant(name)
    role = spec.roles[judge_of(spec)].name
    width = guarded(name, spec, "making it", lambda: widest(name, spec, role, suite.parameters))
    verifier = build(name, spec, role, width=width)
    assert isinstance(verifier, VerifierNetwork)
    inspect_verdicts(name, verifier, spec, contestant.stochastic)
    return verifier, width


def _config(name: str, width: int, rate: float, suite: Suite, seed: int, entry: Entry) -> TrainConfig:
    phases: tuple[Algorithm, ...] = (
        Imitation(updates=entry.imitation, seats="verifier"),
        Adversarial(updates=entry.adversarial),
    )
    every = max(1, entry.imitation // suite.curve)
    return TrainConfig(
        network=name,
        prover_network="mlp",  # its seat is scripted; a network is made for it all the same
        prover_width=8,
        width=width,
        learning_rate=rate,
        phases=phases,
        lanes=suite.lanes,
        log_every=every,
        seed=seed,
    )


def _trained(
    name: str, entry: Entry, config: TrainConfig, watch: Watch, out: Path | None = None, resume: Path | None = None
) -> VerifierNetwork:
    """The verifier after training; BadVerifier, whatever its code raises, or if a figure is not finite."""
    spec = replace(entry.spec, split="train")
    made = guarded(name, spec, "training it", lambda: train(spec, config, out, resume=resume, progress=False, watch=watch))
    return _judge(made.players)


def _judge(players: Mapping[str, Player]) -> VerifierNetwork:
    (judge,) = (player for player in players.values() if isinstance(player, VerifierNetwork))
    return judge


def _measured(
    name: str, judge: VerifierNetwork, spec: Spec, seed: int, suite: Suite, watch: Watch, before: list[dict[str, float]]
) -> dict[str, Any]:
    learned = {"games": watch.games, "cpu_seconds": watch.seconds, "curve": before + watch.points}
    found: dict[str, Any] = guarded(name, spec, "measuring it", lambda: _report(judge, spec, seed, suite))
    return found | learned


def _report(verifier: Verifier, spec: Spec, seed: int, suite: Suite) -> dict[str, Any]:
    """Completeness, best-response soundness error, J, and what each attack found, on test claims of a seed."""
    true = deal(replace(spec, split="test"), True, suite.claims, seed)
    believed = outcome(verifier, true, find_agent("honest", spec))
    accepted = decide(believed.verdicts, coins(seed, suite.claims))[believed.counted]
    completeness = proportion(accepted, "true claims, honest prover")
    found = attacked(verifier, spec, seed, suite)
    error = found.exact if found.exact is not None else replace(found.union[-1], high=1.0)
    at_threshold = proportion((believed.verdicts >= found.threshold)[believed.counted], "true claims, honest prover")
    return {
        "completeness": completeness.as_dict(),
        "error": error.as_dict(),
        "J": difference(completeness, error, "completeness - best-response soundness error").as_dict(),
        "exact": found.exact is not None,
        "how": found.how_exact,
        "at_threshold": {"completeness": at_threshold.as_dict(), "all attacks": found.at_threshold["union"].as_dict()},
        "marks": list(found.marks),
        "attacks": {attack: [figure.value for figure in curve] for attack, curve in found.success.items()},
        "union": [figure.value for figure in found.union],
        "black_box_union": [figure.value for figure in found.black_box_union],
        "winners": dict(found.winners),
        "left_out": dict(found.left_out),
        "examples": examples(verifier, spec, seed, found),
    }


def attacked(verifier: Verifier, spec: Spec, seed: int, suite: Suite) -> AttackReport:
    """Every attack there is on false test claims of a seed."""
    return attack(
        verifier,
        spec,
        budget=suite.queries,
        claims=suite.attacked,
        validation_claims=suite.validation,
        seed=seed,
        exact_limit=suite.exact_limit,
        search=QUICK_SEARCH,
    )


def _alone(name: str, entry: Entry, config: TrainConfig, suite: Suite, seed: int) -> dict[str, Any]:
    """The same architecture, size and rate after as many games without a prover; its CPU seconds include what it compiles."""
    alone = resolve(entry.task, Solo(), split="train")
    games = entry.imitation + entry.adversarial
    config = replace(config, phases=(Imitation(updates=games),), log_every=games)
    begun = time.process_time()
    made = guarded(name, alone, "training it", lambda: train(alone, config, progress=False))
    seconds = time.process_time() - begun
    accuracy = solo_accuracy(_judge(made.players), alone, claims=suite.claims, seed=seed)
    return {"accuracy": accuracy.as_dict(), "games": games * suite.lanes, "cpu_seconds": seconds}


def _fitted(entry: Entry, cost: Mapping[str, float], seconds: float) -> Entry:
    """The entry with as many updates of both phases, in their proportion, as take so many CPU seconds."""
    whole = entry.imitation * cost["imitation"] + entry.adversarial * cost["adversarial"]
    scale = seconds / max(whole, 1e-9)
    return replace(entry, imitation=max(1, round(scale * entry.imitation)), adversarial=max(1, round(scale * entry.adversarial)))


def games_to(curve: list[dict[str, float]]) -> int | None:
    """After how many games a learning curve is at GOAL for the first time; None where it is not."""
    reached = [p["games"] for p in curve if p["completeness"] >= GOAL[0] and p["error"] <= GOAL[1]]
    return int(reached[0]) if reached else None


def flops_of(verifier: VerifierNetwork, spec: Spec, rows: int = 256) -> int:
    """Floating point operations a verdict takes, in matrix products and convolutions; table look-ups count for nothing.

    It leaves the verifier without gradients, which the counter would follow.
    """
    claims = deal(spec, False, rows)
    messages = torch.zeros((rows, 1, len(claims.seats.alphabet)), dtype=torch.int32)
    verifier.requires_grad_(False)
    with FlopCounterMode(display=False) as counted:
        verifier.verdict(claims.statement, messages)
    return int(counted.get_total_flops()) // rows
