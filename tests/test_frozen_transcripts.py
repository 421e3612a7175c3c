"""Played games are kept whole, judged anew from what the judge saw, and refused where they cannot be what they say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from toys import Bit, EarlyDecision, HiddenSlot, Lookup

from pvg.agent import LaneAgent, Observation, Utterance, agents, find_agent
from pvg.agents.networks import VerifierNetwork, build
from pvg.frozen import Transcripts, about, joined, load, record, save
from pvg.game import Game
from pvg.judging import compared, judge, judge_of, report
from pvg.lane import lane
from pvg.metrics import NonFiniteVerdict
from pvg.protocols import ProverVerifier
from pvg.spec import resolve
from pvg.tasks.arith import Arith
from pvg.verifier import messages_said

SPEC = resolve(Arith(operations=3, modulus=3), ProverVerifier())
CAST = {"prover": agents["dishonest"], "verifier": agents["reference"]}
NAMES = {"prover": "dishonest", "verifier": "reference"}


@pytest.fixture(scope="module")
def kept() -> Transcripts:
    return record(Game(SPEC, 200, seed=5), CAST)


@pytest.fixture
def file(kept: Transcripts, tmp_path: Path) -> Path:
    return written(kept, tmp_path / "games.npz")


def written(transcripts: Transcripts, path: Path) -> Path:
    whole = Transcripts(**{**vars(transcripts), "provenance": about(transcripts.spec, NAMES, 5)})
    save(path, whole)
    return path


def test_what_is_kept_are_the_games_as_they_are_played(kept: Transcripts) -> None:
    game = Game(SPEC, 200, seed=5)
    returns = game.advance(CAST)
    assert game.bytes.numpy().tobytes() == kept.ended.tobytes()
    assert np.array_equal(returns.numpy(), kept.returns)
    assert kept.uttered.tolist() == [[1, 1]] * 200
    assert set(kept.judged["turn"].tolist()) == {1}
    assert set(kept.judged["verdict"].tolist()) == {-1}
    assert np.array_equal(kept.judged["said"], kept.ended["said"])


def test_a_file_gives_back_all_of_it_and_where_it_comes_from(kept: Transcripts, file: Path) -> None:
    again = load(file, SPEC)
    assert again.spec == SPEC
    for part in ("ended", "judged", "returns", "first_wrong_step", "uttered"):
        assert np.array_equal(getattr(again, part), getattr(kept, part))
    assert again.provenance["env"] == "pvg/Arith-v0"
    assert again.provenance["task_parameters"] == {"operations": 3, "modulus": 3, "multiplication": False}
    assert (again.provenance["players"], again.provenance["seed"]) == (NAMES, 5)
    assert {"pvg", "numpy"} <= set(again.provenance["libraries"])


def test_a_file_is_read_by_numpy_alone_a_field_an_array(kept: Transcripts, file: Path) -> None:
    with np.load(file, allow_pickle=False) as arrays:
        assert {"start", "op", "x", "claim", "said", "truth", "side", "verdict", "first_wrong_step"} <= set(arrays.files)
        assert np.array_equal(arrays["truth"], kept.ended["truth"])
        assert arrays["said"].shape == (200, 1, 2)
        assert json.loads(str(arrays["provenance"]))["task"] == "Arith"


def test_a_file_is_never_overwritten(kept: Transcripts, file: Path) -> None:
    before = file.read_bytes()
    with pytest.raises(ValueError, match=r"games.npz: there is such a file already"):
        written(kept, file)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == ["games.npz"]


def test_the_first_wrong_step_is_the_first_that_does_not_follow(kept: Transcripts) -> None:
    wrong = []
    for game in kept.ended:
        states = [game["start"], *game["said"][0], game["claim"]]
        signs = [1 if op == 0 else -1 for op in game["op"]]
        steps = [(states[j] + signs[j] * int(game["x"][j])) % 3 == states[j + 1] for j in range(3)]
        wrong.append(-1 if all(steps) else steps.index(False))
    assert kept.first_wrong_step[:, 0].tolist() == wrong
    assert {-1, 0, 1, 2} == set(wrong)
    assert [step == -1 for step in wrong] == (kept.ended["truth"] == 1).tolist()


def test_a_proof_without_steps_has_no_wrong_one() -> None:
    spec = resolve(Bit(), ProverVerifier())
    game = record(Game(spec, 20), {"prover": agents["random"], "verifier": agents["reference"]})
    assert (game.first_wrong_step == -1).all()


def test_the_judge_of_the_games_decides_as_it_did(kept: Transcripts) -> None:
    made = judge(kept, agents["reference"])
    assert made.answers.tolist() == kept.ended["verdict"].tolist()
    found = report(made)
    assert (found.accuracy.value, found.unsure.value, found.not_judged) == (1, 0, 0)
    assert (found.log_score.value, found.brier_score.value, found.calibration_error) == (0, 0, 0)
    assert found.asd_brier is not None
    assert found.asd_brier.value == 2
    assert {name: figure.n for name, figure in found.by_side.items()} == {
        "prover argues the truth": int(kept.ended["truth"].sum()),
        "prover argues a falsehood": int((1 - kept.ended["truth"]).sum()),
    }


def test_a_judge_hears_the_messages_and_not_the_truth(kept: Transcripts) -> None:
    @lane
    def told(s: Any, tables: Any, out: Any) -> None:
        out[0] = s.truth if s.said[0, 0] != 0 else 2

    peeping = LaneAgent("peeping", lambda spec, role: told, "")
    made = judge(kept, peeping)
    assert torch.equal(made.answers == 2, torch.from_numpy(kept.ended["said"][:, 0, 0] == 0))
    assert not made.answers[made.answers != 2].any()


def test_a_network_judges_what_it_would_see(kept: Transcripts) -> None:
    network = build("mlp", SPEC, "verifier", 0, width=16, layers=1)
    assert isinstance(network, VerifierNetwork)
    game = kept.game(judged=True)
    verdicts = network.verdict(game.observe("verifier"), messages_said(game, 1)[:, None])[:, 0]
    made = judge(kept, network)
    assert made.probabilities[:, 1].tolist() == pytest.approx(verdicts.tolist(), abs=1e-6)
    assert torch.equal(made.answers == 1, made.probabilities[:, 1] >= 0.5)


class Hunch:
    """Accepts with a probability of its own."""

    def __init__(self, belief: Callable[[Observation], Tensor]) -> None:
        self.belief = belief

    def act(self, observation: Observation, acting: Tensor) -> Utterance:
        belief = self.belief(observation)
        return Utterance((belief > 0.5).int()[:, None], belief)


def test_a_belief_is_scored_as_it_is(kept: Transcripts) -> None:
    found = report(judge(kept, Hunch(lambda seen: torch.full((len(seen.packed),), 0.5))))
    assert found.accuracy.value == float(kept.ended["truth"].mean())
    assert found.log_score.value == pytest.approx(np.log(0.5))
    assert found.brier_score.value == pytest.approx(-0.5)
    assert found.asd_log is not None
    assert found.asd_log.value == pytest.approx(0, abs=1e-12)
    with pytest.raises(NonFiniteVerdict):
        judge(kept, Hunch(lambda seen: torch.full((len(seen.packed),), float("nan"))))


def test_two_judges_are_compared_on_the_same_transcripts(kept: Transcripts) -> None:
    sure, unsure = (judge(kept, player) for player in (agents["reference"], Hunch(lambda seen: torch.full((200,), 0.5))))
    gained = compared(sure, unsure)
    assert gained["Brier score"].value == pytest.approx(0.5)
    assert gained["accuracy"].value == pytest.approx(1 - kept.ended["truth"].mean())
    assert 0 < gained["accuracy"].low < gained["accuracy"].value < gained["accuracy"].high
    assert compared(sure, sure)["accuracy"].high == 0
    statements = len({game["start"].tobytes() + game["op"].tobytes() + game["x"].tobytes() for game in kept.ended})
    assert statements < 200
    assert f"over {statements} units" in gained["accuracy"].method


def test_evidence_is_kept_for_judges_to_come() -> None:
    spec = resolve(Lookup(), ProverVerifier())
    game = record(Game(spec, 60), {"prover": agents["dishonest"], "verifier": agents["random"]})
    made = judge(game, agents["reference"])
    assert made.right.all()
    cell = game.ended["cell"]
    assert made.answers.tolist() == ((game.ended["said"][:, 0, 0] == 2) & (cell == 1)).astype(int).tolist()


def test_a_judge_is_asked_where_the_last_verdict_was_given_with_the_coins_it_had() -> None:
    game = record(Game(resolve(Bit(), EarlyDecision()), 200), {"prover": agents["random"], "verifier": agents["random"]})
    assert set(game.judged["turn"].tolist()) == {1, 3}
    assert (game.uttered.sum(1) == np.where(game.judged["turn"] == 1, 2, 4)).all()
    assert judge(game, agents["random"]).answers.tolist() == game.ended["verdict"].tolist()


def test_a_forfeited_game_is_judged_nowhere() -> None:
    class Illegal:
        def act(self, observation: Observation, acting: Tensor) -> Utterance:
            symbols = torch.zeros((len(acting), 2), dtype=torch.int32)
            symbols[::4, 0] = 7
            return Utterance(symbols)

    game = record(Game(SPEC, 40), CAST | {"prover": Illegal()})
    assert report(judge(game, agents["reference"])).not_judged == 10
    found = game.measured()
    assert (found.forfeits["prover"], found.messages.value) == (10, 0.75)
    assert found.accuracy is not None
    assert found.accuracy.n == 30
    with pytest.raises(ValueError, match="none of the games came to a verdict"):
        judge(Transcripts(**{**vars(game), **{p: getattr(game, p)[::4] for p in ("ended", "judged", "returns")}}), agents["random"])


def test_games_without_a_verdict_have_no_judge() -> None:
    with pytest.raises(ValueError, match="HiddenSlot: nobody in the verifier's seat gives a verdict"):
        judge_of(resolve(Bit(), HiddenSlot()))


def test_single_games_join_to_what_they_are_together(kept: Transcripts) -> None:
    parts = [kept.first(3), kept.first(2)]
    assert [len(part) for part in parts] == [3, 2]
    assert np.array_equal(joined(parts).ended, np.concatenate([kept.ended[:3], kept.ended[:2]]))


def changed(path: Path, **changes: Any) -> Path:
    """The file with some of its arrays replaced (None: left out), and the entries of its provenance given as `provenance`."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    changes["provenance"] = np.array(json.dumps(json.loads(str(arrays["provenance"])) | changes.pop("provenance", {})))
    path.unlink()
    arrays |= changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"provenance": {"format": "other"}}, "it was written by something else"),
        ({"provenance": {"version": 99}}, "it has format version 99, and this is version 1"),
        ({"provenance": {"task": "Arit"}}, "cannot be built here: unknown task 'Arit': nearest are Arith"),
        ({"provenance": {"task_parameters": {"modulos": 3}}}, "cannot be built here: .*modulos"),
        ({"truth": None}, "it holds no games"),
        ({"op": None}, r"op: expected int8 \(200, 3\), got nothing"),
        ({"x": np.zeros((200, 3), np.int64)}, r"x: expected int8 \(200, 3\), got int64"),
        ({"claim": np.full(200, 3, np.int8)}, r"claim: a value is outside -1..2"),
        ({"judged.turn": np.full(200, 100, np.int8)}, r"turn: a value is outside -1..1"),
        ({"said": np.full((200, 1, 2), 3, np.int8)}, "said: a symbol is outside its alphabet"),
        ({"said": np.array([object()])}, "no file of transcripts at all .*allow_pickle=False"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(file: Path, changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=f"transcripts .*games.npz: .*{complaint}"):
        load(changed(file, **changes))


def test_a_file_that_is_cut_off_or_none_at_all_is_refused(file: Path, tmp_path: Path) -> None:
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="it is truncated, or no file of transcripts at all"):
        load(file)
    middle = whole.index(b"truth.npy") + 60
    file.write_bytes(whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :])
    with pytest.raises(ValueError, match=r"games.npz: it is (corrupted|truncated)"):
        load(file)
    with pytest.raises(ValueError, match="there is no such file"):
        load(tmp_path / "missing.npz")


def test_transcripts_of_another_game_are_refused(file: Path) -> None:
    with pytest.raises(ValueError, match=r"of task Arith\(operations=3, modulus=3.*not of Arith\(operations=6"):
        load(file, resolve(Arith(), ProverVerifier()))


def test_a_dishonest_prover_by_name_is_kept_like_any_other() -> None:
    cast = {"prover": find_agent("true_transcript", SPEC), "verifier": agents["reference"]}
    game = record(Game(SPEC, 50), cast)
    assert set(game.first_wrong_step[game.ended["truth"] == 0, 0].tolist()) == {2}
