"""The log of a run: rows of figures as CSV and as JSON lines, each on disk as soon as it is written."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

Row = dict[str, float | int | str]

FILES = ("metrics.csv", "metrics.jsonl")


class Log:
    """The rows of a run, kept in `rows` and, where `folder` is given, in its two files, which begin with `rows` as
    they are now.

    A phase may bring figures of its own: the CSV is then written anew under a longer head, blank where a row lacks a
    figure.
    """

    def __init__(self, folder: Path | None, rows: list[Row]) -> None:
        self.rows = list(rows)
        self._folder = folder
        self._head: list[str] = []
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            _replace(folder / FILES[1], [json.dumps(row) for row in rows])
            self._rewrite_csv()

    def write(self, row: Row) -> None:
        """Add a row."""
        self.rows.append(row)
        if self._folder is None:
            return
        with (self._folder / FILES[1]).open("a") as file:
            file.write(json.dumps(row) + "\n")
        if set(row) <= set(self._head):
            with (self._folder / FILES[0]).open("a", newline="") as file:
                csv.DictWriter(file, self._head).writerow(row)
        else:
            self._rewrite_csv()

    def _rewrite_csv(self) -> None:
        assert self._folder is not None
        self._head = list(dict.fromkeys(name for row in self.rows for name in row))
        part = self._folder / f".{FILES[0]}.{os.getpid()}"
        with part.open("w", newline="") as file:
            writer = csv.DictWriter(file, self._head)
            writer.writeheader()
            writer.writerows(self.rows)
        part.replace(self._folder / FILES[0])


def _replace(path: Path, lines: list[str]) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text("".join(line + "\n" for line in lines))
    part.replace(path)
