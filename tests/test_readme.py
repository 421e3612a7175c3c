"""The README's Python runs, and prints what the README says it prints; the contributing page's task keeps its contract."""

from __future__ import annotations

import contextlib
import importlib
import io
import re
from pathlib import Path
from typing import Any

import pytest

from pvg.task import tasks
from pvg.testing import check_task


def test_readme_code_prints_what_it_says() -> None:
    text = (Path(__file__).parent.parent / "README.md").read_text()
    pairs = re.findall(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```)?", text, re.DOTALL)
    assert len(pairs) == 3
    names: dict[str, Any] = {}
    for code, output in pairs:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, "README.md", "exec"), names)
        assert printed.getvalue() == output


def test_task_of_the_contributing_page_is_a_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (tmp_path / "square.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(tasks, "_things", dict(tasks._things))
    check_task(importlib.import_module("square").Square(), games=1000)
