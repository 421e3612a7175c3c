"""prover_estimator: what an honest prover and an honest estimator can count on, exactly on small trees, and what they cannot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from pvg.agent import agents
from pvg.enumerator import Enumerator, State
from pvg.extensive_form import Tree, best_response, expected_return
from pvg.field import Field
from pvg.game import Game
from pvg.lane import lane
from pvg.protocol import ProtocolRules
from pvg.protocols.prover_estimator import ProverEstimator
from pvg.spec import resolve
from pvg.task import Proof, Task, TaskRules
from pvg.tasks import Arith
from pvg.tasks.formula import Formula

PROVER, VERIFIER, ESTIMATOR = 0, 1, 2
HONEST, RANDOM, REFERENCE = agents["honest"], agents["random"], agents["reference"]
AND = Formula(branching=2, depth=1, one_flaw=True)
CAST = {"prover": HONEST, "verifier": REFERENCE}


class Unseen(Formula):
    """A formula whose leaves nobody sees: a flaw that cannot be found."""

    @property
    def statement(self) -> tuple[Field, ...]:
        threshold, _ = super().statement
        return (threshold, Field("leaf", 2, (self.leaves,), seen_by=()))

    @property
    def private(self) -> tuple[Field, ...]:  # type: ignore[override]
        inner, serial = super().private
        return (replace(inner, seen_by=()), serial)


class NoLaw(Formula):
    """A formula of which nothing is known to who does not see the leaves."""

    def build(self) -> TaskRules:
        rules = super().build()
        assert rules.tree is not None
        return TaskRules(rules.sample, tree=type(rules.tree)(2, 3, rules.tree.gate, rules.tree.holds))


class PaidForConfusion(ProverEstimator):
    """The estimator is paid 1 for a wrong verdict and nothing else."""

    def build(self, task: Task, proof: Proof | None) -> ProtocolRules:
        rules = super().build(task, proof)

        @lane
        def pay(s: Any, tables: Any, reward: Any) -> None:
            if s.turn < 0:
                reward[ESTIMATOR] += s.verdict == 1 - s.truth

        return ProtocolRules(rules.deal, pay, rules.after, rules.tell, rules.check)


def won_by_honesty(task: Formula, protocol: ProverEstimator, root: int) -> float:
    """What an honest prover wins on average of a true root, from the best estimator that prices it at root / grid."""
    tree = Tree(
        Enumerator(resolve(task, protocol)),
        ("estimator",),
        CAST,
        given=true_root,
        candidates=lambda state, role: [(root,)] if state["turn"][0] == 0 else None,
    )
    return -best_response(tree, "estimator", CAST)[0]


def true_root(state: State) -> bool:
    return bool(state["truth"][0] == 1)


@dataclass(frozen=True)
class Worst:
    """The least an honest prover wins on average, against every estimator that prices the root at root / grid."""

    b: int
    r: int
    thresholds: Sequence[int]
    leaves: Sequence[int]
    grid: int
    growth: int

    def __call__(self, root: int) -> Fraction:
        gates = (self.b**self.r - 1) // (self.b - 1)
        truth = [0] * gates + list(self.leaves)
        for node in reversed(range(gates)):
            truth[node] = int(sum(truth[self.b * node + 1 + j] for j in range(self.b)) >= self.thresholds[node])

        def bet(level: int, estimate: int, true: bool, outcome: bool) -> Fraction:
            sign = 1 if estimate < self.grid * true else -1 if estimate > self.grid * true else 0
            return self.growth**level * sign * (outcome - Fraction(estimate, self.grid))

        @cache
        def least(node: int, claimed: int, estimate: int, level: int) -> Fraction:
            true = truth[node] == claimed
            if level == self.r:
                return bet(level, estimate, true, true)
            children = [self.b * node + 1 + j for j in range(self.b)]

            def ask(prices: tuple[int, ...], granted: tuple[bool, ...]) -> Fraction:
                if len(prices) == self.b:
                    ones = sum(truth[child] if yes else 1 - truth[child] for child, yes in zip(children, granted, strict=True))
                    cheapest = children[prices.index(min(prices))]
                    won = bet(level, estimate, true, (ones >= self.thresholds[node]) == claimed)
                    return won + least(cheapest, truth[cheapest], min(prices), level + 1)
                return min(
                    sum(
                        chance * ask((*prices, price), (*granted, yes))
                        for yes, chance in ((True, Fraction(price, self.grid)), (False, 1 - Fraction(price, self.grid)))
                        if chance
                    )
                    for price in range(self.grid + 1)
                )

            return ask((), ())

        return least(0, 1, root, 0) / sum(self.growth**k for k in range(self.r + 1))


@pytest.mark.parametrize("growth", [1, 2])
@pytest.mark.parametrize("root", range(7))
def test_an_honest_prover_wins_the_error_at_the_root_from_the_best_estimator_if_growth_is_the_branching(growth, root) -> None:
    won = won_by_honesty(AND, ProverEstimator(6, growth), root)
    assert won == pytest.approx(float(Worst(2, 1, (2,), (1, 1), 6, growth)(root)), abs=1e-6)
    if growth == 2:
        assert won == pytest.approx((1 - root / 6) / 3, abs=1e-6)
    elif root < 6:
        # 1/2 for each leaf gains 3/4 at the root, for it is granted with 1/4, and costs 1/2 at the leaf.
        assert won == pytest.approx((1 - root / 6 - 1 / 4) / 2, abs=1e-6)


@pytest.mark.parametrize("root", [0, 1, 2])
def test_so_it_is_at_two_levels(root: int) -> None:
    task = Formula(branching=2, depth=2, one_flaw=True)
    assert won_by_honesty(task, ProverEstimator(2, 2), root) == pytest.approx((1 - root / 2) / 7, abs=1e-6)


@pytest.mark.parametrize(
    ("thresholds", "leaves"),
    [((2, 2, 2), (1, 1, 1, 1)), ((1, 2, 2), (1, 1, 0, 1)), ((1, 2, 1), (0, 1, 0, 0)), ((1, 1, 1), (0,) * 4)],
)
def test_growth_makes_up_for_doubt_that_is_spread_over_two_levels(thresholds, leaves) -> None:
    values = {growth: [Worst(2, 2, thresholds, leaves, 6, growth)(root) for root in range(7)] for growth in (1, 2, 3)}
    truth = int(values[2][6] == 0)
    for growth in (2, 3):
        assert values[growth] == [abs(truth - Fraction(root, 6)) / (1 + growth + growth**2) for root in range(7)]
    assert min(values[1]) < 0


def test_three_children_need_a_growth_of_three() -> None:
    def won(growth: int) -> list[Fraction]:
        return [Worst(3, 1, (3,), (1, 1, 1), 4, growth)(root) * (1 + growth) for root in range(5)]

    assert won(3) == [1, Fraction(3, 4), Fraction(1, 2), Fraction(1, 4), 0]
    assert won(2) == [Fraction(59, 64), Fraction(43, 64), Fraction(27, 64), Fraction(11, 64), 0]
    task = Formula(branching=3, depth=1, one_flaw=True)
    assert won_by_honesty(task, ProverEstimator(4, 2), 3) == pytest.approx(11 / 64 / 3, abs=1e-6)


def test_an_honest_estimator_loses_nothing_to_the_best_prover_and_the_verdict_is_right_whatever_is_said() -> None:
    tree = Enumerator(resolve(AND, ProverEstimator(6)))
    assert best_response(tree, "prover", {"estimator": HONEST, "verifier": REFERENCE})[0] == 0
    paid = expected_return(tree, {"prover": RANDOM, "estimator": HONEST, "verifier": REFERENCE})
    assert paid == pytest.approx([0, 1, 0])
    for task in (Formula(), Formula.preset("obfuscated")):
        game = Game(resolve(task, ProverEstimator()), 2000, seed=1)
        game.play({"prover": "random", "estimator": "honest"})
        assert torch.equal(game.field("verdict"), game.field("truth"))
        assert not game.returns[:, [PROVER, ESTIMATOR]].any()


def test_the_game_is_zero_sum_between_prover_and_estimator_at_every_step() -> None:
    tree = Enumerator(resolve(AND, ProverEstimator(6)))
    rng, paid = np.random.default_rng(0), set()
    for _, state in tree.deals():
        states = [state]
        while states:
            state = states.pop()
            for role in tree.acting(state):
                symbols = tuple(int(rng.integers(high)) for high in tree.alphabet(state, role))
                for _, after, reward in tree.step(state, {role: symbols}):
                    assert reward[PROVER] == -reward[ESTIMATOR]
                    paid.add(float(reward[PROVER]))
                    states.append(after)
    assert len(paid) > 2


def test_an_estimator_that_wants_nothing_but_a_wrong_verdict_may_get_it_at_a_loss() -> None:
    # 2/6 for the root, 5/6 for each leaf: denied with 1 - 25/36, the prover loses 2/6 and wins no more than 2 * 1/6.
    most, plan = best_response(Enumerator(resolve(AND, PaidForConfusion(6))), "estimator", CAST, given=true_root)
    assert most == pytest.approx(11 / 36)
    cast = {**CAST, "estimator": plan}
    paid = expected_return(Tree(Enumerator(resolve(AND, ProverEstimator(6))), (), cast, given=true_root), cast)
    assert paid[VERIFIER] == pytest.approx(1 - 2 * 11 / 36)
    assert paid[PROVER] == -paid[ESTIMATOR] > 2 / 9 - 1e-6


def test_an_estimator_that_sees_no_leaf_gives_conditional_probabilities_and_takes_nothing_on_trust() -> None:
    game = Game(resolve(AND, ProverEstimator(grid=12, informed=False)), 4000, seed=2)
    for prover in ("honest", "random"):
        game.play({"prover": prover})
        assert (game.field("said")[:, 0, 0] == 6).all()
        first, second = game.field("estimates")[:, 0].T
        answers, granted = game.field("answers")[:, 0], game.field("granted")[:, 0]
        # Of the two leaves either is true with probability 3/4; if one is false the other is true, else true with 2/3.
        assert torch.equal(first, torch.where(answers[:, 0] == 1, 9, 3).to(first.dtype))
        chance = torch.where(answers[:, 0] == granted[:, 0], 8, 12)
        assert torch.equal(second, torch.where(answers[:, 1] == 1, chance, 12 - chance).to(second.dtype))


def test_a_flaw_that_nobody_can_find_still_pays_for_what_the_draws_suppose() -> None:
    task = Unseen(branching=2, depth=1, one_flaw=True)
    tree = Enumerator(resolve(task, ProverEstimator(grid=12, informed=False)))
    best, _ = best_response(tree, "prover", {"estimator": REFERENCE, "verifier": REFERENCE})
    # The second leaf, true with 3/4, is priced 2/3 if the first was granted (3/4), else 1: w_1 (3/4 1/12 + 1/4 1/4).
    assert best == pytest.approx(Fraction(2, 3) * (Fraction(3, 4) / 12 + Fraction(1, 4) / 4))


def played(task: Task, protocol: ProverEstimator, players: dict[str, str], lanes: int = 2000) -> Game:
    game = Game(resolve(task, protocol), lanes, seed=3)
    game.play(players)
    return game


def test_reference_players_do_what_is_said() -> None:
    task = Formula(branching=3, depth=2)
    for players in ({}, {"prover": "honest", "estimator": "random"}):
        game = played(task, ProverEstimator(grid=4, growth=3), players)
        truth = torch.cat([game.field("inner"), game.field("leaf")], 1)
        path, answers, granted = game.field("path").long(), game.field("answers"), game.field("granted")
        estimates, signs = game.field("estimates"), game.field("signs")
        honest = (game.field("truth") == 1) | bool(players)
        children = truth[:, 1:4]
        level = torch.arange(len(path))
        threshold = game.field("threshold")[:, 0]
        right = answers[:, 0] == children
        assert right[honest].all()
        assert torch.equal((answers[:, 0].sum(1) >= threshold)[~honest], torch.ones(int((~honest).sum()), dtype=torch.bool))
        distance = (4 * right - estimates[:, 0]).abs()
        assert torch.equal(distance[level, path[:, 0]][honest], distance.max(1).values[honest])
        assert torch.equal(right[level, path[:, 0]][~honest], right.any(1)[~honest])
        root = game.field("said")[:, 0, 0]
        wanted = 1 - torch.sign(4 * game.field("truth") - root)
        assert torch.equal(signs[:, 0][honest], wanted[honest].to(signs.dtype))
        assert (signs[~honest] == 0).all()
        ones = torch.where(granted[:, 0] == 1, answers[:, 0], 1 - answers[:, 0]).sum(1)
        assert torch.equal(game.field("outcome")[:, 0], (ones >= threshold).to(torch.int8))
        if not players:
            assert (root[game.field("truth") == 1] == 1).all()
            assert (root[game.field("truth") == 0] == 0).all()
            assert (estimates[game.field("truth") == 1] == 1).all()
            assert torch.equal(game.field("verdict")[~honest], game.field("truth")[~honest])


def test_the_verifier_learns_of_one_leaf_whatever_the_size() -> None:
    for task in (Formula(), Formula.preset("obfuscated")):
        spec = resolve(task, ProverEstimator())
        assert not {"leaf", "inner"} & {column.field.name for column in spec.view(VERIFIER)}
        assert {"leaf", "inner"} < {column.field.name for column in spec.view(PROVER)}
        assert {"leaf", "inner"} < {column.field.name for column in spec.view(ESTIMATOR)}
        unseeing = resolve(task, ProverEstimator(informed=False))
        assert not {"leaf", "inner"} & {column.field.name for column in unseeing.view(ESTIMATOR)}
        game = Game(spec, 300, seed=4)
        players = tuple(game.players({"prover": "random", "estimator": "random"}).values())
        while bool((game.field("turn") != 4).all()):
            game.speak(players)
            game.step()
        game.speak(players)
        before, said = game.bytes.clone(), game.actions.clone()
        here = torch.zeros(300, dtype=torch.long)
        for level in range(task.depth):
            here = task.branching * here + 1 + game.field("path")[:, level]
        seen = []
        for there in (False, True):  # every other leaf is another, then the one leaf is
            game.bytes.copy_(before)
            leaf, only = game.field("leaf"), torch.nn.functional.one_hot(here - task.gates, task.leaves).bool()
            leaf.copy_(torch.where(only == there, 1 - leaf, leaf))
            game.step(said)
            seen.append(game.observe(VERIFIER).packed.clone())
        game.bytes.copy_(before)
        game.step(said)
        now = game.observe(VERIFIER).packed
        assert torch.equal(seen[0], now)
        assert bool((seen[1] != now).sum(1).eq(1).all())


def test_a_game_by_hand() -> None:
    game = Game(resolve(AND, ProverEstimator(6)), 2, seed=0)
    game.field("leaf").copy_(torch.tensor([[1, 0], [1, 0]]))
    game.field("inner").fill_(0)
    game.field("truth").fill_(0)

    def say(role: int, *symbols: int) -> list[list[float]]:
        game.actions[:, role, : len(symbols)] = torch.tensor(symbols)
        return [pytest.approx(lane, abs=1e-6) for lane in game.step().tolist()]

    nothing = [[0.0] * 3] * 2
    assert say(ESTIMATOR, 4) == nothing  # the root is true with 2/3
    assert say(PROVER, 2, 1, 1) == nothing  # too high; both leaves are true, it says
    assert say(ESTIMATOR, 6) == nothing  # granted for certain
    assert say(ESTIMATOR, 0) == [[2 / 9, 0.0, -2 / 9]] * 2  # denied: the and of 1, 0 is false; 2/3 - 0, of weight 1/3
    assert game.field("granted").tolist() == [[[1, 0]]] * 2
    assert say(PROVER, 0) == nothing
    assert say(PROVER, 2) == [[0.0, 0.0, 0.0]] * 2  # the first leaf is true, priced 1: nothing is won by too high
    assert game.field("outcome").tolist() == [[0, 1]] * 2
    game.speak((None, REFERENCE, None))
    assert np.allclose(game.step().numpy(), [[0, 1, 0]] * 2)
    assert game.field("verdict").tolist() == [0, 0]  # the bets won something: too high it was
    assert game.over.all()


def test_everybody_hears_everything_that_is_said() -> None:
    spec = resolve(Formula(), ProverEstimator())
    for row in spec.rows[:-1]:
        assert {*row.speakers, *row.hearers} == {"prover", "estimator", "verifier"}


def test_settings_change_the_grid_and_the_weights() -> None:
    coarse, fine = (resolve(AND, ProverEstimator(grid=grid)) for grid in (2, 10))
    assert (int(coarse.alphabet.max()), int(fine.alphabet.max())) == (3, 11)
    for growth, weight in ((1, 1 / 2), (2, 1 / 3)):
        game = Game(resolve(AND, ProverEstimator(6, growth)), 1, seed=0)
        game.field("leaf").fill_(1)
        game.field("inner").fill_(1)
        game.field("truth").fill_(1)
        for role, symbols in ((ESTIMATOR, (0,)), (PROVER, (0, 1, 1)), (ESTIMATOR, (6,)), (ESTIMATOR, (6,))):
            game.actions[:, role, : len(symbols)] = torch.tensor(symbols)
            reward = game.step()
        assert float(reward[0, PROVER]) == pytest.approx(weight)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"grid": 5}, r"ProverEstimator: grid=5 is no even number in 2\.\.100"),
        ({"grid": 0}, r"grid=0 is no even number"),
        ({"grid": 102}, r"grid=102 is no even number"),
        ({"growth": 0}, r"ProverEstimator: growth=0 is outside 1\.\.8"),
        ({"growth": 9}, r"growth=9 is outside"),
    ],
)
def test_a_setting_out_of_range_is_refused(settings, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        ProverEstimator(**settings)


def test_a_task_without_a_tree_or_without_its_law_is_refused() -> None:
    with pytest.raises(ValueError, match=r"ProverEstimator does not fit Arith .*it needs a task with a tree of subclaims"):
        resolve(Arith(), ProverEstimator())
    assert resolve(NoLaw(), ProverEstimator()).proof is None
    with pytest.raises(ValueError, match="an estimator that does not see the leaves needs the law of the tree's values"):
        resolve(NoLaw(), ProverEstimator(informed=False))
