"""Verifiers answer for many counterfactual messages at once, from what the verifier sees and nothing else."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import pvg
from pvg.agent import Observation
from pvg.agents.claims import deal
from pvg.game import Game
from pvg.protocols import ProverVerifier, Solo
from pvg.spec import resolve
from pvg.tasks.arith import Arith
from pvg.tasks.find_the_plus import FindThePlus
from pvg.verifier import BlackBox, Constant, ScriptedVerifier, TextVerifier, Verifier, message_columns, with_messages

SPEC = resolve(Arith(), ProverVerifier())


@pytest.fixture(scope="module")
def played() -> Game:
    game = pvg.game("Arith", num_envs=60, seed=4)
    game.play()
    return game


def said(observation: Observation) -> Tensor:
    return observation.packed[:, message_columns(observation.view)].int() - 1


def test_the_reference_decides_as_it_does_in_the_game(played: Game) -> None:
    observation = played.observe("verifier")
    verdicts = ScriptedVerifier(SPEC).verdict(observation, said(observation)[:, None])
    assert torch.equal(verdicts[:, 0], (played.field("verdict") == 1).float())
    assert 0 < verdicts.mean() < 1


def test_the_reference_accepts_exactly_the_true_transcript_of_a_true_claim(played: Game) -> None:
    statement = played.observe("verifier")
    start, op, x = (statement[name].long() for name in ("start", "op", "x"))
    states = [start]
    for j in range(6):
        states.append((states[-1] + torch.where(op[:, j] == 0, x[:, j], -x[:, j])) % 5)
    truth = torch.stack(states[1:6], dim=1)
    wrong = (truth + torch.tensor([0, 0, 1, 0, 0])) % 5
    verdicts = ScriptedVerifier(SPEC).verdict(statement, torch.stack([truth, wrong], dim=1))
    assert torch.equal(verdicts[:, 0], (states[6] == statement["claim"]).float())
    assert not verdicts[:, 1].any()


def test_a_message_takes_its_place_in_the_observation_and_nothing_else_moves(played: Game) -> None:
    statement = played.observe("verifier")
    messages = torch.randint(0, 5, (60, 3, 5), generator=torch.Generator().manual_seed(0))
    heard = with_messages(statement, messages)
    assert torch.equal(heard["partial"].reshape(60, 3, 5).long(), messages)
    for name in ("start", "op", "x", "claim"):
        assert torch.equal(heard[name], statement[name].repeat_interleave(3, dim=0))


def test_what_the_observation_says_was_said_does_not_matter(played: Game) -> None:
    after = played.observe("verifier")
    before = Observation(after.packed.clone(), after.view)
    before.packed[:, message_columns(after.view)] = 0
    verdicts = [ScriptedVerifier(SPEC).verdict(statement, said(after)[:, None]) for statement in (before, after)]
    assert torch.equal(*verdicts)


def test_the_record_a_scripted_verifier_decides_in_holds_no_truth(played: Game) -> None:
    verifier, observation = ScriptedVerifier(SPEC), played.observe("verifier")
    verifier.verdict(observation, said(observation)[:, None])
    assert verifier._game is not None
    assert not verifier._game.field("truth").any()
    assert not verifier._game.field("side").any()


@pytest.mark.parametrize("shape", [(60, 5), (60, 1, 4), (59, 1, 5)])
def test_messages_of_a_wrong_shape_are_refused(played: Game, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"messages: expected \(60, .*5\)"):
        with_messages(played.observe("verifier"), torch.zeros(shape, dtype=torch.int32))


def test_without_a_prover_the_message_is_empty() -> None:
    statement = Game(resolve(Arith(), Solo()), 7).observe("verifier")
    heard = with_messages(statement, torch.zeros((7, 2, 0), dtype=torch.int32))
    assert torch.equal(heard.packed, statement.packed.repeat_interleave(2, dim=0))


def test_a_black_box_counts_what_it_was_asked(played: Game) -> None:
    box = BlackBox(lambda statement, messages: messages[..., 0] / 4)
    assert isinstance(box, Verifier)
    messages = torch.full((60, 3, 5), 2)
    assert bool((box.verdict(played.observe("verifier"), messages) == 0.5).all())
    box.verdict(played.observe("verifier"), messages[:, :1])
    assert box.queries == 240


def test_a_constant_verifier_does_not_look(played: Game) -> None:
    verdicts = Constant(0.25).verdict(played.observe("verifier"), torch.zeros((60, 2, 5)))
    assert verdicts.shape == (60, 2)
    assert bool((verdicts == 0.25).all())
    with pytest.raises(ValueError, match=r"probability=1.5 is outside 0..1"):
        Constant(1.5)


def test_a_player_that_draws_is_averaged_over_the_same_tosses_for_every_message(played: Game) -> None:
    verifier = ScriptedVerifier(SPEC, "random", coins=300)
    verdicts = verifier.verdict(played.observe("verifier"), torch.zeros((60, 2, 5), dtype=torch.int32))
    assert len(verdicts.unique()) == 1
    assert float(verdicts[0, 0]) == pytest.approx(1 / 3, abs=0.11)  # accept, reject or "don't know"; four deviations
    with pytest.raises(ValueError, match="coins=0"):
        ScriptedVerifier(SPEC, "random", coins=0)


def test_a_reader_is_told_the_statement_once_and_evidence_with_the_message_it_is_of() -> None:
    claims = deal(resolve(FindThePlus(height=5, width=5), ProverVerifier()), False, 2)
    read: list[tuple[list[str], list[list[str]]]] = []

    def judge(statements: list[str], messages: list[list[str]]) -> list[list[float]]:
        read.append((statements, messages))
        return [[0.25, 0.5, 0.75]] * 2

    messages = torch.tensor([[[1, 1], [2, 2], [3, 3]]] * 2)
    found = TextVerifier(claims.game.spec, judge).verdict(claims.statement, messages)
    assert found.tolist() == [[0.25, 0.5, 0.75]] * 2
    ((statements, said),) = read
    assert len(statements) == len(said) == 2
    assert not any("prover" in text or "evidence" in text for text in statements)
    for some in said:
        assert [text.splitlines()[0] for text in some] == ["prover: 1 1", "prover: 2 2", "prover: 3 3"]
        assert all(text.splitlines()[1].startswith("evidence: window = ") for text in some)
    with pytest.raises(ValueError, match=r"verdict: expected \(2, 3\) probabilities, got \(2,\)"):
        TextVerifier(claims.game.spec, lambda *_: [0.5, 0.5]).verdict(claims.statement, messages)
