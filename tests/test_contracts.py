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
from pvg.testing import check_env, check_protocol, check_task, fitting, on_two_tasks

TOYS: list[tuple[Task, Protocol]] = [
    (Bit(), EarlyDecision()),
    (Bit(erased=False), DrawnSpeaker()),
    (Different(), PrivateCoin()),
    (Bit(), HiddenSlot()),
]


EVERY = [spec for name in tasks for spec in fitting(tasks[name]())]
PROTOCOLS = [spec for name in protocols for spec in on_two_tasks(protocols[name], EVERY)]
# Every seat of every proof under its own protocol, and of every protocol on one task.
ENVS = dict.fromkeys(spec for name in tasks for spec in played(tasks[name]()))
ENVS |= dict.fromkeys(on_two_tasks(protocols[name], EVERY)[0] for name in protocols)


def label(spec: Spec) -> str:
    return f"{type(spec.task).__name__}-{spec.label}".replace(", ", "-")


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


@pytest.mark.parametrize("spec", PROTOCOLS, ids=label)
def test_protocol_keeps_its_contract_on_two_tasks(spec: Spec) -> None:
    check_protocol(spec.protocol, spec.task, spec.proof_name)


@pytest.mark.grid
@pytest.mark.parametrize("spec", EVERY, ids=label)
def test_protocol_keeps_its_contract_on_every_task_that_fits(spec: Spec) -> None:
    check_protocol(spec.protocol, spec.task, spec.proof_name)


@pytest.mark.parametrize(("task", "protocol"), TOYS, ids=lambda thing: type(thing).__name__)
def test_toy_protocol_keeps_its_contract(task: Task, protocol: Protocol) -> None:
    check_protocol(protocol, task)


@pytest.mark.parametrize("spec", list(ENVS), ids=label)
def test_env_keeps_its_contract_in_every_seat(spec: Spec) -> None:
    check_env(f"pvg/{type(spec.task).__name__}-v0", protocol=spec.protocol, proof=spec.proof_name)


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
