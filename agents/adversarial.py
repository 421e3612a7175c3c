"""Adversarial training: the verifier learns from the message it accepts most readily.

The verifier leads: L(w) = E[-log v_w(x, honest) | Y = 1] / 2 + E[max over m of -log(1 - v_w(x, m)) | Y = 0] / 2. By
the envelope theorem the gradient of the maximum is the gradient at the message that attains it, so each update
searches that message for the weights it has (exactly, where the verifier's steps allow dynamic programming) and takes
the step there. A share of the false claims keeps the scripted dishonest message, so that what was learned against
those is not forgotten.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pvg.agent import Observation
from pvg.agents.attacks import best_response
from pvg.agents.config import TrainConfig
from pvg.agents.imitation import Figures, learn_truth
from pvg.agents.networks import VerifierNetwork
from pvg.agents.play import play
from pvg.agents.team import Team
from pvg.game import Game
from pvg.verifier import messages_said, replayed, with_messages


def train_against_best(team: Team, game: Game, config: TrainConfig, pace: float) -> Figures:
    """One update of each verifier on the games dealt; where no message is heard it is one of imitation."""
    learners, dealt = team.seated("verifier"), game.bytes.clone()
    seen = play(game, game.players({r.name: "dishonest" for r in game.spec.roles if r.seat == "prover"}), learners)
    figures: Figures = {}
    for role, learner in learners.items():
        assert isinstance(learner.player, VerifierNetwork)
        heard, truth = seen[role], game.field("truth")
        said = messages_said(game, learner.player.role)
        if config.adversarial_share > 0 and said.shape[1] > 0:
            assert len(heard.packed) == 1, "best_response refuses protocols with several verdicts"
            statement = replayed(game.spec, learner.player.role, Observation(heard.packed[0], learner.player.view), dealt)
            heard = heard._replace(packed=replace_worst(learner.player, statement, said, truth, config, team.generator)[None])
        figures[f"{role}_loss"], accuracy = learn_truth(learner, heard, truth, pace)
        figures |= accuracy
    return figures


def replace_worst(
    verifier: VerifierNetwork,
    statement: Observation,
    said: Tensor,
    truth: Tensor,
    config: TrainConfig,
    generator: torch.Generator,
) -> Tensor:
    """What the verifier heard, `lane width`, with the best message found in place of what was `said` (`lane position`) in
    the first share of the false claims.
    """
    false = (truth != 1).nonzero()[:, 0]
    false = false[: round(len(false) * config.adversarial_share)]
    if len(false) == 0:
        return statement.packed
    false_claims = statement.rows(false)
    found = best_response(
        verifier,
        false_claims,
        verifier.spec,
        generator=generator,
        restarts=config.search_restarts,
        sweeps=config.search_sweeps,
        starts=said[false][:, None],
        exact_limit=0,
    )
    packed = statement.packed.clone()
    packed[false] = with_messages(false_claims, found.messages[:, None]).packed
    return packed
