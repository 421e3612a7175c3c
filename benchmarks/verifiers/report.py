"""What leaderboard files say side by side: a Markdown table, figures, and a page with games to look at."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from pvg.agents.report import canvas
from pvg.benchmarks.verifiers.arms import GOAL
from pvg.benchmarks.verifiers.leaderboard import CONTROL, MAIN, TIMED, Standing
from pvg.benchmarks.verifiers.scores import Scores, holm, interquartile_mean, permutation_p

FIGURES = ("completeness_and_error", "attacks", "learning")
ALONG = (("games", 1000, "thousand games"), ("cpu_seconds", 1, "CPU seconds"))
Table = tuple[list[str], list[list[str]]]  # head, rows


def report(standings: Sequence[Standing], out: Path) -> None:
    """report.md, its figures as PNG, and page.html, which needs nothing beside it, into the folder `out`.

    ValueError: matplotlib is missing (extra `plots`).
    """
    out.mkdir(parents=True, exist_ok=True)
    for name, draw in zip(FIGURES, (completeness_and_error, attack_curves, learning_curves), strict=True):
        draw(standings, out / f"{name}.png")
    parts = list(sections(standings))
    (out / "report.md").write_text(markdown(standings, parts))
    (out / "page.html").write_text(page(standings, parts, [out / f"{name}.png" for name in FIGURES]))


def sections(standings: Sequence[Standing]) -> Iterator[tuple[str, str, Table | None]]:
    """Title, text and table of each part of the report."""
    for title, structural in (("Verifiers", False), ("Structural priors", True)):
        some = ranked([s for s in standings if s.structural == structural])
        if some:
            text = "Told how the parts of a statement and its proof belong together; ranked apart." if structural else ""
            yield title, text, overall(some)
            yield f"{title}: controls and costs", "", costs(some)
    yield (
        "By game",
        "J, then completeness / best-response soundness error; means over seeds. ≤: the error is a lower bound.",
        by_game(standings),
    )
    compared = comparisons(standings)
    if compared[1]:
        yield (
            "Differences",
            (
                "Mean difference of J over the games two verifiers share, and p of a permutation test within games, two-sided, "
                "after Holm's correction for all lines of the table."
            ),
            compared,
        )
    failed = failures(standings)
    if failed[1]:
        yield "Failures", "A failed run counts as J = -1.", failed


def ranked(standings: Sequence[Standing]) -> list[Standing]:
    """The highest interquartile mean of J first."""
    return sorted(standings, key=lambda s: _mean(s.scores()), reverse=True)


def overall(standings: Sequence[Standing]) -> Table:
    """How far each verifier can be trusted, a row each."""
    head = ["verifier", "J, exact", "J, at most", "complete", "error", "alone"]
    rows = [
        [
            s.verifier,
            _iqm(s.scores(exact=True)),
            _iqm(s.scores(exact=False)),
            _iqm(s.scores(figure="completeness")),
            _iqm(s.scores(figure="error")),
            _iqm(s.solo()),
        ]
        for s in standings
    ]
    return head, rows


def costs(standings: Sequence[Standing]) -> Table:
    """What each verifier's J is with other training, and what it costs, a row each."""
    head = ["verifier", "J", "J, control", "J, CPU-matched", "parameters", "FLOPs", f"games to {GOAL[0]} / {GOAL[1]}"]
    rows = []
    for s in standings:
        sized = [game for game in s.games.values() if "parameters" in game]
        reached = [run["arms"][s.main].get("games_to_goal") for run in s.runs]
        fast = [games for games in reached if games is not None]
        goal = f"{np.median(fast):,.0f}\n" if fast else ""
        rows.append(
            [
                s.verifier,
                _iqm(s.scores()),
                _iqm(s.scores(CONTROL)),
                _iqm(s.scores(TIMED)),
                f"{max(game['parameters'] for game in sized):,}" if sized else "unknown",
                f"{max(game['flops'] for game in sized):,}" if sized else "unknown",
                f"{goal}{len(fast)} of {len(reached)} runs",
            ]
        )
    return head, rows


def by_game(standings: Sequence[Standing]) -> Table:
    """A row a game, a column a verifier."""
    rows = []
    for game in standings[0].suite["games"]:
        row = [game]
        for s in standings:
            found = [s.scores(figure=figure).get(game, []) for figure in ("J", "completeness", "error")]
            if "refused" in s.games[game]:
                row.append("refused")
            elif not found[1]:
                row.append("failed" if found[0] else "")
            else:
                j, completeness, error = map(np.mean, found)
                row.append(f"{'' if s.exact(game) else '≤ '}{j:.2f}  ({completeness:.2f} / {error:.2f})")
        rows.append(row)
    return ["game", *(s.verifier for s in standings)], rows


def comparisons(standings: Sequence[Standing]) -> Table:
    """Every pair of verifiers without structural priors, and each trained verifier against its update-matched control."""
    found: dict[str, tuple[Scores, Scores]] = {}
    for a, b in combinations(ranked([s for s in standings if not s.structural]), 2):
        found[f"{a.verifier} - {b.verifier}"] = a.scores(), b.scores()
    for s in standings:
        if s.main == MAIN and s.scores(CONTROL):
            found[f"{s.verifier}, adversarial - its control"] = _without_failures(s, MAIN), _without_failures(s, CONTROL)
    found = {name: pair for name, pair in found.items() if set(pair[0]) & set(pair[1])}
    adjusted = holm({name: permutation_p(*pair) for name, pair in found.items()})
    rows = []
    for name, (a_scores, b_scores) in found.items():
        shared = set(a_scores) & set(b_scores)
        gap = np.mean([np.mean(a_scores[game]) - np.mean(b_scores[game]) for game in shared])
        rows.append([name, f"{gap:+.3f}", f"{len(shared)}", f"{adjusted[name]:.4f}"])
    return ["difference of J", "mean", "games", "p"], rows


def _without_failures(s: Standing, arm: str) -> Scores:
    return {game: [run["arms"][arm]["J"]["value"] for run in s.runs if run["game"] == game] for game in {r["game"] for r in s.runs}}


def failures(standings: Sequence[Standing]) -> Table:
    """What failed, and with what error."""
    rows = [
        [s.verifier, failure["game"], "all" if failure["seed"] is None else str(failure["seed"]), failure["error"]]
        for s in standings
        for failure in s.failures
    ]
    return ["verifier", "game", "seed", "error"], rows


def _iqm(scores: Scores) -> str:
    if not scores:
        return ""
    found = interquartile_mean(scores, "J")
    interval = f"{found.low:.2f}..{found.high:.2f}" if max(map(len, scores.values())) > 1 else "one seed"
    return f"{found.value:.2f}\n{interval}"


def _mean(scores: Scores) -> float:
    return interquartile_mean(scores, "J").value if scores else -np.inf


def heading(standings: Sequence[Standing]) -> tuple[str, str]:
    """The title, and what the numbers are."""
    suite = standings[0].suite
    part = "" if suite["whole"] else " (part of it)"
    text = (
        "J = completeness - best-response soundness error, randomised decisions on fresh test claims; the error is a mean over "
        "false claims of the most readily accepted message. Exact: that message is known, by trying all or by dynamic "
        f"programming. At most: it is the best that all attacks with {suite['queries']:,} verdict queries each found, on "
        f"{suite['attacked']} claims a run, so J may be less. Trained by imitation of scripted provers, then adversarially, at a "
        "learning rate each verifier chose on validation claims of another seed; control: the second part on scripted provers "
        "instead. CPU-matched: as many updates as fit the suite's CPU seconds. Alone: accuracy without a prover after as many "
        "games. Parameters and FLOPs are of the game in which they are most; FLOPs, of a verdict, in matrix products, table "
        "look-ups counting for nothing. Games to the goal are the median of the runs that reach it on validation claims. "
        f"Interquartile means over {len(suite['seeds'])} seeds of each game, with one-sided 95 % bounds from a bootstrap of seeds "
        "within games."
    )
    return f"Verifiers on suite {suite['name']}{part}, version {suite['version']}, hash {suite['hash']}", text


def markdown(standings: Sequence[Standing], parts: Sequence[tuple[str, str, Table | None]]) -> str:
    """The report as Markdown."""
    title, text = heading(standings)
    lines = [f"# {title}", "", text, ""]
    for name, about, table in parts:
        lines += [f"## {name}", ""] + ([about, ""] if about else [])
        if table is not None:
            head, rows = table
            lines += [_row(head), _row(["---"] * len(head)), *map(_row, rows), ""]
    lines += [f"![{name.replace('_', ' ')}]({name}.png)" for name in FIGURES]
    origins = {f"{s.verifier}: commit {s.provenance['commit']}, {s.provenance['device_name']}" for s in standings}
    return "\n".join([*lines, "", "; ".join(sorted(origins)), ""])


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_in_line(cell).replace("|", "\\|") for cell in cells) + " |"


def _in_line(cell: str) -> str:
    """A value and the interval below it, or the lines of an error, on one line."""
    value, below, interval = cell.partition("\n")
    return f"{value} ({interval.replace(chr(10), ' ')})" if below else value


def page(standings: Sequence[Standing], parts: Sequence[tuple[str, str, Table | None]], pictures: Sequence[Path]) -> str:
    """The report as one HTML file with a viewer of games."""
    title, text = heading(standings)
    games = [
        {"verifier": s.verifier, "game": run["game"], "task": s.games[run["game"]]["task"], **shown}
        for s in standings
        for run in s.runs
        for shown in run["arms"][s.main].get("examples", [])
    ]
    images = [
        f'<img alt="{path.stem.replace("_", " ")}" src="data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}">'
        for path in pictures
    ]
    body = "".join(f"<h2>{_safe(name)}</h2><p>{_safe(about)}</p>{_html(table)}" for name, about, table in parts)
    data = json.dumps(games).replace("<", "\\u003c")  # nothing a prover said can end the script
    frame = Template((Path(__file__).parent / "page.html").read_text())
    return frame.substitute(title=_safe(title), text=_safe(text), tables=body, figures="".join(images), games=data)


def _safe(text: str) -> str:
    return html.escape(text)


def _html(table: Table | None) -> str:
    if table is None:
        return ""
    head, rows = table
    top = "".join(f"<th>{_safe(cell)}</th>" for cell in head)
    lines = "".join("<tr>" + "".join(f"<td>{_safe(_in_line(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<div class=wide><table><tr>{top}</tr>{lines}</table></div>"


# Figures. The colours can be told apart by people who do not tell red from green.
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
