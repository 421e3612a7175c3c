"""Every registered task, protocol and environment keeps its contract, and so do the four toy protocols."""

from __future__ import annotations

import inspect
from pathlib import Path

import gymnasium
import pytest
from toys import Bit, Different, DrawnSpeaker, EarlyDecision, HiddenSlot, Lookup, Misstated, PrivateCoin

import pvg
from pvg.protocol import Protocol, protocols
from pvg.spec import Spec, played
from pvg.task import Task, tasks
from pvg.testing import check_env, check_protocol, check_task, fitting

TOYS: list[tuple[Task, Protocol]] = [
    (Bit(), EarlyDecision()),
    (Bit(erased=False), DrawnSpeaker()),
    (Different(), PrivateCoin()),
    (Bit(), HiddenSlot()),
]


for _task, _protocol in TOYS:
    gymnasium.register(
        id=f"toy/{type(_protocol).__name__}-v0",
        entry_point="pvg.envs.single:GameEnv",
        vector_entry_point="pvg.envs.vector:GameVectorEnv",
        kwargs={"task": _task, "protocol": _protocol},
    )


@pytest.mark.parametrize("name", list(tasks))
def test_task_keeps_its_contract(name: str) -> None:
    check_task(tasks[name]())


@pytest.mark.parametrize("name", list(protocols))
def test_protocol_keeps_its_contract(name: str) -> None:
    protocol = protocols[name]()
    check_protocol(protocol, next(spec.task for kind in tasks for spec in fitting(tasks[kind]()) if spec.protocol == protocol))


@pytest.mark.parametrize(("task", "protocol"), TOYS, ids=lambda thing: type(thing).__name__)
def test_toy_protocol_keeps_its_contract(task: Task, protocol: Protocol) -> None:
    check_protocol(protocol, task)


GAMES = [(name, spec) for name in tasks for spec in played(tasks[name]())]


@pytest.mark.parametrize(("name", "spec"), GAMES, ids=[f"{name}-{spec.label}" for name, spec in GAMES])
def test_env_keeps_its_contract(name: str, spec: Spec) -> None:
    check_env(f"pvg/{name}-v0", protocol=spec.protocol, proof=spec.proof_name)


@pytest.mark.parametrize("protocol", [protocol for _, protocol in TOYS], ids=lambda thing: type(thing).__name__)
def test_toy_env_keeps_its_contract(protocol: Protocol) -> None:
    check_env(f"toy/{type(protocol).__name__}-v0")


def test_toy_task_with_tables_and_evidence_keeps_its_contract() -> None:
    check_task(Lookup())


def test_a_soundness_error_no_prover_attains_is_no_exact_one() -> None:
    with pytest.raises(AssertionError, match=r"elsewhere accepted 0 of \d+, stated soundness error 0.5, exact"):
        check_task(Misstated())


def test_toy_protocols_are_short_and_touch_no_file_of_the_engine() -> None:
    for _, protocol in TOYS:
        assert len(inspect.getsource(type(protocol)).splitlines()) < 30
    core = Path(pvg.__file__).parent
    names = [type(thing).__name__ for pair in TOYS for thing in pair]
    for path in core.glob("*.py"):
        assert not any(name in path.read_text() for name in names), path
