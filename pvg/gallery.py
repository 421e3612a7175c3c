"""The galleries, docs/tasks.md and docs/protocols.md, and the README's tables, written from what is registered.

    python -m pvg.gallery            (in a checkout: writes all; tests hold them to what this prints)

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

from pvg.field import EVERYONE, Field
from pvg.game import Game
from pvg.protocol import VERDICT, protocols
from pvg.spec import Spec, played
from pvg.task import Proof, tasks
from pvg.testing import fitting, in_turn
from pvg.transcript import transcript

ROOT = Path(__file__).resolve().parent.parent
TASKS, PROTOCOLS, README = ROOT / "docs" / "tasks.md", ROOT / "docs" / "protocols.md", ROOT / "README.md"
RESULTS = ROOT / "benchmarks" / "results"
LANES = 64  # the samples are the first true and the first false claim among so many games
SENTENCE = re.compile(r"(?<=[.?!])\n(?=\S)")
LIST = re.compile(r"(?:^- .*\n(?:  .*\n)*)+", re.MULTILINE)
TABLE = re.compile(r"(<!-- (tasks|protocols):[^>]*-->\n).*?(\n<!-- end of \2 -->)", re.DOTALL)

TASKS_HEAD = """# The tasks

Written by `python -m pvg.gallery`; do not edit. Sizes are `gym.make("pvg/Arith-v0", modulus=7)` or `preset="hard"`. Under each
proof stand two games of seed 0, a true claim argued honestly and a false one argued by one of the dishonest provers, with all that
is said and the evidence the game adds; hidden parts are shown too.
"""


PROTOCOLS_HEAD = """# The protocols

Written by `python -m pvg.gallery`; do not edit. `gym.make("pvg/Arith-v0", protocol="bisection")`; settings by an object, such as
`protocol=pvg.protocols.Debate(order="simultaneous")`, or `--set order=simultaneous`. Rows of one turn are simultaneous; each
table is at default settings. Two games of seed 0 stand under it, a true claim and a false one, played by the default agents:
provers that are honest where what they argue is true, else dishonest, and the reference verifier.
"""


def tasks_page() -> str:
    """docs/tasks.md."""
    return "\n".join([TASKS_HEAD, *(section(name) for name in tasks)])


def protocols_page() -> str:
    """docs/protocols.md."""
    return "\n".join([PROTOCOLS_HEAD, *(protocol_section(name) for name in protocols)])


def section(name: str) -> str:
    """A task's part of the page."""
    task = tasks[name]()
    sizes = {"default": task, **{preset: type(task).preset(preset) for preset in task.presets}}
    lines = [f"## pvg/{name}-v0", "", as_written(inspect.getdoc(type(task)) or ""), "", "| sizes | bytes a lane |", "| --- | --- |"]
    for preset, sized in sizes.items():
        lines.append(
            f"| {preset}: {_sizes(sized)} | {', '.join(f'{spec.bytes_per_lane} {spec.label}' for spec in played(sized))} |"
        )
    for spec in played(task):
        lines += ["", f"**{spec.label}**: {_script(spec)}. {_numbers(spec.proof)}.", "", "```text", samples(spec), "```"]
    return "\n".join([*lines, *_leaks(name), ""])


def samples(spec: Spec) -> str:
    """A true and a false claim (an answer argued, where there are more than two) with what the default agents make of them."""
    game = Game(spec, LANES, seed=0)
    game.play(in_turn(game))
    side, truth = game.field("side")[:, 0], game.field("truth")
    true = side == truth if spec.proof is not None and spec.task.answers > 2 else truth == 1
    shown = [int(wanted.nonzero()[0, 0]) for wanted in (true, ~true)]
    return "\n\n".join(transcript(game, lane) for lane in shown)


def protocol_section(name: str) -> str:
    """A protocol's part of its page."""
    shown = shown_on(name)
    fits = [f"{task} ({', '.join(found)})" if any(found := _proofs(task, name)) else task for task in tasks if _proofs(task, name)]
    lines = [f"## {name}", "", as_written(inspect.getdoc(protocols[name]) or ""), ""]
    lines += [f"Complexity: {protocols[name].complexity}.", ""] if protocols[name].complexity else []
    lines += [f"Plays: {', '.join(fits)}.", "", f"On {type(shown.task).__name__}, {shown.label}:", ""]
    lines += ["| turn | who | says | heard by |", "| --- | --- | --- | --- |"]
    lines += [f"| {' | '.join(line)} |" for line in who_says_what(shown)]
    return "\n".join([*lines, "", "```text", samples(shown), "```", ""])


def shown_on(name: str) -> Spec:
    """The game a protocol is shown on: of those with the most kinds of utterance, the one of the smallest lanes."""
    return min(
        (spec for task in tasks for spec in fitting(tasks[task]()) if type(spec.protocol) is protocols[name]),
        key=lambda spec: (-len({row.kind for row in spec.rows}), spec.bytes_per_lane),
    )


def who_says_what(spec: Spec) -> list[tuple[str, str, str, str]]:
    """The table: turn, speaker, kind of utterance and what it is made of, hearers; rows after the twelfth are left out."""
    lines = []
    for row in spec.rows[:12]:
        parts = ", ".join(f"{f.name} 0..{f.high - 1}{f' x {f.size}' if f.size > 1 else ''}{_for(f)}" for f in spec.parts(row))
        says = row.kind if row.kind == VERDICT else f"{row.kind}: {parts}"
        late = "" if row.revealed is None else f" from turn {row.revealed} on"
        lines.append((str(row.turn), " or ".join(row.speakers), says, f"{', '.join(row.hearers)}{late}"))
    if len(spec.rows) > 12:
        lines.append(("...", "", f"{len(spec.rows) - 13} more rows", ""))
        last = spec.rows[-1]
        lines.append((str(last.turn), " or ".join(last.speakers), last.kind, ", ".join(last.hearers)))
    return lines


def _for(field: Field) -> str:
    """Whom a part of an utterance is for, where that is not everybody who hears it."""
    return "" if set(EVERYONE) <= set(field.seen_by) else f" (for the {' or '.join(field.seen_by) or 'record'} alone)"


def _proofs(task: str, protocol: str) -> list[str]:
    """The proofs of a task, at default sizes, that a protocol plays; "" for one that needs none."""
    kind = protocols[protocol]
    return [spec.proof_name or "" for spec in fitting(tasks[task]()) if type(spec.protocol) is kind]


def protocol_table() -> str:
    """The README's table of protocols."""
    lines = ["| protocol | game | who is paid | class | source |", "| --- | --- | --- | --- | --- |"]
    for name in protocols:
        text = inspect.getdoc(protocols[name]) or ""
        cells = (about(text), labelled(text, "Paid"), protocols[name].complexity, labelled(text, "Source"))
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def table() -> str:
    """The README's table of tasks."""
    rates = _result("tasks.json").get("tasks", {})
    lines = ["| task | claim | proofs: completeness, soundness error | source | steps/s |", "| --- | --- | --- | --- | --- |"]
    for name in tasks:
        task = tasks[name]()
        text = inspect.getdoc(type(task)) or ""
        proofs = "; ".join(f"`{spec.proof_name}` {spec.proof}" if spec.proof else f"`{spec.label}`" for spec in played(task))
        speed = f"{rates[name]['steps_per_s'] / 1e6:.3g} million" if name in rates else ""
        lines.append(f"| `pvg/{name}-v0` | {about(text)} | {proofs} | {labelled(text, 'Source')} | {speed} |")
    return "\n".join(lines)


def as_written(docstring: str) -> str:
    """A docstring in Markdown, which would run its lines together: one that ends with a sentence stays a line, by two spaces, and a
    list stays apart, by empty lines.
    """
    apart = LIST.sub(r"\n\g<0>\n", docstring + "\n")
    return SENTENCE.sub("  \n", apart).rstrip()


def about(docstring: str) -> str:
    """What the first paragraph says."""
    return " ".join(docstring.strip().split("\n\n")[0].split())


def labelled(docstring: str, label: str) -> str:
    """What a docstring's line "Source: ..." (or another label) says, up to the next label or the paragraph's end."""
    found = re.search(rf"^ *{label}: (.*?)\.?$(?=\n\s*\n|\n *[A-Z][a-z]+: |\Z)", docstring, re.DOTALL | re.MULTILINE)
    return " ".join(found[1].split()) if found else ""


def readme(text: str) -> str:
    """The README with its tables renewed."""
    made = {"tasks": table, "protocols": protocol_table}
    return TABLE.sub(lambda found: found[1] + made[found[2]]() + found[3], text)


def _sizes(task: Any) -> str:
    return ", ".join(f"{f.name}={getattr(task, f.name)!r}" for f in dataclasses.fields(task))


def _script(spec: Spec) -> str:
    """Who says what in which order, a part that repeats said once."""
    said = [f"{' or '.join(row.speakers)}'s {row.kind}" for row in spec.rows if row.slot is not None]
    period = next(p for p in range(1, len(said) + 1) if said == said[:p] * (len(said) // p))
    again = f" ({len(said) // period} times)" if period < len(said) else ""
    return f"{', '.join(said[:period])}{again}, then the verdict"


def _numbers(proof: Proof | None) -> str:
    if proof is None:
        return "There is no proof to be sent"
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
    for page, text in ((TASKS, tasks_page()), (PROTOCOLS, protocols_page())):
        page.parent.mkdir(exist_ok=True)
        page.write_text(text)
    README.write_text(readme(README.read_text()))


if __name__ == "__main__":
    main()
