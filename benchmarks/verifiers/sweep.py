"""Many jobs, each kept under the hash of all it depends on: a killed sweep goes on where it was, a failed job stops no other."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from threading import local
from typing import Any, TypeAlias

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


@dataclass(frozen=True)
class Job:
    """A function of a module, and what it is called with; it gives plain containers.

    content: everything the result depends on, as JSON can hold it.
    """

    label: str
    function: Callable[..., dict[str, Any]]
    arguments: tuple[Any, ...]
    content: Mapping[str, Any]

    @property
    def key(self) -> str:
        """The hash of the content."""
        whole = json.dumps({"function": self.function.__qualname__, **self.content}, sort_keys=True)
        return hashlib.blake2b(whole.encode(), digest_size=12).hexdigest()


@dataclass(frozen=True)
class Failed:
    """A job that raised, or whose process died: its last line, and the whole traceback."""

    label: str
    error: str
    traceback: str


Done: TypeAlias = "dict[str, dict[str, Any] | Failed]"


@dataclass(frozen=True)
class Sweep:
    """Where jobs are kept, and where they run.

    folder: a file a job that is done; a failed one is tried again by the next run. jobs: processes here. ray: the address of a Ray
    cluster, or "local" to start one on this machine; instead of processes.
    """

    folder: Path
    jobs: int = 1
    ray: str | None = None
    progress: bool = True
    _local: local = field(default_factory=local, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise ValueError(f"jobs={self.jobs} is below 1")

    def run(self, jobs: Sequence[Job]) -> Done:
        """The result or the failure of every job, by key."""
        self.folder.mkdir(parents=True, exist_ok=True)
        done: Done = {}
        for job in jobs:
            if self._path(job).exists():
                done[job.key] = json.loads(self._path(job).read_text())
        left = list({job.key: job for job in jobs if job.key not in done}.values())
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, disable=not self.progress) as bar:
            line = bar.add_task("jobs", total=len(left) + len(done), completed=len(done))
            for job, result in self._results(left):
                done[job.key] = result
                if isinstance(result, Failed):
                    bar.print(f"failed: {job.label}: {result.error}")
                else:
                    self._keep(job, result)
                bar.update(line, advance=1, description=job.label)
        return done

    def _path(self, job: Job) -> Path:
        return self.folder / f"{job.key}.json"

    def _keep(self, job: Job, result: dict[str, Any]) -> None:
        part = self._path(job).with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps(result, allow_nan=False) + "\n")
        part.replace(self._path(job))

    def _results(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, dict[str, Any] | Failed]]:
        """Each job with its result, as they come."""
        if self.ray is not None:
            yield from on_ray(jobs, self.ray)
        elif self.jobs == 1:
            yield from ((job, attempt(job)) for job in jobs)
        else:
            with ThreadPoolExecutor(self.jobs) as threads:
                futures = {threads.submit(self._apart, job): job for job in jobs}
                yield from ((futures[future], future.result()) for future in as_completed(futures))

    def _apart(self, job: Job) -> dict[str, Any] | Failed:
        """A job in this thread's own process, which a job that dies takes with it, and nothing else."""
        pool = getattr(self._local, "pool", None)
        if pool is None:
            pool = self._local.pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
        try:
            return pool.submit(attempt, job).result()
        except BrokenProcessPool as error:
            self._local.pool = None
            return Failed(job.label, f"its process died ({error})", traceback.format_exc())


def attempt(job: Job) -> dict[str, Any] | Failed:
    """The result of a job, on one thread, or how it failed."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return job.function(*job.arguments)
    except Exception as error:
        return Failed(job.label, f"{error}" or type(error).__name__, traceback.format_exc())
    finally:
        torch.set_num_threads(threads)


def on_ray(jobs: Sequence[Job], address: str) -> Iterator[tuple[Job, dict[str, Any] | Failed]]:
    """Jobs on a Ray cluster, one CPU each. ValueError: Ray is missing (extra `ray`)."""
    try:
        import ray
    except ImportError:
        raise ValueError("ray: pip install 'prover-verifier-games[ray]'") from None
    ray.init(address=address, log_to_driver=False)
    try:
        remote = ray.remote(num_cpus=1, max_retries=0)(attempt)
        waiting = {remote.remote(job): job for job in jobs}
        while waiting:
            (ready,), _ = ray.wait(list(waiting), num_returns=1)
            job = waiting.pop(ready)
            try:
                yield job, ray.get(ready)
            except ray.exceptions.RayError as error:
                yield job, Failed(job.label, f"its worker died ({type(error).__name__})", traceback.format_exc())
    finally:
        ray.shutdown()
