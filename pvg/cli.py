"""The command line: `pvg list`, `pvg train`, `pvg evaluate`, `pvg attack`, `pvg play`, `pvg benchmark`."""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
import secrets
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from tyro.conf import OmitArgPrefixes, OmitSubcommandPrefixes, Positional, arg

import pvg
from pvg import cli_attack, cli_benchmark, cli_games, frozen, gallery
from pvg.agent import Agent, agents
from pvg.agents.algorithm import algorithms, settings_of
from pvg.agents.attacks.attack import attacks
from pvg.agents.attacks.library import attack as attack_all
from pvg.agents.attacks.report import table as attack_table
from pvg.agents.config import TrainConfig
from pvg.agents.evaluation import evaluate as measure
from pvg.agents.experiment import REPORT, experiment, unsearched
from pvg.agents.networks import ProverNetwork, VerifierNetwork, networks
from pvg.agents.report import Report, figure, table, write
from pvg.game import checked_device
from pvg.judging import judge_of
from pvg.person import seat_of
from pvg.protocol import protocols
from pvg.registry import Registry, unknown
from pvg.settings import read
from pvg.spec import Spec, default_protocol, played, resolve
from pvg.task import tasks
from pvg.verifier import ScriptedVerifier, Verifier

console = Console()
app = tyro.extras.SubcommandApp()
app.command(cli_benchmark.app, name="benchmark", help="Compare verifiers on a suite of games, yours among them.")

EnvId = Annotated[str, arg(metavar="ENV_ID", help="an environment such as pvg/Arith-v0; `pvg list tasks` shows all")]
Settings = Annotated[
    tuple[str, ...],
    arg(
        name="set",
        metavar="NAME=VALUE",
        help="sizes of the task, a preset of them, one of its proofs, or settings of the protocol, such as `--set preset=hard "
        "operations=8 proof=bisection`",
    ),
]
Protocol = Annotated[
    str | None, arg(help="who speaks when; `pvg list protocols` shows all; the one that fits the task's proof if left out")
]
Players = Annotated[
    tuple[str, ...],
    arg(metavar="ROLE=AGENT", help="who plays a role: an agent's name, or a checkpoint.pt that has a player for it"),
]
Json = Annotated[bool, arg(help="print JSON instead of a table")]
What = Literal["tasks", "protocols", "agents", "networks", "algorithms", "attacks"]


@app.command(name="list")
def list_(what: Positional[Annotated[What | None, arg(help="which of them; all if left out")]] = None, json: Json = False) -> None:
    """What there is: tasks, protocols, scripted agents, networks, learning algorithms and attacks, each with a line about it."""
    kinds: dict[str, Registry[Any]] = {"tasks": tasks, "protocols": protocols, "agents": agents, "networks": networks}
    kinds |= {"algorithms": algorithms, "attacks": attacks}
    chosen: dict[str, dict[str, Any]] = {
        kind: {name: _about(things[name]) for name in things} for kind, things in kinds.items() if what in (None, kind)
    }
    if "tasks" in chosen:
        chosen["tasks"] = {name: {"about": about, **_proofs(name)} for name, about in chosen["tasks"].items()}
    if "protocols" in chosen:
        chosen["protocols"] = {name: {"about": about, **_rules(name)} for name, about in chosen["protocols"].items()}
    if "agents" in chosen:
        chosen["agents"] |= _dishonest()
    if "algorithms" in chosen:
        chosen["algorithms"] = {
            name: {"about": about, "settings": settings_of(name)} for name, about in chosen["algorithms"].items()
        }
    if json:
        _print_json(chosen)
        return
    for kind, lines in chosen.items():
        shown = {"tasks": _tasks, "protocols": _protocols, "algorithms": _algorithms}
        console.print(shown[kind](lines) if kind in shown else _plain(kind, lines))


def _plain(kind: str, lines: dict[str, str]) -> Table:
    shown = Table("name", "about", title=kind, title_justify="left", show_header=False)
    for name, about in lines.items():
        shown.add_row(escape(name), escape(about))
    return shown


def _algorithms(lines: dict[str, Any]) -> Table:
    caption = (
        "Settings with their defaults; `pvg train ENV_ID --algorithm NAME SETTING=VALUE ...` runs one, several one after the other."
    )
    shown = Table(
        title="algorithms", title_justify="left", caption=caption, caption_justify="left", show_header=False, show_lines=True
    )
    for name, line in lines.items():
        settings = "\n".join(f"  [bold]{escape(setting)}[/bold]  {escape(about)}" for setting, about in line["settings"].items())
        shown.add_row(escape(name), f"{escape(line['about'])}\n{settings}")
    return shown


def _tasks(lines: dict[str, Any]) -> Table:
    caption = "Completeness and soundness error are the reference verifier's; bytes a lane at the default sizes."
    shown = Table(title="tasks", title_justify="left", caption=caption, caption_justify="left")
    for name in ("id, claim", "proof", "complete, error", "bytes"):
        shown.add_column(name, no_wrap=name == "proof")
    for name, line in lines.items():
        proofs = line["proofs"]
        columns = ["\n".join(str(proof[part]) for proof in proofs.values()) for part in ("numbers", "bytes_per_lane")]
        shown.add_row(f"[bold]pvg/{escape(name)}-v0[/bold]\n{escape(line['about'])}", "\n".join(proofs), *columns)
    return shown


def _proofs(name: str) -> dict[str, Any]:
    """A task's proofs at its default sizes: who plays them, their numbers, the bytes a lane takes."""
    proofs = {}
    for spec in played(tasks[name]()):
        numbers = str(spec.proof) if spec.proof else ""
        proofs[spec.proof_name or spec.label] = {"game": spec.label, "numbers": numbers, "bytes_per_lane": spec.bytes_per_lane}
    return {"proofs": proofs, "presets": list(tasks[name].presets)}


def _protocols(lines: dict[str, Any]) -> Table:
    caption = (
        "Each table at default settings, on the task named; rows of one turn are simultaneous. docs/protocols.md has sample games."
    )
    shown = Table(
        title="protocols", title_justify="left", caption=caption, caption_justify="left", show_lines=True, show_header=False
    )
    shown.add_column(no_wrap=True, style="bold")
    for name, line in lines.items():
        table = "\n".join(f"  {turn}: {who} {says}{f' -> {heard}' if heard else ''}" for turn, who, says, heard in line["table"])
        text = f"{line['about']}\n{line['on']}:\n{table}\nPaid: {line['paid']}.\nSource: {line['source']}."
        shown.add_row(escape(name), escape(text + (f"\nClass: {line['complexity']}." if line["complexity"] else "")))
    return shown


def _rules(name: str) -> dict[str, Any]:
    """A protocol's table on the first task it plays in the gallery, who is paid for what, its class and source."""
    text, spec = inspect.getdoc(protocols[name]) or "", gallery.shown_on(name)
    return {
        "on": f"{type(spec.task).__name__}, {spec.label}",
        "table": gallery.who_says_what(spec),
        "paid": gallery.labelled(text, "Paid"),
        "complexity": protocols[name].complexity,
        "source": gallery.labelled(text, "Source"),
    }


@app.command
def train(
    env_id: Positional[EnvId],
    config: OmitArgPrefixes[TrainConfig],
    protocol: Protocol = None,
    settings: Settings = (),
    claims: Annotated[int, arg(help="false claims (and as many true ones) the report is about")] = 2000,
    out: Annotated[Path | None, arg(help="new folder for report.json, figure.png, logs and checkpoint")] = None,
    resume: Annotated[Path | None, arg(help="checkpoint.pt of an interrupted run to go on from")] = None,
    json: Json = False,
) -> None:
    """Train players for every role, then report how far the verifier can be trusted.

    Phases follow one another, each an algorithm with its settings: by default imitation of honest and dishonest provers, then
    training against the best message the verifier's weaknesses allow. The report is about fresh statements: what the verifier
    accepts of true claims (completeness), of false claims from each scripted prover, and of false claims from the best message
    there is; under protocols in which no best response is searched for, what becomes of games the learned players play.
    """
    if resume is None:
        _refuse_existing(out)
    spec = _spec(env_id, protocol, settings)
    found = experiment(spec, config, out, claims=claims, resume=resume, progress=not json)
    if int(os.environ.get("RANK", "0")) > 0:
        return  # the first of several processes speaks for all
    if isinstance(found, Report):
        return _show(found, out, json)
    names = {role.name: "learned" for role in spec.roles if role.seat != "nature"}
    _print(*cli_games.became(found, spec, names, unsearched(spec)), None, json)


@app.command
def evaluate(
    who: Positional[Annotated[str, arg(metavar="CHECKPOINT_OR_AGENT", help="checkpoint.pt, or an agent such as reference")]],
    env: Annotated[str | None, arg(metavar="ENV_ID", help="the environment; a checkpoint's or a file's own if left out")] = None,
    protocol: Protocol = None,
    settings: Settings = (),
    players: Players = (),
    transcripts: Annotated[Path | None, arg(metavar="FILE.npz", help="judge these, which `pvg play --save` has written")] = None,
    against: Annotated[str | None, arg(metavar="CHECKPOINT_OR_AGENT", help="a second judge of the same transcripts")] = None,
    claims: Annotated[
        int | None,
        arg(help="false claims (and as many true ones), games, or transcripts the report is about; 2000, or the whole file"),
    ] = None,
    seed: Annotated[int, arg(help="decides the claims")] = 0,
    device: Annotated[str, arg(help="cpu or cuda")] = "cpu",
    out: Annotated[Path | None, arg(help="new folder for report.json (and figure.png of an attack report)")] = None,
    json: Json = False,
) -> None:
    """Measure a verifier: a trained one from its checkpoint, or a scripted one by name.

    Where the verdict follows one prover's messages, the report is of attacks: what the verifier accepts of true claims, and of
    false ones from each prover and from the best message there is. Of other protocols, and with --players, it is of played
    games: how often the verdict is right, by the side argued, what is said and what is paid. With --transcripts it is of what
    the verifier, and a second one beside it, make of games that were played before.
    """
    if env is None and (protocol is not None or settings):
        raise ValueError("--protocol and --set are of an environment: name it with --env")
    where = checked_device(device)
    asked = None if env is None else _spec(env, protocol, settings)
    _refuse_existing(out)
    if transcripts is not None:
        if players:
            raise ValueError(f"--players {' '.join(players)}: these transcripts are played already")
        judges = [who] if against is None else [who, against]
        return _print(*cli_games.swapped(transcripts, judges, asked, claims, seed, where), out, json)
    if against is not None:
        raise ValueError(f"--against {against}: it judges the same transcripts; give them with --transcripts")
    spec, seated = cli_games.seated(who, asked, where)
    claims = 2000 if claims is None else claims
    reason = unsearched(spec)
    if players or reason is not None:
        taken = {spec.roles[judge_of(spec)].name: f"{who} plays that role"}
        cast, names = cli_games.cast_of(spec, players, taken, seated, where)
        return _print(*cli_games.played(spec, cast, names, claims, seed, where, reason), out, json)
    verifier, prover = _verifier(who, spec, seated)
    report = measure(verifier, spec, claims=claims, seed=seed, device=device, prover=prover)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write(report, out / REPORT)
    _show(report, out, json)


@app.command
def attack(
    who: Positional[Annotated[str, arg(metavar="CHECKPOINT_OR_AGENT", help="checkpoint.pt, or an agent such as reference")]],
    env: Annotated[str | None, arg(metavar="ENV_ID", help="the environment; a checkpoint's own if left out")] = None,
    protocol: Protocol = None,
    settings: Settings = (),
    names: Annotated[
        tuple[str, ...], arg(name="attacks", metavar="NAME", help="which of them; `pvg list attacks` shows all; all if left out")
    ] = (),
    budget: Annotated[int, arg(help="verdict queries a claim that each attack may make, 100..1000000")] = 10_000,
    claims: Annotated[int, arg(help="false claims of the test split")] = 200,
    seed: Annotated[int, arg(help="decides the claims and every draw")] = 0,
    transfer_from: Annotated[
        tuple[Path, ...], arg(metavar="CHECKPOINT.pt", help="verifiers of other seeds, whose weaknesses are tried on this one")
    ] = (),
    train_games: Annotated[int, arg(help="games to train a prover against this verifier with; 0: none is trained")] = 25_600,
    device: Annotated[str, arg(help="cpu or cuda")] = "cpu",
    out: Annotated[Path | None, arg(help="new folder for report.json, figure.png and transcripts.npz of the games won")] = None,
    json: Json = False,
) -> None:
    """Attack a verifier with everything there is, at equal budgets: which false claims does it accept, and what finds them?

    The table shows attack success after 100, 1,000, ... verdict queries a claim, the union of all attacks for each claim, and
    beside it the exact value where there is one.
    """
    if env is None and (protocol is not None or settings):
        raise ValueError("--protocol and --set are of an environment: name it with --env")
    _refuse_existing(out)
    where = checked_device(device)
    spec, seated = cli_games.seated(who, None if env is None else _spec(env, protocol, settings), where)
    if (reason := unsearched(spec)) is not None:
        raise ValueError(reason)
    others = cli_attack.others(transfer_from, spec, device)
    settled: Any = {"names": names, "budget": budget, "claims": claims, "seed": seed, "others": others, "games": train_games}
    report = attack_all(_verifier(who, spec, seated)[0], spec, **settled, device=device)
    if out is not None:
        cli_attack.keep(report, out)
    if json:
        return _print_json(report.as_dict())
    console.print(attack_table(report))


@app.command
def play(
    env_id: Positional[EnvId],
    protocol: Protocol = None,
    role: Annotated[str | None, arg(help="your seat; the judge's if left out; `none` lets agents play them all")] = None,
    players: Players = (),
    games: Annotated[int, arg(help="how many")] = 5,
    settings: Settings = (),
    seed: Annotated[int | None, arg(help="decides the games; a fresh one if left out")] = None,
    save: Annotated[
        Path | None,
        arg(metavar="FILE.npz", help="new file for the games: statements, what was said, verdicts, truth; for `pvg evaluate`"),
    ] = None,
    json: Json = False,
) -> None:
    """Take a seat yourself, any of any protocol: read what is said, speak or judge, and see the truth after.

    With `--role none` agents play every seat, a thousand games as quickly as one, and what became of them is printed.
    """
    spec = _spec(env_id, protocol, settings)
    if save is not None:
        frozen.refuse_existing(save)
    seed = secrets.randbits(62) if seed is None else seed
    seat = None if role == "none" else seat_of(spec, role)
    taken = {} if seat is None else {spec.roles[seat].name: "that is your own seat; take another with --role, or none"}
    cast, names = cli_games.cast_of(spec, players, taken, {}, torch.device("cpu"))
    kept: frozen.Transcripts | None
    found: Any
    shown: Table | str
    if seat is None:
        kept, found, shown = cli_games.by_agents(spec, cast, names, games, seed)
    else:
        names[spec.roles[seat].name] = "person"
        show = partial(print, file=sys.stderr if json else sys.stdout)
        kept, found, shown = cli_games.by_person(spec, seat, cast, games, seed, show)
    if save is not None and kept is not None:
        frozen.save(save, dataclasses.replace(kept, provenance=frozen.about(spec, names, seed)))
        print(f"{len(kept):,} games written to {save}", file=sys.stderr)
    _print(found, shown, None, json)


def _print(found: Any, shown: Table | str, out: Path | None, as_json: bool) -> None:
    """What was found, for people or as JSON, and as JSON in the folder `out`."""
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / REPORT).write_text(json.dumps(found, indent=2, allow_nan=False) + "\n")
        print(f"written to {out}", file=sys.stderr)
    if as_json:
        _print_json(found)
    else:
        console.print(shown)


def _spec(env_id: str, protocol: str | None, settings: tuple[str, ...]) -> Spec:
    """The game of an id, under the sizes and settings asked for."""
    ids = {f"pvg/{name}-v0": name for name in tasks}
    if env_id not in ids:
        raise unknown("environment", env_id, ids, "`pvg list tasks`")
    kind: Any = tasks[ids[env_id]]
    asked = dict(setting.partition("=")[::2] for setting in settings)
    start: Any = kind.preset(asked.pop("preset")) if "preset" in asked else kind()
    proof = asked.pop("proof", None)
    rules_of: Any = type(default_protocol(start, proof)) if protocol is None else protocols[protocol]
    chosen = rules_of()
    sizes, rules = ([f.name for f in dataclasses.fields(thing)] for thing in (start, chosen))
    for name in asked:
        if name not in (*sizes, *rules):
            says = f"the documentation of {kind.__name__} and of {rules_of.__name__}"
            what = f"size of {kind.__name__} or setting of {rules_of.__name__}"
            raise unknown(what, name, [*rules, *sizes, "preset", "proof"], says)
    task, rules_chosen = (
        dataclasses.replace(thing, **{name: read(thing, name, text) for name, text in asked.items() if name in known})
        for thing, known in ((start, sizes), (chosen, set(rules) - set(sizes)))
    )
    return resolve(task, rules_chosen, proof)


def _verifier(who: str, spec: Spec, seated: Mapping[str, Agent]) -> tuple[Verifier, ProverNetwork | None]:
    """The verifier among those seated, as one that judges many messages at once, and the learned prover beside it."""
    provers = [player for player in seated.values() if isinstance(player, ProverNetwork)]
    learned = [player for player in seated.values() if isinstance(player, VerifierNetwork)]
    verifier = learned[0] if learned else ScriptedVerifier(spec, who, spec.roles[judge_of(spec)].name)
    return verifier, provers[0] if provers else None


def _refuse_existing(out: Path | None) -> None:
    if out is not None and out.exists() and any(out.iterdir()):
        raise ValueError(f"out={out}: the folder is not empty; choose a new one")


def _show(report: Report, out: Path | None, as_json: bool) -> None:
    if as_json:
        _print_json(report.as_dict())
    else:
        console.print(table(report))
    if out is not None:
        try:
            figure({report.env: report}, out / "figure.png")
        except ValueError as error:
            print(f"no figure: {error}", file=sys.stderr)
        print(f"written to {out}", file=sys.stderr)


def _print_json(thing: Any) -> None:
    sys.stdout.write(json.dumps(thing, indent=2, allow_nan=False) + "\n")


def _about(thing: Any) -> str:
    return gallery.about(str(getattr(thing, "about", None) or inspect.getdoc(thing) or ""))


def _dishonest() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in tasks:
        for proof in tasks[name]().rules.proofs.values():
            found |= dict.fromkeys(proof.dishonest, f"a dishonest prover of {name}")
    return {name: about for name, about in found.items() if name not in agents}


def main() -> None:
    """Run the command; what the user got wrong is one line and exit status 2.

    One thread, unless OMP_NUM_THREADS says otherwise: at these sizes a second gains little on an idle machine (6 s a default
    training run either way), and on a busy one waiting for it makes training 50 times slower.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)
    try:
        app.cli(prog="pvg", description=pvg.__doc__, config=(OmitSubcommandPrefixes,))
    except ValueError as error:
        sys.stderr.write(f"pvg: {error}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
