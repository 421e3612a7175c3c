"""The project's promises about itself: layout, packaging, direction of imports, import time."""

import ast
import functools
import importlib
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES: list[str] = PROJECT["tool"]["setuptools"]["packages"]
LINKED = ("envs", "agents", "benchmarks")

# A package imports itself and what stands below it, never its neighbour on the same floor.
BELOW = {
    "pvg": set(),
    "pvg.tasks": {"pvg"},
    "pvg.protocols": {"pvg"},
    "pvg.envs": {"pvg", "pvg.tasks", "pvg.protocols"},
    "pvg.agents": {"pvg", "pvg.tasks", "pvg.protocols"},
    "pvg.benchmarks": {"pvg", "pvg.tasks", "pvg.protocols", "pvg.envs", "pvg.agents"},
}
# The command line, and the lazy attributes of `pvg` itself, serve every floor.
LOOKS_UPWARDS = re.compile(r"pvg|pvg\.cli\w*")


@functools.cache
def sources() -> dict[str, Path]:
    """Every module of the project, by the name it is imported under."""
    found = {}
    for folder, _, files in os.walk(ROOT / "pvg", followlinks=True):
        for path in (Path(folder, file) for file in files if file.endswith(".py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


def floor(module: str) -> str:
    """The package of BELOW that a module belongs to."""
    package = ".".join(module.split(".")[:2])
    return package if package in BELOW else "pvg"


def origin(name: str) -> str:
    """The package of BELOW that a name comes from: a thing found in `pvg` itself comes from where it is defined."""
    top, *rest = name.split(".")
    if not rest or f"{top}.{rest[0]}" in sources():
        return floor(name)
    thing = getattr(importlib.import_module(top), rest[0], None)
    return floor(getattr(thing, "__module__", top))


def imported(code: str) -> Iterator[str]:
    """The modules and attributes of `pvg` that source code imports or reaches by their full name."""
    for node in ast.walk(ast.parse(code)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute):
            names = [ast.unparse(node)]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            names = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
        yield from (name for name in names if name.split(".")[0] == "pvg")


def upward_imports(module: str, code: str) -> list[str]:
    """What a module imports although it does not stand below."""
    here = floor(module)
    return sorted({name for name in imported(code) if origin(name) not in BELOW[here] | {here}})


def python(*arguments: str, cwd: Path = ROOT, **env: str) -> str:
    """Run a fresh interpreter and return what it printed."""
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=cwd, env=os.environ | env, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("name", LINKED)
def test_link_resolves_to_its_folder(name):
    link = ROOT / "pvg" / name
    assert os.readlink(link) == f"../{name}"
    assert link.resolve(strict=True) == ROOT / name


def test_every_folder_of_modules_is_a_listed_package():
    folders = {path.parent for path in sources().values()}
    assert sorted(str(folder) for folder in folders if not (folder / "__init__.py").is_file()) == []
    assert sorted(".".join(folder.relative_to(ROOT).parts) for folder in folders) == sorted(PACKAGES)


def test_every_dependency_has_a_tested_version():
    project = PROJECT["project"]
    wanted = sum(project["optional-dependencies"].values(), project["dependencies"])
    names = {re.match(r"[\w-]+", need)[0].replace("_", "-").lower() for need in wanted} - {project["name"]}
    pins = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert [pin for pin in pins if not re.fullmatch(r"[\w.-]+==[\w.]+", pin)] == []
    assert names - {pin.split("==")[0].replace("_", "-").lower() for pin in pins} == set()


def test_imports_run_one_way():
    wrong = {module: upward_imports(module, path.read_text()) for module, path in sources().items()}
    assert {module: names for module, names in wrong.items() if names and not LOOKS_UPWARDS.fullmatch(module)} == {}


@pytest.mark.parametrize(
    ("module", "code"),
    [
        ("pvg.game", "import pvg.tasks.arith"),
        ("pvg.testing", "def check():\n    from pvg import envs"),
        ("pvg.tasks.arith", "from pvg.protocols.solo import Solo"),
        ("pvg.envs.single", "import pvg\npvg.agents.attacks"),
        ("pvg.agents.training", "from importlib import import_module\nimport_module('pvg.envs')"),
        ("pvg.agents", "from pvg.benchmarks import demo"),
    ],
)
def test_an_upward_import_is_seen_however_it_is_written(module, code):
    assert upward_imports(module, code)


def test_importing_pvg_leaves_the_upper_floors_alone():
    loaded = python("-c", "import sys, pvg; print(*sys.modules)").split()
    assert {f"pvg.{name}" for name in LINKED} & set(loaded) == set()


def test_import_costs_at_most_half_a_second_above_torch():
    code = "import time, torch; start = time.perf_counter(); import pvg; print(time.perf_counter() - start)"
    assert min(float(python("-c", code)) for _ in range(3)) <= 0.5


@pytest.mark.wheel
def test_wheel_holds_every_module_and_only_pvg_on_top(tmp_path):
    python("-m", "build", "--no-isolation", "--outdir", str(tmp_path), str(ROOT))
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    metadata = wheel.name.rsplit("-", 3)[0] + ".dist-info"
    assert {name.split("/")[0] for name in names} == {"pvg", metadata}
    modules = {path.relative_to(ROOT).as_posix() for path in sources().values()}
    assert {name for name in names if name.endswith(".py")} == modules
    assert {"pvg/py.typed", f"{metadata}/licenses/LICENSE"} <= names

    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    python("-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", str(site), str(wheel))
    code = f"from importlib import import_module\nfor name in {PACKAGES}: print(import_module(name).__file__)"
    files = python("-c", code, cwd=elsewhere, PYTHONPATH=str(site)).split()
    assert [file for file in files if not Path(file).is_relative_to(site)] == []
    assert (site / "bin" / "pvg").is_file()
