"""The gallery and the README's table are what the registry says; the gallery's games are golden transcripts."""

from __future__ import annotations

import dataclasses
import re

import pytest

from pvg import gallery
from pvg.task import tasks

AGAIN = "docs/tasks.md or README.md is not what `python -m pvg.gallery` writes: if that is meant, run it"


@pytest.mark.parametrize("name", list(tasks))
def test_sample_games_of_a_task_are_played_as_ever(name: str) -> None:
    known = gallery.section(name) in gallery.PAGE.read_text()
    assert known, AGAIN


def test_gallery_holds_nothing_else() -> None:
    headings = [line for line in gallery.PAGE.read_text().splitlines() if line.startswith("## ")]
    assert headings == [f"## pvg/{name}-v0" for name in tasks], AGAIN


def test_readme_table_is_current() -> None:
    text = gallery.README.read_text()
    assert gallery.TABLE.search(text)
    current = gallery.readme(text) == text
    assert current, AGAIN


@pytest.mark.parametrize("name", list(tasks))
def test_docstring_states_claim_sizes_and_preset(name: str) -> None:
    kind = tasks[name]
    text = " ".join((kind.__doc__ or "").split())
    assert gallery.source(kind.__doc__ or ""), f"{name}: the docstring has a line 'Source: ...'"
    assert "hard" in kind.presets
    assert "reset hard" in text, f"{name}: the docstring says what preset hard is"
    for size in dataclasses.fields(kind):  # type: ignore[arg-type]
        assert len(re.findall(rf"\b{size.name}\b", text)) > 1, f"{name}: the docstring says what {size.name} is"
        assert f"{size.name}={size.default!r}" in text, f"{name}: the docstring says the default of {size.name}"
    harder = kind.preset("hard")
    assert harder != kind()
