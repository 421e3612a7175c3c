"""Judges swapped over the same frozen transcripts: what each makes of them, and how much better one is than another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from pvg.agent import Agent, LaneAgent
from pvg.frozen import Transcripts
from pvg.game import Game
from pvg.metrics import (
    Figure,
    agent_score_difference,
    arguing,
    brier_score,
    by_side,
    calibration_error,
    checked,
    log_score,
    mean,
    paired_difference,
    proportion,
    worst,
)
from pvg.protocol import VERDICT
from pvg.spec import Spec
from pvg.verifier import remember


def judge_of(spec: Spec) -> int:
    """The role that gives the verdict (the first, where several do); ValueError where none does."""
    deciding = {name for row in spec.rows if row.kind == VERDICT for name in row.speakers}
    for i, role in enumerate(spec.roles):
        if role.name in deciding and role.seat == "verifier":
            return i
    raise ValueError(f"{type(spec.protocol).__name__}: nobody in the verifier's seat gives a verdict")


@runtime_checkable
class Opinionated(Protocol):
    """A player that says how likely it holds each answer."""

    def log_probs(self, packed: Tensor) -> Tensor:
        """`lane answer`, from packed observations `lane width`."""
        ...


@dataclass(frozen=True)
class Judgement:
    """What a judge makes of the transcripts that came to a verdict, beside what is so.

    answers: 0..A-1, or A for "don't know". arguing: by role, where it argues an answer. unit: the statement's hash.
    """

    answers: Tensor  # game
    probabilities: Tensor  # game answer  float64
    truth: Tensor  # game
    arguing: Mapping[str, tuple[Tensor, Tensor]]  # which games, which answer in them
    unit: Tensor  # game
    not_judged: int

    @property
    def right(self) -> Tensor:
        return self.answers == self.truth

    @property
    def log_score(self) -> Tensor:
        return log_score(self.probabilities, self.truth)

    @property
    def brier_score(self) -> Tensor:
        return brier_score(self.probabilities, self.truth)


@torch.no_grad()
def judge(transcripts: Transcripts, player: Agent, device: str | torch.device = "cpu") -> Judgement:
    """What a player in the judge's seat makes of what was said, from what the judge sees before its last verdict and no more.

    A player that only answers is taken to be certain, and to hold all answers equally likely where it does not know; one that
    gives probabilities answers with the likeliest, of equals the last (so that it accepts from 1/2 on).
    ValueError: nobody judges. NonFiniteVerdict: a probability is none; the run is void.
    """
    me, answers = judge_of(transcripts.spec), transcripts.spec.task.answers
    game = transcripts.game(judged=True, device=device)
    asked = ~game.over
    if not bool(asked.any()):
        raise ValueError("transcripts: none of the games came to a verdict")
    if isinstance(player, Opinionated):
        probabilities = player.log_probs(game.observe(me).packed).double().exp()
        chosen = _likeliest(probabilities)
    else:
        chosen, belief = _said(game, me, player, asked)
        known = torch.nn.functional.one_hot(chosen, answers + 1)[:, :answers].double()
        probabilities = torch.where((chosen == answers)[:, None], 1 / answers, known)
        if belief is not None and answers == 2:
            probabilities = torch.stack([1 - belief, belief], dim=1).double()
            chosen = torch.where(chosen == answers, chosen, _likeliest(probabilities))
    sides = game.field("side").long()
    argued = {name: (lanes[asked], sides[asked, transcripts.spec.role_index(name)]) for name, lanes in arguing(game).items()}
    return Judgement(
        answers=chosen[asked],
        probabilities=checked(probabilities[asked]),
        truth=game.field("truth")[asked].long(),
        arguing=argued,
        unit=game.statement_hash()[asked],
        not_judged=int((~asked).sum()),
    )


def _likeliest(probabilities: Tensor) -> Tensor:
    return probabilities.shape[1] - 1 - probabilities.flip(1).argmax(1)


def _said(game: Game, me: int, player: Agent, asked: Tensor) -> tuple[Tensor, Tensor | None]:
    """A player's answers, and the probability of answer 1 that a batch agent gives with them: `lane` each."""
    if not isinstance(player, LaneAgent):
        spoken = player.act(game.observe(me), asked)
        return spoken.symbols[:, 0].long(), spoken.belief
    # A record that holds what the judge sees, its coins and the turn, no more.
    blank, sees = Game(game.spec, game.num_envs, game.device), game.spec.roles[me].sees
    remember(blank, game.observe(me))
    blank.field("speaker").fill_(me)
    for name in ("key", "episode", "elapsed", "turn", *(name for name in sees if name != "side")):
        blank.field(name).copy_(game.field(name))
    if "side" in sees:
        blank.field("side")[:, me] = game.field("side")[:, me]
    blank.actions.zero_()
    blank.speak(tuple(player if i == me else None for i in range(len(game.spec.roles))), hold=game.over)
    return blank.actions[:, me, 0].long(), None


@dataclass(frozen=True)
class Judged:
    """One judge on transcripts. Scores are of the probability of what is true; larger is better.

    by_side: accuracy where a role argues the truth, and where it does not; worst_side: the least of these.
    asd_log, asd_brier: what arguing the truth gains an agent over arguing a falsehood, in either score; None where only one
        was argued.
    calibration_error: in ten bins of the probability of the likeliest answer. not_judged: games without a verdict.
    """

    transcripts: int
    accuracy: Figure
    unsure: Figure
    by_side: Mapping[str, Figure]
    worst_side: Figure | None
    log_score: Figure
    brier_score: Figure
    asd_log: Figure | None
    asd_brier: Figure | None
    calibration_error: float
    not_judged: int

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def rows(self) -> dict[str, Figure]:
        """The figures by what they are called."""
        first = {"accuracy": self.accuracy, **self.by_side, "worst side": self.worst_side, "don't know": self.unsure}
        scores = {"log score": self.log_score, "Brier score": self.brier_score}
        gains = {"agent score difference, log": self.asd_log, "agent score difference, Brier": self.asd_brier}
        return {name: figure for name, figure in {**first, **scores, **gains}.items() if figure is not None}


def report(judgement: Judgement, seed: int = 0) -> Judged:
    """How good a judgement is. seed: of the bootstraps, which draw whole statements."""
    right, truth, unit = judgement.right, judgement.truth, judgement.unit
    sides: dict[str, Figure] = {}
    for name, (games, side) in judgement.arguing.items():
        sides |= by_side(right[games], (side == truth)[games], name)
    likeliest = _likeliest(judgement.probabilities)
    return Judged(
        transcripts=len(right),
        accuracy=proportion(right, "right verdicts"),
        unsure=proportion(judgement.answers == judgement.probabilities.shape[1], "don't know"),
        by_side=sides,
        worst_side=worst(sides) if sides else None,
        log_score=mean(judgement.log_score, "log p(truth), p at least 1e-4", unit, seed),
        brier_score=mean(judgement.brier_score, "-sum of squared errors", unit, seed),
        asd_log=_asd(judgement, log_score, seed),
        asd_brier=_asd(judgement, brier_score, seed),
        calibration_error=calibration_error(judgement.probabilities.amax(1), likeliest == truth),
        not_judged=judgement.not_judged,
    )


def _asd(judgement: Judgement, score: Any, seed: int) -> Figure | None:
    """The agent score difference over all roles that argue."""
    argued = [
        (score(judgement.probabilities[games], side[games]), (side == judgement.truth)[games], judgement.unit[games])
        for games, side in judgement.arguing.values()
    ]
    if not argued:
        return None
    scores, true, unit = (torch.cat(parts) for parts in zip(*argued, strict=True))
    if not bool(true.any()) or bool(true.all()):
        return None
    return agent_score_difference(scores, true, "scores of the answer argued", unit, seed)


def compared(first: Judgement, second: Judgement, seed: int = 0) -> dict[str, Figure]:
    """What the first judge is better by than the second on the same transcripts; bootstraps draw whole statements."""
    return {
        name: paired_difference(getattr(first, score), getattr(second, score), name, first.unit, seed)
        for name, score in {"accuracy": "right", "log score": "log_score", "Brier score": "brier_score"}.items()
    }
