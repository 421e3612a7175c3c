"""From rules to kernels: instantiates the template `pvg.lanes` for a game and launches it over lanes on a CPU or a GPU.

CPU kernels are compiled twice at need, as a serial and as a parallel loop. The serial one runs below PARALLEL_FROM lanes,
with one torch thread, and in a forked child (where Numba's OpenMP layer would end the process); the parallel one takes
torch's number of threads and one launch at a time (Numba's workqueue layer aborts under two). Results do not depend on
which runs. Machine code is kept on disk, under a name that hashes everything it was compiled from, in `$PVG_CACHE`
(default: `pvg` in the user's cache folder); where that cannot be written, in memory only.
"""

from __future__ import annotations

import hashlib
import inspect
import math
import os
import re
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import numba
import numpy as np
import torch
from numba import config, njit, prange
from numba.np.numpy_support import from_dtype

from pvg.agent import LaneAgent
from pvg.field import Field
from pvg.lane import GOLDEN, draw, lane, mix
from pvg.spec import BUCKETS, Spec

# Lanes: below, a second thread saves less than 0.1 ms a launch, and on a busy machine waiting for it costs milliseconds.
PARALLEL_FROM = 4096
THREADS_PER_BLOCK = 128

_TEMPLATE = Path(__file__).with_name("lanes.py").read_text()

_launching = threading.Lock()
_forked = False


def _after_fork() -> None:
    global _launching, _forked
    _launching, _forked = threading.Lock(), True


os.register_at_fork(after_in_child=_after_fork)


@lane
def _nothing(s: Any, tables: Any, slot: Any) -> None:
    pass


class Kernels:
    """The kernels of a game, by the name they have in the template without `_at`; each is compiled when first launched.

    agents: who plays each role, None where the role is not scripted.
    """

    def __init__(self, spec: Spec, agents: tuple[LaneAgent | None, ...]) -> None:
        bound = _bindings(spec)
        bound |= {f"agent_{role}": agent.build(spec, role) for role, agent in enumerate(agents) if agent is not None}
        text = _TEMPLATE + _generated(spec, agents)
        self.spec, self.names = spec, re.findall(r"^def (\w+)_at\(i, ", text, re.MULTILINE)
        text += "".join(_wrappers(text, name) for name in self.names)
        self._module = _load(text, bound)
        self._compiled: dict[tuple[str, str], Any] = {}

    @property
    def name(self) -> str:
        """The module the kernels live in, named by a hash of all they are compiled from."""
        return self._module.__name__

    def launch(self, name: str, device: torch.device, lanes: int, *arguments: Any) -> None:
        """Run a kernel over all lanes; `arguments` are what the device's kernels take (NumPy arrays, device arrays, integers)."""
        if device.type == "cuda":
            stream = 0 if config.ENABLE_CUDASIM else _stream()
            blocks = (lanes + THREADS_PER_BLOCK - 1) // THREADS_PER_BLOCK
            self.compiled(name, "cuda")[blocks, min(lanes, THREADS_PER_BLOCK), stream](*arguments)
            return
        threads = min(torch.get_num_threads(), config.NUMBA_NUM_THREADS)
        if lanes < PARALLEL_FROM or threads == 1 or _forked:
            self.compiled(name, "serial")(*arguments)
            return
        with _launching:
            numba.set_num_threads(threads)
            self.compiled(name, "parallel")(*arguments)

    def launcher(self, name: str, device: torch.device, lanes: int) -> Callable[..., None]:
        """`launch` of one kernel, decided beforehand where it can be: few lanes take the serial kernel."""
        if device.type != "cuda" and lanes < PARALLEL_FROM:
            serial: Callable[..., None] = self.compiled(name, "serial")
            return serial
        return partial(self.launch, name, device, lanes)

    def compiled(self, name: str, how: str) -> Any:
        """The kernel as a `serial` or `parallel` CPU function or as a `cuda` kernel, compiled on its first call."""
        if (name, how) not in self._compiled:
            source = getattr(self._module, f"{name}_{how}")
            if how == "cuda":
                from numba import cuda

                self._module.__dict__["cuda"] = cuda
                kernel = cuda.jit(source)
            elif config.DISABLE_JIT:
                kernel = source
            else:
                kept = self._module.__file__ is not None
                options = {"parallel": how == "parallel", "cache": kept, "no_cfunc_wrapper": True}
                kernel = njit(error_model="numpy", nogil=True, **options)(source)
            self._compiled[name, how] = kernel
        return self._compiled[name, how]

    def all_ptx(self) -> dict[str, str]:
        """Every kernel as PTX for sm_90, made without a GPU or a driver (needs the `cuda` extra)."""
        from numba import cuda
        from numba.cuda import dispatcher

        class Hopper:
            compute_capability = (9, 0)

        self._module.__dict__["cuda"] = cuda
        real, dispatcher.get_current_device = dispatcher.get_current_device, lambda: Hopper
        try:
            return {
                name: cuda.compile_ptx(getattr(self._module, f"{name}_cuda"), self._signature(name), cc=(9, 0))[0]
                for name in self.names
            }
        finally:
            dispatcher.get_current_device = real

    def _signature(self, name: str) -> tuple[Any, ...]:
        """The types of a kernel's arguments, by their names in the template."""
        known = {
            "state": from_dtype(self.spec.dtype)[::1],
            "tables": from_dtype(self.spec.tables.dtype)[::1],
            "mail": from_dtype(self.spec.mail)[::1],
            "hold": numba.boolean[::1],
            "mask": numba.boolean[::1],
            "seat": numba.int64,
            "role": numba.int64,
            "given": numba.boolean,
            "seen": from_dtype(self.spec.view(0).dtype)[:, ::1],
            "hashes": numba.uint64[::1],
        }
        arguments = inspect.signature(getattr(self._module, f"{name}_cuda")).parameters
        return tuple(known[argument] for argument in arguments)


@cache
def kernels(spec: Spec, agents: tuple[LaneAgent | None, ...] = ()) -> Kernels:
    """The kernels of a game with its scripted players, made once a process."""
    return Kernels(spec, agents)


def _stream() -> Any:
    from numba import cuda

    current = torch.cuda.current_stream().cuda_stream
    return cuda.external_stream(current) if current else 0


def _bindings(spec: Spec) -> dict[str, Any]:
    """What the template's free names stand for."""
    low, high = BUCKETS[spec.split]
    proof = spec.proof
    return {
        "np": np, "prange": prange, "lane": lane, "mix": mix, "draw": draw, "GOLDEN": GOLDEN,
        "sample": spec.task.rules.sample,
        "deal": spec.rules.deal, "after": spec.rules.after, "pay": spec.rules.pay,
        "evidence": _nothing if proof is None or proof.evidence is None else proof.evidence,
        "ROLES": len(spec.roles), "TURNS": spec.turns, "HORIZON": spec.horizon,
        "FIRST_ROW": spec.first_row, "SPEAKER": spec.speaker, "ALPHABET": spec.alphabet,
        "WIDTH": (spec.alphabet > 0).sum(axis=1),
        "SLOT": spec.slot,
        "OF_PROOF": np.array([proof is not None and row.kind in proof.kinds for row in spec.rows]),
        "MINIMUM": np.array([role.minimum for role in spec.roles], dtype=np.float32),
        "WHOLE": spec.split is None, "BUCKET_LOW": np.uint64(low), "BUCKET_HIGH": np.uint64(high),
    }  # fmt: skip


def _generated(spec: Spec, agents: Iterable[LaneAgent | None]) -> str:
    """The lane functions that go through a record's fields by name, which only source text can."""
    blank = [f for f in spec.fields if f.blank]
    named = spec.task.split_by
    hashed = [f for f in spec.task.fields if f.name in named] if named else spec.task.statement
    clear = [f"s.{name} = -1" for name in ("truth", "speaker", "verdict", "forfeit", "belief")]
    clear += _each(Field("side", 2, (len(spec.roles),)), "{} = -1")
    clear += _each(Field("said", 2, (spec.slots, spec.width)), "{} = -1")
    clear += [line for f in blank for line in _each(f, "{} = -1")]
    digest = ["h = GOLDEN"]
    digest += [line for f in hashed for line in _each(f, "h = mix(h + np.uint64({}) + GOLDEN)")]
    text = _function("clear_lane(s)", clear) + _function("statement_hash(s)", [*digest, "return h"])
    text += _function("observe_lane(s, role, out)", [line for role in range(len(spec.roles)) for line in _observe(spec, role)])
    speaks = ["begin(s, SPEAK + role)"]
    for role, agent in enumerate(agents):
        speaks += [] if agent is None else [f"if role == {role}:", f"    agent_{role}(s, tables, out)"]
    return text + _function("speak(s, tables, role, out)", speaks)


def _function(head: str, lines: list[str]) -> str:
    return f"\n\n@lane\ndef {head}:\n" + "".join(f"    {line}\n" for line in lines or ["pass"])


def _each(f: Field, line: str) -> list[str]:
    """The line for every element of a field, as nested loops."""
    index = [f"i{d}" for d in range(len(f.shape))]
    loops = ["    " * d + f"for i{d} in range({size}):" for d, size in enumerate(f.shape)]
    element = f"s.{f.name}" + (f"[{', '.join(index)}]" if index else "")
    return [*loops, "    " * len(loops) + line.format(element)]


def _observe(spec: Spec, role: int) -> list[str]:
    """What goes into a role's packed observation, as in its View; an utterance is copied once its speaker or a hearer
    may know it.
    """
    lines = [f"if role == {role}:"]
    for column in spec.view(role):
        f, row = column.field, column.row
        if row is not None:
            said = f"s.said[{row.slot}, {column.offset} + j] + 1 if {_heard(spec, role, row)} else 0"
            copies = [f"for j in range({f.size}):", f"    out[{column.start} + j] = {said}"]
        elif column.origin == "game":
            copies = [f"out[{column.start}] = s.{f.name}{f'[{role}]' if f.name == 'side' else ''} + {column.shift}"]
        else:
            strides = [math.prod(f.shape[d + 1 :]) for d in range(len(f.shape))]
            place = " + ".join([str(column.start), *(f"i{d} * {stride}" for d, stride in enumerate(strides))])
            copies = _each(f, f"out[{place}] = {{}} + {column.shift}")
        lines += [f"    {line}" for line in copies]
    return lines if len(lines) > 1 else []


def _heard(spec: Spec, role: int, row: Any) -> str:
    """The condition under which a role knows an utterance that has been made."""
    name = spec.roles[role].name
    reasons = []
    if name in row.speakers:
        reasons.append("True" if len(row.speakers) == 1 else f"s.speaker == {role}")
    if name in row.hearers:
        reasons.append("True" if row.revealed is None else f"(s.turn < 0 or s.turn >= {row.revealed})")
    return " or ".join(reasons)


def _wrappers(text: str, name: str) -> str:
    """The loop over lanes on the CPU and the CUDA kernel around a function of one lane."""
    head = next(line for line in text.splitlines() if line.startswith(f"def {name}_at(i, "))
    arguments = head[head.index("i, ") + 3 : -2]
    call = f"{name}_at(i, {arguments})"
    return (
        f"\n\ndef {name}_serial({arguments}):\n    for i in range(state.shape[0]):\n        {call}\n"
        f"\n\ndef {name}_parallel({arguments}):\n    for i in prange(state.shape[0]):\n        {call}\n"
        f"\n\ndef {name}_cuda({arguments}):\n    i = cuda.grid(1)\n    if i < state.shape[0]:\n        {call}\n"
    )


def _load(text: str, bound: Mapping[str, Any]) -> ModuleType:
    """Instantiate the template, as a file of the cache where one can be written, so that Numba keeps the machine code
    beside it.
    """
    compiler = f"{numba.__version__}|{np.__version__}|{config.OPT}"
    digest = hashlib.sha256(f"{text}|{_fingerprint(bound)}|{compiler}".encode()).hexdigest()[:24]
    module = ModuleType(f"pvg_kernels_{digest}")
    module.__file__ = None
    path = _cache_folder() / f"{module.__name__}.py"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            part = path.with_suffix(f".{os.getpid()}")
            part.write_text(text)
            part.replace(path)
        module.__file__ = str(path)
    except OSError:
        pass
    module.__dict__.update(bound)
    sys.modules[module.__name__] = module
    exec(compile(text, module.__file__ or f"<{module.__name__}>", "exec"), module.__dict__)
    return module


def _cache_folder() -> Path:
    base = os.environ.get("PVG_CACHE")
    return Path(base) if base else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "pvg"


def _fingerprint(thing: Any, seen: dict[int, int] | None = None) -> str:
    """A text that changes whenever machine code compiled from `thing` would: code, constants, and all they name, recursively."""
    seen = {} if seen is None else seen
    function = getattr(thing, "py_func", thing)
    if inspect.isfunction(function):
        if id(function) in seen:
            return f"<again {seen[id(function)]}>"
        seen[id(function)] = len(seen)
        cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
        free = {name: cell.cell_contents for name, cell in cells.items()}
        free |= {name: function.__globals__[name] for name in sorted(_names(function.__code__)) if name in function.__globals__}
        return f"{_code(function.__code__)}({_fingerprint(free, seen)})"
    if isinstance(thing, Mapping):
        return ",".join(f"{key}={_fingerprint(value, seen)}" for key, value in thing.items())
    if isinstance(thing, np.ndarray):
        return f"{thing.dtype}{thing.shape}{hashlib.sha256(np.ascontiguousarray(thing).tobytes()).hexdigest()}"
    return thing.__name__ if isinstance(thing, ModuleType) else repr(thing)


def _names(code: CodeType) -> set[str]:
    return set(code.co_names).union(*(_names(c) for c in code.co_consts if isinstance(c, CodeType)))


def _code(code: CodeType) -> str:
    constants = [_code(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    return f"{code.co_code.hex()}{code.co_names}{code.co_varnames}{constants}"
