"""Program: every run agrees with a second interpreter, and k of T steps catch a single bad one as often as they should."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from pvg.agent import agents
from pvg.enumerator import Enumerator
from pvg.extensive_form import best_response
from pvg.game import Game
from pvg.lane import lane
from pvg.leaks import marginal_leaks
from pvg.protocol import Protocol
from pvg.protocols import Bisection, InteractiveProof, ProverVerifier
from pvg.spec import resolve
from pvg.task import TaskRules
from pvg.tasks.program import Program
from pvg.testing import check_numbers

HARD = Program.preset("hard")
PROTOCOLS: dict[str, Protocol] = {"trace": ProverVerifier(), "spot_check": InteractiveProof(), "bisection": Bisection()}
COUNTDOWN = "0: add r0 2; 1: jump_if_not_zero r0 0; 2: add r0 1, modulo 3, takes 2 to {}"


def follow(program: str, registers: list[int], modulus: int, steps: int) -> list[tuple[int, list[int]]]:
    """The line and the registers after each step, from the program's text alone."""
    lines = [line.split(": ")[1].split() for line in program.split("; ")]
    at, held, states = 0, {f"r{i}": value for i, value in enumerate(registers)}, []
    for _ in range(steps):
        if at < len(lines):
            verb, *words = lines[at]
            at += 1
            if verb.startswith("jump"):
                target = len(lines) if words[-1] == "end" else int(words[-1])
                if {"jump": True, "jump_if_zero": held.get(words[0]) == 0, "jump_if_not_zero": held.get(words[0], 0) > 0}[verb]:
                    at = target
            else:
                x, y = held[words[0]], held[words[1]] if words[1] in held else int(words[1])
                held[words[0]] = {
                    "set": y,
                    "add": x + y,
                    "sub": x - y,
                    "mul": x * y,
                    "equal": int(x == y),
                    "less": int(x < y),
                }[verb] % modulus
        states.append((at, list(held.values())))
    return states


def parts(game: Game, i: int) -> tuple[str, list[int], int]:
    """Lane i's program as text, its input and its claim."""
    text = game.spec.task.render({f.name: game.field(f.name)[i].numpy() for f in game.spec.task.fields})
    match = re.fullmatch(r"(.*), modulo \d+, takes (.*) to (\d+)", text)
    assert match is not None
    return match[1], [int(x) for x in match[2].split()], int(match[3])


@pytest.mark.parametrize("task", [Program(), HARD, Program(registers=3, modulus=3, length=4, steps=9, queries=4)])
def test_a_second_interpreter_agrees_step_by_step(task: Program) -> None:
    game = Game(resolve(task, ProverVerifier(), "trace"), 2000)
    game.play({"prover": "honest", "verifier": "reference"})
    said, truth = game.field("said")[:, 0].tolist(), game.field("truth").tolist()
    longest = 0
    for i in range(2000):
        program, registers, claim = parts(game, i)
        states = follow(program, registers, task.modulus, task.steps)
        assert said[i] == [line for line, _ in states] + [x for _, held in states for x in held]
        assert states[-1][0] == task.length
        assert truth[i] == (states[-1][1][0] == claim)
        longest = max(longest, sum(line < task.length for line, _ in states) + 1)
    assert longest == task.steps
    assert torch.equal(game.field("verdict"), game.field("truth"))


@pytest.mark.parametrize("task", [Program(), HARD])
def test_every_run_loops_and_takes_more_than_half_of_its_steps(task: Program) -> None:
    game = Game(resolve(task, ProverVerifier(), "trace"), 4000)
    game.play({"prover": "honest", "verifier": "reference"})
    line = game.field("said")[:, 0, : task.steps].long()
    taken = 1 + (line < task.length).sum(1)
    back = (line[:, 1:] <= line[:, :-1]) & (line[:, 1:] < task.length)
    assert int((2 * taken <= task.steps).sum()) <= 4  # the few in which all jumps lead forward
    assert int((~back.any(1)).sum()) <= 4
    assert len(taken.unique()) > task.steps // 3


def verdict(task: Program, proof: str, claim: int, sayings: list[list[int]]) -> int:
    """The reference verifier's of COUNTDOWN, after what the others say by hand."""
    game = Game(resolve(task, PROTOCOLS[proof], proof), 1)
    for name, value in task.parse(COUNTDOWN.format(claim)).items():
        game.field(name).copy_(torch.from_numpy(value)[None])
    for words in sayings:
        game.actions[0, :, : len(words)] = torch.tensor(words)
        game.step()
    game.speak(tuple(agents["reference"] if role.name == "verifier" else None for role in game.spec.roles))
    game.step()
    return int(game.field("verdict"))


def test_a_game_played_by_hand() -> None:
    task = Program(registers=1, modulus=3, length=3, steps=6, queries=2)
    trace, claimed = [1, 0, 1, 2, 3, 3, 1, 1, 0, 0, 1, 1], [1, 0, 1, 2, 3, 3, 1, 1, 0, 0, 1, 2]
    assert verdict(task, "trace", 1, [trace]) == 1
    assert verdict(task, "trace", 2, [trace]) == 0
    assert verdict(task, "trace", 2, [claimed]) == 0
    assert verdict(task, "trace", 1, [[1, 2, 3, 3, 3, 3, 0, 0, 1, 1, 1, 1]]) == 0  # right but for the first step
    assert verdict(task, "spot_check", 1, [trace, [0, 5]]) == 1
    assert verdict(task, "spot_check", 2, [claimed, [0, 4]]) == 1
    assert verdict(task, "spot_check", 2, [claimed, [4, 5]]) == 0
    assert verdict(task, "spot_check", 2, [trace, [4, 5]]) == 0  # no bad step, but not what is claimed
    assert verdict(task, "bisection", 1, [[1, 0], [0], [1, 1], [0], [1, 1], [0]]) == 1  # the challenger lies
    assert verdict(task, "bisection", 2, [[1, 0], [1], [2, 0], [1], [3, 2], [0]]) == 0  # ... and now the prover
    assert verdict(task, "bisection", 2, [[1, 0], [1], [2, 0], [1], [3, 1], [1]]) == 0


@pytest.mark.parametrize(
    "task",
    [
        Program(),
        Program(registers=3, modulus=3, length=4, steps=9, queries=4),
        Program(registers=3, modulus=7, length=5, steps=16, queries=1),
    ],
)
def test_a_spot_check_misses_one_bad_step_as_often_as_it_is_not_drawn(task: Program) -> None:
    assert task.rules.proofs["spot_check"].soundness_error == pytest.approx(float(1 - Fraction(task.queries, task.steps)))
    check_numbers(task, proof="spot_check")


@pytest.mark.parametrize("proof", ["trace", "bisection"])
def test_a_checked_trace_and_a_bisection_are_never_wrong(proof: str) -> None:
    check_numbers(Program(), proof=proof)


def test_questions_are_all_sets_of_steps_alike() -> None:
    task = Program(length=3, steps=4, queries=2)
    game = Game(resolve(task, InteractiveProof(), "spot_check"), 12_000)
    game.play({"prover": "honest", "verifier": "reference"})
    asked, count = game.field("said")[:, 1, :2].unique(dim=0, return_counts=True)
    assert asked.tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]
    assert (count / 12_000 - 1 / 6).abs().max() < 5 * (1 / 6 * 5 / 6 / 12_000) ** 0.5


def test_no_part_of_a_committed_trace_is_seen_but_what_was_asked_for() -> None:
    spec = resolve(Program(), InteractiveProof(), "spot_check")
    seen = {column.field.name for column in spec.view(spec.role_index("verifier"))}
    assert seen >= {"asked", "opened_line", "opened_value"}
    assert not seen & {"line", "value"}


@dataclass(frozen=True)
class OneStatement(Program):
    """Always the same false claim."""

    text: str = ""

    @property
    def tables(self) -> dict[str, Any]:
        return self.parse(self.text)

    def build(self) -> TaskRules:
        registers, length, proofs = self.registers, self.length, super().build().proofs

        @lane
        def sample(s: Any, tables: Any) -> None:
            for i in range(length):
                s.op[i], s.register[i], s.operand[i] = tables.op[i], tables.register[i], tables.operand[i]
            for i in range(registers):
                s.input[i] = tables.input[i]
            s.truth, s.claim = 0, tables.claim

        return TaskRules(sample, proofs)


@pytest.mark.parametrize(
    "text",
    [
        "0: add r0 1; 1: jump_if_not_zero r0 0; 2: add r0 1, modulo 2, takes 1 to 0",
        "0: jump_if_zero r0 2; 1: mul r0 1; 2: add r0 1, modulo 2, takes 0 to 0",
    ],
)
@pytest.mark.parametrize(("proof", "queries"), [("trace", 1), ("spot_check", 1), ("spot_check", 2), ("bisection", 1)])
def test_best_prover_does_as_well_as_stated_and_no_better(text: str, proof: str, queries: int) -> None:
    task = OneStatement(registers=1, modulus=2, length=3, steps=3, queries=queries, text=text)
    tree = Enumerator(resolve(task, PROTOCOLS[proof], proof))
    others = {"verifier": agents["reference"]}
    if proof == "bisection":
        others["challenger"] = agents["honest"]
    value, _ = best_response(tree, "prover", others)
    assert value == pytest.approx(task.rules.proofs[proof].soundness_error, abs=1e-12)


def test_no_shallow_feature_tells_the_truth() -> None:
    leak = marginal_leaks(Program())
    assert not leak.leaks, leak


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"registers": 9}, r"Program: registers=9 is outside 1\.\.8"),
        ({"modulus": 1}, r"Program: modulus=1 is outside 2\.\.127"),
        ({"length": 2}, r"Program: length=2 is outside 3\.\.64"),
        ({"steps": 5}, r"Program: steps=5 is outside 6\.\.127"),
        ({"queries": 13}, r"Program: queries=13 is outside 1\.\.12"),
    ],
)
def test_bad_sizes_are_refused(sizes: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Program(**sizes)


def test_text_reads_back_and_malformed_text_says_what_was_expected() -> None:
    task = Program(registers=1, modulus=3, length=3, steps=6)
    values = task.parse(COUNTDOWN.format(1))
    assert task.render(values) == COUNTDOWN.format(1)
    for text, message in [
        ("2 to 1", r"expected 'P, modulo 3, takes x0 \.\.\. to y' with 1 registers"),
        (COUNTDOWN.format(3), r"a residue is outside 0\.\.2"),
        (COUNTDOWN.format(1).replace("; 2: add r0 1", ""), r"expected 3 lines, got 2"),
        (COUNTDOWN.format(1).replace("add r0 2", "add r1 2"), r"line '0: add r1 2': expected '0: verb rA B' .* registers r0\.\.r0"),
        (COUNTDOWN.format(1).replace("r0 0;", "r0 4;"), r"C a line 0\.\.2 or end"),
    ]:
        with pytest.raises(ValueError, match=message):
            task.parse(text)
    fields = task.rules.proofs["trace"].kinds["message"]
    symbols = np.array([1, 0, 1, 2, 3, 3, 1, 1, 0, 0, 1, 1])
    assert task.render_utterance("message", fields, symbols) == "1: 1; 0: 1; 1: 0; 2: 0; 3: 1; 3: 1"
    with pytest.raises(ValueError, match=r"expected 6 times 'line: r0 \.\.\.', separated by ';'"):
        task.parse_utterance("message", fields, "1: 1; 0: 1")
