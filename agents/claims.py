"""Claims that are all true or all false, what provers say of them, and what a verifier makes of that."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pvg.agent import Agent, Observation
from pvg.game import Game
from pvg.lane import lane_keys
from pvg.protocol import VERDICT
from pvg.spec import Spec, resolve
from pvg.verifier import message_rows, messages_said, replayed

_DEALS = 1000  # a lane that has not dealt the wanted truth by then never will


@dataclass(frozen=True)
class Seats:
    """The role that decides, the role it hears (None: nobody), and how many symbols each position of a message has."""

    verifier: int
    prover: int | None
    alphabet: tuple[int, ...]

    @property
    def messages(self) -> int:
        """How many messages there are."""
        return math.prod(self.alphabet)


def seats(spec: Spec) -> Seats:
    """Who argues and who decides; ValueError where a verdict does not follow one prover's messages and nothing else."""
    if spec.task.answers != 2:
        raise ValueError(f"{spec.task}: a search is for the message that is accepted, and the task has {spec.task.answers} answers")
    deciding = {name for row in spec.rows if row.kind == VERDICT for name in row.speakers}
    verifier = spec.role_index(min(deciding))
    rows = message_rows(spec, verifier)
    me = spec.roles[verifier].name
    heard = {name for row in spec.rows if row.slot is not None and me in (*row.hearers, *row.speakers) for name in row.speakers}
    turns = int((spec.row_of(verifier) >= 0).sum())
    if len(deciding) > 1 or turns > 1 or len(heard) > 1:
        raise ValueError(
            f"{type(spec.protocol).__name__}: a search over messages needs one verdict, by one role, after the "
            f"messages of one prover; here {sorted(deciding)} speak in {turns} turns and hear {sorted(heard)}"
        )
    highs = (spec.alphabet[spec.rows.index(row)] for row in rows)
    alphabet = tuple(int(high) for row in highs for high in row if high > 0)
    return Seats(verifier, spec.role_index(heard.pop()) if heard else None, alphabet)


@dataclass(frozen=True)
class Claims:
    """Claims that are all true or all false, dealt and not argued yet, so that every prover argues the same ones."""

    game: Game
    dealt: Tensor  # claim byte  the records as dealt
    statement: Observation
    seats: Seats

    def __len__(self) -> int:
        return len(self.dealt)

    def argue(self, prover: Agent, again: int = 0) -> tuple[Tensor, Tensor]:
        """What a prover says of each claim, `claim position` int32, and whether it was legal, `claim` bool.

        again: 0: with the coins of the claim's own game; k: with the k-th others.
        """
        game, roles = self.game, self.game.spec.roles
        assert self.seats.prover is not None, "somebody argues"
        game.bytes.copy_(self.dealt)
        if again:
            other = lane_keys(0, np.array([again], dtype=np.uint64)).view(np.int64)
            game.field("key").bitwise_xor_(torch.from_numpy(other).to(self.dealt.device))
        game.advance({roles[self.seats.prover].name: prover}, seat=roles[self.seats.verifier].name)
        return messages_said(game, self.seats.verifier), game.field("forfeit") < 0


def deal(spec: Spec, truth: bool, count: int, seed: int = 0, device: str | torch.device = "cpu") -> Claims:
    """`count` true or false claims of `seed`; ValueError where the task deals next to none."""
    who, dealer = seats(spec), Game(spec, count, device, seed)
    redeal(dealer, truth)
    # Argued in a game of no split: what provers play in is then compiled once for all splits.
    game = Game(resolve(spec.task, spec.protocol, spec.proof_name), count, device)
    game.bytes.copy_(dealer.bytes)
    statement = replayed(game.spec, who.verifier, game.observe(who.verifier), dealer.bytes)
    return Claims(game, dealer.bytes, statement, who)


def redeal(game: Game, truth: bool) -> None:
    """Deal anew wherever a claim is not true or not false, as wanted."""
    for _ in range(_DEALS):
        wrong = (game.field("truth") == 1) != truth
        if not bool(wrong.any()):
            return
        game.redeal(wrong)
    raise ValueError(f"{game.spec.task}: a lane dealt no claim with truth={int(truth)} in {_DEALS} games")


class Outcome(NamedTuple):
    """What a verifier makes of the messages for each claim; a forfeited game is not counted.

    expected: the verdicts averaged over the game's coins, by which a prover that cannot foresee them chooses; None where
        evidence draws none. The verdicts themselves are those of each claim's own game.
    """

    messages: Tensor  # claim position  int32
    verdicts: Tensor  # claim  float64
    counted: Tensor  # claim  bool
    expected: Tensor | None = None  # claim  float64

    def first(self, count: int | None) -> Outcome:
        """Of the first claims."""
        expected = None if self.expected is None else self.expected[:count]
        return Outcome(self.messages[:count], self.verdicts[:count], self.counted[:count], expected)


def strongest(outcomes: Sequence[Outcome]) -> Outcome:
    """Per claim, the message accepted most readily of those that count."""
    judged = [(o.verdicts if o.expected is None else o.expected).where(o.counted, -1.0) for o in outcomes]
    value, which = torch.stack(judged).max(dim=0)
    claims = torch.arange(len(which), device=which.device)
    messages = torch.stack([o.messages for o in outcomes])[which, claims]
    verdicts = torch.stack([o.verdicts for o in outcomes])[which, claims]
    return Outcome(messages, verdicts.where(value >= 0, 0.0), value >= 0)
