"""GCD against Python's own, the distribution of its numbers, and its proofs by hand."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from pvg.agent import Observation, Utterance, agents, find_agent
from pvg.agents.attacks import ask
from pvg.agents.evaluation import deal, evaluate
from pvg.enumerator import Enumerator
from pvg.extensive_form import best_response
from pvg.game import Game
from pvg.leaks import marginal_leaks
from pvg.protocols import ProverVerifier
from pvg.spec import Spec, resolve
from pvg.tasks.gcd import GCD
from pvg.testing import check_numbers
from pvg.verifier import ScriptedVerifier, messages_said

SPEC = resolve(GCD(), ProverVerifier())


def numbers(game: Game, name: str) -> NDArray[np.int64]:
    """A field's numbers, from their digits."""
    task = game.spec.task
    assert isinstance(task, GCD)
    places = task.base ** np.arange(task.digits)[::-1]
    return np.asarray(game.field(name).numpy() @ places)


def stated(text: str, spec: Spec = SPEC) -> Game:
    """A game about the statement."""
    game = Game(spec)
    for name, value in spec.task.parse(text).items():
        game.field(name)[0] = torch.from_numpy(value)
    return game


def messages(*texts: str, spec: Spec = SPEC) -> Tensor:
    """`1 message position`"""
    return torch.from_numpy(np.stack([spec.task.parse_utterance("message", (), text) for text in texts]))[None]


def said(symbols: Tensor, spec: Spec = SPEC) -> str:
    return spec.task.render_utterance("message", (), symbols.numpy())


def bezout(a: int, b: int) -> tuple[int, int]:
    """The canonical pair by recursion, which the lane code does not use."""
    if b == 0:
        return 1, 0
    u, v = bezout(b, a % b)
    return v, u - a // b * v


@pytest.fixture(scope="module")
def dealt() -> Game:
    return Game(SPEC, 200_000, seed=5)


def test_a_claim_is_true_when_python_says_so_and_none_is_out_of_range(dealt: Game) -> None:
    x0, x1, y = (numbers(dealt, name) for name in ("x0", "x1", "claim"))
    assert (min(x0.min(), x1.min(), y.min()), max(x0.max(), x1.max(), y.max()) <= 10_000) == (1, True)
    right = [math.gcd(int(a), int(b)) == int(c) for a, b, c in zip(x0[:2000], x1[:2000], y[:2000], strict=True)]
    assert right == dealt.field("truth")[:2000].bool().tolist()
    assert np.array_equal(np.gcd(x0, x1) == y, dealt.field("truth").numpy() == 1)
    assert float(dealt.field("truth").float().mean()) == pytest.approx(0.5, abs=0.005)


def test_false_claims_are_near_misses(dealt: Game) -> None:
    false = dealt.field("truth").numpy() == 0
    x0, x1, y = (numbers(dealt, name)[false] for name in ("x0", "x1", "claim"))
    g, least = np.gcd(x0, x1), np.minimum(x0, x1)
    first, second = x0 % y == 0, x1 % y == 0
    assert ((y <= least) | (y == g + 1)).all()
    assert (first | second | (y == g + 1)).all()
    assert (first | second | (least == 1)).mean() > 0.95
    for share in ((first & second).mean(), (first & ~second).mean(), (second & ~first).mean(), (y == 1).mean()):
        assert share > 0.15
    assert ((g > 1) & (y > 1) & (g % y == 0)).mean() > 0.02
    assert ((y > g) & (y % g == 0) & (g > 1)).mean() > 0.05


def test_numbers_are_log_uniform(dealt: Game) -> None:
    below = GCD().tables["below"]
    for n in (1, 2, 3, 10, 100, 999, 9_999, 10_000):
        exact = math.log(n + 1) / math.log(10_001)
        assert below[n - 1] / 2**30 == pytest.approx(exact, abs=2**-30)
        for name in ("x0", "x1"):
            assert (numbers(dealt, name) <= n).mean() == pytest.approx(exact, abs=5 * math.sqrt(0.25 / 200_000))
    alike = (numbers(dealt, "x0") <= 99) & (numbers(dealt, "x1") <= 99)
    assert alike.mean() == pytest.approx((math.log(100) / math.log(10_001)) ** 2, abs=0.006)


def test_euclid_takes_as_many_divisions_as_on_numbers_drawn_another_way(dealt: Game) -> None:
    def divisions(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
        a, b, count = a.copy(), b.copy(), np.zeros(len(a), np.int64)
        while (b > 0).any():
            going = b > 0
            count += going
            a[going], b[going] = b[going], a[going] % b[going]
        return count

    u = np.random.default_rng(0).random((2, 200_000))
    drawn = np.floor(np.exp(u * math.log(10_001))).astype(np.int64)
    here = divisions(numbers(dealt, "x0"), numbers(dealt, "x1"))
    there = divisions(drawn[0], drawn[1])
    for most, known in ((5, 0.761), (7, 0.914)):
        assert (here <= most).mean() == pytest.approx((there <= most).mean(), abs=0.006)
        assert (here <= most).mean() == pytest.approx(known, abs=0.01)


@pytest.mark.parametrize("sizes", [{"limit": 30, "base": 2}, {"limit": 1_000_000, "base": 1400}])
def test_the_honest_pair_is_the_canonical_one_and_is_short(sizes: dict[str, int]) -> None:
    game = Game(resolve(GCD(**sizes), ProverVerifier()), 2000, seed=1)
    game.play({"prover": "honest"})
    x0, x1 = numbers(game, "x0"), numbers(game, "x1")
    for a, b, symbols in zip(x0.tolist(), x1.tolist(), messages_said(game, 1), strict=True):
        z0, z1 = map(int, said(symbols, game.spec).split())
        assert (z0, z1) == bezout(a, b)
        assert z0 * a + z1 * b == math.gcd(a, b)
        assert (abs(z0) <= b, abs(z1) <= a) == (True, True)
    assert torch.equal(game.field("verdict"), game.field("truth"))


def test_no_prover_convinces_of_a_false_claim() -> None:
    check_numbers(GCD())


ANNOTATED = resolve(GCD(limit=99, base=10, annotation=4), ProverVerifier(), "annotated_bezout")


def divisions(a: int, b: int) -> list[tuple[int, int, int, int]]:
    """Of each division of Euclid's algorithm: what is divided by, its coefficients, and the quotient."""
    steps, before, now = [], (a, 1, 0), (b, 0, 1)
    while now[0] > 0:
        q = before[0] // now[0]
        steps.append((*now, q))
        before, now = now, (before[0] - q * now[0], before[1] - q * now[1], before[2] - q * now[2])
    return steps


def test_the_annotation_is_the_first_divisions_the_last_repeated_and_the_pair_follows() -> None:
    game = Game(ANNOTATED, 300, seed=1)
    game.play({"prover": "honest"})
    x0, x1, kinds = numbers(game, "x0"), numbers(game, "x1"), ANNOTATED.kinds["message"]
    many = 0
    for a, b, symbols in zip(x0.tolist(), x1.tolist(), game.field("said")[:, 0].numpy(), strict=True):
        *shown, pair = ANNOTATED.task.render_utterance("message", kinds, symbols).split("; ")
        steps = divisions(a, b)
        padded = (steps + [steps[-1]] * 4)[:4]
        assert shown == [f"{r} {abs(s)} {abs(t)} {q}" for r, s, t, q in padded]
        assert all(s * (-1) ** i >= 0 >= t * (-1) ** i for i, (_, s, t, _) in enumerate(steps, start=1))
        assert tuple(map(int, pair.split())) == bezout(a, b) == steps[-1][1:3]
        many += len(steps) > 4
    assert many > 10
    assert torch.equal(game.field("verdict"), game.field("truth"))


def test_the_verifier_sees_the_pair_alone_and_no_annotation_changes_its_verdict() -> None:
    assert [c.field.name for c in ANNOTATED.view(1)] == ["x0", "x1", "claim", "sign0", "z0", "sign1", "z1"]
    for truth in (True, False):
        claims = deal(ANNOTATED, truth, 100)
        said, _ = claims.argue(find_agent("honest", ANNOTATED))
        garbled = said.clone()
        garbled[:, :16] = torch.randint(10, (100, 16), generator=torch.Generator().manual_seed(0), dtype=torch.int32)
        tried = torch.stack([said, garbled, said.roll(1, 0)], 1)
        verdicts = ask(ScriptedVerifier(ANNOTATED), claims.statement, tried)
        assert verdicts[:, :2].eq(float(truth)).all()
        assert verdicts[:, 2].mean() < 0.5


def test_an_annotated_proof_is_read_back() -> None:
    text, fields = "12 0 1 1; 6 1 1 2; 6 1 1 2; 6 1 1 2; 1 -1", ANNOTATED.kinds["message"]
    symbols = ANNOTATED.task.parse_utterance("message", fields, text)
    assert len(symbols) == 4 * 8 + 6
    assert ANNOTATED.task.render_utterance("message", fields, symbols) == text
    for wrong in ("1 -1", "12 0 1 1; " * 5 + "1 -1", "100 0 1 1; " * 4 + "1 -1"):
        with pytest.raises(ValueError, match=re.escape("expected 4 times 'r s t q;', whole numbers 0..99, and 'z0 z1'")):
            ANNOTATED.task.parse_utterance("message", fields, wrong)


class Few(GCD):
    """Every number equally often, which leaves few enough deals to go through them all."""

    @property
    def tables(self) -> dict[str, NDArray[Any]]:
        return {**super().tables, "below": np.arange(1, self.limit + 1, dtype=np.int32)}


def test_no_message_at_all_convinces_of_a_false_claim_and_one_does_of_every_true_one() -> None:
    tree = Enumerator(resolve(Few(limit=3, base=2), ProverVerifier()))
    for truth, value in ((0, 0.0), (1, 1.0)):
        players = {"verifier": agents["reference"]}
        assert best_response(tree, "prover", players, given=lambda s, t=truth: s["truth"][0] == t)[0] == pytest.approx(value)


def test_a_game_by_hand() -> None:
    game, verifier = stated("gcd(12, 18) = 6"), ScriptedVerifier(SPEC)
    assert game.observe("verifier")["x1"].tolist() == [[0, 18]]
    game.advance({"prover": agents["honest"]}, seat="verifier")
    assert messages_said(game, 1).tolist() == [[1, 0, 1, 0, 0, 1]]  # 6 = -1 * 12 + 1 * 18
    tried = messages("-1 1", "2 -1", "-4 3", "1 -1", "0 0", "1 1")
    assert verifier.verdict(game.observe("verifier"), tried).tolist() == [[1, 1, 1, 0, 0, 0]]
    multiple = stated("gcd(12, 18) = 12").observe("verifier")
    assert not verifier.verdict(multiple, messages("-2 2", "1 0", "-1 1")).any()
    divisor = stated("gcd(12, 18) = 3").observe("verifier")
    assert not verifier.verdict(divisor, messages("-1 1", "2 -1", "0 0")).any()


def test_minus_zero_is_refused_so_that_a_pair_has_one_message() -> None:
    seen = stated("gcd(7, 7) = 7").observe("verifier")
    assert ScriptedVerifier(SPEC).verdict(seen, messages("0 1", "-0 1", "1 0", "1 -0", "2 -1")).tolist() == [[1, 0, 1, 0, 1]]


def test_a_pair_that_is_not_the_canonical_one_is_accepted_and_told_apart_by_what_the_honest_prover_says() -> None:
    claims = deal(SPEC, True, 500)
    honest, _ = claims.argue(find_agent("honest", SPEC))
    x0, x1 = numbers(claims.game, "x0"), numbers(claims.game, "x1")
    others = []
    for a, b, symbols in zip(x0.tolist(), x1.tolist(), honest, strict=True):
        (z0, z1), g = map(int, said(symbols).split()), math.gcd(a, b)
        k = 1 if z0 <= 0 else -1
        others.append(f"{z0 + k * b // g} {z1 - k * a // g}")
    shifted = messages(*others)[0]
    for proof, canonical in ((honest, 1.0), (shifted, 0.0)):
        assert ask(ScriptedVerifier(SPEC), claims.statement, proof[:, None]).mean() == 1
        assert (proof == honest).all(dim=1).float().mean() == canonical


def test_what_a_glance_tells_is_what_the_documentation_says(dealt: Game) -> None:
    leak = marginal_leaks(GCD())
    assert leak.accuracy.value == pytest.approx(0.75, abs=0.01)
    x0, x1, y = (numbers(dealt, name) for name in ("x0", "x1", "claim"))
    truth = dealt.field("truth").numpy() == 1
    assert (y == 1)[truth].mean() == pytest.approx(0.66, abs=0.01)
    assert (y == 1)[~truth].mean() == pytest.approx(0.21, abs=0.01)
    assert (((x0 % y == 0) & (x1 % y == 0)) == truth).mean() == pytest.approx(0.87, abs=0.01)


@pytest.mark.parametrize(
    ("sizes", "named"),
    [
        ({"limit": 1}, "limit=1 is outside 2..1000000"),
        ({"limit": 1_000_001}, "limit=1000001 is outside 2..1000000"),
        ({"base": 1}, "base=1 is outside 2..1400"),
        ({"base": 1401}, "base=1401 is outside 2..1400"),
        ({"annotation": 0}, "annotation=0 is outside 1..20"),
    ],
)
def test_a_bad_size_is_named(sizes: dict[str, int], named: str) -> None:
    with pytest.raises(ValueError, match=f"GCD: {named}"):
        GCD(**sizes)


def test_text_is_read_back_and_what_is_none_is_refused() -> None:
    task = GCD.preset("small")
    assert task.digits == 2
    values = task.parse("gcd(12, 90) = 6")
    assert (values["x0"].tolist(), values["claim"].tolist(), task.render(values)) == ([1, 2], [0, 6], "gcd(12, 90) = 6")
    for text in ("gcd(12, 100) = 4", "gcd(0, 3) = 3", "gcd(12, 90) = 0", "gcd(12; 90) = 6"):
        with pytest.raises(ValueError, match=re.escape("expected 'gcd(x0, x1) = y', each of them 1..99")):
            task.parse(text)
    for text in ("-0 99", "15 -2"):
        assert task.render_utterance("message", (), task.parse_utterance("message", (), text)) == text
    for text in ("100 1", "1", "1 2 3", "+1 2"):
        with pytest.raises(ValueError, match=re.escape("expected 'z0 z1', whole numbers -99..99")):
            task.parse_utterance("message", (), text)


class Shifted:
    """Says the canonical pair for every other claim, and elsewhere the next pair that proves the same."""

    def act(self, observation: Observation, acting: torch.Tensor) -> Utterance:
        task, said = GCD(limit=99, base=10), []
        fields = resolve(task, ProverVerifier()).proof.kinds["message"]
        for i, (x0, x1) in enumerate(zip(observation["x0"].tolist(), observation["x1"].tolist(), strict=True)):
            a, b = 10 * x0[0] + x0[1], 10 * x1[0] + x1[1]
            z0, z1 = bezout(a, b)
            if i % 2 == 1 and abs(z0 + b // math.gcd(a, b)) <= 99 and abs(z1 - a // math.gcd(a, b)) <= 99:
                z0, z1 = z0 + b // math.gcd(a, b), z1 - a // math.gcd(a, b)
            said.append(task.parse_utterance("message", fields, f"{z0} {z1}"))
        return Utterance(torch.from_numpy(np.stack(said)))


def test_a_report_tells_proofs_that_are_accepted_from_the_canonical_one() -> None:
    spec = resolve(GCD(limit=99, base=10), ProverVerifier())
    report = evaluate(ScriptedVerifier(spec), spec, claims=200, validation_claims=20, prover=Shifted())
    assert report.prover_proves is not None
    assert report.prover_repeats_honest is not None
    assert report.prover_proves.value == 1
    assert 0.45 < report.prover_repeats_honest.value < 0.6
    assert report.as_dict()["prover_proves"]["n"] == 200
