"""Exact solutions of small games in extensive form: equilibria, guarantees, and how far play is from them.

A `Tree` is built once from the lane code that is played, and everything here works on its arrays. Best responses and
expected returns are in `pvg.extensive_form`.

Measured on one core of an x86 server, compiled kernels at hand (bisection of Arith(operations=3, modulus=4), 1.8 million
positions, 370,000 decisions, 880,000 sequences): 400,000 positions a second to build the tree, at 240 bytes each; then 1.5 s for
backward induction, 6 s and another GB for the linear program, 1.5 s for exploitability, all but 0.04 s of which turn
strategies into arrays. A minute is enough for games of some 10 million positions, or 3 million with the linear program.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import csr_array, hstack

from pvg.enumerator import Floats, Player, Strategy, Symbols
from pvg.extensive_form import Bound, InformationSets, Tree, played, realisations, responded


class Solution(NamedTuple):
    """A subgame-perfect equilibrium.

    value: `role` (of the game). bound: "exact", or "restricted" where it is an equilibrium among the candidates only.
    """

    value: Floats
    strategies: dict[str, Strategy]
    bound: Bound


class Guarantee(NamedTuple):
    """What a role can be sure of: its maximin value, a strategy that attains it, and one of the other role that holds it to it.

    bound: of the unrestricted game's value: "lower" where the role's own utterances were restricted, "upper" where the
    other's were, "restricted" (neither) where both were.
    """

    value: float
    strategy: dict[bytes, dict[Symbols, float]]
    against: dict[bytes, dict[Symbols, float]]
    bound: Bound


class Exploitability(NamedTuple):
    """What each role would gain by a best response to the others' strategies, and their sum.

    bound: "lower" where a role with restricted utterances might gain more.
    """

    gain: dict[str, float]
    bound: Bound

    @property
    def nash_conv(self) -> float:
        """Zero in a Nash equilibrium, and only there."""
        return sum(self.gain.values())


def backward_induction(tree: Tree) -> Solution:
    """The subgame-perfect values and strategies of a game of perfect information, each role after its own payoff.

    Of utterances worth the same to a role it says the first; where others are not indifferent, their values depend on it.
    ValueError: an information set holds several positions, as where roles speak simultaneously.
    """
    for k, sets in enumerate(tree.sets):
        mine = np.flatnonzero(tree.player == k)
        sizes = np.bincount(tree.infoset[mine], minlength=1)
        if sizes.max() > 1:
            crowded = mine[tree.infoset[mine] == sizes.argmax()]
            same = tree.step[tree.node[tree.came[crowded[0]]]] == tree.step[crowded[0]]
            why = "it speaks simultaneously with another role" if same else "it does not see all that was dealt or said"
            raise ValueError(
                f"no perfect information: {sets.role!r} cannot tell {len(crowded)} positions apart at turn "
                f"{tree.states['turn'][crowded[0]]} ({why}); use sequence_form"
            )
    value = tree.payoff.copy()  # branch role
    mine = np.array([tree.enumerator.spec.role_index(role) for role in tree.roles] + [0])[tree.player]  # chance has one action
    for depth in range(int(tree.depth.max()), -1, -1):
        own = value[np.arange(len(value)), mine[tree.node]]
        best = np.flatnonzero(own == np.maximum.reduceat(own, tree.first)[tree.node])
        _, chosen = np.unique(tree.node[best], return_index=True)
        here = np.flatnonzero((tree.depth == depth) & (tree.player >= 0))
        np.add.at(value, tree.came[here], tree.chance[here, None] * value[best[chosen[here]]])
    strategies: dict[str, Strategy] = {}
    for k, sets in enumerate(tree.sets):
        behaviour = np.zeros(sets.sequences)
        behaviour[tree.sequence[best[chosen[tree.player == k]]]] = 1
        strategies[sets.role] = {known: next(iter(said)) for known, said in tree.strategy(sets.role, behaviour).items()}
    return Solution(value[0], strategies, "restricted" if tree.restricted else "exact")


def sequence_form(tree: Tree, role: str) -> Guarantee:
    """The maximin value of a role against the one other that decides, who is taken to want nothing but that the role gets little.

    In a zero-sum game that is its value, and the two strategies are a Nash equilibrium. Where the other is paid for something
    else (a prover for acceptance, a verifier for being right) it is what the role is guaranteed whatever the other does, at
    most what it gets in any equilibrium. Strategies are optimal from the deal on, not at positions they do not reach.
    max over x, q of q_0, where x >= 0 is a realisation plan (E x = e), F' q <= A x: Koller, Megiddo & von Stengel 1996.
    ValueError: not two roles decide, or one has no perfect recall. RuntimeError: the linear program was not solved.
    """
    k = tree.set_of(role)
    if len(tree.roles) != 2:
        raise ValueError(f"the sequence form is of two roles that decide, and here {len(tree.roles)} do: {', '.join(tree.roles)}")
    tree.refuse_forgetting()
    me, other = tree.sets[k], tree.sets[1 - k]
    payoff = tree.paid[:, tree.enumerator.spec.role_index(role)]
    a = csr_array((payoff, (tree.did[:, 1 - k], tree.did[:, k])), (other.sequences, me.sequences))
    plan, flow = _flow(me), _flow(other)  # information set (first, that of the empty sequence) x sequence
    free = csr_array((plan.shape[0], flow.shape[0]))
    cost = np.zeros(me.sequences + flow.shape[0])
    cost[me.sequences] = -1
    bounds = [(0, None)] * me.sequences + [(None, None)] * flow.shape[0]
    start = np.eye(1, plan.shape[0])[0]
    found = linprog(cost, hstack([-a, flow.T]), np.zeros(other.sequences), hstack([plan, free]), start, bounds, method="highs")
    if found.status:
        raise RuntimeError(f"{tree.enumerator.spec.task}: the linear program was not solved ({found.message})")
    mine, others = (_behaviour(s, x) for s, x in ((me, found.x[: me.sequences]), (other, -found.ineqlin.marginals)))
    return Guarantee(0.0 - found.fun, tree.strategy(role, mine), tree.strategy(other.role, others), tree.bound(role))


def exploitability(tree: Tree, players: Mapping[str, Player]) -> Exploitability:
    """How much each role that decides would gain by a best response, `players` playing all of them: NashConv, by role.

    Source: Lanctot et al. 2017 (NashConv). ValueError: as in `best_response`.
    """
    plans = realisations(tree, players)
    values = played(tree, plans) @ tree.paid
    gains = {role: responded(tree, role, plans)[0] - float(values[tree.enumerator.spec.role_index(role)]) for role in tree.roles}
    return Exploitability(gains, "lower" if tree.restricted else "exact")


def efg(tree: Tree) -> str:
    """The tree as text in Gambit's format for extensive forms, for other solvers; payoffs are of the roles that decide.

    Information sets carry their number in `tree.sets`, from 1. What a role is paid on the way is paid at the end, in
    expectation over chance. Source: Savani & Turocy, Gambit (the .efg format).
    """
    order = np.argsort(tree.came[1:], kind="stable") + 1
    bounds = np.searchsorted(tree.came[order], np.arange(len(tree.payoff) + 1))
    columns = [tree.enumerator.spec.role_index(role) for role in tree.roles]
    names = " ".join(f'"{role}"' for role in tree.roles)
    lines = [f'EFG 2 R "{tree.enumerator.spec.label}" {{ {names} }}', '""']
    waiting: list[tuple[str, int, NDArray[np.float64]]] = [("branch", 0, np.zeros(len(columns)))]
    while waiting:
        what, i, paid = waiting.pop()
        if what == "node":
            sets = tree.sets[tree.player[i]]
            actions = sets.actions[tree.infoset[i]]
            labels = " ".join(f'"{" ".join(map(str, action))}"' for action in actions.tolist())
            lines.append(f'p "" {tree.player[i] + 1} {tree.infoset[i] + 1} "" {{ {labels} }} 0')
            waiting += [("branch", tree.first[i] + j, paid) for j in range(len(actions) - 1, -1, -1)]
            continue
        if what == "branch":
            paid = paid + tree.payoff[i, columns]
            after = order[bounds[i] : bounds[i + 1]]
            over = 1 - tree.chance[after].sum()
            ends = int(over > 1e-12)
            if len(after) + ends > 1:
                chances = [*tree.chance[after].tolist(), *[float(over)] * ends]
                labels = " ".join(f'"{j}" {p!r}' for j, p in enumerate(chances))
                lines.append(f'c "" {i + 1} "" {{ {labels} }} 0')
            waiting += [("end", i, paid)] * ends + [("node", n, paid) for n in after[::-1].tolist()]
            continue
        lines.append(f't "" {i + 1} "" {{ {" ".join(map(repr, paid.tolist()))} }}')
    return "\n".join(lines) + "\n"


def _flow(sets: InformationSets) -> csr_array:
    """What makes a realisation plan: x_0 = 1, and what enters an information set leaves it. `1 + set, sequence`."""
    n, owner = len(sets.actions), sets.owner
    rows = np.concatenate([[0], 1 + np.arange(n), 1 + owner])
    columns = np.concatenate([[0], sets.parent, 1 + np.arange(len(owner))])
    return csr_array((np.repeat([1.0, -1.0, 1.0], [1, n, len(owner)]), (rows, columns)), (1 + n, sets.sequences))


def _behaviour(sets: InformationSets, plan: Floats) -> Floats:
    """The behaviour strategy of a realisation plan, uniform where the plan never comes."""
    plan, owner = np.maximum(plan, 0), sets.owner
    entering = np.bincount(owner, plan[1:], len(sets.actions))[owner]
    size = np.bincount(owner, minlength=len(sets.actions))[owner]
    share = np.divide(plan[1:], entering, out=1 / size, where=entering > 1e-9)
    return np.concatenate([[1.0], share])
