"""merlin_arthur: what soundness against Morgana promises of the features Merlin shows, over every strategy of a small game."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from toys import Different

from pvg.agent import agents
from pvg.enumerator import Enumerator
from pvg.field import Field
from pvg.game import Game
from pvg.lane import draw, lane
from pvg.protocols.merlin_arthur import ARTHUR, MERLIN, MORGANA, MerlinArthur
from pvg.spec import resolve
from pvg.task import Proof, Task, TaskRules, Values

BITS = 3
DONT_KNOW = 2
Points = tuple[tuple[tuple[int, ...], int], ...]  # of each data point, its bits and its class, 0 or 1

# Every word of three bits, of the class that its first bit says: the others tell nothing.
FIRST_BIT: Points = tuple((bits, bits[0]) for bits in product((0, 1), repeat=BITS))
# Features that are spread over one class and packed into few points of the other, among others that are not.
PACKED: Points = (((1, 1, 1), 0), ((0, 0, 1), 0), ((1, 0, 0), 0), ((0, 1, 0), 1), ((1, 0, 1), 1), ((1, 0, 1), 1))
UNEVEN: Points = (((1, 1, 0), 0), ((1, 0, 1), 1), ((0, 1, 1), 1), ((0, 0, 1), 1), ((1, 1, 1), 1))
HEAVY: Points = (((1, 1, 1), 0), ((1, 1, 1), 0), ((1, 0, 0), 1), ((0, 1, 0), 1), ((0, 0, 0), 0))


@dataclass(frozen=True)
class Features(Task):
    """Of which class is a data point? A message names a bit of it, and the bit's value is evidence: together, a feature.

    merlin, morgana: the bit either names of each point. arthur: his answer (2: "don't know") to bit i of value v, at 2 i + v.
    """

    points: Points
    merlin: tuple[int, ...]
    morgana: tuple[int, ...]
    arthur: tuple[int, ...]

    @property
    def statement(self) -> tuple[Field, ...]:
        return (Field("bits", 2, (BITS,), ("bit",), kind="bit", seen_by=("prover",)),)

    @property
    def private(self) -> tuple[Field, ...]:  # type: ignore[override]
        return (Field("point", len(self.points), seen_by=()),)

    @property
    def tables(self) -> dict[str, NDArray[Any]]:
        bits, classes = zip(*self.points, strict=True)
        arrays = {"bits": bits, "classes": classes, "names": (self.merlin, self.morgana), "arthur": self.arthur}
        return {name: np.array(array, dtype=np.int8) for name, array in arrays.items()}

    def build(self) -> TaskRules:
        @lane
        def sample(s: Any, tables: Any) -> None:
            s.point = point = draw(s, tables.classes.shape[0])
            s.truth = tables.classes[point]
            for bit in range(BITS):
                s.bits[bit] = tables.bits[point, bit]

        @lane
        def merlins(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            out[0] = tables.names[0, s.point]

        @lane
        def morganas(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            out[0] = tables.names[1, s.point]

        @lane
        def evidence(s: Any, tables: Any, slot: Any) -> None:
            s.value = s.bits[s.said[slot, 0]]

        @lane
        def check(s: Any, tables: Any, first: Any) -> Any:
            return tables.arthur[2 * np.int64(s.said[first, 0]) + s.value]

        proof = Proof(
            kinds={"message": (Field("named", BITS),)},
            honest=merlins,
            dishonest={"morganas": morganas},
            check=check,
            fields=(Field("value", 2, kind="bit", seen_by=("verifier",), blank=True),),
            evidence=evidence,
            proves=(0, 1),
            completeness=None,
            soundness_error=None,
        )
        return TaskRules(sample, {"feature": proof})

    def render(self, values: Values) -> str:
        return " ".join(str(int(bit)) for bit in values["bits"])

    def parse(self, text: str) -> dict[str, NDArray[Any]]:
        return {"bits": np.array(text.split(), dtype=np.int8)}


# The theory, by counting. Feature 2 i + v is bit i of value v.


class Data(NamedTuple):
    has: NDArray[np.bool_]  # point feature
    classes: NDArray[np.int64]  # point

    def features(self, names: NDArray[np.int64]) -> NDArray[np.int64]:
        """The features that are shown of all points by strategies that name a bit of each: `strategy point`."""
        return 2 * names + self.has[np.arange(len(self.classes)), 2 * names + 1]

    @property
    def precision(self) -> NDArray[np.float64]:
        """How many of the points with a feature are of a class, `feature class`."""
        of_class = np.stack([self.has[self.classes == label].sum(axis=0) for label in (0, 1)], axis=1)
        return of_class / np.maximum(self.has.sum(axis=0), 1)[:, None]

    def worst(self, happens: NDArray[np.bool_]) -> NDArray[np.float64]:
        """The larger of both classes' share of points in which something happens, of each strategy."""
        return np.maximum(*(happens[:, self.classes == label].mean(axis=1) for label in (0, 1)))


def data_of(points: Points) -> Data:
    bits, classes = (np.array(part) for part in zip(*points, strict=True))
    return Data(np.stack([bits == 0, bits == 1], axis=2).reshape(len(bits), -1), classes)


def strategies(data: Data) -> NDArray[np.int64]:
    """Every way to name a bit of each point, `strategy point`."""
    return np.array(list(product(range(BITS), repeat=len(data.classes))))


def asymmetric_feature_correlation(data: Data) -> float:
    """The largest, over classes l and sets F of features, of the mean over the points of l that have one of F of the largest, over
    those of F it has, of how much more often a feature is had in the other class than in l, among points that have one of F.
    """
    largest = 0.0
    for label, chosen in product((0, 1), product((False, True), repeat=2 * BITS)):
        has = data.has[:, np.array(chosen)]
        mine, others = (has[has.any(axis=1) & (data.classes == side)] for side in (label, 1 - label))
        if len(mine) and len(others):
            often = mine.mean(axis=0)
            ratio = np.divide(others.mean(axis=0), often, out=np.zeros_like(often), where=often > 0)
            largest = max(largest, float((mine * ratio).max(axis=1).mean()))
    return largest


def class_imbalance(data: Data) -> float:
    ones = data.classes.mean()
    return float(max(ones / (1 - ones), (1 - ones) / ones))


def relative_success(data: Data, shown: NDArray[np.int64], wins: NDArray[np.bool_], fooled: NDArray[np.bool_]) -> Any:
    """How often Morgana, against Merlin, gets a class out of Arthur where there is a feature by which Merlin does, `merlin
    morgana`: the smaller of both classes', infinite where no point of the other class has such a feature.
    """
    alpha = np.full((len(shown), len(fooled)), np.inf)
    for label in (0, 1):
        by_which = ((shown[:, :, None] == np.arange(2 * BITS)) & (wins & (data.classes == label))[:, :, None]).any(axis=1)
        there = by_which @ data.has.T
        mine, others = there & (data.classes == label), there & (data.classes != label)
        with np.errstate(invalid="ignore", divide="ignore"):
            morgana = (others.astype(float) @ fooled.T) / others.sum(axis=1, keepdims=True)
            merlin = (mine & wins).sum(axis=1, keepdims=True) / mine.sum(axis=1, keepdims=True)
            ratio = morgana / merlin
        alpha = np.minimum(alpha, np.where(others.any(axis=1, keepdims=True), ratio, np.inf))
    return alpha


def games(data: Data) -> Iterator[tuple[Any, Any, Any, Any]]:
    """For each of all Arthurs, of all Merlins and Morganas: Q and eps_c `merlin`, eps_s `morgana`, alpha `merlin morgana`."""
    shown = data.features(strategies(data))
    precision = data.precision[shown, data.classes].mean(axis=1)
    for arthur in product((0, 1, DONT_KNOW), repeat=2 * BITS):
        said = np.array(arthur)[shown]
        wins, fooled = said == data.classes, np.unique(said == 1 - data.classes, axis=0)
        yield precision, data.worst(~wins), data.worst(fooled), relative_success(data, shown, wins, fooled)


def broken(data: Data, kappa: float) -> tuple[int, int]:
    """Of the triples of strategies for which the bound is defined and above 0: how many there are, and how many are below it."""
    imbalance, telling, below = class_imbalance(data), 0, 0
    for precision, eps_c, eps_s, alpha in games(data):
        with np.errstate(invalid="ignore", divide="ignore"):
            fraud = kappa * eps_s / alpha
            bound = 1 - eps_c[:, None] - fraud / (1 - eps_c[:, None] + fraud / imbalance)
        bound = np.where(alpha > 0, bound, np.nan)
        telling += int((bound > 1e-9).sum())
        below += int((precision[:, None] < bound - 1e-9).sum())
    return telling, below


@pytest.mark.parametrize("points", [PACKED, UNEVEN, HEAVY], ids=["packed", "uneven", "heavy"])
def test_what_merlin_shows_is_as_precise_as_completeness_and_soundness_promise(points: Points) -> None:
    data = data_of(points)
    telling, below = broken(data, asymmetric_feature_correlation(data))
    assert below == 0
    assert telling > 1000


def test_without_the_correlation_of_features_less_would_be_promised_than_is_so() -> None:
    data = data_of(PACKED)
    assert asymmetric_feature_correlation(data) == 3
    assert broken(data, kappa=1)[1] > 0


def test_of_independent_features_the_correlation_is_1() -> None:
    assert asymmetric_feature_correlation(data_of(FIRST_BIT)) == 1


def test_a_code_in_features_that_tell_nothing_is_complete_and_morgana_breaks_it() -> None:
    data = data_of(FIRST_BIT)
    code = np.where(data.classes == 1, 1, 2)[None]  # the second bit of a point of class 1, else the third
    arthur = np.array([DONT_KNOW, DONT_KNOW, 1, 1, 0, 0])
    shown, against = data.features(code), data.features(3 - code)
    assert data.precision[shown, data.classes].mean() == 1 / 2
    assert data.worst(arthur[shown] != data.classes) == 0
    assert data.worst(arthur[against] == 1 - data.classes) == 1


# The game as it is played.


def test_verdicts_played_have_the_completeness_and_soundness_that_are_counted() -> None:
    data, generator = data_of(UNEVEN), np.random.default_rng(0)
    names = strategies(data)
    for _ in range(4):
        merlin, morgana = names[generator.integers(0, len(names), 2)]
        arthur = generator.integers(0, 3, 2 * BITS)
        game = Game(resolve(Features(UNEVEN, tuple(merlin), tuple(morgana), tuple(arthur)), MerlinArthur()), 2000)
        returns = game.play({"merlin": "honest", "morgana": "morganas"})
        point, verdict, speaker = (game.field(name).numpy() for name in ("point", "verdict", "speaker"))
        truth = game.field("truth").numpy()
        assert 0.4 < speaker.mean() < 0.6
        verdicts = np.full((2, 1, len(UNEVEN)), -1)
        verdicts[speaker, 0, point] = verdict
        assert (verdicts[speaker, 0, point] == verdict).all()
        assert (verdicts >= 0).all()
        assert data.worst(verdicts[MERLIN] != data.classes) == data.worst(arthur[data.features(merlin[None])] != data.classes)
        fooled = arthur[data.features(morgana[None])] == 1 - data.classes
        assert data.worst(verdicts[MORGANA] == 1 - data.classes) == data.worst(fooled)
        assert (returns[:, MERLIN].numpy() == ((speaker == MERLIN) & (verdict == truth))).all()
        assert (returns[:, MORGANA].numpy() == ((speaker == MORGANA) & (verdict == 1 - truth))).all()


def test_whoever_spoke_is_paid_and_dont_know_is_safe() -> None:
    tree = Enumerator(resolve(Features(PACKED, (0,) * 6, (1,) * 6, (2,) * 6), MerlinArthur()))
    seen: dict[int, set[bytes]] = {MERLIN: set(), MORGANA: set()}
    for p, dealt in tree.deals():
        assert p == pytest.approx(1 / 12)
        truth, speaker = int(dealt["truth"][0]), int(dealt["speaker"][0])
        assert tree.acting(dealt) == [speaker]
        assert dealt["side"][0, :2].tolist() == [truth, 1 - truth]
        ((_, state, _),) = tree.step(dealt, {speaker: (1,)})
        seen[speaker].add(tree.information(state, ARTHUR))
        assert list(tree.sayings(state, ARTHUR, agents["reference"])) == [(1.0, (DONT_KNOW,))]
        for verdict in range(3):
            ((_, _, reward),) = tree.step(state, {ARTHUR: (verdict,)})
            paid = [0.0, 0.0, 0.0 if verdict == DONT_KNOW else 1.0 if verdict == truth else -1.0]
            paid[speaker] = float(verdict == (truth if speaker == MERLIN else 1 - truth))
            assert reward.tolist() == paid
    assert seen[MERLIN] == seen[MORGANA]  # of the same message Arthur cannot tell who sent it


def test_nobody_but_arthur_hears_the_speaker_and_nobody_sees_who_it_is() -> None:
    game = Game(resolve(Features(PACKED, (0,) * 6, (1,) * 6, (2,) * 6), MerlinArthur()), 200)
    game.play({"merlin": "honest", "morgana": "morganas"})
    speaker = game.field("speaker")
    for role in (MERLIN, MORGANA):
        seen = game.observe(role)
        assert (seen["named"] == (speaker == role).int() * (1 + role) - 1).all()
        assert "speaker" not in {column.field.name for column in seen.view}
    assert not {"speaker", "side"} & {column.field.name for column in game.observe(ARTHUR).view}


def test_messages_alone_are_heard() -> None:
    with pytest.raises(ValueError, match=r"'coin': it needs messages alone; the proof's script is \('question', 'message'\)"):
        resolve(Different(), MerlinArthur())
