"""Cooperative against adversarial training on FindThePlus: is what a pair agrees on a proof, or a code?

    python -m pvg.benchmarks.papers.find_the_plus --out benchmarks/papers/results

The prover sees an image of 4 x 4 cells of three colours; the verifier sees the window cut at the coordinate the prover names, and
that coordinate. The verifier learns from nothing: it descends -log v(truth). The prover wants -log v(truth) to be small too
(cooperative), or -log v(true) whatever the truth (adversarial). Then the verifier stays as it is and is attacked on fresh false
images: by its own prover, by a new prover trained against it, by gradients through the message with restarts, and by every
message: the exact best response. In the style of Anil, Zhang, Wu & Grosse 2021, whose sizes and figures are not known to us.

In the arms that claims are about, the prover's objective is all that differs: the prover knows the verifier, and answers with
each message in proportion to exp(4 * what it gains by it), a logit quantal response (McKelvey & Palfrey 1995). Of the exact best
response, which this is where 4 is infinite, adversarial verifiers learn some of what a plus is and no more: with messages they
have given up on, they are never right.

Claimed, of the means over the seeds reported:
- `code_breaks`: the cooperative pair has completeness above 0.9, and the exact best-response error of its verifier is above 0.9;
- `adversarial_holds`: with adversarial training completeness is above 0.9, and that error below 0.1.
Reported, not claimed: networks as provers, who learn through the message (straight-through) or from sampled messages (policy
gradient, one update of the prover for each of the verifier). With those, how the prover learns matters as much as what for.
Not shown: anything of larger images, or of what Anil et al. found. Settings were chosen on seeds below 10.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from pvg.agent import Observation
from pvg.agents.algorithm import Algorithm, Figures, algorithms
from pvg.agents.attacks import numbered, seats
from pvg.agents.attacks.library import attack
from pvg.agents.claims import deal
from pvg.agents.config import TrainConfig, plain
from pvg.agents.imitation import learn_truth
from pvg.agents.networks import VerifierNetwork
from pvg.agents.play import Experience
from pvg.agents.prover_verifier import ProverVerifierTraining
from pvg.agents.report import canvas
from pvg.agents.team import Team
from pvg.agents.training import Diverged, Trained, train
from pvg.benchmarks.papers.results import over_seeds, save
from pvg.benchmarks.provenance import provenance
from pvg.game import Game
from pvg.protocols import ProverVerifier
from pvg.spec import Spec, resolve
from pvg.tasks import FindThePlus
from pvg.verifier import replayed, with_messages

Objective = Literal["cooperative", "adversarial"]
Way = Literal["quantal", "straight_through", "sampled"]

TASK = FindThePlus(height=4, width=4, colours=3)
WAYS: dict[Way, dict[str, Any]] = {
    "quantal": {"updates": 1500},
    "straight_through": {"updates": 3000, "entropy": 0.01},
    "sampled": {"updates": 3000, "steps": 1, "entropy": 0.1},
}
LANES: dict[Way, int] = {"quantal": 512, "straight_through": 256, "sampled": 256}
OBJECTIVES: tuple[Objective, ...] = ("cooperative", "adversarial")
HEADLINE: tuple[tuple[Objective, Way], ...] = tuple((objective, "quantal") for objective in OBJECTIVES)
BESIDE: tuple[tuple[Objective, Way], ...] = tuple(
    (objective, way) for way in ("straight_through", "sampled") for objective in OBJECTIVES
)
CLAIMED = ("code_breaks", "adversarial_holds")
GAIN = 4.0  # of log v, in the logits of a quantal response
ATTACKS = ("exhaustive", "gradient", "learned")
CURVES = ("update", "accepted_true", "accepted_false")


def every_message(verifier: VerifierNetwork, statement: Observation) -> tuple[Tensor, Tensor]:
    """What the verifier hears of every message, `N message width`, and its log probability of each verdict, `N message 2`."""
    alphabet, count = seats(verifier.spec).alphabet, len(statement.packed)
    messages = numbered(torch.arange(math.prod(alphabet)), alphabet)
    heard = with_messages(statement, messages.expand(count, -1, -1)).packed
    with torch.no_grad():
        return heard.unflatten(0, (count, -1)), verifier.log_probs(heard).unflatten(0, (count, -1))


def quantal(log_probs: Tensor, truth: Tensor, objective: Objective) -> Tensor:
    """The probability of each message, `N message`: in proportion to exp(GAIN * log v(the verdict wanted))."""
    wanted = truth if objective == "cooperative" else torch.ones_like(truth)
    gained = log_probs.gather(2, wanted[:, None, None].expand(-1, log_probs.shape[1], 1))[:, :, 0]
    return (GAIN * gained).softmax(1)


@algorithms.register("quantal_response")
@dataclass(frozen=True)
class QuantalResponse(Algorithm):
    """The verifier learns from a prover that knows it: every message's verdict is asked, and one is drawn by what it gains."""

    updates: int = 1500
    objective: Objective = "adversarial"
    """Whether the prover gains by the truth (cooperative) or by being accepted (adversarial)."""

    def update(self, team: Team, game: Game, index: int, pace: float) -> Figures:
        ((role, learner),) = team.seated("verifier").items()
        verifier, truth = learner.player, game.field("truth").long()
        assert isinstance(verifier, VerifierNetwork)
        seen = Observation(game.observe(role).packed.clone(), verifier.view)
        heard, log_probs = every_message(verifier, replayed(game.spec, verifier.role, seen, game.bytes.clone()))
        said = torch.multinomial(quantal(log_probs, truth, self.objective), 1, generator=team.generator)
        packed = heard.gather(1, said[:, :, None].expand(-1, 1, heard.shape[2])).transpose(0, 1)  # turn lane width
        spoke = torch.ones(packed.shape[:2], dtype=torch.bool)
        nothing = torch.zeros(packed.shape[:2])
        loss, figures = learn_truth(learner, Experience(packed, said[None].int(), spoke, nothing, nothing), truth, pace)
        return {"verifier_loss": loss} | figures


def config(objective: Objective, way: Way, seed: int) -> TrainConfig:
    """How a pair learns."""
    phase = (
        QuantalResponse(objective=objective, **WAYS[way])
        if way == "quantal"
        else ProverVerifierTraining(objective=objective, messages=way, **WAYS[way])
    )
    return TrainConfig("mlp", width=128, lanes=LANES[way], phases=(phase,), seed=seed, log_every=max(1, phase.updates // 20))


def run(objective: Objective, way: Way, seed: int, claims: int = 500, games: int = 10_000) -> dict[str, Any]:
    """A pair trained, and its verifier attacked, as a row of the result."""
    start, spec = time.process_time(), resolve(TASK, ProverVerifier())
    row: dict[str, Any] = {"objective": objective, "way": way, "seed": seed}
    try:
        pair = train(spec, config(objective, way, seed), progress=False)
    except Diverged as error:
        return row | {"diverged": str(error)}
    assert pair.verifier is not None
    names = [name for name in ATTACKS if name != "learned" or games > 0]
    report = attack(pair.verifier, spec, names=names, budget=200, claims=claims, validation_claims=claims, seed=seed, games=games)
    assert report.exact is not None, "every message can be tried"
    row |= {"curves": {name: [row[name] for row in pair.history] for name in CURVES}}
    row |= pairs_own(pair, spec, claims, seed, objective if way == "quantal" else None)
    row |= {"success": {name: curve[-1].value for name, curve in report.success.items()}, "exact": report.exact.value}
    return row | {"cpu_seconds": time.process_time() - start}


def pairs_own(pair: Trained, spec: Spec, claims: int, seed: int, objective: Objective | None) -> dict[str, float]:
    """What the verifier accepts of its own prover's claims, true and false, and of true ones with the best message. That prover
    is the quantal response of an objective, or the network that learned.
    """
    verifier = pair.verifier
    assert verifier is not None
    found: dict[str, float] = {}
    for truth, name in ((True, "completeness"), (False, "own_false")):
        some = deal(spec, truth, claims, seed)
        accepted = every_message(verifier, some.statement)[1]
        if objective is not None:
            said = quantal(accepted, torch.full((claims,), int(truth)), objective)
            found[name] = float((said * accepted[:, :, 1].exp()).sum(1).mean())
        else:
            assert pair.prover is not None
            message, _ = some.argue(pair.prover)
            found[name] = float(verifier.verdict(some.statement, message[:, None]).mean())
        if truth:
            found["achievable_completeness"] = float(accepted[:, :, 1].exp().max(1).values.mean())
    return found


def claims_of(rows: list[dict[str, Any]]) -> dict[str, bool]:
    """Which claims hold; none does if a run diverged."""
    if any("diverged" in row for row in rows):
        return dict.fromkeys(CLAIMED, False)

    def mean(arm: tuple[Objective, Way], name: str) -> float:
        return over_seeds([row[name] for row in rows if (row["objective"], row["way"]) == arm]).value

    code, proof = HEADLINE
    held = (
        mean(code, "completeness") > 0.9 and mean(code, "exact") > 0.9,
        mean(proof, "completeness") > 0.9 and mean(proof, "exact") < 0.1,
    )
    return dict(zip(CLAIMED, held, strict=True))


def arms(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The rows of each arm that did not diverge."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(f"{row['objective']}, {row['way']}", []).extend([] if "diverged" in row else [row])
    return found


def summary(rows: list[dict[str, Any]]) -> dict[str, dict[str, str]]:
    """By arm, every figure as mean [bounds]."""
    found: dict[str, dict[str, str]] = {}
    for arm, mine in arms(rows).items():
        figures = {name: [row[name] for row in mine] for name in ("completeness", "achievable_completeness", "own_false", "exact")}
        figures |= {name: [row["success"][name] for row in mine] for name in (mine[0]["success"] if mine else ())}
        found[arm] = {name: str(over_seeds(values)) for name, values in figures.items() if values}
    return found


def figure(rows: list[dict[str, Any]], path: Path) -> None:
    """What is accepted of a pair's own claims as it learns, a panel an arm, and of attacks; every seed is drawn."""
    shown = canvas((14, 6))
    panels = shown.subplots(2, len(WAYS) + 1, sharey=True)
    for objective, row_of_panels in zip(OBJECTIVES, panels, strict=True):
        for k, (way, axes) in enumerate(zip(WAYS, row_of_panels, strict=False)):
            mine = [r for r in rows if (r["objective"], r["way"]) == (objective, way) and "diverged" not in r]
            for row in mine:
                for name, colour in (("accepted_true", "C0"), ("accepted_false", "C3")):
                    axes.plot(row["curves"]["update"], row["curves"][name], color=colour, linewidth=0.8, alpha=0.6)
                found = {"own prover": row["own_false"], **row["success"]}
                places = [x + 0.2 * (k - 1) for x in range(len(found))]
                label = way if row is mine[0] else None
                row_of_panels[-1].plot(places, list(found.values()), "o", color=f"C{k + 4}", markersize=4, alpha=0.6, label=label)
                row_of_panels[-1].set_xticks(range(len(found)), list(found))
            axes.set(title=f"{objective}, {way}", xlabel="updates", ylim=(-0.02, 1.02))
        row_of_panels[0].set_ylabel("own claims accepted:\ntrue blue, false red")
        row_of_panels[-1].set(title=f"{objective}: attacks accepted")
        row_of_panels[-1].legend(fontsize=8)
    shown.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=int, default=100, help="the first seed")
    parser.add_argument("--seeds", type=int, default=10, help="how many, of the two arms claims are about")
    parser.add_argument("--beside", type=int, default=3, help="how many, of the others")
    parser.add_argument("--out", type=Path, help="folder for find_the_plus.json and find_the_plus.png")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows, made_by = [], provenance()
    for some, count in ((HEADLINE, given.seeds), (BESIDE, given.beside)):
        for seed in range(given.first, given.first + count):
            for objective, way in some:
                rows.append(run(objective, way, seed))
                print({name: value for name, value in rows[-1].items() if name != "curves"}, flush=True)
    held = claims_of(rows)
    print(*(f"{name}: {figures}" for name, figures in summary(rows).items()), held, sep="\n")
    if given.out:
        configs = {f"{objective}, {way}": plain(config(objective, way, given.first)) for objective, way in (*HEADLINE, *BESIDE)}
        save(given.out, "find_the_plus", made_by, {**configs, "task": str(TASK)}, held, rows)
        figure(rows, given.out / "find_the_plus.png")


if __name__ == "__main__":
    main()
