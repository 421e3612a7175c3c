"""interactive_proof: scripts with early decision, free exchanges of one-message proofs, and what the verifier is paid."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from toys import Bit, Different, Lookup

from pvg.agent import agents
from pvg.enumerator import Enumerator
from pvg.extensive_form import best_response
from pvg.game import Game
from pvg.protocols import InteractiveProof
from pvg.spec import resolve
from pvg.tasks import Arith, Coloring, GraphNonIso
from pvg.testing import check_numbers

TINY = {"nodes": 3, "pool": 1, "scores": (1, 0, 0), "fresh": False}


def table(task: Any, protocol: InteractiveProof, proof: str | None = None) -> str:
    """Who says what, in order: M a message, Q a question, V a verdict; hearers are all others."""
    spec = resolve(task, protocol, proof)
    assert [row.turn for row in spec.rows] == list(range(len(spec.rows)))
    for row in spec.rows:
        assert {*row.speakers, *row.hearers} == {"prover", "verifier"} or row.kind == "verdict"
    return "".join(row.kind[0].upper() for row in spec.rows)


def test_who_speaks_when() -> None:
    assert table(Arith(), InteractiveProof(rounds=1)) == "QMV"
    assert table(Arith(), InteractiveProof(rounds=3)) == "QMQMQMV"
    assert table(Arith(), InteractiveProof(rounds=1, first="prover")) == "MV"
    assert table(Arith(), InteractiveProof(rounds=3, first="prover")) == "MQMQMV"
    assert table(Arith(), InteractiveProof(rounds=3, early=True)) == "QMVQMVQMV"
    assert table(Arith(), InteractiveProof(rounds=3, early=True, minimum=2, first="prover")) == "MQMVQMV"
    assert table(Arith(), InteractiveProof(rounds=3, early=True, minimum=3)) == "QMQMQMV"
    assert table(GraphNonIso(rounds=3), InteractiveProof()) == "QMQMQMV"
    assert table(GraphNonIso(rounds=3), InteractiveProof(early=True)) == "QMVQMVQMV"
    assert table(GraphNonIso(rounds=3), InteractiveProof(early=True, minimum=2)) == "QMQMVQMV"
    assert table(Coloring(rounds=2), InteractiveProof(early=True), "commitment") == "MVQMVQV"
    assert [row.slot for row in resolve(Arith(), InteractiveProof(rounds=2, early=True)).rows] == [0, 1, None, 2, 3, None]
    assert resolve(Arith(), InteractiveProof(rounds=2, questions=7)).alphabet[0, 0] == 7


@pytest.mark.parametrize(("rounds", "early"), [(1, False), (1, True), (2, False), (2, True)])
def test_private_coins_leave_a_false_claim_half_a_chance_each_round(rounds: int, early: bool) -> None:
    tree = Enumerator(resolve(GraphNonIso(rounds=rounds, **TINY), InteractiveProof(early=early)))
    value, _ = best_response(tree, "prover", {"verifier": agents["reference"]}, given=lambda s: s["truth"][0] == 0)
    assert value == pytest.approx(0.5**rounds, abs=1e-12)


def returns(game: Game, verdicts: list[list[int]]) -> list[list[float]]:
    """What prover and verifier are paid in all, by lane, when the verifier decides as told and all else that is said is 0."""
    total, turns = torch.zeros(game.num_envs, 2), iter(verdicts)
    decides = {row.turn for row in game.spec.rows if row.kind == "verdict"}
    for turn in range(game.spec.turns):
        game.actions.zero_()
        if turn in decides:
            game.actions[:, 1, 0] = torch.tensor(next(turns))
        total += game.step()
    return total.tolist()


def test_a_verdict_ends_the_game_and_going_on_is_paid() -> None:
    protocol = InteractiveProof(rounds=3, early=True, minimum=2, first="prover", penalty=0.5, bonus=0.25)
    game = Game(resolve(Bit(), protocol), 6)
    game.field("truth").copy_(torch.tensor([1, 1, 1, 1, 0, 0]))
    # Right at once, wrong at once, right at the end, never; and of a false statement, wrong at once and right at the end.
    paid = returns(game, [[1, 0, 2, 2, 1, 2], [0, 1, 1, 2, 0, 0]])
    assert paid == [[1, 1], [0, -1], [1, 1.25], [0, -0.25], [1, -1], [0, 1.25]]
    assert game.field("elapsed").tolist() == [4, 4, 7, 7, 4, 7]
    assert game.field("verdict").tolist() == [1, 0, 1, 2, 1, 0]


def test_dont_know_at_the_end_costs_the_penalty_in_a_script_too() -> None:
    for protocol, verdicts, last in ((InteractiveProof(penalty=1.0), [[0, 1, 2]], -1.0), (InteractiveProof(), [[0, 1, 2]], 0.0)):
        game = Game(resolve(Different(), protocol), 3)
        game.field("truth").fill_(1)
        assert returns(game, verdicts) == [[0, -1], [1, 1], [0, last]]


def played(game: Game, messages: list[list[int]]) -> list[int]:
    """The reference verifier's verdicts when the prover says, in each lane, what it is told."""
    game.field("truth").fill_(1)
    cast, said = (None, agents["reference"]), iter(messages)
    speaks = {row.turn for row in game.spec.rows if row.kind == "message"}
    for turn in range(game.spec.turns):
        game.actions.fill_(1)
        game.speak(cast)
        if turn in speaks:
            game.actions[:, 0, 0] = torch.tensor(next(said))
        game.step()
    verdicts: list[int] = game.field("verdict").tolist()
    return verdicts


def test_the_reference_verifier_accepts_once_a_message_passes() -> None:
    task = Arith(operations=2, modulus=3)  # one residue between start and claim
    for early, elapsed in ((True, [3, 6, 9, 9]), (False, [7, 7, 7, 7])):
        game = Game(resolve(task, InteractiveProof(rounds=3, early=early)), 4)
        for name, value in task.parse("0 + 1 + 1 = 2 (mod 3)").items():
            game.field(name).copy_(torch.from_numpy(value)[None].expand_as(game.field(name)))
        assert played(game, [[1, 0, 2, 0], [0, 1, 0, 0], [0, 0, 1, 2]]) == [1, 1, 1, 0]
        assert game.field("elapsed").tolist() == elapsed
        questions = game.field("said")[:, ::2, 0]
        assert not questions[:, 0].any()
        assert not (questions > 0).any()


def test_evidence_is_of_the_latest_message_and_of_no_question() -> None:
    game = Game(resolve(Lookup(), InteractiveProof(rounds=2)), 3)
    game.field("row").fill_(1)
    game.actions.fill_(1)
    game.step()
    assert game.field("cell").tolist() == [-1, -1, -1]  # a question points at nothing
    game.redeal(torch.ones(3, dtype=torch.bool))
    game.field("row").fill_(1)
    assert played(game, [[2, 0, 2], [0, 2, 2]]) == [0, 1, 1]
    assert game.field("cell").tolist() == [0, 1, 1]


def test_a_free_exchange_is_as_sound_as_its_proof() -> None:
    check_numbers(Arith(operations=4, modulus=3), InteractiveProof(rounds=3, early=True), games=20_000)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"asks": "prover"}, "asks='prover' is neither 'verifier' nor 'nature'"),
        ({"rounds": 2, "first": "nature"}, "first='nature' is neither 'verifier' nor 'prover'"),
        ({"rounds": 0}, r"rounds=0 is outside 1\.\.63"),
        ({"rounds": 2, "questions": 1}, r"questions=1 is outside 2\.\.127"),
        ({"early": True, "minimum": 0}, r"minimum=0 is outside 1\.\.63"),
        ({"penalty": -1.0}, r"penalty=-1\.0 is outside 0\.\.1"),
        ({"early": True, "bonus": 2.0}, r"bonus=2\.0 is outside 0\.\.1"),
        ({"first": "prover"}, "first='prover' and questions=2 are of a free exchange, which needs rounds, and rounds=None"),
        ({"questions": 3}, "first='verifier' and questions=3 are of a free exchange, which needs rounds"),
        ({"rounds": 2, "asks": "nature"}, "asks='nature' is for a script's questions, and rounds=2 has none"),
        ({"minimum": 2}, r"minimum=2 and bonus=0\.0 need early=True"),
        ({"bonus": 0.5}, r"minimum=1 and bonus=0\.5 need early=True"),
    ],
)
def test_bad_settings_are_named(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=f"InteractiveProof: {says}"):
        InteractiveProof(**settings)


@pytest.mark.parametrize(
    ("task", "settings", "says"),
    [
        (Arith(), {}, "'transcript': a proof of one message is exchanged freely, in so many `rounds`, and rounds=None"),
        (Different(), {"rounds": 2}, "'coin': its script fixes rounds and order, and rounds=2"),
        (Different(), {"early": True, "minimum": 2}, "'coin': minimum=2, and it has 1 messages"),
        (Arith(), {"rounds": 2, "early": True, "minimum": 3}, "'transcript': minimum=3, and it has 2 messages"),
        (Coloring(), {"rounds": 2}, "'two_provers': it is a proof of two provers who do not hear each other, and unsound with one"),
    ],
)
def test_proofs_that_do_not_fit_are_refused(task: Any, settings: dict[str, Any], says: str) -> None:
    proof = says.split("'")[1]
    with pytest.raises(ValueError, match=says):
        resolve(task, InteractiveProof(**settings), proof)
    with pytest.raises(ValueError, match=r"129 turns \(at most 127\)"):
        resolve(Arith(), InteractiveProof(rounds=43, early=True))
