"""The API reference: a page for every module, and docstrings that read there as they were written."""

import pkgutil
import re
from pathlib import Path
from typing import Any

import griffe
import pytest
from mkdocs.config import load_config
from mkdocs.structure.files import get_files

import pvg

ROOT = Path(__file__).resolve().parents[1]
MODULES = {"pvg", *(found.name for found in pkgutil.walk_packages(pvg.__path__, "pvg."))}


def pages(nav: Any) -> list[str]:
    """The pages of a navigation as MkDocs nests them: lists, dictionaries from titles, and paths."""
    if isinstance(nav, str):
        return [nav]
    return [page for part in (nav.values() if isinstance(nav, dict) else nav) for page in pages(part)]


def reference(site: Path, **options: Any) -> set[str]:
    """The modules that pages in the navigation of mkdocs.yml render, with other options for what writes those pages."""
    config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(site))
    config.plugins["api-autonav"].config.update(options)
    config = config.plugins.on_config(config)
    files = config.plugins.on_files(get_files(config), config=config)
    text = "\n".join(files.src_uris[page].content_string for page in pages(config.nav))
    return set(re.findall(r"^::: (\S+)", text, re.M))


def loaded(folder: Path) -> Any:
    """The module `sample` of a folder, as the reference reads it."""
    extensions = griffe.load_extensions(str(ROOT / "docs" / "lines.py"))
    return griffe.GriffeLoader(search_paths=[folder], extensions=extensions).load("sample")


def test_every_module_has_a_page_in_the_reference(tmp_path: Path) -> None:
    assert reference(tmp_path) == MODULES


@pytest.mark.parametrize("forgotten", ["pvg.verifier", "pvg.envs.vector", "pvg.protocols.debate"])
def test_a_module_left_out_of_the_reference_is_noticed(forgotten: str, tmp_path: Path) -> None:
    assert MODULES - reference(tmp_path, exclude=[forgotten]) == {forgotten}


def test_lines_and_lists_of_a_docstring_stay_apart(tmp_path: Path) -> None:
    Path(tmp_path, "sample.py").write_text(
        '"""Yes.\n\nseed: any number,\nor none.\nValueError: no.\nThere are:\n- one;\n- two,\n  and more.\nNo more.\n"""\n'
    )
    assert loaded(tmp_path).docstring.value == (
        "Yes.\n\nseed: any number,\nor none.  \nValueError: no.  \nThere are:\n\n- one;\n- two,\n  and more.\n\nNo more."
    )


def test_a_class_variable_is_no_parameter_in_the_reference(tmp_path: Path) -> None:
    Path(tmp_path, "sample.py").write_text(
        "from dataclasses import dataclass\nfrom typing import ClassVar\n\n\n"
        "@dataclass\nclass Square:\n    presets: ClassVar = {}\n    modulus: int = 13\n"
    )
    assert [parameter.name for parameter in loaded(tmp_path)["Square"].parameters] == ["self", "modulus"]
