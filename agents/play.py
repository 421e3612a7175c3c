"""Whole games with what each learner saw, said and was paid."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from pvg.agent import Agent, LaneAgent
from pvg.game import Game
from pvg.protocol import next_turn


class Experience(NamedTuple):
    """One role's part in a batch of games, at the turns at which it may speak."""

    packed: Tensor  # turn lane width  what it saw
    symbols: Tensor  # turn lane position  int32, what it said
    acting: Tensor  # turn lane  bool, whether it spoke
    reward: Tensor  # turn lane  float32, what it was paid from this turn until its next


def deal(game: Game, *name: object) -> None:
    """Deal the games of a name, such as (seed, phase, update): the same ones whenever it is given."""
    digest = hashlib.blake2b("|".join(map(str, name)).encode(), digest_size=8).digest()
    game.seed(int.from_bytes(digest, "little"))


@torch.no_grad()
def play(game: Game, cast: Mapping[str, Agent], roles: Iterable[str]) -> dict[str, Experience]:
    """Play the games just dealt to their end, without waiting for the device; what became of `roles` is recorded.

    cast: who plays each role.
    """
    spec = game.spec
    index = {role: spec.role_index(role) for role in roles}
    scripted = tuple(agent if isinstance(agent := cast[role.name], LaneAgent) else None for role in spec.roles)
    taken: dict[str, list[list[Tensor]]] = {role: [] for role in index}
    fixed = spec.rules.after is next_turn
    for turn in range(spec.horizon):
        acting = game.acting
        if any(scripted):
            game.speak(scripted)
        for i, role in enumerate(spec.roles):
            agent = cast[role.name]
            if (fixed and spec.row_of(i)[turn] < 0) or (isinstance(agent, LaneAgent) and role.name not in index):
                continue
            observation = game.observe(i)
            if not isinstance(agent, LaneAgent):
                said = agent.act(observation, acting[:, i])
                game.actions[:, i, : said.symbols.shape[1]] = said.symbols
            if role.name in index:
                taken[role.name].append([observation.packed, game.actions[:, i].clone(), acting[:, i]])
        reward = game.step()
        for role_name, i in index.items():
            for entry in taken[role_name][-1:]:
                entry[3:] = [entry[3] + reward[:, i] if len(entry) > 3 else reward[:, i].clone()]
    return {role: Experience(*map(torch.stack, zip(*turns, strict=True))) for role, turns in taken.items()}
