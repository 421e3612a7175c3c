"""The report's figures: completeness against error, attack success against queries, learning curves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pvg.agents.report import canvas
from pvg.benchmarks.verifiers.leaderboard import Standing

ALONG = (("games", 1000, "thousand games"), ("cpu_seconds", 1, "CPU seconds"))

# The colours can be told apart by people who do not tell red from green.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")


def _coloured(standings: Sequence[Standing]) -> Iterator[tuple[Standing, str, str]]:
    for i, s in enumerate(standings):
        yield s, _COLOURS[i % len(_COLOURS)], "-" if not s.structural else "--"


def completeness_and_error(standings: Sequence[Standing], path: Path) -> None:
    """A point a verifier and game: filled where the best response is known, hollow where the error is a lower bound."""
    drawing = canvas((8, 6))
    axes = drawing.add_subplot()
    for s, colour, _ in _coloured(standings):
        complete, wrong = s.scores(figure="completeness"), s.scores(figure="error")
        for exact in (True, False):
            games = [game for game in complete if s.exact(game) == exact]
            x, y = ([np.mean(values[game]) for game in games] for values in (wrong, complete))
            face = colour if exact else "none"
            axes.scatter(x, y, s=60, facecolors=face, edgecolors=colour, label=s.verifier if exact else None)
            for game, *at in zip(games, x, y, strict=True):
                axes.annotate(game, at, xytext=(4, 3), textcoords="offset points", fontsize=6)
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle=":")
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlabel("best-response soundness error (hollow: at least)")
    axes.set_ylabel("completeness, honest prover")
    axes.set_title("Complete and sound is the upper left; on the dotted line a verifier does not look", fontsize=9)
    axes.grid(alpha=0.3)
    drawing.legend(loc="outside right upper", fontsize=8)
    drawing.savefig(path, dpi=110)


def attack_curves(standings: Sequence[Standing], path: Path) -> None:
    """Attack success against queries: all attacks together, means over games and seeds, a line a verifier."""
    drawing = canvas((8, 4.5))
    axes = drawing.add_subplot()
    for s, colour, dash in _coloured(standings):
        arms = [run["arms"][s.main] for run in s.runs]
        marks = sorted({mark for arm in arms for mark in arm["marks"]})
        for name, style in (("union", dash), ("black_box_union", ":")):
            y = [np.mean([_at(arm["marks"], arm[name], mark) for arm in arms]) for mark in marks]
            label = s.verifier if name == "union" else None
            axes.plot(marks, y, style, color=colour, marker="o" if name == "union" else ".", label=label)
    axes.set_xscale("log")
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlabel("verdict queries a claim (dotted: attacks that see verdicts alone)")
    axes.set_ylabel("false claims accepted, mean over games")
    axes.grid(alpha=0.3)
    drawing.legend(loc="outside right upper", fontsize=8)
    drawing.savefig(path, dpi=110)


def _at(marks: Sequence[int], values: Sequence[float], mark: int) -> float:
    """The value at the last mark that is no larger; the first, where there is none."""
    return values[max(0, sum(m <= mark for m in marks) - 1)]


def learning_curves(standings: Sequence[Standing], path: Path) -> None:
    """Completeness and error on validation claims against games and against CPU seconds; a panel row a game, means over seeds."""
    games = [game for game in standings[0].suite["games"] if any(_curves(s, game) for s in standings)]
    drawing = canvas((9, 2.2 * max(1, len(games))))
    if not games:
        drawing.savefig(path, dpi=110)
        return
    axes = drawing.subplots(len(games), 2, squeeze=False)
    for row, game in zip(axes, games, strict=True):
        for panel, (along, unit, label) in zip(row, ALONG, strict=True):
            for s, colour, _ in _coloured(standings):
                curves = _curves(s, game)
                if curves:
                    x = np.mean([[p[along] / unit for p in curve] for curve in curves], axis=0)
                    for what, style in (("completeness", "-"), ("error", "--")):
                        y = np.mean([[p[what] for p in curve] for curve in curves], axis=0)
                        panel.plot(x, y, style, color=colour, linewidth=1.2, label=s.verifier if what == "completeness" else None)
            panel.set_ylim(-0.03, 1.03)
            panel.grid(alpha=0.3)
            panel.set_xlabel(label, fontsize=7)
        row[0].set_ylabel(game, fontsize=8)
    handles: dict[str, Any] = {}
    for panel in axes.flat:
        handles |= dict(zip(*reversed(panel.get_legend_handles_labels()), strict=True))
    drawing.legend(
        handles.values(), handles.keys(), loc="outside upper center", ncols=6, fontsize=8, title="completeness; dashed: error"
    )
    drawing.savefig(path, dpi=110)


def _curves(s: Standing, game: str) -> list[list[dict[str, float]]]:
    return [run["arms"][s.main]["curve"] for run in s.runs if run["game"] == game and "curve" in run["arms"][s.main]]


FIGURES = {"completeness_and_error": completeness_and_error, "attacks": attack_curves, "learning": learning_curves}
