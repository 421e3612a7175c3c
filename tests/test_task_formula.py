"""Formula: trees of threshold gates, with a flaw in one leaf or anywhere, and the leaves that settle them."""

from __future__ import annotations

import itertools
from collections import Counter
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from pvg.agent import agents
from pvg.enumerator import Enumerator
from pvg.game import Game, game
from pvg.leaks import marginal_leaks
from pvg.protocols import ProverVerifier
from pvg.spec import default_protocol, resolve
from pvg.tasks.formula import Formula
from pvg.testing import check_numbers
from pvg.verifier import ScriptedVerifier, replayed

HARD, OBFUSCATED = Formula.preset("hard"), Formula.preset("obfuscated")
REFERENCE = agents["reference"]


def values(task: Formula, threshold: Any, leaf: Any) -> list[int]:
    """The value of every node, worked out from the leaves."""
    truth = [0] * task.gates + [int(bit) for bit in leaf]
    for node in reversed(range(task.gates)):
        first = task.branching * node + 1
        truth[node] = int(sum(truth[first : first + task.branching]) >= threshold[node])
    return truth


@pytest.mark.parametrize("task", [Formula(), HARD, OBFUSCATED, Formula(branching=4, depth=1)], ids=str)
def test_truth_is_the_value_of_the_root(task: Formula) -> None:
    dealt = game(task, "solo", 300, seed=1)
    for i in range(300):
        known = values(task, dealt.field("threshold")[i], dealt.field("leaf")[i])
        assert dealt.field("inner")[i].tolist() == known[: task.gates]
        assert int(dealt.field("truth")[i]) == known[0]


def test_one_flaw_is_a_single_false_leaf_wherever_the_root_is_false() -> None:
    dealt = game(OBFUSCATED, "solo", 20_000, seed=2)
    flaws = (dealt.field("leaf") == 0).sum(1)
    assert torch.equal(flaws, 1 - dealt.field("truth"))
    where = dealt.field("leaf")[flaws == 1].argmin(1).bincount(minlength=64).double()
    assert float((where - where.mean()).abs().max()) < 5 * float(where.mean()) ** 0.5


def test_children_are_uniform_given_their_gate_and_its_value() -> None:
    task = Formula(branching=3, depth=1)
    dealt = Counter[tuple[int, ...]]()
    for p, state in Enumerator(resolve(task, ProverVerifier())).deals():
        dealt[(int(state["threshold"][0, 0]), int(state["truth"][0]), *state["leaf"][0].tolist())] += Fraction(
            p
        ).limit_denominator()
    ways = {1: (1, 7), 2: (4, 4), 3: (7, 1)}
    for threshold, leaves in itertools.product(ways, itertools.product((0, 1), repeat=3)):
        truth = int(sum(leaves) >= threshold)
        assert dealt[threshold, truth, *leaves] == Fraction(1, 3 * 2 * ways[threshold][truth])


def test_a_game_by_hand() -> None:
    played = Game(resolve(Formula(branching=2, depth=2), ProverVerifier()), 4, seed=0)
    # (0 and 1) or (1 and 1) is true: the last two leaves settle it; the first two, or one of the last, do not.
    played.field("threshold").copy_(torch.tensor([1, 2, 2]).expand(4, -1))
    played.field("leaf").copy_(torch.tensor([0, 1, 1, 1]).expand(4, -1))
    played.field("inner").copy_(torch.tensor([1, 0, 1]).expand(4, -1))
    played.field("truth").fill_(1)
    honest = played.actions.clone()
    played.speak((agents["honest"], None))
    assert played.actions[0, 0, :4].tolist() == [0, 0, 1, 1]
    played.actions.copy_(honest)
    played.actions[:, 0, :4] = torch.tensor([[0, 0, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]])
    played.step()
    assert played.field("shown").tolist() == [[-1, -1, 1, 1], [0, 1, -1, -1], [0, 1, 1, -1], [0, 1, 1, 1]]
    played.speak((None, REFERENCE))
    played.step()
    assert played.field("verdict").tolist() == [1, 0, 0, 1]


def test_of_all_messages_those_are_accepted_whose_leaves_make_the_root_true_whatever_the_others_are() -> None:
    task = Formula(branching=2, depth=2)
    spec = resolve(task, ProverVerifier())
    dealt = Game(spec, 200, seed=3)
    messages = torch.tensor(list(itertools.product((0, 1), repeat=4)))
    able = replayed(spec, 1, dealt.observe("verifier"), dealt.bytes)
    verdicts = ScriptedVerifier(spec).verdict(able, messages.expand(200, -1, -1))
    for i in range(200):
        threshold, leaf = dealt.field("threshold")[i].tolist(), dealt.field("leaf")[i]
        assert verdicts[i].tolist() == [values(task, threshold, leaf * message)[0] for message in messages]


def test_the_honest_certificate_is_minimal() -> None:
    dealt = Game(resolve(HARD, ProverVerifier()), 200, seed=4)
    dealt.play({"prover": "honest", "verifier": "reference"})
    assert torch.equal(dealt.field("verdict"), dealt.field("truth"))
    for i in np.flatnonzero(dealt.field("truth").numpy() == 1):
        threshold, named = dealt.field("threshold")[i].tolist(), dealt.field("said")[i, 0].numpy()
        assert (dealt.field("leaf")[i].numpy()[named == 1] == 1).all()
        assert values(HARD, threshold, named)[0] == 1
        for leaf in np.flatnonzero(named):
            fewer = named.copy()
            fewer[leaf] = 0
            assert values(HARD, threshold, fewer)[0] == 0


@pytest.mark.parametrize("task", [Formula(), OBFUSCATED], ids=str)
def test_numbers_hold(task: Formula) -> None:
    assert default_protocol(task) == ProverVerifier()
    check_numbers(task, games=20_000)


@pytest.mark.parametrize("task", [Formula(), HARD], ids=str)
def test_the_thresholds_say_nothing_of_the_truth(task: Formula) -> None:
    assert not marginal_leaks(task, games=50_000).leaks


def test_a_statement_as_text() -> None:
    task = Formula(branching=2, depth=2)
    text = "at least 1 2 2 of 2 over 0111"
    parsed = task.parse(text)
    assert (parsed["threshold"].tolist(), parsed["leaf"].tolist()) == ([1, 2, 2], [0, 1, 1, 1])
    assert task.render(parsed) == text
    for wrong in ("at least 1 3 2 of 2 over 0111", "at least 1 2 of 2 over 0111", "at least 1 2 2 of 2 over 011", "no formula"):
        with pytest.raises(ValueError, match=r"expected 'at least k \.\. k of 2 over xx\.\.x', 3 thresholds 1\.\.2 and 4 bits"):
            task.parse(wrong)


@pytest.mark.parametrize(
    ("sizes", "why"),
    [
        ({"branching": 1}, r"Formula: branching=1 is outside 2\.\.4"),
        ({"branching": 5}, r"branching=5 is outside"),
        ({"depth": 0}, r"Formula: depth=0 is outside 1\.\.6"),
        ({"branching": 4, "depth": 5}, r"Formula: branching=4 and depth=5 make 1024 leaves, more than 256"),
    ],
)
def test_a_size_out_of_range_is_refused(sizes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Formula(**sizes)
