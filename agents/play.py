"""Whole games with what each learner saw, said and was paid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from pvg.agent import Agent, LaneAgent
from pvg.agents import distributed
from pvg.agents.team import hashed
from pvg.game import Game
from pvg.protocol import next_turn


class Experience(NamedTuple):
    """One role's part in a batch of games, at the turns at which it may speak."""

    packed: Tensor  # turn lane width  what it saw
    symbols: Tensor  # turn lane position  int32, what it said
    acting: Tensor  # turn lane  bool, whether it spoke
    log_prob: Tensor  # turn lane  float32, of what it said, by itself; 0 for those who do not tell
    reward: Tensor  # turn lane  float32, what it was paid from this turn until its next


def deal(game: Game, *name: object) -> None:
    """Deal the games of a name, such as (seed, phase, update): the same ones whenever it is given. Of several processes each
    deals its own lanes of them.
    """
    game.seed(hashed(*name), first_lane=distributed.rank() * game.num_envs)


@torch.no_grad()
def play(game: Game, cast: Mapping[str, Agent], roles: Iterable[str]) -> dict[str, Experience]:
    """Play the games just dealt to their end, without waiting for the device; what became of `roles` is recorded.

    cast: who plays each role.
    """
    spec = game.spec
    index = {role: spec.role_index(role) for role in roles}
    scripted = tuple(agent if isinstance(agent := cast[role.name], LaneAgent) else None for role in spec.roles)
    taken: dict[str, list[list[Tensor]]] = {role: [] for role in index}
    fixed, silent = spec.rules.after is next_turn, torch.zeros(game.num_envs, device=game.bytes.device)
    for turn in range(spec.horizon):
        acting = game.acting
        game.actions.zero_()  # what was said before, by a longer utterance, is no part of this one
        if any(scripted):
            game.speak(scripted)
        for i, role in enumerate(spec.roles):
            agent = cast[role.name]
            if (fixed and spec.row_of(i)[turn] < 0) or (isinstance(agent, LaneAgent) and role.name not in index):
                continue
            observation, log_prob = game.observe(i), None
            if not isinstance(agent, LaneAgent):
                said = agent.act(observation, acting[:, i])
                game.actions[:, i, : said.symbols.shape[1]] = said.symbols
                log_prob = said.log_prob
                if said.belief is not None:
                    game.field("belief").copy_(torch.where(acting[:, i], said.belief, game.field("belief")))
            if role.name in index:
                kept = silent if log_prob is None else log_prob
                taken[role.name].append([observation.packed, game.actions[:, i].clone(), acting[:, i], kept])
        reward = game.step()
        for role_name, i in index.items():
            for entry in taken[role_name][-1:]:
                entry[4:] = [entry[4] + reward[:, i] if len(entry) > 4 else reward[:, i].clone()]
    return {role: Experience(*map(torch.stack, zip(*entries, strict=True))) for role, entries in taken.items()}
