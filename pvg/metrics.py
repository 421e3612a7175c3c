"""What is measured of verifiers, judges and played games, as numbers with an interval and the method they were got by.

v(x, m) is the probability of acceptance of message m for statement x with label Y; see `pvg.agents.report` for what is
measured of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.stats import beta
from torch import Tensor

from pvg.game import Game
from pvg.lane import lane_keys
from pvg.spec import Spec

Floats = NDArray[np.float64]

FLOOR = 1e-4  # probabilities are clipped to this in logarithms: one certain and wrong verdict does not outweigh all others
DRAWS = 1000  # resamples of a bootstrap
SHUFFLES = 100  # orders of the answers that say how much is told by chance

_PAST_ALL_LANES = np.uint64(2**63)  # lanes are numbered below, so that no coin is a lane's key


class NonFiniteVerdict(ValueError):
    """A verdict that is NaN, infinite or outside [0, 1]: the run is void."""


@dataclass(frozen=True)
class Figure:
    """A number measured in n trials; low and high are one-sided bounds, each by itself at the confidence `method` names."""

    value: float
    low: float
    high: float
    n: int
    method: str

    def as_dict(self) -> dict[str, float | int | str]:
        """For JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


def clopper_pearson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact one-sided bounds (low, high) of a binomial proportion, each at `confidence`.

    low is the p at which `successes` or more has probability 1 - confidence, high the p at which `successes` or fewer
    has.
    Source: Clopper & Pearson 1934, as quantiles of the beta distribution.
    """
    if not 0 <= successes <= n or n < 1:
        raise ValueError(f"successes={successes} of n={n}: expected 0 <= successes <= n and n >= 1")
    low = 0.0 if successes == 0 else float(beta.ppf(1 - confidence, successes, n - successes + 1))
    high = 1.0 if successes == n else float(beta.ppf(confidence, successes + 1, n - successes))
    return low, high


def proportion(decisions: Tensor, method: str, confidence: float = 0.95) -> Figure:
    """The share of true entries in `decisions` (`n` bool), with Clopper-Pearson bounds; of none, 0 within 0 and 1."""
    successes, n = int(decisions.sum()), decisions.numel()
    if n == 0:
        return Figure(0.0, 0.0, 1.0, 0, f"{method}; nothing to count")
    low, high = clopper_pearson(successes, n, confidence)
    return Figure(successes / n, low, high, n, f"{method}; one-sided Clopper-Pearson at {confidence:.0%}")


def difference(first: Figure, second: Figure, method: str) -> Figure:
    """first - second; an end combines a bound of each, so at worst it is wrong twice as often as one of them."""
    low, high = first.low - second.high, first.high - second.low
    return Figure(first.value - second.value, low, high, min(first.n, second.n), f"{method}; ends combine both bounds")


def checked(verdicts: Tensor) -> Tensor:
    """The verdicts, if all are probabilities: NaN must never read as "not accepted".

    NonFiniteVerdict: one is NaN, infinite or outside [0, 1]; the run is void.
    """
    fine = (verdicts >= 0) & (verdicts <= 1)
    if not bool(fine.all()):
        bad = verdicts[~fine]
        raise NonFiniteVerdict(
            f"verdict: expected a probability in [0, 1], got {bad[0].item()} (and {bad.numel() - 1} more); the run is void"
        )
    return verdicts


def decide(verdicts: Tensor, coins: Tensor) -> Tensor:
    """Randomised decisions: accept where the coin, uniform on [0, 1), is below the probability of acceptance."""
    return checked(verdicts) > coins


def coins(seed: int, n: int) -> Tensor:
    """One coin a statement, `n` float64 in [0, 1): a coin depends on the seed and its place alone."""
    keys = lane_keys(seed, np.arange(n, dtype=np.uint64) + _PAST_ALL_LANES)
    return torch.from_numpy((keys >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def best_threshold(honest: Tensor, worst: Tensor) -> float:
    """The threshold t that maximises completeness minus error of the rule "accept if v >= t" on a validation set.

    honest: verdicts on true claims, `n`. worst: the largest verdict found for each false claim, `n`. Of equally good
    gaps between verdicts the widest is taken, in the middle. To be compared in float64, which holds that middle.
    """
    honest, worst = (checked(verdicts).double().sort().values for verdicts in (honest, worst))
    values = torch.cat([honest, worst]).unique()
    inner = (values[1:] + values[:-1]) / 2
    middles = torch.cat([values[:1], inner, values[-1:] + 1e-6])
    rejected = [torch.searchsorted(verdicts, middles).double() / len(verdicts) for verdicts in (worst, honest)]
    gain = rejected[0] - rejected[1]
    widths = torch.cat([values.new_zeros(1), values.diff(), values.new_zeros(1)])
    best = (gain > gain.max() - 1e-12).nonzero().flatten()
    return float(middles[best[widths[best].argmax()]])


# Scores of probabilities.


def log_score(probabilities: Tensor, answer: Tensor) -> Tensor:
    """log p(answer), natural, with probabilities below FLOOR taken as FLOOR: `n` float64 in log(FLOOR)..0.

    probabilities: `n answer`. answer: `n`, the one that is scored.
    """
    return _distributions(probabilities).gather(1, answer.long()[:, None])[:, 0].clamp(min=FLOOR).log()


def brier_score(probabilities: Tensor, answer: Tensor) -> Tensor:
    """-sum over answers a of (1[a is the answer] - p(a))^2: `n` float64 in -2..0, larger is better.

    Source: Brier 1950, with the sign of Sudhir et al. 2025.
    """
    given = _distributions(probabilities)
    return -(torch.nn.functional.one_hot(answer.long(), given.shape[1]) - given).square().sum(1)


def _distributions(probabilities: Tensor) -> Tensor:
    given = checked(probabilities).double()
    off = float((given.sum(1) - 1).abs().max()) if len(given) else 0.0
    if off > 1e-4:
        raise ValueError(f"probabilities: those of all answers add up to 1, here one sum is off by {off:.4g}")
    return given


def calibration_error(confidence: Tensor, right: Tensor, bins: int = 10) -> float:
    """The expected calibration error: the mean over all verdicts of |share right - mean confidence| in the verdict's bin.

    confidence: `n`, the probability given to the answer chosen. right: `n` bool. bins: of equal width, over 0..1.
    Source: Naeini, Cooper & Hauskrecht 2015.
    """
    if bins < 1 or len(confidence) == 0:
        raise ValueError(f"calibration_error: bins={bins} and {len(confidence)} verdicts; expected at least 1 of each")
    bin_of = (checked(confidence).double() * bins).long().clamp(max=bins - 1)
    gap = torch.zeros(bins, dtype=torch.float64, device=bin_of.device)
    return float(gap.index_add(0, bin_of, right.double() - confidence.double()).abs().sum()) / len(confidence)


# Means and differences, over statements drawn again and again.


def mean(values: Tensor, method: str, unit: Tensor | None = None, seed: int = 0, confidence: float = 0.95) -> Figure:
    """The mean of `values` (`n`); its bounds are quantiles of a bootstrap over units.

    unit: `n`, what belongs together and is drawn together, such as the statement's hash; each value alone if None.
    """
    ones = torch.ones_like(values, dtype=torch.float64)
    return _bootstrap([values.double(), ones], lambda s: s[..., 0] / s[..., 1], method, unit, seed, confidence)


def paired_difference(
    first: Tensor, second: Tensor, method: str, unit: Tensor | None = None, seed: int = 0, confidence: float = 0.95
) -> Figure:
    """mean(first) - mean(second) of two judges' scores on the same transcripts, `n` each; bounds as in `mean`."""
    if first.shape != second.shape:
        raise ValueError(f"paired_difference: expected one shape, got {tuple(first.shape)} and {tuple(second.shape)}")
    return mean(first.double() - second.double(), f"{method}; paired", unit, seed, confidence)


def agent_score_difference(
    score: Tensor, true: Tensor, method: str, unit: Tensor | None = None, seed: int = 0, confidence: float = 0.95
) -> Figure:
    """ASD = s(true) - s(false): what an agent gains by arguing the true answer; bounds as in `mean`.

    score: `n`, the judge's proper score of the answer argued as if it were the true one. true: `n` bool, whether it is.
    Source: Sudhir et al. 2025.
    """
    if not bool(true.any()) or bool(true.all()):
        raise ValueError("agent_score_difference: expected answers argued that are true and others that are false")
    parts = [score.double() * true, true.double(), score.double() * ~true, (~true).double()]
    return _bootstrap(parts, lambda s: s[..., 0] / s[..., 1] - s[..., 2] / s[..., 3], method, unit, seed, confidence)


def _bootstrap(
    parts: Sequence[Tensor],
    statistic: Callable[[Floats], Floats],
    method: str,
    unit: Tensor | None,
    seed: int,
    confidence: float,
) -> Figure:
    """A statistic of the sums of `parts` (`n` each), and its quantiles over DRAWS resamples of the units."""
    values = torch.stack([part.cpu() for part in parts], dim=1)  # n part
    if not bool(values.isfinite().all()):
        raise NonFiniteVerdict(f"{method}: a score is NaN or infinite; the run is void")
    if len(values) == 0:
        raise ValueError(f"{method}: nothing to count")
    if unit is not None:
        groups, index = unit.cpu().unique(return_inverse=True)
        values = values.new_zeros(len(groups), values.shape[1]).index_add(0, index, values)
    sums, random = values.numpy(), np.random.default_rng(seed)
    drawn = np.stack([sums[random.integers(len(sums), size=len(sums))].sum(0) for _ in range(DRAWS)])
    with np.errstate(invalid="ignore"):  # a resample without one of the sides says nothing of their difference
        found = statistic(drawn)
    low, high = np.nanquantile(found, [1 - confidence, confidence])
    how = f"{method}; one-sided bootstrap over {len(sums):,} units at {confidence:.0%}"
    return Figure(float(statistic(sums.sum(0))), float(low), float(high), len(parts[0]), how)


# Whom the verdicts favour.


def by_side(right: Tensor, true: Tensor, who: str) -> dict[str, Figure]:
    """The judge's accuracy where `who` argues what is true and where it argues what is false; a side never argued is left out.

    right: `n` bool, whether the verdict is. true: `n` bool, whether the answer argued is; for an answer that was chosen,
    whether the choice was right.
    """
    sides = {f"{who} argues the truth": right[true], f"{who} argues a falsehood": right[~true]}
    return {name: proportion(some, "right verdicts") for name, some in sides.items() if len(some)}


def worst(figures: Mapping[str, Figure]) -> Figure:
    """The least of several proportions, between the least of their bounds; the upper one may fail as often as they all together."""
    name = min(figures, key=lambda name: figures[name].value)
    low, high = (min(getattr(figure, end) for figure in figures.values()) for end in ("low", "high"))
    return Figure(figures[name].value, low, high, figures[name].n, f"{name}, the least of {len(figures)}")


def always_fails(right: Tensor, statement: Tensor) -> Figure:
    """The share of statements on which every sampled game was judged wrongly; `n` bool and `n`, such as the statement's hash."""
    statements, index = statement.unique(return_inverse=True)
    ever = torch.zeros(len(statements), dtype=torch.long, device=right.device).index_add(0, index, right.long())
    return proportion(ever == 0, f"statements always failed, in {len(right) / max(1, len(statements)):.3g} games each")


# What messages tell of the answer.


def mutual_information(messages: Tensor, answers: Tensor, method: str, seed: int = 0, confidence: float = 0.95) -> Figure:
    """I(message; answer) in bits: as counted, less the mean of what is counted where the answers are shuffled.

    messages: `n`, or `n position`: messages or parts of them, in games drawn independently. answers: `n`, 0 or more.
    The bounds are those of the mean of log2 p(m, y) / (p(m) p(y)), with p as counted, less the same. Counting overestimates, the
    more the fewer games there are of each message; shuffles show by how much where messages tell little, and more than that where
    they tell much: a code of so many words that few recur is underestimated, and of messages that never recur nothing is known.
    Source: Shannon 1948; the correction, Optican, Gawne, Richmond & Joseph 1991.
    """
    if len(messages) != len(answers) or len(answers) == 0:
        raise ValueError(f"mutual_information: {len(messages)} messages and {len(answers)} answers; expected as many, at least 1")
    said = messages.reshape(len(messages), -1).unique(dim=0, return_inverse=True)[1].cpu()
    given, random = answers.cpu().long(), torch.Generator().manual_seed(seed)
    shuffled = [_pointwise(said, given[torch.randperm(len(given), generator=random)]).mean() for _ in range(SHUFFLES)]
    chance = torch.stack(shuffled).mean()
    how = f"{method}; bits, {float(chance):.4f} of {SHUFFLES} shuffles taken off"
    return mean(_pointwise(said, given) - chance, how, seed=seed, confidence=confidence)


def _pointwise(first: Tensor, second: Tensor) -> Tensor:
    """log2 p(a, b) / (p(a) p(b)) of pairs of numbers (`n` each) at their own frequencies: `n` float64."""
    both = first * (second.max() + 1) + second
    joint, one, other = (values.bincount()[values].double() for values in (both, first, second))
    return (joint * len(first) / (one * other)).log2()


def precision(shown: Tensor, holds: Tensor, answers: Tensor, method: str, seed: int = 0, confidence: float = 0.95) -> Figure:
    """The average precision Q = E_x Pr_y[c(y) = c(x) | what is shown of x holds of y] of features that are sent as messages.

    shown: `n`, the feature shown in each game. holds: `n feature` bool, which features each game's statement has, whatever is
    shown of it; `one_hot(shown)` for messages that say nothing but themselves, a code. answers: `n`, c. Bounds as in `mean`.
    ValueError: a feature that is shown where it does not hold.
    Source: Waldchen, Sharma, Turan, Zimmer & Pokutta 2024, who bound it from below by completeness and soundness
    (`pvg.agents.merlin_arthur.precision_bound`).
    """
    wrong = ~holds.bool().gather(1, shown.long()[:, None])[:, 0]
    if bool(wrong.any()):
        raise ValueError(f"precision: the feature shown does not hold in {int(wrong.sum())} of {len(shown)} games")
    has = holds.double()
    of_answer = torch.nn.functional.one_hot(answers.long()).double().T @ has  # answer feature
    return mean((of_answer / has.sum(0))[answers.long(), shown.long()], method, seed=seed, confidence=confidence)


# Strength from games against each other.


def elo(wins: Sequence[Sequence[float]] | Floats, seed: int = 0, confidence: float = 0.95) -> tuple[Figure, ...]:
    """Each player's Elo rating R: i beats j with probability 1 / (1 + 10^((R_j - R_i) / 400)); ratings have mean 0.

    wins: `player player`, how often the row's player beat the column's; a tie is half a win of each. Pairs that never met
    are 0, so that guards against attackers are a block off the diagonal.
    The ratings are those of maximum likelihood; the bounds are quantiles over DRAWS tournaments drawn at them, infinite where
    too many of these have no maximum.
    ValueError: no maximum, since some players never lost to, or never met, all others.
    Source: Bradley & Terry 1952; when there is a maximum, Ford 1957.
    """
    won = np.asarray(wins, dtype=np.float64)
    if won.ndim != 2 or won.shape[0] != won.shape[1] or not np.isfinite(won).all() or (won < 0).any() or won.diagonal().any():
        raise ValueError("elo: expected a square matrix of wins, none negative, nobody against themselves")
    _refuse_unbounded(won)
    ratings = _most_likely(won)
    games, random = np.rint(won + won.T).astype(np.int64), np.random.default_rng(seed)
    chance = 1 / (1 + 10 ** ((ratings - ratings[:, None]) / 400))
    drawn = []
    for _ in range(DRAWS):
        upper = np.triu(random.binomial(games, chance), 1)
        again = upper + np.tril(games - upper.T, -1)
        if connected_components(again, connection="strong")[0] == 1:
            drawn.append(_most_likely(again.astype(np.float64)))
    unbounded = np.full((DRAWS - len(drawn), len(won)), np.inf)
    method = f"maximum likelihood, mean 0; one-sided parametric bootstrap at {confidence:.0%}"
    if len(unbounded):
        method += f", of which {len(unbounded)} draws without a maximum have no bound"
    found = np.array(drawn).reshape(-1, len(won))
    low = np.quantile(np.concatenate([found, -unbounded]), 1 - confidence, axis=0, method="lower")
    high = np.quantile(np.concatenate([found, unbounded]), confidence, axis=0, method="higher")
    return tuple(Figure(float(r), float(low[i]), float(high[i]), int(games[i].sum()), method) for i, r in enumerate(ratings))


def _refuse_unbounded(won: Floats) -> None:
    """ValueError where ratings can grow for ever: whoever wins must, through others, also be beaten by everybody."""
    parts, part = connected_components(won + won.T, directed=False)
    if parts > 1:
        raise ValueError(
            f"elo: players {np.flatnonzero(part == part[0]).tolist()} met none of the others; ratings need games between"
        )
    parts, part = connected_components(won, connection="strong")
    for k in range(parts if parts > 1 else 0):
        inside = part == k
        if not won[~inside][:, inside].any():
            names = np.flatnonzero(inside).tolist()
            raise ValueError(f"elo: players {names} never lost to any of the others; their ratings would be infinite")


def _most_likely(won: Floats) -> Floats:
    """The ratings under which these wins are likeliest, by Newton's method on a concave likelihood."""
    count, games, scale = len(won), won + won.T, np.log(10) / 400

    def likelihood(r: Floats) -> float:
        return float((won * -np.logaddexp(0, r - r[:, None])).sum())

    r = np.zeros(count)  # in units of log odds
    for _ in range(200):
        chance = 1 / (1 + np.exp(r - r[:, None]))
        slope = (won - games * chance).sum(1)
        weight = games * chance * chance.T
        curvature = np.diag(weight.sum(1)) - weight + 1 / count  # the added constant fixes the mean
        step = np.linalg.solve(curvature, slope)
        while likelihood(r + step) < likelihood(r) - 1e-12 * abs(likelihood(r)):
            step /= 2
        r = r + step
        if np.abs(step).max() < 1e-10:
            break
    ratings: Floats = (r - r.mean()) / scale
    return ratings


# Played games of any protocol.


@dataclass(frozen=True)
class Played:
    """What became of games that are over.

    accuracy: the share of right last verdicts, of games that nobody forfeited; "don't know", or no verdict, is not right.
        None where the protocol has no verdicts. unsure: of "don't know". by_side: accuracy where who argues argues the
        truth, and where not. worst_side: the least of these.
    forfeits: games forfeited, by role. messages, bits: said in a game, as in `said`. returns: each role's.
    """

    games: int
    accuracy: Figure | None
    unsure: Figure | None
    by_side: Mapping[str, Figure]
    worst_side: Figure | None
    forfeits: Mapping[str, int]
    messages: Figure
    bits: Figure
    returns: Mapping[str, Figure]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def rows(self) -> dict[str, Figure]:
        """The figures by what they are called."""
        first = {"judge accuracy": self.accuracy, **self.by_side, "worst side": self.worst_side, "don't know": self.unsure}
        paid = {f"{role} is paid": figure for role, figure in self.returns.items()}
        every = {**first, "messages a game": self.messages, "bits a game": self.bits, **paid}
        return {name: figure for name, figure in every.items() if figure is not None}


def measured(game: Game, uttered: Tensor, seed: int = 0) -> Played:
    """What became of the games of all lanes, whose `returns` are those of whole games; ValueError where one is not over.

    uttered: as in `said`.
    """
    if not bool(game.over.all()):
        raise ValueError(f"measured: {int((~game.over).sum())} games are not over")
    spec, verdict, truth = game.spec, game.field("verdict"), game.field("truth")
    counted = game.field("forfeit") < 0
    right = verdict == truth
    judged = any(row.slot is None for row in spec.rows)
    sides: dict[str, Figure] = {}
    for name, argued in arguing(game).items():
        some = counted & argued
        sides |= by_side(right[some], (game.field("side")[:, spec.role_index(name)] == truth)[some], name) if judged else {}
    messages, bits = said(spec, uttered)
    return Played(
        games=game.num_envs,
        accuracy=proportion(right[counted], "right verdicts") if judged else None,
        unsure=proportion((verdict == spec.task.answers)[counted], "don't know") if judged else None,
        by_side=sides,
        worst_side=worst(sides) if sides else None,
        forfeits={role.name: int((game.field("forfeit") == i).sum()) for i, role in enumerate(spec.roles)},
        messages=mean(messages, "utterances a game", seed=seed),
        bits=mean(bits, "bits a game", seed=seed),
        returns={role.name: mean(game.returns[:, i], "return", seed=seed) for i, role in enumerate(spec.roles)},
    )


def arguing(game: Game) -> dict[str, Tensor]:
    """For each role that argues, the lanes (`lane` bool) in which it argues an answer and, where who speaks is drawn, was drawn."""
    spec, found = game.spec, {}
    for i, role in enumerate(spec.roles):
        rows = [row for row in spec.rows if role.name in row.speakers]
        argued = game.field("side")[:, i] >= 0
        if all(len(row.speakers) > 1 for row in rows):
            argued = argued & (game.field("speaker") == i)
        if role.seat == "prover" and bool(argued.any()):
            found[role.name] = argued
    return found


def said(spec: Spec, uttered: Tensor) -> tuple[Tensor, Tensor]:
    """How many messages are said in each game, verdicts aside, and how many bits: `lane` float64 each.

    uttered: `lane row`, how often each row of the table is said in a game. An utterance has as many bits as it takes to say
    which it is: the sum over its positions of log2 of the number of symbols there.
    """
    kept = torch.from_numpy(spec.slot >= 0).double()
    bits = torch.from_numpy(np.log2(np.maximum(spec.alphabet, 1)).sum(1)) * kept
    return uttered.cpu().double() @ kept, uttered.cpu().double() @ bits
