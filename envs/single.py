"""One seat of one game as a Gymnasium environment."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils import EzPickle

from pvg.envs.seat import DEALS, Opponents, Seat, checked_lane, checked_options, checked_render_mode, ending, say
from pvg.envs.spaces import entries
from pvg.protocol import Protocol
from pvg.spec import Split
from pvg.task import Task
from pvg.transcript import transcript

WORDS = ("protocol", "role", "opponents", "proof", "split", "render_mode")


class GameEnv(gymnasium.Env[dict[str, Any], Any], EzPickle):
    """A game from one role's seat: an episode is one game, a step is one turn of the role.

    Observation and action: see `pvg.envs.spaces`; symbols outside the alphabet forfeit the game. Reward: what the role
    is paid until its next turn. `info` of the last step: `truth`, `verdict` (-1: none was given), `forfeit` (a role or
    None). `reset(seed=s, options={"lane": i})` starts the first game of lane i of seed s, which lane i of a vector
    environment plays; `reset()` goes on with the lane's next game.

    role: None takes the verifier's seat. opponents: agents or their names by role, or one agent where there is one
    other role; an object is played as it is, learning included. Roles not named are played by the default agents:
    provers that are dishonest where the claim is false, the reference verifier. protocol: None takes the one that fits
    the task's (first, or named) proof. parameters: the task's own sizes, and `preset`, a name for several at once.
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
        **parameters: Any,
    ) -> None:
        EzPickle.__init__(self, task, protocol, role, opponents, proof, split, render_mode, **parameters)
        self.render_mode = checked_render_mode(render_mode)
        self.seat = Seat(task, protocol, role, opponents, proof, split, parameters, WORDS)
        self.game, self._role, self._go, self._look = self.seat.game, self.seat.index, self.seat.go, self.seat.look
        self.observation_space, self.action_space = self.seat.observation_space, self.seat.action_space
        self._turn, self._truth, self._verdict, self._forfeit = (
            self.game.field(name).numpy() for name in ("turn", "truth", "verdict", "forfeit")
        )
        self._said = self.game.actions.numpy()[0, self._role, : len(self.game.spec.choices(self._role))]
        self._paid = self.game.returns.numpy()[0]
        self._packed, self._places = ((1, self.seat.view.width), self.seat.view.dtype), self.seat.places
        self._carried = 0.0  # paid before the seat's first turn
        self._seed: int | None = None
        self._waiting = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Deal the next game, or with a seed or a lane the first one of theirs, and play up to the seat's turn."""
        super().reset(seed=seed)
        if seed is None and not options and self._seed is not None:
            self.game.redeal()
        else:
            self._name(seed, options or {})
        for _ in range(DEALS):
            self._go()
            if self._turn[0] >= 0:
                self._carried, self._waiting = float(self._paid[self._role]), True
                return self._observation(), {}
            self.game.redeal()
        raise self.seat.never()

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Say `action` and let the others play up to the seat's next turn or the end."""
        if not self._waiting:
            raise ResetNeeded("the game is over or has not begun: call reset() first")
        shape = self.action_space.shape or ()
        if not say(self._said, action, shape):
            raise self.seat.bad_action(action, shape)
        self._go(True)
        reward, self._carried = self._carried + float(self._paid[self._role]), 0.0
        over = bool(self._turn[0] < 0)
        self._waiting = not over
        return self._observation(), reward, over, False, self._ending() if over else {}

    def render(self) -> str | None:
        """With render_mode="ansi", the transcript so far as the seat knows it; the truth once the game is over."""
        return transcript(self.game, 0, self.seat.index) if self.render_mode == "ansi" else None

    def _name(self, seed: int | None, options: dict[str, Any]) -> None:
        """Deal the first game of a lane (or 0) of a seed (or the one in use, or a random one)."""
        lane = checked_lane(checked_options(options, "lane"))
        if seed is None:
            seed = int(self.np_random.integers(2**63)) if self._seed is None else self._seed
        self.game.seed(seed, lane)
        self._seed = seed

    def _observation(self) -> dict[str, Any]:
        packed = np.empty(*self._packed)
        self._look(packed)
        return entries(self._places, packed[0])

    def _ending(self) -> dict[str, Any]:
        return ending(self.game.spec, int(self._truth[0]), int(self._verdict[0]), int(self._forfeit[0]))
