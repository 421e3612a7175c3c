"""Merlin-Arthur training: cooperation makes a code, which Morgana breaks; learning against her makes Merlin show what tells."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import one_hot

from pvg.agents.checkpoint import load_players
from pvg.agents.config import TrainConfig
from pvg.agents.merlin_arthur import (
    MerlinArthurTraining,
    best_morgana,
    least_over_classes,
    losses,
    measure,
    precision_bound,
)
from pvg.agents.networks import VerifierNetwork
from pvg.agents.play import deal
from pvg.agents.team import Team, assemble
from pvg.agents.training import Trained, train
from pvg.field import Field
from pvg.game import Game
from pvg.lane import draw, lane
from pvg.protocols import MerlinArthur, ProverVerifier
from pvg.protocols.merlin_arthur import MERLIN
from pvg.spec import Spec, resolve
from pvg.task import Proof, Task, TaskRules, Values, tasks


@dataclass(frozen=True)
class FirstBit(Task):
    """Of which class, 0 or 1, is a data point of a few uniform bits? Its first bit says; the others tell nothing of it.

    Proof: a message names a bit, and the bit's value is evidence: together, a feature.
    """

    bits: int = 6
    smooth: bool = True

    @property
    def statement(self) -> tuple[Field, ...]:
        return (Field("point", 2, (self.bits,), ("bit",), kind="bit", seen_by=("prover",)),)

    def build(self) -> TaskRules:
        bits = self.bits

        @lane
        def sample(s: Any, tables: Any) -> None:
            for j in range(bits):
                s.point[j] = draw(s, 2)
            s.truth = s.point[0]

        @lane
        def first(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            out[0] = 0

        @lane
        def evidence(s: Any, tables: Any, slot: Any) -> None:
            s.value = s.point[s.said[slot, 0]]

        @lane
        def check(s: Any, tables: Any, first: Any) -> Any:
            return np.int64(s.value) if s.said[first, 0] == 0 else 2

        def relaxed(statement: Mapping[str, Tensor], message: Tensor) -> dict[str, Tensor]:
            return {"value": message @ one_hot(statement["point"].long(), 2).to(message)}

        proof = Proof(
            kinds={"message": (Field("named", bits),)},
            honest=first,
            dishonest={"first": first},
            check=check,
            fields=(Field("value", 2, kind="bit", seen_by=("verifier",), blank=True),),
            evidence=evidence,
            relaxed=relaxed if self.smooth else None,
            proves=(0, 1),
        )
        return TaskRules(sample, {"feature": proof})

    def render(self, values: Values) -> str:
        return " ".join(str(int(bit)) for bit in values["point"])

    def parse(self, text: str) -> dict[str, NDArray[Any]]:
        return {"point": np.array(text.split(), dtype=np.int8)}


SPEC = resolve(FirstBit(), MerlinArthur())


def config(phase: MerlinArthurTraining, seed: int = 0) -> TrainConfig:
    return TrainConfig("mlp", width=32, layers=1, lanes=64, learning_rate=1e-2, abstain=True, phases=(phase,), seed=seed)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@cache
def trained(gamma: float, messages: Any) -> Trained:
    return train(SPEC, config(MerlinArthurTraining(updates=300, gamma=gamma, messages=messages, entropy=0.03)), progress=False)


# What is learned.

WAYS = ("sampled", "straight_through")


@pytest.mark.parametrize("messages", WAYS)
def test_cooperation_alone_makes_a_code_that_morgana_breaks(messages: str) -> None:
    found = measure(trained(0.0, messages).players, SPEC, 400)
    assert found.completeness.value > 0.9
    assert found.best is not None
    assert found.best.value < 0.1


@pytest.mark.parametrize("messages", WAYS)
def test_learning_against_morgana_makes_merlin_show_the_bit_that_tells(messages: str) -> None:
    players = trained(2.0, messages).players
    found = measure(players, SPEC, 400)
    assert found.completeness.value > 0.9
    assert found.best is not None
    assert found.best.value > 0.9
    game = Game(SPEC, 400)
    game.play(players)
    said = game.field("said")[game.field("speaker") == MERLIN, 0, 0]
    precision = (1 + (said == 0).double().mean()) / 2  # of the first bit 1, of any other 1/2
    # The features are not correlated (kappa = 1), and the best Morgana is the most able.
    assert precision >= precision_bound(1 - found.completeness.low, 1 - found.best.low)
    assert precision > 0.9


# What is descended and reported.


def test_not_to_know_costs_nothing_after_morgana_and_all_after_merlin() -> None:
    log_probs = torch.tensor([[0.5, 0.2, 0.3], [0.1, 0.6, 0.3], [0.0, 0.0, 1.0]]).log()
    cost = losses(log_probs, torch.tensor([0, 0, 1]))
    torch.testing.assert_close(cost.merlin, torch.tensor([-math.log(0.5), -math.log(0.1), math.inf]))
    torch.testing.assert_close(cost.morgana, torch.tensor([-math.log(0.8), -math.log(0.4), 0.0]))


def test_arthur_alone_learns_in_every_third_update_where_provers_take_two_steps() -> None:
    game, team = Game(SPEC, 64), assemble(SPEC, config(MerlinArthurTraining()))
    phase, found = MerlinArthurTraining(steps=2, gamma=0.0, entropy=0.0), []
    for index in range(3):
        before = weights(team)
        deal(game, index)
        phase.update(team, game, index, 1.0)
        found.append([role for role, now in weights(team).items() if not now.equal(before[role])])
    assert found == [["merlin", "morgana"], ["merlin", "morgana"], ["arthur"]]


def weights(team: Team) -> dict[str, Tensor]:
    return {role: torch.cat([p.detach().flatten() for p in player.parameters()]) for role, player in team.players.items()}


def test_without_gamma_arthur_learns_nothing_from_morgana() -> None:
    """His step is the same whatever she says; with gamma it is not."""
    steps = []
    for gamma, seed in ((0.0, 0), (0.0, 1), (2.0, 0), (2.0, 1)):
        game, team = Game(SPEC, 64), assemble(SPEC, config(MerlinArthurTraining()))
        team.players["morgana"].generator.manual_seed(seed)
        MerlinArthurTraining(gamma=gamma).update(team, game, 0, 1.0)
        steps.append(weights(team)["arthur"])
    assert steps[0].equal(steps[1])
    assert not steps[2].equal(steps[3])


def test_the_least_over_classes_is_that_of_the_worse_class() -> None:
    game = Game(SPEC, 8)
    for name, values in {
        "truth": [0, 0, 1, 1, 0, 0, 1, 1],
        "speaker": [0, 0, 0, 0, 1, 1, 1, 1],
        "verdict": [0, 0, 1, 2, 0, 1, 2, 1],
        "turn": [-1] * 8,
    }.items():
        game.field(name).copy_(torch.tensor(values))
    assert {name: float(value) for name, value in least_over_classes(game).items()} == {"completeness": 0.5, "soundness": 0.5}
    game.field("speaker").fill_(MERLIN)
    assert float(least_over_classes(game)["soundness"]) == 1.0  # of a Morgana who never spoke, nothing bad is known


def test_the_best_message_of_morgana_is_the_best_of_every_one_played() -> None:
    game, team = Game(SPEC, 32), assemble(SPEC, config(MerlinArthurTraining()))
    arthur = team.players["arthur"]
    assert isinstance(arthur, VerifierNetwork)
    dealt, truth = game.bytes.clone(), game.field("truth").clone().long()
    found = best_morgana(arthur, game)
    wrong = []
    for named in range(6):
        game.bytes.copy_(dealt)
        game.actions[..., 0] = named  # whoever speaks
        game.step()
        wrong.append(arthur.log_probs(game.observe("arthur").packed).exp().gather(1, 1 - truth[:, None])[:, 0])
    torch.testing.assert_close(found, torch.stack(wrong).max(0).values)


@pytest.mark.parametrize(
    ("errors", "bound"), [((0.0, 0.0), 1.0), ((0.1, 0.0), 0.9), ((0.0, 0.25), 0.8), ((0.1, 0.1, 2.0, 2.0), 0.9 - 0.2)], ids=str
)
def test_the_precision_that_is_promised(errors: tuple[float, ...], bound: float) -> None:
    assert precision_bound(*errors) == pytest.approx(bound)


# Runs.


def test_a_checkpoint_knows_that_arthur_may_not_know(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tasks._things, "FirstBit", FirstBit)
    made = train(SPEC, config(MerlinArthurTraining(updates=1)), tmp_path, progress=False)
    _, players = load_players(tmp_path / "checkpoint.pt")
    assert players["arthur"].abstains
    game = Game(SPEC, 16)
    packed = game.observe("arthur").packed
    assert isinstance(made.verifier, VerifierNetwork)
    assert players["arthur"].log_probs(packed).equal(made.verifier.log_probs(packed))  # type: ignore[operator]
    surer = TrainConfig("mlp", width=32, layers=1, lanes=64, learning_rate=1e-2, phases=())
    with pytest.raises(ValueError, match="it has abstain=True, and the config None"):
        train(SPEC, surer, resume=tmp_path / "checkpoint.pt", progress=False)


def begun(phase: MerlinArthurTraining, spec: Spec = SPEC, **settings: Any) -> None:
    chosen = TrainConfig("mlp", width=8, **{"lanes": 16, "abstain": True, **settings})
    phase.begin(assemble(spec, chosen), Game(spec, chosen.lanes))


def test_what_cannot_be_trained_is_refused() -> None:
    with pytest.raises(ValueError, match="merlin_arthur: trains the roles of that protocol, and the game is prover_verifier"):
        begun(MerlinArthurTraining(), resolve(FirstBit(), ProverVerifier()))
    with pytest.raises(ValueError, match="abstain: merlin_arthur needs True"):
        begun(MerlinArthurTraining(), abstain=None)
    with pytest.raises(ValueError, match="samples=3: does not divide the 16 lanes"):
        begun(MerlinArthurTraining(samples=3))
    with pytest.raises(ValueError, match="messages=gumbel: FirstBit's proof 'feature' adds evidence to messages"):
        begun(MerlinArthurTraining(messages="gumbel"), resolve(FirstBit(smooth=False), MerlinArthur()))
    with pytest.raises(ValueError, match=r"gamma=-1.0 is outside 0\.\.100"):
        MerlinArthurTraining(gamma=-1.0)
