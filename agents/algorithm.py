"""What a learning algorithm is: one update on games just dealt, and its settings as a frozen dataclass."""

from __future__ import annotations

import ast
import inspect
import textwrap
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor

from pvg.game import Game
from pvg.registry import Registry
from pvg.settings import with_settings

if TYPE_CHECKING:
    from pvg.agents.team import Team

Figures = dict[str, Tensor]
Seats = Literal["both", "prover", "verifier"]


@dataclass(frozen=True)
class Algorithm(ABC):
    """One phase of a run. Its update sees no memory but the team's, so that a checkpoint holds all there is."""

    updates: int = 200
    """Updates of the phase."""

    def __post_init__(self) -> None:
        self.within("updates", 0)

    def begin(self, team: Team, game: Game) -> None:  # noqa: B027
        """Before the first update of the phase: what is to be kept of the team as it is."""

    @abstractmethod
    def update(self, team: Team, game: Game, index: int, pace: float) -> Figures:
        """Update `index` of 0..updates-1 on the games just dealt; `pace`: the learning rate's factor. Figures are 0-d."""

    def within(self, name: str, low: float, high: float | None = None) -> None:
        """ValueError unless a setting is in low..high (None: anything from low)."""
        value = getattr(self, name)
        if not (low <= value and (high is None or value <= high)):
            bounds = f"outside {low:g}..{high:g}" if high is not None else f"below {low:g}"
            raise ValueError(f"{name}={value} is {bounds}")


algorithms: Registry[type[Algorithm]] = Registry("algorithm")


def phases(words: Sequence[str]) -> tuple[Algorithm, ...]:
    """Algorithms from words: a name begins one, NAME=VALUE after it are its settings.

    ValueError: an unknown name, setting or value.
    """
    found: list[tuple[str, dict[str, str]]] = []
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            found.append((name, {}))
        elif not found:
            raise ValueError(f"algorithm {word}: expected the name of an algorithm before its settings")
        else:
            found[-1][1][name] = text
    return tuple(with_settings(algorithms[name](), settings, name, "`pvg list algorithms`") for name, settings in found)


def named(algorithm: Algorithm) -> str:
    """The name it is registered under; ValueError where it is not."""
    for name in algorithms:
        if algorithms[name] is type(algorithm):
            return name
    raise ValueError(f"algorithm {type(algorithm).__name__} has no name a file could hold: use @algorithms.register")


def words(algorithm: Algorithm) -> list[str]:
    """What `phases` makes the algorithm of: its name, and the settings that are not the default."""
    default = type(algorithm)()
    changed = {f.name: getattr(algorithm, f.name) for f in fields(algorithm)}
    changed = {name: value for name, value in changed.items() if value != getattr(default, name)}
    return [named(algorithm), *(f"{name}={_text(value)}" for name, value in changed.items())]


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value).lower() if isinstance(value, bool) else str(value)


def described(algorithm: Algorithm) -> dict[str, Any]:
    """In plain containers, as files hold it: its name and all its settings."""
    settings = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(algorithm).items()}
    return {"algorithm": named(algorithm), **settings}


def settings_of(name: str) -> dict[str, str]:
    """An algorithm's settings with their defaults, each with a line about it, in their order."""
    kind = algorithms[name]
    return {f"{f.name}={_text(getattr(kind(), f.name))}": _docs(kind).get(f.name, "") for f in fields(kind)}


def _docs(kind: type[Any]) -> dict[str, str]:
    """What stands below each field of a dataclass and its bases."""
    found: dict[str, str] = {}
    for base in reversed([base for base in kind.__mro__ if is_dataclass(base)]):
        body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, below in zip(body.body, body.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
                assert isinstance(below.value, ast.Constant)
                found[field.target.id] = inspect.cleandoc(str(below.value.value)).replace("\n", " ")
    return found
