"""`pvg benchmark`: verifiers compared on a suite of games, and the report of what came of it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.table import Table
from tyro.conf import Positional, arg

app = tyro.extras.SubcommandApp()

Out = Annotated[Path, arg(help="folder for a file a verifier, and for the jobs that are done, in jobs/")]


@app.command
def verifiers(
    verifier: Annotated[
        tuple[str, ...],
        arg(
            metavar="NAME",
            help="a registered network (`pvg list networks`), or package.module:Name of your own",
        ),
    ],
    suite: Annotated[str, arg(help="quick (minutes), core, or full (days)")] = "quick",
    games: Annotated[tuple[str, ...], arg(metavar="GAME", help="some of the suite's games; all if left out")] = (),
    seeds: Annotated[int | None, arg(help="how many seeds, from 0; the suite's own if left out")] = None,
    queries: Annotated[
        int | None, arg(help="verdicts a claim that each attack may ask for, 100..1000000; the suite's if left out")
    ] = None,
    jobs: Annotated[int, arg(help="processes on this machine")] = 1,
    ray: Annotated[str | None, arg(metavar="ADDRESS", help="a Ray cluster to run on instead, or `local`")] = None,
    out: Out = Path("results/verifiers"),
) -> None:
    """Is a verifier complete, and is it sound against the worst message there is? Measured beside its controls, at equal budgets.

    A network is tuned, trained and measured on every game, for every seed; a black box is measured as it is. What was done is kept
    and not done again. The report of `pvg benchmark report` is of all files in the folder.
    """
    from pvg.benchmarks.verifiers.report import overall, ranked
    from pvg.benchmarks.verifiers.run import benchmark
    from pvg.benchmarks.verifiers.suite import suites
    from pvg.benchmarks.verifiers.sweep import Sweep

    if "" not in sys.path:
        sys.path.insert(0, "")  # where the module of somebody's own lies
    chosen: Any = suites[suite]
    if seeds is not None and seeds < 1:
        raise ValueError(f"seeds={seeds} is below 1")
    if queries is not None and not 100 <= queries <= 10**6:
        raise ValueError(f"queries={queries} is outside 100..{10**6}")
    chosen = chosen.narrowed(games, tuple(range(seeds or 0)))
    chosen = chosen if queries is None else replace(chosen, queries=queries)
    standings = benchmark(verifier, chosen, out, Sweep(out / "jobs", jobs, ray))
    failed = [(s.verifier, failure) for s in standings for failure in s.failures]
    _print(f"suite {suite}, version {chosen.version}, hash {chosen.hash}", *overall(ranked(standings)))
    for name, failure in failed:
        print(f"failed: {name} on {failure['game']}, seed {failure['seed']}: {failure['error']}", file=sys.stderr)
    print(f"written to {out}; `pvg benchmark report {out}` makes tables, figures and a page", file=sys.stderr)


@app.command
def report(
    folder: Positional[Annotated[Path, arg(help="where `pvg benchmark verifiers` wrote its files")]] = Path("results/verifiers"),
    out: Annotated[Path | None, arg(help="folder for report.md, figures and page.html; the same if left out")] = None,
) -> None:
    """Tables, figures and a self-contained page of all verifiers in a folder, with games to look at.

    Files made on another version of the suite are refused by name.
    """
    from pvg.benchmarks.verifiers.leaderboard import load_all
    from pvg.benchmarks.verifiers.report import report as make
    from pvg.benchmarks.verifiers.report import sections

    if not folder.is_dir():
        raise ValueError(f"folder={folder}: there is no such folder")
    standings = load_all(folder.glob("*.json"))
    for title, _, table in sections(standings):
        if table is not None:
            _print(title, *table)
    make(standings, out or folder)
    print(f"written to {out or folder}: report.md, page.html", file=sys.stderr)


def _print(title: str, head: list[str], rows: list[list[str]]) -> None:
    shown = Table(title=title, title_justify="left")
    for name in head:
        shown.add_column(name, overflow="fold")
    for row in rows:
        shown.add_row(*row)
    Console().print(shown)
