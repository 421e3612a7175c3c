"""One file that holds a training run: the game it was trained on, the learners, how far it got, and its log.

A zip of plain containers and tensors, read without running any code it may hold.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from pvg.agents.networks import Player, VerifierNetwork, build
from pvg.description import describe as describe
from pvg.description import rebuild as rebuild
from pvg.spec import Spec
from pvg.versions import versions

FORMAT = "prover-verifier-games checkpoint"
VERSION = 1
PARTS = {"spec", "config", "players", "state", "done", "history"}


def save(path: Path, contents: Mapping[str, Any]) -> None:
    """Write a checkpoint of PARTS so that `path` holds either what it held or all of the new one, whenever the
    machine stops.
    """
    assert set(contents) == PARTS
    whole = {"format": FORMAT, "version": VERSION, "libraries": versions(), **contents}
    part = path.with_name(f".{path.name}.part")  # one name, so that what a killed run leaves of it is written over
    try:
        with part.open("wb") as file:
            torch.save(whole, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def load(path: Path) -> dict[str, Any]:
    """The contents of a checkpoint; ValueError names the path and why it cannot be one."""
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
        if broken is not None:
            raise _refused(path, f"it is corrupted: {broken} does not match its checksum")
        contents = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ValueError(f"checkpoint {path}: there is no such file") from None
    except zipfile.BadZipFile as error:
        raise _refused(path, f"it is truncated, or no checkpoint at all ({error})") from error
    except (RuntimeError, OSError, EOFError, LookupError, UnpicklingError) as error:
        raise _refused(path, f"it cannot be read ({str(error).splitlines()[0]})") from error
    if not isinstance(contents, dict) or contents.get("format") != FORMAT:
        raise _refused(path, "it was written by something else")
    if contents.get("version") != VERSION:
        raise _refused(path, f"it has format version {contents.get('version')}, and this is version {VERSION}")
    missing = PARTS - set(contents)
    if missing:
        raise _refused(path, f"it lacks {sorted(missing)}")
    return contents


def load_players(path: Path, device: str | torch.device = "cpu") -> tuple[Spec, dict[str, Player]]:
    """The game of a checkpoint and its learned player for every role; ValueError names the path and the reason.

    A network of somebody's own is imported by the `package.module:Name` that the file gives.
    """
    contents = load(path)
    try:
        spec = rebuild(contents["spec"])
        players = {}
        for role, entry in contents["players"].items():
            sizes = {size: entry[size] for size in ("width", "layers")} | {"abstains": entry.get("abstains")}
            players[role] = build(entry["network"], spec, role, contents["config"]["seed"], **sizes, device=device)
            players[role].load_state_dict(contents["state"]["learners"][role]["player"])
    except (ValueError, TypeError, LookupError, RuntimeError) as error:
        raise _refused(path, f"what it describes cannot be built here: {error}") from error
    return spec, players


def load_verifier(path: Path, device: str | torch.device = "cpu") -> tuple[Spec, VerifierNetwork]:
    """The game of a checkpoint and the verifier trained on it (the first, where there are several)."""
    spec, players = load_players(path, device)
    return spec, next(player for player in players.values() if isinstance(player, VerifierNetwork))


def _refused(path: Path, reason: str) -> ValueError:
    return ValueError(f"checkpoint {path}: {reason}")
