"""How far a verifier can be trusted, measured on fresh claims: what it accepts of true ones, and what attacks make of
false ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from pvg.agent import Agent, BatchAgent, Observation, find_agent
from pvg.agents.attacks import BestResponse, ask, best_response, tosses_of
from pvg.agents.claims import Claims, Outcome, deal, seats, strongest
from pvg.agents.networks import Player
from pvg.agents.report import Figures, Report, registered
from pvg.metrics import Figure, best_threshold, coins, decide, difference, proportion
from pvg.protocol import protocols
from pvg.spec import Spec, resolve
from pvg.task import tasks
from pvg.verifier import ScriptedVerifier, Verifier
from pvg.versions import versions


def outcome(verifier: Verifier, claims: Claims, prover: Agent | None) -> Outcome:
    """The verdicts on what a prover says; without one, on no message."""
    if prover is None:
        counted = torch.ones(claims.game.num_envs, dtype=torch.bool, device=claims.statement.packed.device)
        messages = counted.new_zeros((len(counted), 0)).int()
    else:
        messages, counted = claims.argue(prover)
    verdicts = ask(verifier, claims.statement, messages[:, None])[:, 0].double()
    return _played(verifier, claims.statement, Outcome(messages, verdicts, counted))


def _played(verifier: Verifier, statement: Observation, averaged: Outcome) -> Outcome:
    """The outcome in each claim's own game, where its verdicts are averages over the game's coins."""
    if tosses_of(statement) == 1:
        return averaged
    played = ask(verifier, statement, averaged.messages[:, None], averaged=False)[:, 0].double()
    return averaged._replace(verdicts=played, expected=averaged.verdicts)


@dataclass(frozen=True)
class Search:
    """The budget of the search, to be the same for all verifiers compared: see `pvg.agents.attacks.best_response`."""

    restarts: int = 4
    sweeps: int = 2
    exact_limit: float = 2e7


SEARCH = Search()


class Attacks(NamedTuple):
    """Every attack on the same claims, by name; the last is the search, which found `found`."""

    outcomes: Mapping[str, Outcome]
    found: BestResponse

    def worst(self) -> Outcome:
        """Per claim, the message accepted most readily of all attacks."""
        return strongest(list(self.outcomes.values()))

    @property
    def how(self) -> str:
        """How the best response was searched, and whether it can be anything but the best."""
        return f"{'exact' if self.found.exact else 'LOWER BOUND'}: {self.found.method}"


def attack(
    verifier: Verifier,
    claims: Claims,
    tried: Mapping[str, Outcome],
    search: Search,
    seed: int,
    count: int | None = None,
) -> Attacks:
    """The search on the first `count` claims (None: all), beside what was tried; it may climb from there."""
    statement = claims.statement.rows(slice(count))
    tried = {name: o.first(count) for name, o in tried.items()}
    highest = torch.tensor(claims.seats.alphabet, device=statement.packed.device).int() - 1
    starts = [o.messages.clamp(min=0).minimum(highest) for o in tried.values()]
    found = best_response(
        verifier,
        statement,
        claims.game.spec,
        generator=torch.Generator().manual_seed(seed),
        restarts=search.restarts,
        sweeps=search.sweeps,
        starts=torch.stack(starts, dim=1) if starts else None,
        exact_limit=search.exact_limit,
    )
    everywhere = torch.ones_like(found.values, dtype=torch.bool)
    searched = _played(verifier, statement, Outcome(found.messages, found.values.double(), everywhere))
    return Attacks(tried | {"search": searched}, found)


@dataclass(frozen=True)
class Run:
    """All verdicts on the claims of the test split: what the figures of every way of deciding are made of."""

    honest: Outcome
    achievable: Attacks
    learned: Outcome | None
    attacks: Attacks

    def figures(self, accept: Callable[[Tensor], Tensor]) -> Figures:
        """The figures when `accept` (verdicts `n` to bool `n`) decides."""

        def share(outcome: Outcome, method: str) -> Figure:
            return proportion(accept(outcome.verdicts)[outcome.counted], method)

        def best(attacks: Attacks, which: str) -> Figure:
            found = share(attacks.worst(), f"{which} claims, best message; {attacks.how}")
            # A message nobody found may be accepted more readily still: nothing is known from above.
            return found if attacks.found.exact else replace(found, high=1.0)

        provers = {name: o for name, o in self.attacks.outcomes.items() if name != "search"}
        completeness = share(self.honest, "true claims, honest prover" if provers else "true claims, no message")
        error = best(self.attacks, "false")
        at_most = "" if self.attacks.found.exact else "; AT MOST, since the error is a lower bound"
        success = {name: share(o, "false claims, 1 verdict query each") for name, o in provers.items()}
        if provers:
            queries = self.attacks.found.queries
            method = f"false claims, {queries:,} verdict {'query' if queries == 1 else 'queries'} each"
            success["search"] = share(self.attacks.outcomes["search"], method)
        return Figures(
            completeness=completeness,
            achievable_completeness=best(self.achievable, "true"),
            prover_convinces=None if self.learned is None else share(self.learned, "true claims, learned prover"),
            attack_success=success,
            union_of_provers=share(strongest(list(provers.values())), "false claims, the best of all provers for each")
            if provers
            else None,
            best_response_soundness_error=error,
            J=difference(completeness, error, f"completeness - best-response soundness error{at_most}"),
        )

    def forfeits(self) -> dict[str, int]:
        """How many games each prover forfeited; they count nowhere."""
        true = {"honest": self.honest} | ({} if self.learned is None else {"learned, true claims": self.learned})
        return {name: int((~o.counted).sum()) for name, o in (true | dict(self.attacks.outcomes)).items()}


def evaluate(
    verifier: Verifier,
    spec: Spec,
    *,
    claims: int = 2000,
    validation_claims: int = 500,
    seed: int = 0,
    device: str | torch.device = "cpu",
    prover: BatchAgent | None = None,
    search: Search = SEARCH,
) -> Report:
    """What a verifier accepts of true and of false claims of the test split, under every attack, with intervals.

    claims: how many false claims, and as many true ones. prover: a learned prover, one more attack; a network draws anew
        from `seed`, so that a report can be repeated.
    validation_claims: of each kind, from the validation split, to choose the threshold on; and how many of the true
        test claims are searched for achievable completeness.
    NonFiniteVerdict: a verdict was no probability; the run is void. ValueError: no claims, or a game that cannot be
        searched (see `pvg.agents.attacks.seats`).
    """
    for name, value in (("claims", claims), ("validation_claims", validation_claims)):
        if value < 1:
            raise ValueError(f"{name}={value}: expected at least 1")
    started = time.perf_counter()
    if isinstance(prover, Player):
        prover.generator.manual_seed(seed)
    threshold = chosen_threshold(verifier, spec, validation_claims, seed, device, prover, search)
    test = resolve(spec.task, spec.protocol, spec.proof_name, "test")
    honest, attackers = _provers(resolve(spec.task, spec.protocol, spec.proof_name), prover)

    true = deal(test, True, claims, seed, device)
    believed = outcome(verifier, true, honest)
    run = Run(
        honest=believed,
        achievable=attack(verifier, true, {"honest": believed}, search, seed, validation_claims),
        learned=None if prover is None else outcome(verifier, true, prover),
        attacks=_attacked(verifier, deal(test, False, claims, seed, device), attackers, search, seed),
    )
    tosses = coins(seed, claims).to(believed.verdicts.device)
    proves, repeats = (None, None) if run.learned is None else _as_proofs(run.learned, believed, true, tosses)
    return Report(
        env=f"pvg/{registered(tasks, spec.task)}-v0",
        protocol=registered(protocols, spec.protocol),
        task=str(spec.task),
        proof=spec.proof_name,
        split="test",
        seed=seed,
        randomised=run.figures(lambda verdicts: decide(verdicts, tosses[: len(verdicts)])),
        threshold=threshold,
        at_threshold=run.figures(lambda verdicts: verdicts >= threshold),
        exact=run.attacks.found.exact,
        solo_accuracy=accuracy(believed, run.attacks.worst()) if honest is None else None,
        prover_proves=proves,
        prover_repeats_honest=repeats,
        queries=dict.fromkeys(attackers, 1) | {"search": run.attacks.found.queries},
        forfeits=run.forfeits(),
        seconds=time.perf_counter() - started,
        versions=versions(),
    )


def chosen_threshold(
    verifier: Verifier,
    spec: Spec,
    claims: int,
    seed: int = 0,
    device: str | torch.device = "cpu",
    prover: BatchAgent | None = None,
    search: Search = SEARCH,
) -> float:
    """The threshold that best tells honest proofs of true validation claims from the best messages found for false ones."""
    validation = resolve(spec.task, spec.protocol, spec.proof_name, "validation")
    honest, attackers = _provers(resolve(spec.task, spec.protocol, spec.proof_name), prover)
    accepted = outcome(verifier, deal(validation, True, claims, seed, device), honest)
    worst = _attacked(verifier, deal(validation, False, claims, seed, device), attackers, search, seed).worst()
    return best_threshold(accepted.verdicts[accepted.counted], worst.verdicts)


def _attacked(verifier: Verifier, false: Claims, attackers: Mapping[str, Agent], search: Search, seed: int) -> Attacks:
    """What the provers and the search make of false claims."""
    return attack(verifier, false, {name: outcome(verifier, false, p) for name, p in attackers.items()}, search, seed)


def _as_proofs(learned: Outcome, honest: Outcome, claims: Claims, tosses: Tensor) -> tuple[Figure, Figure]:
    """How often what a learned prover says is a proof: by the reference verifier, and by being the honest prover's own."""
    reference = ScriptedVerifier(claims.game.spec)
    valid = ask(reference, claims.statement, learned.messages[:, None], averaged=False)[:, 0].double()
    same = (learned.messages == honest.messages).all(dim=1)
    accepted = proportion(decide(valid, tosses)[learned.counted], "true claims, learned prover, reference verifier")
    return accepted, proportion(same[learned.counted], "true claims, learned prover's message the honest one's")


def accuracy(true: Outcome, false: Outcome) -> Figure:
    """The share of right verdicts on as many true as false claims."""
    right = torch.cat([true.verdicts >= 0.5, false.verdicts < 0.5])
    return proportion(right, "true and false claims, half each, no message; accepted at 1/2 or more")


def solo_accuracy(
    verifier: Verifier, spec: Spec, *, claims: int = 2000, seed: int = 0, device: str | torch.device = "cpu"
) -> Figure:
    """The share of right verdicts of a verifier that hears nothing, on `claims` true and as many false test claims.

    ValueError: the protocol has a prover.
    """
    if seats(spec).prover is not None:
        raise ValueError(f"solo_accuracy: {type(spec.protocol).__name__} has a prover; expected a protocol without")
    test = resolve(spec.task, spec.protocol, spec.proof_name, "test")
    true, false = (outcome(verifier, deal(test, truth, claims, seed, device), None) for truth in (True, False))
    return accuracy(true, false)


def _provers(spec: Spec, learned: BatchAgent | None) -> tuple[Agent | None, dict[str, Agent]]:
    """The honest prover (None where nobody argues) and all that attack, by name."""
    if seats(spec).prover is None:
        if learned is not None:
            raise ValueError(f"prover: nobody argues in {type(spec.protocol).__name__}")
        return None, {}
    assert spec.proof is not None, "messages are made of a proof"
    scripted: dict[str, Agent] = {name: find_agent(name, spec) for name in spec.proof.dishonest}
    return find_agent("honest", spec), scripted | ({} if learned is None else {"learned": learned})
