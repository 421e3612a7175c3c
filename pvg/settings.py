"""Settings of tasks, protocols and algorithms as words on a command line: NAME=VALUE, read by the type of the field."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from pvg.registry import unknown

T = TypeVar("T")


def read(thing: Any, name: str, text: str) -> Any:
    """The value of a dataclass's field from a word; ValueError names what was expected."""
    hint = typing.get_type_hints(type(thing))[name]
    if typing.get_origin(hint) in (typing.Union, types.UnionType):  # a setting that is None unless told otherwise
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        if text not in parts:
            raise ValueError(f"{name}={text}: expected one of {', '.join(map(str, parts))}")
        return text
    try:
        if origin is tuple:
            return tuple(parts[0](word) for word in text.split(",") if word)
        return {"true": True, "false": False}[text.lower()] if hint is bool else hint(text)
    except (ValueError, KeyError):
        kind = f"{parts[0].__name__},.." if origin is tuple else "true|false" if hint is bool else hint.__name__
        raise ValueError(f"{name}={text}: expected {name}=<{kind}>") from None


def with_settings(thing: T, settings: Mapping[str, str], about: str, listing: str) -> T:
    """A dataclass with the settings given as words; ValueError: a name it does not have, or a value that is none.

    about, listing: whose settings they are, and what lists them all, for the error.
    """
    known = [field.name for field in dataclasses.fields(thing)]  # type: ignore[arg-type]
    for name in settings:
        if name not in known:
            raise unknown(f"setting of {about}", name, known, listing)
    return dataclasses.replace(thing, **{name: read(thing, name, text) for name, text in settings.items()})  # type: ignore[type-var]
