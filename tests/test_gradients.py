"""Gradients written by hand are those automatic differentiation finds."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from pvg.agents.networks.base import how_likely
from pvg.agents.networks.mlp import OneHot, RowSum
from pvg.agents.team import clip


def test_log_probability_and_entropy_have_the_gradients_of_their_definitions() -> None:
    draws = torch.Generator().manual_seed(0)
    plain = torch.randn((6, 3, 4), generator=draws, dtype=torch.float64)
    plain[0, 0, 3] = plain[2, 1, 1] = -torch.inf  # what cannot be said
    plain[5, 2, :3] = -torch.inf  # all but one
    symbols = plain.argmax(2)
    symbols[1] = 2
    weights = torch.randn((2, 6), generator=draws, dtype=torch.float64) * 3
    found, expected = plain.clone().requires_grad_(), plain.clone().requires_grad_()
    p = expected.softmax(2)
    said = p.gather(2, symbols[:, :, None])[:, :, 0].log().sum(1)
    entropy = -(p * p.clamp(min=1e-300).log()).sum((1, 2))
    values = how_likely(found, symbols)
    torch.testing.assert_close(torch.stack(values), torch.stack([said, entropy]))
    (weights * torch.stack(values)).sum().backward()
    (weights * torch.stack([said, entropy])).sum().backward()
    possible = plain.isfinite()  # elsewhere a definition by division has no gradient
    assert found.grad is not None
    assert expected.grad is not None
    torch.testing.assert_close(found.grad[possible], expected.grad[possible])
    assert found.grad[~possible].count_nonzero() == 0


def test_they_have_second_derivatives_too() -> None:
    draws = torch.Generator().manual_seed(1)
    scores = torch.randn((2, 2, 3), generator=draws, dtype=torch.float64).requires_grad_()
    symbols = torch.tensor([[0, 2], [1, 1]])
    assert torch.autograd.gradgradcheck(lambda scores: how_likely(scores, symbols), scores)
    table = torch.randn((5, 3), generator=draws, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda table: RowSum.apply(torch.tensor([[0, 3], [1, 4]]), table) ** 2, table)


def test_a_sum_of_rows_has_the_gradient_of_a_product_with_one_hot_indices() -> None:
    layer = OneHot([3, 2, 4], 5)
    values = torch.tensor([[0, 1, 3], [2, 1, 0], [0, 0, 0], [0, 1, 3]])
    hot = torch.cat([F.one_hot(values[:, i], high) for i, high in enumerate([3, 2, 4])], 1).float()
    weights = torch.randn((4, 5), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(layer(values), hot @ layer.table)
    (found,) = torch.autograd.grad((layer(values) * weights).sum(), layer.table)
    torch.testing.assert_close(found, hot.T @ weights)


def test_gradients_are_clipped_to_a_joint_norm_and_left_alone_below_it() -> None:
    long, short = [torch.tensor([3.0, 0.0]), torch.tensor([[4.0]])], [torch.tensor([0.3])]
    clip(long)
    clip(short)
    clip([])
    torch.testing.assert_close(long, [torch.tensor([0.6, 0.0]), torch.tensor([[0.8]])])
    torch.testing.assert_close(short, [torch.tensor([0.3])])
