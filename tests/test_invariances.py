"""What must not matter, of any protocol: which side is which, what answers are called, who else is heard, who moves first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pvg.game import Game
from pvg.protocol import Protocol
from pvg.protocols import Bisection, Consultancy, Debate, MultiProver, OpenDebate
from pvg.spec import resolve
from pvg.task import Task
from pvg.tasks import Connectivity, SparseDigits, WordProblem

LANES = 2000
PIXELS = "one_pixel_a_turn"


@dataclass(frozen=True)
class Renamed(SparseDigits):
    """SparseDigits whose digit d is called d + turn."""

    turn: int = 0

    @property
    def tables(self) -> dict[str, NDArray[Any]]:
        known = super().tables
        shown = ((known["shown"] + self.turn) % 10).astype(np.int8)
        return known | {"shown": shown, "surprise": np.roll(known["surprise"], self.turn, axis=2)}


def played(task: Task, protocol: Protocol, players: dict[str, str], proof: str | None = None) -> Game:
    game = Game(resolve(task, protocol, proof), LANES, seed=5)
    game.play(players)
    return game


@pytest.mark.parametrize("precommit", [True, False])
@pytest.mark.parametrize(("task", "proof"), [(Connectivity(), "witness"), (SparseDigits(), PIXELS)])
def test_swapping_the_sides_of_a_simultaneous_debate_mirrors_it(task: Task, proof: str, precommit: bool) -> None:
    liar = "leap" if proof == "witness" else "greedy"
    sides = [Debate(order="simultaneous", honest=who, precommit=precommit) for who in ("first", "second")]  # type: ignore[arg-type]
    one, other = (played(task, protocol, {"first": liar, "second": liar}, proof) for protocol in sides)
    assert torch.equal(one.field("truth"), other.field("truth"))
    assert torch.equal(one.field("side")[:, :2], other.field("side")[:, [1, 0]])
    assert torch.equal(one.field("verdict"), other.field("verdict"))
    assert torch.equal(one.returns, other.returns[:, [1, 0, 2]])
    assert 0 < one.returns[:, 0].mean() < 1 or proof == "witness"


def test_swapping_two_provers_of_a_pair_changes_nothing() -> None:
    casts = ({"prover_0": "honest", "prover_1": "true_transcript"}, {"prover_0": "true_transcript", "prover_1": "honest"})
    one, other = (played(WordProblem(length=4), MultiProver(), cast) for cast in casts)
    assert torch.equal(one.field("verdict"), other.field("verdict"))
    assert torch.equal(one.field("said")[:, 0], other.field("said")[:, 1])
    assert torch.equal(one.returns, other.returns)


@pytest.mark.parametrize("protocol", [Consultancy(), Debate(), Debate(precommit=False), OpenDebate()], ids=str)
def test_renaming_the_answers_changes_nothing(protocol: Protocol) -> None:
    provers = [role.name for role in protocol.roles if role.seat == "prover"]
    turn, cast = 3, dict.fromkeys(provers, "greedy")
    plain, renamed = (played(Renamed(turn=t), protocol, cast, PIXELS) for t in (0, turn))
    assert torch.equal((plain.field("truth") + turn) % 10, renamed.field("truth"))
    assert torch.equal((plain.field("side")[:, : len(provers)] + turn) % 10, renamed.field("side")[:, : len(provers)])
    said = len(plain.spec.proof.script)  # type: ignore[union-attr]  # a stated answer, which comes after, is renamed
    same = (plain.field("said")[:, :said] == renamed.field("said")[:, :said]).flatten(1).all(1)
    assert same.float().mean() > 0.97  # where answers weigh the same, the lower name is taken
    right = plain.field("verdict") == plain.field("truth")
    assert (right == (renamed.field("verdict") == renamed.field("truth")))[same].float().mean() > 0.99
    assert (plain.returns == renamed.returns)[same].float().mean() > 0.99


def test_who_moves_first_matters_only_where_one_hears_the_other() -> None:
    truth, sequential, simultaneous = played_in_both_orders(Connectivity(), "witness", "leap")
    false = truth == 0  # where both say a witness, which does not depend on what the other said
    assert torch.equal(sequential[false], simultaneous[false])
    _, sequential, simultaneous = played_in_both_orders(SparseDigits(), PIXELS, "greedy")
    assert not torch.equal(sequential, simultaneous)


def played_in_both_orders(task: Task, proof: str, liar: str) -> list[torch.Tensor]:
    cast = {"first": liar, "second": liar}
    one, other = (played(task, Debate(order=order), cast, proof) for order in ("sequential", "simultaneous"))  # type: ignore[arg-type]
    assert torch.equal(one.field("truth"), other.field("truth"))
    return [one.field("truth"), one.field("said"), other.field("said")]


@pytest.mark.parametrize(
    ("protocol", "judge"), [(Bisection(), "verifier"), (Debate(), "judge"), (MultiProver(), "verifier")], ids=str
)
def test_who_judges_does_not_change_what_is_argued(protocol: Protocol, judge: str) -> None:
    games = (played(WordProblem(length=4), protocol, {judge: who}) for who in ("reference", "random"))
    one, other = (game.field("said") for game in games)
    assert torch.equal(one, other)
