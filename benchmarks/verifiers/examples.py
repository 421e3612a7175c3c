"""Games to look at: what was stated, said and decided, and where the first wrong step is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pvg.agents.attacks.report import AttackReport
from pvg.agents.claims import seats
from pvg.frozen import Transcripts, record
from pvg.game import Game
from pvg.metrics import coins
from pvg.spec import Spec
from pvg.transcript import transcript
from pvg.verifier import Judging, Verifier

DEALT, PLAYED, WON = 32, 2, 4  # games to choose from, and how many of each truth, and of those won by attacks, are shown


def examples(verifier: Verifier, spec: Spec, seed: int, found: AttackReport) -> list[dict[str, Any]]:
    """True claims argued honestly, false ones argued by scripted provers, and false ones that an attack made the verifier accept.

    Each a dict: statement, said (who, text), evidence, verdict, probability, truth, first_wrong_step (from 0; None: none, or the
    proof lists no steps), by (the prover or the attack), queries (an attack's).
    """
    game = Game(replace(spec, split="test"), DEALT, seed=seed)
    judge = Judging(verifier, lambda n: coins(seed, n))
    kept = record(game, game.players({spec.roles[seats(spec).verifier].name: judge}))
    truth = kept.game().field("truth")
    chosen = [int(lane) for side in (1, 0) for lane in (truth == side).nonzero()[:PLAYED, 0]]
    played = [shown(kept, lane, "the honest prover" if truth[lane] == 1 else "a scripted prover") for lane in chosen]
    if found.transcripts is None:
        return played
    return played + [shown(found.transcripts, i, won.attack, won.queries) for i, won in enumerate(found.won[:WON])]


def shown(games: Transcripts, lane: int, by: str, queries: int | None = None) -> dict[str, Any]:
    """One game, in parts."""
    spec, one = games.spec, games.game()
    roles = {role.name for role in spec.roles}
    parts: dict[str, list[Any]] = {"statement": [], "said": [], "evidence": []}
    for line in transcript(one, lane).splitlines():
        label, _, text = line.partition(": ")
        if label in roles:
            parts["said"].append([label, text])
        elif label == "evidence":
            parts["evidence"].append(text)
        elif label not in ("verdict", "truth", "forfeit"):
            parts["statement"].append(line)
    wrong = int(games.first_wrong_step[lane].max(initial=-1))
    return {
        "statement": "\n".join(parts["statement"]),
        "said": parts["said"],
        "evidence": parts["evidence"],
        "verdict": int(one.field("verdict")[lane]),
        "probability": round(float(one.field("belief")[lane]), 4),
        "truth": int(one.field("truth")[lane]),
        "first_wrong_step": None if wrong < 0 else wrong,
        "by": by,
        "queries": queries,
    }
