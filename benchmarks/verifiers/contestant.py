"""Who takes part: a registered network, anybody's module, or a black box; and what is wrong with one that cannot."""

from __future__ import annotations

import hashlib
import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pvg.agent import Observation
from pvg.agents.claims import deal
from pvg.agents.networks import Network, networks
from pvg.agents.networks.module import imported
from pvg.spec import Spec
from pvg.verifier import BlackBox, TextVerifier, Verifier

SAME = 1e-4  # verdicts closer than this are the same: sums in another order


class BadVerifier(ValueError):
    """A verifier that breaks the contract; the message names its class, the task, and the tensor."""


@dataclass(frozen=True)
class Contestant:
    """A verifier that takes part.

    name: a registered network, or `package.module:Name` of a class of modules (trained), or of a black box (measured as it is):
    a function `verdict(statement, messages)`, or a class whose objects have it, made without arguments. One whose `reads` is
    "text" is given text, as `pvg.verifier.TextVerifier` says.
    """

    name: str

    @property
    def thing(self) -> Any:
        """What the name stands for: a Network, or the black box; ValueError where it stands for nothing."""
        if ":" not in self.name:
            return networks[self.name]
        found = imported(self.name)
        return networks[self.name] if isinstance(found, type) and issubclass(found, nn.Module) else found

    @property
    def trained(self) -> bool:
        """Whether it is a network, which learns; a black box is measured as it is."""
        return isinstance(self.thing, Network)

    @property
    def structural(self) -> bool:
        """Whether it knows how the parts of a statement and its proof belong together."""
        return bool(getattr(self.thing, "structural", False))

    @property
    def stochastic(self) -> bool:
        """Whether its verdicts may differ when it is asked again."""
        return bool(getattr(imported(self.name), "stochastic", False)) if ":" in self.name else False

    @property
    def about(self) -> str:
        """A line that says what it is."""
        return str(getattr(self.thing, "about", None) or (inspect.getdoc(self.thing) or self.name).splitlines()[0])

    @property
    def source(self) -> str:
        """The hash of the file that defines it; "" for what is registered, whose source is the project's own."""
        if ":" not in self.name:
            return ""
        file = importlib.import_module(self.name.partition(":")[0]).__file__
        return "" if file is None else hashlib.blake2b(Path(file).read_bytes(), digest_size=6).hexdigest()

    def box(self, spec: Spec) -> BlackBox:
        """The black box, made for a game."""
        thing = self.thing() if isinstance(self.thing, type) else self.thing
        if not callable(getattr(thing, "verdict", thing)):
            raise BadVerifier(
                f"{self.name}: expected a function verdict(statement, messages) or an object that has it, got {thing!r}"
            )
        verdict: Callable[..., Any] = getattr(thing, "verdict", thing)
        return BlackBox(TextVerifier(spec, verdict).verdict if getattr(thing, "reads", "tensors") == "text" else verdict)


def inspect_verdicts(name: str, verifier: Verifier, spec: Spec, stochastic: bool = False) -> None:
    """Ask for a few verdicts; BadVerifier where they are not what `Verifier` promises."""
    claims = deal(spec, False, 6)
    highest = torch.tensor(claims.seats.alphabet, dtype=torch.int32)
    messages = torch.stack([torch.arange(3)[:, None] % highest] * len(claims)).int()  # claim 3 position

    def ask(rows: slice) -> Tensor:
        statement = Observation(claims.statement.packed[rows], claims.statement.view, _rows(claims.statement.replay, rows))
        tried = messages[rows]
        found: Any = guarded(name, spec, "verdict", lambda: verifier.verdict(statement, tried))
        expected = f"floating point {tuple(tried.shape[:2])} on {tried.device}"
        if not isinstance(found, Tensor):
            raise BadVerifier(f"{name}, {spec.task}: verdict: expected a tensor, {expected}, got {type(found).__name__}")
        if tuple(found.shape) != tuple(tried.shape[:2]) or not found.is_floating_point() or found.device != tried.device:
            shown = f"{found.dtype} {tuple(found.shape)} on {found.device}"
            raise BadVerifier(f"{name}, {spec.task}: verdict: expected {expected}, got {shown}")
        wrong = ~((found >= 0) & (found <= 1))
        if bool(wrong.any()):
            where = tuple(wrong.nonzero()[0].tolist())
            raise BadVerifier(f"{name}, {spec.task}: verdict{[*where]} is {float(found[where])}, which is no probability")
        return found.detach()

    whole = ask(slice(None))
    if stochastic:
        return
    again, alone = ask(slice(None)), ask(slice(2, 3))
    for other, part, why in (
        (again, whole, "differs when asked again; a verifier at random says so with stochastic = True"),
        (alone, whole[2:3], "of a statement changes with the others it is asked about at once"),
    ):
        off = (other - part).abs()
        if float(off.max()) > SAME:
            k = int(off.max(dim=0).values.argmax())
            raise BadVerifier(f"{name}, {spec.task}: verdict[2, {k}] {why}: {float(part[-1, k])}, then {float(other[-1, k])}")


def _rows(replay: Any, rows: slice) -> Any:
    return None if replay is None else replay[rows]


def guarded(name: str, spec: Spec, what: str, call: Callable[[], Any]) -> Any:
    """What a call into a verifier's code gives; BadVerifier, from whatever it raises."""
    try:
        return call()
    except BadVerifier:
        raise
    except Exception as error:
        said = str(error) or "no message"
        named = said.startswith(f"{name.rpartition(':')[2]}, ")
        raise BadVerifier(said if named else f"{name}, {spec.task}: {what} raised {type(error).__name__}: {said}") from error
