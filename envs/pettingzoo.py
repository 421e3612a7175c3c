"""All seats of one game as PettingZoo environments: everybody at once, or one agent at a time."""

from __future__ import annotations

import warnings
from typing import Any, TypeAlias

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils import EzPickle

from pvg.agent import default_agent
from pvg.envs.seat import (
    DEALS,
    bad_action,
    checked_lane,
    checked_options,
    checked_render_mode,
    ending,
    resolved,
    say,
    speaks,
)
from pvg.envs.spaces import action_masks, action_space, entries, observation_space, places
from pvg.game import Game
from pvg.protocol import Protocol
from pvg.registry import UnknownName
from pvg.spec import Split
from pvg.task import Task
from pvg.transcript import transcript

try:
    from pettingzoo import AECEnv, ParallelEnv
except ImportError as error:
    raise ImportError("parallel_env and aec_env need PettingZoo: pip install 'prover-verifier-games[pettingzoo]'") from error

WORDS = ("protocol", "proof", "split", "render_mode")
NOT_BEGUN = "the game is over or has not begun: call reset() first"

Stepped: TypeAlias = tuple[dict[str, dict[str, Any]], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]


def parallel_env(env_id_or_task: Task | str, **words: Any) -> GameParallelEnv:
    """A game in which every seat is an agent's and all step at once, by the id of its Gymnasium environment, or by its task
    (an object or a name); words: as of `GameParallelEnv`.

        >>> env = pvg.envs.parallel_env("pvg/Arith-v0", protocol="prover_verifier", modulus=5)
        >>> observations, infos = env.reset(seed=0)
        >>> while env.agents:
        ...     actions = {agent: env.action_space(agent).sample(infos[agent]["action_mask"]) for agent in env.agents}
        ...     observations, rewards, terminations, truncations, infos = env.step(actions)
        >>> sorted(infos["prover"])
        ['acting', 'action_mask', 'forfeit', 'truth', 'verdict']
    """
    return GameParallelEnv(**_words(env_id_or_task, words))


def aec_env(env_id_or_task: Task | str, **words: Any) -> GameAECEnv:
    """The same games with one agent acting at a time.

    words: as of `GameAECEnv`.

        >>> env = pvg.envs.aec_env("pvg/Arith-v0", protocol="prover_verifier", modulus=5)
        >>> env.reset(seed=0)
        >>> for agent in env.agent_iter():
        ...     observation, reward, over, _, info = env.last()
        ...     env.step(None if over else env.action_space(agent).sample(info["action_mask"]))
        >>> env.agents
        []
    """
    return GameAECEnv(**_words(env_id_or_task, words))


class GameParallelEnv(ParallelEnv[str, dict[str, Any], Any], EzPickle):
    """A game as everybody in it plays it: an episode is one game, a step is one turn, and agents are the roles that speak.

    All agents step, but only those whose turn it is are heard: actions of others are ignored, and need not be given.
    Nature, the role of public coins, is no agent: its turns are played along. Observation and action of an agent are those
    of its seat as a Gymnasium environment, see `pvg.envs.spaces`; symbols outside the alphabet forfeit the game. Reward: what
    the role is paid for the step, and everybody terminates when the game is over.

    `infos[agent]`: `acting`, whether the agent is to speak now; `action_mask`, what it may say, as its action space's
    `sample` takes it; at the end `truth`, `verdict` (-1: none was given), `forfeit` (a role or None). `reset(seed=s,
    options={"lane": i})` starts the first game of lane i of seed s, `reset()` goes on with the lane's next game; of options
    it does not know it warns.

    protocol: an object or a name; None takes the one that fits the task's (first, or named) proof. parameters: the task's
    own sizes, and `preset`, a name for several at once.
    """

    metadata = {"name": "pvg", "render_modes": ["ansi"], "is_parallelizable": True}  # noqa: RUF012  PettingZoo's convention

    def __init__(
        self,
        task: Task | str,
        protocol: Protocol | str | None = None,
        proof: str | None = None,
        split: Split | None = None,
        render_mode: str | None = None,
        **parameters: Any,
    ) -> None:
        EzPickle.__init__(self, task, protocol, proof, split, render_mode, **parameters)
        self.render_mode = checked_render_mode(render_mode)
        spec = resolved(task, protocol, proof, split, parameters, WORDS)
        self.game = Game(spec)
        self.roles = {role.name: i for i, role in enumerate(spec.roles) if speaks(spec, i)}
        self.possible_agents, self.agents = [*self.roles], []
        self.observation_spaces = {name: observation_space(spec.view(i)) for name, i in self.roles.items()}
        self.action_spaces = {name: action_space(spec, i) for name, i in self.roles.items()}
        self._masks = {name: action_masks(spec, i) for name, i in self.roles.items()}
        self._rows = {name: [spec.rows[row] if row >= 0 else None for row in spec.row_of(i)] for name, i in self.roles.items()}
        views = {name: spec.view(i) for name, i in self.roles.items()}
        self._seen = {name: ((1, view.width), view.dtype, places(view)) for name, view in views.items()}
        self._looks = {name: self.game.observing(i) for name, i in self.roles.items()}
        self._turn, self._speaker, self._truth, self._verdict, self._forfeit = (
            self.game.field(name).numpy() for name in ("turn", "speaker", "truth", "verdict", "forfeit")
        )
        said = self.game.actions.numpy()[0]
        self._said = {name: said[i, : len(spec.choices(i))] for name, i in self.roles.items()}
        self._nature = tuple(default_agent(spec, i) if role.seat == "nature" else None for i, role in enumerate(spec.roles))
        self._paid = np.zeros(len(spec.roles))
        self.speakers: list[str] = []  # the agents whose turn it is; none when the game is over
        self._seed: int | None = None

    def observation_space(self, agent: str) -> gymnasium.spaces.Space[dict[str, Any]]:
        """What an agent sees, always the same object."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> gymnasium.spaces.Space[Any]:
        """What an agent says, always the same object."""
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
        """Deal the next game, or with a seed or a lane the first one of theirs, and play up to the first agent's turn."""
        options = options or {}
        try:
            checked_options(options, "lane")
        except UnknownName as unknown:  # PettingZoo's own tests pass an option that means nothing
            warnings.warn(str(unknown), stacklevel=2)
        if seed is None and "lane" not in options and self._seed is not None:
            self.game.redeal()
        else:
            lane = checked_lane(options)
            seed = self._seed if seed is None else seed
            self._seed = int(np.random.default_rng().integers(2**63)) if seed is None else seed
            self.game.seed(self._seed, lane)
        for _ in range(DEALS):
            self._paid[:] = 0
            self._go(False)
            if self.speakers:
                self.agents = [*self.possible_agents]
                return self._observations(), self._infos()
            self.game.redeal()
        raise RuntimeError(f"{DEALS} games in a row ended before any agent's turn")

    def step(self, actions: dict[str, Any]) -> Stepped:
        """Play the turn: those whose turn it is say their `actions`, all at once."""
        if not self.agents:
            raise ResetNeeded(NOT_BEGUN)
        for agent in self.speakers:
            if agent not in actions:
                raise ValueError(f"actions of {[*actions]}: it is the turn of {self.speakers}")
            self.say(agent, actions[agent])
        return self.conclude()

    def say(self, agent: str, action: Any) -> None:
        """Take an agent's action for this turn, which nobody hears before `conclude`."""
        shape = self.action_spaces[agent].shape or ()
        if not say(self._said[agent], action, shape):
            raise bad_action(self.game.spec, self.roles[agent], action, shape)

    def conclude(self) -> Stepped:
        """Play the turn with what its speakers said, and go on to the next turn of an agent."""
        self._go(True)
        agents, over = self.agents, bool(self._turn[0] < 0)
        rewards = {name: float(self._paid[self.roles[name]]) for name in agents}
        self._paid[:] = 0
        self.agents = [] if over else agents
        return self._observations(), rewards, dict.fromkeys(agents, over), dict.fromkeys(agents, False), self._infos()

    def render(self) -> str | None:
        """With render_mode="ansi", the transcript so far, as one who hears everything; the truth once the game is over."""
        return transcript(self.game) if self.render_mode == "ansi" else None

    def _go(self, given: bool) -> None:
        """Play the turn for which actions are `given`, then those of nature alone."""
        self.speakers = self._acting()
        while given or (self._turn[0] >= 0 and not self.speakers):
            if any(self._nature):
                self.game.speak(self._nature)
            self._paid += self.game.step()[0].numpy()
            self.speakers, given = self._acting(), False

    def _acting(self) -> list[str]:
        if self._turn[0] < 0:
            return []
        rows = {name: rows[self._turn[0]] for name, rows in self._rows.items()}
        return [name for name, row in rows.items() if row and (len(row.speakers) == 1 or self.roles[name] == self._speaker[0])]

    def _observations(self) -> dict[str, dict[str, Any]]:
        seen = {}
        for name, (shape, dtype, where) in self._seen.items():
            packed = np.empty(shape, dtype)
            self._looks[name](packed)
            seen[name] = entries(where, packed[0])
        return seen

    def _infos(self) -> dict[str, dict[str, Any]]:
        turn, end = self._turn[0], (int(self._truth[0]), int(self._verdict[0]), int(self._forfeit[0]))
        ends = ending(self.game.spec, *end) if turn < 0 else {}
        return {
            name: {"acting": name in self.speakers, "action_mask": masks[turn if name in self.speakers else -1], **ends}
            for name, masks in self._masks.items()
        }


class GameAECEnv(AECEnv[str, dict[str, Any], Any], EzPickle):
    """A `GameParallelEnv` in which those whose turn it is act one after another; its words, observations, actions, infos.

    Nobody is selected but who is to speak. Who speaks at the same time as others does not see what they say: the turn is
    played when the last of them has acted. When the game is over everybody is selected once more, and steps None.
    """

    metadata = {"name": "pvg", "render_modes": ["ansi"], "is_parallelizable": False}  # noqa: RUF012  PettingZoo's convention

    def __init__(self, task: Task | str, **words: Any) -> None:
        EzPickle.__init__(self, task, **words)
        self.table = GameParallelEnv(task, **words)
        self.game, self.render_mode = self.table.game, self.table.render_mode
        self.possible_agents, self.agents = self.table.possible_agents, []
        self.observation_spaces, self.action_spaces = self.table.observation_spaces, self.table.action_spaces

    def observation_space(self, agent: str) -> gymnasium.spaces.Space[dict[str, Any]]:
        """What an agent sees, always the same object."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> gymnasium.spaces.Space[Any]:
        """What an agent says, always the same object."""
        return self.action_spaces[agent]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Deal a game, as `GameParallelEnv.reset` does."""
        self._seen, self.infos = self.table.reset(seed, options)
        self.agents = [*self.possible_agents]
        self.rewards, self._cumulative_rewards = dict.fromkeys(self.agents, 0.0), dict.fromkeys(self.agents, 0.0)
        self.terminations, self.truncations = dict.fromkeys(self.agents, False), dict.fromkeys(self.agents, False)
        self.agent_selection, *self._waiting = self.table.speakers

    def observe(self, agent: str) -> dict[str, Any]:
        """What an agent sees, at the beginning of the turn."""
        return self._seen[agent]

    def step(self, action: Any) -> None:
        """Take the selected agent's action, and play the turn if it is the last to speak in it."""
        if not self.agents:
            raise ResetNeeded(NOT_BEGUN)
        agent = self.agent_selection
        if self.terminations[agent]:
            self._was_dead_step(action)
            return
        self.table.say(agent, action)
        self._cumulative_rewards[agent] = 0.0
        self._clear_rewards()
        if not self._waiting:
            self._seen, self.rewards, self.terminations, self.truncations, self.infos = self.table.conclude()
            self._accumulate_rewards()
            self._waiting = [*self.table.speakers] or self.agents[:1]
        self.agent_selection = self._waiting.pop(0)

    def render(self) -> str | None:
        """As `GameParallelEnv.render`."""
        return self.table.render()

    def close(self) -> None:
        """Nothing is held open."""


def _words(env_id_or_task: Task | str, words: dict[str, Any]) -> dict[str, Any]:
    """The arguments of an environment: those its id stands for and those given beside it."""
    if isinstance(env_id_or_task, str) and "/" in env_id_or_task:
        return {**gymnasium.spec(env_id_or_task).kwargs, **words}
    return {"task": env_id_or_task, **words}
