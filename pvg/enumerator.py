"""Every way a small game can go: the lane code that is played, with each of its draws decided in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
import torch
from numba import config
from numpy.typing import NDArray
from torch import Tensor

from pvg.agent import LaneAgent, Observation
from pvg.engine import Kernels, kernels
from pvg.spec import Spec

State: TypeAlias = NDArray[Any]  # records; one where a single position is meant
Symbols: TypeAlias = tuple[int, ...]
Strategy: TypeAlias = Mapping[bytes, Symbols]  # pure: what is said, by information
Behaviour: TypeAlias = Mapping[bytes, Mapping[Symbols, float]]  # the probability of what is said, by information
# A network, say: the probability of each of A utterances (`A position`) at each of N observations: `N A`.
Policy: TypeAlias = Callable[[Observation, Tensor], Tensor]
Player: TypeAlias = LaneAgent | Strategy | Behaviour | Policy
Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]

ROWS = 16384  # positions worked on at once: bounds the memory of a build


class Enumerator:
    """The tree of a game whose lane functions make finitely many draws.

    tape: the most draws a single deal or step may make; a game that draws more is refused.
    """

    def __init__(self, spec: Spec, tape: int = 64) -> None:
        self.spec, self._dtype = spec, spec.record(tape)
        self._tables = self._native(spec.tables)
        assert self._dtype.fields is not None
        self._size = self._dtype.fields["drawn"][1]  # bytes before the tape, laid out as in a record without one

    def deals(self) -> Iterator[tuple[float, State]]:
        """Every first position with its probability."""
        for p, states in self.all_deals():
            yield from ((float(p[i]), states[i : i + 1]) for i in range(len(p)))

    def step(self, state: State, said: Mapping[int, Symbols]) -> Iterator[tuple[float, State, NDArray[np.float32]]]:
        """Every position after the speakers (by role index) have said their symbols: probability, position, reward."""
        mail = np.zeros(1, self.spec.mail)
        for role, symbols in said.items():
            mail["act"][0, role, : len(symbols)] = symbols
        for _, p, after, told in self.all_steps(state, mail):
            yield from ((float(p[i]), after[i : i + 1], told["reward"][i]) for i in range(len(p)))

    def sayings(self, state: State, role: int, player: Player) -> Iterator[tuple[float, Symbols]]:
        """Everything a player may say now, with its probability.

        ValueError: "dishonest" where it speaks several times as one prover of many, drawn from no tape.
        """
        _, p, said = self.all_sayings(state, role, player)
        yield from zip(p.tolist(), map(tuple, said.tolist()), strict=True)

    def alphabet(self, state: State, role: int) -> list[int]:
        """How many symbols a role may choose from at each position of what it says now."""
        row = self.spec.alphabet[self.spec.row_of(role)[state["turn"][0]]]
        return [int(high) for high in row if high > 0]

    def acting(self, state: State) -> list[int]:
        """The roles that are to speak."""
        turn = int(state["turn"][0])
        if turn < 0:
            return []
        rows = [i for i, row in enumerate(self.spec.rows) if row.turn == turn]
        return [int(self.spec.speaker[i] if self.spec.speaker[i] >= 0 else state["speaker"][0]) for i in rows]

    def information(self, state: State, role: int) -> bytes:
        """What a role knows: its packed observation."""
        return self.observed(state, role).tobytes()

    # The same of many positions at once.

    def all_deals(self) -> Iterator[tuple[Floats, State]]:
        """Every first position with its probability, some at a time."""
        empty, mail = np.zeros(1, self.spec.dtype), np.zeros(1, self.spec.mail)
        for _, p, states, _ in self._branches(kernels(self.spec), "deal", empty, mail):
            yield p, states

    def all_steps(self, states: State, mail: State) -> Iterator[tuple[Integers, Floats, State, State]]:
        """Every position after what `mail` says, some at a time: from which it came, its probability, itself, its mail."""
        return self._branches(kernels(self.spec), "step", states, mail)

    def all_sayings(self, states: State, role: int, player: Player) -> tuple[Integers, Floats, NDArray[np.int32]]:
        """Everything a player may say at positions of one turn: at which of them, the probability, the symbols `n position`.

        ValueError: as in `sayings`; a strategy that does not know what to say, or whose probabilities do not add up to 1.
        """
        alphabet = self.alphabet(states, role)
        if isinstance(player, LaneAgent):
            return self._scripted(states, role, player, len(alphabet))
        packed, name = self.observed(states, role), self.spec.roles[role].name
        if isinstance(player, Mapping):
            listed: list[tuple[int, float, Symbols]] = []
            for i, known in enumerate(keys_of(packed)):
                try:
                    choice = player[known]  # not `in`: a defaultdict has something to say everywhere
                except KeyError:
                    raise ValueError(f"strategy of {name!r}: it does not say what to do at {self.shown(known, role)}") from None
                listed += [(i, 1.0, choice)] if isinstance(choice, tuple) else [(i, p, symbols) for symbols, p in choice.items()]
            index, p = np.array([i for i, _, _ in listed], dtype=np.int64), np.array([p for _, p, _ in listed])
            said = np.array([symbols for _, _, symbols in listed], dtype=np.int32).reshape(len(listed), len(alphabet))
        else:
            actions = utterances(alphabet)
            size = max(1, ROWS // len(actions))
            parts = [self._asked(player, packed[i : i + size], role, actions) for i in range(0, len(packed), size)]
            weights = np.concatenate(parts)
            index, which = np.nonzero(weights)
            p, said = weights[index, which], actions[which]
        total = np.zeros(len(packed))
        np.add.at(total, index, p)
        wrong = np.union1d(np.flatnonzero(~(np.abs(total - 1) < 1e-4)), index[p < 0])
        if len(wrong):
            at = self.shown(packed[wrong[0]].tobytes(), role)
            raise ValueError(f"strategy of {name!r}: no distribution (its probabilities add up to {total[wrong[0]]:.6g}) at {at}")
        return index, p / total[index], said

    def observed(self, states: State, role: int) -> NDArray[Any]:
        """A role's packed observations: `n width`."""
        view = self.spec.view(role)
        out = np.zeros((len(states), view.width), dtype=view.dtype)
        kernels(self.spec).compiled("observe", "serial")(self._native(states), role, out)
        return out

    def shown(self, known: bytes, role: int) -> str:
        """What a role knows, for a message: the name of each field it sees and its integers, -1 where nothing is there yet."""
        view = self.spec.view(role)
        packed = np.frombuffer(known, dtype=view.dtype)
        return ", ".join(f"{c.field.name} {(packed[c.start : c.stop] - c.shift).tolist()}" for c in view)

    def _asked(self, policy: Policy, packed: NDArray[Any], role: int, actions: NDArray[np.int32]) -> Floats:
        with torch.no_grad():
            told = policy(Observation(torch.from_numpy(packed), self.spec.view(role)), torch.from_numpy(actions))
        if told.shape != (len(packed), len(actions)):
            asked = (len(packed), len(actions))
            raise ValueError(f"strategy of {self.spec.roles[role].name!r}: expected probabilities {asked}, got {tuple(told.shape)}")
        weights: Floats = told.double().cpu().numpy()
        return weights

    def _scripted(self, states: State, role: int, agent: LaneAgent, width: int) -> tuple[Integers, Floats, NDArray[np.int32]]:
        several = self.spec.proof is not None and len(self.spec.proof.dishonest) > 1
        if agent.name == "dishonest" and several and (self.spec.row_of(role) >= 0).sum() > 1:
            raise ValueError("agent 'dishonest' stays one prover for a whole game, which is not enumerated: name the prover")
        kernel = kernels(self.spec, tuple(agent if i == role else None for i in range(len(self.spec.roles))))
        mail = np.zeros(len(states), self.spec.mail)
        branches = self._branches(kernel, "speak", states, mail)
        parts = [(index, p, told["act"][:, role, :width]) for index, p, _, told in branches]
        index, p, said = (np.concatenate(part) for part in zip(*parts, strict=True))
        if len(index) == len(states):
            return index, p, said
        rows, which = np.unique(np.column_stack([index, said]), axis=0, return_inverse=True)  # many draws, one utterance
        return rows[:, 0], np.asarray(np.bincount(which.reshape(-1), p), dtype=np.float64), rows[:, 1:].astype(np.int32)

    def _branches(self, kernel: Kernels, name: str, states: State, mail: State) -> Iterator[tuple[Integers, Floats, State, State]]:
        """Run a kernel on every position, once for every sequence of draws: which position, probability, record, mail.

        A run decides the first of its draws, and the rest come out 0. What is still to be run differs from it for the first
        time at one of those, so that every sequence of draws is run once.
        """
        length = self._dtype["tape"].shape[0]
        places, indices = np.arange(length), np.arange(len(states))
        whole = [indices[i : i + ROWS] for i in range(0, len(indices), ROWS)]
        waiting: list[tuple[Integers, Integers, NDArray[np.uint32]]] = []
        while whole or waiting:
            if not waiting:
                index = whole.pop()
                waiting.append((index, np.zeros(len(index), dtype=np.int64), np.zeros((len(index), length), dtype=np.uint32)))
            index, decided, tape = waiting.pop()
            if len(index) > ROWS:
                waiting += [(index[i : i + ROWS], decided[i : i + ROWS], tape[i : i + ROWS]) for i in range(0, len(index), ROWS)]
                continue
            s, told, flag = np.zeros(len(index), self._dtype), mail[index], np.full(len(index), name == "deal")
            _bytes(s)[:, : self._size] = _bytes(states[index])[:, : self._size]
            s["tape"] = tape
            arguments = (flag,) if name == "deal" else (self._native(told), flag)
            kernel.compiled(name, "serial")(self._native(s), self._tables, *arguments)
            drawn = s["drawn"].astype(np.int64)
            if drawn.max() > length:
                raise ValueError(f"tape={length}: {self.spec.task} under {self.spec.protocol} draws more often")
            arity = np.where(places < drawn, s["arity"].astype(np.int64), 1)
            after = np.zeros(len(index), self.spec.dtype)
            _bytes(after)[:, : self._size] = _bytes(s)[:, : self._size]
            yield index, 1 / np.prod(arity, axis=1, dtype=np.float64), after, told
            lanes, place = np.nonzero((places >= decided[:, None]) & (arity > 1))
            times = arity[lanes, place] - 1
            lanes, place, digit = np.repeat(lanes, times), np.repeat(place, times), 1 + _counting(times)
            if len(lanes):
                other = tape[lanes]
                other[np.arange(len(lanes)), place] = digit
                waiting.append((index[lanes], place + 1, other))

    @staticmethod
    def _native(array: State) -> State:
        return array.view(np.recarray) if config.DISABLE_JIT else array


def utterances(alphabet: Iterable[int]) -> NDArray[np.int32]:
    """Everything that can be said with an alphabet for each position, the last position counting fastest: `A position`."""
    sizes = tuple(alphabet)
    return np.indices(sizes, dtype=np.int32).reshape(len(sizes), -1).T


def _bytes(records: State) -> NDArray[np.uint8]:
    return records.view(np.ndarray).view(np.uint8).reshape(len(records), -1)


def keys_of(packed: NDArray[Any]) -> list[bytes]:
    """The rows of packed observations as bytes."""
    data, size = packed.tobytes(), packed.itemsize * packed.shape[1]
    return [data[i : i + size] for i in range(0, len(data), size)]


def _counting(times: Integers) -> Integers:
    """0 .. times[0] - 1, 0 .. times[1] - 1, and so on."""
    return np.arange(times.sum()) - np.repeat(np.cumsum(times) - times, times)
