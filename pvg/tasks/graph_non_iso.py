"""GraphNonIso: whether two graphs differ by more than the names of their nodes, shown by telling their copies apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from pvg.field import Field
from pvg.isomorphism import GraphPair, image, isomorphism, relabelling
from pvg.lane import draw, lane
from pvg.task import Proof, TaskRules, tasks, within


@tasks.register("GraphNonIso")
@dataclass(frozen=True)
class GraphNonIso(GraphPair):
    """Are two graphs on n nodes not isomorphic?

    Statement: their adjacency matrices (`first`, `second`), dealt as `GraphPair` says.
    Proof `private_coin`: the verifier tosses a coin that nobody else sees; the graph it picks is shown under new names
    (`challenge`), and the prover says which it is; `rounds` times. Completeness 1; soundness error (1/2)^rounds, exactly and
    for every prover, since copies of isomorphic graphs are equally distributed. It is 1 if the coin leaks. The verifier is told
    its own coins (`simulate`): zero knowledge, as long as it shows nothing but copies it has made.
    Source: Goldreich, Micali & Wigderson 1986; graphs in the style of Hammond & Adam-Day 2024.

    nodes: n, 2..11. scores, fresh, pool: see `GraphPair`. rounds: 1..16. Default: nodes=7, scores=(1, 2, 7), fresh=True,
    pool=16384, rounds=2. Preset hard: 11 nodes, 4 rounds.
    """

    presets: ClassVar = {"hard": {"nodes": 11, "rounds": 4}}

    rounds: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        within(self, "rounds", 1, 16)

    def build(self) -> TaskRules:
        n, rounds, deal = self.nodes, self.rounds, self.dealer()

        @lane
        def sample(s: Any, tables: Any) -> None:
            s.truth = draw(s, 2)
            deal(s, tables, 1 - s.truth)

        @lane
        def ask(s: Any, tables: Any, slot: Any, out: Any) -> None:
            out[0] = draw(s, 2)

        @lane
        def evidence(s: Any, tables: Any, slot: Any) -> None:
            if slot % 2 == 1:
                return
            names = relabelling(s, n)
            for i in range(n):
                for j in range(n):
                    bit = s.first[i, j] if s.said[slot, 0] == 0 else s.second[i, j]
                    s.challenge[slot // 2, image(names, i), image(names, j)] = bit

        @lane
        def check(s: Any, tables: Any, first: Any) -> Any:
            for slot in range(0, 2 * rounds, 2):
                if s.said[slot, 0] != s.said[slot + 1, 0]:
                    return 0
            return 1

        @lane
        def honest(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            out[0] = 0 if isomorphism(s.first, s.challenge[slot // 2], n) >= 0 else 1

        @lane
        def random(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            out[0] = draw(s, 2)

        @lane
        def keeps_most_places(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            first, second = np.int64(0), np.int64(0)
            for i in range(n):
                for j in range(n):
                    first += s.challenge[slot // 2, i, j] == s.first[i, j]
                    second += s.challenge[slot // 2, i, j] == s.second[i, j]
            out[0] = 0 if first > second else (1 if second > first else draw(s, 2))

        @lane
        def simulate(s: Any, tables: Any) -> None:
            for slot in range(0, 2 * rounds, 2):
                s.said[slot, 0] = s.said[slot + 1, 0] = draw(s, 2)
                evidence(s, tables, slot)

        private_coin = Proof(
            kinds={
                "question": (Field("coin", 2, kind="bit", seen_by=("verifier",)),),
                "message": (Field("guess", 2, kind="bit"),),
            },
            script=("question", "message") * rounds,
            honest=honest,
            dishonest={"random": random, "keeps_most_places": keeps_most_places},
            check=check,
            ask=ask,
            fields=(Field("challenge", 2, (rounds, n, n), ("round", "node", "node"), kind="bit", blank=True),),
            evidence=evidence,
            noisy=True,
            soundness_error=0.5**rounds,
            simulate=simulate,
        )
        return TaskRules(sample, {"private_coin": private_coin})
