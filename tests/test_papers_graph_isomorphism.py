"""Graph isomorphism under protocols, at tiny size: every one trains and is measured, and claims fail where they do not hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pvg.agent import Observation, Utterance
from pvg.agents.training import Diverged, Trained
from pvg.benchmarks.papers import graph_isomorphism as experiment
from pvg.protocols import Solo
from pvg.spec import resolve
from pvg.tasks import GraphIso

TINY = GraphIso(fresh=False, pool=64, rounds=2)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = experiment.config
    monkeypatch.setattr(experiment, "config", lambda protocol, seed: replace(ours(protocol, seed), lanes=16, width=4))
    monkeypatch.setattr(experiment, "SELFPLAY", 1)
    monkeypatch.setattr(experiment, "RESTARTS", 1)
    for protocol, spec in experiment.SPECS.items():
        monkeypatch.setitem(experiment.IMITATION, protocol, 1)
        monkeypatch.setitem(experiment.SPECS, protocol, resolve(TINY, spec.protocol, spec.proof_name))


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("protocol", list(experiment.SPECS))
def test_every_protocol_trains_and_is_measured(protocol: str) -> None:
    row = experiment.run(protocol, 0, pairs=40)
    assert row["figures"]["accuracy"]["n"] == 40
    assert row["figures"]["always_fails"]["n"] == 5
    assert ("attacked" in row["figures"]) == (protocol == "prover_verifier")
    shares = [row["figures"][name] for name in ("accepted_true", "accepted_false")]
    assert sum(share["n"] for share in shares) == 40
    right = shares[0]["value"] * shares[0]["n"] + (1 - shares[1]["value"]) * shares[1]["n"]
    assert right == pytest.approx(40 * row["figures"]["accuracy"]["value"])


@pytest.mark.usefixtures("tiny")
def test_a_run_that_diverges_is_a_failed_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def diverges(*_: Any, **__: Any) -> Trained:
        raise Diverged("loss is nan")

    monkeypatch.setattr(experiment, "train", diverges)
    row = experiment.run("solo", 0)
    assert row == {"protocol": "solo", "seed": 0, "diverged": "loss is nan"}
    assert not experiment.claims_of([*rows(), row])["solo_at_ceiling"]


class Says:
    """A verifier that answers by what `verdict` makes of how often each pair was seen before."""

    def __init__(self, pairs: int) -> None:
        self.pairs = pairs

    def act(self, observation: Observation, acting: Tensor) -> Utterance:
        seen = observation.packed.unflatten(0, (-1, self.pairs))
        assert (seen == seen[:1]).all()  # the same pairs of graphs in every round of games
        assert len(seen[0].unique(dim=0)) > self.pairs / 2
        accepts = torch.arange(self.pairs).repeat(len(seen)) < self.pairs // 2  # of half of the pairs, every time
        accepts[0] = False  # but once
        return Utterance(accepts[:, None].int())


def test_a_pair_always_fails_if_none_of_its_games_is_judged_rightly() -> None:
    spec = resolve(TINY, Solo())
    found = experiment.failing(Trained({"verifier": Says(20)}, None, None, []), spec, 20, seed=3)  # type: ignore[dict-item]
    game = experiment.Game(replace(spec, split="test"), 160, seed=3)
    truth = game.field("truth")[:20]
    wrong = (truth == 1) != (torch.arange(20) < 10)
    wrong[0] = False  # one of its games is judged otherwise, and so is right
    assert found.value == float(wrong.float().mean())
    assert 0 < found.value < 1


def rows(solo: float = 0.64, prover_verifier: float = 0.9) -> list[dict[str, Any]]:
    return [
        {"protocol": protocol, "seed": seed, "figures": {name: {"value": value} for name in ("accuracy", "always_fails")}}
        for protocol, value in (("solo", solo), ("prover_verifier", prover_verifier))
        for seed in (0, 1)
    ]


def test_each_claim_fails_alone() -> None:
    assert experiment.claims_of(rows()) == dict.fromkeys(experiment.CLAIMED, True)
    for changed, claim in (
        ({"solo": 0.66}, "solo_at_ceiling"),
        ({"solo": 0.55}, "solo_at_ceiling"),
        ({"prover_verifier": 0.65}, "prover_verifier_above"),
    ):
        held = experiment.claims_of(rows(**changed))
        assert [name for name, holds in held.items() if not holds] == [claim]


def test_the_figure_is_drawn(tmp_path: Path) -> None:
    experiment.figure(rows(), tmp_path / "graph_isomorphism.png")
    assert (tmp_path / "graph_isomorphism.png").stat().st_size > 5000
    assert experiment.summary(rows())["solo"]["accuracy"].startswith("0.6400")
