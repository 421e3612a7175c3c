"""A game: a task under a protocol, played in lockstep by many lanes on a CPU or a GPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from numba import config
from torch import Tensor

from pvg.agent import Agent, LaneAgent, Observation, default_agent, find_agent
from pvg.engine import kernels
from pvg.lane import lane_keys
from pvg.protocol import Protocol, protocols
from pvg.spec import BUCKETS, Spec, Split, default_protocol, resolve
from pvg.task import Task, tasks

# torch has no arithmetic on unsigned integers wider than a byte; the bits are the same.
_TORCH = {
    "u8": torch.int64,
    "u4": torch.int32,
    "u2": torch.int16,
    "i8": torch.int64,
    "i4": torch.int32,
    "i2": torch.int16,
}
_TORCH |= {"i1": torch.int8, "u1": torch.uint8, "f4": torch.float32}


def game(
    task: Task | str,
    protocol: Protocol | str | None = None,
    num_envs: int = 1,
    device: str | torch.device = "cpu",
    seed: int = 0,
    *,
    proof: str | None = None,
    split: Split | None = None,
) -> Game:
    """The game of a task (an object or a registered name at its defaults) under a protocol (None: the one that fits its
    proof), dealt from `seed`.
    """
    task = tasks[task]() if isinstance(task, str) else task
    protocol = protocols[protocol]() if isinstance(protocol, str) else protocol or default_protocol(task, proof)
    return Game(resolve(task, protocol, proof, split), num_envs, device, seed)


class Game:
    """Lanes of one game. `step` never deals and `redeal` never steps, so a finished lane stays readable until it is
    dealt again.

    spec: what is played. num_envs: lanes, `1..2**31-1`. device: "cpu" or "cuda". seed: `0..2**64-1`.
    actions: the buffer everybody's symbols travel in; a lane reads only the rows of its current speakers.
    reward: what the last step paid. returns: what the last play or advance paid, added up.
    """

    actions: Tensor  # lane role position  int32
    reward: Tensor  # lane role  float32
    returns: Tensor  # lane role  float32

    def __init__(self, spec: Spec, num_envs: int = 1, device: str | torch.device = "cpu", seed: int = 0) -> None:
        if not 1 <= num_envs < 2**31:
            raise ValueError(f"num_envs={num_envs} is outside 1..2**31-1")
        self.spec, self.num_envs, self.device = spec, num_envs, checked_device(device)
        home = torch.device("cpu") if config.ENABLE_CUDASIM else self.device
        self.bytes = torch.zeros((num_envs, spec.dtype.itemsize), dtype=torch.uint8, device=home)  # lane byte
        self._mailbox = torch.zeros((num_envs, spec.mail.itemsize), dtype=torch.uint8, device=home)
        self.actions, self.reward, self.returns = (_view(self._mailbox, spec.mail, name) for name in ("act", "reward", "returns"))
        self._all = torch.ones(num_envs, dtype=torch.bool, device=home)
        self._none = torch.zeros(num_envs, dtype=torch.bool, device=home)
        self._every = self._native(self._all)
        self._kernels = kernels(spec)
        self._deal = self._kernels.launcher("deal", self.device, num_envs)
        self._state = self._native(self.bytes).view(spec.dtype).reshape(num_envs)
        self._mail = self._native(self._mailbox).view(spec.mail).reshape(num_envs)
        self._tables = spec.tables
        if self.device.type == "cuda" and not config.ENABLE_CUDASIM:
            self._tables = self._native(torch.from_numpy(spec.tables.view(np.uint8).copy()).to(home)).view(spec.tables.dtype)
        elif config.DISABLE_JIT:
            records = (self._state, self._mail, self._tables)
            self._state, self._mail, self._tables = (array.view(np.recarray) for array in records)
        self._speaking = self._speaking_table().to(home)
        self.seed(seed)
        self._refuse_empty_split()

    # Dealing.

    def seed(self, seed: int, first_lane: int = 0, mask: Tensor | None = None) -> None:
        """Name the games of the lanes in `mask` anew (lane i plays as lane first_lane + i of `seed`) and deal the first
        of each.
        """
        chosen = self._all if mask is None else self._checked(mask, "mask", (self.num_envs,), torch.bool)
        lanes = np.arange(first_lane, first_lane + self.num_envs, dtype=np.uint64)
        keys = torch.from_numpy(lane_keys(seed, lanes).view(np.int64)).to(self.bytes.device)
        self.field("key").copy_(torch.where(chosen, keys, self.field("key")))
        self.field("episode").masked_fill_(chosen, 0)
        self.redeal(mask)

    def redeal(self, mask: Tensor | None = None) -> None:
        """Deal the next game in the lanes of `mask` (`lane` bool; None: all)."""
        chosen = self._every
        if mask is not None:
            chosen = self._native(self._checked(mask, "mask", (self.num_envs,), torch.bool))
        self._deal(self._state, self._tables, chosen)

    # Playing.

    def step(self, actions: Tensor | None = None, hold: Tensor | None = None) -> Tensor:
        """One turn in every lane that is neither over nor in `hold` (`lane` bool): its speakers say their rows of `actions`.

        actions: `lane role position` of any integer type; None takes what is in the buffer. A symbol outside its alphabet
            forfeits the lane's game: the offender gets its role's minimum, the others 0, and the lane's `forfeit` names it.
        Returns `lane role` float32, what this turn paid; a view that the next step overwrites. ValueError: shape, dtype,
        device.
        """
        if actions is not None:
            self.actions.copy_(self._symbols(actions, tuple(self.actions.shape)))
        held = self._none if hold is None else self._checked(hold, "hold", (self.num_envs,), torch.bool)
        self._launch("step", self._state, self._tables, self._mail, self._native(held))
        return self.reward

    def advance(
        self,
        players: Mapping[str, Agent],
        seat: str | None = None,
        actions: Tensor | None = None,
        hold: Tensor | None = None,
    ) -> Tensor:
        """Play on, without leaving the device, until `seat` is to speak or the game is over.

        players: who plays each other role. actions: `lane position`, what `seat` says at its turn first; None where it
            only waits.
        Returns `lane role` float32, the rewards added up; a view that the next call overwrites.
        """
        go = self.advancing(players, seat)
        if seat is not None and actions is not None:
            index = self.spec.role_index(seat)
            symbols = self._symbols(actions, (self.num_envs, len(self.spec.choices(index))))
            self.actions[:, index, : symbols.shape[1]] = symbols
        held = None if hold is None else self._checked(hold, "hold", (self.num_envs,), torch.bool)
        return go(actions is not None, held)

    def advancing(self, players: Mapping[str, Agent], seat: str | None = None) -> Callable[..., Tensor]:
        """`advance` with its players and memory looked up beforehand, for those who call it every few microseconds.

        Returns a function of (given, hold) that checks nothing; `given`: what `seat` says at its turn is in `actions`.
        """
        index = -1 if seat is None else self.spec.role_index(seat)
        missing = [role.name for i, role in enumerate(self.spec.roles) if i != index and role.name not in players]
        if missing:
            raise ValueError(f"players: nobody plays {missing}")
        cast = [players.get(role.name) for role in self.spec.roles]
        scripted = tuple(p if isinstance(p, LaneAgent) else None for p in cast)
        learned = {i: p for i, p in enumerate(cast) if p is not None and not isinstance(p, LaneAgent)}
        run = kernels(self.spec, scripted).launcher("run", self.device, self.num_envs)
        state, tables, mail, nobody = self._state, self._tables, self._mail, self._native(self._none)

        def go(given: bool = False, hold: Tensor | None = None) -> Tensor:
            if learned:
                self._lockstep(scripted, learned, index, given, self._none if hold is None else hold)
            else:
                held = nobody if hold is None else self._native(hold)
                run(state, tables, mail, held, index, given)
            return self.returns

        return go

    def _lockstep(
        self, scripted: tuple[LaneAgent | None, ...], learned: Mapping[int, Any], seat: int, given: bool, held: Tensor
    ) -> None:
        """`advance` with batch agents: at most `horizon` turns, lanes that wait or are over held. On a GPU the host
        never waits for it.
        """
        self.returns.zero_()
        for turn in range(self.spec.horizon):
            hold = held | self.over
            if seat >= 0 and not (given and turn == 0):
                hold |= self.acting[:, seat]
            if self.device.type == "cpu" and bool(hold.all()):
                return
            if any(scripted):
                self.speak(scripted, hold)
            for role, agent in learned.items():
                said = agent.act(self.observe(role), self.acting[:, role] & ~hold)
                self.actions[:, role, : said.symbols.shape[1]] = said.symbols
                if said.belief is not None:
                    self.field("belief").copy_(torch.where(self.acting[:, role] & ~hold, said.belief, self.field("belief")))
            self.returns += self.step(hold=hold)

    def play(self, players: Mapping[str, Agent | str] | None = None) -> Tensor:
        """Deal and play exactly one whole game a lane. Roles nobody is named for are played by the default agents.

        Returns `lane role` float32, each role's return; the final records stay readable.
        """
        self.redeal()
        return self.advance(self.players(players))

    def players(self, named: Mapping[str, Agent | str] | None = None, seat: str | None = None) -> dict[str, Agent]:
        """A player for every role but `seat`: those named (agents, or names of scripted ones), and the default agents."""
        named = dict(named or {})
        for name in named:
            self.spec.role_index(name)
        cast: dict[str, Agent] = {}
        for i, role in enumerate(self.spec.roles):
            if role.name != seat:
                player = named.get(role.name, default_agent(self.spec, i))
                cast[role.name] = find_agent(player, self.spec) if isinstance(player, str) else player
        return cast

    def speak(self, scripted: tuple[LaneAgent | None, ...], hold: Tensor | None = None) -> None:
        """Scripted players that are to speak write their symbols into `actions`."""
        held = self._none if hold is None else hold
        arguments = (self._state, self._tables, self._mail, self._native(held))
        kernels(self.spec, scripted).launch("speak", self.device, self.num_envs, *arguments)

    # Reading.

    def observe(self, role: int | str) -> Observation:
        """What a role sees in every lane, as one fresh packed tensor."""
        index = self.spec.role_index(role) if isinstance(role, str) else role
        view = self.spec.view(index)
        dtype = getattr(torch, view.dtype.name)
        packed = torch.empty((self.num_envs, view.width), dtype=dtype, device=self.bytes.device)
        self.observing(index)(self._native(packed))
        return Observation(packed, view)

    def observing(self, role: int) -> Callable[[Any], None]:
        """`observe` looked up beforehand: fills `lane width` memory the kernels take (on a CPU, a NumPy array)."""
        return partial(self._kernels.launcher("observe", self.device, self.num_envs), self._state, role)

    def field(self, name: str) -> Tensor:
        """A field of the record in every lane: a view of the lanes' own memory. Unsigned integers read as signed ones
        of their width.
        """
        return _view(self.bytes, self.spec.dtype, name)

    @property
    def over(self) -> Tensor:
        """`lane` bool: whose game is over."""
        return self.field("turn") < 0

    @property
    def acting(self) -> Tensor:
        """`lane role` bool: who is to speak."""
        turn = self.field("turn").long()
        drawn = torch.arange(len(self.spec.roles), device=turn.device) == self.field("speaker")[:, None]
        kind = self._speaking[turn]  # lane role: 0 never, 1 always, 2 if drawn; the last row is for games that are over
        return (kind == 1) | ((kind == 2) & drawn)

    def statement_hash(self) -> Tensor:
        """`lane` int64: the hash that names a statement (claim excluded) and decides its split."""
        out = torch.empty(self.num_envs, dtype=torch.int64, device=self.bytes.device)
        native = self._native(out)
        self._launch("hash", self._state, native.view(np.uint64))
        return out

    # Inside.

    def _launch(self, name: str, *arguments: Any) -> None:
        self._kernels.launch(name, self.device, self.num_envs, *arguments)

    def _native(self, tensor: Tensor) -> Any:
        """The tensor's memory as the kernels take it."""
        if tensor.device.type == "cuda":
            from numba import cuda

            return cuda.as_cuda_array(tensor.detach(), sync=False)
        return tensor.detach().numpy()

    def _speaking_table(self) -> Tensor:
        table = torch.zeros((self.spec.turns + 1, len(self.spec.roles)), dtype=torch.int8)
        for row in self.spec.rows:
            for name in row.speakers:
                table[row.turn, self.spec.role_index(name)] = 1 if len(row.speakers) == 1 else 2
        return table

    def _checked(self, tensor: Tensor, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        if tensor.dtype != dtype or tuple(tensor.shape) != shape or tensor.device != self.bytes.device:
            given = f"{tensor.dtype} {tuple(tensor.shape)} on {tensor.device}"
            raise ValueError(f"{name}: expected {dtype} {shape} on {self.bytes.device}, got {given}")
        return tensor.contiguous()

    def _symbols(self, actions: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Symbols as int32: what does not fit stays outside every alphabet instead of wrapping into one."""
        whole = not actions.dtype.is_floating_point and not actions.dtype.is_complex and actions.dtype != torch.bool
        if not whole or tuple(actions.shape) != shape or actions.device != self.bytes.device:
            given = f"{actions.dtype} {tuple(actions.shape)} on {actions.device}"
            raise ValueError(f"actions: expected integers {shape} on {self.bytes.device}, got {given}")
        wide = actions.view(torch.int64) if actions.dtype == torch.uint64 else actions
        return wide.clamp(-1, 2**31 - 1).to(torch.int32) if wide.dtype == torch.int64 else wide.to(torch.int32)

    def _refuse_empty_split(self) -> None:
        if self.spec.split is not None:
            low, high = BUCKETS[self.spec.split]
            bucket = self.statement_hash().cpu().numpy().view(np.uint64) % np.uint64(10)
            if not ((bucket >= low) & (bucket < high)).all():
                raise ValueError(f"split={self.spec.split!r}: {self.spec.task} has no (or next to no) statements in it")


def _view(memory: Tensor, record: np.dtype[np.void], name: str) -> Tensor:
    """A field of records laid out in `lane byte` memory, as `lane *shape`."""
    fields = record.fields
    assert fields is not None
    kind, offset = fields[name][:2]
    columns = memory[:, offset : offset + kind.itemsize].view(_TORCH[kind.base.str[1:]])
    return columns.unflatten(1, kind.shape) if kind.shape else columns[:, 0]


def checked_device(device: str | torch.device) -> torch.device:
    """The device games are to be played on; ValueError where there is none such, or nothing to compile for it with."""
    wanted = torch.device(device)
    if wanted.type not in ("cpu", "cuda"):
        raise ValueError(f"device={str(device)!r}: expected 'cpu' or 'cuda'")
    if wanted.type == "cuda" and not config.ENABLE_CUDASIM:
        if not torch.cuda.is_available():
            raise ValueError("device='cuda': torch finds no CUDA device on this machine; use device='cpu'")
        try:
            from numba import cuda
        except ImportError as error:
            raise ValueError("device='cuda' needs numba-cuda: pip install 'prover-verifier-games[cuda]'") from error
        cuda.select_device(torch.cuda.current_device() if wanted.index is None else wanted.index)
    return wanted
