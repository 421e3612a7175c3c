"""zero_knowledge: what an honest verifier sees can be made up without the prover, and a bad simulator is found out."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

import pvg
from pvg.agent import agents
from pvg.enumerator import Enumerator
from pvg.extensive_form import best_response
from pvg.lane import LaneFunction, draw, lane
from pvg.protocols import InteractiveProof
from pvg.protocols.zero_knowledge import DISTINGUISHER, ZeroKnowledge, transcript_distance
from pvg.spec import resolve
from pvg.task import Task, TaskRules
from pvg.tasks import Arith, Coloring, GraphIso, GraphNonIso
from pvg.testing import check_numbers

PAIR: dict[str, Any] = {"nodes": 3, "pool": 1, "scores": (1, 0, 0), "fresh": False}


def with_simulator(rules: TaskRules, proof: str, simulate: LaneFunction, sample: LaneFunction | None = None) -> TaskRules:
    proofs = {**rules.proofs, proof: replace(rules.proofs[proof], simulate=simulate)}
    return replace(rules, proofs=proofs, sample=sample or rules.sample)


@dataclass(frozen=True)
class Path(Coloring):
    """The path 0-1-2, which can be coloured: too small for Coloring, small enough to enumerate."""

    nodes: int = 3
    edges: int = 2
    rounds: int = 1

    def __post_init__(self) -> None:
        pass

    @property
    def tables(self) -> dict[str, Any]:
        return {"graph": np.zeros((1, 2, 2, 2), np.int8), "color": np.zeros((1, 3), np.int8)}

    def build(self) -> TaskRules:
        @lane
        def sample(s: Any, tables: Any) -> None:
            s.truth = 1
            s.planted[1] = 1
            for e in range(2):
                s.edge[e, 0], s.edge[e, 1] = e, e + 1

        return replace(super().build(), sample=sample)


class SomeColors(Path):
    """Its simulator opens three of the six pairs of colours."""

    def build(self) -> TaskRules:
        rules = super().build()
        edges, rounds = self.edges, self.rounds

        @lane
        def simulate(s: Any, tables: Any) -> None:
            for k in range(rounds):
                for v in range(3):
                    s.said[2 * k, v] = 0
                s.said[2 * k + 1, 0] = draw(s, edges)
                s.opened[k, 0] = color = draw(s, 3)
                s.opened[k, 1] = (color + 1) % 3

        return with_simulator(rules, "commitment", simulate)


class FirstGraph(GraphIso):
    """Its simulator foresees the coin 0 alone."""

    def build(self) -> TaskRules:
        rules, rounds = super().build(), self.rounds
        proof = rules.proofs["zero_knowledge"]
        honest, evidence = proof.honest, proof.evidence
        assert evidence is not None

        @lane
        def simulate(s: Any, tables: Any) -> None:
            for slot in range(0, 3 * rounds, 3):
                honest(s, tables, 1, slot, s.said[slot])
                evidence(s, tables, slot)
                s.said[slot + 1, 0] = 0
                honest(s, tables, 1, slot + 2, s.said[slot + 2])

        return with_simulator(rules, "zero_knowledge", simulate)


class Mistaken(GraphNonIso):
    """Its simulator guesses coins in the prover's stead, and so is right half the time."""

    def build(self) -> TaskRules:
        rules, rounds = super().build(), self.rounds
        evidence = rules.proofs["private_coin"].evidence
        assert evidence is not None

        @lane
        def simulate(s: Any, tables: Any) -> None:
            for slot in range(0, 2 * rounds, 2):
                s.said[slot, 0], s.said[slot + 1, 0] = draw(s, 2), draw(s, 2)
                evidence(s, tables, slot)

        return with_simulator(rules, "private_coin", simulate)


@pytest.mark.parametrize(
    ("task", "proof", "distance"),
    [
        (Path(rounds=2), "commitment", 0),
        (GraphIso(rounds=1, **PAIR), "zero_knowledge", 0),
        (GraphNonIso(rounds=1, **PAIR), "private_coin", 0),
        (SomeColors(rounds=2), "commitment", 3 / 4),  # 1 - (1/2)^k: what it never shows gives the truth away
        (FirstGraph(rounds=1, **PAIR), "zero_knowledge", 1 / 2),
        (Mistaken(rounds=1, **PAIR), "private_coin", 1 / 2),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Task) else None,
)
def test_perfect_simulators_are_at_distance_zero_and_others_at_the_distance_counted_by_hand(
    task: Task, proof: str, distance: float
) -> None:
    assert transcript_distance(task, proof) == pytest.approx(distance, abs=1e-9)


def test_the_best_distinguisher_gains_half_the_total_variation_between_the_views() -> None:
    task = SomeColors(rounds=2)
    tree = Enumerator(resolve(task, ZeroKnowledge()))
    views: dict[bytes, list[float]] = defaultdict(lambda: [0.0, 0.0])
    cast = {0: agents["honest"], 1: agents["reference"]}
    todo = list(tree.deals())
    while todo:
        p, state = todo.pop()
        (role,) = tree.acting(state)
        if role == DISTINGUISHER:
            views[tree.information(state, role)][int(state["side"][0, role])] += p
            continue
        for q, said in tree.sayings(state, role, cast[role]):
            todo += [(p * q * r, after) for r, after, _ in tree.step(state, {role: said})]
    weights = np.array([*views.values()])
    assert weights.sum(0) == pytest.approx([0.5, 0.5])
    variation = np.abs(weights[:, 1] - weights[:, 0]).sum()
    players = {"prover": agents["honest"], "verifier": agents["reference"]}
    value, plan = best_response(tree, "distinguisher", players)
    assert value == pytest.approx(1 / 2 + variation / 2)
    assert len(plan) == len(views) == 144  # an edge and a pair of colours, twice
    assert sorted({round(float(simulated), 12) for simulated, _ in weights}) == pytest.approx([0, 1 / 2 / 36])


def test_games_are_real_or_simulated_and_true_statements_alone_are_paid_for() -> None:
    lanes = 2000
    game = pvg.game(GraphNonIso(rounds=2, nodes=5), ZeroKnowledge(), num_envs=lanes, seed=4)
    genuine = game.field("side")[:, DISTINGUISHER].bool()
    assert 900 < int(genuine.sum()) < 1100
    assert torch.equal(game.field("turn") == 0, genuine)
    assert torch.equal(game.field("turn") == 4, ~genuine)
    assert torch.equal(game.field("said")[:, :4, 0].min(1).values >= 0, ~genuine)
    game.advance(game.players(), "distinguisher")
    assert (game.field("turn") == 4).all()
    true = game.field("truth") == 1
    assert torch.equal(game.field("said")[true, :4:2], game.field("said")[true, 1:4:2])  # either way every coin is guessed
    opinion = torch.arange(lanes) % 2
    actions = torch.zeros_like(game.actions)
    actions[:, DISTINGUISHER, 0] = opinion
    paid = game.step(actions)
    assert torch.equal(paid[:, DISTINGUISHER], (true & (opinion == genuine)).float())
    assert not paid[:, :DISTINGUISHER].any()
    assert 0 < int(true.sum()) < lanes


def test_nobody_but_chance_plays_the_distinguisher_unless_told_otherwise() -> None:
    game = pvg.game(GraphNonIso(rounds=2, nodes=5), ZeroKnowledge(), num_envs=2000, seed=5)
    paid = game.play()[game.field("truth") == 1, DISTINGUISHER].mean()
    assert 0.45 < float(paid) < 0.55
    with pytest.raises(ValueError, match=r"no reference verifier of zero_knowledge, private_coin says \['opinion'\]"):
        game.play({"distinguisher": "reference"})


def test_the_distinguisher_sees_what_the_verifier_sees_and_not_what_is_hidden_from_it() -> None:
    spec = resolve(GraphNonIso(rounds=1), ZeroKnowledge())
    assert [column.field.name for column in spec.view(DISTINGUISHER)][:5] == ["first", "second", "challenge", "coin", "guess"]
    spec = resolve(Coloring(rounds=1), ZeroKnowledge())
    names = [column.field.name for column in spec.view(DISTINGUISHER)]
    assert names == ["edge", "opened", "asked", "genuine"]
    spec = resolve(GraphIso(rounds=1), ZeroKnowledge())
    names = [column.field.name for column in spec.view(DISTINGUISHER)]
    assert names == ["first", "second", "shown", "opened_0", "coin", "opened_2", "genuine"]


class Forgotten(Coloring):
    """The prover is given no colouring."""

    def build(self) -> TaskRules:
        rules, n = super().build(), self.nodes
        sample = rules.sample

        @lane
        def without(s: Any, tables: Any) -> None:
            sample(s, tables)
            for v in range(n):
                s.planted[v] = 0

        return replace(rules, sample=without)


def test_the_simulator_of_commitments_needs_no_coloring() -> None:
    seen = []
    for task in (Coloring(rounds=4), Forgotten(rounds=4)):
        game = pvg.game(task, ZeroKnowledge(), num_envs=300, seed=6)
        seen.append(game.observe("distinguisher").packed[game.field("side")[:, DISTINGUISHER] == 0])
        assert (game.field("planted").amax(1) == 0).all() == isinstance(task, Forgotten)
    assert torch.equal(*seen)


@dataclass(frozen=True)
class EdgeAndNone(GraphIso):
    """Two nodes, joined in the first graph alone."""

    nodes: int = 2
    rounds: int = 1
    pool: int = 1

    def build(self) -> TaskRules:
        @lane
        def sample(s: Any, tables: Any) -> None:
            s.truth = s.family = 0
            for i in range(2):
                for j in range(2):
                    s.first[i, j], s.second[i, j] = i != j, 0

        return replace(super().build(), sample=sample)


def test_no_prover_has_a_copy_of_both_graphs() -> None:
    tree = Enumerator(resolve(EdgeAndNone(), InteractiveProof(), "zero_knowledge"))
    value, _ = best_response(tree, "prover", {"verifier": agents["reference"]})
    assert value == pytest.approx(1 / 2)


def test_the_proof_of_isomorphism_is_complete_and_its_soundness_error_as_stated() -> None:
    task = GraphIso(rounds=3)
    assert task.rules.proofs["zero_knowledge"].soundness_error == 1 / 2**3
    check_numbers(task, proof="zero_knowledge", games=20_000)


def test_a_wrong_map_is_refused_and_what_is_of_no_use_is_ignored() -> None:
    game = pvg.game(GraphIso(nodes=6, rounds=1), proof="zero_knowledge", num_envs=400, seed=7)
    cast = game.players({"prover": "honest"})
    verdicts = {}
    for change in ("nothing", "unused", "two nodes", "one node twice"):
        game.seed(7)
        for turn in range(4):
            game.speak(tuple(cast.values()))  # type: ignore[arg-type]
            opened = game.actions[:, 0, 7:13]
            if turn == 0 and change == "unused":
                opened[:] = 5
            if turn == 2 and change == "unused":
                game.actions[:, 0, :7] = 1
            if turn == 2 and change == "two nodes":
                opened[:, :2] = opened[:, :2].flip(1).clone()
            if turn == 2 and change == "one node twice":
                opened[:, 0] = opened[:, 1]
            game.step()
        verdicts[change] = game.field("verdict")[game.field("truth") == 1].float().mean().item()
    assert verdicts["nothing"] == verdicts["unused"] == 1
    assert verdicts["one node twice"] == 0
    assert 0 < verdicts["two nodes"] < 0.5  # an isomorphism still where the two are alike


@pytest.mark.parametrize(
    ("task", "proof", "why"),
    [
        (
            Arith(),
            None,
            "'transcript': the proof has no simulator; 'bisection': it needs messages and questions; the proof's script",
        ),
        (GraphIso(), "one_node_a_turn", "the proof has no simulator"),
    ],
)
def test_what_does_not_fit_is_refused_and_told_why(task: Task, proof: str | None, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        resolve(task, ZeroKnowledge(), proof)
