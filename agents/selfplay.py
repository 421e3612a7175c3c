"""Self-play: learned players play each other, and each learns from what it was paid, by proximal policy optimisation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from pvg.agent import Agent, find_agent
from pvg.agents import distributed
from pvg.agents.algorithm import Algorithm, Figures, Seats, algorithms
from pvg.agents.distributed import total
from pvg.agents.networks import Player, VerifierNetwork
from pvg.agents.play import Experience, play
from pvg.agents.policy_gradient import advantages, kl_to_reference, masked_mean, masked_means, ppo_loss, returns, score
from pvg.agents.team import Learner, Team
from pvg.game import Game

Order = Literal["simultaneous", "alternating", "verifier_leading", "prover_leading"]
Reward = Literal["paid", "log", "brier"]


@dataclass(frozen=True)
class SelfPlay(Algorithm):
    """What all learning from played games has: who learns, against whom, and for what."""

    seats: Seats = "both"
    """Whose players learn; the others stay as they are."""
    scripted: tuple[str, ...] = ()
    """ROLE=AGENT,..: roles that scripted agents play, such as verifier=reference."""
    reward: Reward = "paid"
    """paid: by the protocol. log, brier: the verifier descends that proper score of its probability itself, and a prover is
    paid what the score gives that probability of the answer it argues for."""
    learning_rate: float = 1e-3
    """Of Adam, at its highest."""
    entropy: float = 0.01
    """Weight of the entropy bonus, a nat an utterance."""
    kl: float = 0.0
    """Weight of the KL divergence, an utterance, from the players as they were when the phase began."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.within("learning_rate", 0, 1)
        self.within("entropy", 0, 10)
        self.within("kl", 0, 100)

    def begin(self, team: Team, game: Game) -> None:
        scripted = scripted_cast(self.scripted, game)
        left = [role for role in team.seated(self.seats) if role not in scripted]
        if not left:
            raise ValueError(f"scripted={','.join(self.scripted)}: nobody of seats={self.seats} is left to learn")
        if self.reward != "paid" and game.spec.task.answers != 2:
            raise ValueError(
                f"reward={self.reward}: for claims that are accepted or not; the task has {game.spec.task.answers} answers"
            )
        if self.reward != "paid" and not any(isinstance(player, VerifierNetwork) for player in team.players.values()):
            raise ValueError(f"reward={self.reward}: needs a learned verifier that only judges, whose probability is scored")
        if self.kl > 0:
            team.memory["reference"] = team.weights()

    def learning(self, team: Team, index: int) -> dict[str, Learner]:
        """Who learns in an update."""
        scripted = {text.partition("=")[0] for text in self.scripted}
        return {role: learner for role, learner in team.seated(self.seats).items() if role not in scripted}

    def play(self, team: Team, game: Game, roles: Mapping[str, Learner], cast: Mapping[str, Agent]) -> dict[str, Experience]:
        """The games just dealt, played to their end: what became of `roles`."""
        seen = play(game, game.players({**cast, **scripted_cast(self.scripted, game)}), roles)
        if self.reward == "paid":
            return seen
        return {role: self._scored(part, team.players[role], game) for role, part in seen.items()}

    def _scored(self, seen: Experience, player: Player, game: Game) -> Experience:
        """A prover's rewards replaced by the proper score of the verifier's probability for its side, paid at the end."""
        if isinstance(player, VerifierNetwork):
            return seen
        belief, side = game.field("belief").clamp(1e-6, 1 - 1e-6), game.field("side")[:, player.role]
        last = torch.zeros_like(seen.reward)
        last[-1] = score(torch.stack([1 - belief, belief], 1).log(), side.clamp(min=0), self.reward)
        return seen._replace(reward=last)

    def reference(self, team: Team, role: str, seen: Experience) -> Tensor | None:
        """`turn lane`: the log probability of what was said, by the player as it was when the phase began; None without KL."""
        if self.kl == 0:
            return None
        with torch.no_grad():
            return evaluate(team.past(role, team.memory["reference"][role]), seen.packed, seen.symbols)[0]


@algorithms.register("ppo")
@dataclass(frozen=True)
class PPO(SelfPlay):
    """Self-play by proximal policy optimisation, under any protocol and in any order of play.

    Orders: in `simultaneous` play both seats learn from every update's games; in `alternating` play each learns for `steps`
    updates while the other waits; where the verifier leads, the provers take `steps` updates for one of the verifier's, which
    keeps them near their best response; where the prover leads, the reverse. (`adversarial` is verifier-leading with the best
    response searched.)
    Source: Schulman et al. 2017; the orders of play: Anil, Zhang, Wu & Grosse 2021.
    """

    order: Order = "simultaneous"
    """Who waits for whom, where both seats learn."""
    steps: int = 1
    """Updates of those who follow for one of those who lead; of each seat in turn in alternating play."""
    pool: int = 0
    """Past selves kept as opponents: each update's opponents are the latest or one of them, drawn uniformly."""
    pool_every: int = 20
    """Updates between two of them."""
    epochs: int = 4
    """Passes over each update's games."""
    minibatches: int = 2
    """Parts of a pass."""
    clip: float = 0.2
    """How far the probability ratio may leave 1 before its gradient is cut."""
    target_kl: float | None = None
    """Passes end early once an update has moved the policy further than this KL divergence, an utterance."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("steps", "pool_every", "epochs", "minibatches"):
            self.within(name, 1)
        self.within("pool", 0)
        self.within("clip", 0, 1)
        if self.target_kl is not None:
            self.within("target_kl", 0)
        if self.order != "simultaneous" and self.seats != "both":
            raise ValueError(f"order={self.order}: needs seats=both, and seats={self.seats}")

    def begin(self, team: Team, game: Game) -> None:
        super().begin(team, game)
        lanes = game.num_envs * distributed.size()
        if self.minibatches > lanes:
            raise ValueError(f"minibatches={self.minibatches} is outside 1..lanes={lanes}")
        team.memory["pool"] = []

    def learning(self, team: Team, index: int) -> dict[str, Learner]:
        able = super().learning(team, index)
        at = index % {"alternating": 2 * self.steps, "simultaneous": 1}.get(self.order, self.steps + 1)
        provers_turn = {"alternating": at < self.steps, "verifier_leading": at < self.steps, "prover_leading": at >= self.steps}
        if self.order not in provers_turn:
            return able
        chosen = team.seated("prover" if provers_turn[self.order] else "verifier")
        return {role: learner for role, learner in able.items() if role in chosen}

    def update(self, team: Team, game: Game, index: int, pace: float) -> Figures:
        learning = self.learning(team, index)
        figures: Figures = {}
        if self.pool == 0:
            seen = self.play(team, game, learning, team.players)
        else:
            seen = self._against_past_selves(team, game, learning, index)
        figures |= outcome_figures(game)
        for learner, roles in by_learner(learning).items():
            part = joined([seen[role] for role in roles])
            truth = game.field("truth").repeat(len(roles))
            figures[f"{roles[0]}_return"] = masked_mean(returns(part.reward)[0], part.acting[0])
            improved = self.improve(learner, part, truth, team, roles[0], pace * self.learning_rate)
            figures |= {f"{roles[0]}_{name}": value for name, value in improved.items()}
        return figures

    def _against_past_selves(self, team: Team, game: Game, learning: Mapping[str, Learner], index: int) -> dict[str, Experience]:
        """Each seat that learns plays the same games against one self of the others, past or present."""
        pool: list[Any] = team.memory["pool"]
        if index % self.pool_every == 0:
            pool.append(team.weights())
            del pool[: -self.pool]
        dealt = game.bytes.clone()
        seen: dict[str, Experience] = {}
        for seat in ("prover", "verifier"):
            mine = {role: learner for role, learner in learning.items() if role in team.seated(seat)}
            if mine:
                which = int(torch.randint(len(pool) + 1, (), generator=team.generator, device=team.generator.device))
                cast: dict[str, Agent] = dict(team.players)
                if which < len(pool):
                    cast |= {role: team.past(role, pool[which][role]) for role in cast if role not in team.seated(seat)}
                game.bytes.copy_(dealt)
                seen |= self.play(team, game, mine, cast)
        return seen

    def improve(self, learner: Learner, seen: Experience, truth: Tensor, team: Team, role: str, rate: float) -> Figures:
        """`epochs` passes over the lanes in random minibatches."""
        turns, lanes = seen.acting.shape
        with torch.no_grad():
            value = learner.value(seen.packed.flatten(0, 1)).unflatten(0, (turns, lanes))
        numbers = [seen.log_prob, advantages(seen.reward, value, seen.acting), returns(seen.reward)]
        if (reference := self.reference(team, role, seen)) is not None:
            numbers.append(reference)
        given = torch.stack(numbers)  # number turn lane
        scored = self.reward != "paid" and isinstance(learner.player, VerifierNetwork)
        kept: list[Figures] = []
        for _ in range(self.epochs):
            for some in minibatches(lanes, self.minibatches, team.generator):
                if scored:
                    loss, figures = score_loss(learner, seen.packed[:, some], seen.acting[:, some], truth[some], self.reward)
                else:
                    said = (seen.packed[:, some], seen.symbols[:, some], seen.acting[:, some])
                    loss, figures = self._ppo_loss(learner, *said, given[:, :, some])
                learner.step(loss, rate)
                kept.append({name: value.detach() for name, value in figures.items()})
            if self.target_kl is not None and not scored and float(total(kept[-1]["kl"])) > self.target_kl:
                break
        return {name: torch.stack([figures[name] for figures in kept]).mean() for name in kept[0]}

    def _ppo_loss(self, learner: Learner, packed: Tensor, symbols: Tensor, acting: Tensor, given: Tensor) -> tuple[Tensor, Figures]:
        """The clipped objective, the critic's squared error, the entropy bonus and the pull towards the reference.

        given: `number turn lane`, what the rollout had as log probability, advantage and return, and the reference's log
        probability.
        """
        old, advantage, target, *past = given.unbind()
        log_prob, entropy = evaluate(learner, packed, symbols)
        expected = learner.value(packed.flatten(0, 1)).unflatten(0, acting.shape)
        parts = [ppo_loss(log_prob, old, advantage, acting, self.clip), (expected - target) ** 2, entropy]
        parts += [kl_to_reference(old, log_prob.detach(), acting), *(kl_to_reference(log_prob, other, acting) for other in past)]
        names = ("loss", "value_loss", "entropy", "kl", "kl_to_reference")
        figures = dict(zip(names, masked_means(acting, *parts), strict=False))
        loss = figures["loss"] + figures["value_loss"] - self.entropy * figures["entropy"]
        return loss + self.kl * figures["kl_to_reference"] if past else loss, figures


def scripted_cast(scripted: tuple[str, ...], game: Game) -> dict[str, Agent]:
    """The agents of ROLE=AGENT words; ValueError names what is wrong with one."""
    cast: dict[str, Agent] = {}
    for text in scripted:
        role, equals, name = text.partition("=")
        if not equals:
            raise ValueError(f"scripted={text}: expected ROLE=AGENT, with a role of {', '.join(r.name for r in game.spec.roles)}")
        game.spec.role_index(role)
        cast[role] = find_agent(name, game.spec)
    return cast


def score_loss(verifier: Learner, packed: Tensor, acting: Tensor, truth: Tensor, rule: str) -> tuple[Tensor, Figures]:
    """Minus the proper score of a verifier's probabilities, to be descended directly.

    packed, acting: as in Experience. truth: `lane`.
    """
    log_probs = verifier.log_probs(packed.flatten(0, 1))
    loss = -masked_mean(score(log_probs, truth.repeat(len(acting)), rule), acting.flatten())
    return loss, {"loss": loss}


def by_learner(learning: Mapping[str, Learner]) -> dict[Learner, list[str]]:
    """The roles each set of weights plays: several where they are shared."""
    found: dict[int, list[str]] = {}
    for role, learner in learning.items():
        found.setdefault(id(learner.optimiser), []).append(role)
    return {learning[roles[0]]: roles for roles in found.values()}


def joined(parts: list[Experience]) -> Experience:
    """Several roles' parts in the games as one over more lanes."""
    return parts[0] if len(parts) == 1 else Experience(*(torch.cat(x, 1) for x in zip(*parts, strict=True)))


def minibatches(lanes: int, parts: int, generator: torch.Generator) -> list[Tensor]:
    """A random partition of the lanes of all processes, as this process's own lanes of each part."""
    everyone = torch.randperm(lanes * distributed.size(), generator=generator, device=generator.device).chunk(parts)
    if distributed.size() == 1:
        return list(everyone)
    first = distributed.rank() * lanes
    return [some[(some >= first) & (some < first + lanes)] - first for some in everyone]


def outcome_figures(game: Game) -> Figures:
    """The verdicts of games that are over: right ones, and acceptance given true and given false claims; forfeits
    count nowhere.
    """
    truth, verdict, played = game.field("truth"), game.field("verdict"), game.field("forfeit") < 0
    return {
        "accuracy": masked_mean((verdict == truth).float(), played),
        "accepted_true": masked_mean((verdict == 1).float(), played & (truth == 1)),
        "accepted_false": masked_mean((verdict == 1).float(), played & (truth != 1)),
    }


def evaluate(player: Player | Learner, packed: Tensor, symbols: Tensor) -> tuple[Tensor, Tensor]:
    """Log probability and entropy of what was said, `turn lane` each: `packed` and `symbols` as in Experience."""
    log_prob, entropy = player.evaluate(packed.flatten(0, 1), symbols.flatten(0, 1))
    return log_prob.unflatten(0, packed.shape[:2]), entropy.unflatten(0, packed.shape[:2])
