"""Sorting: whether a list is another one sorted, by the index map or by the multiset test at a random point."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from pvg.field import Field
from pvg.finite_field import prime_within
from pvg.lane import draw, lane
from pvg.task import Proof, Task, TaskRules, Values, tasks, within

EXCHANGED, COPIED, CHANGED = 0, 1, 2


@tasks.register("Sorting")
@dataclass(frozen=True)
class Sorting(Task):
    """Is the list B the list A in nondecreasing order?

    Statement: A (`a`), n values of F_p; claim: B, n more. True with probability 1/2.
    claims "usual": A is uniform (but for the 3 in 8 below). Where B is false it is nearly right: the sorted list of a multiset
    that has another value in the place of one of A's, in 1 of 8 games by two neighbours of A sorted being exchanged, in 3 by one
    of the values being a copy of another in one of the lists (either), in 4 by any other value.
    claims "worst": the n - 1 values that A sorted and a false B share are distinct.
    What leaks: neither list alone tells the truth but for an exchange, which two neighbours in B show; a place of A and one of B
    do where they stand for a value that one list has and the other has not. The best two tell the truth with probability 0.520
    at the defaults, usual or worst, 0.511 with n = 10 and 0.504 at hard (measured in 2 million games each). An MLP on
    both lists alone is right in 0.94 of games after a million: lists this short are no harder to sort than to check.
    Proof `index_map`: a permutation m with B_j = A_m(j); completeness 1, soundness error 0.
    Proof `multiset`: nobody argues; the question is a point x of F_p, evidence (`products`) are prod(x - A_i) and prod(x - B_i),
    which must be equal, and B nondecreasing. Completeness 1; soundness error at most (n - 1)/p: the difference of two monic
    polynomials has degree n - 1. Exactly that at worst: its roots are the n - 1 values shared.
    Source: Blum & Kannan 1995, who check a sorting program by comparing multisets.

    length: n, 2..32. modulus: p, a prime in 2..251 (n - 1 at least for the worst). Default: length=6, modulus=31, claims='usual'.
    Preset hard: n = 16, p = 127.
    """

    presets: ClassVar = {"hard": {"length": 16, "modulus": 127}}

    length: int = 6
    modulus: int = 31
    claims: Literal["usual", "worst"] = "usual"

    def __post_init__(self) -> None:
        within(self, "length", 2, 32)
        if self.claims not in ("usual", "worst"):
            raise ValueError(f"Sorting: claims={self.claims!r} is neither 'usual' nor 'worst'")
        prime_within(self, "modulus", 2, 251)
        if self.claims == "worst" and self.modulus < self.length - 1:
            raise ValueError(f"Sorting: claims='worst' needs length - 1 residues, and modulus={self.modulus} has too few")

    @property
    def statement(self) -> tuple[Field, ...]:
        return (Field("a", self.modulus, (self.length,), ("place",), kind="number"),)

    @property
    def claim(self) -> tuple[Field, ...]:
        return (Field("claim", self.modulus, (self.length,), ("rank",), kind="number"),)

    def build(self) -> TaskRules:
        n, p, worst = self.length, self.modulus, self.claims == "worst"

        @lane
        def fill(s: Any) -> None:
            """The values both lists are to have, and last one more. At worst the former are distinct, by Floyd's sampling."""
            for i in range(n):
                s.a[i] = draw(s, p - n + 2 + i if worst and i < n - 1 else p)
                for j in range(i if worst and i < n - 1 else 0):
                    if s.a[j] == s.a[i]:
                        s.a[i] = p - n + 1 + i

        @lane
        def place_of_another(s: Any) -> Any:
            """Where there is a value that is not the last; -1 if all are equal."""
            first = draw(s, n - 1)
            for i in range(n - 1):
                if s.a[(first + i) % (n - 1)] != s.a[n - 1]:
                    return (first + i) % (n - 1)
            return -1

        @lane
        def sort_claim(s: Any) -> None:
            for i in range(1, n):
                value, j = np.int64(s.claim[i]), i
                while j > 0 and s.claim[j - 1] > value:
                    s.claim[j] = s.claim[j - 1]
                    j -= 1
                s.claim[j] = value

        @lane
        def exchange_neighbours(s: Any) -> None:
            """Of different values, of which the claim has some."""
            first = draw(s, n - 1)
            for i in range(n - 1):
                j = (first + i) % (n - 1)
                low, high = np.int64(s.claim[j]), np.int64(s.claim[j + 1])
                if low < high:
                    s.claim[j], s.claim[j + 1] = high, low
                    break

        @lane
        def shuffle_a(s: Any) -> None:
            for i in range(n - 1, 0, -1):
                j = draw(s, i + 1)
                mine, other = np.int64(s.a[i]), np.int64(s.a[j])
                s.a[i], s.a[j] = other, mine

        @lane
        def sample(s: Any, tables: Any) -> None:
            fill(s)
            s.truth = draw(s, 2)
            x, place, share = np.int64(s.a[n - 1]), place_of_another(s), draw(s, 8)
            kind = CHANGED if worst or place < 0 or share > 3 else min(share, COPIED)
            y = np.int64(s.a[place]) if kind == COPIED else (x + 1 + draw(s, p - 1)) % p
            if kind != EXCHANGED and draw(s, 2) == 0:
                x, y = y, x
            s.a[n - 1] = x
            for i in range(n):
                s.claim[i] = s.a[i]
            if s.truth == 0 and kind != EXCHANGED:
                s.claim[n - 1] = y
            sort_claim(s)
            if s.truth == 0 and kind == EXCHANGED:
                exchange_neighbours(s)
            shuffle_a(s)

        @lane
        def nondecreasing(s: Any) -> Any:
            for i in range(1, n):
                if s.claim[i - 1] > s.claim[i]:
                    return 0
            return 1

        @lane
        def check_map(s: Any, tables: Any, first: Any) -> Any:
            used = np.int64(0)
            for i in range(n):
                place = np.int64(s.said[first, i])
                if used >> place & 1 == 1 or s.a[place] != s.claim[i]:
                    return 0
                used |= 1 << place
            return nondecreasing(s)

        @lane
        def place_of(s: Any, value: Any, used: Any) -> Any:
            """The first place of a value among those not used, else the first of them."""
            for i in range(n):
                if used >> i & 1 == 0 and s.a[i] == value:
                    return i
            for i in range(n):
                if used >> i & 1 == 0:
                    return i
            return 0  # never: one place is left

        @lane
        def matching(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            used = 0
            for i in range(n):
                out[i] = place = place_of(s, s.claim[i], used)
                used |= 1 << place

        @lane
        def repeating(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            for i in range(n):
                out[i] = place_of(s, s.claim[i], 0)

        @lane
        def random(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            for i in range(n):
                out[i] = draw(s, n)

        @lane
        def silent(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            pass

        @lane
        def ask(s: Any, tables: Any, slot: Any, out: Any) -> None:
            out[0] = draw(s, p)

        @lane
        def evidence(s: Any, tables: Any, slot: Any) -> None:
            of_a, of_claim, point = np.int64(1), np.int64(1), np.int64(s.said[0, 0])
            for i in range(n):
                of_a = of_a * (point + p - np.int64(s.a[i])) % p
                of_claim = of_claim * (point + p - np.int64(s.claim[i])) % p
            s.products[0], s.products[1] = of_a, of_claim

        @lane
        def check_products(s: Any, tables: Any, first: Any) -> Any:
            return nondecreasing(s) if s.products[0] == s.products[1] else 0

        index_map = Proof(
            kinds={"message": (Field("place", n, (n,), ("rank",), kind="node"),)},
            honest=matching,
            dishonest={"random": random, "repeats_a_place": repeating, "matches_what_it_can": matching},
            check=check_map,
        )
        multiset = Proof(
            kinds={"question": (Field("point", p),)},
            script=("question",),
            honest=silent,
            dishonest={"silent": silent},
            check=check_products,
            ask=ask,
            fields=(Field("products", p, (2,), blank=True),),
            evidence=evidence,
            soundness_error=(n - 1) / p,
            exact=worst,
        )
        return TaskRules(sample, {"index_map": index_map, "multiset": multiset})

    def render(self, values: Values) -> str:
        return f"{_written(values['a'])} sorted is {_written(values['claim'])}"

    def parse(self, text: str) -> dict[str, NDArray[Any]]:
        n, p = self.length, self.modulus
        match = re.fullmatch(rf"(\d+(?: \d+){{{n - 1}}}) sorted is (\d+(?: \d+){{{n - 1}}})", text.strip())
        if match is None:
            raise ValueError(f"statement {text!r}: expected 'A sorted is B', both {n} whole numbers separated by blanks")
        a, claim = (np.array(words.split(), dtype=np.int32) for words in match.groups())
        if max(*a, *claim) >= p:
            raise ValueError(f"statement {text!r}: a value is outside 0..{p - 1}")
        return {"a": a, "claim": claim}


def _written(values: NDArray[Any]) -> str:
    return " ".join(str(int(value)) for value in values)
