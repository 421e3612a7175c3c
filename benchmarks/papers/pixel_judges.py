"""Judges of a few pixels of a digit, for the sparse-pixel debate: a network that learns from random ones, and naive Bayes."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pvg.agent import Observation, Utterance
from pvg.agents.mcts import decided
from pvg.agents.training import Diverged
from pvg.tasks.sparse_digits import SparseDigits, trained_on

LEVELS, ANSWERS = 17, 10
UPDATES, WIDTH, BATCH, RATE = 2500, 128, 256, 1e-3


class Judge(nn.Module):
    """A perceptron on which pixels are shown and on their values; before the game's seat it decides between answers stated."""

    def __init__(self, pixels: int, width: int = WIDTH) -> None:
        super().__init__()
        self.pixels = pixels
        layers = (nn.Linear(2 * pixels, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, ANSWERS))
        self.layers = nn.Sequential(*layers)

    def forward(self, values: Tensor) -> Tensor:
        """`N answer` scores from `N pixel` values 0..LEVELS-1, 0 where nothing is shown."""
        out: Tensor = self.layers(torch.cat([values / (LEVELS - 1), (values > 0).float()], 1))
        return out

    @torch.no_grad()
    def act(self, observation: Observation, acting: Tensor) -> Utterance:
        columns = [column.field.name for column in observation.view if column.row is not None]
        named = torch.stack([observation[name] for name in columns], 1).long()  # lane pixel
        values = observation["value"].float()
        told = named.clamp(min=0), values.clamp(min=0)  # before its turn some are named by nobody
        shown = torch.zeros((len(named), self.pixels)).scatter(1, *told)
        stated = observation["stated"] if "stated" in [column.field.name for column in observation.view] else None
        return Utterance(decided(self(shown), stated)[:, None].int())


class Additive:
    """Naive Bayes, as the task's own judge: every pixel's log likelihood of each answer adds up."""

    def __init__(self, surprise: Tensor) -> None:
        self.surprise = surprise  # pixel value answer  float

    def __call__(self, values: Tensor) -> Tensor:
        pixels = torch.arange(len(self.surprise))
        return -self.surprise[pixels, values.long()].sum(1)


@cache
def pool() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """All images, `image pixel` float32 in 0..LEVELS-1, what they show, which may be learnt from, and naive Bayes' table."""
    tables = SparseDigits(levels=LEVELS).tables
    images = torch.from_numpy(tables["images"]).flatten(1).float()
    learnt = torch.from_numpy(trained_on(len(images)))
    return images, torch.from_numpy(tables["shown"]).long(), learnt, torch.from_numpy(tables["surprise"]).float()


def at_random(images: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """The images with k random pixels shown of those that are not 0, the others 0: `image pixel`."""
    some = (torch.rand(images.shape, generator=generator) * (images > 0)).topk(k, 1).indices
    return torch.zeros_like(images).scatter(1, some, images.gather(1, some))


def learn(images: Tensor, shows: Tensor, k: int, seed: int, updates: int = UPDATES) -> Judge:
    """A judge that has learnt from k random pixels of each image; Diverged if it has not."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        judge = Judge(images.shape[1])
    optimiser = torch.optim.Adam(judge.parameters(), RATE)
    for update in range(updates):
        optimiser.param_groups[0]["lr"] = RATE * (1 - update / updates)
        some = torch.randint(len(images), (BATCH,), generator=generator)
        loss = F.cross_entropy(judge(at_random(images[some], k, generator)), shows[some])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    if not bool(loss.isfinite()):
        raise Diverged(f"judge of {k} pixels, seed {seed}: loss {float(loss.detach())}")
    return judge.requires_grad_(False)
