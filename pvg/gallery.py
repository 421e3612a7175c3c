"""The gallery of tasks, docs/tasks.md, and the README's table, written from what is registered.

    python -m pvg.gallery            (in a checkout: writes both; tests hold them to what this prints)

Its sample games are golden transcripts: the same seed must play the same games for ever.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import sys
from pathlib import Path
from typing import Any

from pvg.game import Game
from pvg.spec import Spec, played
from pvg.task import Proof, tasks
from pvg.testing import in_turn
from pvg.transcript import transcript

ROOT = Path(__file__).resolve().parent.parent
PAGE, README = ROOT / "docs" / "tasks.md", ROOT / "README.md"
RESULTS = ROOT / "benchmarks" / "results"
LANES = 64  # the samples are the first true and the first false claim among so many games
TABLE = re.compile(r"(<!-- tasks[^>]*-->\n).*?(\n<!-- end of tasks -->)", re.DOTALL)

HEAD = """# The tasks

Written by `python -m pvg.gallery`; do not edit. Sizes are `gym.make("pvg/Arith-v0", modulus=7)` or `preset="hard"`. Under each
proof stand two games of seed 0, a true claim argued honestly and a false one argued by one of the dishonest provers, with all that
is said and the evidence the game adds; hidden parts are shown too.
"""


def page() -> str:
    """docs/tasks.md."""
    return "\n".join([HEAD, *(section(name) for name in tasks)])


def section(name: str) -> str:
    """A task's part of the page."""
    task = tasks[name]()
    sizes = {"default": task, **{preset: type(task).preset(preset) for preset in task.presets}}
    lines = [f"## pvg/{name}-v0", "", inspect.getdoc(type(task)) or "", "", "| sizes | bytes a lane |", "| --- | --- |"]
    for preset, sized in sizes.items():
        lines.append(
            f"| {preset}: {_sizes(sized)} | {', '.join(f'{spec.bytes_per_lane} {spec.label}' for spec in played(sized))} |"
        )
    for spec in played(task):
        lines += ["", f"**{spec.label}**: {_script(spec)}. {_numbers(spec.proof)}.", "", "```text", samples(spec), "```"]
    return "\n".join([*lines, *_leaks(name), ""])


def samples(spec: Spec) -> str:
    """A true and a false claim with what honest and dishonest provers and the reference verifier make of them."""
    game = Game(spec, LANES, seed=0)
    game.play(in_turn(game))
    side, truth = game.field("side")[:, 0], game.field("truth")
    shown = [int((argued_truth).nonzero()[0, 0]) for argued_truth in (side == truth, side != truth)]
    return "\n\n".join(transcript(game, lane) for lane in shown)


def table() -> str:
    """The README's table."""
    rates = _result("tasks.json").get("tasks", {})
    lines = ["| task | claim | proofs: completeness, soundness error | source | steps/s |", "| --- | --- | --- | --- | --- |"]
    for name in tasks:
        task = tasks[name]()
        text = inspect.getdoc(type(task)) or ""
        proofs = "; ".join(f"`{spec.proof_name}` {spec.proof}" for spec in played(task))
        speed = f"{rates[name]['steps_per_s'] / 1e6:.3g} million" if name in rates else ""
        lines.append(f"| `pvg/{name}-v0` | {text.splitlines()[0]} | {proofs} | {source(text)} | {speed} |")
    return "\n".join(lines)


def source(docstring: str) -> str:
    """What a docstring's line "Source: ..." says, up to the paragraph's end."""
    found = re.search(r"^ *Source: (.*?)\.?$(?=\n\s*\n|\Z)", docstring, re.DOTALL | re.MULTILINE)
    return " ".join(found[1].split()) if found else ""


def readme(text: str) -> str:
    """The README with its table renewed."""
    return TABLE.sub(lambda found: found[1] + table() + found[2], text)


def _sizes(task: Any) -> str:
    return ", ".join(f"{f.name}={getattr(task, f.name)!r}" for f in dataclasses.fields(task))


def _script(spec: Spec) -> str:
    """Who says what in which order, a part that repeats said once."""
    said = [f"{' or '.join(row.speakers)}'s {row.kind}" for row in spec.rows if row.slot is not None]
    period = next(p for p in range(1, len(said) + 1) if said == said[:p] * (len(said) // p))
    again = f" ({len(said) // period} times)" if period < len(said) else ""
    return f"{', '.join(said[:period])}{again}, then the verdict"


def _numbers(proof: Proof | None) -> str:
    assert proof is not None
    if proof.completeness is None or proof.soundness_error is None:
        return "No number is claimed"
    how = "exactly" if proof.exact else "at most"
    return f"Completeness {proof.completeness:.4g}, soundness error {how} {proof.soundness_error:.4g}"


def _leaks(name: str) -> list[str]:
    found = _result("leaks.json").get("tasks", {}).get(name)
    if found is None:
        return []
    lines = ["", "What the verifier can tell without a message (`python -m pvg.benchmarks.leaks`):", ""]
    return [*lines, *(f"- {probe}: {result}" for probe, result in found["summary"].items())]


def _result(name: str) -> dict[str, Any]:
    path = RESULTS / name
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def main() -> None:
    if not README.exists():
        sys.exit(f"{README}: no such file; the gallery is written in a checkout")
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page())
    README.write_text(readme(README.read_text()))


if __name__ == "__main__":
    main()
