"""debate and open_debate: who wins before a judge that adds up, who is paid, who hears what."""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import Any

import numpy as np
import pytest
from exhibits import Exhibits
from numpy.typing import NDArray
from toys import Bit, Different, Lookup

from pvg.agent import agents
from pvg.enumerator import Enumerator, State
from pvg.extensive_form import best_response
from pvg.game import Game
from pvg.protocol import Protocol
from pvg.protocols.debate import JUDGE, Debate
from pvg.protocols.open_debate import OpenDebate
from pvg.spec import resolve
from pvg.tasks import Arith, Connectivity, Matching
from pvg.tasks.sparse_digits import SparseDigits

REFERENCE = agents["reference"]

# Whatever of the three exhibits is shown, answer 2 weighs most; the first speaks for 0 against 1, the others for 1 against 0.
THIRD = (((50, 0, 900), (0, 20, 900), (0, 40, 900)),)


def random_cases(cases: int, exhibits: int) -> tuple[Any, ...]:
    points = np.random.default_rng(0).integers(0, 1000, (cases, exhibits, 3))
    return tuple(tuple(tuple(int(p) for p in exhibit) for exhibit in case) for case in points)


# Who wins.


def top_outweighs_bottom(speaks_for_truth: NDArray[np.int64], moves: tuple[int, int]) -> bool:
    """The best so many for the truth against the worst so many."""
    ranked = np.sort(speaks_for_truth)[::-1]
    return bool(ranked[: moves[0]].sum() > -ranked[len(ranked) - moves[1] :].sum())


def truth_wins(speaks_for_truth: NDArray[np.int64], shown: int, honest_first: bool) -> bool:
    """By minimax over the sets of exhibits that are shown, each at most once."""

    @cache
    def wins(so_far: frozenset[int]) -> bool:
        if len(so_far) == shown:
            return sum(int(speaks_for_truth[exhibit]) for exhibit in so_far) > 0
        after = (wins(so_far | {exhibit}) for exhibit in range(len(speaks_for_truth)) if exhibit not in so_far)
        return any(after) if (len(so_far) % 2 == 0) == honest_first else all(after)

    return wins(frozenset())


@pytest.mark.parametrize("shown", [2, 4])
def test_by_minimax_the_truth_wins_iff_its_best_half_outweighs_the_worst_whoever_begins(shown: int) -> None:
    generator, outcomes = np.random.default_rng(shown), Counter[bool]()
    while sum(outcomes.values()) < 400:
        speaks_for_truth = generator.integers(-1000, 1001, 8)
        if min((speaks_for_truth > 0).sum(), (speaks_for_truth < 0).sum()) < shown // 2:
            continue
        wins = top_outweighs_bottom(speaks_for_truth, (shown // 2, shown // 2))
        for honest_first in (True, False):
            assert truth_wins(speaks_for_truth, shown, honest_first) == wins
        outcomes[wins] += 1
    assert min(outcomes.values()) > 100


def solved(tree: Enumerator, state: State) -> bool:
    """Whether the debater who argues for the truth is paid when both play as well as can be, before the reference judge."""
    (role,) = tree.acting(state)
    if role == JUDGE:
        ((_, verdict),) = tree.sayings(state, role, REFERENCE)
        ((_, _, reward),) = tree.step(state, {role: verdict})
        assert reward[:2].sum() == 1
        return bool(reward[list(state["side"][0]).index(state["truth"][0])] == 1)
    after = (next(tree.step(state, {role: (exhibit,)}))[1] for exhibit in range(*tree.alphabet(state, role)))
    outcomes = (solved(tree, position) for position in after)
    return any(outcomes) if state["side"][0, role] == state["truth"][0] else all(outcomes)


def every_deal(task: Exhibits) -> list[tuple[bool, NDArray[np.int64], bool]]:
    """Of each deal under a sequential, precommitted debate: whether the honest debater begins, how much each exhibit speaks for
    the truth against the lie, and whether the truth wins.
    """
    tree = Enumerator(resolve(task, Debate()))
    results = []
    for _, state in tree.deals():
        truth, sides = int(state["truth"][0]), [int(side) for side in state["side"][0, :2]]
        (lie,) = set(sides) - {truth}
        points = task.tables["points"][int(state["case"][0])].astype(np.int64)
        results.append((sides[0] == truth, points[:, truth] - points[:, lie], solved(tree, state)))
    return results


def test_on_the_engine_the_truth_wins_iff_its_best_half_outweighs_the_worst_whoever_begins() -> None:
    deals = every_deal(Exhibits(random_cases(4, 6), shown=4))
    assert len(deals) == 4 * 3 * 2 * 2
    for _, speaks_for_truth, wins in deals:
        # Who has nothing to show for itself shows again what was shown, which adds nothing.
        of_use = np.sort(speaks_for_truth)[[0, 1, -2, -1]]
        of_use = np.concatenate([np.minimum(of_use[:2], 0), np.maximum(of_use[2:], 0)])
        assert wins == top_outweighs_bottom(of_use, (2, 2))
    assert 0.2 < np.mean([wins for _, _, wins in deals]) < 0.8


def test_of_an_odd_number_of_messages_whoever_has_one_more_has_the_advantage() -> None:
    deals = every_deal(Exhibits(random_cases(6, 5), shown=3))
    by_instance: dict[bytes, dict[bool, bool]] = {}
    for honest_first, speaks_for_truth, wins in deals:
        by_instance.setdefault(speaks_for_truth.tobytes(), {})[honest_first] = wins
    assert all(wins[True] >= wins[False] for wins in by_instance.values())
    assert sum(wins[True] for wins in by_instance.values()) > 1.5 * sum(wins[False] for wins in by_instance.values())


def test_a_debater_of_a_proof_beats_whoever_argues_for_what_is_false() -> None:
    tree = Enumerator(resolve(Arith(operations=2, modulus=2), Debate(honest="second")))
    best, _ = best_response(tree, "first", {"second": agents["honest"], "judge": REFERENCE})
    assert best == 0


def test_scripted_debaters_of_a_proof_end_in_the_right_verdict_however_often_they_speak() -> None:
    game = Game(resolve(Arith(operations=3, modulus=3), Debate(turns=2, order="simultaneous", questions=3)), 2000)
    returns = game.play()
    truth, side = game.field("truth"), game.field("side")
    assert (game.field("verdict") == truth).all()
    for debater in range(2):
        assert (returns[:, debater] == (side[:, debater] == truth)).all()
    assert (side[:, 0] + side[:, 1] == 1).all()


# Who is paid what.


def at_the_verdict(protocol: Protocol, task: Exhibits, said: dict[int, tuple[int, ...]]) -> tuple[Enumerator, list[State]]:
    """The tree, and the positions of all deals before the judge, its speakers having said the next of what they are to say."""
    tree = Enumerator(resolve(task, protocol))
    waiting, left = [(state, said) for _, state in tree.deals()], []
    while waiting:
        state, to_say = waiting.pop()
        speakers = tree.acting(state)
        if speakers == [JUDGE]:
            left.append(state)
            continue
        onward = {role: symbols[1:] if role in speakers else symbols for role, symbols in to_say.items()}
        for _, after, reward in tree.step(state, {role: to_say[role][:1] for role in speakers}):
            assert not reward.any()
            waiting.append((after, onward))
    return tree, left


@pytest.mark.parametrize("precommit", [True, False])
def test_debaters_are_paid_for_their_answers_or_the_liar_for_any_wrong_one(precommit: bool) -> None:
    tree, positions = at_the_verdict(Debate(precommit=precommit), Exhibits(THIRD), {0: (0,), 1: (2,)})
    assert len(positions) == 3 * 2 * 2
    for state in positions:
        truth, sides = int(state["truth"][0]), [int(side) for side in state["side"][0, :2]]
        assert truth in sides
        assert sides[0] != sides[1]
        assert state["stated"][0].tolist() == sides
        for verdict in range(4):
            ((_, over, reward),) = tree.step(state, {JUDGE: (verdict,)})
            assert over["turn"][0] < 0
            liar_wins = verdict in sides if precommit else verdict < 3
            wins = [verdict == truth if side == truth else verdict != truth and liar_wins for side in sides]
            assert reward.tolist() == [*map(float, wins), 0.0 if verdict == 3 else 1.0 if verdict == truth else -1.0]


@pytest.mark.parametrize("precommit", [True, False])
def test_with_stated_answers_the_judge_decides_between_them_and_without_over_all(precommit: bool) -> None:
    tree, positions = at_the_verdict(Debate(precommit=precommit), Exhibits(THIRD), {0: (0,), 1: (2,)})
    for state in positions:
        sides = {int(side) for side in state["side"][0, :2]}
        ((_, (verdict,)),) = tree.sayings(state, JUDGE, REFERENCE)
        assert verdict == (2 if 2 in sides or not precommit else 0)


def test_of_answers_that_weigh_the_same_the_judge_takes_the_lower() -> None:
    tree, positions = at_the_verdict(Debate(), Exhibits((((7, 7, 7),) * 3,)), {0: (0,), 1: (2,)})
    for state in positions:
        assert list(tree.sayings(state, JUDGE, REFERENCE)) == [(1.0, (int(state["stated"][0].min()),))]


# Who says what when, and who knows what.


def table(protocol: Protocol, shown: int) -> list[tuple[int, str, str, int | None]]:
    rows = resolve(Exhibits(THIRD, shown), protocol).rows
    return [(row.turn, *row.speakers, row.kind, row.slot) for row in rows]  # type: ignore[misc]


def test_debaters_alternate_or_speak_at_once_and_the_judge_asks_between_rounds() -> None:
    assert table(Debate(), 3) == [
        (0, "first", "message", 0),
        (1, "second", "message", 1),
        (2, "first", "message", 2),
        (3, "judge", "verdict", None),
    ]
    assert table(Debate(order="simultaneous", questions=2), 5) == [
        (0, "first", "message", 0),
        (0, "second", "message", 1),
        (1, "judge", "question", 5),
        (2, "first", "message", 2),
        (2, "second", "message", 3),
        (3, "judge", "question", 6),
        (4, "first", "message", 4),
        (5, "judge", "verdict", None),
    ]
    assert table(OpenDebate(questions=2), 4) == [
        (0, "protagonist", "answer", 5),
        (1, "protagonist", "message", 0),
        (2, "antagonist", "message", 1),
        (3, "judge", "question", 4),
        (4, "protagonist", "message", 2),
        (5, "antagonist", "message", 3),
        (6, "judge", "verdict", None),
    ]
    assert len(resolve(Arith(), Debate(turns=3)).rows) == 7
    for row in resolve(Exhibits(THIRD, 4), OpenDebate(questions=2)).rows[:-1]:
        assert {*row.speakers, *row.hearers} == {"protagonist", "antagonist", "judge"}


def test_the_judge_knows_the_answers_iff_they_are_stated_and_debaters_their_own_side() -> None:
    for protocol, judge_knows in ((Debate(), True), (Debate(precommit=False), False), (OpenDebate(), True)):
        spec = resolve(Exhibits(THIRD), protocol)
        known = [{column.field.name for column in spec.view(role)} for role in range(3)]
        assert ("stated" in known[JUDGE]) == judge_knows
        assert not {"side", "case"} & known[JUDGE]
        assert {"stated", "side", "case"} <= known[0] & known[1]


def test_who_argues_for_the_truth_is_set_or_drawn() -> None:
    task = Exhibits(THIRD)
    for honest, truthful in (("first", {0}), ("second", {1}), ("drawn", {0, 1})):
        deals = [state for _, state in Enumerator(resolve(task, Debate(honest=honest))).deals()]  # type: ignore[arg-type]
        assert {list(state["side"][0, :2]).index(state["truth"][0]) for state in deals} == truthful
        lies = Counter((int(state["truth"][0]), int(side)) for state in deals for side in state["side"][0, :2])
        assert {pair: n for pair, n in lies.items() if pair[0] != pair[1]} == dict.fromkeys(
            [(truth, lie) for truth in range(3) for lie in range(3) if lie != truth], len(truthful)
        )


def test_messages_of_a_round_are_heard_together_and_questions_by_both() -> None:
    game = Game(resolve(Exhibits(THIRD, shown=4), Debate(order="simultaneous", questions=3)), 4)
    assert game.acting.tolist() == [[True, True, False]] * 4
    game.actions[:, 0, 0], game.actions[:, 1, 0] = 1, 2
    game.step()
    for role in ("first", "second", "judge"):
        seen = game.observe(role)
        assert (seen["exhibit_0"].tolist(), seen["exhibit_1"].tolist()) == ([1] * 4, [2] * 4)
    game.actions[:, JUDGE, 0] = 2
    game.step()
    assert game.observe("second")["question"].tolist() == game.observe("first")["question"].tolist() == [2] * 4
    assert game.field("points")[:, :, 0].tolist() == [[0, 0, -1, -1]] * 4
    game.play()
    assert (game.field("said")[:, 4, 0] == 0).all()


# open_debate.


def test_the_antagonist_gets_the_truth_or_a_wrong_answer_and_all_hear_both() -> None:
    tree = Enumerator(resolve(Exhibits(THIRD), OpenDebate()))
    for _, state in tree.deals():
        truth = int(state["truth"][0])
        assert state["side"][0].tolist() == [-1] * 3
        assert state["stated"][0].tolist() == [-1] * 2
        for pick in range(3):
            after = list(tree.step(state, {0: (pick,)}))
            against = {int(position["side"][0, 1]): p for p, position, _ in after}
            assert against == ({truth: 1.0} if pick != truth else dict.fromkeys({0, 1, 2} - {truth}, 0.5))
            for _, position, _ in after:
                assert position["stated"][0].tolist() == position["side"][0, :2].tolist() == [pick, int(position["side"][0, 1])]


def test_a_dishonest_protagonist_picks_the_truth_half_the_time_and_an_honest_one_always() -> None:
    tree = Enumerator(resolve(Exhibits(THIRD), OpenDebate()))
    for _, state in tree.deals():
        truth = int(state["truth"][0])
        picks: Counter[int] = Counter()
        for p, (pick,) in tree.sayings(state, 0, agents["dishonest"]):
            picks[pick] += p  # type: ignore[assignment]
        assert picks == {answer: 0.5 if answer == truth else 0.25 for answer in range(3)}
        assert list(tree.sayings(state, 0, agents["honest"])) == [(1.0, (truth,))]


def test_open_debaters_are_paid_for_the_answer_they_argue() -> None:
    tree, positions = at_the_verdict(OpenDebate(), Exhibits(THIRD), {0: (1, 0), 1: (2,)})
    assert len(positions) == 4  # of truth 1, one of two wrong answers is the antagonist's
    for state in positions:
        truth, sides = int(state["truth"][0]), [int(side) for side in state["side"][0, :2]]
        ((_, decided),) = tree.sayings(state, JUDGE, REFERENCE)
        assert decided == ((2,) if sides[1] == 2 else (0,))
        for verdict in range(4):
            ((_, _, reward),) = tree.step(state, {JUDGE: (verdict,)})
            judged = 0.0 if verdict == 3 else 1.0 if verdict == truth else -1.0
            assert reward.tolist() == [verdict == sides[0], verdict == sides[1], judged]


def test_open_debate_of_a_proof_finds_the_truth_whatever_is_picked() -> None:
    game = Game(resolve(Arith(operations=3, modulus=3), OpenDebate()), 2000)
    game.play()
    right = game.field("side")[:, 0] == game.field("truth")
    assert 0.4 < float(right.float().mean()) < 0.6
    assert (game.field("verdict") == game.field("truth")).all()


# What does not fit.


@pytest.mark.parametrize(
    ("task", "protocol", "why"),
    [
        (
            Different(),
            Debate(),
            r"'coin': it needs one message, or several that are weighed; the script is \('question', 'message'\)",
        ),
        (Lookup(), Debate(), r"'cell': evidence is kept of one message, and it hears several"),
        (Bit(), OpenDebate(), r"'word': of one message it must prove 1 of two answers; of 2 it proves \(0, 1\)"),
        (Arith(), Debate(questions=2), r"questions=2: none is asked before the first round, and there is no other"),
        (Exhibits(THIRD), Debate(turns=2), r"turns=2: the script of 2 messages says how often each debater speaks"),
        (SparseDigits(pixels=1), Debate(), r"'one_pixel_a_turn': of one message it must prove 1 of two answers; of 10 it proves"),
    ],
)
def test_a_proof_that_cannot_be_debated_is_refused_with_the_reason(task: Any, protocol: Protocol, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        resolve(task, protocol)


def test_proofs_of_one_side_can_be_debated() -> None:
    for task in (Arith(), Connectivity(), Matching()):
        assert resolve(task, Debate()).turns == resolve(task, OpenDebate()).turns - 1 == 3
    assert resolve(SparseDigits(), Debate()).proof_name == "one_pixel_a_turn"


@pytest.mark.parametrize(
    ("kind", "setting", "complaint"),
    [
        (Debate, {"order": "both"}, "Debate: order='both' is neither 'sequential' nor 'simultaneous'"),
        (Debate, {"honest": "judge"}, "Debate: honest='judge' is none of 'drawn', 'first' and 'second'"),
        (Debate, {"precommit": None}, "Debate: precommit=None is neither True nor False"),
        (Debate, {"turns": 0}, r"Debate: turns=0 is outside 1\.\.16"),
        (OpenDebate, {"turns": 17}, r"OpenDebate: turns=17 is outside 1\.\.16"),
        (OpenDebate, {"questions": 1}, r"OpenDebate: questions=1 is neither 0 nor in 2\.\.1024"),
    ],
)
def test_bad_settings_are_refused(kind: Any, setting: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        kind(**setting)
