"""multi_prover: two provers in rooms of their own, and what the game is worth with a hole in the wall."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from test_task_coloring import Complete
from toys import Different, Lookup

from pvg.agent import agents, find_agent
from pvg.enumerator import Enumerator
from pvg.extensive_form import best_response, expected_return
from pvg.game import Game
from pvg.lane import lane
from pvg.protocol import Row
from pvg.protocols import Consultancy, InteractiveProof
from pvg.protocols.multi_prover import MultiProver
from pvg.spec import default_protocol, resolve
from pvg.task import Proof, Task, TaskRules
from pvg.tasks import Arith, Coloring, SparseDigits

VERIFIER = 2


@dataclass(frozen=True)
class Overheard(MultiProver):
    """prover_1 hears what prover_0 is asked, and what it answers."""

    def rows(self, task: Task, proof: Proof | None) -> tuple[Row, ...]:
        return tuple(
            replace(row, hearers=(*row.hearers, "prover_1")) if row.slot in (0, 1) else row for row in super().rows(task, proof)
        )


@dataclass(frozen=True)
class Twice(Different):
    """Its script said twice."""

    def build(self) -> TaskRules:
        rules = super().build()
        proof = rules.proofs["coin"]
        return TaskRules(rules.sample, {"coin": replace(proof, script=proof.script * 2)})


@dataclass(frozen=True)
class Wheel(Complete):
    """A node joined to all five of a cycle, which leave it no third colour: its degrees differ."""

    nodes: int = 6
    edges: int = 10

    def build(self) -> TaskRules:
        @lane
        def deal(s: Any, tables: Any) -> None:
            s.truth, s.pair = 0, 0
            for v in range(5):
                s.edge[v, 0], s.edge[v, 1] = v, (v + 1) % 5
                s.edge[5 + v, 0], s.edge[5 + v, 1] = v, 5
                s.planted[v] = v % 2
            s.planted[5] = 2

        return replace(super().build(), sample=deal)


def worth(task: Coloring) -> float:
    """The best of all deterministic pairs of provers: for each of the first, the second's best colour of each node."""
    tree, n = Enumerator(resolve(task, MultiProver(), "two_provers")), task.nodes
    ((_, state),) = tree.deals()
    wins = np.zeros((n, 3, n, 3))  # node color node color: probability that the nodes are asked, and the colours accepted
    seen: set[tuple[int, ...]] = set()
    for p, first in tree.sayings(state, VERIFIER, agents["reference"]):
        if first in seen:
            continue
        seen.add(first)
        p = sum(q for q, again in tree.sayings(state, VERIFIER, agents["reference"]) if again == first)
        ((_, asked, _),) = tree.step(state, {VERIFIER: first})
        for color in range(3):
            ((_, answered, _),) = tree.step(asked, {0: (color,)})
            for q, second in tree.sayings(answered, VERIFIER, agents["reference"]):
                ((_, asked_both, _),) = tree.step(answered, {VERIFIER: second})
                for other in range(3):
                    ((_, done, _),) = tree.step(asked_both, {1: (other,)})
                    ((_, verdict),) = tree.sayings(done, VERIFIER, agents["reference"])
                    wins[first[0], color, second[0], other] += p * q * verdict[0]
    return max(sum(wins[v, c] for v, c in enumerate(colors)).max(1).sum() for colors in product(range(3), repeat=n))


@pytest.mark.parametrize(("task", "fewest"), [(Complete(nodes=4, edges=6), 1), (Complete(nodes=5, edges=10), 2), (Wheel(), 1)])
def test_two_provers_of_a_false_colouring_do_as_well_as_stated_and_no_better(task: Coloring, fewest: int) -> None:
    error = 1 - Fraction(fewest, 2 * task.edges)
    assert worth(task) == pytest.approx(float(error))
    spec = resolve(task, MultiProver(), "two_provers")
    planted = find_agent("planted", spec)
    together = expected_return(Enumerator(spec), {"prover_0": planted, "prover_1": planted, "verifier": agents["reference"]})
    assert together == pytest.approx([float(error), float(error), 1 - 2 * float(error)])  # both are paid, the verifier pays
    if fewest == 1:
        assert task.rules.proofs["two_provers"].soundness_error == pytest.approx(float(error))


@pytest.mark.parametrize(("protocol", "value"), [(MultiProver(), 11 / 12), (Overheard(), 1.0)])
def test_a_false_colouring_is_always_believed_once_a_prover_hears_the_other(protocol: MultiProver, value: float) -> None:
    spec = resolve(Complete(nodes=4, edges=6), protocol, "two_provers")
    others = {"prover_0": find_agent("planted", spec), "verifier": agents["reference"]}
    assert best_response(Enumerator(spec), "prover_1", others)[0] == pytest.approx(value)


def seen_by(prover: str, protocol: MultiProver, said: list[int]) -> torch.Tensor:
    """All a prover sees, turn by turn, of games of the same seed in which node, colour, node, colour are said."""
    game, seen = Game(resolve(Coloring(), protocol, "two_provers"), 20, seed=3), []
    for symbol in (*said, 1):
        seen.append(game.observe(prover).packed.clone())
        game.actions.fill_(symbol)
        game.step()
    return torch.stack([*seen, game.observe(prover).packed])


def test_nothing_a_prover_sees_depends_on_what_the_other_is_asked_or_answers() -> None:
    base = [3, 0, 5, 1]
    for slot, other in ((0, 7), (1, 2), (2, 8), (3, 2)):
        changed = [*base[:slot], other, *base[slot + 1 :]]
        for i, prover in enumerate(("prover_0", "prover_1")):
            same = torch.equal(seen_by(prover, MultiProver(), base), seen_by(prover, MultiProver(), changed))
            assert same == (slot // 2 != i)
    assert not torch.equal(seen_by("prover_1", Overheard(), base), seen_by("prover_1", Overheard(), [7, *base[1:]]))
    assert not torch.equal(seen_by("prover_1", Overheard(), base), seen_by("prover_1", Overheard(), [3, 2, *base[2:]]))


def test_of_one_message_each_both_must_pass() -> None:
    task = Arith(operations=2, modulus=3)
    spec = resolve(task, MultiProver())
    assert [row.turn for row in spec.rows] == [0, 0, 1]
    assert [column.field.name for column in spec.view(0) if column.origin == "said"] == ["partial"]
    assert [column.row.slot for column in spec.view(1) if column.row] == [1]
    game = Game(spec, 4)
    for name, value in task.parse("0 + 1 + 1 = 2 (mod 3)").items():
        game.field(name).copy_(torch.from_numpy(value)[None].expand_as(game.field(name)))
    game.field("truth").fill_(1)
    game.actions[:, 0, 0], game.actions[:, 1, 0] = torch.tensor([1, 1, 0, 2]), torch.tensor([1, 2, 1, 2])
    game.step()
    game.speak((None, None, agents["reference"]))
    assert game.step().tolist() == [[1, 1, 1], [0, 0, -1], [0, 0, -1], [0, 0, -1]]


def test_rounds_go_to_the_provers_in_turn() -> None:
    rows = resolve(Twice(), MultiProver()).rows
    assert [(*row.speakers, *row.hearers) for row in rows] == [
        ("verifier", "prover_0"),
        ("prover_0", "verifier"),
        ("verifier", "prover_1"),
        ("prover_1", "verifier"),
        ("verifier",),
    ]


def test_a_proof_of_two_provers_is_played_by_two() -> None:
    assert default_protocol(Coloring(), "two_provers") == MultiProver()
    for protocol in (InteractiveProof(), Consultancy()):
        with pytest.raises(ValueError, match="'two_provers': "):
            resolve(Coloring(), protocol, "two_provers")


@pytest.mark.parametrize(
    ("task", "proof", "says"),
    [
        (Coloring(), "commitment", r"'commitment': each prover would see what is made of the other's messages, \['opened'\]"),
        (Lookup(), None, "'cell': evidence is of one message, and two are heard"),
        (Different(), None, r"'coin': .* an even number of rounds; the script is \('question', 'message'\)"),
        (
            Arith(),
            "bisection",
            r"'bisection': .* questions and messages in an even number of rounds; the script is \('message', 'ch",
        ),
        (SparseDigits(), None, "it is about acceptance, and the task has 10 answers"),
    ],
)
def test_proofs_that_do_not_fit_are_refused(task: Any, proof: str | None, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        resolve(task, MultiProver(), proof)
