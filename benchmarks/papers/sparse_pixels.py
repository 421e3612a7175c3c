"""Sparse-pixel debate: what does taking turns at showing pixels, with and without precommitment, do for a judge's accuracy?

    NUMBA_DISABLE_JIT=1 python -m pvg.benchmarks.papers.sparse_pixels --out benchmarks/papers/results

(Few games are played: compiling them would take longer.)
The MNIST experiment of Irving, Christiano & Amodei 2018 on scikit-learn's 8 x 8 digits. A judge, a network, learns digits from
k random pixels that are not 0, and is frozen. Two debaters who see the image take turns at naming such pixels, k in all; one
argues for the truth. With precommitment the judge decides between two answers stated before; without, over all ten, and any
wrong verdict is the liar's. The honest debater wins an image if it wins against all nine lies. Debaters search (PUCT, 500
rollouts a move), or play exactly: minimax over all sets of pixels, for k = 4 of every image, for k = 6 of images with at most 28
pixels that are not 0. Every seed is a judge, and 32 images of those it never learnt from (4 where play is exact and k = 6). An
additive judge, the task's naive Bayes, is a row of its own.

Claimed of k = 4 under exact play and of k = 6 under search, for both orders, each of a difference whose lower bound over judges
is above 0:
- `precommitment_helps`: the honest debater wins more images with precommitment than without;
- `debate_beats_random`: with precommitment it wins more images than the judge gets right of random pixels;
- `closed_form`: before the additive judge, exact play (k = 4) is won iff the k/2 pixels that speak most for the truth outweigh
  the k/2 that speak most against it, for every image and lie, whoever begins.
Not claimed: that debate without precommitment beats random pixels, or that the second to move is better off: both are
reported. The figures of the paper are of larger images, a convolutional judge and 10,000 rollouts a move.
Nothing was tuned on the seeds reported.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pvg.agents.mcts import MCTS, PixelJudge, decided
from pvg.agents.minimax import minimax, subsets
from pvg.agents.report import canvas
from pvg.agents.training import Diverged
from pvg.benchmarks.papers.pixel_judges import ANSWERS, BATCH, LEVELS, RATE, UPDATES, WIDTH, Additive, Judge, at_random, learn, pool
from pvg.benchmarks.papers.results import over_seeds, save
from pvg.benchmarks.provenance import provenance
from pvg.game import Game
from pvg.metrics import Figure, proportion
from pvg.protocols.debate import Debate
from pvg.spec import resolve
from pvg.tasks import SparseDigits

PIXELS = (4, 6)
IMAGES, ROLLOUTS = 32, 500
FEW, FEWER = 28, 4  # lit pixels of an image, and images, where six are shown and play is exact
ORDERS = ("honest first", "liar first")
CLAIMED = ("precommitment_helps", "debate_beats_random", "closed_form")


def exact(judge: PixelJudge, some: Tensor, k: int) -> tuple[Tensor, float]:
    """Whether the honest debater wins images under exact play, `image order column`: against each lie, then without
    precommitment; and how often the judge is right of k random pixels.
    """
    played = [_exact(judge, image, int(truth), k) for image, truth in zip(pool()[0][some], pool()[1][some], strict=True)]
    return torch.stack([won for won, _ in played]), sum(right for _, right in played) / len(played)


def _exact(judge: PixelJudge, image: Tensor, truth: int, k: int) -> tuple[Tensor, float]:
    lit = image.nonzero()[:, 0]
    sets = subsets(len(lit), k)
    scores = torch.cat([judge(torch.zeros((len(s), len(image))).scatter(1, lit[s], image[lit[s]])) for s in sets.split(20_000)])
    pairs = torch.tensor([[truth, lie] for lie in range(ANSWERS) if lie != truth])
    between = [decided(scores, pair.expand(len(sets), 2)) == truth for pair in pairs]
    wins = torch.stack([*between, decided(scores, None) == truth], 1)  # set column
    return torch.stack([minimax(wins, len(lit), k, begins) for begins in (True, False)]), float(wins[:, -1].float().mean())


def closed_form(some: Tensor, k: int) -> Tensor:
    """Whether the k / 2 pixels that speak most for the truth, to the additive judge, outweigh the k / 2 that speak most against it:
    `image lie`.
    """
    images, shows, _, surprise = pool()
    found = []
    for i in some.tolist():
        lit = images[i].nonzero()[:, 0]
        told = -surprise[lit, images[i, lit].long()]  # pixel answer
        ranked = (told[:, [int(shows[i])]] - told).sort(0).values
        balance, lie = ranked[-(k // 2) :].sum(0) + ranked[: k // 2].sum(0), torch.arange(ANSWERS)
        found.append(((balance > 0) | ((balance == 0) & (shows[i] < lie)))[lie != shows[i]])  # of equals the judge takes the lower
    return torch.stack(found)


def searched(judge: Judge, images: Tensor, shows: Tensor, k: int, precommit: bool, order: str, rollouts: int, seed: int) -> Tensor:
    """Whether the honest debater wins if both search: `image lie`, or `image 1` without precommitment."""
    count = ANSWERS - 1 if precommit else 1
    lies = (shows[:, None] + torch.arange(1, count + 1)) % ANSWERS  # image lie
    honest = ORDERS.index(order)
    protocol = Debate(precommit=precommit, honest="first" if honest == 0 else "second")
    spec = resolve(SparseDigits(pixels=k, levels=LEVELS), protocol, "one_pixel_a_turn")
    game = Game(spec, lies.numel())
    truth = shows.repeat_interleave(count)
    game.field("image").copy_(images.repeat_interleave(count, 0).reshape(game.field("image").shape))
    game.field("truth").copy_(truth)
    for sides in (game.field("side"), game.field("stated")):
        sides[:, honest], sides[:, 1 - honest] = truth.to(torch.int8), lies.flatten().to(torch.int8)
    debaters = {role: MCTS(spec, role, judge, rollouts, seed=seed + i) for i, role in enumerate(("first", "second"))}
    returns = game.advance({**debaters, "judge": judge})
    return (returns[:, honest] == 1).reshape(lies.shape)


def drawn(images: int, seed: int) -> Tensor:
    """The numbers of so many images that no judge learns from, and of all of them if there are fewer."""
    fresh = (~pool()[2]).nonzero()[:, 0]
    return fresh[torch.randperm(len(fresh), generator=torch.Generator().manual_seed(seed))[:images]]


def run(
    seed: int, k: int, images: int = IMAGES, rollouts: int = ROLLOUTS, updates: int = UPDATES, fewer: int = FEWER
) -> dict[str, Any]:
    """A judge, and how many images the honest debater wins before it, as a row of the result."""
    start, row = time.process_time(), {"judge": "network", "seed": seed, "pixels": k}
    everything, shows, learnt, _ = pool()
    try:
        judge = learn(everything[learnt], shows[learnt], k, seed, updates)
    except Diverged as error:
        return row | {"diverged": str(error)}
    some, generator = drawn(images, seed), torch.Generator().manual_seed(seed)
    right = torch.stack([judge(at_random(everything[some], k, generator)).argmax(1) == shows[some] for _ in range(100)])
    figures: dict[str, Any] = {"random pixels": {"value": float(right.float().mean()), "n": images}}
    for order in ORDERS:
        for precommit in (False, True):
            won = searched(judge, everything[some], shows[some], k, precommit, order, rollouts, seed)
            figures |= wins(f"search, {'precommitment' if precommit else 'none'}, {order}", won)
    if k == PIXELS[0]:
        figures |= exactly("exact", *exact(judge, some, k))
    else:
        every = drawn(len(everything), seed)
        small = every[(everything[every] > 0).sum(1) <= FEW][:fewer]
        figures |= exactly("exact, small images", *exact(judge, small, k))
    return row | {"cpu_seconds": time.process_time() - start, "figures": figures}


def additive(seed: int, images: int = IMAGES) -> dict[str, Any]:
    """Exact play before the additive judge, beside its closed form, as a row of the result."""
    some, k = drawn(images, seed), PIXELS[0]
    won, right = exact(Additive(pool()[3]), some, k)
    figures = exactly("additive", won, right)
    figures["closed form"] = {"value": float((won[:, :, :-1] == closed_form(some, k)[:, None]).float().mean()), "n": images}
    for shown in PIXELS:
        figures |= wins(f"additive, closed form of {shown}", closed_form(some, shown))
    return {"judge": "additive", "seed": seed, "pixels": k, "figures": figures}


def exactly(name: str, won: Tensor, right: float) -> dict[str, Any]:
    """The figures of what `exact` found."""
    figures: dict[str, Any] = {f"{name}, random pixels": {"value": right, "n": len(won)}}
    for i, order in enumerate(ORDERS):
        figures |= wins(f"{name}, none, {order}", won[:, i, -1:]) | wins(f"{name}, precommitment, {order}", won[:, i, :-1])
    return figures


def wins(name: str, won: Tensor) -> dict[str, Any]:
    """Of `image lie`: how many images all lies lose, with bounds over images, and how many games one does."""
    return {name: asdict(proportion(won.all(1), "images won")) | {"one lie": float(won.float().mean())}}


def summary(rows: list[dict[str, Any]]) -> dict[str, dict[str, str]]:
    """By number of pixels, each figure as its mean over judges [bounds]."""
    found: dict[str, dict[str, str]] = {}
    for k in PIXELS:
        mine = [row["figures"] for row in rows if row["pixels"] == k and "diverged" not in row]
        names = dict.fromkeys(name for figures in mine for name in figures)
        held = {name: [figures[name] for figures in mine if name in figures] for name in names}
        found[str(k)] = {name: str(over_seeds([figure["value"] for figure in some])) for name, some in held.items()}
    return found


def ahead(rows: list[dict[str, Any]], k: int, first: str, second: str) -> Figure:
    """By how much one figure of k pixels is above another of the same judge."""
    mine = [row["figures"] for row in rows if row["pixels"] == k and first in row.get("figures", ())]
    return over_seeds([figures[first]["value"] - figures[second]["value"] for figures in mine])


def claims_of(rows: list[dict[str, Any]]) -> dict[str, bool]:
    """Which claims hold; none does if a run diverged."""
    if any("diverged" in row for row in rows):
        return dict.fromkeys(CLAIMED, False)
    arms = [(k, f"{player}, {{}}, {order}") for player, k in zip(("exact", "search"), PIXELS, strict=True) for order in ORDERS]
    helps = all(ahead(rows, k, arm.format("precommitment"), arm.format("none")).low > 0 for k, arm in arms)
    beats = all(ahead(rows, k, arm.format("precommitment"), "random pixels").low > 0 for k, arm in arms)
    (form,) = [row["figures"]["closed form"]["value"] for row in rows if row["judge"] == "additive"]
    return dict(zip(CLAIMED, (helps, beats, form == 1), strict=True))


def figure(rows: list[dict[str, Any]], path: Path) -> None:
    """How many images the honest debater wins, a panel a number of pixels; every judge a point, means as bars."""
    shown = canvas((11, 5))
    panels = shown.subplots(1, len(PIXELS), sharey=True)
    for axes, k in zip(panels, PIXELS, strict=True):
        mine = [row["figures"] for row in rows if (row["pixels"], row["judge"]) == (k, "network") and "diverged" not in row]
        names = list(mine[0])
        for at, name in enumerate(names):
            values = [figures[name]["value"] for figures in mine]
            axes.bar(
                at, over_seeds(values).value, color="C1" if "precommitment" in name else "C0" if "none" in name else "C7", alpha=0.4
            )
            axes.plot([at + 0.06 * (i - len(values) / 2) for i in range(len(values))], values, "k.", markersize=4)
        axes.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=8)
        axes.set(title=f"{k} pixels, {len(mine)} judges", ylim=(0, 1))
    panels[0].set_ylabel("images the honest debater wins")
    shown.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=int, default=100, help="the first seed")
    parser.add_argument("--seeds", type=int, default=10, help="how many judges")
    parser.add_argument("--out", type=Path, help="folder for sparse_pixels.json and sparse_pixels.png")
    given = parser.parse_args()
    torch.set_num_threads(1)
    made_by, rows = provenance(), [additive(given.first)]
    for k in PIXELS:
        for seed in range(given.first, given.first + given.seeds):
            rows.append(run(seed, k))
            print(rows[-1], flush=True)
    held = claims_of(rows)
    print(*(f"{k} pixels: {figures}" for k, figures in summary(rows).items()), held, sep="\n")
    if given.out:
        sizes = {"updates": UPDATES, "width": WIDTH, "batch": BATCH, "learning_rate": RATE, "images": IMAGES, "rollouts": ROLLOUTS}
        save(given.out, "sparse_pixels", made_by, sizes | {"few": FEW, "fewer": FEWER, "levels": LEVELS}, held, rows)
        figure(rows, given.out / "sparse_pixels.png")


if __name__ == "__main__":
    main()
