"""MatMul: Freivalds' test fails with probability p^(-k rank) exactly."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import binom

from pvg.agent import agents
from pvg.enumerator import Enumerator
from pvg.extensive_form import best_response
from pvg.game import Game
from pvg.leaks import marginal_leaks
from pvg.protocols import InteractiveProof
from pvg.spec import resolve
from pvg.tasks.mat_mul import MatMul
from pvg.testing import check_numbers

MATRIX = [[1, 2], [3, 4]]


def rank(matrix: NDArray[Any], p: int) -> int:
    """Over F_p, by elimination."""
    rows, found = [[int(x) % p for x in row] for row in matrix], 0
    for column in range(len(rows)):
        pivot = next((i for i in range(found, len(rows)) if rows[i][column]), None)
        if pivot is None:
            continue
        rows[found], rows[pivot] = rows[pivot], rows[found]
        for i in range(found + 1, len(rows)):
            factor = rows[i][column] * pow(rows[found][column], -1, p)
            rows[i] = [(x - factor * y) % p for x, y in zip(rows[i], rows[found], strict=True)]
        found += 1
    return found


def verdict(task: MatMul, a: list[list[int]], b: list[list[int]], claim: int, c: list[int], r: list[int]) -> int:
    """The reference verifier's, after a message and a question said by hand."""
    game = Game(resolve(task, InteractiveProof()), 1)
    game.field("a").copy_(torch.tensor([a]))
    game.field("b").copy_(torch.tensor([b]))
    game.field("claim").fill_(claim)
    for role, symbols in enumerate((c, r)):
        game.actions[0, role, : len(symbols)] = torch.tensor(symbols)
        game.step()
    game.speak((None, agents["reference"]))
    game.step()
    return int(game.field("verdict"))


def test_a_game_played_by_hand() -> None:
    # [1 2; 3 4] times [0 1; 1 1] is [2 3; 4 7], modulo 5 [2 3; 4 2]; trace 4, and the sum with 4 twice is 0.
    b, right, off = [[0, 1], [1, 1]], [2, 3, 4, 2], [3, 3, 4, 2]
    task = MatMul(order=2, modulus=5)
    assert verdict(task, MATRIX, b, 4, right, [1, 3]) == 1
    assert verdict(task, MATRIX, b, 0, right, [1, 3]) == 0  # not the trace claimed
    assert verdict(task, MATRIX, b, 0, off, [1, 3]) == 0
    assert verdict(task, MATRIX, b, 0, off, [0, 3]) == 1  # the question misses the wrong column
    assert verdict(MatMul(order=2, modulus=5, digest="hash"), MATRIX, b, 0, right, [2, 2]) == 1
    assert verdict(MatMul(order=2, modulus=5, digest="hash"), MATRIX, b, 4, right, [2, 2]) == 0


@pytest.mark.parametrize("digest", ["trace", "hash"])
def test_truth_and_evidence_agree_with_numpys_product(digest: Literal["trace", "hash"]) -> None:
    task = MatMul(order=4, modulus=7, repetitions=2, digest=digest)
    game = Game(resolve(task, InteractiveProof()), 2000)
    game.play({"prover": "random"})
    a, b, said = (game.field(name).numpy().astype(np.int64) for name in ("a", "b", "said"))
    weights = np.eye(4, dtype=np.int64) if digest == "trace" else 1 + np.tril(np.ones((4, 4), np.int64), -1)
    total = (a @ b * weights).sum(axis=(1, 2)) % 7
    assert np.array_equal(total == game.field("claim").numpy(), game.field("truth").numpy() == 1)
    c, r = said[:, 0, :16].reshape(-1, 4, 4), said[:, 1, :8].reshape(-1, 2, 4)
    residual = np.einsum("gij,gqj->gqi", a @ b - c, r) % 7
    assert np.array_equal(residual, game.field("residual").numpy())


@pytest.mark.parametrize(
    ("task", "error"),
    [
        (MatMul(), Fraction(1, 5)),
        (MatMul(order=2, modulus=2, repetitions=3), Fraction(1, 8)),
        (MatMul(order=4, modulus=3, repetitions=2, digest="hash"), Fraction(1, 9)),
    ],
    ids=str,
)
def test_best_cheater_attains_the_soundness_error(task: MatMul, error: Fraction) -> None:
    assert task.rules.proofs["freivalds"].soundness_error == pytest.approx(float(error))
    check_numbers(task)


@pytest.mark.parametrize(
    ("cheater", "off_by"), [("off_by_rank_1", 1), ("one_wrong_entry", 1), ("off_by_rank_2", 2), ("off_by_rank_3", 3)]
)
@pytest.mark.parametrize("task", [MatMul(order=4, modulus=3), MatMul(order=3, modulus=2, repetitions=2)], ids=str)
def test_error_falls_with_the_rank_of_what_is_wrong(task: MatMul, cheater: str, off_by: int) -> None:
    p, n = task.modulus, task.order
    game = Game(resolve(task, InteractiveProof()), 100_000)
    game.play({"prover": cheater})
    false = (game.field("truth") == 0).numpy()
    a, b, said = (game.field(name).numpy().astype(np.int64)[false] for name in ("a", "b", "said"))
    wrong = said[:, 0, : n * n].reshape(-1, n, n) - a @ b
    assert {rank(matrix, p) for matrix in wrong[:500]} == {off_by}
    accepted, games = int((game.field("verdict").numpy()[false] == 1).sum()), int(false.sum())
    error = float(p) ** (-task.repetitions * off_by)
    assert min(binom.cdf(accepted, games, error), binom.sf(accepted - 1, games, error)) > 1e-6


def test_best_cheater_can_be_wrong_anywhere() -> None:
    task = MatMul(order=3, modulus=3, digest="hash")
    game = Game(resolve(task, InteractiveProof()), 20_000)
    game.play({"prover": "off_by_rank_1"})
    false = game.field("truth") == 0
    a, b, said = (game.field(name)[false].long() for name in ("a", "b", "said"))
    wrong = (said[:, 0, :9].reshape(-1, 3, 3) - a @ b) % 3
    assert ((wrong != 0).float().mean(0) > 0.2).all()


@pytest.mark.parametrize(
    ("task", "instance"),
    [
        (MatMul(order=2, modulus=2), None),
        (MatMul(order=2, modulus=2, repetitions=2), [[1, 0], [1, 1]]),
        (MatMul(order=2, modulus=3, digest="hash"), [[1, 0], [2, 1]]),
    ],
    ids=str,
)
def test_no_prover_does_better_than_the_soundness_error(task: MatMul, instance: list[list[int]] | None) -> None:
    def false(s: NDArray[Any]) -> bool:
        return s["truth"][0] == 0 and (instance is None or s["a"][0].tolist() == s["b"][0].tolist() == instance)

    tree = Enumerator(resolve(task, InteractiveProof()))
    best, _ = best_response(tree, "prover", {"verifier": agents["reference"]}, given=false)
    assert best == pytest.approx(float(task.modulus) ** -task.repetitions)


@pytest.mark.parametrize("digest", ["trace", "hash"])
def test_no_marginal_tells_the_truth(digest: Literal["trace", "hash"]) -> None:
    leak = marginal_leaks(MatMul(digest=digest))
    assert not leak.leaks, leak


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"order": 9}, "order=9 is outside 2..8"),
        ({"modulus": 6}, "modulus=6 is no prime"),
        ({"modulus": 2, "digest": "hash"}, r"modulus=2 is outside 3..251"),
        ({"repetitions": 0}, "repetitions=0 is outside 1..8"),
        ({"digest": "sum"}, "digest='sum' is neither 'trace' nor 'hash'"),
    ],
)
def test_bad_sizes_are_named(sizes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"MatMul: {message}"):
        MatMul(**sizes)


def test_statement_and_utterances_read_row_by_row() -> None:
    task = MatMul(order=2, modulus=5, repetitions=1)
    values = {"a": np.array(MATRIX), "b": np.array([[0, 1], [1, 1]]), "claim": np.array(4)}
    text = "[1 2; 3 4] times [0 1; 1 1] has the trace 4 (mod 5)"
    assert task.render(values) == text
    assert all(np.array_equal(task.parse(text)[name], values[name]) for name in values)
    for kind, parts in task.rules.proofs["freivalds"].kinds.items():
        symbols = np.arange(parts[0].size)
        assert np.array_equal(task.parse_utterance(kind, parts, task.render_utterance(kind, parts, symbols)), symbols)
    message = task.rules.proofs["freivalds"].kinds["message"]
    with pytest.raises(ValueError, match=r"message '1 2 3 4': expected 2 rows of 2 whole numbers"):
        task.parse_utterance("message", message, "1 2 3 4")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1 2; 3 4] has the trace 4 (mod 5)", r"expected '\[1 0; 0 1\] times \[B\] has the trace y \(mod 5\)'"),
        ("[1 2; 3 4] times [0 1; 1] has the trace 4 (mod 5)", "B '0 1; 1': expected 2 rows of 2 whole numbers"),
        ("[1 2; 3 5] times [0 1; 1 1] has the trace 4 (mod 5)", "a residue is outside 0..4"),
        ("[1 2; 3 4] times [0 1; 1 1] has the trace 5 (mod 5)", "a residue is outside 0..4"),
    ],
)
def test_malformed_text_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MatMul(order=2, modulus=5).parse(text)
