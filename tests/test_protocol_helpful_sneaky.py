"""helpful_sneaky: the claim is the prover's own, and keeping to its role is worth most."""

from __future__ import annotations

import math

import pytest
import torch
from toys import Bit

import pvg
from pvg.agent import agents
from pvg.enumerator import Enumerator
from pvg.extensive_form import best_response, expected_return
from pvg.game import Game
from pvg.protocols.helpful_sneaky import HelpfulSneaky
from pvg.spec import resolve
from pvg.task import Task
from pvg.tasks import GCD, Arith, Program, WordProblem
from pvg.tasks.word_problem import ELEMENTS
from pvg.testing import check_numbers

TINY = Arith(operations=2, modulus=3)
REJECT, ACCEPT, DO_NOT_KNOW = 0, 1, 2


def sum_of(game: Game) -> torch.Tensor:
    """The values of Arith's chains without multiplication, `lane`."""
    signs = 1 - 2 * game.field("op").long()
    return (game.field("start").long() + (signs * game.field("x").long()).sum(1)) % game.spec.task.modulus  # type: ignore[attr-defined]


def test_who_is_paid_what() -> None:
    lanes = 600
    game = pvg.game(TINY, HelpfulSneaky(), num_envs=lanes, seed=3)
    helpful, right = game.field("helpful").bool().clone(), sum_of(game)
    stated = torch.arange(lanes) % 3
    assert not game.step(_said(game, 0, stated)).any()
    assert torch.equal(game.field("claim").long(), stated)
    assert torch.equal(game.field("truth").bool(), stated == right)
    assert not game.step(_said(game, 0, torch.zeros(lanes, dtype=torch.long))).any()
    verdict = torch.arange(lanes) // 3 % 3
    paid = game.step(_said(game, 1, verdict))
    aligned, correct = (stated == right) == helpful, (stated == right).long()
    assert torch.equal(paid[:, 0], torch.where(aligned, (verdict == ACCEPT).float(), -1.0))
    expected = torch.where(verdict == DO_NOT_KNOW, 0.0, torch.where(verdict == correct, 1.0, -1.0))
    assert torch.equal(paid[:, 1], expected)
    kinds = torch.stack([aligned, helpful, verdict == ACCEPT], 1).unique(dim=0)
    assert len(kinds) == 8
    assert paid[aligned, 0].min() > paid[~aligned, 0].max()  # whatever the verdict: the first condition
    assert paid[aligned & (verdict == ACCEPT), 0].min() > paid[aligned & (verdict == REJECT), 0].max()  # the second


def _said(game: Game, role: int, first: torch.Tensor) -> torch.Tensor:
    actions = torch.zeros_like(game.actions)
    actions[:, role, 0] = first
    return actions


@pytest.mark.parametrize(("helpful", "worth"), [(1, 1.0), (0, 0.0)])
def test_against_a_complete_and_sound_verifier_the_best_helpful_prover_is_accepted_and_the_best_sneaky_one_never(
    helpful: int, worth: float
) -> None:
    tree = Enumerator(resolve(TINY, HelpfulSneaky()))
    value, _ = best_response(tree, "prover", {"verifier": agents["reference"]}, given=lambda s: s["helpful"][0] == helpful)
    assert value == pytest.approx(worth)


def test_a_verifier_that_is_not_sound_is_deceived_in_each_sneaky_game() -> None:
    tree = Enumerator(resolve(TINY, HelpfulSneaky()))
    credulous = dict.fromkeys(_seen_by_the_verifier(tree), (ACCEPT,))
    for helpful in (0, 1):
        value, _ = best_response(tree, "prover", {"verifier": credulous}, given=lambda s, h=helpful: s["helpful"][0] == h)
        assert value == pytest.approx(1.0)


def _seen_by_the_verifier(tree: Enumerator) -> set[bytes]:
    seen = set()
    for _, dealt in tree.deals():
        for claim in range(3):
            for _, stated, _ in tree.step(dealt, {0: (claim,)}):
                for message in range(3):
                    seen |= {tree.information(after, 1) for _, after, _ in tree.step(stated, {0: (message,)})}
    return seen


def test_the_scripted_players_are_paid_what_follows_from_what_they_do() -> None:
    tree = Enumerator(resolve(TINY, HelpfulSneaky()))
    verifier = agents["reference"]
    # "honest" is right whatever it is told: accepted, and misaligned half the time. A named dishonest prover does what it is told,
    # and is refused when it is wrong.
    assert expected_return(tree, {"prover": agents["honest"], "verifier": verifier}) == pytest.approx([0.0, 1.0])
    liar = pvg.agent.find_agent("true_transcript", tree.spec)
    assert expected_return(tree, {"prover": liar, "verifier": verifier}) == pytest.approx([0.5, 1.0])


def test_the_dishonest_player_does_what_it_is_told_and_the_honest_one_always_solves() -> None:
    game = pvg.game(TINY, HelpfulSneaky(), num_envs=2000, seed=1)
    for prover in ("dishonest", "honest"):
        game.seed(1)
        game.advance(game.players({"prover": prover}))
        helpful, claim, right = game.field("helpful"), game.field("claim").long(), sum_of(game)
        assert 800 < int(helpful.sum()) < 1200
        told = helpful.bool() | (prover == "honest")
        assert torch.equal(claim == right, told)
        assert torch.equal(game.field("verdict").bool(), told)  # right claims are proved, wrong ones cannot be
        if prover == "dishonest":
            assert ((claim - right)[helpful == 0] % 3).unique().tolist() == [1, 2]


def test_only_the_prover_is_told_its_role_and_the_claim_dealt_tells_nothing() -> None:
    game = pvg.game(TINY, HelpfulSneaky(), num_envs=500, seed=0)
    prover, verifier = (game.spec.view(role) for role in (0, 1))
    assert "helpful" in [column.field.name for column in prover]
    assert [column.field.name for column in verifier] == ["start", "op", "x", "claim", "partial"]
    assert not game.field("claim").any()
    assert (game.field("said") == -1).all()
    before = game.observe("verifier")
    game.speak(tuple(agents["honest"] if role == 0 else None for role in range(2)))
    game.step()
    heard = game.observe("verifier")
    assert torch.equal(heard["claim"].long(), sum_of(game))
    assert torch.equal(heard["partial"], before["partial"])
    assert (heard["partial"] == -1).all()


def test_the_claim_is_solved_and_restated_as_the_task_defines_it() -> None:
    tasks: dict[Task, int] = {Arith(multiplication=True): 5, WordProblem(): 5, GCD(limit=99, base=10): 10, Program(): 5}
    for task, high in tasks.items():
        game = pvg.game(task, HelpfulSneaky(), num_envs=200, seed=2)
        game.play({"prover": "honest"})
        assert bool((game.field("truth") == 1).all()), task
        assert bool((game.field("verdict") == 1).all()), task
        values = {f.name: game.field(f.name).clone() for f in (*task.statement, *task.claim)}
        for lane in range(200):
            solution = _solution(task, {name: value[lane] for name, value in values.items()})
            if solution is not None:
                assert values["claim"][lane].reshape(-1).tolist() == solution
        game.redeal()
        wrong = values["claim"].reshape(200, -1).clone()  # of other statements: right by chance, else wrong
        actions = torch.zeros_like(game.actions)
        actions[:, 0, : wrong.shape[1]] = wrong
        game.step(actions)
        claims = game.field("claim").reshape(200, -1)
        assert torch.equal(claims, wrong)
        assert int(claims.max()) < high
        for lane in range(200):
            solution = _solution(task, {f.name: game.field(f.name)[lane] for f in task.statement})
            if solution is not None:
                assert bool(game.field("truth")[lane]) == (wrong[lane].tolist() == solution)


def _solution(task: Task, values: dict[str, torch.Tensor]) -> list[int] | None:
    """What the claim should be, worked out anew; None for a Program."""
    if isinstance(task, Arith):
        state = int(values["start"])
        for op, x in zip(values["op"].tolist(), values["x"].tolist(), strict=True):
            state = (state + x, state - x, state * x)[op] % task.modulus
        return [state]
    if isinstance(task, WordProblem):
        point = int(values["start"])
        for element in values["element"].tolist():
            point = int(ELEMENTS[element, point])
        return [point]
    if isinstance(task, GCD):
        x0, x1 = (int("".join(map(str, values[name].tolist()))) for name in ("x0", "x1"))
        return [int(digit) for digit in f"{math.gcd(x0, x1):0{task.digits}}"]
    return None


def test_a_program_proves_the_claim_it_is_restated_to_if_and_only_if_it_holds() -> None:
    check_numbers(Program(), HelpfulSneaky(), games=2000)


@pytest.mark.parametrize(
    ("task", "proof", "why"),
    [
        (Bit(), None, "the task has no `solve` and `restate`"),
        (Arith(), "bisection", r"its proof is one message; the proof's script is \('message', 'challenge'"),
        (Program(), "spot_check", r"its proof is one message; the proof's script is \('message', 'question'\)"),
    ],
)
def test_what_does_not_fit_is_refused_and_told_why(task: Task, proof: str | None, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        resolve(task, HelpfulSneaky(), proof)
