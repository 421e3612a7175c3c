"""One table of names a kind of thing; an unknown name is answered with the nearest ones."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class UnknownName(ValueError):
    """A name that is not registered."""


def unknown(kind: str, name: object, known: Iterable[str], listing: str) -> UnknownName:
    """The error for a name nobody registered: what was given, the nearest names, how to list all."""
    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=3, cutoff=0.4) or names[:5]
    return UnknownName(f"unknown {kind} {name!r}: nearest are {', '.join(near) or '(none registered)'}; {listing} lists all")


class Registry(Generic[T]):
    """Names to things of one kind, filled by a decorator."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._things: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator: enter a thing under `name`; a name already taken by something else is a ValueError."""

        def enter(thing: T) -> T:
            if self._things.setdefault(name, thing) is not thing:
                raise ValueError(f"{self.kind} {name!r} is already registered")
            return thing

        return enter

    def __getitem__(self, name: str) -> T:
        if name not in self._things:
            raise unknown(self.kind, name, self._things, f"`pvg list {self.kind}s`")
        return self._things[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._things))

    def __contains__(self, name: object) -> bool:
        return name in self._things
