"""Monte-Carlo tree search: debaters who take turns at showing pixels look ahead to what a frozen judge would say."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from pvg.agent import Observation, Utterance
from pvg.protocols.debate import Debate
from pvg.spec import Spec

# Scores of answers, `N answer`, from the values of the pixels that are shown, `N pixel` (0: not shown).
PixelJudge: TypeAlias = Callable[[Tensor], Tensor]

LANES = 512  # games searched at once: bounds the memory of their trees


def decided(scores: Tensor, stated: Tensor | None) -> Tensor:
    """The answer with the highest score (`N answer`) of the two that are `stated` (`N 2`), or of all; the lower of equals: `N`."""
    if stated is None:
        return scores.argmax(1)
    stated = stated.long().sort(1).values
    return stated.gather(1, scores.gather(1, stated).argmax(1, keepdim=True))[:, 0]


def visits(
    value: Callable[[Tensor], Tensor],
    shown: Tensor,
    left: Tensor,
    moves: int,
    rollouts: int,
    generator: torch.Generator,
    c: float = 1.0,
) -> Tensor:
    """How often a search goes through each item next: `N item`, of N games at once; what it goes through most it holds best.

    Two players show items in turn, `moves` more, and are then paid by a judge: whoever is to move `value(shown)` (`N` in
    -1..1, of `N item` bool), the other minus that. A rollout chooses at each node of its tree the item with the highest
    Q + c P sqrt(sum of N) / (1 + N): N rollouts went through it and brought whoever moves there Q on average (0 if none did),
    P is 1 over the number of items left; of equals one is drawn. It adds one node to the tree, goes on at random below it, and
    is paid at its end.
    shown, left: `N item` bool, what is shown and what can be. ValueError: too few items are left.
    Source: PUCT as in Silver et al. 2017, with a uniform prior, as Irving, Christiano & Amodei 2018 search for debaters.
    """
    games, items = shown.shape
    if rollouts < 1 or moves < 1 or int(left.sum(1).min()) < moves:
        raise ValueError(
            f"rollouts={rollouts}, moves={moves}: at least 1 each, and {int(left.sum(1).min())} items are left to show"
        )
    size = rollouts + 2  # of a tree: node 0 stands for what is outside it, and has no figures; node 1 is the root
    tries, paid = (torch.zeros((games * size, items)) for _ in range(2))
    below = torch.zeros((games * size, items), dtype=torch.int32)
    first, game = torch.arange(games) * size, torch.arange(games)  # where each game's tree begins
    choices = left.sum(1, keepdim=True)  # at the root
    for new in range(2, size):
        node, barred, path = torch.ones(games, dtype=torch.int64), ~left | shown, []
        for depth in range(moves):
            row = first + node
            n = tries[row]
            puct = paid[row] / n.clamp(min=1) + c / (choices - depth) * n.sum(1, keepdim=True).sqrt() / (1 + n)
            drawn = torch.rand((games, items), generator=generator)
            item = puct.add_(drawn, alpha=1e-6).masked_fill_(barred, -torch.inf).argmax(1)
            path.append((row, item, node > 0))
            barred[game, item] = True
            found = below[row, item].long()
            adds = (found == 0) & (node > 0) & (node < new)
            below[row[adds], item[adds]] = new
            node = found.masked_fill(adds, new)
        result = value(shown | (barred & left))
        for depth, (row, item, inside) in enumerate(path):
            tries[row, item] += inside
            paid[row, item] += (result if depth % 2 == 0 else -result) * inside
    return tries[first + 1]


class MCTS:
    """A debater that searches before each of its turns, as if the other did too; it learns nothing.

    Without precommitment it must know whether it argues for the truth, which then the protocol's `honest` says.
    spec: `debate` of pixels named one a turn, in sequence. judge: as it decides the game. rollouts: of each search. c: weight of
    trying what was tried little. ValueError: another game.
    """

    def __init__(self, spec: Spec, role: str, judge: PixelJudge, rollouts: int = 1000, c: float = 1.0, seed: int = 0) -> None:
        protocol = spec.protocol
        if spec.proof_name != "one_pixel_a_turn" or not isinstance(protocol, Debate) or protocol.order != "sequential":
            raise ValueError(f"MCTS plays sequential debates of one_pixel_a_turn, not {spec.label} under {protocol}")
        if not protocol.precommit and protocol.honest == "drawn":
            raise ValueError("honest='drawn': without precommitment a debater that searches must know whether it argues the truth")
        if spec.roles[spec.role_index(role)].seat != "prover":
            raise ValueError(f"role={role!r} is no debater")
        self.me, self.judge, self.rollouts, self.c = spec.role_index(role), judge, rollouts, c
        self.precommit, self.honest = protocol.precommit, protocol.honest == role
        self.said = [column.field.name for column in spec.view(self.me) if column.row is not None]
        self.generator = torch.Generator().manual_seed(seed)

    def act(self, observation: Observation, acting: Tensor) -> Utterance:
        pixels = torch.zeros((len(acting), 1), dtype=torch.int32)
        named = torch.stack([observation[name] for name in self.said], 1).long()  # lane pixel, -1 where none is named yet
        moves = (named < 0).sum(1)
        for left in moves[acting].unique().tolist():
            for lanes in (acting & (moves == left)).nonzero()[:, 0].split(LANES):
                pixels[lanes, 0] = self._best(observation.rows(lanes), named[lanes, : len(self.said) - left], left)
        return Utterance(pixels)

    @torch.no_grad()
    def _best(self, seen: Observation, named: Tensor, moves: int) -> Tensor:
        """The pixel visited most, of equals a drawn one: `N` int32."""
        image = seen["image"].flatten(1).float()  # N pixel
        lit = image > 0
        items = lit.int().argsort(dim=1, descending=True, stable=True)[:, : int(lit.sum(1).max())]  # N item
        values, told = image.gather(1, items), torch.zeros_like(lit).scatter(1, named, True)
        stated, side = seen["stated"], seen["side"]

        def value(shown: Tensor) -> Tensor:
            scores = self.judge(torch.zeros_like(image).scatter(1, items, values * shown))
            verdict = decided(scores, stated if self.precommit else None)
            won = verdict == side if self.precommit or self.honest else verdict != stated[:, 1 - self.me]
            return 2.0 * won - 1

        shown = told.gather(1, items)
        left = lit.gather(1, items) & ~shown
        count = visits(value, shown, left, moves, self.rollouts, self.generator, self.c)
        drawn = torch.rand(count.shape, generator=self.generator)
        return items.gather(1, (count + drawn).masked_fill(~left, -1).argmax(1, keepdim=True))[:, 0].int()
