"""Every block of the walkthrough runs, one after the other, and prints what the page says it prints."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from pvg.cli import main

PAGE = Path(__file__).parent.parent / "docs" / "tutorial.md"
BLOCK = re.compile(
    r'^```(?P<kind>python|sh)(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^```\n(?:\n```text\n(?P<printed>.*?)```)?',
    re.DOTALL | re.MULTILINE,
)


def test_every_block_runs_and_prints_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = list(BLOCK.finditer(PAGE.read_text()))
    assert len(blocks) == PAGE.read_text().count("\n```python") + PAGE.read_text().count("\n```sh") > 8
    names: dict[str, Any] = {}
    for block in blocks:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            if block["title"]:
                Path(block["title"]).write_text(block["text"])
            elif block["kind"] == "python":
                exec(compile(block["text"], "tutorial.md", "exec"), names)
            else:
                for line in block["text"].splitlines():
                    monkeypatch.setattr("sys.argv", shlex.split(line))
                    main()
        if block["printed"] is not None:
            assert out.getvalue() == block["printed"]
    assert Path("results/page.html").exists()
