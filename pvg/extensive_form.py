"""A small game in extensive form, built once from the lane code that is played: its tree as arrays, and play on it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pvg.agent import LaneAgent
from pvg.enumerator import ROWS, Enumerator, Floats, Integers, Player, State, Symbols, keys_of, utterances

Bound: TypeAlias = Literal["exact", "lower", "upper", "restricted"]


@dataclass
class InformationSets:
    """A role's information sets in the order they are found, and the sequences of its own choices that lead through them.

    Sequence 0 is the empty one; sequence first[i] + a ends in action a of set i. parent[i]: the sequence that leads to set i,
    by perfect recall the only one. actions[i]: what may be said there, `A position`.
    """

    role: str
    information: list[bytes] = field(default_factory=list)
    actions: list[NDArray[np.int32]] = field(default_factory=list)
    parent: Integers = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    first: Integers = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    depth: Integers = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    @property
    def sequences(self) -> int:
        return 1 + sum(map(len, self.actions))

    @property
    def owner(self) -> Integers:
        """The set of each sequence but the empty one."""
        return np.repeat(np.arange(len(self.actions)), [len(actions) for actions in self.actions])


# Positions between two steps: the branch taken at the last decision, and the probability of chance since.
_Positions: TypeAlias = tuple[State, Integers, Floats]


class _Paths(NamedTuple):
    """Positions at which something is being said: as in _Positions, and what is."""

    state: State
    branch: Integers
    chance: Floats
    mail: State

    def at(self, index: Any, p: Any = 1.0) -> _Paths:
        return _Paths(self.state[index], self.branch[index], self.chance[index] * p, self.mail[index])


class Tree:
    """A game in extensive form: built once by the kernels, solved on arrays.

    roles: who decides; `players` play the others, and are part of chance with the game's own draws. given: only deals for which
    it holds (of one record), with their conditional probabilities. candidates(state, role): the utterances a role considers at a
    position, None for all; the same wherever the role cannot tell positions apart. What a restricted role attains is a lower
    bound of what it could, and what is attained against it an upper bound.
    limit: the most positions (dealt, decided at, reached by a step).

    Simultaneous utterances are successive decisions, of which the later do not see the earlier. Nodes are decisions, numbered
    after their parents; node 0 is the deal, with one action, that of chance. A branch is an action at a node.

    Arrays: infoset `node` (within its player's), player `node` (index in roles, -1 for the deal), came `node` (the branch that
    leads to it), chance `node` (its probability then), first `node` (its first branch), step `node` (of the game); payoff
    `branch role` (all roles of the game; expected, from the action to the next decisions).

    ValueError: the limit, what a player cannot say, candidates that give away what their role does not know.
    Source: Kuhn 1953; sequences, von Stengel 1996.
    """

    def __init__(
        self,
        enumerator: Enumerator,
        roles: Iterable[str],
        players: Mapping[str, Player] | None = None,
        given: Callable[[State], bool] | None = None,
        candidates: Callable[[State, str], Iterable[Symbols] | None] | None = None,
        limit: int = 5_000_000,
    ) -> None:
        spec = enumerator.spec
        self.enumerator, self.roles, self.limit = enumerator, tuple(roles), limit
        self.restricted: frozenset[str] = frozenset()
        self.positions = 0
        self.sets = [InformationSets(name) for name in self.roles]
        self._mine = [spec.role_index(name) for name in self.roles]
        self._cast = {spec.role_index(name): player for name, player in (players or {}).items()}
        self._cast = {role: player for role, player in self._cast.items() if role not in self._mine}
        absent = [role.name for i, role in enumerate(spec.roles) if i not in self._mine and i not in self._cast]
        if absent:
            raise ValueError(f"nobody plays {absent}: they are neither among the roles {self.roles} nor among the players")
        self._candidates = candidates
        self._known: list[dict[bytes, int]] = [{} for _ in self.roles]
        self._menus: dict[tuple[Any, ...], NDArray[np.int32]] = {}
        self._found: list[tuple[Any, ...]] = []  # nodes, some at a time
        self._paid: list[tuple[Integers, Floats]] = []
        self._branches, step = 1, 0
        waiting = self._deals(given)
        while waiting:
            waiting = [onward for group, acting in self._groups(waiting) for onward in self._say(group, acting, step)]
            step += 1
        self._number()

    @property
    def nodes(self) -> int:
        """How many decisions there are, the deal included."""
        return len(self.player)

    def set_of(self, role: str) -> int:
        """The index of a role among those who decide."""
        if role not in self.roles:
            raise ValueError(f"role {role!r} does not decide in this tree: {', '.join(self.roles)} do")
        return self.roles.index(role)

    def bound(self, role: str) -> Bound:
        """What a value that is the better for a role, the worse for the others, is of that of the unrestricted game."""
        if not self.restricted:
            return "exact"
        if role not in self.restricted:
            return "upper"
        return "lower" if self.restricted == {role} else "restricted"

    def refuse_forgetting(self) -> None:
        """ValueError where a role does not remember what it did: the sequence form is for perfect recall."""
        for k, sets in enumerate(self.sets):
            mine = np.flatnonzero(self.player == k)
            lost = mine[self.last[mine, k] != sets.parent[self.infoset[mine]]]
            if len(lost):
                known = self.enumerator.shown(sets.information[self.infoset[lost[0]]], self._mine[k])
                raise ValueError(
                    f"{sets.role!r} has no perfect recall: it knows the same ({known}) after different choices of its own"
                )

    def behaviour(self, role: str, player: Player) -> Floats:
        """The probability of every action at its information set, `sequence` (1 for the empty one).

        ValueError: it says what the role is not offered, or tells positions apart that the role cannot.
        """
        k = self.set_of(role)
        sets, mine = self.sets[k], np.flatnonzero(self.player == k)
        _, first = np.unique(self.infoset[mine], return_index=True)
        asked = mine if isinstance(player, LaneAgent) else mine[first]  # a script reads the whole record
        out = np.zeros(sets.sequences)
        out[0] = 1
        told: list[tuple[Integers, Integers, Floats]] = []
        for turn in np.unique(self.states["turn"][asked]):
            nodes = asked[self.states["turn"][asked] == turn]
            index, p, said = self.enumerator.all_sayings(self.states[nodes], self._mine[k], player)
            told.append((nodes[index], self._sequences(k, nodes[index], said), p))
        for nodes, sequence, p in told:
            here = np.isin(nodes, mine[first])
            out[sequence[here]] = p[here]
        for nodes, sequence, p in told:
            if (np.abs(out[sequence] - p) > 1e-9).any():
                at = nodes[np.abs(out[sequence] - p) > 1e-9][0]
                known = self.enumerator.shown(sets.information[self.infoset[at]], self._mine[k])
                raise ValueError(f"{getattr(player, 'name', player)!r} as {role!r} tells apart what the role cannot ({known})")
        return out

    def strategy(self, role: str, behaviour: Floats) -> dict[bytes, dict[Symbols, float]]:
        """A behaviour strategy `sequence` by information: what is said with positive probability."""
        sets = self.sets[self.set_of(role)]
        out: dict[bytes, dict[Symbols, float]] = {known: {} for known in sets.information}
        said = 1 + np.flatnonzero(behaviour[1:])
        for i, sequence in zip(sets.owner[said - 1].tolist(), said.tolist(), strict=True):
            symbols = sets.actions[i][sequence - sets.first[i]].tolist()
            out[sets.information[i]][(*symbols,)] = float(behaviour[sequence])
        return out

    def _deals(self, given: Callable[[State], bool] | None) -> list[_Positions]:
        parts = []
        for p, states in self.enumerator.all_deals():
            self._count(len(p), 0)
            if given is not None:
                held = np.array([bool(given(states[i : i + 1])) for i in range(len(p))])
                p, states = p[held], states[held]
            parts.append((states, np.zeros(len(p), dtype=np.int64), p))
        total = sum(p.sum() for *_, p in parts)
        if total == 0:
            raise ValueError("given: it holds for no deal")
        return [(states, deal, p / total) for states, deal, p in parts]

    def _groups(self, found: list[_Positions]) -> Iterator[tuple[_Paths, list[int]]]:
        """Positions at which the same roles speak in the same turn; who decides first, for whom the others are chance."""
        states, branch, chance = (np.concatenate(part) for part in zip(*found, strict=True))
        keys = states["turn"].astype(np.int64) * 256 + states["speaker"]
        for key in np.unique(keys):
            group = np.flatnonzero(keys == key)
            acting = sorted(self.enumerator.acting(states[group[:1]]), key=lambda role: role not in self._mine)
            for i in range(0, len(group), ROWS):
                some = group[i : i + ROWS]
                mail = np.zeros(len(some), self.enumerator.spec.mail)
                yield _Paths(states[some], branch[some], chance[some], mail), acting

    def _say(self, paths: _Paths, acting: list[int], step: int) -> Iterator[_Positions]:
        """Positions after a step, some at a time, once those who are still to speak have said all they may."""
        decides = bool(acting) and acting[0] in self._mine
        many = math.prod(self.enumerator.alphabet(paths.state, acting[0])) if decides and self._candidates is None else 1
        if len(paths.branch) > max(1, ROWS // many):
            size = max(1, ROWS // many)
            for i in range(0, len(paths.branch), size):
                yield from self._say(paths.at(slice(i, i + size)), acting, step)
        elif decides:
            yield from self._say(self._decide(paths, acting[0], step), acting[1:], step)
        elif acting:
            index, p, said = self.enumerator.all_sayings(paths.state, acting[0], self._cast[acting[0]])
            onward = paths.at(index, p)
            onward.mail["act"][:, acting[0], : said.shape[1]] = said
            yield from self._say(onward, acting[1:], step)
        else:
            for index, p, after, mail in self.enumerator.all_steps(paths.state, paths.mail):
                self._count(len(p), step + 1)
                onward = paths.at(index, p)
                self._paid.append((onward.branch, onward.chance[:, None] * mail["reward"]))
                on = after["turn"] >= 0
                if on.any():
                    yield after[on], onward.branch[on], onward.chance[on]

    def _decide(self, paths: _Paths, role: int, step: int) -> _Paths:
        """A node for every position, and the positions once each of its actions is taken."""
        k = self._mine.index(role)
        sets, known = self.sets[k], self._known[k]
        everything = self._menu(tuple(self.enumerator.alphabet(paths.state, role)))
        infoset = []
        for i, key in enumerate(keys_of(self.enumerator.observed(paths.state, role))):
            menu = everything if self._candidates is None else self._offered(paths.state[i : i + 1], k, everything)
            if key not in known:
                known[key] = len(known)
                sets.information.append(key)
                sets.actions.append(menu)
            elif sets.actions[known[key]] is not menu:
                raise ValueError(f"candidates: {sets.role!r} is offered different utterances at positions it cannot tell apart")
            infoset.append(known[key])
        size = np.array([len(sets.actions[i]) for i in infoset])
        self._count(len(size) + int(size.sum()), step, final=False)
        self._count(len(size), step)
        self._found.append(
            (np.full(len(size), k), infoset, paths.branch, paths.chance, size, np.full(len(size), step), paths.state)
        )
        onward = paths.at(np.repeat(np.arange(len(size)), size))
        said = np.concatenate([sets.actions[i] for i in infoset])
        onward.mail["act"][:, role, : said.shape[1]] = said
        branch = self._branches + np.arange(len(said))
        self._branches += len(said)
        return onward._replace(branch=branch, chance=np.ones(len(said)))

    def _menu(self, key: tuple[Any, ...]) -> NDArray[np.int32]:
        """What may be said: with an alphabet, or just the utterances that are listed. Equal ones are one object."""
        if key not in self._menus:
            if isinstance(key[0], int) and math.prod(key) > self.limit:
                raise ValueError(f"limit={self.limit}: {self._game} has {math.prod(key)} utterances to choose from at once")
            self._menus[key] = utterances(key) if isinstance(key[0], int) else np.array(key, dtype=np.int32)
        return self._menus[key]

    def _offered(self, state: State, k: int, everything: NDArray[np.int32]) -> NDArray[np.int32]:
        assert self._candidates is not None
        some = self._candidates(state, self.roles[k])
        listed = everything if some is None else self._menu(tuple(sorted({tuple(map(int, symbols)) for symbols in some})))
        if len(listed) < len(everything):
            self.restricted |= {self.roles[k]}
        return listed

    def _sequences(self, k: int, nodes: Integers, said: NDArray[np.int32]) -> Integers:
        """The sequence that ends in saying `said[i]` at node nodes[i]."""
        sets, places = self.sets[k], {}
        out = np.empty(len(nodes), dtype=np.int64)
        for i, (infoset, symbols) in enumerate(zip(self.infoset[nodes].tolist(), map(tuple, said.tolist()), strict=True)):
            menu = sets.actions[infoset]
            if id(menu) not in places:
                places[id(menu)] = {tuple(action): a for a, action in enumerate(menu.tolist())}
            if symbols not in places[id(menu)]:
                raise ValueError(
                    f"strategy of {sets.role!r}: it says {symbols}, which is not among the {len(menu)} utterances offered"
                )
            out[i] = sets.first[infoset] + places[id(menu)][symbols]
        return out

    @property
    def _game(self) -> str:
        return f"{self.enumerator.spec.task} under {self.enumerator.spec.protocol}"

    def _count(self, more: int, step: int, final: bool = True) -> None:
        """Refuse what is past the limit, before it is made where that can be known."""
        if self.positions + more > self.limit:
            raise ValueError(
                f"limit={self.limit}: {self._game} has at least {self.positions + more} positions by step {step}; "
                "a smaller task, fewer roles that decide, or candidates make it smaller"
            )
        self.positions += more if final else 0

    def _number(self) -> None:
        """The arrays, once all is found."""
        blank = np.zeros(1, self.enumerator.spec.dtype)
        root = ([-1], [0], [-1], [1.0], [1], [-1], blank)
        columns = [np.concatenate(column) for column in zip(root, *self._found, strict=True)]
        self.player, self.infoset, self.came, self.chance, size, self.step, self.states = columns
        self.first = np.cumsum(size) - size
        self.node = np.repeat(np.arange(len(size)), size)  # of each branch
        self.sequence = np.arange(self._branches) - self.first[self.node]  # of each branch, within its player's
        for k, sets in enumerate(self.sets):
            sizes = np.array([len(actions) for actions in sets.actions], dtype=np.int64)
            sets.first = 1 + np.cumsum(sizes) - sizes
            mine = self.player[self.node] == k
            self.sequence[mine] += sets.first[self.infoset[self.node[mine]]]
        self.depth, self.reach = np.zeros(len(size), dtype=np.int64), np.ones(len(size))
        self.last = np.zeros((len(size), len(self.roles)), dtype=np.int64)  # each role's sequence so far
        low = 1
        for _, _, came, chance, *_ in self._found:
            here, up = np.arange(low, low + len(came)), self.node[came]
            self.depth[here], self.reach[here], self.last[here] = self.depth[up] + 1, self.reach[up] * chance, self.last[up]
            moved = self.player[up] >= 0
            self.last[here[moved], self.player[up[moved]]] = self.sequence[came[moved]]
            low += len(came)
        for k, sets in enumerate(self.sets):
            mine = np.flatnonzero(self.player == k)
            sets.parent = np.zeros(len(sets.actions), dtype=np.int64)
            sets.parent[self.infoset[mine[::-1]]] = self.last[mine[::-1], k]
            owner, depths = sets.owner, [0] * len(sets.actions)
            for i, parent in enumerate(sets.parent.tolist()):
                depths[i] = depths[owner[parent - 1]] + 1 if parent else 0
            sets.depth = np.array(depths, dtype=np.int64)
        branch = np.concatenate([branch for branch, _ in self._paid])
        reward = np.concatenate([reward for _, reward in self._paid])
        self.payoff = np.stack([np.bincount(branch, column, self._branches) for column in reward.T], axis=1)
        paying = np.flatnonzero(self.payoff.any(axis=1))
        at = self.node[paying]
        # The payoffs once more, as a table over what each role did: all that solvers for perfect recall need.
        self.did = self.last[at]  # entry role
        moved = self.player[at] >= 0
        self.did[moved, self.player[at[moved]]] = self.sequence[paying[moved]]
        self.paid = self.reach[at, None] * self.payoff[paying]  # entry role
        del self._found, self._paid, self._known


def realisation(sets: InformationSets, behaviour: Floats) -> Floats:
    """A role's realisation plan, `sequence`: the product of its own probabilities along each sequence."""
    plan, owner = behaviour.copy(), sets.owner
    for depth in range(1, int(sets.depth.max(initial=0)) + 1):
        here = 1 + np.flatnonzero(sets.depth[owner] == depth)
        plan[here] *= plan[sets.parent[owner[here - 1]]]
    return plan


def realisations(tree: Tree, players: Mapping[str, Player], but: str | None = None) -> list[Floats]:
    """The realisation plan of every role's player; all ones for the role `but`, whose part is left open."""
    tree.refuse_forgetting()
    absent = [role for role in tree.roles if role not in players and role != but]
    if absent:
        raise ValueError(f"nobody plays {absent}")
    return [
        np.ones(sets.sequences) if sets.role == but else realisation(sets, tree.behaviour(sets.role, players[sets.role]))
        for sets in tree.sets
    ]


def played(tree: Tree, plans: list[Floats]) -> Floats:
    """The probability, but for chance, that each payoff of the table is reached: `entry`, from a realisation plan a role."""
    return np.asarray(np.prod([np.ones(len(tree.did)), *(plan[tree.did[:, k]] for k, plan in enumerate(plans))], axis=0))


def responded(tree: Tree, role: str, plans: list[Floats]) -> tuple[float, Floats]:
    """The value and behaviour `sequence` (pure) of a role's best response to the others' realisation plans."""
    k = tree.set_of(role)
    sets = tree.sets[k]
    others = played(tree, [np.ones_like(plan) if i == k else plan for i, plan in enumerate(plans)])
    worth = np.bincount(tree.did[:, k], others * tree.paid[:, tree.enumerator.spec.role_index(role)], sets.sequences)
    behaviour = np.zeros(sets.sequences)
    behaviour[0] = 1
    if sets.actions:
        for depth in range(int(sets.depth.max()), -1, -1):
            here = np.flatnonzero(sets.depth == depth)
            best = np.maximum.reduceat(worth, sets.first)
            worth += np.bincount(sets.parent[here], best[here], sets.sequences)
        best = np.maximum.reduceat(worth, sets.first)
        attains = np.flatnonzero(worth[1:] == best[sets.owner])
        _, chosen = np.unique(sets.owner[attains], return_index=True)
        behaviour[1 + attains[chosen]] = 1
    return float(worth[0]), behaviour


def expected_return(tree: Enumerator | Tree, players: Mapping[str, Player]) -> Floats:
    """Each role's exact expected return, `role` (of the game), for players of all roles, or of all that decide in a tree."""
    built = Tree(tree, (), players) if isinstance(tree, Enumerator) else tree
    return np.asarray(played(built, realisations(built, players)) @ built.paid)


def best_response(
    tree: Enumerator | Tree, role: str, players: Mapping[str, Player], given: Callable[[State], bool] | None = None
) -> tuple[float, dict[bytes, Symbols]]:
    """The most a role can expect against fixed players, and a strategy that attains it: information -> symbols.

    Where several utterances are worth the same, the first is said. A lower bound where a tree restricts the role's utterances.
    given: only over deals for which it holds (the value is conditional on them); a tree was built with its own.
    ValueError: a role has no perfect recall (an observation that holds the transcript makes sure of it).
    """
    if isinstance(tree, Tree) and given is not None:
        raise ValueError("given: a tree is built for its deals; give it to Tree")
    built = Tree(tree, (role,), players, given) if isinstance(tree, Enumerator) else tree
    value, behaviour = responded(built, role, realisations(built, players, but=role))
    return value, {known: next(iter(said)) for known, said in built.strategy(role, behaviour).items()}
