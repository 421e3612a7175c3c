"""SparseDigits: the pool is read whole or not at all, and the judge is naive Bayes on what it is shown."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from pvg.agent import agents
from pvg.digits import IMAGES, LABELS, digits, read_idx
from pvg.enumerator import Enumerator
from pvg.extensive_form import best_response
from pvg.game import Game
from pvg.protocols import Consultancy
from pvg.protocols.debate import Debate
from pvg.spec import Split, default_protocol, resolve
from pvg.tasks.sparse_digits import SparseDigits, trained_on


def idx(array: NDArray[np.uint8]) -> bytes:
    head = [2048 + array.ndim, *array.shape]
    return b"".join(number.to_bytes(4, "big") for number in head) + array.tobytes()


def write(folder: Path, part: str, images: NDArray[np.uint8], shown: NDArray[np.uint8]) -> str:
    (folder / f"{part}-images-idx3-ubyte").write_bytes(idx(images))
    (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx(shown))
    return str(folder)


@pytest.fixture
def corners(tmp_path: Path) -> str:
    """Forty images of 2 x 2: of a 0 with the first pixel alight, of a 1 with the last; the other pixels are dark."""
    shown = (np.arange(40) % 2).astype(np.uint8)
    images = np.zeros((40, 2, 2), np.uint8)
    images[np.arange(40), shown, shown] = 255
    return write(tmp_path, "train", images, shown)


@pytest.fixture
def noise(tmp_path: Path) -> str:
    """Thirty images of 3 x 3 random values."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (30, 3, 3)) * generator.integers(0, 2, (30, 3, 3))
    return write(tmp_path, "t10k", images.astype(np.uint8), np.arange(30, dtype=np.uint8) % 10)


def consulted(task: SparseDigits, consultant: str) -> dict[str, NDArray[Any]]:
    """The fields of games in which a consultant argued as told about images of the test split."""
    game = Game(resolve(task, Consultancy(), split="test"), 50_000)
    game.play({"consultant": consultant})
    fields = {name: game.field(name).numpy().astype(np.int64) for name in ("index", "image", "said", "value", "truth", "verdict")}
    return {**fields, "side": game.field("side")[:, 0].numpy()}


# The judge and its consultants.


@pytest.mark.parametrize(("pixels", "accuracy"), [(4, 0.46), (6, 0.57)])
def test_random_pixels_give_the_judge_the_accuracy_that_the_documentation_states(pixels: int, accuracy: float) -> None:
    played = consulted(SparseDigits(pixels=pixels), "random_pixels")
    random = played["side"] != played["truth"]
    assert (played["verdict"] == played["truth"])[random].mean() == pytest.approx(accuracy, abs=0.01)


@pytest.mark.parametrize(("pixels", "lies"), [(4, 0.99), (6, 0.99)])
def test_a_greedy_consultant_gets_the_truth_out_of_the_judge_and_nearly_as_often_a_lie(pixels: int, lies: float) -> None:
    played = consulted(SparseDigits(pixels=pixels), "greedy")
    true = played["side"] == played["truth"]
    believed = played["verdict"] == played["side"]
    assert believed[true].all()
    assert believed[~true].mean() == pytest.approx(lies, abs=0.01)


def test_the_judge_is_naive_bayes_on_the_pixels_shown() -> None:
    bundled = load_digits()
    train = trained_on(1797)
    values = np.ceil(bundled.images.reshape(1797, 64) / 4).astype(int)
    played = consulted(SparseDigits(), "random_pixels")
    for said, value, verdict in zip(played["said"][:300, 0], played["value"][:300], played["verdict"][:300], strict=True):
        log_likelihood = np.zeros(10)
        for pixel, shown in set(zip(said, value, strict=True)):
            for digit in range(10):
                fitted = values[train & (bundled.target == digit), pixel]
                log_likelihood[digit] += np.log(((fitted == shown).sum() + 1) / (len(fitted) + 5))
        assert log_likelihood[verdict] == pytest.approx(log_likelihood.max(), abs=0.01)


def test_the_greedy_consultant_names_the_pixel_after_which_its_side_leads_by_most() -> None:
    task = SparseDigits(pixels=4)
    played = consulted(task, "greedy")
    for image, side, said in zip(played["image"][:50].reshape(-1, 64), played["side"], played["said"][:, 0], strict=False):
        told, left = np.zeros(10), [pixel for pixel in range(64) if image[pixel]]
        for pixel in said:
            after = np.array([told + task.tables["surprise"][p, image[p]] for p in left])
            ranked = 10 * after + np.arange(10)  # of equals the judge takes the lower digit
            lead = np.delete(ranked, side, axis=1).min(axis=1) - ranked[:, side]
            assert left[lead.argmax()] == pixel
            told = after[lead.argmax()]
            left.remove(pixel)


def test_consultants_name_different_pixels_that_are_not_zero() -> None:
    for consultant in ("greedy", "random_pixels"):
        played = consulted(SparseDigits(), consultant)
        assert (np.diff(np.sort(played["said"][:, 0], axis=1)) > 0).all()
        assert (played["value"] > 0).all()


def test_with_one_pixel_to_name_greed_is_the_best_response_of_whoever_does_not_argue_the_judges_default(
    noise: str,
) -> None:
    tree = Enumerator(resolve(SparseDigits(pixels=1, path=noise), Consultancy()))
    most, _ = best_response(tree, "consultant", {"judge": agents["reference"]}, given=lambda s: s["side"][0, 0] != 0)
    paid = []  # the weight of a deal, and whether it is won
    for p, dealt in tree.deals():
        if (side := dealt["side"][0, 0]) != 0:
            ((_, named),) = tree.sayings(dealt, 0, agents["honest"])
            ((_, shown, _),) = tree.step(dealt, {0: named})
            ((_, (verdict,)),) = tree.sayings(shown, 1, agents["reference"])
            paid.append((p, verdict == side))
    assert sum(p * won for p, won in paid) / sum(p for p, _ in paid) == pytest.approx(most)
    assert 0 < most < 1


def test_one_game_by_hand(corners: str) -> None:
    task = SparseDigits(pixels=2, path=corners)
    game = Game(resolve(task, Consultancy()), 6)
    game.field("image").copy_(torch.from_numpy(task.parse("..\n.4")["image"]))  # shows a 1
    said = torch.tensor([[3, 0], [3, 3], [0, 1], [0, 0], [3, 1], [2, 3]])
    game.actions[:, 0, :2] = said
    game.step()
    assert game.field("value").tolist() == [[4, 0], [4, 4], [0, 0], [0, 0], [4, 0], [0, 4]]
    game.speak((None, agents["reference"]))
    assert game.actions[:, 1, 0].tolist() == [1, 1, 0, 0, 1, 1]  # dark pixels show nothing, and then all are as likely
    zeros, ones = np.bincount(np.arange(40)[trained_on(40)] % 2)
    lit = [np.log(zeros + 5), np.log((ones + 5) / (ones + 1)), *[np.log(5)] * 8]  # of the last pixel, for each answer
    assert task.tables["surprise"][3, 4].tolist() == np.rint(1000 * np.array(lit)).tolist()


# One pixel a turn.


def test_pixels_named_one_a_turn_are_those_a_greedy_consultant_names_at_once_and_are_judged_the_same() -> None:
    task = SparseDigits()
    assert default_protocol(task, "one_pixel_a_turn") == Consultancy()
    games = [Game(resolve(task, Consultancy(), proof), 2000, seed=1) for proof in ("pixels", "one_pixel_a_turn")]
    for game in games:
        game.play({"consultant": "greedy"})
    at_once, in_turn = games
    assert torch.equal(at_once.field("said")[:, 0], in_turn.field("said")[:, :, 0])
    for name in ("truth", "side", "value", "verdict"):
        assert torch.equal(at_once.field(name), in_turn.field(name)), name


@pytest.mark.parametrize(("pixels", "accuracy"), [(4, 0.91), (6, 0.95)])
def test_the_judge_believes_the_right_one_of_two_greedy_debaters_as_often_as_is_stated(pixels: int, accuracy: float) -> None:
    game = Game(resolve(SparseDigits(pixels=pixels), Debate(), split="test"), 20_000)
    game.play({"first": "greedy", "second": "greedy"})
    assert float((game.field("verdict") == game.field("truth")).float().mean()) == pytest.approx(accuracy, abs=0.01)


def test_random_pixels_named_one_a_turn_are_different_and_not_zero() -> None:
    game = Game(resolve(SparseDigits(pixels=4), Consultancy(), "one_pixel_a_turn"), 2000)
    game.play({"consultant": "random_pixels"})
    random = game.field("side")[:, 0] != game.field("truth")
    said, value = game.field("said")[random][:, :, 0].numpy(), game.field("value")[random].numpy()
    assert (np.diff(np.sort(said, axis=1)) > 0).all()
    assert (value > 0).all()


def test_what_was_shown_so_far_weighs_the_sum_of_its_surprises_and_nothing_counts_twice(corners: str) -> None:
    task = SparseDigits(pixels=3, path=corners)
    spec = resolve(task, Consultancy(), "one_pixel_a_turn")
    game, weigh = Game(spec), task.rules.proofs["one_pixel_a_turn"].weigh
    assert weigh is not None
    game.field("image").copy_(torch.from_numpy(task.parse("24\n.4")["image"]))
    surprise, record = task.tables["surprise"].astype(int), game.bytes.numpy().view(spec.dtype).reshape(1).view(np.recarray)
    tables = spec.tables.view(np.recarray)
    totals = np.zeros(10, dtype=int)
    for pixel, value, adds in ((3, 4, True), (3, 4, False), (0, 2, True)):
        assert [weigh(record[0], tables[0], answer) for answer in range(10)] == (-totals).tolist()
        game.actions[:, 0, 0] = pixel
        game.step()
        totals += adds * surprise[pixel, value]
    assert [weigh(record[0], tables[0], answer) for answer in range(10)] == (-totals).tolist()
    game.speak((None, agents["reference"]))
    assert int(game.actions[0, 1, 0]) == totals.argmin()


# The pool.


def test_a_lane_holds_an_image_of_the_pool_with_its_digit() -> None:
    bundled = load_digits()
    played = consulted(SparseDigits(), "random_pixels")
    assert np.array_equal(played["image"], np.ceil(bundled.images / 4)[played["index"]])
    assert np.array_equal(SparseDigits(levels=17).tables["images"], bundled.images)
    assert np.array_equal(played["truth"], bundled.target[played["index"]])


def test_splits_are_by_image_and_the_judge_is_fitted_on_the_train_split() -> None:
    train = trained_on(1797)
    splits: tuple[Split, ...] = ("train", "test")
    for split in splits:
        game = Game(resolve(SparseDigits(), Consultancy(), split=split), 20_000)
        assert (train[game.field("index").numpy()] == (split == "train")).all()
        bucket = game.statement_hash().numpy().view(np.uint64) % np.uint64(10)
        assert ((bucket < 8) == (split == "train")).all()


@pytest.mark.parametrize("packed", [False, True])
def test_both_parts_of_a_folder_of_idx_files_are_read(tmp_path: Path, packed: bool) -> None:
    parts = {"train": np.arange(24, dtype=np.uint8).reshape(2, 3, 4), "t10k": np.full((1, 3, 4), 255, np.uint8)}
    for part, images in parts.items():
        write(tmp_path, part, images, np.arange(len(images), dtype=np.uint8))
    for file in list(tmp_path.iterdir()) if packed else []:
        file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    pool = digits(str(tmp_path))
    assert np.array_equal(pool.images, np.concatenate(list(parts.values())))
    assert pool.shown.tolist() == [0, 1, 0]


GOOD = idx(np.zeros((2, 2, 2), np.uint8))
MALFORMED: tuple[tuple[str, bytes, str], ...] = (
    ("images-idx3-ubyte", idx(np.zeros(8, np.uint8)), r"train-images-idx3-ubyte: magic number 2049, expected 2051"),
    ("images-idx3-ubyte", GOOD[:9], r"train-images-idx3-ubyte: truncated: 9 bytes, and the header alone has 16"),
    ("images-idx3-ubyte", GOOD[:-1], r"train-images-idx3-ubyte: truncated: 7 bytes of values, and shape \(2, 2, 2\) has 8"),
    ("images-idx3-ubyte", GOOD + b"x", r"train-images-idx3-ubyte: too long: 9 bytes of values, and shape \(2, 2, 2\) has 8"),
    ("images-idx3-ubyte", idx(np.zeros((2, 0, 2), np.uint8)), r"train-images-idx3-ubyte: there is no pixel"),
    ("labels-idx1-ubyte", idx(np.zeros(3, np.uint8)), r"train-labels-idx1-ubyte: 3 labels for 2 images"),
    ("labels-idx1-ubyte", idx(np.full(2, 10, np.uint8)), r"train-labels-idx1-ubyte: label 10 is outside 0\.\.9"),
    ("labels-idx1-ubyte.gz", gzip.compress(idx(np.zeros(2, np.uint8)), mtime=0)[:-9], r"labels-idx1-ubyte\.gz: cannot be read"),
    ("labels-idx1-ubyte.gz", b"not packed", r"labels-idx1-ubyte\.gz: cannot be read: Not a gzipped file"),
    ("labels-idx1-ubyte", b"", r"labels-idx1-ubyte: truncated: 0 bytes"),
)


@pytest.mark.parametrize(("name", "content", "complaint"), MALFORMED, ids=[complaint for _, _, complaint in MALFORMED])
def test_a_malformed_file_is_refused_by_name(tmp_path: Path, name: str, content: bytes, complaint: str) -> None:
    write(tmp_path, "train", np.zeros((2, 2, 2), np.uint8), np.zeros(2, np.uint8))
    (tmp_path / f"train-{name.removesuffix('.gz')}").unlink()
    (tmp_path / f"train-{name}").write_bytes(content)
    with pytest.raises(ValueError, match=complaint):
        SparseDigits(path=str(tmp_path))


def test_a_folder_without_what_is_needed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere: expected a folder with train-images-idx3-ubyte"):
        SparseDigits(path=str(tmp_path / "nowhere"))
    write(tmp_path, "train", np.zeros((2, 2, 2), np.uint8), np.zeros(2, np.uint8))
    write(tmp_path, "t10k", np.zeros((2, 3, 2), np.uint8), np.zeros(2, np.uint8))
    with pytest.raises(ValueError, match=r"images of train are \(2, 2\), those of t10k \(3, 2\)"):
        SparseDigits(path=str(tmp_path))
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(ValueError, match=r"t10k-labels-idx1-ubyte: there is no such file"):
        SparseDigits(path=str(tmp_path))


def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        read_idx(tmp_path, IMAGES)
    with pytest.raises(ValueError, match="cannot be read"):
        read_idx(tmp_path / "nothing", LABELS)


@pytest.fixture
def without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    digits.cache_clear()
    for name in ("sklearn", "sklearn.datasets"):
        monkeypatch.setitem(sys.modules, name, None)
    yield
    digits.cache_clear()


@pytest.mark.usefixtures("without_scikit_learn")
def test_without_scikit_learn_its_digits_are_refused_with_what_to_install() -> None:
    with pytest.raises(ValueError, match=r"pip install 'prover-verifier-games\[digits\]'"):
        digits("")


def test_scikit_learn_is_imported_no_sooner_than_its_images_are_needed() -> None:
    code = """
import random, sys
state = random.getstate()
from pvg.protocols import Consultancy
from pvg.spec import resolve
from pvg.tasks.sparse_digits import SparseDigits
spec = resolve(SparseDigits(), Consultancy())
assert spec.dtype.itemsize and "sklearn" not in sys.modules
assert spec.tables["images"].shape == (1, 1797, 8, 8) and "sklearn" in sys.modules
assert random.getstate() == state
"""
    subprocess.run([sys.executable, "-c", code], check=True)


# Sizes and text.


@pytest.mark.parametrize(
    ("sizes", "complaint"),
    [
        ({"pixels": 0}, r"SparseDigits: pixels=0 is outside 1\.\.16"),
        ({"pixels": 17}, r"SparseDigits: pixels=17 is outside 1\.\.16"),
        ({"levels": 1}, r"SparseDigits: levels=1 is outside 2\.\.17"),
        ({"levels": 18}, r"SparseDigits: levels=18 is outside 2\.\.17"),
    ],
)
def test_bad_sizes_are_refused(sizes: dict[str, int], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        SparseDigits(**sizes)


def test_an_image_survives_its_text_and_a_malformed_one_is_refused(corners: str) -> None:
    task = SparseDigits(path=corners)
    assert task.render(task.parse(".4\n13")) == ".4\n13"
    for text in (".4", ".4\n13\n..", ".4\n1", ".5\n..", ".0\n..", ""):
        with pytest.raises(ValueError, match=r"expected 2 lines of 2 values from \.1234"):
            task.parse(text)
