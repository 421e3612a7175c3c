"""Every registered task, protocol and environment keeps its contract, and so do four toy protocols that use every hook."""

from __future__ import annotations

import pytest
from toys import Bit, Different, DrawnSpeaker, EarlyDecision, HiddenSlot, PrivateCoin

from pvg.protocol import Protocol, protocols
from pvg.task import Task, tasks
from pvg.testing import check_env, check_protocol, check_task

TOYS: list[tuple[Task, Protocol]] = [
    (Bit(), EarlyDecision()),
    (Bit(erased=False), DrawnSpeaker()),
    (Different(), PrivateCoin()),
    (Bit(), HiddenSlot()),
]


@pytest.mark.parametrize("name", list(tasks))
def test_task_keeps_its_contract(name: str) -> None:
    check_task(tasks[name]())


@pytest.mark.parametrize("name", list(protocols))
def test_protocol_keeps_its_contract(name: str) -> None:
    check_protocol(protocols[name](), tasks["Arith"]())


@pytest.mark.parametrize(("task", "protocol"), TOYS, ids=lambda thing: type(thing).__name__)
def test_toy_protocol_keeps_its_contract(task: Task, protocol: Protocol) -> None:
    check_protocol(protocol, task)


@pytest.mark.parametrize("name", list(tasks))
@pytest.mark.parametrize("protocol", list(protocols))
def test_env_keeps_its_contract(name: str, protocol: str) -> None:
    check_env(f"pvg/{name}-v0", protocol=protocol)
