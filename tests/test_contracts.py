"""Every registered task, protocol and environment keeps its contract, and so do the four toy protocols."""

from __future__ import annotations

import inspect
from pathlib import Path

import gymnasium
import pytest
from interpreted import interpreted
from toys import Bit, Different, DrawnSpeaker, EarlyDecision, HiddenSlot, Lookup, Misstated, PrivateCoin

import pvg
from pvg.protocol import Protocol, protocols
from pvg.task import Task, tasks
from pvg.testing import check_env, check_protocol, check_task, fitting, on_two_tasks, records

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


# Tasks of which so many games take longer to interpret than to compile, and one more.
COMPILED = ("Arith", "Coloring", "FindThePlus", "GraphIso", "Program", "SparseDigits")


@pytest.mark.parametrize("name", COMPILED)
def test_task_keeps_its_contract(name: str) -> None:
    check_task(tasks[name]())


@pytest.mark.parametrize(("task", "protocol"), TOYS, ids=lambda thing: type(thing).__name__)
def test_toy_protocol_keeps_its_contract(task: Task, protocol: Protocol) -> None:
    check_protocol(protocol, task)


@pytest.mark.parametrize("protocol", ["prover_verifier", "bisection"])
def test_env_keeps_its_contract(protocol: str) -> None:
    check_env("pvg/Arith-v0", protocol=protocol)


OTHER_TASKS = f"""
import sys
from pvg.task import tasks
from pvg.testing import check_task
for name in [name for name in tasks if name not in {COMPILED}][int(sys.argv[1]) :: int(sys.argv[2])]:
    print(name, flush=True)
    check_task(tasks[name](), games=400)  # each task's own tests count its numbers in 200,000
"""

ON_TWO_TASKS = """
import sys
from pvg.protocol import protocols
from pvg.task import tasks
from pvg.testing import check_protocol, fitting, on_two_tasks
every = [spec for name in tasks for spec in fitting(tasks[name]())]
for spec in [spec for name in protocols for spec in on_two_tasks(protocols[name], every)][int(sys.argv[1]) :: int(sys.argv[2])]:
    print(spec, flush=True)
    check_protocol(spec.protocol, spec.task, spec.proof_name)
"""

SEATS = """
import gymnasium, sys
from pvg.envs.seat import speaks
from pvg.testing import check_env, covering
for spec in list(covering())[int(sys.argv[1]) :: int(sys.argv[2])]:
    print(spec, flush=True)
    game = {"id": f"pvg/{type(spec.task).__name__}-v0", "protocol": spec.protocol, "proof": spec.proof_name}
    check_env(game["id"], episodes=2, protocol=spec.protocol, proof=spec.proof_name)
    for i, role in enumerate(spec.roles):
        if speaks(spec, i):
            gymnasium.make(**game, role=role.name).reset(seed=0)
"""

ON_EVERY_TASK = """
import sys
from pvg.task import tasks
from pvg.testing import check_protocol, fitting
for spec in [spec for name in tasks for spec in fitting(tasks[name]())][int(sys.argv[1]) :: int(sys.argv[2])]:
    print(spec, flush=True)
    check_protocol(spec.protocol, spec.task, spec.proof_name)
"""


@pytest.mark.parametrize("part", range(4))
def test_every_other_task_keeps_its_contract(part: int) -> None:
    interpreted(OTHER_TASKS, part, 4)


@pytest.mark.parametrize("part", range(4))
def test_every_protocol_keeps_its_contract_on_two_tasks(part: int) -> None:
    interpreted(ON_TWO_TASKS, part, 4)


RECORDS = """
from pvg.protocol import protocols
from pvg.task import tasks
from pvg.testing import fitting, on_two_tasks, records
every = [spec for name in tasks for spec in fitting(tasks[name]())]
for name in protocols:
    print(name, records(on_two_tasks(protocols[name], every)[0]))
"""


def test_compiled_and_interpreted_every_protocol_plays_the_same_games() -> None:
    found = dict(line.split() for line in interpreted(RECORDS).splitlines())
    every = [spec for name in tasks for spec in fitting(tasks[name]())]
    assert found == {name: records(on_two_tasks(protocols[name], every)[0]) for name in protocols}


@pytest.mark.parametrize("part", range(4))
def test_every_seat_of_every_game_keeps_gymnasiums_contract(part: int) -> None:
    interpreted(SEATS, part, 4)


@pytest.mark.grid
@pytest.mark.parametrize("part", range(16))
def test_every_protocol_keeps_its_contract_on_every_task_that_fits(part: int) -> None:
    interpreted(ON_EVERY_TASK, part, 16)


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
