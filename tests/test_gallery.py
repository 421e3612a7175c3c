"""The gallery and the README's table are what the registry says; the gallery's games are golden transcripts."""

from __future__ import annotations

import dataclasses
import re

import pytest
from interpreted import interpreted

from pvg import gallery
from pvg.protocol import protocols
from pvg.task import tasks

AGAIN = "docs/tasks.md, docs/protocols.md or README.md is not what `python -m pvg.gallery` writes: if that is meant, run it"


CURRENT = "import sys; from pvg import gallery; print(getattr(gallery, sys.argv[1]).read_text() == getattr(gallery, sys.argv[2])())"


@pytest.mark.parametrize("page", [("TASKS", "tasks_page"), ("PROTOCOLS", "protocols_page")], ids=lambda page: page[0])
def test_sample_games_are_played_as_ever(page: tuple[str, str]) -> None:
    current = interpreted(CURRENT, *page) == "True\n"  # interpreted, they are the games that were written compiled
    assert current, AGAIN


def test_readme_tables_are_current() -> None:
    text = gallery.README.read_text()
    assert [found[2] for found in gallery.TABLE.finditer(text)] == ["tasks", "protocols"]
    current = gallery.readme(text) == text
    assert current, AGAIN


@pytest.mark.parametrize("name", list(tasks))
def test_docstring_states_claim_sizes_and_preset(name: str) -> None:
    kind = tasks[name]
    text = " ".join((kind.__doc__ or "").split())
    assert gallery.labelled(kind.__doc__ or "", "Source"), f"{name}: the docstring has a line 'Source: ...'"
    assert "hard" in kind.presets
    assert "reset hard" in text, f"{name}: the docstring says what preset hard is"
    for size in dataclasses.fields(kind):  # type: ignore[arg-type]
        assert len(re.findall(rf"\b{size.name}\b", text)) > 1, f"{name}: the docstring says what {size.name} is"
        assert f"{size.name}={size.default!r}" in text, f"{name}: the docstring says the default of {size.name}"
    harder = kind.preset("hard")
    assert harder != kind()


@pytest.mark.parametrize("name", list(protocols))
def test_docstring_states_pay_source_and_settings(name: str) -> None:
    kind = protocols[name]
    text = kind.__doc__ or ""
    assert gallery.labelled(text, "Paid"), f"{name}: the docstring has a line 'Paid: ...'"
    assert gallery.labelled(text, "Source"), f"{name}: the docstring has a line 'Source: ...'"
    for setting in dataclasses.fields(kind):  # type: ignore[arg-type]
        assert f"{setting.name}:" in text, f"{name}: the docstring says what {setting.name} is"
