"""The solver: games of known value, every result against another way to it, and against OpenSpiel."""

from __future__ import annotations

import math
import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from toys import Bit, Different, DrawnSpeaker, EarlyDecision, HiddenSlot, PrivateCoin

from pvg.agent import Observation, agents
from pvg.agents.networks import build
from pvg.agents.play import play
from pvg.enumerator import Enumerator
from pvg.extensive_form import Tree, best_response, expected_return
from pvg.field import Field
from pvg.game import Game
from pvg.lane import draw, lane
from pvg.protocol import Protocol, ProtocolRules, Role, Row, next_turn
from pvg.protocols import Bisection, ProverVerifier
from pvg.solver import backward_induction, efg, exploitability, sequence_form
from pvg.spec import resolve
from pvg.task import Proof, Task, TaskRules, Values
from pvg.tasks import Arith, ErasureChannel

HONEST, REFERENCE, RANDOM = agents["honest"], agents["reference"], agents["random"]


@dataclass(frozen=True)
class TwoCards(Task):
    """Two of three cards, one for each seat."""

    @property
    def statement(self) -> tuple[Field, ...]:
        return (Field("one", 3, seen_by=("prover",)), Field("two", 3, seen_by=("verifier",)))

    def build(self) -> TaskRules:
        @lane
        def sample(s: Any, tables: Any) -> None:
            s.one = draw(s, 3)
            s.two = (s.one + 1 + draw(s, 2)) % 3
            s.truth = 1 if s.one > s.two else 0

        return TaskRules(sample)

    def render(self, values: Values) -> str:
        return f"{values['one']} {values['two']}"

    def parse(self, text: str) -> dict[str, Any]:
        one, two = text.split()
        return {"one": np.array(one, dtype=np.int8), "two": np.array(two, dtype=np.int8)}


@dataclass(frozen=True)
class Kuhn(Protocol):
    """Kuhn poker (Kuhn 1950): pass or bet, and after pass and bet the first player once more. Worth -1/18 to the first player."""

    roles = (Role("first", "prover", minimum=-2.0), Role("second", "verifier", minimum=-2.0))
    table = (
        Row(0, ("first",), "bet", 0, ("second",)),
        Row(1, ("second",), "bet", 1, ("first",)),
        Row(2, ("first",), "bet", 2, ("second",)),
    )

    def kinds(self, task: Task, proof: Proof | None) -> dict[str, tuple[Field, ...]]:
        return {"bet": (Field("bet", 2),)}

    def build(self, task: Task, proof: Proof | None) -> ProtocolRules:
        @lane
        def deal(s: Any, tables: Any) -> None:
            pass

        @lane
        def after(s: Any, tables: Any) -> Any:
            if s.turn == 1 and not (s.said[0, 0] == 0 and s.said[1, 0] == 1):
                return -1
            return s.turn + 1

        @lane
        def pay(s: Any, tables: Any, reward: Any) -> None:
            if s.turn < 0:
                high = 1 if s.truth == 1 else -1
                answer = s.said[2, 0] if s.said[0, 0] == 0 else s.said[1, 0]
                won = high
                if s.said[0, 0] == 1 or s.said[1, 0] == 1:
                    better = 1 if s.said[0, 0] == 1 else -1
                    won = 2 * high if answer == 1 else better
                reward[0] += won
                reward[1] -= won

        return ProtocolRules(deal, pay, after)


@dataclass(frozen=True)
class Forgetful(Protocol):
    """Two verdicts in a row, the first of which is kept nowhere its speaker could see it."""

    roles = (Role("verifier", "verifier", minimum=-2.0),)
    table = (Row(0, ("verifier",), "verdict"), Row(1, ("verifier",), "verdict"))

    def build(self, task: Task, proof: Proof | None) -> ProtocolRules:
        @lane
        def pay(s: Any, tables: Any, reward: Any) -> None:
            reward[0] += s.verdict == s.truth

        @lane
        def deal(s: Any, tables: Any) -> None:
            pass

        return ProtocolRules(deal, pay, next_turn)


def enumerator(task: Task, protocol: Protocol) -> Enumerator:
    return Enumerator(resolve(task, protocol))


@cache
def kuhn() -> Tree:
    return Tree(enumerator(TwoCards(), Kuhn()), ("first", "second"))


@cache
def halving() -> Tree:
    return Tree(enumerator(Arith(operations=3, modulus=2), Bisection()), ("prover", "challenger"), {"verifier": REFERENCE})


@cache
def hidden() -> Tree:
    return Tree(enumerator(Bit(), HiddenSlot()), ("prover", "verifier"), {"rival": RANDOM})


@cache
def channel() -> Tree:
    return Tree(enumerator(ErasureChannel(length=2), ProverVerifier()), ("prover", "verifier"))


@cache
def sums() -> Tree:
    return Tree(enumerator(Arith(operations=2, modulus=3), ProverVerifier()), ("prover", "verifier"))


def mixed(tree: Tree, seed: int) -> dict[str, dict[bytes, dict[tuple[int, ...], float]]]:
    """A strategy of every role, drawn."""
    generator, cast = np.random.default_rng(seed), {}
    for sets in tree.sets:
        drawn = [generator.dirichlet(np.ones(len(actions))) for actions in sets.actions]
        cast[sets.role] = tree.strategy(sets.role, np.concatenate([[1.0], *drawn]))
    return cast


# Known values.


@pytest.mark.parametrize(("role", "value"), [("first", -1 / 18), ("second", 1 / 18)])
def test_kuhn_poker_is_worth_an_eighteenth(role: str, value: float) -> None:
    found = sequence_form(kuhn(), role)
    other = "second" if role == "first" else "first"
    assert found.value == pytest.approx(value, abs=1e-9)
    assert found.bound == "exact"
    assert exploitability(kuhn(), {role: found.strategy, other: found.against}).nash_conv == pytest.approx(0, abs=1e-9)
    # Mixing is needed: the best pure strategies are worth less against their best responses.
    assert any(len(said) > 1 for said in (*found.strategy.values(), *found.against.values()))


def test_uniform_play_of_kuhn_poker_is_exploited_by_eleven_twelfths() -> None:
    found = exploitability(kuhn(), {"first": RANDOM, "second": RANDOM})
    assert found.gain == pytest.approx({"first": 0.375, "second": 0.5 + 1 / 24}, abs=1e-9)
    assert found.nash_conv == pytest.approx(11 / 12)


def test_a_word_hidden_until_it_is_opened_is_guessed_once_in_three_and_then_known() -> None:
    assert sequence_form(hidden(), "verifier").value == pytest.approx(1 / 3 + 1)


def test_nobody_learns_a_bit_from_one_who_wants_it_hidden() -> None:
    tree = Tree(enumerator(Bit(), EarlyDecision()), ("prover", "verifier"))
    assert sequence_form(tree, "verifier").value == pytest.approx(0)


@pytest.mark.parametrize(("seen", "worth"), [(False, 0.0), (True, 1 / 2)])
def test_what_merlin_guarantees_beside_any_morgana(seen: bool, worth: float) -> None:
    tree = Tree(enumerator(Bit(erased=False), DrawnSpeaker(seen)), ("verifier", "morgana"), {"merlin": HONEST})
    assert sequence_form(tree, "verifier").value == pytest.approx(worth)


def test_a_private_coin_is_guessed_half_the_time_where_the_claim_is_false() -> None:
    game = enumerator(Different(), PrivateCoin())
    tree = Tree(game, ("prover",), {"verifier": REFERENCE}, given=lambda s: s["truth"][0] == 0)
    assert best_response(tree, "prover", {})[0] == pytest.approx(1 / 2)


def test_whoever_is_right_wins_the_bisection_of_a_small_arith() -> None:
    tree = halving()
    solved = backward_induction(tree)
    assert solved.value.tolist() == pytest.approx([1 / 2, 1 / 2, 1])
    assert sequence_form(tree, "prover").value == pytest.approx(1 / 2)
    assert exploitability(tree, solved.strategies).nash_conv == pytest.approx(0)
    for truth in (0, 1):
        given = Tree(tree.enumerator, tree.roles, {"verifier": REFERENCE}, given=lambda s, truth=truth: s["truth"][0] == truth)
        assert backward_induction(given).value.tolist() == pytest.approx([truth, 1 - truth, 1])


def test_a_verifier_who_can_solve_the_task_needs_no_prover() -> None:
    assert backward_induction(sums()).value.tolist() == pytest.approx([1 / 2, 1])
    assert sequence_form(sums(), "verifier").value == pytest.approx(1)


def test_a_guarantee_is_less_than_what_a_prover_paid_for_acceptance_leaves() -> None:
    tree, task = channel(), ErasureChannel(length=2)
    (ones,) = {m for _, state in tree.enumerator.deals() for _, m in tree.enumerator.sayings(state, 0, HONEST) if sum(m)}
    prover = dict.fromkeys(tree.sets[0].information, ones)
    best, verifier = best_response(tree, "verifier", {"prover": prover})
    assert best == pytest.approx(2 * task.bayes_accuracy - 1)
    assert exploitability(tree, {"prover": prover, "verifier": verifier}).gain == pytest.approx({"prover": 0, "verifier": 0})
    assert sequence_form(tree, "verifier").value == pytest.approx(0)  # one who wants it wrong says nothing of use


# Ways to the same number.


def test_a_best_response_attains_its_value_and_no_other_role_gains_from_an_equilibrium() -> None:
    for tree in (kuhn(), hidden(), channel()):
        cast = mixed(tree, seed=1)
        for role in tree.roles:
            value, plan = best_response(tree, role, cast)
            spec = tree.enumerator.spec
            assert expected_return(tree, {**cast, role: plan})[spec.role_index(role)] == pytest.approx(value)
            # What others play may be decided or be part of chance.
            rest = {other: cast[other] for other in tree.roles if other != role}
            rest |= {"rival": RANDOM} if tree is hidden() else {}
            assert best_response(tree.enumerator, role, rest)[0] == pytest.approx(value)


def test_a_tree_played_by_everyone_pays_what_the_enumerator_pays() -> None:
    cast = mixed(channel(), seed=2)
    assert expected_return(channel(), cast) == pytest.approx(expected_return(channel().enumerator, cast))
    played = {"prover": HONEST, "verifier": REFERENCE}
    assert expected_return(sums(), played) == pytest.approx(np.array([0.5, 1.0]))


def test_networks_are_evaluated_exactly() -> None:
    tree = sums()
    spec = tree.enumerator.spec
    networks = {role: build("mlp", spec, role, seed=3, width=16) for role in tree.roles}
    policies = {role: network.probabilities for role, network in networks.items()}
    exact = expected_return(tree, policies)
    game = Game(spec, 20_000, seed=0)
    experience = play(game, networks, tree.roles)
    for i, role in enumerate(tree.roles):
        paid = experience[role].reward.sum(0)
        assert float(paid.mean()) == pytest.approx(exact[i], abs=5 * float(paid.std()) / math.sqrt(len(paid)))
    # The prover's best response is the message that is accepted most readily, statement by statement.
    verifier = networks["verifier"]
    sets = tree.sets[0]
    best = 0.0
    for p, state in tree.enumerator.deals():
        messages = torch.arange(3, dtype=torch.int32)[None, :, None]
        seen = Observation(torch.from_numpy(tree.enumerator.observed(state, 1)), spec.view(1))
        best += p * float(verifier.verdict(seen, messages).max())  # type: ignore[operator]
    found = exploitability(tree, policies)
    assert found.gain["prover"] == pytest.approx(best - exact[0], abs=1e-6)
    assert best_response(tree, "verifier", policies)[0] == pytest.approx(1)
    assert len(sets.information) == len(tree.strategy("prover", tree.behaviour("prover", policies["prover"])))


# What is restricted, and what is refused.


def test_restricted_candidates_bound_a_value_from_the_side_they_help() -> None:
    game = enumerator(TwoCards(), Kuhn())

    def passing(state: NDArray[Any], role: str) -> list[tuple[int]] | None:
        return [(0,)] if role == "first" else None

    tree = Tree(game, ("first", "second"), candidates=passing)
    assert tree.restricted == {"first"}
    mine, theirs = sequence_form(tree, "first"), sequence_form(tree, "second")
    assert (mine.bound, theirs.bound) == ("lower", "upper")
    assert mine.value < -1 / 18
    assert theirs.value == pytest.approx(-mine.value)
    # Whoever neither bets nor calls loses its ante to one who always bets.
    assert mine.value == pytest.approx(-1)
    assert exploitability(tree, mixed(tree, 0)).bound == "lower"
    with pytest.raises(ValueError, match=r"strategy of 'first': it says \(1,\), which is not among the 1 utterances offered"):
        tree.behaviour("first", RANDOM)


def test_candidates_may_not_give_away_what_their_role_does_not_know() -> None:
    with pytest.raises(ValueError, match=r"candidates: 'second' is offered different utterances at positions it cannot tell"):
        Tree(
            enumerator(TwoCards(), Kuhn()),
            ("first", "second"),
            candidates=lambda state, role: [(int(state["one"][0]) % 2,)] if role == "second" else None,
        )


def test_a_tree_past_its_limit_is_refused_with_how_far_it_came() -> None:
    with pytest.raises(ValueError, match=r"limit=50: TwoCards\(\) under Kuhn\(\) has at least 60 positions by step 1"):
        Tree(enumerator(TwoCards(), Kuhn()), ("first", "second"), limit=50)


def test_backward_induction_refuses_what_is_hidden_and_what_is_simultaneous() -> None:
    with pytest.raises(ValueError, match=r"'first' cannot tell 2 positions apart at turn 0 \(it does not see all"):
        backward_induction(kuhn())
    tree = Tree(enumerator(Bit(), HiddenSlot()), ("prover", "rival"), {"verifier": RANDOM})
    with pytest.raises(ValueError, match=r"'rival' cannot tell 3 positions apart at turn 0 \(it speaks simultaneously"):
        backward_induction(tree)


def test_a_role_that_forgets_its_own_choice_is_refused() -> None:
    tree = Tree(enumerator(TwoCards(), Forgetful()), ("verifier",))
    with pytest.raises(ValueError, match=r"'verifier' has no perfect recall: it knows the same \(turn \[1\], two \[\d\]\)"):
        best_response(tree, "verifier", {})


def test_a_role_nobody_plays_and_a_third_that_decides_are_refused() -> None:
    game = enumerator(Arith(operations=3, modulus=2), Bisection())
    with pytest.raises(ValueError, match=r"nobody plays \['verifier'\]"):
        Tree(game, ("prover", "challenger"))
    with pytest.raises(ValueError, match=r"nobody plays \['challenger'\]"):
        exploitability(halving(), {"prover": HONEST})
    with pytest.raises(ValueError, match=r"role 'verifier' does not decide in this tree: prover, challenger do"):
        sequence_form(halving(), "verifier")
    with pytest.raises(ValueError, match=r"two roles that decide, and here 1 do: prover"):
        sequence_form(Tree(game, ("prover",), {"challenger": HONEST, "verifier": REFERENCE}), "prover")
    with pytest.raises(ValueError, match="given: it holds for no deal"):
        Tree(game, ("prover",), {"challenger": HONEST, "verifier": REFERENCE}, given=lambda s: False)


def test_a_strategy_that_is_none_is_refused() -> None:
    tree = kuhn()
    plan = tree.strategy("first", tree.behaviour("first", RANDOM))
    at = next(iter(plan))
    lacking = {known: said for known, said in plan.items() if known != at}
    with pytest.raises(ValueError, match=r"strategy of 'first': it does not say what to do at turn \[0\], one \[\d\]"):
        tree.behaviour("first", lacking)
    with pytest.raises(ValueError, match=r"no distribution \(its probabilities add up to 0.5\)"):
        tree.behaviour("first", {**plan, at: {(0,): 0.5}})
    with pytest.raises(ValueError, match=r"expected probabilities \(\d+, 2\), got \(\d+, 3\)"):
        tree.behaviour("first", lambda observation, actions: torch.ones(len(observation.packed), 3))
    prophet = Tree(enumerator(Bit(), HiddenSlot()), ("verifier",), {"prover": RANDOM, "rival": RANDOM})
    with pytest.raises(ValueError, match="'prophet' as 'verifier' tells apart what the role cannot"):
        prophet.behaviour("verifier", PROPHET)


def _guess_what_is_hidden(spec: Any, role: int) -> Any:
    @lane
    def act(s: Any, tables: Any, out: Any) -> None:
        out[0] = s.said[0, 0]

    return act


PROPHET = type(HONEST)("prophet", _guess_what_is_hidden, "reads the whole record")


# OpenSpiel. Its wheels are for every platform but Macs with an Intel processor.

no_wheel = pytest.mark.skipif(sys.platform == "darwin" and platform.machine() == "x86_64", reason="OpenSpiel has no wheel")


class Spiel(NamedTuple):
    """What OpenSpiel says of strategies: each role's return, its best response's, and the sum of what they gain."""

    returns: list[float]
    best: list[float]
    nash_conv: float


def openspiel(tree: Tree, cast: Mapping[str, Any]) -> Spiel:
    """The tree and a strategy for every role, both handed over to OpenSpiel."""
    import pyspiel
    from open_spiel.python import policy
    from open_spiel.python.algorithms import best_response as responses
    from open_spiel.python.algorithms import expected_game_score
    from open_spiel.python.algorithms import exploitability as algorithms

    game = pyspiel.load_efg_game(efg(tree))
    table = policy.TabularPolicy(game)
    behaviours = [tree.behaviour(role, cast[role]) for role in tree.roles]
    for row, state in enumerate(table.states):
        k = state.current_player()
        infoset = int(state.information_state_string().split("-")[2]) - 1
        sets = tree.sets[k]
        labels = {" ".join(map(str, action)): sets.first[infoset] + a for a, action in enumerate(sets.actions[infoset].tolist())}
        for action in state.legal_actions():
            table.action_probability_array[row, action] = behaviours[k][labels[state.action_to_string(k, action)]]
    root = game.new_initial_state()
    values = expected_game_score.policy_value(root, [table] * len(tree.roles))
    best = [responses.BestResponsePolicy(game, k, table, root).value(root) for k in range(len(tree.roles))]
    return Spiel(list(values), best, float(algorithms.nash_conv(game, table)))


@no_wheel
@pytest.mark.parametrize("game", [kuhn, hidden, channel, sums])
def test_openspiel_finds_the_same_returns_best_responses_and_exploitability(game: Callable[[], Tree]) -> None:
    tree = game()
    columns = [tree.enumerator.spec.role_index(role) for role in tree.roles]
    casts: list[Mapping[str, Any]] = [dict.fromkeys(tree.roles, RANDOM), mixed(tree, seed=4), mixed(tree, seed=5)]
    for cast in casts:
        theirs = openspiel(tree, cast)
        assert expected_return(tree, cast)[columns].tolist() == pytest.approx(theirs.returns, abs=1e-9)
        assert [best_response(tree, role, cast)[0] for role in tree.roles] == pytest.approx(theirs.best, abs=1e-9)
        assert exploitability(tree, cast).nash_conv == pytest.approx(theirs.nash_conv, abs=1e-9)


@no_wheel
@pytest.mark.parametrize(("game", "zero_sum"), [(kuhn, True), (hidden, False), (channel, False)])
def test_openspiel_holds_a_guarantee_to_its_value(game: Callable[[], Tree], zero_sum: bool) -> None:
    tree = game()
    for k, role in enumerate(tree.roles):
        found, other = sequence_form(tree, role), tree.roles[1 - k]
        # Its strategy gets the value from the other's minimising strategy, which no strategy of the role improves on.
        theirs = openspiel(tree, {role: found.strategy, other: found.against})
        assert [theirs.returns[k], theirs.best[k]] == pytest.approx([found.value, found.value], abs=1e-8)
        assert not zero_sum or theirs.nash_conv == pytest.approx(0, abs=1e-8)


@no_wheel
def test_kuhn_poker_is_openspiels() -> None:
    import pyspiel
    from open_spiel.python import policy
    from open_spiel.python.algorithms import exploitability as algorithms

    game = pyspiel.load_game("kuhn_poker")
    theirs = algorithms.nash_conv(game, policy.UniformRandomPolicy(game))
    assert exploitability(kuhn(), {"first": RANDOM, "second": RANDOM}).nash_conv == pytest.approx(theirs)
