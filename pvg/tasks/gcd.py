"""GCD: the greatest common divisor of two numbers, and the pair of Bezout that proves it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pvg.field import Field
from pvg.lane import draw, lane
from pvg.task import Proof, Task, TaskRules, Values, tasks, within

NUMBERS = 2**30  # a divisor of 2**32, so that draws below it are exactly uniform


@tasks.register("GCD")
@dataclass(frozen=True)
class GCD(Task):
    """Is y the greatest common divisor of x0 and x1?

    Statement: `x0`, `x1`, independent and log-uniform: floor(e^u), u uniform on [0, ln(limit + 1)), so n has probability
    ln(1 + 1/n) / ln(limit + 1), rounded to 2^-30. All numbers are digits in `base`, as many as `limit` has, highest first.
    Claim: y (`claim`) is the gcd g with probability 1/2, else a near miss no larger than x0 and x1, drawn among: g over its
    smallest prime factor; the least multiple of g that divides x0 alone, or x1 alone; the gcd of one of the two and a number at
    most 3 from the other. Where the pair has none of them (mostly where one number is 1) y is g + 1.
    What leaks (at the defaults): y is 1 in 0.66 of true claims, the share of coprime pairs, and in 0.21 of false ones; and the
    last digits of a number and of y tell in part whether y divides it. The Bayes accuracy of the best marginal is 0.75, that of
    knowing whether y divides both 0.87, and an MLP on statements and claims alone learns 0.96 of them in a million games: at
    this size solving is no harder to learn than checking. What is hard is to prove: to write the pair.
    Proof `bezout`: whole numbers z0 and z1, each a sign (1 is minus) and digits, with y = z0 x0 + z1 x1, and y divides x0 and x1;
    minus zero is refused. Completeness 1, soundness error 0. The honest pair is that of the extended Euclidean algorithm, one
    of many: (z0 + k x1/y, z1 - k x0/y) proves the same for every k.
    Proof `annotated_bezout`: the same pair after the first T divisions that lead to it, for the prover's own use; the verifier does
    not see them. Division i is of r_{i-1} by r_i, and stands as r_i, |s_i|, |t_i|, q_i: r_i = s_i x0 + t_i x1, of which s_i is not
    positive for odd i and t_i for even i, and q_i the quotient. Where fewer come out even, the last is repeated; it holds the pair.
    Source: Amit, Goldwasser, Paradise & Rothblum 2024.

    limit: 2..1000000. base: 2..1400. annotation: T, 1..20. Default: limit=10000, base=210, annotation=7. Preset hard: up to 999999
    in base 10; small: up to 99 in base 10.
    """

    presets: ClassVar = {"small": {"limit": 99, "base": 10}, "hard": {"limit": 999_999, "base": 10}}

    limit: int = 10_000
    base: int = 210
    annotation: int = 7

    def __post_init__(self) -> None:
        within(self, "limit", 2, 1_000_000)
        within(self, "base", 2, 1400)
        within(self, "annotation", 1, 20)

    @property
    def digits(self) -> int:
        """How many digits every number has."""
        return next(n for n in range(1, 21) if self.base**n > self.limit)

    @property
    def statement(self) -> tuple[Field, ...]:
        return (self._number("x0"), self._number("x1"))

    @property
    def claim(self) -> tuple[Field, ...]:
        return (self._number("claim"),)

    def _number(self, name: str) -> Field:
        return Field(name, self.base, (self.digits,), ("digit",))

    @property
    def tables(self) -> dict[str, NDArray[Any]]:
        """below[n - 1]: NUMBERS times the probability of a number up to n. factor[n]: the smallest prime factor of n."""
        below = np.round(NUMBERS * np.log(np.arange(2, self.limit + 2)) / math.log(self.limit + 1)).astype(np.int32)
        factor = np.arange(self.limit + 1, dtype=np.int32)
        for d in range(math.isqrt(self.limit), 1, -1):
            factor[2 * d :: d] = d
        return {"below": below, "factor": factor}

    def build(self) -> TaskRules:
        base, digits, limit = self.base, self.digits, self.limit

        @lane
        def read(symbols: Any, first: Any) -> Any:
            n = np.int64(0)
            for j in range(digits):
                n = n * base + np.int64(symbols[first + j])
            return n

        @lane
        def write(symbols: Any, first: Any, n: Any) -> None:
            for j in range(digits - 1, -1, -1):
                symbols[first + j] = n % base
                n = n // base

        @lane
        def log_uniform(s: Any, tables: Any) -> Any:
            u = draw(s, tables.below[limit - 1])
            low, high = 0, limit - 1
            while low < high:
                middle = (low + high) // 2
                if u < tables.below[middle]:
                    high = middle
                else:
                    low = middle + 1
            return np.int64(low + 1)

        @lane
        def gcd(a: Any, b: Any) -> Any:
            while b > 0:
                a, b = b, a % b
            return a

        @lane
        def near_miss(s: Any, tables: Any, kind: Any, a: Any, b: Any, g: Any) -> Any:
            if kind == 0:
                return g // np.int64(tables.factor[g])
            if kind == 1:
                return g * np.int64(tables.factor[a // g])
            return gcd(a, abs(b - 3 + draw(s, 7)))

        @lane
        def sample(s: Any, tables: Any) -> None:
            x0, x1 = log_uniform(s, tables), log_uniform(s, tables)
            g = y = gcd(x0, x1)
            s.truth = draw(s, 2)
            if s.truth == 0:
                first, swapped = draw(s, 3), draw(s, 2)
                a, b = (x1, x0) if swapped == 1 else (x0, x1)
                for k in range(3):
                    y = near_miss(s, tables, (first + k) % 3, a, b, g)
                    if y != g and 1 <= y <= min(x0, x1):
                        break
                else:
                    y = g + 1 if g < limit else g - 1
            write(s.x0, 0, x0)
            write(s.x1, 0, x1)
            write(s.claim, 0, y)

        @lane
        def euclid(x0: Any, x1: Any) -> Any:
            a, b = x0, x1
            u0, v0, u1, v1 = np.int64(1), np.int64(0), np.int64(0), np.int64(1)  # a = u0 x0 + u1 x1, b = v0 x0 + v1 x1
            while b > 0:
                q = a // b
                a, b = b, a - q * b
                u0, v0 = v0, u0 - q * v0
                u1, v1 = v1, u1 - q * v1
            return a, u0, u1

        def pair(noted: int) -> Proof:
            """The pair after `noted` annotated divisions."""
            start = 4 * digits * noted

            @lane
            def annotate(s: Any, out: Any) -> None:
                a, b = read(s.x0, 0), read(s.x1, 0)
                u0, v0, u1, v1 = np.int64(1), np.int64(0), np.int64(0), np.int64(1)  # as in euclid
                for i in range(noted):
                    q, first = a // b, 4 * digits * i
                    write(out, first, b)
                    write(out, first + digits, abs(v0))
                    write(out, first + 2 * digits, abs(v1))
                    write(out, first + 3 * digits, q)
                    if a > q * b:
                        a, b = b, a - q * b
                        u0, v0 = v0, u0 - q * v0
                        u1, v1 = v1, u1 - q * v1

            @lane
            def say(s: Any, out: Any, z0: Any, z1: Any) -> None:
                annotate(s, out)
                out[start], out[start + 1 + digits] = 1 if z0 < 0 else 0, 1 if z1 < 0 else 0
                write(out, start + 1, abs(z0))
                write(out, start + 2 + digits, abs(z1))

            @lane
            def honest(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
                _, z0, z1 = euclid(read(s.x0, 0), read(s.x1, 0))
                say(s, out, z0, z1)

            @lane
            def random(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
                annotate(s, out)
                for first in (start, start + 1 + digits):
                    out[first] = draw(s, 2)
                    for j in range(digits):
                        out[first + 1 + j] = draw(s, base)

            @lane
            def pair_of_the_gcd(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
                honest(s, tables, side, slot, out)

            @lane
            def right_combination(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
                x0, x1, y = read(s.x0, 0), read(s.x1, 0), read(s.claim, 0)
                g, z0, z1 = euclid(x0, x1)
                if y % g == 0:
                    z0 = z0 * (y // g) % (x1 // g)
                    z1 = (y - z0 * x0) // x1
                say(s, out, z0, z1)

            @lane
            def check(s: Any, tables: Any, first: Any) -> Any:
                x0, x1, y = read(s.x0, 0), read(s.x1, 0), read(s.claim, 0)
                z0, z1 = read(s.said[first], start + 1), read(s.said[first], start + 2 + digits)
                minus0, minus1 = s.said[first, start] == 1, s.said[first, start + 1 + digits] == 1
                if y < 1 or x0 % y != 0 or x1 % y != 0 or (minus0 and z0 == 0) or (minus1 and z1 == 0):
                    return 0
                return 1 if y == (-z0 if minus0 else z0) * x0 + (-z1 if minus1 else z1) * x1 else 0

            shape, axes = (noted, 4 * digits), ("division", "part")
            before = (Field("annotation", base, shape, axes, seen_by=("prover",)),) if noted > 0 else ()
            said = (Field("sign0", 2, kind="bit"), self._number("z0"), Field("sign1", 2, kind="bit"), self._number("z1"))
            dishonest = {"random": random, "pair_of_the_gcd": pair_of_the_gcd, "right_combination": right_combination}
            return Proof({"message": (*before, *said)}, honest, dishonest, check)

        @lane
        def solve(s: Any, tables: Any, out: Any) -> None:
            write(out, 0, gcd(read(s.x0, 0), read(s.x1, 0)))

        @lane
        def restate(s: Any, tables: Any, symbols: Any) -> None:
            for j in range(digits):
                s.claim[j] = symbols[j]
            s.truth = 1 if read(s.claim, 0) == gcd(read(s.x0, 0), read(s.x1, 0)) else 0

        return TaskRules(sample, {"bezout": pair(0), "annotated_bezout": pair(self.annotation)}, solve, restate)

    def render(self, values: Values) -> str:
        x0, x1, y = (self._value(values[name]) for name in ("x0", "x1", "claim"))
        return f"gcd({x0}, {x1}) = {y}"

    def parse(self, text: str) -> dict[str, NDArray[Any]]:
        match = re.fullmatch(r"gcd\((\d+), (\d+)\) = (\d+)", text.strip())
        if match is None or not all(1 <= int(n) <= self.limit for n in match.groups()):
            raise ValueError(f"statement {text!r}: expected 'gcd(x0, x1) = y', each of them 1..{self.limit}")
        return {name: self._symbols(int(n)) for name, n in zip(("x0", "x1", "claim"), match.groups(), strict=True)}

    def render_utterance(self, kind: str, fields: tuple[Field, ...], symbols: NDArray[Any]) -> str:
        steps, pair = np.split(symbols, [len(symbols) - 2 - 2 * self.digits])
        shown = [" ".join(str(self._value(n)) for n in step.reshape(4, -1)) + ";" for step in steps.reshape(-1, 4 * self.digits)]
        return " ".join([*shown, *("-"[: part[0]] + str(self._value(part[1:])) for part in np.split(pair, 2))])

    def parse_utterance(self, kind: str, fields: tuple[Field, ...], text: str) -> NDArray[Any]:
        most, noted = self.base**self.digits - 1, self.annotation if len(fields) > 4 else 0
        match = re.fullmatch(rf"((?:\d+ \d+ \d+ \d+; ){{{noted}}})(-?)(\d+) (-?)(\d+)", text.strip())
        if match is None or any(int(n) > most for n in re.findall(r"\d+", text)):
            steps = f"{noted} times 'r s t q;', whole numbers 0..{most}, and " if noted else ""
            raise ValueError(f"{kind} {text!r}: expected {steps}'z0 z1', whole numbers -{most}..{most}")
        parts = [self._symbols(int(n)) for n in re.findall(r"\d+", match[1])]
        parts += [np.array([len(match[i]), *self._symbols(int(match[i + 1]))]) for i in (2, 4)]
        return np.concatenate(parts).astype(np.int32)

    def _value(self, symbols: NDArray[Any]) -> int:
        return sum(int(d) * self.base**j for j, d in enumerate(symbols[::-1]))

    def _symbols(self, number: int) -> NDArray[Any]:
        digits = [number // self.base**j % self.base for j in reversed(range(self.digits))]
        return np.array(digits, dtype=self._number("x0").dtype)
