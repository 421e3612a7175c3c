"""What `pvg attack` does: other verifiers from their checkpoints, and the report as a table or as JSON, and as files."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from pvg.agents.attacks.report import AttackReport, write
from pvg.agents.checkpoint import load_verifier
from pvg.frozen import same_game
from pvg.spec import Spec
from pvg.verifier import Verifier


def others(checkpoints: Sequence[Path], spec: Spec, device: str) -> dict[str, Verifier]:
    """The verifiers of other checkpoints by path; ValueError where one is of another game."""
    found: dict[str, Verifier] = {}
    for path in checkpoints:
        trained, verifier = load_verifier(path, device)
        same_game(f"--transfer-from {path}", trained, spec)
        found[str(path)] = verifier
    return found


def keep(report: AttackReport, out: Path) -> None:
    """The report's files in a folder, and where they are on stderr."""
    try:
        write(report, out)
    except ValueError as error:
        print(f"no figure: {error}", file=sys.stderr)
    print(f"written to {out}", file=sys.stderr)
