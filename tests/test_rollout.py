"""A rollout never makes the host wait: whatever a GPU would be asked for is asked for after it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pvg.agents.config import TrainConfig
from pvg.agents.networks import networks
from pvg.agents.play import play
from pvg.agents.team import assemble
from pvg.game import Game
from pvg.protocols import Debate, InteractiveProof, ProverVerifier
from pvg.spec import Spec, resolve
from pvg.tasks.arith import Arith
from pvg.tasks.graph_iso import GraphIso

ARITH = Arith(operations=2, modulus=2)
GAMES = [
    *((name, resolve(ARITH, ProverVerifier())) for name in networks if name != "graph"),
    ("mlp", resolve(ARITH, Debate())),
    ("mlp", resolve(ARITH, InteractiveProof(rounds=2, early=True))),
    ("graph", resolve(GraphIso(nodes=3, rounds=2), InteractiveProof(), "one_node_a_turn")),
]


class Waits(TorchDispatchMode):
    """Which operations were done whose result, or its size, the host has to know."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Iterable[Any], args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        by_mask = name.startswith("index") and any(
            isinstance(index, torch.Tensor) and index.dtype == torch.bool
            for index in (args[1] if isinstance(args[1], list) else [])
        )
        if by_mask or name in ("_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2"):
            self.found.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("network", "spec"), GAMES, ids=[f"{name}-{spec.label.split(',')[0]}" for name, spec in GAMES])
def test_a_rollout_of_learned_players_waits_for_nothing(network: str, spec: Spec) -> None:
    game, team = Game(spec, 6, seed=1), assemble(spec, TrainConfig(network, width=8, layers=1, lanes=6))
    cast = game.players(team.players)
    with Waits() as waits:
        play(game, cast, team.learners)
    assert waits.found == []


def test_what_waits_is_seen() -> None:
    values = torch.arange(3)
    with Waits() as waits:
        bool(values[0] > 1)
        values[values > 1]
        values.nonzero()
    assert waits.found == ["_local_scalar_dense", "index", "nonzero"]
