"""Frozen transcripts: played games in one file, over which judges can be swapped (`pvg.judging`).

The file is an npz, read without running any code it may hold: one array a field of the lane's record, `lane ...`, under the
field's name (the statement and the claim by the task's names, then `said`, `truth`, `side`, `verdict`, ...), as it was when the
game was over; the same under `judged.NAME` as it was before the last verdict, where that differs; `returns`, `lane role`;
`first_wrong_step`, `lane slot`; `uttered`, `lane row`; and `provenance`, a text in JSON.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numba import config, njit
from numpy.typing import NDArray
from torch import Tensor

from pvg.agent import Agent, LaneAgent
from pvg.description import describe, rebuild
from pvg.game import Game
from pvg.metrics import Played, measured
from pvg.protocol import VERDICT
from pvg.spec import Spec
from pvg.versions import versions

FORMAT = "prover-verifier-games transcripts"
VERSION = 1
_OWN = ("returns", "first_wrong_step", "uttered", "provenance")
_PARTS = ("ended", "judged", "returns", "first_wrong_step", "uttered")
_JUDGED = "judged."

Records = NDArray[Any]


@dataclass(frozen=True)
class Transcripts:
    """Games that are over, in the order they were played.

    ended: their records. judged: the records before the last verdict, which hold all that the judge knew; `turn` is -1 where
    there was none. first_wrong_step: of the computation the message in a slot lists, -1 where none is wrong, where nothing was
    said, or the proof lists none. uttered: how often each row of the protocol's table was said.
    """

    spec: Spec
    ended: Records  # lane
    judged: Records  # lane
    returns: NDArray[np.float32]  # lane role
    first_wrong_step: NDArray[np.int16]  # lane slot
    uttered: NDArray[np.int16]  # lane row
    provenance: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.ended)

    def first(self, count: int | None) -> Transcripts:
        """The first so many."""
        parts: dict[str, Any] = {name: getattr(self, name)[:count] for name in _PARTS}
        return replace(self, **parts)

    def game(self, judged: bool = False, device: str | torch.device = "cpu") -> Game:
        """The games as they ended, or as they were before the last verdict."""
        game = Game(self.spec, len(self), device)
        records = np.ascontiguousarray(self.judged if judged else self.ended)
        game.bytes.copy_(torch.from_numpy(records.view(np.uint8).reshape(len(self), -1)))
        game.returns.copy_(torch.from_numpy(self.returns))
        return game

    def measured(self, seed: int = 0) -> Played:
        """What became of the games, whatever the protocol; `seed`: of the bootstraps."""
        return measured(self.game(), torch.from_numpy(self.uttered), seed)


# Playing and keeping.


@torch.no_grad()
def record(game: Game, cast: Mapping[str, Agent]) -> Transcripts:
    """Play the games that are dealt to their end and keep them; `cast`: who plays each role."""
    spec = game.spec
    scripted = tuple(agent if isinstance(agent := cast[role.name], LaneAgent) else None for role in spec.roles)
    deciding = _deciding(spec).to(game.bytes.device)
    judged, returns = game.bytes.clone(), torch.zeros_like(game.returns)
    unheard = game.bytes.new_ones(game.num_envs, dtype=torch.bool)
    turns = torch.tensor([row.turn for row in spec.rows], device=game.bytes.device)
    uttered = torch.zeros((game.num_envs, len(spec.rows)), dtype=torch.int16, device=game.bytes.device)
    for _ in range(spec.horizon):
        if bool(game.over.all()):
            break
        now = (game.acting & deciding[game.field("turn").long()]).any(1)
        judged, unheard = torch.where(now[:, None], game.bytes, judged), unheard & ~now
        game.speak(scripted, game.over)
        for i, role in enumerate(spec.roles):
            agent, acting = cast[role.name], game.acting[:, i]
            if not isinstance(agent, LaneAgent) and bool(acting.any()):
                spoken = agent.act(game.observe(i), acting)
                game.actions[:, i, : spoken.symbols.shape[1]] = spoken.symbols
                if spoken.belief is not None:
                    game.field("belief").copy_(torch.where(acting, spoken.belief, game.field("belief")))
        now_said = game.field("turn")[:, None] == turns
        returns += game.step()
        uttered += now_said & (game.field("forfeit") < 0)[:, None]
    game.returns.copy_(returns)
    judged = torch.where(unheard[:, None], game.bytes, judged)
    ended, before = (tensor.cpu().numpy().view(spec.dtype).reshape(-1) for tensor in (game.bytes.clone(), judged))
    wrong = _first_wrong_steps(spec, ended)
    return Transcripts(spec, ended, before, returns.cpu().numpy(), wrong, uttered.cpu().numpy(), {})


def joined(games: list[Transcripts]) -> Transcripts:
    """Several in one, in the order given."""
    parts: dict[str, Any] = {name: np.concatenate([getattr(game, name) for game in games]) for name in _PARTS}
    return replace(games[0], **parts)


def _deciding(spec: Spec) -> Tensor:
    """At which turns a judge gives a verdict: `turn + 1, role` bool, the last turn for games that are over."""
    table = torch.zeros((spec.turns + 1, len(spec.roles)), dtype=torch.bool)
    for row in spec.rows:
        for name in row.speakers if row.kind == VERDICT else ():
            table[row.turn, spec.role_index(name)] = spec.roles[spec.role_index(name)].seat == "verifier"
    return table


def right_steps(spec: Spec, records: Records, slot: int) -> NDArray[np.bool_]:
    """`lane step`, which steps of the message in a slot the proof finds right (`Proof.check_step`); all, where nothing was said."""
    proof = spec.proof
    assert proof is not None, "the message is a proof's"
    assert proof.check_step is not None, "its steps can be checked one by one"
    check_step, right = proof.check_step, np.ones((len(records), proof.steps), np.bool_)

    @njit(error_model="numpy", nogil=True)
    def check(state: Any, tables: Any, slot: int, right: Any) -> None:
        for i in range(state.shape[0]):
            if state[i].said[slot, 0] >= 0:
                for j in range(right.shape[1]):
                    right[i, j] = check_step(state[i], tables[0], slot, j) == 1

    native = [array.view(np.recarray) if config.DISABLE_JIT else array for array in (records, spec.tables)]
    check(*native, slot, right)
    return right


def _first_wrong_steps(spec: Spec, records: Records) -> NDArray[np.int16]:
    """`lane slot`, the first step of each message that the proof says is wrong; -1 where there is none."""
    found = np.full((len(records), spec.slots), -1, np.int16)
    proof = spec.proof
    if proof is not None and proof.check_step is not None and len(proof.script) == 1:
        for slot in (row.slot for row in spec.rows if row.kind == proof.script[0] and row.slot is not None):
            wrong = ~right_steps(spec, records, slot)
            found[:, slot] = np.where(wrong.any(1), wrong.argmax(1), -1)
    return found


# The file.


def about(spec: Spec, players: Mapping[str, str], seed: int) -> dict[str, Any]:
    """Where transcripts come from: the game, who played each role, the seed."""
    described = describe(spec)
    origin = {"env": f"pvg/{described['task']}-v0", **described, "players": dict(players), "seed": seed}
    return {"format": FORMAT, "version": VERSION, **origin, "libraries": versions()}


def refuse_existing(path: Path) -> None:
    """ValueError where there is something already."""
    if path.exists():
        raise ValueError(f"transcripts {path}: there is such a file already; choose a new one")


def save(path: Path, transcripts: Transcripts) -> None:
    """Write the file, all of it or nothing; ValueError where there is one, or a field has the name of one of the file's own."""
    refuse_existing(path)
    names = _names(transcripts.spec)
    taken = sorted({*names} & {*_OWN})
    if taken:
        raise ValueError(f"{transcripts.spec.task}: fields {taken} have names that a file of transcripts gives to its own")
    arrays: dict[str, NDArray[Any]] = {name: transcripts.ended[name] for name in names}
    differing = [name for name in names if not np.array_equal(transcripts.ended[name], transcripts.judged[name])]
    arrays |= {_JUDGED + name: transcripts.judged[name] for name in differing}
    arrays |= {name: getattr(transcripts, name) for name in ("returns", "first_wrong_step", "uttered")}
    arrays["provenance"] = np.array(json.dumps(dict(transcripts.provenance)))
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, array, allow_pickle=False)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def load(path: Path, expected: Spec | None = None) -> Transcripts:
    """What `save` wrote. ValueError names the file and why it cannot be that, or, with `expected`, which other game it is of."""
    broken = None
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files if broken is None}
        provenance = json.loads(str(arrays.pop("provenance", "{}")))
    except FileNotFoundError:
        raise _refused(path, "there is no such file") from None
    except (zipfile.BadZipFile, OSError, EOFError, ValueError) as error:
        raise _refused(path, f"it is truncated, or no file of transcripts at all ({error})") from error
    if broken is not None:
        raise _refused(path, f"it is corrupted: {broken} does not match its checksum")
    if not isinstance(provenance, dict) or provenance.get("format") != FORMAT:
        raise _refused(path, "it was written by something else")
    if provenance.get("version") != VERSION:
        raise _refused(path, f"it has format version {provenance.get('version')}, and this is version {VERSION}")
    try:
        spec = rebuild(provenance)
    except (ValueError, TypeError, LookupError) as error:
        raise _refused(path, f"the game it is of cannot be built here: {error}") from error
    if expected is not None:
        same_game(f"transcripts {path}", spec, expected)
    try:
        ended, judged = _records(spec, arrays)
        returns = _fitting(arrays, "returns", np.dtype(np.float32), (len(ended), len(spec.roles)))
        wrong = _fitting(arrays, "first_wrong_step", np.dtype(np.int16), (len(ended), spec.slots))
        uttered = _fitting(arrays, "uttered", np.dtype(np.int16), (len(ended), len(spec.rows)))
    except ValueError as error:
        raise _refused(
            path, f"{error}; was it written by another version ({provenance.get('libraries', {}).get('pvg')})?"
        ) from error
    return Transcripts(spec, ended, judged, returns, wrong, uttered, provenance)


def same_game(what: str, spec: Spec, expected: Spec) -> None:
    """ValueError naming what differs where two games are not the same, whatever split their statements come from."""
    for name in ("task", "protocol", "proof_name"):
        had, wanted = getattr(spec, name), getattr(expected, name)
        if had != wanted:
            raise ValueError(f"{what}: of {name.removesuffix('_name')} {had}, not of {wanted}")


def _refused(path: Path, reason: str) -> ValueError:
    return ValueError(f"transcripts {path}: {reason}")


def _names(spec: Spec) -> list[str]:
    """The fields of a record that hold anything."""
    return [name for name in spec.dtype.names or () if spec.dtype[name].itemsize > 0]


def _records(spec: Spec, arrays: Mapping[str, NDArray[Any]]) -> tuple[Records, Records]:
    """The records as the games ended and as they were judged; ValueError where a value could not stand in one."""
    lanes = len(np.atleast_1d(arrays.get("truth", np.zeros(0))))
    if lanes == 0:
        raise ValueError("it holds no games")
    ended = np.zeros(lanes, spec.dtype)
    for name in _names(spec):
        ended[name] = _fitting(arrays, name, *_form(spec, name, lanes))
    judged = ended.copy()
    for name in _names(spec):
        if _JUDGED + name in arrays:
            judged[name] = _fitting(arrays, _JUDGED + name, *_form(spec, name, lanes))
    highs = {"truth": spec.task.answers, "turn": spec.turns, "speaker": len(spec.roles), "side": spec.task.answers}
    highs |= {"verdict": spec.task.answers + 1, "forfeit": len(spec.roles), **{f.name: f.high for f in spec.fields}}
    slots = [spec.alphabet[spec.slot == slot].max(0) for slot in range(spec.slots)]
    for records in (ended, judged):  # compiled code indexes with these and checks nothing
        for name, high in highs.items():
            if records[name].size and not -1 <= records[name].min() <= records[name].max() < high:
                raise ValueError(f"{name}: a value is outside -1..{high - 1}")
        if (records["said"] < -1).any() or (records["said"] >= np.maximum(np.array(slots), 1)).any():
            raise ValueError("said: a symbol is outside its alphabet")
    return ended, judged


def _form(spec: Spec, name: str, lanes: int) -> tuple[np.dtype[Any], tuple[int, ...]]:
    kind = spec.dtype[name]
    return kind.base, (lanes, *kind.shape)


def _fitting(arrays: Mapping[str, NDArray[Any]], name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    given = arrays.get(name)
    if given is None or given.dtype != dtype or given.shape != shape:
        have = "nothing" if given is None else f"{given.dtype} {given.shape}"
        raise ValueError(f"{name}: expected {dtype} {shape}, got {have}")
    return given
