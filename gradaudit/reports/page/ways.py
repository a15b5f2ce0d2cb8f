"""The way from the loss to each variable, or to the place where it breaks and on from there, op by op."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from gradaudit.graph.report import Audit
from gradaudit.graph.verdicts import Cause, Verdict
from gradaudit.reports.walks import Ways, ways_of

_VISITS = 3_000_000
"""As many ops are looked at for the ways beyond breaks: a model has thousands of ops, and may have many breaks."""


@dataclass(frozen=True)
class Step:
    """One tensor on a way. `above` is the number of the step before it, -1 for the first."""

    node: str
    above: int
    is_broken: bool
    """Whether no gradient gets from the step before it to this one."""


Above = Mapping[str, "str | None"]
"""For each node that a search found the one before it, None for where it began."""


@dataclass
class Tree:
    """Ways that share their beginnings: a step is kept once, whoever's way it is on."""

    steps: list[Step] = field(default_factory=list)
    ends: dict[str, int] = field(default_factory=dict)
    """The last step of the way to each variable, by its path; one that has none is left out."""

    def add(self, end: str, above: Above, known: dict[str, int], first: int = -1, *, is_broken: bool = False) -> int:
        """Add the way that a search found to a node, and return the number of its last step.

        `known` are the steps of the same search so far. The way goes on from the step `first`; broken, where it does.
        """
        new = []
        node: str | None = end
        while node is not None and node not in known:
            new.append(node)
            node = above.get(node)
        number = first if node is None else known[node]
        for each in reversed(new):
            self.steps.append(Step(each, number, is_broken and number == first))
            number = known[each] = len(self.steps) - 1
        return number


def ways_to_variables(audit: Audit) -> Tree:
    """The shortest ways along which a gradient comes to the variables, or would if nothing broke them."""
    ways = ways_of(audit.graph)
    nodes = {path: node for node, path in audit.graph.nodes(data="path") if path is not None}
    above = _above(audit, ways)
    tree = Tree()
    known: dict[str, int] = {}
    cut_off: dict[Cause, list[Verdict]] = {}
    for verdict in audit.variables:
        if verdict.cause is not None and (verdict.cause.chain or verdict.cause.outputs):
            cut_off.setdefault(verdict.cause, []).append(verdict)
        elif verdict.cause is not None and verdict.cause.kind == "dead-end" and verdict.path in nodes:
            tree.ends[verdict.path] = tree.add(nodes[verdict.path], _from_dead_end(audit, nodes[verdict.path]), {})
        elif nodes.get(verdict.path) in above:
            tree.ends[verdict.path] = _add_live(tree, verdict, nodes[verdict.path], above, known)
    _add_broken(tree, audit, ways, nodes, cut_off)
    return tree


def _add_live(tree: Tree, verdict: Verdict, node: str, above: Above, known: dict[str, int]) -> int:
    """Add a way that no op breaks. What is disconnected all the same is not watched: its way breaks at the variable."""
    before = above[node]
    if verdict.status != "disconnected" or before is None:
        return tree.add(node, above, known)
    return tree.add(node, {node: None}, {}, tree.add(before, above, known), is_broken=True)


def _from_dead_end(audit: Audit, variable: str) -> Above:
    """The way down to a variable from the nearest value computed from it that nobody takes."""
    below: dict[str, str | None] = {variable: None}
    waiting = [variable]
    for node in waiting:  # grows while it is walked
        readers = [reader for reader in audit.graph.pred[node] if reader not in below]
        if not audit.graph.pred[node]:
            return _upwards(tuple(_chain(node, below)))
        below.update(dict.fromkeys(readers, node))
        waiting += readers
    return {variable: None}


def _chain(node: str | None, below: Above) -> Iterator[str]:
    while node is not None:
        yield node
        node = below[node]


def _above(audit: Audit, ways: Ways) -> dict[str, str | None]:
    """For each node that a gradient reaches the one before it, from a task term where there is one."""
    kinds = {node: facts.get("term_kind", "task") for node, facts in audit.graph.nodes(data=True)}
    terms = [node for node, kind in audit.graph.nodes(data="kind") if kind == "term"]
    objectives = [node for node, kind in audit.graph.nodes(data="kind") if kind == "objective"]
    found: dict[str, str | None] = dict.fromkeys(objectives)
    for node in terms:
        found[node] = next(iter(audit.graph.pred[node]), None)
    _search(ways, [node for node in terms if kinds[node] == "task"], found)
    _search(ways, [node for node in terms if kinds[node] != "task"], found)
    _search(ways, objectives, found)
    return found


def _search(ways: Ways, starts: list[str], found: dict[str, str | None]) -> None:
    """Note for each node that is reached along passing edges from where, nearest first."""
    waiting = list(starts)
    for node in waiting:  # grows while it is walked: a breadth-first search
        for below, passes in ways.get(node, ()):
            if passes and below not in found:
                found[below] = node
                waiting.append(below)


def _add_broken(
    tree: Tree, audit: Audit, ways: Ways, nodes: dict[str, str], cut_off: dict[Cause, list[Verdict]]
) -> None:
    """Add the ways to what a break or a dead end cuts off: what the cause knows, and on from there."""
    named: dict[str, list[str]] = {}
    for node, name in audit.graph.nodes(data="output"):
        if name:
            named.setdefault(name, []).append(node)
    left = _VISITS
    for cause, verdicts in cut_off.items():
        starts = list(cause.chain[-1:]) or [node for output in cause.outputs for node in named.get(output, ())]
        wanted = {nodes[verdict.path] for verdict in verdicts if verdict.path in nodes}
        above, visits = _down(ways, starts, wanted, left)
        left -= visits
        first = tree.add(cause.chain[-2], _upwards(cause.chain), {}) if len(cause.chain) > 1 else -1
        known: dict[str, int] = {}
        for verdict in verdicts:
            if verdict.path in nodes:
                end = nodes[verdict.path]
                before = above if end in above or not starts else {**dict.fromkeys(starts), end: starts[0]}
                tree.ends[verdict.path] = tree.add(end, before, known, first, is_broken=first >= 0)


def _upwards(chain: tuple[str, ...]) -> Above:
    return {chain[0]: None, **{below: node for node, below in pairwise(chain)}}


def _down(ways: Ways, starts: list[str], wanted: set[str], limit: int) -> tuple[dict[str, str | None], int]:
    """For each node below the starts the one before it, until all that is wanted is found or the limit is met."""
    found: dict[str, str | None] = dict.fromkeys(starts)
    left = set(wanted) - found.keys()
    waiting = list(found)
    visits = 0
    for node in waiting:  # grows while it is walked
        visits += 1
        if not left or visits > limit:
            break
        for below, passes in ways.get(node, ()):
            if below not in found and passes:
                found[below] = node
                waiting.append(below)
                left.discard(below)
    return found, visits
