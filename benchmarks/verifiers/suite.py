"""What verifiers are compared on: games, budgets, and the tuning each is allowed; a change of any makes another suite."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

from pvg.agents.checkpoint import describe
from pvg.registry import Registry, unknown
from pvg.spec import Spec, default_protocol, resolve
from pvg.task import Task
from pvg.tasks import Arith, BugHunt, Coloring, Connectivity, FindThePlus, Formula, Matching, Program, Sorting, WordProblem


@dataclass(frozen=True)
class Entry:
    """A game of a suite: the task's first proof under the protocol that fits it.

    imitation, adversarial: updates of the two phases of training.
    """

    name: str
    kind: str
    task: Task
    imitation: int
    adversarial: int

    @property
    def spec(self) -> Spec:
        return resolve(self.task, default_protocol(self.task))


@dataclass(frozen=True)
class Suite:
    """Games and budgets, the same for every verifier.

    version: to be raised whenever something changes that the hash does not see, such as how training works.
    parameters: a verifier has the largest width with at most so many. lanes: games an update. rates: of learning, of which each
    verifier takes the one that does best on validation claims of `tuning_seed`, after `tuning_share` of the updates.
    cpu_seconds: of the training that is matched by time instead of games. curve: points of a learning curve a phase.
    claims: true test claims for completeness. attacked: false test claims. queries: verdicts a claim that each attack may ask
    for. exact_limit: of claims x messages, up to which all messages are tried, whatever that costs. validation: claims of each
    kind for tuning, thresholds and learning curves.
    """

    name: str
    version: int
    entries: tuple[Entry, ...]
    seeds: tuple[int, ...]
    parameters: int
    rates: tuple[float, ...]
    cpu_seconds: float
    claims: int
    attacked: int
    queries: int
    lanes: int = 128
    tuning_seed: int = 10_000
    tuning_share: float = 0.5
    curve: int = 5
    validation: int = 100
    exact_limit: float = 1.2e6

    @property
    def hash(self) -> str:
        """Of everything above: twelve hexadecimal digits."""
        games = [asdict(replace(entry, task=None)) | describe(entry.spec) for entry in self.entries]  # type: ignore[arg-type]
        content = json.dumps(asdict(replace(self, entries=())) | {"entries": games}, sort_keys=True)
        return hashlib.blake2b(content.encode(), digest_size=6).hexdigest()

    def narrowed(self, games: tuple[str, ...] = (), seeds: tuple[int, ...] = ()) -> Suite:
        """With some of the games, or other seeds: another suite, whose results are not held against the whole one's.

        UnknownName: a game it has not.
        """
        named = {entry.name: entry for entry in self.entries}
        for name in games:
            if name not in named:
                raise unknown(f"game of suite {self.name}", name, named, "`benchmarks/verifiers/suite.py`")
        return replace(self, entries=tuple(named[name] for name in games or named), seeds=seeds or self.seeds)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)


suites: Registry[Suite] = Registry("suite")

QUICK = (
    Entry("arith-3", "arithmetic", Arith(operations=3), 1000, 150),
    Entry("matching-4", "graph", Matching(nodes=4, extra=8), 600, 150),
    Entry("bug-hunt", "code", BugHunt(), 600, 100),
)
CORE = (
    Entry("arith-3", "arithmetic", Arith(operations=3), 2000, 300),
    Entry("arith-6", "arithmetic", Arith(operations=6), 2000, 300),
    Entry("word-2", "word problem", WordProblem(length=2), 2000, 300),
    Entry("word-4", "word problem", WordProblem(length=4), 2000, 300),
    Entry("matching-4", "graph", Matching(nodes=4, extra=8), 1000, 300),
    Entry("matching-5", "graph", Matching(nodes=5, extra=10), 1000, 300),
    Entry("connectivity-6", "graph", Connectivity(nodes=6), 1000, 300),
    Entry("bug-hunt", "code", BugHunt(), 1000, 300),
    Entry("program-3", "code", Program(registers=1, length=3, steps=3), 1000, 300),
    Entry("program-4", "code", Program(registers=1, length=4, steps=4), 1000, 300),
)
FULL = (
    *(replace(entry, imitation=6000, adversarial=1500) for entry in CORE),
    Entry("program-12", "code", Program(), 6000, 1500),
    Entry("connectivity-10", "graph", Connectivity(), 6000, 1500),
    Entry("matching-6", "graph", Matching(), 6000, 1500),
    Entry("coloring", "graph", Coloring(), 6000, 1500),
    Entry("sorting", "lists", Sorting(), 6000, 1500),
    Entry("formula", "formulas", Formula(), 6000, 1500),
    Entry("find-the-plus", "images", FindThePlus(), 6000, 1500),
)

for _suite in (
    Suite("quick", 1, QUICK, (0, 1), 20_000, (3e-3, 1e-2), cpu_seconds=2, claims=500, attacked=50, queries=100),
    Suite("core", 1, CORE, (0, 1, 2, 3, 4), 20_000, (3e-3, 1e-2), cpu_seconds=6, claims=1000, attacked=50, queries=500),
    Suite("full", 1, FULL, tuple(range(10)), 100_000, (1e-3, 3e-3, 1e-2), 60, claims=2000, attacked=200, queries=10_000, lanes=256),
):
    suites.register(_suite.name)(_suite)
