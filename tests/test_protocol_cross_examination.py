"""cross_examination and bisection: no error where one of the two is honest, and one step checked whatever the length."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toys import Different, Lookup

from pvg.agent import agents
from pvg.chain import chain_proofs
from pvg.enumerator import Enumerator
from pvg.extensive_form import best_response, expected_return
from pvg.field import Field
from pvg.game import Game
from pvg.lane import draw, lane
from pvg.protocol import Protocol
from pvg.protocols import Bisection, ProverVerifier
from pvg.protocols.cross_examination import CrossExamination
from pvg.spec import resolve
from pvg.task import Task, TaskRules, Values
from pvg.tasks import Arith, Program
from pvg.testing import check_numbers

REFERENCE = agents["reference"]
LENGTHS = (2, 3, 5, 8, 16)


@dataclass(frozen=True)
class Counted(Task):
    """Do so many steps, each of which adds one modulo 5, lead from `start` to the claim? `taken` counts all that are made."""

    steps: int = 3
    private = (Field("taken", 2**31 - 2, seen_by=()),)
    statement = (Field("start", 5),)  # type: ignore[assignment]
    claim = (Field("claim", 5),)  # type: ignore[assignment]

    def build(self) -> TaskRules:
        steps = self.steps

        @lane
        def apply(s: Any, tables: Any, j: Any, state: Any) -> Any:
            s.taken += 1
            return (state + 1) % 5

        @lane
        def undo(s: Any, tables: Any, j: Any, state: Any) -> Any:
            return (state + 4) % 5

        @lane
        def sample(s: Any, tables: Any) -> None:
            s.start, s.truth = draw(s, 5), draw(s, 2)
            s.claim = (np.int64(s.start) + steps + 1 - np.int64(s.truth)) % 5

        return TaskRules(sample, chain_proofs(steps, 5, apply, undo))

    def render(self, values: Values) -> str:
        return f"{values['start']} {values['claim']}"

    def parse(self, text: str) -> dict[str, Any]:
        return dict(zip(("start", "claim"), map(np.int8, text.split()), strict=True))


def cost_of_judging(steps: int, protocol: Protocol) -> list[int]:
    """How many steps the reference verifier applies in its verdict, in each of six games; a prover who argues truly."""
    game = Game(resolve(Counted(steps), protocol), 6)
    cast: Any = tuple(game.players({"prover": "honest"}).values())
    for _ in range(game.spec.turns - 1):
        game.speak(cast)
        game.step()
    before = game.field("taken").clone()
    game.speak(cast)
    return (game.field("taken") - before).tolist()


def print_costs() -> None:
    costs = {}
    for protocol in (CrossExamination(), Bisection(), ProverVerifier()):
        costs[type(protocol).__name__] = [sorted(set(cost_of_judging(steps, protocol))) for steps in LENGTHS]
    print(json.dumps(costs))


def test_the_judge_checks_one_step_whatever_their_number() -> None:
    # Interpreted in another process: fifteen games would take minutes to compile.
    code = "import test_protocol_cross_examination as test; test.print_costs()"
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parent, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    costs = json.loads(done.stdout)
    assert costs["CrossExamination"] == costs["Bisection"] == [[1]] * len(LENGTHS)
    # The judge of the transcript stops at the first step that is wrong: of a true transcript of a false claim, the last.
    assert costs["ProverVerifier"] == [[steps] for steps in LENGTHS]


@pytest.mark.parametrize(("steps", "depth"), [(2, 1), (3, 2), (5, 3), (8, 3), (16, 4)])
def test_a_bisection_is_as_deep_as_the_logarithm_and_a_cross_examination_is_not(steps: int, depth: int) -> None:
    assert resolve(Counted(steps), Bisection()).turns == 2 * depth + 1
    assert resolve(Counted(steps), CrossExamination()).turns == 3


def test_no_prover_beats_an_honest_challenger_and_no_challenger_an_honest_prover() -> None:
    tree = Enumerator(resolve(Arith(operations=3, modulus=2), CrossExamination()))
    honest = agents["honest"]
    cast = {"verifier": REFERENCE, "challenger": honest}
    assert best_response(tree, "prover", cast, given=lambda s: s["truth"][0] == 0)[0] == 0
    cast = {"verifier": REFERENCE, "prover": honest}
    assert best_response(tree, "challenger", cast, given=lambda s: s["truth"][0] == 1)[0] == 0
    both = expected_return(tree, {"verifier": REFERENCE, "prover": honest, "challenger": honest})
    assert both == pytest.approx([1 / 2, 1 / 2, 1])  # the truth wins, and half of the claims are true
    # Without an honest one: a step named at random is the one that is wrong with probability 1/T.
    cast = {"verifier": REFERENCE, "challenger": agents["random"]}
    assert best_response(tree, "prover", cast, given=lambda s: s["truth"][0] == 0)[0] == pytest.approx(2 / 3)


def test_the_honest_challenger_names_the_first_wrong_step_and_the_other_any() -> None:
    task = Arith(operations=4, modulus=5)
    game = Game(resolve(task, CrossExamination()), 2000)
    for name, value in task.parse("0 + 1 + 1 + 1 + 1 = 4 (mod 5)").items():
        game.field(name).copy_(torch.from_numpy(value)[None].expand_as(game.field(name)))
    game.field("truth").fill_(1)
    game.actions[:, 0, :3] = torch.tensor([[1, 2, 3], [0, 1, 2], [1, 4, 0], [1, 2, 4]]).repeat(500, 1)
    game.step()
    game.speak((None, agents["honest"], None))
    assert game.actions[:4, 1, 0].tolist() == [0, 0, 1, 2]
    game.speak((None, agents["dishonest"], None))
    named = game.actions[:, 1, 0].bincount(minlength=4)
    assert (abs(named / 2000 - 1 / 4) < 0.06).all()  # six standard deviations
    game.actions[:4, 1, 0] = torch.tensor([3, 0, 1, 1])
    game.step()
    game.speak((None, None, REFERENCE))
    assert game.step()[:4].tolist() == [[1, 0, 1], [0, 1, -1], [0, 1, -1], [1, 0, 1]]


@pytest.mark.parametrize(("task", "proof"), [(Arith(operations=8, modulus=5), "transcript"), (Program(), "trace")])
def test_one_step_tells_true_from_false_where_a_step_is_named_honestly(task: Task, proof: str) -> None:
    check_numbers(task, CrossExamination(), proof, games=10_000)


@pytest.mark.parametrize("task", [Different(), Lookup()])
def test_proofs_without_steps_are_refused(task: Task) -> None:
    with pytest.raises(ValueError, match="it needs a proof of one message whose steps can be checked one by one"):
        resolve(task, CrossExamination())
