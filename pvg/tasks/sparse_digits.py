"""SparseDigits: which digit an image shows, as judged from a few of its pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import one_hot

from pvg.digits import BUNDLED, digits
from pvg.field import Field
from pvg.lane import GOLDEN, draw, lane, mix
from pvg.spec import BUCKETS
from pvg.task import Proof, Task, TaskRules, Values, tasks, within

VALUES = ".123456789abcdefg"  # a pixel's value as text


@tasks.register("SparseDigits")
@dataclass(frozen=True)
class SparseDigits(Task):
    """Which digit does an image show? Ten answers, each of which a consultant can be told to argue.

    Statement: the image, drawn from a pool, which the prover alone sees. Splits are by image.
    Proof `pixels`: the positions (row * width + column) of a few pixels; evidence is their values. A pixel that is 0, or is
    named twice, adds nothing: what is not there cannot be shown. The judge is naive Bayes on what is shown, fitted to the
    train split with add-one smoothing, every digit as likely before; it answers the digit of the largest likelihood.
    Proof `one_pixel_a_turn`: the same pixels in as many messages, which two debaters can take turns at.
    Accuracy is measured, none is promised: on test images the judge is right of six random pixels in 57 of 100 games (of four
    in 46), while who names the most telling pixels gets any true answer out of it, and 99 of 100 false ones; of two such debaters
    who take turns to argue for two answers it knows, one of them the true one, it believes the right one in 95 (91).
    Source: the MNIST experiment of Irving, Christiano & Amodei 2018, section 3.1, whose judge is a network and whose two
    debaters take turns.

    pixels: how many are named, 1..16. levels: of values, 2..17; 0 stays 0, the others are rounded up to 1..levels-1 (17:
    scikit-learn's own). path: a folder of MNIST's idx files instead of scikit-learn's 1,797 images of 8 x 8 (at 28 x 28, under
    1/100 of Arith's speed, since each pixel is copied and weighed). Default: pixels=6, levels=5, path=''. Preset hard: four
    pixels.
    """

    answers: ClassVar[int] = 10
    presets: ClassVar = {"hard": {"pixels": 4}}
    split_by = ("index",)

    pixels: int = 6
    levels: int = 5
    path: str = ""

    def __post_init__(self) -> None:
        within(self, "pixels", 1, 16)
        within(self, "levels", 2, 17)
        if self.path:
            digits(self.path)

    @property
    def _pool(self) -> tuple[int, ...]:
        """How many images there are, of how many rows and columns; known of scikit-learn's without loading them."""
        return digits(self.path).images.shape if self.path else BUNDLED

    @property
    def statement(self) -> tuple[Field, ...]:
        return (Field("image", self.levels, self._pool[1:], ("row", "column"), kind="number", seen_by=("prover",)),)

    @property
    def private(self) -> tuple[Field, ...]:  # type: ignore[override]
        return (Field("index", self._pool[0], seen_by=()),)

    @property
    def tables(self) -> dict[str, NDArray[Any]]:
        return _tables(self.path, self.levels)

    def build(self) -> TaskRules:
        k, levels, answers = self.pixels, self.levels, self.answers
        _, height, width = self._pool
        lowest, highest = np.int64(-(2**40)), np.int64(2**40)

        @lane
        def sample(s: Any, tables: Any) -> None:
            s.index = index = draw(s, tables.shown.shape[0])
            s.truth = tables.shown[index]
            for i in range(height):
                for j in range(width):
                    s.image[i, j] = tables.images[index, i, j]

        @lane
        def value_at(s: Any, pixel: Any) -> Any:
            return np.int64(s.image[pixel // width, pixel % width])

        @lane
        def is_new(said: Any, j: Any, pixel: Any) -> Any:
            named = 0
            for i in range(j):
                named += said[i] == pixel
            return named == 0

        @lane
        def most_telling(s: Any, tables: Any, side: Any, named: Any, j: Any) -> Any:
            """The pixel after which the side leads its strongest rival by most (of equals, the judge takes the lower digit), of
            those that are neither 0 nor among named[:j]; pixel 0 if none is left.
            """
            best, most = 0, lowest
            for pixel in range(height * width):
                value = value_at(s, pixel)
                if value > 0 and is_new(named, j, pixel):
                    mine, rival = np.int64(0), highest
                    for answer in range(answers):
                        told = np.int64(s.told[answer]) + tables.surprise[pixel, value, answer]
                        total = answers * told + answer
                        if answer == side:
                            mine = total
                        else:
                            rival = min(rival, total)
                    if rival - mine > most:
                        best, most = pixel, rival - mine
            return best

        @lane
        def any_lit(s: Any, named: Any, j: Any) -> Any:
            chosen = left = 0
            for pixel in range(height * width):
                if value_at(s, pixel) > 0 and is_new(named, j, pixel):
                    left += 1
                    if draw(s, left) == 0:
                        chosen = pixel
            return chosen

        @lane
        def greedy(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            for answer in range(answers):
                s.told[answer] = 0
            for j in range(k):
                out[j] = best = most_telling(s, tables, side, out, j)
                for answer in range(answers):
                    s.told[answer] += tables.surprise[best, value_at(s, best), answer]

        @lane
        def random_pixels(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            for j in range(k):
                out[j] = any_lit(s, out, j)

        @lane
        def evidence(s: Any, tables: Any, slot: Any) -> None:
            for j in range(k):
                s.value[j] = value_at(s, np.int64(s.said[slot, j]))

        @lane
        def check(s: Any, tables: Any, first: Any) -> Any:
            best, least = 0, highest
            for answer in range(answers):
                total = np.int64(0)
                for j in range(k):
                    if is_new(s.said[first], j, s.said[first, j]):
                        total += np.int64(tables.surprise[s.said[first, j], s.value[j], answer])
                if total < least:
                    best, least = answer, total
            return best

        # One pixel a turn: slot j names pixel j.

        @lane
        def greedy_turn(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            for answer in range(answers):
                s.told[answer] = -weigh(s, tables, answer)
            out[0] = most_telling(s, tables, side, s.said[:, 0], k)

        @lane
        def random_turn(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            out[0] = any_lit(s, s.said[:, 0], k)

        @lane
        def value_named(s: Any, tables: Any, slot: Any) -> None:
            s.value[slot] = value_at(s, np.int64(s.said[slot, 0]))

        @lane
        def weigh(s: Any, tables: Any, answer: Any) -> Any:
            total = np.int64(0)
            for j in range(k):
                pixel = np.int64(s.said[j, 0])
                if pixel >= 0 and is_new(s.said[:, 0], j, pixel):
                    total -= np.int64(tables.surprise[pixel, s.value[j], answer])
            return total

        @lane
        def heaviest(s: Any, tables: Any, first: Any) -> Any:
            best, most = 0, lowest
            for answer in range(answers):
                weight = weigh(s, tables, answer)
                if weight > most:
                    best, most = answer, weight
            return best

        def relaxed(statement: Mapping[str, Tensor], message: Tensor) -> dict[str, Tensor]:
            shown = one_hot(statement["image"].flatten(1).long(), levels).to(message)  # N pixel value
            return {"value": message[:, :, : height * width] @ shown}

        pixels = Proof(
            kinds={"message": (Field("pixel", height * width, (k,), ("shown",)),)},
            honest=greedy,
            dishonest={"random_pixels": random_pixels, "greedy": greedy},
            check=check,
            fields=(
                Field("value", levels, (k,), ("shown",), kind="number", seen_by=("verifier",), blank=True),
                Field("told", k * 2**15, (answers,), seen_by=()),
            ),
            evidence=evidence,
            relaxed=relaxed,
            proves=tuple(range(answers)),
            completeness=None,
            soundness_error=None,
            exact=False,
        )
        one_pixel_a_turn = replace(
            pixels,
            kinds={"message": (Field("pixel", height * width),)},
            script=("message",) * k,
            honest=greedy_turn,
            dishonest={"random_pixels": random_turn, "greedy": greedy_turn},
            check=heaviest,
            evidence=value_named,
            relaxed=None,
            weigh=weigh,
        )
        return TaskRules(sample, {"pixels": pixels, "one_pixel_a_turn": one_pixel_a_turn})

    def render(self, values: Values) -> str:
        return "\n".join("".join(VALUES[int(value)] for value in row) for row in values["image"])

    def parse(self, text: str) -> dict[str, NDArray[Any]]:
        _, height, width = self._pool
        lines, known = text.split(), VALUES[: self.levels]
        if len(lines) != height or any(len(line) != width or not set(line) <= set(known) for line in lines):
            raise ValueError(f"statement {text!r}: expected {height} lines of {width} values from {known}")
        return {"image": np.array([[known.index(value) for value in line] for line in lines], dtype=np.int8)}


def trained_on(count: int) -> NDArray[np.bool_]:
    """Which of so many images are in the train split, by the engine's hash of `index`."""
    index = np.arange(count, dtype=np.uint64)
    bucket: NDArray[np.uint64] = mix(GOLDEN + index + GOLDEN) % np.uint64(10)
    low, high = BUCKETS["train"]
    return (low <= bucket) & (bucket < high)


@cache
def _tables(path: str, levels: int) -> dict[str, NDArray[Any]]:
    """The pool, and the judge's -log P(value of pixel | answer), `pixel value answer`: 0 where the value is, and in thousandths
    of a nat, whole so that their sums are the same on every device.
    """
    pool = digits(path)
    top = pool.brightest
    images = ((pool.images.astype(np.int16) * (levels - 1) + top - 1) // top).astype(np.int8)
    train = trained_on(len(images))
    fitted, shown = images[train].reshape(-1, images[0].size), pool.shown[train]
    counts = [[(fitted[shown == answer] == value).sum(axis=0) for answer in range(10)] for value in range(levels)]
    smooth = np.moveaxis(np.array(counts), 2, 0) + 1.0  # pixel value answer
    surprise = np.rint(-1000 * np.log(smooth / smooth.sum(axis=1, keepdims=True))).astype(np.int16)
    surprise[:, 0] = 0
    return {"images": images, "shown": pool.shown.astype(np.int8), "surprise": surprise}
