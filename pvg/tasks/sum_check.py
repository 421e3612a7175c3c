"""SumCheck: the sum of a polynomial over the corners of a cube, by the sum-check protocol."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pvg.field import Field
from pvg.finite_field import prime_within
from pvg.lane import draw, lane
from pvg.task import Proof, Task, TaskRules, Values, tasks, within

TERMS = 4096  # the most coefficients of a polynomial
DIFFERENCES = 64  # how many sets of roots the optimal cheater chooses from: a verifier could avoid the roots of one alone


@tasks.register("SumCheck")
@dataclass(frozen=True)
class SumCheck(Task):
    """Is H the sum over {0,1}^v of g, a polynomial in x1..xv over F_p of degree at most d in each?

    Statement: the (d+1)^v coefficients of g (`coefficient`), uniform; the exponents of number k are its digits to the base d+1,
    that of x1 the lowest. Claim: H is the sum with probability 1/2, else uniform over the other p - 1 residues. No feature of two
    fields or fewer tells the truth: every coefficient counts 2^j times, a unit, and there are two at least.
    Proof `rounds`: in round i = 1..v the prover says g_i(0)..g_i(d), where g_i(x) is the sum of g(r_1..r_{i-1}, x, ...) over the
    corners of what is left, and is asked at a random r_i; g_i(0) + g_i(1) must be g_{i-1}(r_{i-1}) (H in round 1), and
    g_v(r_v) = g(r), which is evidence (`value`). Completeness 1; soundness error exactly 1 - (1 - d/p)^v: two polynomials of degree
    d agree in at most d of p points, and a cheater can have it so in every round.
    Source: Lund, Fortnow, Karloff & Nisan 1992.

    modulus: p, a prime in 3..251, above d. degree: d, 1..8. variables: v, 1..12, with (d+1)^v at most 4096. Default: modulus=7,
    degree=1, variables=3. Preset hard: p = 31, d = 2, v = 5.
    """

    presets: ClassVar = {"hard": {"modulus": 31, "degree": 2, "variables": 5}}

    modulus: int = 7
    degree: int = 1
    variables: int = 3

    def __post_init__(self) -> None:
        prime_within(self, "modulus", 3, 251)
        within(self, "degree", 1, min(8, self.modulus - 1))
        within(self, "variables", 1, 12)
        if self.terms > TERMS:
            raise ValueError(
                f"SumCheck: degree={self.degree}, variables={self.variables} make {self.terms} coefficients, above {TERMS}"
            )

    @property
    def terms(self) -> int:
        """How many coefficients g has."""
        return int((self.degree + 1) ** self.variables)

    @property
    def statement(self) -> tuple[Field, ...]:
        return (Field("coefficient", self.modulus, (self.terms,), ("term",)),)

    @property
    def claim(self) -> tuple[Field, ...]:
        return (Field("claim", self.modulus),)

    @property
    def tables(self) -> dict[str, NDArray[Any]]:
        """corners[j, k]: at how many corners of {0,1}^j monomial k is 1. lagrange[r, t]: what a value at t weighs in the one at r.
        difference[i]: the values at 0..d of a polynomial with d roots in F_p whose values at 0 and 1 add up to 1.
        """
        p, d, v = self.modulus, self.degree, self.variables
        absent = np.arange(self.terms)[None] // (d + 1) ** np.arange(v)[:, None] % (d + 1) == 0
        corners = 2 ** np.concatenate([np.zeros((1, self.terms), np.int64), absent.cumsum(axis=0)]) % p
        power = np.array([[pow(t, e, p) for e in range(d + 1)] for t in range(d + 1)])
        lagrange = np.ones((p, d + 1), np.int64)
        for t in range(d + 1):
            for other in set(range(d + 1)) - {t}:
                lagrange[:, t] = lagrange[:, t] * (np.arange(p) - other) * pow(t - other, -1, p) % p
        rng, difference = np.random.default_rng(0), np.zeros((DIFFERENCES, d + 1), np.int64)
        found = 0
        while found < DIFFERENCES:  # it ends: 1 among the roots and 0 not among them will do, and d < p
            values = np.ones(d + 1, np.int64)
            for root in rng.permutation(p)[:d]:
                values = values * (np.arange(d + 1) - root) % p
            if (values[0] + values[1]) % p:
                difference[found] = values * pow(int(values[0] + values[1]), -1, p) % p
                found += 1
        tables = {"corners": corners, "power": power, "lagrange": lagrange, "difference": difference}
        return {name: table.astype(np.int16) for name, table in tables.items()}

    def build(self) -> TaskRules:
        p, d, v, terms = self.modulus, self.degree, self.variables, self.terms

        @lane
        def sample(s: Any, tables: Any) -> None:
            total = 0
            for k in range(terms):
                s.coefficient[k] = c = draw(s, p)
                total += c * np.int64(tables.corners[v, k])
            s.truth = draw(s, 2)
            s.claim = total % p if s.truth == 1 else (total + 1 + draw(s, p - 1)) % p

        @lane
        def coefficient(s: Any, asked: Any, k: Any) -> Any:
            """Of g with its first variables, `asked` of them, fixed to what was asked."""
            return np.int64(s.coefficient[k]) if asked == 0 else np.int64(s.folded[k])

        @lane
        def left(asked: Any) -> Any:
            """How many coefficients there are once so many variables are fixed."""
            return (d + 1) ** (v - asked)

        @lane
        def evidence(s: Any, tables: Any, slot: Any) -> None:
            if slot % 2 == 1:
                r = np.int64(s.said[slot, 0])
                for k in range(left(slot // 2 + 1)):
                    total = 0
                    for e in range(d, -1, -1):
                        total = (total * r + coefficient(s, slot // 2, k * (d + 1) + e)) % p
                    if slot == 2 * v - 1:
                        s.value = total
                    else:
                        s.folded[k] = total

        @lane
        def expected(s: Any, tables: Any, i: Any) -> Any:
            """What the values of round i at 0 and 1 are to add up to."""
            if i == 0:
                return np.int64(s.claim)
            total, r = np.int64(0), np.int64(s.said[2 * i - 1, 0])
            for t in range(d + 1):
                total += np.int64(s.said[2 * i - 2, t]) * np.int64(tables.lagrange[r, t])
            return total % p

        @lane
        def check(s: Any, tables: Any, first: Any) -> Any:
            for i in range(v):
                if (np.int64(s.said[2 * i, 0]) + np.int64(s.said[2 * i, 1])) % p != expected(s, tables, i):
                    return 0
            return 1 if expected(s, tables, v) == s.value else 0

        @lane
        def ask(s: Any, tables: Any, slot: Any, out: Any) -> None:
            out[0] = draw(s, p)

        @lane
        def honest(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            i = slot // 2
            for t in range(d + 1):
                out[t] = 0
            for e in range(d + 1):
                total = 0
                for k in range(left(i + 1)):
                    total += coefficient(s, i, k * (d + 1) + e) * np.int64(tables.corners[v - 1 - i, k])
                for t in range(d + 1):
                    out[t] = (out[t] + total % p * np.int64(tables.power[t, e])) % p

        @lane
        def gap(s: Any, tables: Any, slot: Any, out: Any) -> Any:
            """What is missing in the sum of the values at 0 and 1."""
            return (expected(s, tables, slot // 2) + 2 * p - out[0] - out[1]) % p

        @lane
        def random(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            for t in range(d + 1):
                out[t] = draw(s, p)

        @lane
        def shifted_by_a_constant(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            honest(s, tables, side, slot, out)
            shift = gap(s, tables, slot, out) * ((p + 1) // 2) % p
            for t in range(d + 1):
                out[t] = (out[t] + shift) % p

        @lane
        def random_but_consistent(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            random(s, tables, side, slot, out)
            out[0] = (out[0] + gap(s, tables, slot, out)) % p

        @lane
        def most_roots(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            honest(s, tables, side, slot, out)
            missing, chosen = gap(s, tables, slot, out), draw(s, DIFFERENCES)
            for t in range(d + 1):
                out[t] = (out[t] + missing * np.int64(tables.difference[chosen, t])) % p

        rounds = Proof(
            kinds={"message": (Field("values", p, (d + 1,), ("point",)),), "question": (Field("r", p),)},
            script=("message", "question") * v,
            honest=honest,
            dishonest={
                "random": random,
                "shifted_by_a_constant": shifted_by_a_constant,
                "random_but_consistent": random_but_consistent,
                "most_roots": most_roots,
            },
            check=check,
            ask=ask,
            fields=(Field("folded", p, (terms // (d + 1),), seen_by=()), Field("value", p, blank=True)),
            evidence=evidence,
            soundness_error=1 - (1 - d / p) ** v,
        )
        return TaskRules(sample, {"rounds": rounds})

    def _monomial(self, k: int) -> str:
        """As `x1*x3^2`."""
        exponents = [k // (self.degree + 1) ** j % (self.degree + 1) for j in range(self.variables)]
        return "*".join(f"x{j}^{e}" if e > 1 else f"x{j}" for j, e in enumerate(exponents, start=1) if e)

    def render(self, values: Values) -> str:
        terms = [f"{int(c)}*{self._monomial(k)}".rstrip("*") for k, c in enumerate(values["coefficient"]) if c]
        g = " + ".join(terms) or "0"
        return f"the sum over {{0,1}}^{self.variables} of {g} is {int(values['claim'])} (mod {self.modulus})"

    def parse(self, text: str) -> dict[str, NDArray[Any]]:
        v, p = self.variables, self.modulus
        match = re.fullmatch(rf"the sum over \{{0,1\}}\^{v} of (\S+(?: \+ \S+)*) is (\d+) \(mod {p}\)", text.strip())
        if match is None:
            raise ValueError(f"statement {text!r}: expected 'the sum over {{0,1}}^{v} of 3 + 2*x1 + ... is H (mod {p})'")
        number = {self._monomial(k): k for k in range(self.terms)}
        coefficient, claim = np.zeros(self.terms, np.int16), int(match[2])
        for term in match[1].split(" + "):
            c, _, monomial = term.partition("*")
            if not re.fullmatch(r"\d+", c) or int(c) >= p or monomial not in number:
                raise ValueError(f"statement {text!r}: {term!r} is no residue times x1^e1*...*x{v}^e{v} with e up to {self.degree}")
            coefficient[number.pop(monomial)] = int(c)
        if claim >= p:
            raise ValueError(f"statement {text!r}: the sum {claim} is outside 0..{p - 1}")
        return {"coefficient": coefficient, "claim": np.array(claim, np.int16)}
