"""Images of handwritten digits: those scikit-learn brings along, or a folder of MNIST's files."""

from __future__ import annotations

import gzip
import math
import random
import zlib
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

BUNDLED = (1797, 8, 8)  # scikit-learn's images, rows, columns
IMAGES, LABELS = 2051, 2049  # magic numbers: unsigned bytes, in three dimensions and in one


class Digits(NamedTuple):
    """Images with the digits they show, and the largest value a pixel may have."""

    images: NDArray[np.uint8]  # image row column
    shown: NDArray[np.uint8]  # image
    brightest: int


@cache
def digits(path: str) -> Digits:
    """The images of a folder of idx files (`train-` and `t10k-`, or one of them, packed as .gz or not), or with no path
    scikit-learn's.

    ValueError: there are none, or a file is malformed; scikit-learn is not installed.
    """
    if not path:
        return _bundled()
    parts = [_pair(Path(path), part) for part in ("train", "t10k") if _file(Path(path), f"{part}-images-idx3-ubyte")]
    if not parts:
        raise ValueError(f"{path}: expected a folder with train-images-idx3-ubyte or t10k-images-idx3-ubyte (or .gz) in it")
    if len({images.shape[1:] for images, _ in parts}) > 1:
        raise ValueError(f"{path}: images of train are {parts[0][0].shape[1:]}, those of t10k {parts[1][0].shape[1:]}")
    return Digits(np.concatenate([images for images, _ in parts]), np.concatenate([shown for _, shown in parts]), 255)


def _bundled() -> Digits:
    state = random.getstate()  # the import draws from it
    try:
        from sklearn.datasets import load_digits  # type: ignore[import-untyped]
    except ImportError as error:
        raise ValueError("digits without a path are scikit-learn's: pip install 'prover-verifier-games[digits]'") from error
    finally:
        random.setstate(state)
    bundled = load_digits()
    return Digits(bundled.images.astype(np.uint8), bundled.target.astype(np.uint8), 16)


def _pair(folder: Path, part: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The images of one part and the digits they show."""
    name = f"{part}-labels-idx1-ubyte"
    labels = _file(folder, name)
    if labels is None:
        raise ValueError(f"{folder / name}: there is no such file (nor .gz), but there are images of {part}")
    file = _file(folder, f"{part}-images-idx3-ubyte")
    assert file is not None, "parts without images are skipped"
    images, shown = read_idx(file, IMAGES), read_idx(labels, LABELS)
    if len(images) != len(shown):
        raise ValueError(f"{labels}: {len(shown)} labels for {len(images)} images")
    if images.size == 0:
        raise ValueError(f"{file}: there is no pixel in images of shape {images.shape}")
    if shown.max() > 9:
        raise ValueError(f"{labels}: label {shown.max()} is outside 0..9")
    return images, shown


def _file(folder: Path, name: str) -> Path | None:
    return next((file for file in (folder / name, folder / f"{name}.gz") if file.is_file()), None)


def read_idx(file: Path, magic: int) -> NDArray[Any]:
    """An array of unsigned bytes in the format of MNIST's files; its magic number's last byte counts the dimensions.

    ValueError names the file and what is wrong with it.
    """
    try:
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{file}: cannot be read: {error}") from error
    head = 4 * (1 + magic % 256)
    if len(content) < head:
        raise ValueError(f"{file}: truncated: {len(content)} bytes, and the header alone has {head}")
    found, *shape = (int(number) for number in np.frombuffer(content, ">u4", head // 4))
    if found != magic:
        raise ValueError(f"{file}: magic number {found}, expected {magic}")
    if len(content) != head + math.prod(shape):
        wrong = "truncated" if len(content) < head + math.prod(shape) else "too long"
        raise ValueError(f"{file}: {wrong}: {len(content) - head} bytes of values, and shape {tuple(shape)} has {math.prod(shape)}")
    return np.frombuffer(content, np.uint8, offset=head).reshape(shape)
