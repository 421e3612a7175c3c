"""Which protocol plays which proof, and who sees what of it."""

from __future__ import annotations

import gymnasium
import pytest
import torch
from toys import Bit, Different, Lookup

import pvg
from pvg.agent import Observation, agents
from pvg.enumerator import Enumerator
from pvg.extensive_form import best_response
from pvg.game import Game
from pvg.protocols import Bisection, InteractiveProof, ProverVerifier
from pvg.spec import default_protocol, resolve
from pvg.tasks import Arith
from pvg.testing import check_numbers
from pvg.verifier import ScriptedVerifier, messages_said, replayed, with_messages

REFERENCE = agents["reference"]


@pytest.mark.parametrize(
    ("task", "proof", "protocol"),
    [
        (Arith(), None, ProverVerifier()),
        (Arith(), "bisection", Bisection()),
        (Different(), None, InteractiveProof()),
    ],
)
def test_a_task_is_played_under_the_protocol_that_fits_its_proof(task, proof, protocol) -> None:
    assert default_protocol(task, proof) == protocol
    assert Game(resolve(task, default_protocol(task, proof), proof)).spec.protocol == protocol


@pytest.mark.parametrize(
    ("task", "protocol", "why"),
    [
        (Different(), ProverVerifier(), r"'coin': its one utterance is a message; the proof's script is \('question', 'message'\)"),
        (Arith(), InteractiveProof(), r"'transcript': a proof of one message is exchanged freely"),
        (Bit(), Bisection(), r"'word': it needs messages and challenges; the proof's script is \('message',\)"),
    ],
)
def test_a_protocol_that_does_not_fit_says_why(task, protocol, why: str) -> None:
    with pytest.raises(ValueError, match=f"does not fit {type(task).__name__} .*{why}"):
        resolve(task, protocol)


def test_nature_tosses_the_coins_in_the_verifiers_stead() -> None:
    spec = resolve(Different(), InteractiveProof(asks="nature"))
    assert [role.name for role in spec.roles] == ["prover", "verifier", "nature"]
    assert int((spec.row_of(1) >= 0).sum()) == 1
    for truth, accepted in ((1, 1.0), (0, 0.5)):
        players = {"verifier": REFERENCE, "nature": REFERENCE}
        best, _ = best_response(Enumerator(spec), "prover", players, given=lambda s, truth=truth: s["truth"][0] == truth)
        assert best == pytest.approx(accepted)
    with pytest.raises(ValueError, match="role='nature': nature is no player"):
        gymnasium.make("pvg/Arith-v0", task=Different(), protocol=InteractiveProof(asks="nature"), role="nature")
    with pytest.raises(ValueError, match="asks='prover' is neither 'verifier' nor 'nature'"):
        InteractiveProof(asks="prover")  # type: ignore[arg-type]


@pytest.mark.parametrize("operations", [2, 5, 8])
def test_bisection_checks_one_step_and_is_sound_against_any_prover(operations: int) -> None:
    check_numbers(Arith(operations=operations, modulus=3), proof="bisection", games=20_000)
    assert len(Arith(operations=operations).rules.proofs["bisection"].script) == 2 * {2: 1, 5: 3, 8: 3}[operations]


def test_no_prover_beats_an_honest_challenger_and_no_challenger_an_honest_prover() -> None:
    tree = Enumerator(resolve(Arith(operations=3, modulus=2), Bisection()))
    honest = agents["honest"]
    cast = {"verifier": REFERENCE, "challenger": honest}
    assert best_response(tree, "prover", cast, given=lambda s: s["truth"][0] == 0)[0] == 0
    cast = {"verifier": REFERENCE, "prover": honest}
    assert best_response(tree, "challenger", cast, given=lambda s: s["truth"][0] == 1)[0] == 0
    cast = {"verifier": REFERENCE, "challenger": agents["random"]}  # no guarantee where neither is honest
    assert best_response(tree, "prover", cast, given=lambda s: s["truth"][0] == 0)[0] > 0.5


def test_a_dishonest_prover_stays_who_it_is_for_a_whole_game() -> None:
    task = Arith(operations=8, modulus=5)
    game = Game(resolve(task, Bisection()), 400, seed=0)
    games = {}
    for name in ("dishonest", *task.rules.proofs["bisection"].dishonest):
        game.seed(0)
        game.advance(game.players({"prover": name, "challenger": "honest"}))
        games[name] = game.field("said")[game.field("truth") == 0]
    mixed, *pure = games.values()
    same = torch.stack([(mixed == one).all(2).all(1) for one in pure])
    assert same.any(0).all()
    assert ((same.float().mean(1) > 0.4) & (same.float().mean(1) < 0.6)).all()
    tree = Enumerator(resolve(Arith(operations=3, modulus=2), Bisection()))
    with pytest.raises(ValueError, match="'dishonest' stays one prover for a whole game, which is not enumerated"):
        best_response(tree, "verifier", {"prover": agents["dishonest"], "challenger": agents["honest"]})


def test_evidence_of_messages_that_were_not_said_is_worked_out() -> None:
    spec = resolve(Lookup(), ProverVerifier())
    game = Game(spec, 40, seed=0)
    statement, dealt = game.observe("verifier"), game.bytes.clone()
    with pytest.raises(ValueError, match="evidence to messages; make it able to say what it would be with `replayed`"):
        with_messages(statement, torch.zeros((40, 1, 1)))
    able = replayed(spec, 1, statement, dealt)
    messages = torch.arange(3)[None, :, None].expand(40, -1, -1)
    heard = with_messages(able, messages)
    cells = torch.from_numpy(Lookup().tables["cells"])[game.field("row").long()]
    assert torch.equal(heard["cell"].reshape(40, 3), cells)
    assert torch.equal(heard["column"].reshape(40, 3).long(), messages[:, :, 0])
    verdicts = ScriptedVerifier(spec).verdict(able, messages)
    assert torch.equal(verdicts[:, 2], (game.field("truth") == 1).float())
    some = able.rows(torch.tensor([3, 5]))
    assert torch.equal(ScriptedVerifier(spec).verdict(some, messages[:2]), verdicts[[3, 5]])
    assert isinstance(some, Observation)
    game.play({"prover": "honest"})
    assert messages_said(game, 1).tolist() == [[2]] * 40


def test_settings_of_a_preset_can_be_changed_one_by_one() -> None:
    env = gymnasium.make("pvg/Arith-v0", preset="hard", operations=9)
    assert env.unwrapped.game.spec.task == Arith(operations=9, modulus=11)  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="unknown preset of Arith 'hrad': nearest are hard"):
        Arith.preset("hrad")
    assert pvg.game("Arith").spec.task == Arith()
