"""BugHunt: the truth is what a second interpreter finds, and near misses look like bugs."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from test_task_program import follow

from pvg.agent import agents
from pvg.enumerator import Enumerator
from pvg.extensive_form import best_response
from pvg.game import Game
from pvg.leaks import marginal_leaks
from pvg.protocols import ProverVerifier
from pvg.spec import resolve
from pvg.tasks.bug_hunt import BugHunt
from pvg.testing import check_numbers

SPECIFICATION = "0: less r0 2; 1: jump end; 2: add r0 1; 3: add r0 1; 4: add r0 1"
PROGRAM = "0: sub r0 2; 1: equal r0 1; 2: jump_if_zero r0 end; 3: set r0 0; 4: sub r0 2"


def output(task: BugHunt, program: str, x: int) -> int:
    """What a program puts out on an input, which it must do in time."""
    line, registers = follow(program, [x] + [0] * (task.registers - 1), task.modulus, task.steps)[-1]
    assert line == task.length
    return registers[0]


@pytest.mark.parametrize("task", [BugHunt(families=500), BugHunt.preset("hard", families=500)])
def test_the_truth_is_what_a_second_interpreter_finds(task: BugHunt) -> None:
    game = Game(resolve(task, ProverVerifier()), 2000)
    game.play({"prover": "honest", "verifier": "reference"})
    said, truth, outputs = (game.field(name).tolist() for name in ("said", "truth", "output"))
    counts = []
    for i in range(2000):
        text = task.render({f.name: game.field(f.name)[i].numpy() for f in task.statement})
        match = re.fullmatch(r"specification (.*) differs from program (.*), modulo \d+", text)
        assert match is not None
        first, second = ([output(task, program, x) for x in range(task.modulus)] for program in match.groups())
        x = said[i][0][0]
        assert outputs[i] == [first[x], second[x]]
        counts.append(sum(a != b for a, b in zip(first, second, strict=True)))
        assert truth[i] == (counts[-1] > 0)
        assert len(set(first)) > 1
        lines = zip(match[1].split("; "), match[2].split("; "), strict=True)
        assert sum(a != b for a, b in lines) == 2
    assert max(counts) == task.modulus // 2
    assert torch.equal(game.field("verdict"), game.field("truth"))


def test_a_game_played_by_hand() -> None:
    for claim, x, accepted in [(PROGRAM, 0, 0), (PROGRAM, 1, 1), (PROGRAM, 2, 0), (SPECIFICATION, 1, 0)]:
        task = BugHunt(registers=1, modulus=3, length=5, steps=6, families=10)
        game = Game(resolve(task, ProverVerifier()), 1)
        for name, value in task.parse(f"specification {SPECIFICATION} differs from program {claim}, modulo 3").items():
            game.field(name).copy_(torch.from_numpy(value)[None])
        game.actions[0, 0, 0] = x
        game.step()
        game.speak((None, agents["reference"]))
        game.step()
        assert int(game.field("verdict")) == accepted


def test_a_counterexample_is_never_wrong() -> None:
    check_numbers(BugHunt())


def test_best_hunter_finds_no_bug_where_there_is_none() -> None:
    task = BugHunt(registers=1, modulus=3, length=5, steps=6, families=10)
    tree = Enumerator(resolve(task, ProverVerifier()))
    reference = {"verifier": agents["reference"]}
    assert best_response(tree, "prover", reference, given=lambda s: s["truth"][0] == 0)[0] == 0
    assert best_response(tree, "prover", reference, given=lambda s: s["truth"][0] == 1)[0] == pytest.approx(1)


def test_splits_share_no_family() -> None:
    task = BugHunt(families=500)
    dealt = [set(Game(resolve(task, ProverVerifier(), None, split), 4000).field("family").tolist()) for split in ("train", "test")]
    assert not dealt[0] & dealt[1]


def test_shallow_features_tell_little() -> None:
    leak = marginal_leaks(BugHunt())
    assert leak.accuracy.value < 0.525, leak


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"registers": 4}, r"BugHunt: registers=4 is outside 1\.\.3"),
        ({"modulus": 2}, r"BugHunt: modulus=2 is outside 3\.\.7"),
        ({"length": 4}, r"BugHunt: length=4 is outside 5\.\.16"),
        ({"steps": 6}, r"BugHunt: steps=6 is outside 7\.\.127"),
        ({"families": 9}, r"BugHunt: families=9 is outside 10\.\.32768"),
    ],
)
def test_bad_sizes_are_refused(sizes: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BugHunt(**sizes)


def test_text_reads_back_and_malformed_text_says_what_was_expected() -> None:
    task, text = (
        BugHunt(registers=1, modulus=3, length=5),
        f"specification {SPECIFICATION} differs from program {PROGRAM}, modulo 3",
    )
    values = task.parse(text)
    assert task.render(values) == text
    assert np.array_equal(values["operand"], [[2, 5, 1, 1, 1], [2, 1, 5, 0, 2]])
    with pytest.raises(ValueError, match=r"expected 'specification S differs from program P, modulo 3'"):
        task.parse(text.replace("differs from", "is"))
    with pytest.raises(ValueError, match=r"line '1: equal r0 3': expected '1: verb rA B' \(B a residue below 3"):
        task.parse(text.replace("equal r0 1", "equal r0 3"))
