"""Turns the op graph of an audit into the few boxes and arrows that a picture shows, in time linear in the graph."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import networkx

from gradaudit.graph.report import Audit
from gradaudit.graph.verdicts import Group, Source, Status
from gradaudit.reports.dead_ends import (
    blocking_types,
    break_of,
    cause_kind,
    is_cut_off,
    is_read,
    last_parts,
    where_ended,
    why_ended,
)
from gradaudit.reports.layers import Allowance, Folding, LayerBox, fold
from gradaudit.reports.walks import Routes, Ways, frontier, met_outputs, reach, routes_between, ways_of
from gradaudit.reports.wording import QUIET, counted, ordered_groups, scope_of, weight_of

LIMIT = 60
"""More boxes than this nobody reads at once."""

MarkKind = Literal["objective", "term", "output", "break", "end"]
ArrowKind = Literal["task", "participation", "none"]

_ALLOWANCES = (Allowance(), Allowance(broken=16, healthy=6, alike=4), Allowance(broken=8, healthy=3, alike=2))
_OUTPUTS = 14
_TERMS = 9
_BREAKS = 8
_BREAKS_OF_GROUP = 3
_OBJECTIVES = 6
_ENDS = 8


@dataclass(frozen=True)
class Mark:
    """What is drawn but is no layer: an objective, a term, a model output, an op that blocks a gradient, a dead end."""

    key: str
    kind: MarkKind
    title: str
    details: tuple[str, ...] = ()
    status: Status = "connected"
    tooltip: str = ""


@dataclass(frozen=True)
class Arrow:
    """A way from a consumer to a producer, and what kind of gradient takes it."""

    tail: str
    head: str
    kind: ArrowKind
    is_broken: bool = False
    """Whether it stands for the very step at which the path ends."""


@dataclass(frozen=True)
class Sketch:
    """What the picture shows, in its order."""

    boxes: tuple[LayerBox, ...]
    marks: tuple[Mark, ...]
    arrows: tuple[Arrow, ...]
    left_out: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.boxes) + len(self.marks)


def sketch(audit: Audit) -> Sketch:
    """The audit's graph with as much open as fits into `LIMIT` boxes."""
    ways = ways_of(audit.graph)
    for allowance in _ALLOWANCES:
        content = _Draft(audit, ways, allowance).finish()
        if len(content) <= LIMIT:
            break
    return content


class _Draft:
    """One attempt at a sketch, with one allowance."""

    def __init__(self, audit: Audit, ways: Ways, allowance: Allowance) -> None:
        self.audit = audit
        self.groups = ordered_groups(audit)
        # What no tape recorded passes nothing, whatever its op could: the graph's own edges do not know of tapes.
        unrecorded = {break_of(group) for group in self.groups if cause_kind(group) == "outside-tape"} - {None}
        self.ways = {**ways, **{op: [(below, False) for below, _ in ways.get(op, ())] for op in unrecorded if op}}
        self.graph = audit.graph
        self.nodes: Any = audit.graph.nodes
        self.folding: Folding = fold(audit.variables, allowance)
        self.boxes = {box.key: box for box in self.folding.boxes}
        self.left_out: list[str] = []

    def finish(self) -> Sketch:
        terms = self._terms()
        by_task = reach(self.ways, [node for node in terms if self._term_kind(node) == "task"])
        by_any = by_task | reach(self.ways, [node for node in terms if self._term_kind(node) != "task"])
        objectives = self._objectives()
        by_task |= objectives.keys()
        marks = {**objectives, **terms, **self._breaks(by_any)}
        outputs = self._outputs(marks)
        assigned = self._assign({**marks, **outputs})
        with_broken = any(map(is_cut_off, self.groups))
        routes = routes_between(self.ways, assigned, by_task, by_any, with_broken=with_broken)
        return self._compose({**marks, **outputs}, routes)

    def _compose(self, marks: dict[str, Mark], routes: Routes) -> Sketch:
        quiet = {key for key, box in self.boxes.items() if box.is_quiet}
        quiet |= {mark.key for mark in marks.values() if mark.status in QUIET}
        cut_off = self._cut_off(marks)
        penalties = {mark.key for node, mark in marks.items() if self._term_kind(node) == "penalty"}
        arrows = list(_arrows(routes, quiet, penalties, cut_off))
        drawn = dict.fromkeys(mark.key for mark in marks.values())
        ends, end_arrows = self._ends(arrows, marks)
        every = {mark.key: mark for mark in marks.values()}
        every.update({mark.key: mark for mark in ends})
        arrows = self._contradicted(arrows, end_arrows)
        order = {key: place for place, key in enumerate((*drawn, *(end.key for end in ends), *self.boxes))}
        arrows = sorted(_reduced([*arrows, *end_arrows]), key=lambda arrow: (order[arrow.tail], order[arrow.head]))
        return Sketch(self.folding.boxes, tuple(every.values()), tuple(arrows), tuple(self.left_out))

    def _term_kind(self, node: str) -> str | None:
        kind = self.nodes[node].get("term_kind", "task") if self.nodes[node].get("kind") == "term" else None
        return None if kind is None else str(kind)

    def _objectives(self) -> dict[str, Mark]:
        nodes = [node for node, kind in self.nodes(data="kind") if kind == "objective"]
        if len(nodes) > _OBJECTIVES:
            self.left_out.append(counted(len(nodes) - _OBJECTIVES, "loss") + " more")
        names = [objective.name for objective in self.audit.objectives]
        return {
            node: Mark(f"objective:{node}", "objective", self.nodes[node].get("label") or name)
            for node, name in zip(nodes[:_OBJECTIVES], [*names, *nodes[len(names) :]], strict=False)
        }

    def _terms(self) -> dict[str, Mark]:
        """The terms, the participation terms of one scope as one."""
        families: dict[str, list[str]] = {}
        for node, kind in self.nodes(data="kind"):
            if kind == "term":
                is_participation = self._term_kind(node) == "participation"
                scope = f"participation:{scope_of(self._label(node))}" if is_participation else node
                families.setdefault(scope, []).append(node)
        kept = sorted(families, key=lambda name: not name.startswith("participation:"))[:_TERMS]
        if len(kept) < len(families):
            self.left_out.append(counted(len(families) - len(kept), "loss term"))
        return {node: self._term(nodes) for name, nodes in families.items() if name in kept for node in nodes}

    def _label(self, node: str) -> str:
        return str(self.nodes[node].get("label") or node)

    def _term(self, nodes: list[str]) -> Mark:
        kind = str(self._term_kind(nodes[0]))
        labels = [self._label(node) for node in nodes]
        weights = sorted({self.nodes[node]["weight"] for node in nodes if self.nodes[node].get("weight") is not None})
        facts = [] if len(nodes) == 1 else [f"{len(nodes)} terms"]
        facts += [f"weight {' to '.join(dict.fromkeys(map(weight_of, (weights[0], weights[-1]))))}"] if weights else []
        reached = sum(1 for verdict in self.audit.variables if not set(labels).isdisjoint(verdict.terms))
        facts.append(f"{'trains' if kind == 'task' else 'reaches'} {reached}")
        status: Status = "connected" if kind == "task" else "participation-only"
        title = labels[0] if len(nodes) == 1 else scope_of(labels[0])
        tooltip = f"{kind} term{'s' if len(nodes) > 1 else ''} {', '.join(labels)}"
        return Mark(f"term:{nodes[0]}", "term", title, (" · ".join(facts),), status, tooltip)

    def _outputs(self, marks: dict[str, Mark]) -> dict[str, Mark]:
        """The named outputs that a term reads, or in which a group ends: the latter first, where there are too many."""
        named = {node: name for node, name in self.nodes(data="output") if name and node not in marks}
        ends = {output: group.status for group in reversed(self.groups) for output in group.outputs}
        read = met_outputs(self.graph, [node for node in marks if self._term_kind(node)], named)
        shown = dict.fromkeys(name for name in named.values() if name in ends)
        shown.update(dict.fromkeys(named[node] for node in named if node in read))
        if len(shown) > _OUTPUTS:
            self.left_out.append(counted(len(shown) - _OUTPUTS, "output"))
        kept = set(list(shown)[:_OUTPUTS])
        return {
            node: Mark(f"output:{name}", "output", name, (), ends.get(name, "connected"), f"model output {name}")
            for node, name in named.items()
            if name in kept
        }

    def _breaks(self, live: set[str]) -> dict[str, Mark]:
        """The ops at which a path to a group's variables ends, though a gradient reaches them."""
        marks: dict[str, Mark] = {}
        for group in self.groups:
            if not is_cut_off(group):
                continue
            if len({mark.key for mark in marks.values()}) >= _BREAKS:  # each search costs a walk through the graph
                self.left_out.append("places where other paths end")
                break
            found = {node: self._break(node, group) for node in self._breaking_ops(group, live) if node not in marks}
            kept = list(dict.fromkeys(mark.key for mark in found.values()))[:_BREAKS_OF_GROUP]
            marks.update({node: mark for node, mark in found.items() if mark.key in kept})
        return marks

    def _breaking_ops(self, group: Group, live: set[str]) -> list[str]:
        """The op that the cause blames, and its like at the edge of what a gradient reaches."""
        edge = frontier(self.graph, group.variables, live)
        like = [node for node in edge if self.nodes[node].get("op_type") in blocking_types(group)]
        blamed = break_of(group)
        ops = [blamed, *like] if blamed is not None and blamed in self.graph else like or edge[:1]
        return [node for node in ops if self.nodes[node].get("kind") == "op"]

    def _break(self, node: str, group: Group) -> Mark:
        attributes = self.nodes[node]
        op_type = str(attributes.get("op_type"))
        source, layer = attributes.get("source"), attributes.get("layer")
        # Repeated layers are one box: what they all do in their own layer is one break then.
        box = self.boxes.get(self.folding.box_of_layer(layer) or "")
        place = str(source) if isinstance(source, Source) else box.key if box else layer or ""
        details = [last_parts(str(source), 2)] if isinstance(source, Source) else []
        if not details and (box or layer):
            details = [f"in {'/'.join(filter(None, (box.module, box.title))) if box else layer}"]
        tooltip = f"{op_type} {' '.join(details)} passes no gradient"
        return Mark(f"break:{op_type}:{place}", "break", op_type, tuple(details), group.status, tooltip)

    def _assign(self, marks: dict[str, Mark]) -> dict[str, str]:
        """The box of each node that belongs to one; the others are glue between boxes."""
        assigned: dict[str, str] = {}
        known: dict[str | None, str | None] = {}
        for node, attributes in self.nodes(data=True):
            if node in marks:
                assigned[node] = marks[node].key
                continue
            layer = attributes.get("layer")
            if layer not in known:
                known[layer] = self.folding.box_of_layer(layer)
            box = self.folding.variables.get(attributes.get("path", ""), known[layer])
            if box is not None:
                assigned[node] = box
        return assigned

    def _cut_off(self, marks: dict[str, Mark]) -> set[str]:
        """The boxes of the groups that a blocking op cuts off, and of their outputs."""
        groups = [group for group in self.groups if is_cut_off(group)]
        outputs = {name for group in groups for name in group.outputs}
        keys = {mark.key for mark in marks.values() if mark.kind == "output" and mark.title in outputs}
        keys |= {mark.key for mark in marks.values() if mark.kind == "break"}
        return keys | {self.folding.variables[path] for group in groups for path in group.variables}

    def _ends(self, arrows: list[Arrow], marks: dict[str, Mark]) -> tuple[list[Mark], list[Arrow]]:
        """A mark for each group that hangs on nothing, and the broken arrows through it."""
        objective = next((mark.key for mark in marks.values() if mark.kind == "objective"), None)
        entered = {arrow.head for arrow in arrows}
        outputs = {mark.title: mark.key for mark in marks.values() if mark.kind == "output"}
        ends: dict[tuple[str, tuple[str, ...]], tuple[Group, dict[str, None]]] = {}
        for group in self.groups:
            if is_read(group):
                continue
            tops = [outputs[name] for name in group.outputs if name in outputs]
            tops = tops or list(dict.fromkeys(self.folding.variables[path] for path in group.variables))
            tops = [top for top in tops if top not in entered]
            if tops:
                like = why_ended(group, 1), where_ended(group)
                ends.setdefault(like, (group, {}))[1].update(dict.fromkeys(tops))
        if len(ends) > _ENDS:
            self.left_out.append(counted(len(ends) - _ENDS, "dead end"))
        kept: list[Mark] = []
        drawn: list[Arrow] = []
        for (_, where), (group, below) in list(ends.items())[:_ENDS]:
            why = why_ended(group, len(below))
            end = Mark(f"end:{len(kept)}", "end", why, where, group.status, group.message)
            kept.append(end)
            drawn += [Arrow(end.key, top, "none", is_broken=True) for top in below]
            if objective:
                drawn.append(Arrow(objective, end.key, "none", is_broken=True))
        return kept, drawn

    def _contradicted(self, arrows: list[Arrow], end_arrows: list[Arrow]) -> list[Arrow]:
        """The arrows, with those as broken that lead to what is disconnected for a reason that no op shows."""
        explained = {arrow.head for arrow in (*arrows, *end_arrows) if arrow.is_broken}
        dead = {
            self.folding.variables[path]
            for group in self.groups
            if group.status == "disconnected"
            for path in group.variables
        }
        wholly_dead = {
            key for key in dead - explained if {v.status for v in self.boxes[key].variables} == {"disconnected"}
        }
        return [
            Arrow(arrow.tail, arrow.head, "none", is_broken=True)
            if arrow.head in wholly_dead and arrow.kind != "none"
            else arrow
            for arrow in arrows
        ]


def _arrows(routes: Routes, quiet: set[str], penalties: set[str], cut_off: set[str]) -> Iterator[Arrow]:
    """The arrows worth drawing: every gradient, the inside of dead branches, and where one is cut off."""
    for tail in {**routes.task, **routes.participation, **routes.dead, **routes.broken}:
        task = routes.task.get(tail, set())
        participation = routes.participation.get(tail, set()) - task
        dead = routes.dead.get(tail, set()) - task - participation
        broken = routes.broken.get(tail, set()) - task - participation - dead
        yield from (Arrow(tail, head, "task") for head in task)
        if tail in penalties:  # it reaches every variable by itself: worth an arrow only where nothing else does
            participation -= quiet
        yield from (Arrow(tail, head, "participation") for head in participation)
        if tail not in quiet:
            yield from (Arrow(tail, head, "none") for head in dead)
        if tail in quiet or tail.startswith("break:"):
            yield from (Arrow(tail, head, "none", is_broken=True) for head in broken & cut_off)


def _reduced(arrows: list[Arrow]) -> list[Arrow]:
    """The arrows without those that a longer way of the same kind tells already."""
    kept: list[Arrow] = []
    for kind in ("task", "participation", "none"):
        same = [arrow for arrow in arrows if arrow.kind == kind and not arrow.is_broken]
        graph = networkx.DiGraph((arrow.tail, arrow.head) for arrow in same)
        if networkx.is_directed_acyclic_graph(graph):
            graph = networkx.transitive_reduction(graph)
        kept += [arrow for arrow in same if graph.has_edge(arrow.tail, arrow.head)]
    return kept + [arrow for arrow in arrows if arrow.is_broken]
