"""What attacks made of a verifier, as numbers for machines, a table and a figure for people."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from pvg import frozen
from pvg.agents.report import NOT_MEASURED, canvas
from pvg.frozen import Transcripts
from pvg.metrics import Figure

Curve = tuple[Figure, ...]


@dataclass(frozen=True)
class Won:
    """A false claim that the verifier accepts: the attack whose message it is, the queries it took, and the game as text."""

    claim: int
    attack: str
    queries: int
    verdict: float
    message: list[int]
    transcript: str


@dataclass(frozen=True)
class AttackReport:
    """Attack success E[v(x, A(x)) | Y = 0] of every attack A at equal budgets of verdict queries a claim.

    marks: the budgets. success: by attack, at each of them. union: with, for each claim, the message of the attack that found
    the one accepted most readily. black_box_union: of attacks that see verdicts only. exact: best-response soundness error on
    the same claims, None where it cannot be computed; the union is then a lower bound of it. how_exact: how it was, or why not.
    at_threshold: of each attack and the union, at the largest budget, when the claim is accepted from `threshold` on, which
    validation claims chose.
    winners: how many of the claims accepted each attack won: its message is accepted most readily, of equals the one found
    with the fewest queries. queries: asked by each attack, a claim, on average. prepared: what was spent before. left_out:
    attacks that cannot be used here, and why. won: one entry a claim accepted, as in `transcripts`.
    """

    env: str
    protocol: str
    task: str
    proof: str | None
    split: str
    seed: int
    claims: int
    marks: tuple[int, ...]
    success: Mapping[str, Curve]
    union: Curve
    black_box_union: Curve
    exact: Figure | None
    how_exact: str
    threshold: float
    at_threshold: Mapping[str, Figure]
    winners: Mapping[str, int]
    queries: Mapping[str, float]
    prepared: Mapping[str, Mapping[str, int]]
    left_out: Mapping[str, str]
    won: tuple[Won, ...]
    transcripts: Transcripts | None
    seconds: float
    versions: Mapping[str, str]

    @property
    def winning(self) -> str | None:
        """The attack that won the most claims; None where no false claim was accepted."""
        return max(self.winners, key=lambda name: self.winners[name]) if any(self.winners.values()) else None

    def as_dict(self) -> dict[str, Any]:
        """For JSON: all but the transcripts, which are a file of their own."""
        plain = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "transcripts"}
        curves = {name: [figure.as_dict() for figure in curve] for name, curve in self.success.items()}
        return {
            **plain,
            "success": curves,
            **{name: [figure.as_dict() for figure in getattr(self, name)] for name in ("union", "black_box_union")},
            "exact": None if self.exact is None else self.exact.as_dict(),
            "at_threshold": {name: figure.as_dict() for name, figure in self.at_threshold.items()},
            "won": [asdict(won) for won in self.won],
            "winning": self.winning,
            "decision": "randomised: accepted with probability v",
            "maximum_over_statements": NOT_MEASURED,
        }


def write(report: AttackReport, out: Path) -> None:
    """report.json, figure.png and, where a claim was accepted, transcripts.npz into the folder `out`.

    ValueError: matplotlib is missing (extra `plots`); the other files are written nevertheless.
    """
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").write_text(json.dumps(report.as_dict(), indent=2, allow_nan=False) + "\n")
    if report.transcripts is not None:
        frozen.save(out / "transcripts.npz", report.transcripts)
    figure(report, out / "figure.png")


def table(report: AttackReport) -> Table:
    """Attack by budget, with the exact value below, what was left out and what won in the caption."""
    out = Table(
        title=escape(f"{report.env}, {report.protocol}: {report.task}, {report.claims:,} false {report.split} claims"),
        caption=escape(_caption(report)),
        title_justify="left",
        caption_justify="left",
    )
    out.add_column("attack", overflow="fold")
    for mark in report.marks:
        out.add_column(f"{mark:,}", justify="right", no_wrap=True)
    for name in (f"at {report.threshold:.2g}", "asked", "won"):
        out.add_column(name, justify="right", no_wrap=True)
    for name, curve in report.success.items():
        shown = [f"{report.at_threshold[name].value:.3f}", f"{report.queries[name]:,.0f}", f"{report.winners[name]:,}"]
        out.add_row(escape(name), *map(_shown, curve), *shown)
    out.add_section()
    last = len(report.marks) - 1
    bound = "all attacks" if report.exact is not None else "all attacks (lower bound)"
    together = f"{report.at_threshold['union'].value:.3f}"
    out.add_row(bound, *map(_shown, report.union), together, "", f"{len(report.won):,}")
    out.add_row("those that see verdicts only", *map(_shown, report.black_box_union))
    if report.exact is not None:
        out.add_row("exact: the best message", *[""] * last, _shown(report.exact))
    return out


def _caption(report: AttackReport) -> str:
    lines = [
        "Share of false claims accepted after so many verdict queries a claim, randomised decision, with one-sided 95 % bounds; "
        f"and, at the last budget, if accepted from v = {report.threshold:.4g} on (chosen on validation claims). Asked: queries a "
        "claim; an attack may end before its budget. Won: claims accepted by whose message was accepted most readily, of equals "
        "the one found with fewest queries.",
        f"Best response: {report.how_exact}.",
        f"Winning attack: {report.winning or 'none, no false claim was accepted'}.",
    ]
    spent = [f"{name}: {count:,} {what}" for name, costs in report.prepared.items() for what, count in costs.items()]
    lines += [f"Before any claim was attacked: {'; '.join(spent)}."] if spent else []
    left = [f"{name} ({reason})" for name, reason in report.left_out.items()]
    lines += [f"Not used: {'; '.join(left)}."] if left else []
    return "\n".join(lines)


def _shown(figure: Figure) -> str:
    """The value, and below it the bounds: columns stay narrow."""
    low, high = (f"{bound:.2f}".removeprefix("0") for bound in (figure.low, figure.high))
    return f"{figure.value:.3f}\n{low}-{high}"


def figure(report: AttackReport, path: str | os.PathLike[str]) -> None:
    """Success against queries: a line an attack, all together, and the exact value where there is one.

    ValueError: matplotlib is missing (extra `plots`).
    """
    drawing = canvas((9, 5.5))
    axes = drawing.add_subplot()
    styles = [(colour, dash) for dash in ("-", "--", ":") for colour in _COLOURS]
    for (name, curve), (colour, dash) in zip(report.success.items(), styles * len(report.success), strict=False):
        axes.plot(report.marks, [f.value for f in curve], dash, color=colour, marker=".", label=name, linewidth=1.2)
    values, lows = [f.value for f in report.union], [f.low for f in report.union]
    axes.plot(report.marks, values, color="black", linewidth=2.5, marker="o", label="all attacks")
    axes.fill_between(report.marks, lows, [f.high for f in report.union], color="black", alpha=0.1)
    if report.exact is not None:
        axes.axhline(report.exact.value, color="black", linestyle=(0, (1, 1)), label="exact: the best message")
    axes.set_xscale("log")
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlabel("verdict queries a claim")
    axes.set_ylabel("share of false claims accepted, randomised decision")
    axes.set_title(f"{report.env}, {report.protocol}: {report.claims:,} false {report.split} claims")
    axes.grid(alpha=0.3)
    drawing.legend(loc="outside right upper", fontsize=8)
    drawing.savefig(path, dpi=150)


# Can be told apart by people who do not tell red from green.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9")
