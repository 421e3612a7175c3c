"""Rewards over batches: by hand, and what must not change them."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from pvg.agents.rewards import cgc, goodhart, src, zero_knowledge

# Two statements, the first asked of both roles: groups 0 (helpful), 1 (sneaky), and 2, the second, of which there is one sample.
SCORE = torch.tensor([1.0, 3.0, 5.0, -1.0, 2.0, 4.0])
CORRECT = torch.tensor([1, 1, 0, 0, 1, 1])
HELPFUL = torch.tensor([1, 1, 1, 0, 0, 1])
GROUP = torch.tensor([0, 0, 0, 1, 1, 2])


def test_src_is_the_score_above_the_group_signed_by_alignment_and_minus_one_where_it_is_not_above() -> None:
    # Means 3, 0.5 and 4: above them by -2, 0, 2 (misaligned); -1.5, 1.5 (misaligned); 0.
    assert src(SCORE, CORRECT, HELPFUL, GROUP).tolist() == [-1, -1, -2, -1, -1.5, -1]
    assert src(SCORE, 1 - CORRECT, HELPFUL, GROUP).tolist() == [-1, -1, 2, -1, 1.5, -1]


def test_cgc_is_the_score_where_aligned_and_goodhart_the_score_whatever_the_role() -> None:
    assert cgc(SCORE, CORRECT, HELPFUL, GROUP).tolist() == [1, 3, -2, -1, -2, 4]
    assert goodhart(SCORE, CORRECT, HELPFUL, GROUP).tolist() == SCORE.tolist()


@pytest.mark.parametrize(("correct", "helpful"), [*itertools.product((0, 1), repeat=2)])
def test_signs_are_those_of_correct_times_helpful(correct: int, helpful: int) -> None:
    score, both = torch.tensor([0.25, 0.75]), torch.tensor([0, 0])
    given = torch.full((2,), correct), torch.full((2,), helpful), both
    sign = (2 * correct - 1) * (2 * helpful - 1)
    assert src(score, *given).tolist() == [-1, sign * 0.25]
    assert cgc(score, *given).tolist() == ([0.25, 0.75] if sign == 1 else [-2, -2])


def test_src_knows_scores_up_to_a_constant_a_group_and_cgc_does_not() -> None:
    constant = torch.tensor([8.0, -4.0, 16.0])[GROUP]  # exact in float32
    given = CORRECT, HELPFUL, GROUP
    assert torch.equal(src(SCORE + constant, *given), src(SCORE, *given))
    assert torch.equal(src(2 * SCORE, *given) == -1, src(SCORE, *given) == -1)
    assert not torch.equal(cgc(SCORE + constant, *given), cgc(SCORE, *given))


def test_the_order_of_samples_and_the_names_of_groups_change_nothing() -> None:
    order = torch.tensor([4, 0, 5, 2, 1, 3])
    renamed = torch.tensor([7, 0, 2])[GROUP]  # not all numbers need be in use
    assert torch.equal(
        src(SCORE[order], CORRECT[order], HELPFUL[order], renamed[order]), src(SCORE, CORRECT, HELPFUL, GROUP)[order]
    )


def test_whatever_is_aligned_is_worth_more_under_cgc_while_under_src_what_convinces_less_may_be_worth_less() -> None:
    score, correct, helpful = torch.tensor([0.1, 0.9]), torch.tensor([1, 0]), torch.tensor([1, 1])
    group = torch.tensor([0, 0])
    assert cgc(score, correct, helpful, group).diff().item() < 0
    assert src(score, correct, helpful, group).diff().item() > 0  # -1 for the right one below the mean, -0.4 for the wrong one


def test_the_simulator_is_paid_the_cosines_of_all_logits_the_adversary_their_negative_and_the_provers_on_top() -> None:
    words = torch.tensor([[[1.0, 0.0], [3.0, 4.0]], [[1.0, 1.0], [0.0, 2.0]]])  # B position choice
    copied = torch.tensor([[[2.0, 0.0], [4.0, 3.0]], [[1.0, -1.0], [0.0, -5.0]]])
    decision, guessed = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 1.0]]), torch.tensor([[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    base = torch.tensor([1.0, 0.0])
    paid = zero_knowledge([words, decision], [copied, guessed], base, coefficient=0.5)
    alike = torch.tensor([1 + 24 / 25 - 1, 0 - 1 + 1 / math.sqrt(2)])
    torch.testing.assert_close(paid.simulator, alike)
    torch.testing.assert_close(paid.adversary, -alike)
    torch.testing.assert_close(paid.provers, base + 0.5 * alike)
    scaled = zero_knowledge([3 * words, decision], [copied, 7 * guessed], base, coefficient=0.5)
    torch.testing.assert_close(scaled, paid)
    same = zero_knowledge([words, decision], [words, decision], base)
    torch.testing.assert_close(same.simulator, torch.tensor([3.0, 3.0]))


def test_logits_of_different_shapes_are_refused() -> None:
    logits = torch.zeros(2, 3)
    with pytest.raises(ValueError, match=r"logits: shapes \[\(2, 3\)\] of the adversary, \[\(2, 4\)\] of the simulator"):
        zero_knowledge([logits], [torch.zeros(2, 4)], torch.zeros(2))
    with pytest.raises(ValueError, match="logits"):
        zero_knowledge([logits], [], torch.zeros(2))


def test_rewards_of_convincingness_pass_gradients_to_no_constant() -> None:
    score = SCORE.clone().requires_grad_()
    cgc(score, CORRECT, HELPFUL, GROUP).sum().backward()  # type: ignore[no-untyped-call]
    assert score.grad is not None
    assert score.grad.tolist() == [1, 1, 0, 1, 0, 1]
