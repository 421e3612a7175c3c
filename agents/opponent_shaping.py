"""Gradients of players who reckon with each other's learning, from their losses alone: LookAhead, LOLA and SOS.

Player i of n has weights w_i and loss L_i(w_1 .. w_n), twice differentiable. All gradients here are flat: one vector a player,
its weights in the order they are given.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

Weights = Sequence[Tensor]


def flat_gradient(loss: Tensor, weights: Weights, *, differentiable: bool = False) -> Tensor:
    """d loss / d weights as one vector, 0 where the loss does not depend on a weight; `loss` can be differentiated again."""
    if not loss.requires_grad:
        return torch.cat([torch.zeros_like(part).flatten() for part in weights])
    parts = torch.autograd.grad(loss, list(weights), create_graph=differentiable, retain_graph=True, materialize_grads=True)
    return torch.cat([part.flatten() for part in parts])


class Terms(NamedTuple):
    """What the gradients below are made of: a vector a player each.

    own: xi_i = d L_i / d w_i. anticipated: (H_o xi)_i = sum over j != i of (d2 L_i / dw_i dw_j) xi_j, how i's gradient changes as
    the others step. shaping: chi_i = sum over j != i of (d2 L_j / dw_j dw_i)^T d L_i / dw_j, how i's step changes theirs.
    """

    own: list[Tensor]
    anticipated: list[Tensor]
    shaping: list[Tensor]


def terms(losses: Sequence[Tensor], weights: Sequence[Weights]) -> Terms:
    """The terms of losses (0-d, one a player, with their graphs) in the players' weights.

    Source: Letcher, Foerster, Balduzzi, Rocktaeschel & Whiteson 2019.
    """
    first = [[flat_gradient(loss, of, differentiable=True) for of in weights] for loss in losses]  # [i][j]: d L_i / d w_j
    players = range(len(losses))
    anticipated, shaping = [], []
    for i in players:
        others = [j for j in players if j != i]
        moved = torch.stack([first[i][j] @ first[j][j].detach() for j in others]).sum()
        anticipated.append(flat_gradient(moved, weights[i]))
        turned = torch.stack([first[j][j] @ first[i][j].detach() for j in others]).sum()
        shaping.append(flat_gradient(turned, weights[i]))
    return Terms([first[i][i].detach() for i in players], anticipated, shaping)


def look_ahead(found: Terms, rate: float) -> list[Tensor]:
    """xi_0 = xi - rate H_o xi: each player's gradient where the others will be after a step, which it takes as given.

    rate: the learning rate the others are thought to have. Source: Zhang & Lesser 2010.
    """
    return [own - rate * moved for own, moved in zip(found.own, found.anticipated, strict=True)]


def lola(found: Terms, rate: float) -> list[Tensor]:
    """xi_0 - rate chi: each player's gradient of L_i(w_i, w_j - rate d L_j / d w_j) to first order in the rate, the others' step
    seen as a function of its own weights.

    Source: Foerster, Chen, Al-Shedivat, Whiteson, Abbeel & Mordatch 2018.
    """
    return [ahead - rate * chi for ahead, chi in zip(look_ahead(found, rate), found.shaping, strict=True)]


def sos(found: Terms, rate: float, a: float = 0.5, b: float = 0.1) -> tuple[list[Tensor], float]:
    """xi_0 - p rate chi, between LookAhead (p = 0) and LOLA (p = 1); and p.

    p is the least of two: one that keeps a right angle or less with xi_0, min(1, -a |xi_0|^2 / <-rate chi, xi_0>) where that
    product is negative, else 1; and one that leaves the fixed points of xi where they are, |xi|^2 where |xi| < b, else 1.
    Source: Letcher et al. 2019 (stable opponent shaping); 0 < a, b < 1.
    """
    for name, value in (("a", a), ("b", b)):
        if not 0 < value < 1:
            raise ValueError(f"{name}={value} is outside 0..1, ends excluded")
    ahead = look_ahead(found, rate)
    whole, pull = torch.cat(ahead), -rate * torch.cat(found.shaping)
    along, norm = float(pull @ whole), float(torch.linalg.vector_norm(torch.cat(found.own)))
    p = min(1.0 if along >= 0 else min(1.0, -a * float(whole @ whole) / along), norm**2 if norm < b else 1.0)
    return [step - p * rate * chi for step, chi in zip(ahead, found.shaping, strict=True)], p
