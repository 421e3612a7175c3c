"""The benchmark's report: tables, figures, and a page that works by itself in a browser."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pvg.benchmarks.verifiers.leaderboard import Standing, described
from pvg.benchmarks.verifiers.report import by_game, comparisons, overall, ranked, report, sections
from pvg.benchmarks.verifiers.suite import suites

GAMES = ("arith-3", "matching-4")


def figure(value: float) -> dict[str, Any]:
    return {"value": value, "low": value, "high": value, "n": 10, "method": "by hand"}


def shown(by: str, **more: Any) -> dict[str, Any]:
    game = {"statement": "1 + 1 + 1 = 0 (mod 3)", "said": [["prover", "2 1"]], "evidence": [], "verdict": 1, "probability": 0.9}
    return {**game, "truth": 1, "first_wrong_step": None, "by": by, "queries": None, **more}


HOSTILE = "</script><script>document.title = 'taken'</script>"
EXAMPLES = [
    shown("the honest prover"),
    shown("coordinates", statement="1 + 2 + 1 = 0 (mod 3)", truth=0, first_wrong_step=1, queries=37, evidence=["row = [1, 2]"]),
    shown("a scripted prover", statement=HOSTILE, truth=0, verdict=0, first_wrong_step=0, probability=0.1),
]


def arm(completeness: float, error: float, exact: bool = True) -> dict[str, Any]:
    return {
        "completeness": figure(completeness),
        "error": figure(error),
        "J": figure(completeness - error),
        "exact": exact,
        "marks": [100, 500],
        "union": [error / 2, error],
        "black_box_union": [error / 4, error / 2],
        "curve": [{"games": g, "cpu_seconds": g / 100, "completeness": completeness, "error": error} for g in (64, 128)],
        "games_to_goal": 128 if error == 0 else None,
    }


def standing(name: str, error: float, structural: bool = False, failures: tuple[dict[str, Any], ...] = ()) -> Standing:
    suite = suites["quick"].narrowed(GAMES)
    runs = [
        {
            "game": game,
            "seed": seed,
            "arms": {
                "adversarial": arm(1.0, error + seed / 10, game == "arith-3") | ({"examples": EXAMPLES} if seed == 0 else {}),
                "control": arm(1.0, 1.0),
                "cpu-matched": arm(0.9, error),
            },
            "solo": {"accuracy": figure(0.5), "games": 10, "cpu_seconds": 1.0},
        }
        for game in GAMES
        for seed in (0, 1)
    ]
    sized = {"task": "Arith()", "parameters": 1000, "flops": 2000}
    origin = {"commit": "abc", "device_name": "cpu"}
    return Standing(name, "", structural, described(suite), origin, dict.fromkeys(GAMES, sized), tuple(runs), failures)


BOARD = [standing("good", 0.0), standing("bad", 0.8), standing("prior", 0.0, structural=True)]


def test_structural_priors_are_ranked_apart_and_bounds_kept_apart_from_exact_values():
    titles = [title for title, _, _ in sections(BOARD)]
    assert titles[:4] == [
        "Verifiers",
        "Verifiers: controls and costs",
        "Structural priors",
        "Structural priors: controls and costs",
    ]
    assert [s.verifier for s in ranked(BOARD[:2])] == ["good", "bad"]
    (row,) = overall(BOARD[1:2])[1]
    assert row[1].startswith("0.15\n0.")  # of 0.2 and 0.1
    head, rows = by_game(BOARD)
    assert head == ["game", "good", "bad", "prior"]
    assert rows[0][2] == "0.15  (1.00 / 0.85)"
    assert rows[1][2] == "≤ 0.15  (1.00 / 0.85)"


def test_every_verifier_is_held_against_its_control_and_pairs_against_each_other():
    head, rows = comparisons(BOARD)
    assert [row[0] for row in rows] == [
        "good - bad",
        "good, adversarial - its control",
        "bad, adversarial - its control",
        "prior, adversarial - its control",
    ]
    assert rows[0][1] == "+0.800"
    assert head[-1] == "p"


def test_failures_stand_in_the_report_with_their_errors(tmp_path):
    failure = {"game": "arith-3", "seed": None, "error": "Mine, Arith(): forward: a | b", "traceback": "Traceback"}
    failed = replace(standing("failed", 0.0, failures=(failure,)), runs=())
    report([*BOARD, failed], tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "| failed | arith-3 | all | Mine, Arith(): forward: a \\| b |" in text
    assert failed.scores() == {"arith-3": [-1.0, -1.0]}


def test_the_report_is_one_page_that_asks_for_nothing_else(tmp_path):
    report(BOARD, tmp_path)
    page = (tmp_path / "page.html").read_text()
    assert re.findall(r'(?:src|href)="(?!data:)', page) == []
    assert "http" not in re.sub(r"data:image/png;base64,[\w+/=]*", "", page)
    data = json.loads(re.findall(r'<script id="games" type="application/json">(.*?)</script>', page, re.DOTALL)[0])
    assert len(data) == 3 * 2 * len(EXAMPLES)
    text = (tmp_path / "report.md").read_text()
    for name in ("completeness_and_error", "attacks", "learning"):
        assert f"]({name}.png)" in text
        assert (tmp_path / f"{name}.png").stat().st_size > 5000


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Any]:
    """The page of BOARD in headless Chromium, which may load nothing else and report no error."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert chromium is not None, "needs a Chromium on the path"
    report(BOARD, tmp_path)
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        tab = browser.new_page()
        wrong: list[str] = []
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.on("request", lambda request: wrong.append(request.url) if not request.url.startswith(("file:", "data:")) else None)
        tab.goto((tmp_path / "page.html").as_uri())
        yield tab
        assert wrong == []
        browser.close()


@pytest.mark.browser
def test_the_viewer_shows_games_by_verifier_with_the_first_wrong_step_and_the_attack(opened):
    assert opened.title().startswith("Verifiers on suite quick")
    view = opened.locator("#shown")
    assert opened.locator("#verifier option").all_inner_texts() == ["good", "bad", "prior"]
    opened.select_option("#verifier", "bad")
    opened.select_option("#game", "matching-4")
    lines = opened.locator("#list button")
    assert lines.all_inner_texts() == [
        "the honest prover: accepts a true claim",
        "coordinates: accepts a false claim",
        "a scripted prover: rejects a false claim",
    ]
    assert "1 + 1 + 1 = 0 (mod 3)" in view.inner_text()
    assert view.locator(".wrong").count() == 0
    lines.nth(1).click()
    assert view.locator(".wrong").all_inner_texts() == ["1"]
    for words in ("1 + 2 + 1 = 0 (mod 3)", "row = [1, 2]", "accepts a false claim", "0.9", "attack coordinates", "37 queries"):
        assert words in view.inner_text()
    opened.click("#next")
    assert view.locator(".wrong").all_inner_texts() == ["2"]
    assert HOSTILE in view.inner_text()  # as text
    assert opened.title() != "taken"
    opened.click("#next")
    assert opened.locator("#list [aria-current]").all_inner_texts() == ["the honest prover: accepts a true claim"]
    opened.click("#previous")
    assert "rejects a false claim" in view.inner_text()
    assert opened.locator("img").count() == 3
    assert all(opened.evaluate("[...document.images].map(image => image.naturalWidth > 0)"))
