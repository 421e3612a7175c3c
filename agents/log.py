"""The log of a run: rows of figures as CSV and as JSON lines, each on disk as soon as it is written."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

Row = dict[str, float | int | str]

FILES = ("metrics.csv", "metrics.jsonl")


class Log:
    """The rows of a run, kept in `rows` and, where `folder` is given, in its two files, which begin with `rows` as
    they are now.

    tensorboard: draw them for TensorBoard too, in the folder's `tensorboard`, each figure under its phase's name over the
    updates of the whole run.
    A phase may bring figures of its own: the CSV is then written anew under a longer head, blank where a row lacks a
    figure.
    """

    def __init__(self, folder: Path | None, rows: list[Row], tensorboard: bool = False) -> None:
        self.rows = list(rows)
        self._board = _board(folder) if tensorboard and folder is not None else None
        self._folder = folder
        self._begun = self._updates = 0  # of the phase, and so far
        self._head: list[str] = []
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            _replace(folder / FILES[1], [json.dumps(row) for row in rows])
            self._rewrite_csv()
        for row in rows:
            self._draw(row)

    def write(self, row: Row) -> None:
        """Add a row."""
        self.rows.append(row)
        self._draw(row)
        if self._folder is None:
            return
        with (self._folder / FILES[1]).open("a") as file:
            file.write(json.dumps(row) + "\n")
        if set(row) <= set(self._head):
            with (self._folder / FILES[0]).open("a", newline="") as file:
                csv.DictWriter(file, self._head).writerow(row)
        else:
            self._rewrite_csv()

    def close(self) -> None:
        """Release what TensorBoard's file holds; every row is on disk already."""
        if self._board is not None:
            self._board.close()

    def _draw(self, row: Row) -> None:
        if self._board is None:
            return
        if row["update"] == 0:
            self._begun = self._updates
        self._updates = self._begun + int(row["update"]) + 1
        for name, value in row.items():
            if name not in ("phase", "update"):
                self._board.add_scalar(f"{row['phase']}/{name}", value, self._updates - 1)
        self._board.flush()

    def _rewrite_csv(self) -> None:
        assert self._folder is not None
        self._head = list(dict.fromkeys(name for row in self.rows for name in row))
        part = self._folder / f".{FILES[0]}.part"
        with part.open("w", newline="") as file:
            writer = csv.DictWriter(file, self._head)
            writer.writeheader()
            writer.writerows(self.rows)
        part.replace(self._folder / FILES[0])


def _board(folder: Path) -> Any:
    """A writer of scalars that begins anew, since all rows are there to be drawn again; ValueError without TensorBoard."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ValueError("tensorboard=True: needs TensorBoard: pip install 'prover-verifier-games[tensorboard]'") from error
    drawn = folder / "tensorboard"
    if drawn.exists():
        shutil.rmtree(drawn)
    return SummaryWriter(drawn)


def _replace(path: Path, lines: list[str]) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_text("".join(line + "\n" for line in lines))
    part.replace(path)
