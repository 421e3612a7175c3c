"""Expert iteration: a prover learns from those of its own transcripts that a verifier accepts."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pvg.agents import distributed
from pvg.agents.algorithm import Algorithm, Figures, algorithms
from pvg.agents.play import play
from pvg.agents.policy_gradient import masked_mean
from pvg.agents.reinforce import repeat
from pvg.agents.selfplay import outcome_figures, scripted_cast
from pvg.agents.team import Team
from pvg.game import Game


@algorithms.register("expert_iteration")
@dataclass(frozen=True)
class ExpertIteration(Algorithm):
    """A prover learns, by imitation, from those of its own transcripts that the verifier accepts of true claims.

    Every so many updates the present prover says several transcripts of each statement; what is accepted joins what was kept
    before, and the updates until the next time are taken on draws from all of it. It needs a prover that is accepted now and then.
    Source: Anthony, Tian & Barber 2017; with a verifier as the judge, Zelikman, Wu, Mu & Goodman 2022 (STaR).
    """

    every: int = 20
    """Updates between two collections."""
    samples: int = 4
    """Transcripts of each statement, which must divide the lanes."""
    keep: int = 20_000
    """The most transcripts kept, the newest first."""
    reset: bool = False
    """Whether each collection is learned from the weights the phase began with, as STaR does."""
    scripted: tuple[str, ...] = ("verifier=reference",)
    """ROLE=AGENT,..: roles that scripted agents play; without, the learned verifier judges, and stays as it is."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("every", "samples", "keep"):
            self.within(name, 1)

    def begin(self, team: Team, game: Game) -> None:
        scripted_cast(self.scripted, game)
        if not team.seated("prover"):
            raise ValueError("expert_iteration: no prover speaks in this game")
        if game.num_envs % self.samples:
            raise ValueError(f"samples={self.samples}: does not divide lanes={game.num_envs}")
        if distributed.size() > 1:
            raise ValueError("expert_iteration: keeps transcripts of one process, and several train")
        team.memory["kept"] = {}
        if self.reset:
            team.memory["initial"] = copy.deepcopy({role: learner.state() for role, learner in team.seated("prover").items()})

    def update(self, team: Team, game: Game, index: int, pace: float) -> Figures:
        if index % self.every == 0:
            self._collect(team, game, index)
        kept = sum(len(packed) for packed, _ in team.memory["kept"].values())
        figures: Figures = {"kept": torch.tensor(float(kept), device=game.bytes.device), **team.memory["outcome"]}
        for role, learner in team.seated("prover").items():
            packed, symbols = (part.to(game.bytes.device) for part in team.memory["kept"][role])
            if len(packed) == 0:
                continue
            some = torch.randint(len(packed), (game.num_envs,), generator=team.generator, device=packed.device)
            log_prob, _ = learner.player.evaluate(packed[some], symbols[some])
            loss = -masked_mean(log_prob, torch.ones_like(log_prob, dtype=torch.bool))
            learner.step(loss, pace * learner.learning_rate)
            figures[f"{role}_loss"] = loss.detach()
        return figures

    def _collect(self, team: Team, game: Game, index: int) -> None:
        """Play, and keep what was accepted of true claims."""
        repeat(game, self.samples)
        provers = team.seated("prover")
        seen = play(game, game.players({**team.players, **scripted_cast(self.scripted, game)}), provers)
        right = (game.field("verdict") == 1) & (game.field("truth") == 1) & (game.field("forfeit") < 0)
        for role, learner in provers.items():
            said = seen[role].acting & right  # turn lane
            new = (seen[role].packed[said].cpu(), seen[role].symbols[said].cpu())
            team.memory["kept"][role] = distinct([new, *filter(None, [team.memory["kept"].get(role)])], self.keep)
            if self.reset and index > 0:
                learner.restore(copy.deepcopy(team.memory["initial"][role]))
        team.memory["outcome"] = outcome_figures(game)


def distinct(parts: Sequence[tuple[Tensor, Tensor]], most: int) -> tuple[Tensor, Tensor]:
    """At most so many of transcripts (`n width` and `n position` each), without repeats, the first first."""
    packed, symbols = (torch.cat(which) for which in zip(*parts, strict=True))
    both = torch.cat([packed.long(), symbols.long()], 1)
    _, which = both.unique(dim=0, return_inverse=True)
    first = torch.full((len(both),), len(both), device=both.device)
    first.scatter_reduce_(0, which, torch.arange(len(both), device=both.device), "amin")
    chosen = first[first < len(both)].sort().values[:most]
    return packed[chosen], symbols[chosen]
