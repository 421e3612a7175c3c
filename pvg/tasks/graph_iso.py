"""GraphIso: whether two graphs are one graph under other names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from pvg.field import Field
from pvg.isomorphism import GraphPair, image, isomorphism, relabelling, swapped
from pvg.lane import draw, lane
from pvg.task import Proof, TaskRules, tasks, within


@tasks.register("GraphIso")
@dataclass(frozen=True)
class GraphIso(GraphPair):
    """Are two graphs on n nodes isomorphic?

    Statement: their adjacency matrices (`first`, `second`), dealt as `GraphPair` says.
    Proof `permutation`: the node of the second graph that each of the first becomes; completeness 1, soundness error 0.
    Proof `one_node_a_turn`: the verifier asks a node of the first graph, one it has not asked before, and is told its image,
    `rounds` times; it checks that the images are distinct and that edges among the nodes asked are kept. Completeness 1. The
    soundness error is 0 for `rounds` = n, whatever is known of the order of the questions: all answers together are a
    permutation. Below n no bound but 1 is stated; for 3, 4, 5 and 6 rounds on the graphs dealt at n = 7 the best prover is
    accepted about 98, 75, 42 and 15 % of the time.
    Proof `zero_knowledge`: `rounds` times the prover shows a copy of one of the graphs under new names (`shown`), the verifier
    tosses a coin, and the prover says which node of the graph it picks (0: the first) each of the copy is (`opened`). How the
    copy is made (`source`, `copied`: the node each of the copy is) is for the prover alone to know; what is not of use in a
    message is ignored. Completeness 1, soundness error (1/2)^rounds, exactly: nothing is a copy of both. The verifier sees what
    anyone makes who tosses the coin first and copies the graph it picks (`simulate`): nothing is learnt of the isomorphism.
    Source: in the style of Hammond & Adam-Day 2024 (sizes, edge probabilities and scores; a message is a node); Goldreich, Micali
    & Wigderson 1991 (zero knowledge).

    nodes: n, 2..11. scores, fresh, pool: see `GraphPair`. rounds: 1..n. Default: nodes=7, scores=(1, 2, 7), fresh=True,
    pool=16384, rounds=5. Preset hard: 11 nodes, 8 rounds.
    """

    presets: ClassVar = {"hard": {"nodes": 11, "rounds": 8}}

    rounds: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        within(self, "rounds", 1, self.nodes)

    def build(self) -> TaskRules:
        n, rounds, deal = self.nodes, self.rounds, self.dealer()
        identity = sum(i << 4 * i for i in range(n))

        @lane
        def sample(s: Any, tables: Any) -> None:
            s.truth = draw(s, 2)
            deal(s, tables, s.truth)

        @lane
        def check(s: Any, tables: Any, first: Any) -> Any:
            used = np.int64(0)
            for i in range(n):
                used |= np.int64(1) << s.said[first, i]
                for j in range(i):
                    if s.first[i, j] != s.second[s.said[first, i], s.said[first, j]]:
                        return 0
            return 1 if used == (1 << n) - 1 else 0

        @lane
        def honest(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            found = isomorphism(s.first, s.second, n)
            for i in range(n):
                out[i] = image(found, i) if found >= 0 else i

        @lane
        def not_a_permutation(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            for i in range(n):
                out[i] = draw(s, n)
            out[0] = out[n - 1]

        @lane
        def random_permutation(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            chosen = relabelling(s, n)
            for i in range(n):
                out[i] = image(chosen, i)

        @lane
        def wrong_at(s: Any, chosen: Any, i: Any, j: Any) -> Any:
            """How many pairs of node i and a node other than i and j a permutation maps wrongly."""
            wrong = 0
            for k in range(n):
                if k not in (i, j) and s.first[i, k] != s.second[image(chosen, i), image(chosen, k)]:
                    wrong += 1
            return wrong

        @lane
        def near_isomorphism(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            best = relabelling(s, n)
            for _ in range(4 * n):
                i = draw(s, n)
                j = (i + 1 + draw(s, n - 1)) % n
                other = swapped(best, i, j)
                if wrong_at(s, other, i, j) + wrong_at(s, other, j, i) <= wrong_at(s, best, i, j) + wrong_at(s, best, j, i):
                    best = other
            for i in range(n):
                out[i] = image(best, i)

        permutation = Proof(
            kinds={"message": (Field("image", n, (n,), ("node",), kind="node"),)},
            honest=honest,
            dishonest={
                "not_a_permutation": not_a_permutation,
                "random_permutation": random_permutation,
                "near_isomorphism": near_isomorphism,
            },
            check=check,
        )

        @lane
        def kept(s: Any, slot: Any, answer: Any) -> Any:
            """Whether an answer in a slot keeps what the answers before it have shown of the first graph."""
            node = s.said[slot - 1, 0]
            for before in range(1, slot, 2):
                v, w = s.said[before - 1, 0], s.said[before, 0]
                if (v == node) != (w == answer) or s.first[v, node] != s.second[w, answer]:
                    return False
            return True

        @lane
        def check_answers(s: Any, tables: Any, first: Any) -> Any:
            for slot in range(1, 2 * rounds, 2):
                if not kept(s, slot, s.said[slot, 0]):
                    return 0
            return 1

        @lane
        def ask(s: Any, tables: Any, slot: Any, out: Any) -> None:
            left, asked = draw(s, n - slot // 2), np.int64(0)
            for before in range(0, slot, 2):
                asked |= np.int64(1) << s.said[before, 0]
            for node in range(n):
                if (asked >> node) & 1 == 0:
                    if left == 0:
                        out[0] = node
                    left -= 1

        @lane
        def honest_answer(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            found = isomorphism(s.first, s.second, n)
            out[0] = image(found, s.said[slot - 1, 0]) if found >= 0 else 0

        @lane
        def random(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            out[0] = draw(s, n)

        @lane
        def degree_gap(s: Any, node: Any, answer: Any) -> Any:
            gap = 0
            for k in range(n):
                gap += s.first[node, k] - s.second[answer, k]
            return abs(gap)

        @lane
        def keeps_edges(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            shift, least, node = draw(s, n), n, s.said[slot - 1, 0]
            out[0] = shift
            for k in range(n):
                answer = (shift + k) % n
                if kept(s, slot, answer) and degree_gap(s, node, answer) < least:
                    out[0], least = answer, degree_gap(s, node, answer)

        one_node_a_turn = Proof(
            kinds={"question": (Field("asked", n, kind="node"),), "message": (Field("answer", n, kind="node"),)},
            script=("question", "message") * rounds,
            honest=honest_answer,
            dishonest={"random": random, "keeps_edges": keeps_edges},
            check=check_answers,
            ask=ask,
            soundness_error=0.0 if rounds == n else 1.0,
            exact=rounds == n,
        )

        @lane
        def commit(s: Any, source: Any, names: Any, out: Any) -> None:
            out[0] = source
            for i in range(n):
                out[1 + i], out[1 + n + i] = image(names, i), 0

        @lane
        def reveal(s: Any, committed: Any, map_of: Any, out: Any) -> None:
            """The node of the graph asked for that each of the copy is: those committed to, moved by a map."""
            out[0] = 0
            for i in range(n):
                out[1 + i], out[1 + n + i] = 0, image(map_of, np.int64(committed[1 + i]))

        @lane
        def show_copy(s: Any, tables: Any, slot: Any) -> None:
            if slot % 3 != 0:
                return
            for i in range(n):
                for j in range(n):
                    a, b = s.said[slot, 1 + i], s.said[slot, 1 + j]
                    s.shown[slot // 3, i, j] = s.first[a, b] if s.said[slot, 0] == 0 else s.second[a, b]

        @lane
        def honest_prover(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            if slot % 3 == 0:
                commit(s, 0, relabelling(s, n), out)
                return
            found = isomorphism(s.first, s.second, n) if s.said[slot - 1, 0] == 1 else np.int64(-1)
            reveal(s, s.said[slot - 2], found if found >= 0 else identity, out)

        @lane
        def anything(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            out[0] = draw(s, 2)
            for i in range(2 * n):
                out[1 + i] = draw(s, n)

        @lane
        def guess_of_the_coin(s: Any, tables: Any, side: Any, slot: Any, out: Any) -> None:
            if slot % 3 == 0:
                commit(s, draw(s, 2), relabelling(s, n), out)
            else:
                reveal(s, s.said[slot - 2], identity, out)

        @lane
        def toss(s: Any, tables: Any, slot: Any, out: Any) -> None:
            out[0] = draw(s, 2)

        @lane
        def check_maps(s: Any, tables: Any, first: Any) -> Any:
            for k in range(rounds):
                used = np.int64(0)
                for i in range(n):
                    a = s.said[3 * k + 2, 1 + n + i]
                    used |= np.int64(1) << a
                    for j in range(i):
                        b = s.said[3 * k + 2, 1 + n + j]
                        if s.shown[k, i, j] != (s.first[a, b] if s.said[3 * k + 1, 0] == 0 else s.second[a, b]):
                            return 0
                if used != (1 << n) - 1:
                    return 0
            return 1

        @lane
        def simulate(s: Any, tables: Any) -> None:
            for slot in range(0, 3 * rounds, 3):
                s.said[slot + 1, 0] = coin = draw(s, 2)
                commit(s, coin, relabelling(s, n), s.said[slot])
                show_copy(s, tables, slot)
                reveal(s, s.said[slot], identity, s.said[slot + 2])

        zero_knowledge = Proof(
            kinds={
                "message": (
                    Field("source", 2, kind="bit", seen_by=("prover",)),
                    Field("copied", n, (n,), ("node",), kind="node", seen_by=("prover",)),
                    Field("opened", n, (n,), ("node",), kind="node"),
                ),
                "question": (Field("coin", 2, kind="bit"),),
            },
            script=("message", "question", "message") * rounds,
            honest=honest_prover,
            dishonest={"anything": anything, "guess_of_the_coin": guess_of_the_coin},
            check=check_maps,
            ask=toss,
            fields=(Field("shown", 2, (rounds, n, n), ("round", "node", "node"), kind="bit", blank=True),),
            evidence=show_copy,
            soundness_error=0.5**rounds,
            simulate=simulate,
        )
        proofs = {"permutation": permutation, "one_node_a_turn": one_node_a_turn, "zero_knowledge": zero_knowledge}
        return TaskRules(sample, proofs)
