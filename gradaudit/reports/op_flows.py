"""What becomes of a gradient op by op: which edges pass it, where it arrives, and on which way it ends."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import pairwise
from typing import Any

import networkx

from gradaudit.graph.gradient_graph import PASSES, PASSES_OR_OPAQUE, PASSES_OR_ZERO, Flow
from gradaudit.graph.report import Audit
from gradaudit.graph.verdicts import Group, Status, Verdict
from gradaudit.reports.dead_ends import break_of, cause_kind
from gradaudit.reports.wording import QUIET, ordered_groups

_PLUMBING = frozenset({"ReadVariableOp", "Placeholder", "Identity"})
"""Ops that hand one value on as it is: a variable's read, and what a function captures."""

_GROUPS = 24
"""Entries of the report of which more than a drawing can show need no ways."""

Way = tuple[str, ...]


class OpFlows:
    """The graph of an audit as a drawing of ops needs it, each answer in time linear in the graph."""

    def __init__(self, audit: Audit) -> None:
        self.audit = audit
        self.graph: networkx.DiGraph = audit.graph
        self.nodes: dict[str, dict[str, Any]] = dict(audit.graph.nodes(data=True))
        self.verdicts: dict[str, Verdict] = {verdict.path: verdict for verdict in audit.variables}
        self.groups: dict[str, Group] = {path: group for group in audit.groups for path in group.variables}
        self.variables: dict[str, str] = {
            path: node for node, path in self.graph.nodes(data="path") if path in self.verdicts
        }
        self._edges: dict[str, list[tuple[str, Flow]]] = {
            node: [(below, _flow(edge)) for below, edge in edges.items()] for node, edges in self.graph.adjacency()
        }
        for group in audit.groups:
            self._break_as_judged(group)

    def _break_as_judged(self, group: Group) -> None:
        """Block what the verdict says is blocked where the graph's edges do not know it: they know of no tapes."""
        chain = () if group.cause is None else group.cause.chain
        if cause_kind(group) == "outside-tape":
            last = break_of(group)
            nodes = [last] if last in self._edges else [n for path in group.variables for n in self._readers_of(path)]
            for node in nodes:
                self._block(node, [below for below, _ in self._edges[node]])
        elif len(chain) > 1 and all(node in self._edges for node in chain) and not self.breaks_on(chain):
            self._block(chain[-2], [chain[-1]])

    def _readers_of(self, path: str) -> list[str]:
        return list(self.graph.pred[self.variables[path]]) if path in self.variables else []

    def _block(self, consumer: str, producers: list[str]) -> None:
        edges = self._edges[consumer]
        self._edges[consumer] = [(below, "blocked" if below in producers else flow) for below, flow in edges]

    def kind(self, node: str) -> str:
        """What a node is: "objective", "term", "op" or "variable"."""
        return str(self.nodes[node].get("kind"))

    def place(self, node: str) -> str:
        """The layer of a node, with the layers around it where it is one that several share; else its name scope."""
        layer = self.nodes[node].get("layer") or ""
        scope = self.nodes[node].get("scope") or ""
        if not layer:
            return scope
        start = f"/{scope}/".find(f"/{layer}/")
        return scope[: start + len(layer)] if start > 0 else layer

    def status(self, node: str) -> Status:
        """The status of a variable; of an op, what a variable would be that got the gradient which arrives there.

        An op that gets none, and behind which nothing misses it, is "frozen".
        """
        verdict = self.verdicts.get(self.nodes[node].get("path", ""))
        if verdict is not None:
            return verdict.status
        return self._arrivals.get(node) or ("disconnected" if node in self._missing else "frozen")

    @cached_property
    def _missing(self) -> set[str]:
        """What leads to a variable that needs to be looked at."""
        return _reached(
            self.graph.pred, [n for path, n in self.variables.items() if self.verdicts[path].status not in QUIET]
        )

    def is_broken(self, node: str) -> bool:
        """Whether a node is a variable that needs to be looked at."""
        return self.kind(node) == "variable" and self.status(node) not in QUIET

    def edges(self, node: str) -> list[tuple[str, Flow]]:
        """What a node is made from, and what becomes of a gradient on the way there."""
        return self._edges[node]

    def flow(self, consumer: str, producer: str) -> Flow:
        """What becomes of a gradient between two neighbours."""
        return next(flow for below, flow in self._edges[consumer] if below == producer)

    def is_break(self, consumer: str, producer: str) -> bool:
        """Whether a gradient that got as far as the consumer ends there."""
        return self.flow(consumer, producer) != "passes" and bool(self.nodes[consumer].get("carries", True))

    def is_plumbing(self, node: str) -> bool:
        """Whether an op hands one value on, as a read does, and can be left out of its chain."""
        facts, below = self.nodes[node], self._edges[node]
        hands_on = facts.get("op_type") in _PLUMBING and [flow for _, flow in below] == ["passes"]
        return hands_on and not self._is_output(node)

    def is_worth_drawing(self, node: str) -> bool:
        """Whether a node matters and is no plumbing."""
        return node in self.matters and not self.is_plumbing(node)

    def below(self, node: str) -> Iterator[tuple[str, Flow]]:
        """What a node is made from, with plumbing left out, and nothing that leads to no variable."""
        for producer, flow in self._edges[node]:
            passed = {node}
            while self.is_plumbing(producer) and producer not in passed:
                passed.add(producer)
                ((producer, _),) = self._edges[producer]
            if producer in self.matters:
                yield producer, flow

    @cached_property
    def matters(self) -> frozenset[str]:
        """What is worth drawing: what carries a gradient on to variables, and what the ways go through."""
        carrying = {node: [above for above in self.graph.pred[node] if self._carries(above)] for node in self.graph}
        leading = _reached(carrying, self.variables.values())
        tops = [node for node in self.graph if self.kind(node) in ("objective", "term") or self._is_output(node)]
        read = _reached(self.graph.adj, tops)
        # What the step computes beside its losses, as metrics do, matters where it is all that a variable is for.
        beside = _reached(carrying, [node for node in self.variables.values() if node not in read])
        ways = (node for way in self.ways_of_groups for node in way)
        return frozenset(leading & (read | beside)).union(ways)

    def _is_output(self, node: str) -> bool:
        return self.nodes[node].get("output") is not None

    def _carries(self, node: str) -> bool:
        facts = self.nodes[node]
        return bool(facts.get("carries", True)) and not facts.get("is_hub", False)

    @cached_property
    def ways_of_groups(self) -> tuple[Way, ...]:
        """The ways to the first variable of each group, of the worst alone: each costs a walk through the graph."""
        firsts = [group.variables[0] for group in ordered_groups(self.audit) if group.variables[0] in self.variables]
        return tuple(way for path in firsts[:_GROUPS] for way in self.ways_to(self.variables[path]))

    def ways_to(self, variable: str) -> tuple[Way, ...]:
        """The ways of a gradient to a variable: that of a task term as far as it goes, and that of another one."""
        verdict = self.verdicts.get(self.nodes[variable].get("path", ""))
        ways = [self._judged_way(variable, verdict)]
        if verdict is not None and verdict.status == "participation-only":
            ways.append(self._with_objective(_traced(variable, self._from_others)))
        return tuple(dict.fromkeys(way for way in ways if len(way) > 1))

    def breaks_on(self, way: Way) -> tuple[tuple[str, str], ...]:
        """The neighbours on a way between which a gradient ends."""
        return tuple((above, below) for above, below in pairwise(way) if self.is_break(above, below))

    def descent(self, start: str, target: str) -> Way:
        """The shortest way down from one node to another, whatever becomes of a gradient; none is empty."""
        previous = {start: start}
        waiting = deque([start])
        while waiting and target not in previous:
            node = waiting.popleft()
            for below, _ in self._edges[node]:
                if below not in previous and not self.nodes[below].get("is_hub", False):
                    previous[below] = node
                    waiting.append(below)
        return _traced(target, {node: above for node, above in previous.items() if node != start}, start=start)

    def _judged_way(self, variable: str, verdict: Verdict | None) -> Way:
        """The way on which the verdict rests, where there is one; else the one with the fewest breaks."""
        chain = () if verdict is None or verdict.cause is None else verdict.cause.chain
        if chain and all(node in self.graph for node in chain):
            rest = self.descent(chain[-1], variable)
            return (*chain, *rest[1:])
        by_task = _traced(variable, self._from_tasks)
        return self._with_objective(by_task if len(by_task) > 1 else _traced(variable, self._from_others))

    def _with_objective(self, way: Way) -> Way:
        above = [node for node in self.graph.pred[way[0]] if self.kind(node) == "objective"]
        return (above[0], *way) if above and self.kind(way[0]) == "term" else way

    @cached_property
    def _from_tasks(self) -> dict[str, str]:
        return self._best_ways(self._starts(of_task=True))

    @cached_property
    def _from_others(self) -> dict[str, str]:
        return self._best_ways(self._starts(of_task=False))

    def _starts(self, *, of_task: bool) -> list[str]:
        """The loss terms of a task, or the others; a loss of which no terms are known is one of a task."""
        terms = [node for node in self.graph if self.kind(node) == "term"]
        found = [node for node in terms if (self.nodes[node].get("term_kind", "task") == "task") == of_task]
        losses = {node for node in self.graph if of_task and self.kind(node) == "objective"}
        losses -= {loss for term in terms for loss in self.graph.pred[term]}
        return found + [node for node in self.graph if node in losses]

    def _best_ways(self, starts: list[str]) -> dict[str, str]:
        """What stands above each node on the way from a start with the fewest breaks, and of these the shortest."""
        best: dict[str, tuple[int, int]] = dict.fromkeys(starts, (0, 0))
        previous: dict[str, str] = {}
        waiting = [(0, 0, order, start) for order, start in enumerate(starts)]
        order = len(waiting)
        while waiting:
            breaks, length, _, node = heapq.heappop(waiting)
            if (breaks, length) > best[node]:
                continue
            carries = self.nodes[node].get("carries", True)
            for producer, flow in self._edges[node]:
                cost = (breaks + (carries and flow != "passes"), length + 1)
                if not self.nodes[producer].get("is_hub", False) and (producer not in best or cost < best[producer]):
                    best[producer] = cost
                    previous[producer] = node
                    order += 1
                    heapq.heappush(waiting, (*cost, order, producer))
        return previous

    @cached_property
    def _arrivals(self) -> dict[str, Status]:
        """The best gradient that arrives at each node; a node that is missing gets none."""
        tasks, others = self._starts(of_task=True), self._starts(of_task=False)
        arrivals: dict[str, Status] = {node: "connected" for node in self.graph if self.kind(node) == "objective"}
        steps: tuple[tuple[Status, frozenset[Flow], list[str]], ...] = (
            ("connected", PASSES, tasks),
            ("participation-only", PASSES, others),
            ("zero-gradient", PASSES_OR_ZERO, tasks + others),
            ("opaque", PASSES_OR_OPAQUE, tasks + others),
        )
        for status, flows, starts in steps:
            ways = {node: [below for below, flow in edges if flow in flows] for node, edges in self._edges.items()}
            for node in _reached(ways, starts):
                arrivals.setdefault(node, status)
        return arrivals


def _flow(edge: dict[str, Any]) -> Flow:
    """What becomes of a gradient along an edge; zeros for lack of a path are none."""
    flow: Flow = "blocked" if edge.get("zeros", False) else edge.get("flow", "blocked")
    return flow


def _reached(ways: Any, starts: Iterable[str]) -> set[str]:
    """Every node to which the ways lead from the starts, these included."""
    seen = set(starts)
    waiting = list(seen)
    while waiting:
        for node in ways[waiting.pop()]:
            if node not in seen:
                seen.add(node)
                waiting.append(node)
    return seen


def _traced(node: str, previous: dict[str, str], *, start: str | None = None) -> Way:
    """The way to a node from wherever it begins; where it has to begin at a start and does not, an empty one."""
    way = [node]
    while way[-1] in previous:
        way.append(previous[way[-1]])
    return tuple(reversed(way)) if start in (None, way[-1]) else ()
