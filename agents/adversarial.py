"""Adversarial training: the verifier learns from the message it accepts most readily."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pvg.agent import Observation
from pvg.agents.algorithm import Algorithm, Figures, algorithms
from pvg.agents.attacks import best_response
from pvg.agents.distributed import counted
from pvg.agents.imitation import learn_truth
from pvg.agents.networks import VerifierNetwork
from pvg.agents.play import play
from pvg.agents.team import Team
from pvg.game import Game
from pvg.verifier import messages_said, replayed, with_messages


@algorithms.register("adversarial")
@dataclass(frozen=True)
class Adversarial(Algorithm):
    """The verifier leads, and learns from the best response: the message it accepts most readily, found by search.

    L(w) = E[-log v_w(x, honest) | Y = 1] / 2 + E[max over m of -log(1 - v_w(x, m)) | Y = 0] / 2. By the envelope theorem the
    gradient of the maximum is the gradient at the message that attains it, so each update searches that message for the
    weights it has (exactly, where the verifier's steps allow dynamic programming) and takes the step there. A share of the
    false claims keeps the scripted dishonest message, so that what was learned against those is not forgotten. Where no
    message is heard it is imitation.
    Source: the verifier-leading order of Anil, Zhang, Wu & Grosse 2021.
    """

    updates: int = 150
    share: float = 0.5
    """Of the false claims, those answered by the best message; 0: the control with the same number of scripted updates."""
    restarts: int = 1
    """Random messages the search climbs from, besides the scripted one; no matter where the search is exact."""
    sweeps: int = 1
    """Sweeps over the message's positions of each climb."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.within("share", 0, 1)
        self.within("restarts", 0)
        self.within("sweeps", 1)

    def update(self, team: Team, game: Game, index: int, pace: float) -> Figures:
        learners, dealt = team.seated("verifier"), game.bytes.clone()
        seen = play(game, game.players({r.name: "dishonest" for r in game.spec.roles if r.seat == "prover"}), learners)
        figures: Figures = {}
        for role, learner in learners.items():
            if not isinstance(learner.player, VerifierNetwork):
                raise ValueError(f"adversarial: the search is for one message heard before one verdict, and {role!r} asks")
            heard, truth = seen[role], game.field("truth")
            said = messages_said(game, learner.player.role)
            if self.share > 0 and said.shape[1] > 0:
                assert len(heard.packed) == 1, "best_response refuses protocols with several verdicts"
                statement = replayed(game.spec, learner.player.role, Observation(heard.packed[0], learner.player.view), dealt)
                worst = replace_worst(learner.player, statement, said, truth, self, team.generator)
                heard = heard._replace(packed=worst[None])
            figures[f"{role}_loss"], accuracy = learn_truth(learner, heard, truth, pace)
            figures |= accuracy
        return figures


def replace_worst(
    verifier: VerifierNetwork,
    statement: Observation,
    said: Tensor,
    truth: Tensor,
    search: Adversarial,
    generator: torch.Generator,
) -> Tensor:
    """What the verifier heard, `lane width`, with the best message found in place of what was `said` (`lane position`) in
    the first share of the false claims.
    """
    false = (truth != 1).nonzero()[:, 0]
    before, everyones = counted((truth != 1).sum())
    false = false[: max(0, round(everyones * search.share) - before)]
    if len(false) == 0:
        return statement.packed
    false_claims = statement.rows(false)
    found = best_response(
        verifier,
        false_claims,
        verifier.spec,
        generator=generator,
        restarts=search.restarts,
        sweeps=search.sweeps,
        starts=said[false][:, None],
        exact_limit=0,
    )
    packed = statement.packed.clone()
    packed[false] = with_messages(false_claims, found.messages[:, None]).packed
    return packed
