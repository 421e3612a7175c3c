"""consultancy and open_consultancy: one expert, told what to argue or free to pick it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from exhibits import Exhibits
from toys import Lookup

from pvg.agent import agents
from pvg.enumerator import Enumerator
from pvg.extensive_form import best_response
from pvg.game import Game
from pvg.protocol import Protocol
from pvg.protocols.consultancy import CONSULTANT, JUDGE, Consultancy
from pvg.protocols.open_consultancy import OpenConsultancy
from pvg.spec import resolve
from pvg.tasks import Arith, GraphNonIso, Sorting

REFERENCE = agents["reference"]
CASES = (((50, 0, 10), (0, 20, 10), (0, 40, 90)),)


def test_a_consultant_is_told_the_truth_half_the_time_and_else_each_wrong_answer_as_often() -> None:
    told: Counter[tuple[int, int]] = Counter()
    for p, state in Enumerator(resolve(Exhibits(CASES), Consultancy())).deals():
        told[int(state["truth"][0]), int(state["side"][0, CONSULTANT])] += p  # type: ignore[assignment]
    for (truth, side), p in told.items():
        assert p == pytest.approx((1 / 2 if truth == side else 1 / 4) / 3)
    assert len(told) == 9


def test_only_the_consultant_knows_what_it_is_told() -> None:
    spec = resolve(Exhibits(CASES), Consultancy())
    known = [{column.field.name for column in spec.view(role)} for role in range(2)]
    assert {"side", "case"} <= known[CONSULTANT]
    assert not {"side", "case"} & known[JUDGE]


def test_a_consultant_is_paid_if_the_verdict_is_its_answer_and_the_judge_if_it_is_right() -> None:
    tree = Enumerator(resolve(Exhibits(CASES), Consultancy()))
    for _, dealt in tree.deals():
        state = dealt
        for exhibit in (0, 2):
            ((_, state, reward),) = tree.step(state, {CONSULTANT: (exhibit,)})
            assert not reward.any()
        assert list(tree.sayings(state, JUDGE, REFERENCE)) == [(1.0, (2,))]  # 50, 40, 100
        truth, side = int(state["truth"][0]), int(state["side"][0, CONSULTANT])
        for verdict in range(4):
            ((_, over, reward),) = tree.step(state, {JUDGE: (verdict,)})
            assert over["turn"][0] < 0
            assert reward.tolist() == [verdict == side, 0.0 if verdict == 3 else 1.0 if verdict == truth else -1.0]


def test_a_consultant_of_a_proof_wins_whenever_it_argues_for_what_needs_none_and_never_with_a_false_claim() -> None:
    tree = Enumerator(resolve(Arith(operations=2, modulus=2), Consultancy()))
    for side, truth, most in ((0, 0, 1.0), (0, 1, 1.0), (1, 0, 0.0), (1, 1, 1.0)):
        best, _ = best_response(
            tree,
            "consultant",
            {"judge": REFERENCE},
            given=lambda s, told=(side, truth): (s["side"][0, CONSULTANT], s["truth"][0]) == told,
        )
        assert best == most


def test_scripted_consultants_of_a_proof_say_nothing_that_proves_what_is_false() -> None:
    game = Game(resolve(Arith(operations=3, modulus=7), Consultancy()), 4000)
    game.play()
    side, truth, verdict = game.field("side")[:, CONSULTANT], game.field("truth"), game.field("verdict")
    assert (verdict[truth == 0] == 0).all()
    assert (verdict[(truth == 1) & (side == 1)] == 1).all()
    assert float((verdict[(truth == 1) & (side == 0)] == 0).float().mean()) > 0.9  # 1 in 49 says the proof by chance


def table(protocol: Protocol, shown: int) -> list[tuple[int, str, str, int | None, tuple[str, ...]]]:
    rows = resolve(Exhibits(CASES, shown), protocol).rows
    return [(row.turn, *row.speakers, row.kind, row.slot, row.hearers) for row in rows]  # type: ignore[misc]


def test_the_judge_may_ask_before_every_message_but_the_first() -> None:
    assert table(Consultancy(questions=5), 3) == [
        (0, "consultant", "message", 0, ("judge",)),
        (1, "judge", "question", 3, ("consultant",)),
        (2, "consultant", "message", 1, ("judge",)),
        (3, "judge", "question", 4, ("consultant",)),
        (4, "consultant", "message", 2, ("judge",)),
        (5, "judge", "verdict", None, ()),
    ]
    assert table(OpenConsultancy(questions=5), 2) == [
        (0, "consultant", "answer", 3, ("judge",)),
        (1, "consultant", "message", 0, ("judge",)),
        (2, "judge", "question", 2, ("consultant",)),
        (3, "consultant", "message", 1, ("judge",)),
        (4, "judge", "verdict", None, ()),
    ]
    script = [row.kind for row in resolve(GraphNonIso(), Consultancy()).rows]
    assert script[:2] == ["question", "message"]


def test_the_reference_judge_asks_0_and_a_question_is_heard() -> None:
    game = Game(resolve(Exhibits(CASES), OpenConsultancy(questions=5)), 50)
    game.play()
    assert (game.field("said")[:, 2, 0] == 0).all()
    game.play({"judge": "random"})
    assert game.observe("consultant")["question"].tolist() == game.field("said")[:, 2, 0].tolist()
    assert len(game.field("said")[:, 2, 0].unique()) == 5


def test_an_open_consultant_is_paid_for_the_answer_it_stated_and_the_judge_hears_it() -> None:
    tree = Enumerator(resolve(Exhibits(CASES), OpenConsultancy()))
    for _, dealt in tree.deals():
        assert dealt["side"][0].tolist() == [-1, -1]
        truth, heard = int(dealt["truth"][0]), set()
        for pick in range(3):
            ((_, state, _),) = tree.step(dealt, {CONSULTANT: (pick,)})
            heard.add(tree.information(state, JUDGE))
            for exhibit in (0, 2):
                ((_, state, _),) = tree.step(state, {CONSULTANT: (exhibit,)})
            assert state["side"][0, CONSULTANT] == pick
            for verdict in range(4):
                ((_, _, reward),) = tree.step(state, {JUDGE: (verdict,)})
                assert reward.tolist() == [verdict == pick, 0.0 if verdict == 3 else 1.0 if verdict == truth else -1.0]
        assert len(heard) == 3


def test_stating_an_answer_is_no_evidence() -> None:
    tree = Enumerator(resolve(Lookup(), OpenConsultancy()))
    for _, dealt in tree.deals():
        ((_, state, _),) = tree.step(dealt, {CONSULTANT: (1,)})
        assert state["cell"][0] == -1
        ((_, state, _),) = tree.step(state, {CONSULTANT: (2,)})
        assert state["cell"][0] == dealt["row"][0]


def test_a_dishonest_open_consultant_picks_the_truth_half_the_time_and_an_honest_one_always() -> None:
    tree = Enumerator(resolve(Exhibits(CASES), OpenConsultancy()))
    for _, state in tree.deals():
        truth = int(state["truth"][0])
        picks: Counter[int] = Counter()
        for p, (pick,) in tree.sayings(state, CONSULTANT, agents["dishonest"]):
            picks[pick] += p  # type: ignore[assignment]
        assert picks == {answer: 0.5 if answer == truth else 0.25 for answer in range(3)}
        assert list(tree.sayings(state, CONSULTANT, agents["honest"])) == [(1.0, (truth,))]


@pytest.mark.parametrize(
    ("task", "protocol", "why"),
    [
        (Arith(), Consultancy(questions=2), "questions=2: none is asked before the first round, and there is no other"),
        (GraphNonIso(), Consultancy(questions=2), r"questions=2: the proof's script has questions of its own, \('question', "),
    ],
)
def test_questions_that_would_not_be_asked_are_refused(task: Any, protocol: Protocol, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        resolve(task, protocol)


def test_what_does_not_fit_is_refused() -> None:
    proofs = Sorting().rules.proofs
    alone = next(name for name in proofs if "message" not in proofs[name].script)
    for protocol in (Consultancy(), OpenConsultancy()):
        with pytest.raises(ValueError, match="it needs messages and questions; the proof's script is"):
            resolve(Sorting(), protocol, alone)
        with pytest.raises(
            ValueError, match=r"'bisection': it needs messages and questions; the proof's script is \('message', 'ch"
        ):
            resolve(Arith(), protocol, "bisection")
    with pytest.raises(ValueError, match=r"OpenConsultancy: questions=1025 is neither 0 nor in 2\.\.1024"):
        OpenConsultancy(questions=1025)
