"""Anybody's module as a verifier network: what `package.module:ClassName` names.

The interface, whole (`docs/tutorial.md` uses one):

    class Mine(torch.nn.Module):
        def __init__(self, view, width=64):   # view: the columns the verifier sees, each with field, start, stop, high
            super().__init__()
            self.highest = max(column.high for column in view)
            self.net = nn.Sequential(nn.Linear(view.width * self.highest, width), nn.ReLU(), nn.Linear(width, 1))

        def forward(self, packed):            # N view.width  int64, values 0..high-1; 0: nothing there, where that may be
            return self.net(F.one_hot(packed, self.highest).float().flatten(1))[:, 0]  # N  log odds of acceptance

A subclass of `VerifierNetwork` is taken as it is. Class attributes may say more: `width` and `learning_rate` (64 and 3e-3),
`structural` (it knows how statement and proof align; it is ranked apart, and may refuse games with a ValueError) and `stochastic`
(its verdicts may differ when it is asked again).
"""

from __future__ import annotations

import importlib
import inspect
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pvg.agents.networks.base import VerifierNetwork
from pvg.agents.networks.mlp import MLPProver
from pvg.agents.networks.reading import Given
from pvg.agents.networks.registry import Network
from pvg.spec import Spec


class ModuleVerifier(VerifierNetwork):
    """A module that gives the log odds of acceptance. kind: its class; width: what it is made with, beside the view."""

    relaxed = None  # type: ignore[assignment]  # it reads symbols, not mixtures of them, so no attack may follow its gradient

    def __init__(
        self,
        spec: Spec,
        role: str = "verifier",
        width: int = 64,
        layers: int = 2,
        abstains: bool | None = None,
        *,
        kind: type[nn.Module],
    ) -> None:
        super().__init__(spec, role, abstains)
        if self.outputs != 2:
            raise ValueError(
                f"{kind.__name__}: log odds of acceptance decide between two verdicts, and {role!r} has {self.outputs}"
            )
        self.module = kind(self.view, width)

    def log_probs(self, packed: Tensor, given: Given | None = None) -> Tensor:
        """As in `VerifierNetwork`. ValueError: what the module gives is not one number an observation, on their device."""
        logits = self.module(packed.long())
        named = f"{type(self.module).__name__}, {self.spec.task}: forward"
        if not isinstance(logits, Tensor):
            raise ValueError(f"{named}: expected a tensor ({len(packed)},) of log odds, got {type(logits).__name__}")
        if logits.shape != (len(packed),) or not logits.is_floating_point() or logits.device != packed.device:
            expected = f"floating point ({len(packed)},) on {packed.device}"
            raise ValueError(f"{named}: expected {expected}, got {logits.dtype} {tuple(logits.shape)} on {logits.device}")
        return F.logsigmoid(torch.stack([-logits, logits], dim=1).float())


def imported(path: str) -> Any:
    """What `package.module:Name` names; ValueError says what of it is missing."""
    module, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise ValueError(f"{path}: cannot import {module!r} ({error}); is it installed, or in the folder you call from?") from error
    except AttributeError:
        raise ValueError(f"{path}: module {module!r} has no {name!r}") from None


def network_of(path: str) -> Network:
    """The architecture of a class named by its path; ValueError: it is no class of modules."""
    kind = imported(path)
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise ValueError(f"{path}: expected a class of torch.nn.Module, got {kind!r}; a black box is measured, not trained")
    about = (inspect.getdoc(kind) or path).splitlines()[0]
    verifier: Any = kind if issubclass(kind, VerifierNetwork) else partial(ModuleVerifier, kind=kind)
    return Network(
        about,
        verifier,
        MLPProver,
        width=getattr(kind, "width", 64),
        layers=getattr(kind, "layers", 2),
        learning_rate=getattr(kind, "learning_rate", 3e-3),
        structural=getattr(kind, "structural", False),
    )
