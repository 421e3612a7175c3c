"""FindThePlus: whether a noisy grid of colours contains a plus."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pvg.field import Field
from pvg.lane import draw, lane
from pvg.task import Proof, Task, TaskRules, Values, tasks, within

PLUS = ((0, 0), (-1, 0), (0, -1), (0, 1), (1, 0))  # where the cells of a plus are, from its centre


@tasks.register("FindThePlus")
@dataclass(frozen=True)
class FindThePlus(Task):
    """Does an image contain a plus: a cell and its four neighbours of one colour?

    Statement: the image, which the prover alone sees. A plus (if the claim is true, with probability 1/2) or a near miss, a
    plus with one wrong cell, is put somewhere; every other cell is uniform over the colours that complete no plus, so a
    true image holds one plus and a false one none. Of the image no cell tells the truth: each is uniform, since no step
    prefers a colour; how many neighbours are equal tells it in 57 of 100 images (hard: 52).
    Proof `window`: the coordinate of the centre; evidence is the 3 x 3 window there (cells outside the image read as one
    more colour); completeness 1, soundness error 0. Where rows and columns are given as weights the evidence is the mixture
    of the windows there, so that a gradient tells of the whole image; `window` is that of one real-valued coordinate, whose
    gradient tells of the cells next to it.
    Source: in the style of Anil, Zhang, Wu & Grosse 2021, whose image sizes, colours and noise are not known to us.

    height, width: of the image, 3..32. colours: 3..8. Default: height=8, width=8, colours=4. Preset hard: 24 x 24 cells of three
    colours, under 1/100 of Arith's speed, since each of the 576 cells is drawn.
    """

    presets: ClassVar = {"hard": {"height": 24, "width": 24, "colours": 3}}

    height: int = 8
    width: int = 8
    colours: int = 4

    def __post_init__(self) -> None:
        within(self, "height", 3, 32)
        within(self, "width", 3, 32)
        # Below three, a cell could be left without a colour that completes no plus.
        within(self, "colours", 3, 8)

    @property
    def statement(self) -> tuple[Field, ...]:
        return (Field("image", self.colours, (self.height, self.width), ("row", "column"), seen_by=("prover",)),)

    def build(self) -> TaskRules:
        height, width, colours = self.height, self.width, self.colours

        @lane
        def other(s: Any, colour: Any) -> Any:
            return (colour + 1 + draw(s, colours - 1)) % colours

        @lane
        def completed(s: Any, i: Any, j: Any, row: Any, column: Any) -> Any:
            """The colour with which the blank cell i, j would complete a plus centred at row, column; -1: with none."""
            if not (0 < row < height - 1 and 0 < column < width - 1):
                return -1
            colour = np.int64(-1)
            for k in range(5):
                y, x = row + PLUS[k][0], column + PLUS[k][1]
                if y != i or x != j:
                    cell = np.int64(s.image[y, x])
                    if cell < 0 or (colour >= 0 and cell != colour):
                        return -1
                    colour = cell
            return colour

        @lane
        def noise(s: Any, i: Any, j: Any) -> Any:
            """A colour for the blank cell i, j that completes no plus: of each plus, the cell filled last breaks it.

            At most two colours are refused. Cells are filled row by row around the pattern, and of the five pluses a cell
            belongs to, only the one it is the lowest of, and one whose later cells are the pattern's, may be full but for it.
            """
            refused = 0
            for k in range(5):
                colour = completed(s, i, j, i + PLUS[k][0], j + PLUS[k][1])
                if colour >= 0:
                    refused |= 1 << colour
            left = colours
            for colour in range(colours):
                left -= refused >> colour & 1
            skip = draw(s, left)
            for colour in range(colours):
                if not refused >> colour & 1:
                    if skip == 0:
                        return colour
                    skip -= 1
            return 0  # never: skip < left

        @lane
        def sample(s: Any, tables: Any) -> None:
            s.truth = draw(s, 2)
            for i in range(height):
                for j in range(width):
                    s.image[i, j] = -1
            row, column, colour = 1 + draw(s, height - 2), 1 + draw(s, width - 2), draw(s, colours)
            wrong = draw(s, 5) if s.truth == 0 else -1
            for k in range(5):
                s.image[row + PLUS[k][0], column + PLUS[k][1]] = other(s, colour) if k == wrong else colour
            for i in range(height):
                for j in range(width):
                    if s.image[i, j] < 0:
                        s.image[i, j] = noise(s, i, j)

        @lane
        def agreeing(s: Any, row: Any, column: Any) -> Any:
            """How many of the five cells around a centre have the colour most of them have."""
            most = 0
            for colour in range(colours):
                count = 0
                for k in range(5):
                    count += s.image[row + PLUS[k][0], column + PLUS[k][1]] == colour
                most = max(most, count)
            return most

        @lane
        def nearest(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            most = 0
            for row in range(1, height - 1):
                for column in range(1, width - 1):
                    count = agreeing(s, row, column)
                    if count > most:
                        most, out[0], out[1] = count, row, column

        @lane
        def random(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            out[0], out[1] = draw(s, height), draw(s, width)

        @lane
        def evidence(s: Any, tables: Any, slot: Any) -> None:
            for i in range(3):
                for j in range(3):
                    row, column = np.int64(s.said[slot, 0]) + i - 1, np.int64(s.said[slot, 1]) + j - 1
                    inside = 0 <= row < height and 0 <= column < width
                    s.window[i, j] = s.image[row, column] if inside else colours

        @lane
        def check(s: Any, tables: Any, first: Any) -> Any:
            for k in range(5):
                if s.window[1 + PLUS[k][0], 1 + PLUS[k][1]] != s.window[1, 1]:
                    return 0
            return 1

        def relaxed(statement: Mapping[str, Tensor], message: Tensor) -> dict[str, Tensor]:
            framed = functional.pad(statement["image"].long(), (1, 1, 1, 1), value=colours)
            cells = functional.one_hot(framed, colours + 1).to(message)  # N row column colour
            windows = cells.unfold(1, 3, 1).unfold(2, 3, 1)  # N row column colour i j  the window around each centre
            by_row, by_column = message[:, 0, :height], message[:, 1, :width]
            return {"window": torch.einsum("nr,nc,nrcvij->nijv", by_row, by_column, windows).flatten(1, 2)}

        proof = Proof(
            kinds={"message": (Field("row", height, kind="coordinate"), Field("column", width, kind="coordinate"))},
            honest=nearest,
            dishonest={"random": random, "near_miss": nearest},
            check=check,
            fields=(Field("window", colours + 1, (3, 3), seen_by=("verifier",), blank=True),),
            evidence=evidence,
            relaxed=relaxed,
        )
        return TaskRules(sample, {"window": proof})

    def render(self, values: Values) -> str:
        return "\n".join("".join(str(int(cell)) for cell in row) for row in values["image"])

    def parse(self, text: str) -> dict[str, NDArray[Any]]:
        lines = text.split()
        if len(lines) != self.height or not all(re.fullmatch(rf"[0-{self.colours - 1}]{{{self.width}}}", line) for line in lines):
            expected = f"{self.height} lines of {self.width} colours 0..{self.colours - 1}"
            raise ValueError(f"statement {text!r}: expected {expected}")
        return {"image": np.array([list(line) for line in lines]).astype(np.int8)}


def window(image: Tensor, coordinate: Tensor) -> Tensor:
    """The 3 x 3 windows around real-valued centres, interpolated bilinearly; at whole ones, exactly what evidence shows.

    image: `B H W C` floating, one-hot colours. coordinate: `B 2`, row and column. Returns `B 3 3 C`; cells outside the image
    are of no colour (0). Differentiable in both.
    Source: spatial transformers, Jaderberg, Simonyan, Zisserman & Kavukcuoglu 2015.
    """
    height, width = image.shape[1:3]
    extent = 2 ** (max(height, width) - 1).bit_length()  # a power of two: no whole coordinate is rounded
    padded = functional.pad(image.movedim(3, 1), (0, extent - width, 0, extent - height))
    step = torch.arange(-1, 2, device=coordinate.device)
    centred = torch.stack(torch.meshgrid(step, step, indexing="ij"), dim=-1)  # 3 3 2
    place = (2 * (coordinate[:, None, None] + centred) + 1) / extent - 1
    return functional.grid_sample(padded, place.flip(-1).to(image), align_corners=False).movedim(1, 3)
