"""Compiled networks learn what the others do."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
import torch

from pvg.agents.config import TrainConfig
from pvg.agents.imitation import Imitation
from pvg.agents.training import train
from pvg.protocols import Solo
from pvg.spec import resolve
from pvg.tasks.arith import Arith

SPEC = resolve(Arith(operations=2, modulus=2), Solo())
CONFIG = TrainConfig("mlp", width=8, layers=1, lanes=32, log_every=1, phases=(Imitation(updates=3),))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler uses what torch deprecates
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler, and there is no g++")
def test_a_compiled_network_learns_as_one_that_is_not() -> None:
    torch._dynamo.utils.counters.clear()
    plain = train(SPEC, CONFIG, progress=False)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 0
    compiled = train(SPEC, replace(CONFIG, compiled=True), progress=False)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    for one, two in zip(plain.history, compiled.history, strict=True):
        assert {name: two[name] for name in two if name != "seconds"} == pytest.approx(
            {name: one[name] for name in one if name != "seconds"}, abs=1e-5
        )
    for name, weights in plain.players["verifier"].state_dict().items():
        torch.testing.assert_close(compiled.players["verifier"].state_dict()[name], weights, atol=1e-4, rtol=0)


def test_without_a_compiler_it_is_refused_before_anything_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(ValueError, match=r"compiled=True: torch.compile needs a C\+\+ compiler"):
        train(SPEC, replace(CONFIG, compiled=True), progress=False)
