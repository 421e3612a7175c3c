"""One seat of many games in lockstep as a Gymnasium vector environment: the batched game itself."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from gymnasium.error import ResetNeeded
from gymnasium.utils import EzPickle
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray
from torch import Tensor

from pvg.envs.seat import DEALS, Opponents, Seat, array_of, checked_options, checked_render_mode, shown
from pvg.protocol import Protocol
from pvg.registry import unknown
from pvg.spec import Split
from pvg.task import Task
from pvg.transcript import transcript

INTEGERS = {torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.uint16, torch.uint32, torch.uint64}
WORDS = (
    "protocol",
    "role",
    "opponents",
    "proof",
    "split",
    "render_mode",
    "num_envs",
    "backend",
    "device",
    "autoreset_mode",
)


class GameVectorEnv(VectorEnv[dict[str, Any], Any, Any], EzPickle):
    """Many games from one role's seat; arguments, observation, action, reward and `info` as in `GameEnv`.

    `reset(seed=s)` deals the first games of the lanes 0..num_envs-1 of seed s; `reset()` every lane's next. With
    `options={"reset_mask": mask}` only the lanes of `mask` (`lane` bool) are dealt.

    backend: "numpy", or "torch" for tensors on `device` throughout: observations, actions, rewards, flags and infos,
    where `final_obs` is then one batch, and `forfeit` a role's index or -1. autoreset_mode: Gymnasium's; with DISABLED
    a finished lane stays as it is, is paid 0 and stays terminated until it is reset.
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012  Gymnasium's convention

    def __init__(
        self,
        task: Task | str,
        protocol: Protocol | str | None = None,
        role: str | None = None,
        opponents: Opponents = None,
        proof: str | None = None,
        split: Split | None = None,
        render_mode: str | None = None,
        num_envs: int = 1,
        backend: str = "numpy",
        device: str | torch.device = "cpu",
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        **parameters: Any,
    ) -> None:
        words = (protocol, role, opponents, proof, split, render_mode, num_envs, backend, device, autoreset_mode)
        EzPickle.__init__(self, task, *words, **parameters)
        if backend not in ("numpy", "torch"):
            raise unknown("backend", backend, ["numpy", "torch"], "'numpy' or 'torch': that")
        self.render_mode, self.backend = checked_render_mode(render_mode), backend
        self.autoreset_mode = _autoreset_mode(autoreset_mode)
        self.metadata = {**self.metadata, "autoreset_mode": self.autoreset_mode}
        self.seat = Seat(task, protocol, role, opponents, proof, split, parameters, WORDS, num_envs, device)
        self.game, self.num_envs = self.seat.game, num_envs
        self.single_observation_space, self.single_action_space = self.seat.observation_space, self.seat.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._carried = torch.zeros_like(self.game.returns[:, 0])  # lane  float32  paid before the seat's first turn
        self._ended = torch.zeros_like(self.game.over)  # lane  bool
        self._seed: int | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Deal games, with a seed the first ones of it, and play up to the seat's turn."""
        mask = self._mask(checked_options(options or {}, "reset_mask").get("reset_mask"))
        super().reset(seed=seed)
        if seed is None and self._seed is None:
            seed = int(self.np_random.integers(2**63))
        if seed is None:
            self.game.redeal(mask)
        else:
            self.game.seed(seed, mask=mask)
            self._seed = seed
        self._start(mask)
        return self._entries(self._look()), {}

    def step(self, actions: Any) -> tuple[dict[str, Any], Any, Any, Any, dict[str, Any]]:
        """Say `actions` in every lane, and let the others play up to the seat's next turn or the end."""
        if self._seed is None:
            raise ResetNeeded("no game has begun: call reset() first")
        self._say(actions)
        before = self._ended if self.autoreset_mode is AutoresetMode.NEXT_STEP else None
        reward = self.seat.go(True)[:, self.seat.index] + self._carried  # lane  float32; finished lanes stay still
        self._carried.zero_()
        over = self.game.over  # lane  bool
        ended = over if before is None else over & ~before
        infos: dict[str, Any] = {}
        if bool(ended.any()):
            infos = self._ending(ended)
            if self.autoreset_mode is AutoresetMode.SAME_STEP:
                infos = self._masked(ended, final_obs=self._final(ended), final_info=infos)
        again = ended if self.autoreset_mode is AutoresetMode.SAME_STEP else before
        if again is not None and bool(again.any()):
            self.game.redeal(again)
            self._start(again)
        self._ended = ended
        flags = self._out(ended.clone()), self._out(torch.zeros_like(ended))
        return self._entries(self._look()), self._out(reward), *flags, infos

    def render(self) -> tuple[str, ...] | None:
        """With render_mode="ansi", each lane's transcript so far as the seat knows it."""
        if self.render_mode is None:
            return None
        return tuple(transcript(self.game, lane, self.seat.index) for lane in range(self.num_envs))

    def _start(self, mask: Tensor | None) -> None:
        """Play the lanes of `mask`, just dealt, up to the seat's turn; one that ends before makes way for the next."""
        dealt = torch.ones_like(self._ended) if mask is None else mask
        self._ended = self._ended & ~dealt
        for _ in range(DEALS):
            self._carried.masked_fill_(dealt, 0)
            self._carried += self.seat.go()[:, self.seat.index]
            dealt = dealt & self.game.over
            if not bool(dealt.any()):
                return
            self.game.redeal(dealt)
        raise self.seat.never()

    def _say(self, actions: Any) -> None:
        """Put the symbols where the kernels read them; what int32 cannot hold stays outside every alphabet."""
        symbols, said = actions, self.game.actions[:, self.seat.index, : len(self.game.spec.choices(self.seat.index))]
        if self.backend == "numpy" and (array := array_of(actions)).dtype.kind in "iu":
            symbols = torch.from_numpy(array.astype(np.int64)).to(said.device)
        whole = isinstance(symbols, Tensor) and symbols.dtype in INTEGERS and symbols.device == said.device
        if not whole or symbols.shape != self.action_space.shape:
            raise self.seat.bad_action(actions, self.action_space.shape or ())
        wide = symbols.view(torch.int64) if symbols.dtype == torch.uint64 else symbols.to(torch.int64)
        said.copy_(wide.clamp(-1, 2**31 - 1).reshape(said.shape))

    def _mask(self, mask: Any) -> Tensor | None:
        """The lanes to reset, as a tensor; ValueError for anything but one truth value a lane, of which one holds."""
        if mask is None:
            return None
        whole = isinstance(mask, np.ndarray | Tensor) and str(mask.dtype) in ("bool", "torch.bool")
        if not whole or tuple(mask.shape) != (self.num_envs,) or not mask.any():
            expected = f"bool ({self.num_envs},), True somewhere"
            raise ValueError(f"options['reset_mask']: expected {expected}, got {shown(mask)}")
        if self._seed is None:
            raise ResetNeeded("no game has begun: the first reset() deals every lane and takes no 'reset_mask'")
        return torch.as_tensor(mask, device=self._ended.device)

    def _look(self) -> Tensor:
        return self.game.observe(self.seat.index).packed

    def _entries(self, packed: Tensor) -> dict[str, Any]:
        return self.seat.entries(self._out(packed))

    def _out(self, tensor: Tensor) -> Any:
        """A fresh tensor as what this environment returns."""
        return tensor.cpu().numpy() if self.backend == "numpy" else tensor

    def _final(self, ended: Tensor) -> Any:
        batch = self._entries(self._look())
        return batch if self.backend == "torch" else FinalObservations(batch, self._out(ended.clone()))

    def _ending(self, ended: Tensor) -> dict[str, Any]:
        """How the games of the lanes in `ended` (`lane` bool) ended; of the others nothing is told."""
        truth, verdict = (torch.where(ended, self.game.field(name).long(), 0) for name in ("truth", "verdict"))
        forfeit = self._out(torch.where(ended, self.game.field("forfeit").long(), -1))
        if self.backend == "numpy":
            forfeit = np.array([*(role.name for role in self.game.spec.roles), None])[forfeit]
        return self._masked(ended, truth=self._out(truth), verdict=self._out(verdict), forfeit=forfeit)

    def _masked(self, mask: Tensor, **infos: Any) -> dict[str, Any]:
        """Infos as Gymnasium batches them: beside each, under its name with a `_`, for which lanes it holds."""
        return {key: value for name, info in infos.items() for key, value in ((name, info), (f"_{name}", self._out(mask.clone())))}


class FinalObservations(Sequence[Any]):
    """`final_obs` as Gymnasium has it, an array with an observation a lane and None where no game ended.

    Made when it is first looked into, since a dict for each of many thousand lanes would cost more than their games.
    """

    def __init__(self, batch: dict[str, NDArray[Any]], mask: NDArray[np.bool_]) -> None:
        self._batch, self._mask = batch, mask

    @cached_property
    def lanes(self) -> NDArray[np.object_]:
        made = np.full(len(self), None, dtype=object)
        for lane in np.flatnonzero(self._mask):
            made[lane] = {name: entry[lane] for name, entry in self._batch.items()}
        return made

    def __len__(self) -> int:
        return len(self._mask)

    def __getitem__(self, index: Any) -> Any:
        return self.lanes[index]

    def __setitem__(self, index: Any, observation: Any) -> None:
        self.lanes[index] = observation


def _autoreset_mode(mode: AutoresetMode | str) -> AutoresetMode:
    """Gymnasium's autoreset mode by itself, its value or its name."""
    names = {m.name: m for m in AutoresetMode} | {m.value: m for m in AutoresetMode}
    if isinstance(mode, AutoresetMode):
        return mode
    if mode not in names:
        raise unknown("autoreset mode", mode, names, "`gymnasium.vector.AutoresetMode`")
    return names[mode]
