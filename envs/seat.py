"""One seat of a game, with everybody else played: what the single and the vector environment stand on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from pvg.agent import Agent, BatchAgent, LaneAgent, agents
from pvg.envs.spaces import action_space, entries, observation_space, places
from pvg.game import Game
from pvg.protocol import Protocol, protocols
from pvg.registry import unknown
from pvg.spec import Spec, Split, default_protocol, resolve
from pvg.task import Task, tasks

Opponents: TypeAlias = "Mapping[str, Agent | str] | Agent | str | None"

DEALS = 1000  # a lane whose games keep ending before the seat is to speak is given up after this many


class Seat:
    """The lanes of a game seen from one role; `go` plays on to its next turn and `look` fills packed observations.

    role: None takes the first role in the verifier's seat. opponents: agents or their names by role, or one agent if
    there is one other role; roles not named are played by the default agents. known: the words the environment takes
    beside the task's own parameters.
    """

    def __init__(
        self,
        task: Task | str,
        protocol: Protocol | str | None,
        role: str | None,
        opponents: Opponents,
        proof: str | None,
        split: Split | None,
        parameters: Mapping[str, Any],
        known: Iterable[str],
        num_envs: int = 1,
        device: str | torch.device = "cpu",
    ) -> None:
        spec = resolved(task, protocol, proof, split, parameters, known)
        self.index = _role(spec, role)
        self.role = spec.roles[self.index].name
        named = _named(spec, self.role, opponents)
        self.game = Game(spec, num_envs, device)
        self.view, self.places = spec.view(self.index), places(spec.view(self.index))
        self.observation_space, self.action_space = observation_space(self.view), action_space(spec, self.index)
        self.go = self.game.advancing(self.game.players(named, self.role), self.role)
        self.look = self.game.observing(self.index)

    def entries(self, packed: Any) -> dict[str, Any]:
        """A packed observation as the entries of its space."""
        return entries(self.places, packed)

    def never(self) -> RuntimeError:
        """The error for a seat that has no turn in any of many games."""
        return RuntimeError(f"{self.role}: {DEALS} games in a row ended before its turn; look at the other players")

    def bad_action(self, action: object, shape: tuple[int, ...]) -> ValueError:
        """The error for an action of the wrong type or shape; what is merely outside the alphabet is a forfeit."""
        return bad_action(self.game.spec, self.index, action, shape)


def resolved(
    task: Task | str,
    protocol: Protocol | str | None,
    proof: str | None,
    split: Split | None,
    parameters: Mapping[str, Any],
    known: Iterable[str],
) -> Spec:
    """What is played, from the words an environment takes."""
    task = _task(task, parameters, known)
    protocol = protocols[protocol]() if isinstance(protocol, str) else protocol or default_protocol(task, proof)
    return resolve(task, protocol, proof, split)


def speaks(spec: Spec, role: int) -> bool:
    """Whether a role is a player's: nature tosses its coins itself, and some roles of a protocol may have nothing to say."""
    return spec.roles[role].seat != "nature" and bool((spec.row_of(role) >= 0).any())


def say(said: NDArray[np.int32], action: Any, shape: tuple[int, ...]) -> bool:
    """Put one lane's symbols where the kernels read them, and what int32 cannot hold as -1, outside every alphabet.

    Returns False, having done nothing, for what is not integers of that shape.
    """
    symbols = array_of(action)
    if symbols.dtype.kind not in "iu" or symbols.shape != shape:
        return False
    if symbols.ndim == 0:
        symbol = int(symbols)
        said[0] = symbol if 0 <= symbol < 2**31 else -1
    else:
        said[:] = symbols
        if (said != symbols).any():
            said[said != symbols] = -1
    return True


def bad_action(spec: Spec, role: int, action: object, shape: tuple[int, ...]) -> ValueError:
    """The error for an action of the wrong type or shape; what is merely outside the alphabet is a forfeit."""
    highest = (spec.choices(role) - 1).tolist()
    allowed = f"0..{highest[0]}" if len(set(highest)) == 1 else f"0..{highest}"
    return ValueError(f"action of {spec.roles[role].name}: expected integers {shape} in {allowed}, got {shown(action)}")


def ending(spec: Spec, truth: int, verdict: int, forfeit: int) -> dict[str, Any]:
    """How a game ended."""
    return {"truth": truth, "verdict": verdict, "forfeit": None if forfeit < 0 else spec.roles[forfeit].name}


def checked_lane(options: Mapping[str, Any]) -> int:
    """The lane that the options of a reset name, 0 by default."""
    lane = options.get("lane", 0)
    if not isinstance(lane, int | np.integer) or isinstance(lane, bool) or not 0 <= lane < 2**31 - 1:
        raise ValueError(f"options['lane']={lane!r}: expected an integer in 0..{2**31 - 2}")
    return int(lane)


def checked_options(options: Mapping[str, Any], *known: str) -> Mapping[str, Any]:
    """The options of a reset; an unknown one is a ValueError."""
    for name in options:
        if name not in known:
            raise unknown("reset option", name, known, "the documentation of `reset`")
    return options


def checked_render_mode(mode: str | None) -> str | None:
    """The render mode; an unknown one is a TypeError, at which Stable-Baselines3, which tries "rgb_array", goes on."""
    if mode not in (None, "ansi"):
        raise TypeError(str(unknown("render mode", mode, ["ansi"], "`metadata['render_modes']`")))
    return mode


def array_of(action: Any) -> NDArray[Any]:
    """An action as an array; a ragged one, of which NumPy makes none, as an array of no integer type."""
    try:
        return np.asarray(action)
    except ValueError:
        return np.asarray(None)


def shown(action: object) -> str:
    """An action as an error shows it: with its type and shape where it has them, and never a page long."""
    text = repr(action)
    kind = f"{dtype} {tuple(getattr(action, 'shape', ()))} " if (dtype := getattr(action, "dtype", None)) is not None else ""
    return kind + (text if len(text) <= 80 else f"{text[:77]}...")


def _task(task: Task | str, parameters: Mapping[str, Any], known: Iterable[str]) -> Task:
    kind: Any = tasks[task] if isinstance(task, str) else type(task)
    own = [f.name for f in dataclasses.fields(kind)]
    if isinstance(task, str) and "preset" in parameters:
        sizes = dict(parameters)
        task, parameters = kind.preset(sizes.pop("preset")), sizes
    for name in parameters:
        if name not in own:
            listing = f"{kind.__name__} takes {', '.join(own)}; the signature of the environment"
            raise unknown("parameter", name, [*own, *known], listing)
    made: Task = kind(**parameters) if isinstance(task, str) else dataclasses.replace(task, **parameters)  # type: ignore[type-var]
    return made


def _role(spec: Spec, role: str | None) -> int:
    if role is None:
        return [r.seat for r in spec.roles].index("verifier")
    index = spec.role_index(role)
    if not speaks(spec, index):
        raise ValueError(f"role={role!r}: {'nature is no player' if spec.roles[index].seat == 'nature' else 'it never speaks'}")
    return index


def _named(spec: Spec, seat: str, opponents: Opponents) -> dict[str, Agent | str]:
    """Who was asked to play which of the other roles."""
    others = [role.name for role in spec.roles if role.name != seat]
    if opponents is None:
        return {}
    if not isinstance(opponents, Mapping):
        if len(others) != 1:
            raise ValueError(f"opponents={opponents!r}: expected a dict of agents by role, for some of {others}")
        opponents = {others[0]: opponents}
    for name, player in opponents.items():
        if name not in others:
            raise unknown("opponent", name, others, "the protocol's `roles`")
        if not isinstance(player, str | LaneAgent | BatchAgent):
            raise ValueError(f"opponents[{name!r}]={player!r}: expected an agent, or the name of one of {[*agents]}")
    return dict(opponents)
