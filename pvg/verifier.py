"""What attacks, probes and judge swaps need of a verifier: its probability of acceptance for many messages at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from pvg.agent import Observation, Utterance, find_agent
from pvg.game import Game
from pvg.lane import lane_keys
from pvg.metrics import checked
from pvg.protocol import Row
from pvg.spec import Spec, View
from pvg.transcript import transcript


@runtime_checkable
class Verifier(Protocol):
    """Scripted, learned, or a black box."""

    def verdict(self, statement: Observation, messages: Tensor) -> Tensor:
        """The probability of acceptance v(x, m): `B K` in [0, 1].

        statement: what the verifier sees of B statements; the columns of the message are not read.
        messages: `B K position`, symbols.
        """
        ...


def message_columns(view: View) -> Tensor:
    """Where a message's symbols stand in the verifier's packed observation: `position`, in the order they are said."""
    said = [(c.row.slot or 0, c.offset, c) for c in view if c.row is not None]
    ordered = [c for *_, c in sorted(said, key=lambda place: place[:2])]
    return torch.tensor([index for c in ordered for index in range(c.start, c.stop)], dtype=torch.long)


def message_rows(spec: Spec, verifier: int) -> list[Row]:
    """The rows of the table in which provers say what the verifier hears, as they are said."""
    me = spec.roles[verifier].name
    provers = {role.name for role in spec.roles if role.seat == "prover"}
    return [row for row in spec.rows if row.slot is not None and me in row.hearers and set(row.speakers) <= provers]


def messages_said(game: Game, verifier: int) -> Tensor:
    """What provers said to the verifier in every lane: `lane position` int32, as `verdict` takes it."""
    said, spec = game.field("said"), game.spec
    rows = [(row.slot, int((spec.alphabet[spec.rows.index(row)] > 0).sum())) for row in message_rows(spec, verifier)]
    parts = [said[:, slot, :width].int() for slot, width in rows]
    return torch.cat(parts, dim=1) if parts else said.new_zeros((game.num_envs, 0)).int()


class Records:
    """A Replay from the records of B lanes as they were dealt, for games in which all messages come before the verdict."""

    def __init__(self, spec: Spec, verifier: int, dealt: Tensor, tosses: int) -> None:
        self.spec, self.tosses = spec, tosses
        self._verifier, self._dealt, self._games = verifier, dealt, dict[int, Game]()

    def __getitem__(self, rows: Any) -> Records:
        part = Records(self.spec, self._verifier, self._dealt[rows], self.tosses)
        part._games = self._games
        return part

    def hear(self, messages: Tensor) -> Tensor:
        lanes = messages.shape[0] * messages.shape[1]
        if lanes not in self._games:
            self._games.clear()
            self._games[lanes] = Game(self.spec, lanes, self._dealt.device)
        game = self._games[lanes]
        game.bytes.copy_(self._dealt.repeat_interleave(messages.shape[1], dim=0))
        if messages.shape[1] % self.tosses == 0 and self.tosses > 1:
            keys = torch.from_numpy(lane_keys(0, np.arange(self.tosses, dtype=np.uint64)).view(np.int64)).to(game.bytes.device)
            # Another toss k for each statement: were it the same one, averages over statements would keep its luck.
            game.field("key").bitwise_xor_(keys.repeat(lanes // self.tosses))
        symbols, first = messages.flatten(0, 1), 0
        for row in message_rows(self.spec, self._verifier):
            width = int((self.spec.alphabet[self.spec.rows.index(row)] > 0).sum())
            game.actions[:, self.spec.role_index(row.speakers[0]), :width] = symbols[:, first : first + width].int()
            game.step()
            first += width
        return game.observe(self._verifier).packed


def replayed(spec: Spec, verifier: int, statement: Observation, dealt: Tensor, tosses: int = 256) -> Observation:
    """What the verifier sees of statements, able to say what it would see of any message, parts it does not see included; `dealt`:
    the lanes' bytes.

    tosses: over how many coins verdicts are averaged where evidence draws some.
    """
    me, proof = spec.roles[verifier], spec.proof
    parts = [part for row in message_rows(spec, verifier) for part in spec.parts(row)]
    hidden = any(not {me.seat, me.beside} & {*part.seen_by} for part in parts)
    if not hidden and (proof is None or proof.evidence is None):
        return statement
    records = Records(spec, verifier, dealt.clone(), tosses if proof is not None and proof.noisy else 1)
    return Observation(statement.packed, statement.view, records)


def with_messages(statement: Observation, messages: Tensor) -> Observation:
    """The observations `B * K` in which statement b was followed by messages[b, k].

    ValueError: messages of another shape; evidence that only a statement from `replayed` knows.
    """
    if statement.replay is not None:
        return Observation(statement.replay.hear(messages), statement.view)
    if any(column.origin == "proof" for column in statement.view):
        raise ValueError("statement: the game adds evidence to messages; make it able to say what it would be with `replayed`")
    columns = message_columns(statement.view).to(messages.device)
    expected = (len(statement.packed), messages.shape[1] if messages.dim() == 3 else "K", len(columns))
    if tuple(messages.shape) != expected:
        raise ValueError(f"messages: expected {expected}, got {tuple(messages.shape)}")
    packed = statement.packed.repeat_interleave(messages.shape[1], dim=0)
    packed[:, columns] = (messages.flatten(0, 1) + 1).to(packed.dtype)
    return Observation(packed, statement.view)


@dataclass(frozen=True)
class Constant:
    """Accepts everything with one probability, whatever it is told: complete or sound, never both."""

    probability: float

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise ValueError(f"Constant: probability={self.probability} is outside 0..1")

    def verdict(self, statement: Observation, messages: Tensor) -> Tensor:
        """As in `Verifier`."""
        return torch.full(messages.shape[:2], self.probability, device=messages.device)


class BlackBox:
    """A verifier known only by its answers: any function verdict(statement, messages).

    queries: how many messages it was asked about.
    """

    def __init__(self, verdict: Callable[[Observation, Tensor], Tensor]) -> None:
        self._verdict = verdict
        self.queries = 0

    def verdict(self, statement: Observation, messages: Tensor) -> Tensor:
        """As in `Verifier`."""
        self.queries += messages.shape[0] * messages.shape[1]
        return self._verdict(statement, messages)


def remember(game: Game, seen: Observation, role: int | None = None) -> None:
    """Make the lanes' records hold what was seen and nothing else; it is the turn of `role`, its last, or the first turn."""
    game.bytes.zero_()
    if role is not None:
        game.field("turn").fill_(int((game.spec.row_of(role) >= 0).nonzero()[0][-1]))
    for column in seen.view:
        if column.row is not None:
            symbols = seen[column.field.name].reshape(game.num_envs, -1).to(torch.int32)
            game.field("said")[:, column.row.slot, column.offset : column.offset + column.field.size] = symbols
        elif column.origin != "game":
            game.field(column.field.name).copy_(seen[column.field.name])


class ScriptedVerifier:
    """A scripted player of the verifier's seat as a Verifier: it decides in a record that holds what it sees, no more.

    coins: over how many tosses the acceptance of a player that draws is averaged, the same tosses for all messages.
    """

    def __init__(self, spec: Spec, agent: str = "reference", role: str = "verifier", coins: int = 1) -> None:
        if coins < 1:
            raise ValueError(f"ScriptedVerifier: coins={coins} is below 1")
        self.spec, self._role, self._agent = spec, spec.role_index(role), find_agent(agent, spec)
        self._tosses = lane_keys(0, np.arange(coins, dtype=np.uint64)).view(np.int64).tolist()
        self._game: Game | None = None

    def verdict(self, statement: Observation, messages: Tensor) -> Tensor:
        """As in `Verifier`."""
        heard = with_messages(statement, messages)
        if self._game is None or self._game.num_envs != len(heard.packed):
            self._game = Game(self.spec, len(heard.packed), heard.packed.device)
        game = self._game
        remember(game, heard, self._role)
        scripted = tuple(self._agent if i == self._role else None for i in range(len(self.spec.roles)))
        accepted = torch.zeros(game.num_envs, device=heard.packed.device)
        for toss in self._tosses:
            game.field("key").fill_(toss)
            game.speak(scripted)
            accepted += game.actions[:, self._role, 0] == 1
        return (accepted / len(self._tosses)).reshape(messages.shape[:2])


class TextVerifier:
    """A black box that reads text, as a language model does, as a Verifier.

    judge(statements, messages): B texts, and for each of them K texts of what was said and of the evidence there is for it, as
    the verifier's transcript shows them; it gives B rows of K probabilities of acceptance. ValueError: it gives something else.
    """

    def __init__(self, spec: Spec, judge: Callable[[list[str], list[list[str]]], Any], role: str = "verifier") -> None:
        self.spec, self._role, self._judge = spec, spec.role_index(role), judge

    def verdict(self, statement: Observation, messages: Tensor) -> Tensor:
        """As in `Verifier`."""
        heard = with_messages(statement, messages)
        silent = heard.packed.clone()
        silent[:, message_columns(statement.view)] = 0
        for column in statement.view:
            if column.origin == "proof":
                silent[:, column.start : column.stop] = 0
        before, after = (self._texts(Observation(packed, statement.view)) for packed in (silent, heard.packed))
        said = ["\n".join(whole[len(start) :]) for start, whole in zip(before, after, strict=True)]
        count = messages.shape[1]
        asked = ["\n".join(lines) for lines in before[::count]], [said[i : i + count] for i in range(0, len(said), count)]
        found = torch.as_tensor(self._judge(*asked), dtype=torch.float32, device=messages.device)
        if tuple(found.shape) != tuple(messages.shape[:2]):
            raise ValueError(f"verdict: expected {tuple(messages.shape[:2])} probabilities, got {tuple(found.shape)}")
        return found

    def _texts(self, seen: Observation) -> list[list[str]]:
        """The lines of each lane's transcript."""
        games, one = Game(self.spec, len(seen.packed)), Game(self.spec, 1)
        remember(games, seen, self._role)
        texts = []
        for record in games.bytes:
            one.bytes.copy_(record[None])
            texts.append(transcript(one, 0, self._role).splitlines())
        return texts


@dataclass
class Heard:
    """A Replay of messages that have been said: what the verifier sees is there already."""

    packed: Tensor  # B width
    tosses: int = 1

    def __getitem__(self, rows: Any) -> Heard:
        return Heard(self.packed[rows])

    def hear(self, messages: Tensor) -> Tensor:
        return self.packed.repeat_interleave(messages.shape[1], dim=0)


class Judging:
    """A Verifier, black box or not, in the verifier's seat: a batch agent that accepts with the probability its verdict gives.

    toss: n to n coins in [0, 1), float64; a claim is accepted where its coin is below.
    """

    def __init__(self, verifier: Verifier, toss: Callable[[int], Tensor]) -> None:
        self._verifier, self._toss = verifier, toss

    def act(self, observation: Observation, acting: Tensor) -> Utterance:
        """As in `pvg.agent.BatchAgent`. NonFiniteVerdict: a verdict is no probability."""
        messages = observation.packed[:, message_columns(observation.view).to(observation.packed.device)].int() - 1
        seen = Observation(observation.packed, observation.view, Heard(observation.packed))
        believed = self._verifier.verdict(seen, messages[:, None])[:, 0].float()
        believed = checked(believed.where(acting, 0.0))
        accepted = self._toss(len(believed)).to(believed.device) < believed
        return Utterance(accepted[:, None].to(torch.int32), believed)
