"""What is known of a verifier after an evaluation, as numbers for machines, a table and a figure for people."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from pvg.metrics import Figure
from pvg.registry import Registry

NOT_MEASURED = "not measured: the textbook's maximum over all statements; reported is a mean over sampled statements"


@dataclass(frozen=True)
class Figures:
    """What a verifier accepts under one way of deciding: v is its probability of acceptance, Y = 1 a true claim.

    completeness: E[v | Y = 1] under the honest prover. achievable_completeness: E[max over messages of v | Y = 1].
    prover_convinces: E[v | Y = 1] under a learned prover. attack_success: E[v | Y = 0] by attack, never "soundness".
    union_of_provers: E[v | Y = 0] with, for each claim, the best of all provers: no search.
    best_response_soundness_error: E[max over messages of v | Y = 0], exact or a lower bound as its method says.
    J: completeness - best-response soundness error; 0 for a verifier that does not look.
    """

    completeness: Figure
    achievable_completeness: Figure
    prover_convinces: Figure | None
    attack_success: Mapping[str, Figure]
    union_of_provers: Figure | None
    best_response_soundness_error: Figure
    J: Figure


@dataclass(frozen=True)
class Report:
    """One verifier, measured on one game.

    randomised: accepted with probability v, one coin a claim for all attacks. at_threshold: accepted if v is at least
    `threshold`, which validation claims chose. exact: no message is accepted more readily than the best response found.
    prover_proves: share of true claims for which the reference verifier accepts what the learned prover says (its
    "verifiability", Amit et al. 2024); prover_repeats_honest: for which that is what the honest prover says, symbol by symbol.
    queries: verdicts asked for, a claim, by attack. forfeits: games not counted, by prover. seconds: of the evaluation.
    """

    env: str
    protocol: str
    task: str
    proof: str | None
    split: str
    seed: int
    randomised: Figures
    threshold: float
    at_threshold: Figures
    exact: bool
    solo_accuracy: Figure | None
    prover_proves: Figure | None
    prover_repeats_honest: Figure | None
    queries: Mapping[str, int]
    forfeits: Mapping[str, int]
    seconds: float
    versions: Mapping[str, str]

    def as_dict(self) -> dict[str, Any]:
        """For JSON: the figures of the randomised decision at the top, those at the threshold under `at_threshold`."""
        fields = asdict(self)
        randomised, at_threshold = fields.pop("randomised"), fields.pop("at_threshold")
        return {
            **fields,
            "decision": "randomised: accepted with probability v",
            **randomised,
            "at_threshold": at_threshold,
            "maximum_over_statements": NOT_MEASURED,
        }


def registered(registry: Registry[Any], thing: object) -> str:
    """The name a thing's class is registered under, or the name of the class."""
    return next((name for name in registry if registry[name] is type(thing)), type(thing).__name__)


def write(report: Report, path: str | os.PathLike[str]) -> None:
    """The report as JSON, in one piece or not at all: a run that is cut off leaves no half a file."""
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_text(json.dumps(report.as_dict(), indent=2, allow_nan=False) + "\n")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def table(reports: Report | Mapping[str, Report]) -> Table:
    """One report in full, or several by name, a row each."""
    return _in_full(reports) if isinstance(reports, Report) else _compared(reports)


def _in_full(report: Report) -> Table:
    forfeited = sum(report.forfeits.values())
    error = report.randomised.best_response_soundness_error
    out = Table(
        title=escape(f"{report.env}, {report.protocol}: {report.task}, {report.split} claims, seed {report.seed}"),
        caption="Shares of claims accepted, with one-sided 95 % bounds. Randomised: a claim is accepted with the "
        "probability the verifier gives. At the threshold: it is accepted from that probability on; the threshold was "
        f"chosen on validation claims. Best response: {_how(error)}. {_PLAIN} Games forfeited, not counted: {forfeited}.",
        title_justify="left",
        caption_justify="left",
    )
    for column in ("share accepted", "randomised", f"at {report.threshold:.4g}", "n"):
        out.add_column(column, no_wrap=True, justify="right" if column == "n" or column.startswith("at ") else "left")
    at_threshold = _rows(report.at_threshold)
    for name, shown in _rows(report.randomised).items():
        out.add_row(escape(name), _shown(shown), f"{at_threshold[name].value:.4f}", f"{shown.n:,}")
    if report.solo_accuracy is not None:
        solo = report.solo_accuracy
        out.add_row("solo accuracy (no message)", _shown(solo), "", f"{solo.n:,}")
    learned = {
        "learned prover, by the reference": report.prover_proves,
        "learned prover, as the honest one": report.prover_repeats_honest,
    }
    for name, share in learned.items():
        if share is not None:
            out.add_row(name, _shown(share), "", f"{share.n:,}")
    return out


def _rows(figures: Figures) -> dict[str, Figure]:
    """The lines of the table: what each figure is called, and the figure."""
    if figures.union_of_provers is None:
        error = figures.best_response_soundness_error
        return {"completeness": figures.completeness, "false acceptance": error, "J": figures.J}
    rows = {
        "completeness": figures.completeness,
        "achievable completeness": figures.achievable_completeness,
        "learned prover convinces": figures.prover_convinces,
        **{f"attack {name}": figure for name, figure in figures.attack_success.items()},
        "all provers together": figures.union_of_provers,
        "best-response soundness error": figures.best_response_soundness_error,
        "J": figures.J,
    }
    return {name: figure for name, figure in rows.items() if figure is not None}


def _compared(reports: Mapping[str, Report]) -> Table:
    errors = [report.randomised.best_response_soundness_error for report in reports.values()]
    methods = "; ".join(dict.fromkeys(_how(error) for error in errors))
    out = Table(
        title="Shares of claims accepted (randomised decision), with the one-sided 95 % bound that matters",
        caption="Completeness: of true claims, honest prover. Provers: of false claims, the best scripted or learned "
        "prover for each. Best response: of false claims, the best message for each; at least: a lower bound, from the "
        f"best message found. J: completeness - best response. n = {max(error.n for error in errors):,} claims a figure. "
        f"Best response: {methods}. {_PLAIN}",
        title_justify="left",
        caption_justify="left",
    )
    for column in ("verifier", "completeness", "provers", "best response", "J"):
        out.add_column(column, no_wrap=column == "verifier", justify="right" if column == "J" else "left")
    for name, report in reports.items():
        f = report.randomised
        union, error = f.union_of_provers, f.best_response_soundness_error
        scripted = "none" if union is None else f"{union.value:.3f} (<{union.high:.3f})"
        searched = f"{error.value:.3f} (<{error.high:.3f})" if report.exact else f"at least {error.value:.3f}"
        complete = f"{f.completeness.value:.3f} (>{f.completeness.low:.3f})"
        out.add_row(escape(name), complete, scripted, searched, f"{f.J.value:.3f}")
    return out


_PLAIN = "The soundness error as a maximum over all statements is not measured."


def _shown(figure: Figure) -> str:
    return f"{figure.value:.4f} ({figure.low:.4f}..{figure.high:.4f})"


def _how(figure: Figure) -> str:
    """The method, less what the caption says of all figures."""
    return escape(figure.method.split("; one-sided")[0].split("; ends")[0])


def figure(reports: Mapping[str, Report], path: str | os.PathLike[str]) -> None:
    """The reports as a picture (PNG, SVG or PDF by the ending of `path`): what each verifier accepts, with bounds.

    ValueError: matplotlib is missing (extra `plots`), or there is nothing to draw.
    """
    drawing = canvas((9, 1.9 + 1.1 * len(reports)))
    if not reports:
        raise ValueError("figure: expected at least one report, got none")
    axes = drawing.add_subplot()
    for k, (label, colour, marker) in enumerate(_MARKS):
        for row, report in enumerate(reports.values()):
            shown = _points(report.randomised)[k]
            if shown is not None:
                place, bars = (
                    (shown.value, row + 0.27 * (k - 1)),
                    [[shown.value - shown.low], [shown.high - shown.value]],
                )
                axes.errorbar(*place, xerr=bars, fmt=marker, color=colour, capsize=4, label=None if row else label)
                text = f"{'at least ' if k == 2 and not report.exact else ''}{shown.value:.3f}"
                axes.annotate(text, place, (0, 6), textcoords="offset points", ha="center", fontsize=8, color=colour)
    axes.set_yticks(range(len(reports)), list(reports))
    axes.set_ylim(len(reports) - 0.5, -0.5)
    axes.set_xlim(-0.05, 1.05)
    axes.set_xlabel("share of claims accepted, randomised decision (bars: one-sided 95 % bounds)")
    axes.grid(axis="x", alpha=0.3)
    drawing.legend(loc="outside lower center")
    drawing.savefig(path, dpi=150)


def canvas(size: tuple[float, float]) -> Any:
    """An empty matplotlib figure, in inches; ValueError where matplotlib is missing (extra `plots`)."""
    try:
        from matplotlib.figure import Figure as Canvas
    except ImportError as error:
        raise ValueError("figure: needs matplotlib: pip install 'prover-verifier-games[plots]'") from error
    return Canvas(figsize=size, layout="constrained")


def _points(figures: Figures) -> tuple[Figure, Figure | None, Figure]:
    return figures.completeness, figures.union_of_provers, figures.best_response_soundness_error


# In the order of `_points`; the colours can be told apart by people who do not tell red from green.
_MARKS = (
    ("completeness: true claims, honest prover", "#0072B2", "o"),
    ("provers: false claims, the best scripted or learned prover for each", "#E69F00", "s"),
    ("best response: false claims, the best message for each (at least: the best found)", "#D55E00", "D"),
)
