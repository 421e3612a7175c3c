"""What `pvg play` and `pvg evaluate` do with played games: who sits where, a person's games, judges swapped, tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from rich.markup import escape
from rich.table import Table

from pvg.agent import Agent, LaneAgent, default_agent, find_agent
from pvg.agents.checkpoint import load_players
from pvg.frozen import Transcripts, joined, load, record, same_game
from pvg.game import Game
from pvg.judging import compared, judge, judge_of, report
from pvg.metrics import Figure, Played
from pvg.person import Left, Person
from pvg.spec import Spec, resolve
from pvg.transcript import transcript

BOUNDS = "One-sided 95 % bounds: Clopper-Pearson of shares, bootstrap of means."


def is_checkpoint(who: str) -> bool:
    """Whether a player is named by a file."""
    return Path(who).suffix == ".pt" or Path(who).exists()


def seated(who: str, asked: Spec | None, device: torch.device) -> tuple[Spec, dict[str, Agent]]:
    """The players of a checkpoint with their game, or a scripted agent in the judge's seat of the game asked for."""
    if is_checkpoint(who):
        spec, players = load_players(Path(who), device)
        if asked is not None:
            same_game(f"checkpoint {who}", spec, asked)
        return spec, dict(players)
    if asked is None:
        raise ValueError(f"{who}: an agent needs --env, such as --env pvg/Arith-v0")
    return asked, {asked.roles[judge_of(asked)].name: find_agent(who, asked)}


def cast_of(
    spec: Spec, players: tuple[str, ...], taken: Mapping[str, str], seated: Mapping[str, Agent], device: torch.device
) -> tuple[dict[str, Agent], dict[str, str]]:
    """Who plays each role, and in words: those named by `ROLE=AGENT`, else those seated, else the default agents.

    taken: roles that are not to be named, and why. ValueError where a role is, or is not there to be played.
    """
    given: dict[str, str] = {}
    for text in players:
        role, equals, who = text.partition("=")
        if not equals:
            raise ValueError(f"--players {text}: expected ROLE=AGENT, with a role of {', '.join(r.name for r in spec.roles)}")
        if role in taken:
            raise ValueError(f"--players {text}: {taken[role]}")
        spec.role_index(role)
        given[role] = who
    cast: dict[str, Agent] = {}
    for i, r in enumerate(spec.roles):
        if r.name in given:
            cast[r.name] = player(given[r.name], r.name, spec, device)
        else:
            cast[r.name] = seated.get(r.name) or default_agent(spec, i)
    return cast, {role: given.get(role, agent.name if isinstance(agent, LaneAgent) else "learned") for role, agent in cast.items()}


def player(who: str, role: str, spec: Spec, device: torch.device) -> Agent:
    """An agent by name, or the role's player of a checkpoint."""
    if not is_checkpoint(who):
        return find_agent(who, spec)
    trained, players = load_players(Path(who), device)
    same_game(f"checkpoint {who}", trained, spec)
    if role not in players:
        raise ValueError(f"checkpoint {who}: it has players for {', '.join(players)}, none for {role}")
    return players[role]


def by_agents(
    spec: Spec, cast: Mapping[str, Agent], names: Mapping[str, str], games: int, seed: int
) -> tuple[Transcripts, dict[str, Any], Table]:
    """Games that agents play in every seat: transcripts, and what became of them, for JSON and for people."""
    _positive(games)
    kept = record(Game(spec, games, seed=seed), cast)
    return kept, *became(kept.measured(seed), spec, names)


def by_person(
    spec: Spec, role: int, cast: Mapping[str, Agent], games: int, seed: int, show: Callable[[str], object]
) -> tuple[Transcripts | None, list[dict[str, Any]], str]:
    """Games with a person in a role, until it leaves: transcripts, what each looked like and paid, and the sum."""
    _positive(games)
    game = Game(spec, 1, seed=seed)
    cast = {**cast, spec.roles[role].name: Person(game, role, show)}
    kept: list[Transcripts] = []
    log: list[dict[str, Any]] = []
    for number in range(games):
        if number:
            game.redeal()
        show(f"\nGame {number + 1} of {games}")
        try:
            kept.append(record(game, cast))
        except Left:
            break
        text, paid = transcript(game, 0, role), float(game.returns[0, role])
        show(f"\n{text}\nyou are paid {paid:g}")
        log.append({"game": number, "transcript": text, "paid": paid})
    total = sum(entry["paid"] for entry in log)
    return joined(kept) if kept else None, log, f"\n{len(log)} games, {total:g} in all"


def played(
    spec: Spec, cast: Mapping[str, Agent], names: Mapping[str, str], games: int, seed: int, device: torch.device, reason: str | None
) -> tuple[dict[str, Any], Table]:
    """What becomes of games on statements of the test split, for JSON and for people; `reason`: why no attack was searched for."""
    _positive(games)
    game = Game(resolve(spec.task, spec.protocol, spec.proof_name, "test"), games, device, seed)
    return became(record(game, cast).measured(seed), spec, names, reason)


def _positive(games: int) -> None:
    if games < 1:
        raise ValueError(f"games={games}: expected at least 1")


def became(found: Played, spec: Spec, names: Mapping[str, str], reason: str | None = None) -> tuple[dict[str, Any], Table]:
    """What became of games, for JSON and for people; `reason`: why no attack was searched for."""
    forfeits = ", ".join(f"{role} {count}" for role, count in found.forfeits.items() if count) or "none"
    note = f" No best response is searched for. {reason}." if reason else ""
    table = figures(
        f"{type(spec.task).__name__}, {spec.label}: {found.games:,} games of {_cast(names)}",
        {"value": found.rows()},
        f"{BOUNDS} Games forfeited, which nobody judges: {forfeits}.{note}",
    )
    return {"players": dict(names), **found.as_dict()}, table


def _cast(names: Mapping[str, str]) -> str:
    return ", ".join(f"{role} {name}" for role, name in names.items())


def swapped(
    path: Path, judges: list[str], asked: Spec | None, first: int | None, seed: int, device: torch.device
) -> tuple[dict[str, Any], Table]:
    """One judge or two on the transcripts of a file, for JSON and for people; `first`: so many of them, None: all."""
    kept = load(path, asked).first(first)
    spec, origin = kept.spec, kept.provenance
    role = spec.roles[judge_of(spec)].name
    made = [judge(kept, player(who, role, spec, device), device) for who in judges]
    labels = judges if len(set(judges)) == len(judges) else [f"{k}: {who}" for k, who in enumerate(judges, 1)]
    found = {label: report(judgement, seed) for label, judgement in zip(labels, made, strict=True)}
    gained = compared(made[0], made[1], seed) if len(made) == 2 else {}
    table = figures(
        f"{path}: {len(kept):,} transcripts of {origin['env']}, {spec.label}; {_cast(origin['players'])}",
        {label: one.rows() for label, one in found.items()} | ({"difference, paired": gained} if gained else {}),
        f"{BOUNDS} Scores are of the probability of what is true: log natural, at least 1e-4; Brier from -2 to 0. Expected "
        f"calibration error: {', '.join(f'{label} {one.calibration_error:.4f}' for label, one in found.items())}. "
        f"Games without a verdict, which count nowhere: {made[0].not_judged}.",
    )
    reports = {label: one.as_dict() for label, one in found.items()}
    paired = {name: figure.as_dict() for name, figure in gained.items()}
    return {"transcripts": str(path), "provenance": dict(origin), "judges": reports, "paired_difference": paired}, table


def figures(title: str, columns: Mapping[str, Mapping[str, Figure]], caption: str) -> Table:
    """Figures side by side, a line each."""
    shown = Table(title=escape(title), caption=escape(caption), title_justify="left", caption_justify="left")
    shown.add_column("figure", no_wrap=True)
    for name in columns:
        shown.add_column(escape(name), no_wrap=True)
    shown.add_column("n", justify="right")
    for line in dict.fromkeys(line for rows in columns.values() for line in rows):
        found = [rows.get(line) for rows in columns.values()]
        cells = ["" if figure is None else f"{figure.value:.3f} ({figure.low:.3f}..{figure.high:.3f})" for figure in found]
        shown.add_row(escape(line), *cells, f"{max(figure.n for figure in found if figure):,}")
    return shown
