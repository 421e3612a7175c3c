"""MatMul: a digest of a product of two matrices, by Freivalds' test of the whole product."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from pvg.field import Field
from pvg.finite_field import prime_within
from pvg.lane import LaneFunction, draw, lane
from pvg.task import Proof, Task, TaskRules, Values, tasks, within


@tasks.register("MatMul")
@dataclass(frozen=True)
class MatMul(Task):
    """Is y the digest of the product AB of two n x n matrices over F_p?

    Statement: A and B (`a`, `b`), uniform. Claim: y is the digest of AB with probability 1/2, else uniform over the other p - 1
    residues. digest: "trace", or "hash", the sum of all entries with those under the diagonal counted twice (their weights are
    all units and an invertible matrix). A digest of AB is 0 with probability 1/p + (1 - 1/p) p^(-n^2), so that the claim tells
    the truth with probability 1/2 + p^(-n^2)/2; no other field beside it adds to that.
    Proof `freivalds`: the message is C, the question k random vectors r; evidence (`residual`) is A(Br) - Cr for each. C must
    have the digest y, and all residuals must be 0. Completeness 1; soundness error p^(-k rank(AB - C)), so exactly p^(-k)
    against the best cheater, whose C is off by a matrix of rank 1.
    Source: Freivalds 1977.

    order: n, 2..8. modulus: p, a prime in 2..251 (3 at least for the hash). repetitions: k, 1..8. Default: order=3, modulus=5,
    repetitions=1, digest='trace'. Preset hard: n = 6, p = 31.
    """

    presets: ClassVar = {"hard": {"order": 6, "modulus": 31}}

    order: int = 3
    modulus: int = 5
    repetitions: int = 1
    digest: Literal["trace", "hash"] = "trace"

    def __post_init__(self) -> None:
        within(self, "order", 2, 8)
        if self.digest not in ("trace", "hash"):
            raise ValueError(f"MatMul: digest={self.digest!r} is neither 'trace' nor 'hash'")
        prime_within(self, "modulus", 2 if self.digest == "trace" else 3, 251)
        within(self, "repetitions", 1, 8)

    @property
    def statement(self) -> tuple[Field, ...]:
        n, p = self.order, self.modulus
        return (Field("a", p, (n, n), ("row", "inner")), Field("b", p, (n, n), ("inner", "column")))

    @property
    def claim(self) -> tuple[Field, ...]:
        return (Field("claim", self.modulus),)

    def build(self) -> TaskRules:
        n, p, k, hashed = self.order, self.modulus, self.repetitions, self.digest == "hash"

        @lane
        def weight(i: Any, j: Any) -> Any:
            """Of entry (i, j) in the digest; 1 on the diagonal."""
            if hashed:
                return 2 if i > j else 1
            return 1 if i == j else 0

        @lane
        def product(s: Any, i: Any, j: Any) -> Any:
            """Entry (i, j) of AB."""
            total = np.int64(0)
            for inner in range(n):
                total += np.int64(s.a[i, inner]) * np.int64(s.b[inner, j])
            return total % p

        @lane
        def digest_of_product(s: Any) -> Any:
            total = 0
            for i in range(n):
                for j in range(n):
                    if weight(i, j) != 0:
                        total += weight(i, j) * product(s, i, j)
            return total % p

        @lane
        def digest(matrix: Any) -> Any:
            total = 0
            for i in range(n):
                for j in range(n):
                    total += weight(i, j) * np.int64(matrix[i * n + j])
            return total % p

        @lane
        def sample(s: Any, tables: Any) -> None:
            for i in range(n):
                for j in range(n):
                    s.a[i, j], s.b[i, j] = draw(s, p), draw(s, p)
            s.truth = draw(s, 2)
            value = digest_of_product(s)
            s.claim = value if s.truth == 1 else (value + 1 + draw(s, p - 1)) % p

        @lane
        def ask(s: Any, tables: Any, slot: Any, out: Any) -> None:
            for j in range(k * n):
                out[j] = draw(s, p)

        @lane
        def evidence(s: Any, tables: Any, slot: Any) -> None:
            if slot == 1:
                for q in range(k):
                    for i in range(n):
                        total = np.int64(0)
                        for j in range(n):
                            image = np.int64(0)
                            for column in range(n):
                                image += np.int64(s.b[j, column]) * np.int64(s.said[1, q * n + column])
                            total += np.int64(s.a[i, j]) * (image % p)
                            total += (p - np.int64(s.said[0, i * n + j])) * np.int64(s.said[1, q * n + j])
                        s.residual[q, i] = total % p

        @lane
        def check(s: Any, tables: Any, first: Any) -> Any:
            for q in range(k):
                for i in range(n):
                    if s.residual[q, i] != 0:
                        return 0
            return 1 if digest(s.said[0]) == s.claim else 0

        @lane
        def honest(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            for i in range(n):
                for j in range(n):
                    out[i * n + j] = product(s, i, j)

        @lane
        def random(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            for j in range(n * n):
                out[j] = draw(s, p)

        @lane
        def mend(s: Any, i: Any, out: Any) -> None:
            """Make the digest the one claimed, by entry (i, i)."""
            out[i * n + i] = (out[i * n + i] + p + s.claim - digest(out)) % p

        @lane
        def random_but_consistent(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            random(s, tables, side, slot, out)
            mend(s, 0, out)

        def off_by(rank: int) -> LaneFunction:
            """AB but for a cycle of wrong entries, one in each of `rank` rows and columns, and the one that mends the digest: the
            determinant of these rows and columns is the cycle's, whatever the entry that mends.
            """

            @lane
            def cycle(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
                honest(s, tables, side, slot, out)
                first = draw(s, n)
                for i in range(rank):
                    place = (first + i) % n * n + (first + (i + 1) % rank) % n
                    out[place] = (out[place] + 1 + draw(s, p - 1)) % p
                mend(s, first, out)

            return cycle

        @lane
        def off_by_rank_1(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            """AB + u v^T. Row m holds v until u_m is known; W being the weights, (Wv)_m = 1, which is no loss: v may be scaled."""
            m, at_m = draw(s, n), 0
            for j in range(n):
                out[m * n + j] = v = draw(s, p)
                at_m += weight(m, j) * v
            out[m * n + m] = (out[m * n + m] + 1 + p - at_m % p) % p
            missing = p + s.claim - digest_of_product(s)
            for i in range(n):
                if i != m:
                    u = draw(s, p)
                    for j in range(n):
                        out[i * n + j] = u * out[m * n + j] % p
                        missing += (p - weight(i, j)) * out[i * n + j]
            for i in range(n):
                for j in range(n):
                    own = missing % p * out[i * n + j] if i == m else np.int64(out[i * n + j])
                    out[i * n + j] = (own + product(s, i, j)) % p

        freivalds = Proof(
            kinds={
                "message": (Field("c", p, (n, n), ("row", "column")),),
                "question": (Field("r", p, (k, n), ("repetition", "column")),),
            },
            script=("message", "question"),
            honest=honest,
            dishonest={
                "random": random,
                "random_but_consistent": random_but_consistent,
                **{f"off_by_rank_{rank}": off_by(rank) for rank in (3, 2) if rank <= n},
                "one_wrong_entry": off_by(1),
                "off_by_rank_1": off_by_rank_1,
            },
            check=check,
            ask=ask,
            fields=(Field("residual", p, (k, n), ("repetition", "row"), blank=True),),
            evidence=evidence,
            soundness_error=float(p) ** -k,
        )
        return TaskRules(sample, {"freivalds": freivalds})

    def render(self, values: Values) -> str:
        a, b = _written(values["a"]), _written(values["b"])
        return f"[{a}] times [{b}] has the {self.digest} {int(values['claim'])} (mod {self.modulus})"

    def parse(self, text: str) -> dict[str, NDArray[Any]]:
        n, p = self.order, self.modulus
        match = re.fullmatch(rf"\[(.*)\] times \[(.*)\] has the {self.digest} (\d+) \(mod {p}\)", text.strip())
        if match is None:
            raise ValueError(f"statement {text!r}: expected '[1 0; 0 1] times [B] has the {self.digest} y (mod {p})'")
        found = {"a": _read("A", match[1], n, n), "b": _read("B", match[2], n, n), "claim": np.array(match[3], np.int32)}
        if max(values.max() for values in found.values()) >= p:
            raise ValueError(f"statement {text!r}: a residue is outside 0..{p - 1}")
        return found

    def render_utterance(self, kind: str, fields: tuple[Field, ...], symbols: NDArray[Any]) -> str:
        return _written(symbols.reshape(-1, self.order))

    def parse_utterance(self, kind: str, fields: tuple[Field, ...], text: str) -> NDArray[Any]:
        return _read(kind, text, *fields[0].shape).reshape(-1)


def _written(matrix: NDArray[Any]) -> str:
    """Row by row, as `1 2; 3 4`."""
    return "; ".join(" ".join(str(int(x)) for x in row) for row in matrix)


def _read(what: str, text: str, rows: int, columns: int) -> NDArray[Any]:
    words = [row.split() for row in text.split(";")]
    if [len(row) for row in words] != [columns] * rows or not all(re.fullmatch(r"\d+", word) for row in words for word in row):
        raise ValueError(f"{what} {text!r}: expected {rows} rows of {columns} whole numbers, as '1 2; 3 4'")
    return np.array(words, dtype=np.int32)
