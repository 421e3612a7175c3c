"""Sweeps keep what is done: a killed one goes on, a failed job is told and stops no other, here and on a cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import brought
import pytest

from pvg.benchmarks.verifiers.sweep import Failed, Job, Sweep


def jobs(log: Path, *names: str, fails: dict[str, str] | None = None) -> list[Job]:
    return [Job(name, brought.count, (name, str(log), (fails or {}).get(name, "")), {"name": name}) for name in names]


def runs(log: Path) -> list[str]:
    return sorted(log.read_text().split()) if log.exists() else []


def test_a_job_is_run_once_and_known_by_all_that_it_depends_on(tmp_path):
    sweep, log = Sweep(tmp_path / "jobs", progress=False), tmp_path / "log"
    first = sweep.run(jobs(log, "a", "b", "a"))
    assert sweep.run(jobs(log, "b", "a")) == first == {job.key: {"name": job.label} for job in jobs(log, "a", "b")}
    assert runs(log) == ["a", "b"]
    other = Job("a", brought.count, ("a", str(log)), {"name": "a", "rate": 2})
    sweep.run([other])
    assert runs(log) == ["a", "a", "b"]


@pytest.mark.parametrize("processes", [1, 2])
def test_a_failed_job_is_told_with_its_traceback_and_tried_again(tmp_path, processes):
    log = tmp_path / "log"
    broken = jobs(log, "a", "b", "c", fails={"b": "raises"})
    done = Sweep(tmp_path / "jobs", processes, progress=False).run(broken)
    failed = done[broken[1].key]
    assert isinstance(failed, Failed)
    assert failed.error == "no b"
    assert "brought.py" in failed.traceback
    assert [done[job.key] for job in (broken[0], broken[2])] == [{"name": "a"}, {"name": "c"}]
    Sweep(tmp_path / "jobs", processes, progress=False).run(jobs(log, "a", "b", "c"))
    assert runs(log) == ["a", "b", "b", "c"]


def test_a_job_that_takes_its_process_along_takes_no_other_job(tmp_path):
    log = tmp_path / "log"
    broken = jobs(log, "a", "b", "c", "d", "e", fails={"a": "dies", "b": "dies"})  # one in each of the two processes
    done = Sweep(tmp_path / "jobs", 2, progress=False).run(broken)
    assert [job.label for job in broken if isinstance(done[job.key], Failed)] == ["a", "b"]
    assert "process died" in done[broken[1].key].error
    assert runs(log) == ["a", "b", "c", "d", "e"]


def test_a_sweep_that_is_killed_goes_on_where_it_was(tmp_path):
    log, folder = tmp_path / "log", tmp_path / "jobs"
    code = f"""
import time, brought
from pathlib import Path
from pvg.benchmarks.verifiers.sweep import Job, Sweep
slow = lambda *given: (brought.count(*given), time.sleep(0.2))[0]
slow.__qualname__ = "count"
Sweep(Path({str(folder)!r}), progress=False).run([Job(n, slow, (n, {str(log)!r}), {{"name": n}}) for n in "abcdefghijklmnop"])
"""
    child = subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": os.path.dirname(brought.__file__)})
    while len(runs(log)) < 3:
        assert child.poll() is None
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    begun, kept = runs(log), len(list(folder.glob("*.json")))
    assert 2 <= kept <= len(begun) < 16
    names = list("abcdefghijklmnop")
    done = Sweep(folder, progress=False).run(jobs(log, *names))
    assert sorted(result["name"] for result in done.values()) == names
    assert len(runs(log)) == len(begun) + 16 - kept  # only what the killed one had not finished


@pytest.mark.filterwarnings("default")  # Ray's own
def test_jobs_run_on_a_ray_cluster_and_a_dead_worker_stops_no_other(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.path.dirname(brought.__file__))
    monkeypatch.setenv("RAY_worker_niceness", "0")  # on a busy machine those of 15 wait for a minute to import torch
    log = tmp_path / "log"
    broken = jobs(log, "a", "b", "c", "d", fails={"b": "raises", "c": "dies"})
    done = Sweep(tmp_path / "jobs", ray="local", progress=False).run(broken)
    assert done[broken[0].key] == {"name": "a"}
    assert done[broken[3].key] == {"name": "d"}
    assert done[broken[1].key].error == "no b"
    assert "worker died" in done[broken[2].key].error
    assert Sweep(tmp_path / "jobs", progress=False).run(jobs(log, "a", "d")).keys() <= done.keys()
    assert runs(log) == ["a", "b", "c", "d"]


def test_a_sweep_on_no_processes_is_refused(tmp_path):
    with pytest.raises(ValueError, match="jobs=0 is below 1"):
        Sweep(tmp_path, 0)
