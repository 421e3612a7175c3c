"""One seat of many games in lockstep as a Stable-Baselines3 VecEnv, for PPO, A2C and DQN on thousands of lanes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from pvg.envs.vector import GameVectorEnv
from pvg.task import Task

try:
    from stable_baselines3.common.monitor import Monitor
    from stable_baselines3.common.vec_env import VecEnv
except ImportError as error:
    raise ImportError("pvg.envs.sb3 needs Stable-Baselines3: pip install 'prover-verifier-games[sb3]'") from error


def make_vec_env(env_id_or_task: Task | str, n_envs: int = 1, seed: int | None = None, **words: Any) -> GameVecEnv:
    """Games as Stable-Baselines3 plays them, by the id of their Gymnasium environment, or by their task (an object or a name).

    n_envs: lanes. seed: names the games, those that `gymnasium.make_vec(...).reset(seed=seed)` deals, and seeds samples of the
    action space. words: as of `GameVectorEnv`, the task's own sizes included.

        >>> env = make_vec_env("pvg/Arith-v0", n_envs=1024, seed=0, role="prover", opponents="reference")
        >>> PPO("MultiInputPolicy", env, n_steps=4, batch_size=1024).learn(100_000)
    """
    given: dict[str, Any] = {"num_envs": n_envs, "backend": "torch", "autoreset_mode": AutoresetMode.SAME_STEP}
    made: Any = gymnasium.make_vec if isinstance(env_id_or_task, str) and "/" in env_id_or_task else GameVectorEnv
    env = GameVecEnv(made(env_id_or_task, **given, **words))
    if seed is not None:
        env.seed(seed)
        env.action_space.seed(seed)
    return env


class GameVecEnv(VecEnv):
    """A batch of games as a VecEnv: observations (a dict of arrays with a row a lane), actions and rewards are those of `games`.

    `infos[lane]` is empty until a game ends. Then it holds `terminal_observation`, `TimeLimit.truncated` (False), `truth`,
    `verdict` (-1: none was given), `forfeit` (a role or None), and `episode`, the statistics of a Monitor: the game's return
    `r`, the seat's turns `l`, and seconds since the environment was made `t`.

    The lanes are one batch: attributes are those of `games`, and methods are called once, whatever the indices. Options of the
    next reset go to `games` whole.
    games: with backend="torch" and the autoreset mode SAME_STEP.
    """

    def __init__(self, games: GameVectorEnv) -> None:
        for name, expected in (("backend", "torch"), ("autoreset_mode", AutoresetMode.SAME_STEP)):
            if getattr(games, name) != expected:
                raise ValueError(f"games: expected {name}={expected!r}, got {getattr(games, name)!r}")
        self.games, self._made = games, time.time()
        self._names = (*(role.name for role in games.game.spec.roles), None)
        self._returns = np.zeros(games.num_envs)  # lane  float64
        self._lengths = np.zeros(games.num_envs, np.int64)  # lane  int64
        super().__init__(games.num_envs, games.single_observation_space, games.single_action_space)

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Name the games that the next `reset` deals: lanes 0..n-1 of one seed, None for a random one."""
        self._seeds = [super().seed(seed)[0]] * self.num_envs
        return self._seeds

    def set_options(self, options: Any = None) -> None:
        """Options of the next `reset`, one dict for all lanes. ValueError: a list, one a lane."""
        if isinstance(options, list):
            raise ValueError(f"options: expected a dict for all {self.num_envs} lanes, got a list of {len(options)}")
        super().set_options(options)

    def reset(self) -> Any:
        """Deal games and play up to the seat's turn. Returns observations alone."""
        options = self._options[0]
        seen, _ = self.games.reset(seed=self._seeds[0], options=options)
        dealt = options.get("reset_mask", True)
        self._returns[dealt], self._lengths[dealt] = 0, 0
        self._reset_seeds()
        self._reset_options()
        return _arrays(seen)

    def step_async(self, actions: NDArray[Any]) -> None:
        """Take what each lane says."""
        self._actions = actions

    def step_wait(self) -> Any:
        """Play up to the seat's next turn; where a game ends the next is dealt, and its first observation returned."""
        said = torch.as_tensor(self._actions, device=self.games.game.bytes.device)
        seen, reward, over, _, infos = self.games.step(said)
        rewards, dones = reward.cpu().numpy(), over.cpu().numpy()
        self._returns += rewards
        self._lengths += 1
        told: Sequence[dict[str, Any]] = self._ending(np.flatnonzero(dones), infos) if infos else [{} for _ in dones]
        return _arrays(seen), rewards, dones, told

    def close(self) -> None:
        """Close the games."""
        self.games.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """An attribute of the games, once for each lane asked about; spaces are those of one lane."""
        name = f"single_{attr_name}" if attr_name in ("observation_space", "action_space") else attr_name
        return [getattr(self.games, name)] * self._count(indices)

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute of the games. ValueError: `indices` that leave lanes out."""
        if self._count(indices) != self.num_envs:
            raise ValueError(f"indices={indices!r}: expected None, for the {self.num_envs} lanes are one batch")
        setattr(self.games, attr_name, value)

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """Call a method of the games once. Returns what it returned for each lane asked about; of `render` the lane's own."""
        found = getattr(self.games, method_name)(*method_args, **method_kwargs)
        if method_name == "render" and found is not None:
            return [found[lane] for lane in self._get_indices(indices)]
        return [found] * self._count(indices)

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Whether lanes do what a wrapper adds: true of Monitor, whose statistics every info has."""
        return [wrapper_class is Monitor] * self._count(indices)

    def _ending(self, ended: NDArray[np.intp], infos: dict[str, Any]) -> Infos:
        """How the games of the lanes in `ended` ended, whose statistics begin anew."""
        how = {name: infos["final_info"][name].cpu().numpy()[ended] for name in ("truth", "verdict", "forfeit")}
        final = {name: entry[ended] for name, entry in _arrays(infos["final_obs"]).items()}
        statistics = self._returns[ended], self._lengths[ended], round(time.time() - self._made, 6)
        self._returns[ended], self._lengths[ended] = 0, 0
        return Infos(self.num_envs, ended, final, how, *statistics, self._names)

    def _count(self, indices: Any) -> int:
        return len([*self._get_indices(indices)])


@dataclass(frozen=True)
class Infos(Sequence[dict[str, Any]]):
    """A dict a lane, filled where a game ended; made when first looked into, since they cost more than the games.

    Columns have a row for each of the lanes in `ended`.
    """

    num_envs: int
    ended: NDArray[np.intp]
    final: dict[str, NDArray[Any]]
    how: dict[str, NDArray[Any]]
    returns: NDArray[np.float64]
    lengths: NDArray[np.int64]
    seconds: float
    names: tuple[str | None, ...]

    @cached_property
    def lanes(self) -> list[dict[str, Any]]:
        made: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        final = map(dict, map(zip, repeat(tuple(self.final)), zip(*self.final.values(), strict=True)))
        columns = [column.tolist() for column in (self.ended, self.returns.round(6), self.lengths, *self.how.values())]
        for seen, lane, paid, turns, truth, verdict, forfeit in zip(final, *columns, strict=True):
            made[lane] = {
                "terminal_observation": seen,
                "TimeLimit.truncated": False,
                "truth": truth,
                "verdict": verdict,
                "forfeit": self.names[forfeit],
                "episode": {"r": paid, "l": turns, "t": self.seconds},
            }
        return made

    def __len__(self) -> int:
        return self.num_envs

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.lanes)

    def __getitem__(self, lane: Any) -> Any:
        return self.lanes[lane]


def _arrays(seen: dict[str, torch.Tensor]) -> dict[str, NDArray[Any]]:
    """Observations as arrays, which share a CPU tensor's memory."""
    return {name: entry.cpu().numpy() for name, entry in seen.items()}
