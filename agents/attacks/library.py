"""Every attack on one verifier, with equal budgets: which claims it can be made to accept, by which attack, at what price."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from pvg import frozen
from pvg.agent import Observation, Utterance
from pvg.agents.attacks import beam, gradient, learned, scripted, transfer  # noqa: F401 - each registers its attacks
from pvg.agents.attacks.attack import Attack, Means, Target, attacks
from pvg.agents.attacks.queries import OutOfQueries, Queries, ask
from pvg.agents.attacks.report import AttackReport, Won
from pvg.agents.attacks.response import BestResponse, asked_again, exact_response
from pvg.agents.claims import Claims, Outcome, deal, strongest
from pvg.agents.evaluation import SEARCH, Search, chosen_threshold
from pvg.agents.report import registered
from pvg.agents.team import hashed
from pvg.frozen import Transcripts
from pvg.game import Game
from pvg.metrics import Figure, coins, decide, proportion
from pvg.protocol import protocols
from pvg.spec import Spec, resolve
from pvg.task import tasks
from pvg.transcript import transcript
from pvg.verifier import Judging, Verifier, message_rows
from pvg.versions import versions

TIE = 1e-6  # verdicts closer than this are equally good
SMALLEST = 100


def marks_of(budget: int) -> list[int]:
    """The budgets up to one at which success is measured: 100, 1,000 and so on, and the budget itself."""
    decades = [10**k for k in range(2, 7)]
    return [mark for mark in decades if mark < budget] + [budget]


def attack(
    verifier: Verifier,
    spec: Spec,
    *,
    names: Sequence[str] = (),
    budget: int = 10_000,
    claims: int = 200,
    validation_claims: int = 500,
    seed: int = 0,
    others: Mapping[str, Verifier] | None = None,
    games: int = 0,
    exact_limit: float = 2e8,
    search: Search = SEARCH,
    device: str | torch.device = "cpu",
) -> AttackReport:
    """What each attack makes a verifier accept of false claims of the test split, with at most `budget` queries a claim.

    names: of registered attacks; () for all. validation_claims: true ones, and as many false ones, to choose the threshold on.
    others: verifiers whose weaknesses are tried on this one (`transfer`). games: to train a prover with (`learned`).
    exact_limit: of claims x messages x tosses, up to which all messages are tried for the exact value, whatever the budget.
    search: for the messages against which the threshold is chosen.
    Decisions are randomised: a claim is accepted with the probability the verifier gives, one coin a claim for all attacks.
    A message is chosen by the verdicts of its search, and scored by a verdict asked once more, which is no query of the attack.
    ValueError: an unknown name, a budget outside 100..1e6, no claims, or a game that cannot be searched.
    NonFiniteVerdict: a verdict was no probability; the run is void.
    """
    asked = {"budget": (budget, SMALLEST), "claims": (claims, 1), "validation_claims": (validation_claims, 1)}
    for field, (value, low) in asked.items():
        if not low <= value <= 10**6:
            raise ValueError(f"{field}={value} is outside {low}..{10**6}")
    # Of attacks that find the same as quickly, the first wins: the simplest.
    kinds = {
        name: attacks[name] for name in sorted(names or attacks, key=lambda name: (attacks[name].white_box, name != "prover", name))
    }
    started = time.perf_counter()
    test = deal(resolve(spec.task, spec.protocol, spec.proof_name, "test"), False, claims, seed, device)
    if test.seats.prover is None:
        raise ValueError(f"attack: nobody argues in {type(spec.protocol).__name__}")
    target = Target(verifier, test, Means(others or {}, games))
    made: dict[str, Queries] = {}
    prepared: dict[str, dict[str, int]] = {}
    left_out: dict[str, str] = {}
    for kind, entry in kinds.items():
        for member, one in entry.members(target).items():
            name = f"{kind} {member}".strip()
            reason = one.unfit(target, budget)
            if reason is not None:
                left_out[name] = reason
                continue
            generator = torch.Generator().manual_seed(hashed(seed, name))
            prepared[name] = one.prepare(target, generator)
            made[name] = attempt(one, target, marks_of(budget), generator)
    if not made:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise ValueError(f"names={' '.join(kinds)}: none of these attacks can be used here; {reasons}")
    threshold = chosen_threshold(verifier, spec, validation_claims, seed, device, search=search)
    best, how = exact(verifier, test, exact_limit)
    results = Results(target, made, coins(seed, claims).to(test.dealt.device))
    won, transcripts = results.won(seed)
    last = {name: curve[-1] for name, curve in results.outcomes.items()} | {"union": results.union(list(made))[-1]}
    return AttackReport(
        env=f"pvg/{registered(tasks, spec.task)}-v0",
        protocol=registered(protocols, spec.protocol),
        task=str(spec.task),
        proof=spec.proof_name,
        split="test",
        seed=seed,
        claims=claims,
        marks=results.marks,
        success={name: results.curve(curve) for name, curve in results.outcomes.items()},
        union=results.curve(results.union(list(made))),
        black_box_union=results.curve(results.union([name for name in made if not kinds[name.split()[0]].white_box])),
        exact=None if best is None else results.share(scored(verifier, test, best.messages, best.values), how),
        how_exact=how,
        threshold=threshold,
        at_threshold={name: proportion(one.verdicts >= threshold, "accepted at the threshold") for name, one in last.items()},
        winners={name: sum(one.attack == name for one in won) for name in made},
        queries={name: float(one.used.double().mean()) for name, one in made.items()},
        prepared={name: costs for name, costs in prepared.items() if costs},
        left_out=left_out,
        won=won,
        transcripts=transcripts,
        seconds=time.perf_counter() - started,
        versions=versions(),
    )


def attempt(one: Attack, target: Target, marks: Sequence[int], generator: torch.Generator) -> Queries:
    """One attack, until its budget (the last of `marks`) or its ideas are spent; what it asked and found."""
    queries = Queries(target.verifier, target.claims.statement, len(target.alphabet), marks)
    with suppress(OutOfQueries):
        one.search(target, queries, generator)
    return queries


def exact(verifier: Verifier, claims: Claims, limit: float) -> tuple[BestResponse | None, str]:
    """The best message for each claim where it can be known, and how it was found or why it was not."""
    found = exact_response(verifier, claims.statement, claims.seats.alphabet, limit)
    if found is None:
        total = f"{len(claims):,} claims x {claims.seats.messages:,} messages"
        return None, f"LOWER BOUND, the union of all attacks: {total} are too many to try, and the verifier does not show its steps"
    found = asked_again(verifier, claims.statement, found)
    return (found, f"exact: {found.method}") if found.exact else (None, f"LOWER BOUND, the union of all attacks: {found.method}")


def scored(verifier: Verifier, claims: Claims, messages: Tensor, values: Tensor) -> Outcome:
    """The verdicts on messages in each claim's own game; where none was tried (value -1), not accepted."""
    verdicts = ask(verifier, claims.statement, messages[:, None], averaged=False)[:, 0].double()
    return Outcome(messages, verdicts.where(values >= 0, 0.0), values >= 0, values.double())


@dataclass(frozen=True)
class Results:
    """What all attacks found, and the coins that decide. made: by name."""

    target: Target
    made: Mapping[str, Queries]
    coins: Tensor  # claim  float64

    @property
    def marks(self) -> tuple[int, ...]:
        """The budgets at which there is something to measure: where evidence draws coins, a verdict costs many queries."""
        some = next(iter(self.made.values()))
        return tuple(mark for mark in some.marks if mark >= some.tosses)

    @cached_property
    def outcomes(self) -> dict[str, list[Outcome]]:
        """By attack, what it had found at each mark."""
        return {name: self._scored(one) for name, one in self.made.items()}

    def _scored(self, one: Queries) -> list[Outcome]:
        found: list[Outcome] = []
        for messages, values in one.best()[-len(self.marks) :]:
            again = found and found[-1].messages is messages
            found.append(found[-1] if again else scored(self.target.verifier, self.target.claims, messages, values))
        return found

    def union(self, names: Sequence[str]) -> list[Outcome]:
        """At each mark, for each claim the message accepted most readily in any search of these attacks."""
        return [strongest(some) for some in zip(*(self.outcomes[name] for name in names), strict=True)]

    def share(self, outcome: Outcome, method: str) -> Figure:
        """The share of claims that are accepted."""
        return proportion(decide(outcome.verdicts, self.coins), f"false claims, {method}")

    def curve(self, outcomes: Sequence[Outcome]) -> tuple[Figure, ...]:
        """Success at each mark."""
        return tuple(
            self.share(one, f"at most {mark:,} verdict queries each") for mark, one in zip(self.marks, outcomes, strict=False)
        )

    @cached_property
    def winner(self) -> tuple[Tensor, Tensor]:
        """`claim`, `claim`: which attack's message was accepted most readily, of equals the one found first; and after how many
        queries.
        """
        values = torch.stack([one.values for one in self.made.values()])  # attack claim
        found_at = torch.stack([one.found_at for one in self.made.values()])
        behind = values < values.max(dim=0).values - TIE
        queries, which = found_at.masked_fill(behind, torch.iinfo(found_at.dtype).max).min(dim=0)
        return which, queries

    def won(self, seed: int) -> tuple[tuple[Won, ...], Transcripts | None]:
        """The claims that are accepted, and the games in which they are; None where there are none."""
        claims, names = self.target.claims, list(self.made)
        which, queries = self.winner
        messages = torch.stack([one.messages for one in self.made.values()])[which, torch.arange(len(which), device=which.device)]
        values = torch.stack([one.values for one in self.made.values()]).max(dim=0).values
        verdicts = scored(self.target.verifier, claims, messages, values).verdicts
        accepted = decide(verdicts, self.coins).nonzero()[:, 0]
        if len(accepted) == 0:
            return (), None
        spec = self.target.spec
        game = Game(spec, len(accepted), claims.game.device)
        game.bytes.copy_(claims.dealt[accepted])
        prover, verifier = spec.roles[claims.seats.prover or 0].name, spec.roles[claims.seats.verifier].name
        judge = Judging(self.target.verifier, lambda n: self.coins[accepted])
        kept = frozen.record(game, game.players({prover: Saying(spec, prover, verifier, messages[accepted]), verifier: judge}))
        texts = [transcript(kept.game(), lane) for lane in range(len(accepted))]
        won = tuple(
            Won(i, names[int(which[i])], int(queries[i]), float(verdicts[i]), messages[i].tolist(), text)
            for i, text in zip(accepted.tolist(), texts, strict=True)
        )
        provenance = frozen.about(spec, {prover: "attacks", verifier: "attacked"}, seed)
        return won, replace(kept, provenance=provenance | {"attacks": [one.attack for one in won]})


class Saying:
    """A prover that says given messages, one a lane: `lane position`, what its turns say one after the other."""

    def __init__(self, spec: Spec, role: str, verifier: str, messages: Tensor) -> None:
        rows = [row for row in message_rows(spec, spec.role_index(verifier)) if role in row.speakers]
        widths = [int((spec.alphabet[spec.rows.index(row)] > 0).sum()) for row in rows]
        self._parts = messages.int().split(widths, dim=1)
        self._turns = [row.turn for row in rows]

    def act(self, observation: Observation, acting: Tensor) -> Utterance:
        """As in `pvg.agent.BatchAgent`."""
        said = torch.zeros((len(acting), max(part.shape[1] for part in self._parts)), dtype=torch.int32, device=acting.device)
        for turn, part in zip(self._turns, self._parts, strict=True):
            now = acting if len(self._turns) == 1 else acting & (observation["turn"].reshape(-1) == turn)
            said[now, : part.shape[1]] = part[now]
        return Utterance(said)
