"""The one thing attacks, probes and judge swaps need of a verifier: its probability of acceptance for many messages at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from pvg.agent import Observation, find_agent
from pvg.game import Game
from pvg.spec import Spec, View


@runtime_checkable
class Verifier(Protocol):
    """Scripted, learned, or a black box."""

    def verdict(self, statement: Observation, messages: Tensor) -> Tensor:
        """The probability of acceptance v(x, m): `B K` in [0, 1].

        statement: what the verifier sees of B statements (columns of the message are not read). messages: `B K position`, symbols.
        """
        ...


def message_columns(view: View) -> Tensor:
    """Where a message's symbols stand in a packed observation of the verifier: `position`, in the order they are said."""
    said = sorted((c for c in view if c.origin == "said"), key=lambda c: (0 if c.row is None else c.row.slot or 0, c.offset))
    return torch.tensor([index for c in said for index in range(c.start, c.stop)], dtype=torch.long)


def with_messages(statement: Observation, messages: Tensor) -> Observation:
    """The observations `B * K` in which statement b was followed by messages[b, k]."""
    columns = message_columns(statement.view).to(messages.device)
    if messages.dim() != 3 or messages.shape[0] != len(statement.packed) or messages.shape[2] != len(columns):
        raise ValueError(f"messages: expected (B={len(statement.packed)}, K, {len(columns)}), got {tuple(messages.shape)}")
    packed = statement.packed.repeat_interleave(messages.shape[1], dim=0)
    packed[:, columns] = (messages.flatten(0, 1) + 1).to(packed.dtype)
    return Observation(packed, statement.view)


class BlackBox:
    """A verifier known only by its answers: any function verdict(statement, messages). Counts the messages it was asked about."""

    def __init__(self, verdict: Callable[[Observation, Tensor], Tensor]) -> None:
        self._verdict = verdict
        self.queries = 0

    def verdict(self, statement: Observation, messages: Tensor) -> Tensor:
        self.queries += messages.shape[0] * messages.shape[1]
        return self._verdict(statement, messages)


class ScriptedVerifier:
    """A scripted player of the verifier's seat as a Verifier: it decides in a record that holds what the verifier sees and nothing else."""

    def __init__(self, spec: Spec, agent: str = "reference", role: str = "verifier") -> None:
        self.spec, self._role, self._agent = spec, spec.role_index(role), find_agent(agent, spec)
        self._game: Game | None = None

    def verdict(self, statement: Observation, messages: Tensor) -> Tensor:
        heard = with_messages(statement, messages)
        if self._game is None or self._game.num_envs != len(heard.packed):
            self._game = Game(self.spec, len(heard.packed), heard.packed.device)
        game = self._game
        game.bytes.zero_()
        for column in heard.view:
            if column.row is not None and column.row.slot is not None:
                stop = column.offset + column.field.size
                game.field("said")[:, column.row.slot, column.offset : stop] = heard[column.field.name].flatten(1).to(torch.int32)
            elif column.origin != "game":
                game.field(column.field.name).copy_(heard[column.field.name])
        game.field("turn").fill_(int((self.spec.row_of(self._role) >= 0).nonzero()[0][-1]))
        scripted = tuple(self._agent if i == self._role else None for i in range(len(self.spec.roles)))
        game.speak(scripted)
        accepted = game.actions[:, self._role, 0] == 1
        return accepted.float().reshape(messages.shape[:2])
