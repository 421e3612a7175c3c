"""Every way a small game can go: the lane code that is played, with each of its draws decided in turn."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
import torch
from numba import config
from numpy.typing import NDArray

from pvg.agent import LaneAgent
from pvg.engine import kernels
from pvg.spec import Spec

State: TypeAlias = NDArray[Any]  # one record
Symbols: TypeAlias = tuple[int, ...]
Strategy: TypeAlias = Mapping[bytes, Symbols]

_CPU = torch.device("cpu")


class Enumerator:
    """The tree of a game whose lane functions make finitely many draws.

    tape: the most draws a single deal or step may make; a game that draws more is refused.
    """

    def __init__(self, spec: Spec, tape: int = 64) -> None:
        self.spec, self._dtype = spec, spec.record(tape)
        self._tables = self._native(spec.tables)
        self._mail = self._native(np.zeros(1, spec.mail))
        self._no, self._yes = np.zeros(1, dtype=np.bool_), np.ones(1, dtype=np.bool_)

    def deals(self) -> Iterator[tuple[float, State]]:
        """Every first position with its probability."""
        kernel = kernels(self.spec)
        empty = self._native(np.zeros(1, self._dtype))
        return self._branches(empty, lambda s: kernel.launch("deal", _CPU, 1, s, self._tables, self._yes))

    def step(self, state: State, said: Mapping[int, Symbols]) -> Iterator[tuple[float, State, NDArray[np.float32]]]:
        """Every position after the speakers (by role index) have said their symbols: probability, position, reward."""
        kernel = kernels(self.spec)

        def run(s: State) -> None:
            for role, symbols in said.items():
                self._mail["act"][0, role, : len(symbols)] = symbols
            kernel.launch("step", _CPU, 1, s, self._tables, self._mail, self._no)

        for p, after in self._branches(state, run):
            yield p, after, self._mail["reward"][0].copy()

    def sayings(self, state: State, role: int, agent: LaneAgent) -> Iterator[tuple[float, Symbols]]:
        """Everything a scripted player may say now, with its probability (equal symbols may come more than once).

        ValueError: "dishonest" where it speaks several times as one prover of many, drawn from no tape.
        """
        several = self.spec.proof is not None and len(self.spec.proof.dishonest) > 1
        if agent.name == "dishonest" and several and (self.spec.row_of(role) >= 0).sum() > 1:
            raise ValueError("agent 'dishonest' stays one prover for a whole game, which is not enumerated: name the prover")
        cast = tuple(agent if i == role else None for i in range(len(self.spec.roles)))
        kernel = kernels(self.spec, cast)
        width = len(self.alphabet(state, role))
        for p, _ in self._branches(state, lambda s: kernel.launch("speak", _CPU, 1, s, self._tables, self._mail, self._no)):
            yield p, tuple(int(symbol) for symbol in self._mail["act"][0, role, :width])

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
        view = self.spec.view(role)
        out = np.zeros((1, view.width), dtype=view.dtype)
        kernels(self.spec).launch("observe", _CPU, 1, state, role, out)
        return out.tobytes()

    def _branches(self, state: State, run: Callable[[State], None]) -> Iterator[tuple[float, State]]:
        """Run on copies of a position, once for every sequence of draws, in the order of an odometer."""
        digits: list[int] = []
        while True:
            s = state.copy()
            s["tape"][0, : len(digits)] = digits
            run(s)
            drawn = int(s["drawn"][0, 0])
            if drawn > s["tape"].shape[1]:
                raise ValueError(f"tape={s['tape'].shape[1]}: {self.spec.task} under {self.spec.protocol} draws more often")
            arity = s["arity"][0, :drawn].astype(np.int64)
            digits = [int(digit) for digit in s["tape"][0, :drawn]]
            for name in ("drawn", "tape", "arity"):
                s[name] = 0
            yield float(1 / np.prod(arity, dtype=np.float64)), s
            while digits and digits[-1] + 1 == arity[len(digits) - 1]:
                digits.pop()
            if not digits:
                return
            digits[-1] += 1

    @staticmethod
    def _native(array: State) -> State:
        return array.view(np.recarray) if config.DISABLE_JIT else array


def expected_return(tree: Enumerator, players: Mapping[str, LaneAgent | Strategy]) -> NDArray[np.float64]:
    """Each role's exact expected return, `role`, when every role is played by a scripted player or a pure strategy."""
    cast = {tree.spec.role_index(name): player for name, player in players.items()}
    total = np.zeros(len(tree.spec.roles))
    open_positions = list(tree.deals())
    while open_positions:
        p, state = open_positions.pop()
        for q, said in _joint(tree, state, cast):
            for r, after, reward in tree.step(state, said):
                total += p * q * r * reward.astype(np.float64)
                if after["turn"][0] >= 0:
                    open_positions.append((p * q * r, after))
    return total


def best_response(
    tree: Enumerator,
    role: str,
    players: Mapping[str, LaneAgent | Strategy],
    given: Callable[[State], bool] | None = None,
) -> tuple[float, dict[bytes, Symbols]]:
    """The most a role can expect against fixed players, and a strategy that attains it: information -> symbols.

    Exact for a role that remembers what it saw and said, as observations that hold the transcript make sure. given: only
    over deals for which it holds (the value is conditional on them).
    """
    me = tree.spec.role_index(role)
    cast = {tree.spec.role_index(name): player for name, player in players.items()}
    plan: dict[bytes, Symbols] = {}

    def value(positions: list[tuple[float, State]]) -> float:
        total, sets = 0.0, defaultdict(list)
        while positions:
            p, state = positions.pop()
            if me in tree.acting(state):
                sets[tree.information(state, me)].append((p, state))
            elif state["turn"][0] >= 0:
                total += follow(p, state, {}, positions)
        for known, group in sets.items():
            scores = {}
            for symbols in itertools.product(*map(range, tree.alphabet(group[0][1], me))):
                after: list[tuple[float, State]] = []
                scores[symbols] = sum(follow(p, state, {me: symbols}, after) for p, state in group) + value(after)
            plan[known] = max(scores, key=lambda symbols: scores[symbols])
            total += scores[plan[known]]
        return total

    def follow(p: float, state: State, mine: dict[int, Symbols], onward: list[tuple[float, State]]) -> float:
        total = 0.0
        for q, said in _joint(tree, state, {r: player for r, player in cast.items() if r != me}):
            for r, after, reward in tree.step(state, {**said, **mine}):
                total += p * q * r * float(reward[me])
                onward.append((p * q * r, after))
        return total

    deals = [(p, state) for p, state in tree.deals() if given is None or given(state)]
    return value(list(deals)) / sum(p for p, _ in deals), plan


def _joint(tree: Enumerator, state: State, cast: Mapping[int, LaneAgent | Strategy]) -> Iterator[tuple[float, dict[int, Symbols]]]:
    """Everything the cast's current speakers may say together, with its probability."""
    speakers = [role for role in tree.acting(state) if role in cast]
    options: list[list[tuple[float, Symbols]]] = []
    for role in speakers:
        player = cast[role]
        if isinstance(player, LaneAgent):
            options.append(list(tree.sayings(state, role, player)))
        else:
            options.append([(1.0, player[tree.information(state, role)])])
    for choice in itertools.product(*options):
        yield (
            float(np.prod([p for p, _ in choice])),
            {role: said for role, (_, said) in zip(speakers, choice, strict=True)},
        )
