"""What leaderboard files say side by side: a Markdown table, figures, and a page with games to look at."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from string import Template

import numpy as np

from pvg.benchmarks.verifiers.arms import GOAL
from pvg.benchmarks.verifiers.figures import FIGURES
from pvg.benchmarks.verifiers.leaderboard import CONTROL, MAIN, TIMED, Standing
from pvg.benchmarks.verifiers.scores import Scores, holm, interquartile_mean, permutation_p

Table = tuple[list[str], list[list[str]]]  # head, rows


def report(standings: Sequence[Standing], out: Path) -> None:
    """report.md, its figures as PNG, and page.html, which needs nothing beside it, into the folder `out`.

    ValueError: matplotlib is missing (extra `plots`).
    """
    out.mkdir(parents=True, exist_ok=True)
    for name, draw in FIGURES.items():
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
