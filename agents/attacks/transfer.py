"""Transfer: what other verifiers accept."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from pvg.agents.attacks.attack import Attack, Target, attacks
from pvg.agents.attacks.coordinates import coordinate_ascent
from pvg.agents.attacks.exact import StepChecking, dynamic_programming
from pvg.agents.attacks.queries import Queries, tosses_of
from pvg.agents.attacks.queries import ask as verdicts_of


@attacks.register("transfer")
@dataclass
class Transfer(Attack):
    """Messages found by attacking other verifiers, such as those of other seeds, tried on this one.

    On each of the others coordinate ascent climbs from what the scripted provers say and from random messages, and dynamic
    programming is used where it can be. All that is found is tried in the order of the others' mean verdict, best first.
    What the others are asked is counted apart.

    climbs, sweeps: on each of them.
    """

    climbs: int = 16
    sweeps: int = 2

    def unfit(self, target: Target, budget: int) -> str | None:
        return None if target.means.others else "no other verifiers were given to attack in its place"

    def prepare(self, target: Target, generator: torch.Generator) -> dict[str, int]:
        starts, statement = target.starts(generator), target.claims.statement
        begin = torch.stack([next(starts) for _ in range(self.climbs)], dim=1)
        found: list[Tensor] = []
        for other in target.means.others.values():
            one = partial(verdicts_of, other, statement)
            found.append(coordinate_ascent(one, target.alphabet, begin, self.sweeps, generator)[0])
            if isinstance(other, StepChecking):
                found.append(dynamic_programming(other, statement)[0][:, None])
        messages = torch.cat(found, dim=1)  # claim message position
        judged = torch.stack([verdicts_of(other, statement, messages) for other in target.means.others.values()])
        order = judged.mean(0).argsort(dim=1, descending=True, stable=True)
        self._messages = messages[torch.arange(len(messages), device=order.device)[:, None], order]
        climbing = self.climbs * (1 + self.sweeps * sum(target.alphabet)) + messages.shape[1]
        return {"queries to other verifiers, a claim": len(target.means.others) * climbing * tosses_of(statement)}

    def search(self, target: Target, ask: Queries, generator: torch.Generator) -> None:
        ask(self._messages)
