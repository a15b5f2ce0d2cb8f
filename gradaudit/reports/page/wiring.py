"""Puts the marks of an audit (losses, terms, outputs, breaks) among its boxes, and finds the lines between them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

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
from gradaudit.reports.page.boxes import Box, Nest, family, group_layers, grouped, nest, open_what_is_broken, settle
from gradaudit.reports.page.ranks import LineKind, reduced, set_ranks
from gradaudit.reports.walks import Routes, frontier, met_outputs, reach, routes_between, ways_of
from gradaudit.reports.wording import ordered_groups, scope_of, weight_of

_BREAKS = 24
"""As many places where paths end are looked for: each costs a walk through the graph."""
_BREAKS_OF_GROUP = 3
_PASSES: tuple[LineKind, ...] = ("task", "participation")


@dataclass(frozen=True)
class Line:
    """A way from a consumer to a producer, and what kind of gradient takes it."""

    tail: Box
    head: Box
    kind: LineKind


@dataclass(frozen=True)
class Wiring:
    """What the graph of the page shows: boxes in boxes, and the lines between the innermost ones."""

    root: Box
    lines: tuple[Line, ...]
    of_variable: tuple[Box, ...]
    """The box in which each variable is found."""
    marks: Mapping[str, Box]
    """The box of each node that is a loss, a term, an output or a break."""


def wire(audit: Audit) -> Wiring:
    """The boxes and lines of an audit, in time linear in its graph."""
    return _Draft(audit).finish()


class _Draft:
    """The wiring of one audit while it is made."""

    def __init__(self, audit: Audit) -> None:
        self.audit = audit
        self.groups = ordered_groups(audit)
        self.graph = audit.graph
        self.nodes: Any = audit.graph.nodes
        self.nest: Nest = nest(audit.variables)
        self.ways = ways_of(audit.graph)
        # What no tape recorded passes nothing, whatever its op could: the graph's own edges do not know of tapes.
        unrecorded = [break_of(group) for group in self.groups if cause_kind(group) == "outside-tape"]
        self.ways.update({op: [(below, False) for below, _ in self.ways.get(op, ())] for op in unrecorded if op})

    def finish(self) -> Wiring:
        objectives, terms = self._objectives(), self._terms()
        by_task = reach(self.ways, [node for node in terms if self._term_kind(node) == "task"])
        by_any = by_task | reach(self.ways, [node for node in terms if self._term_kind(node) != "task"])
        by_task |= objectives.keys()
        breaks = self._breaks(by_any)
        marks = {**objectives, **terms, **breaks}
        marks |= (outputs := self._outputs(marks))
        lines = list(self._lines(marks, by_task, by_any))
        ends, end_lines = self._ends(lines, objectives, outputs)
        lines = [*self._contradicted(lines, end_lines), *end_lines]
        self._place((objectives.values(), _families(terms.values()), ends, outputs.values()), breaks)
        root = self.nest.root
        settle(root)
        drawn = reduced({(line.tail, line.head): line.kind for line in lines})
        kept = tuple(Line(tail, head, kind) for (tail, head), kind in drawn.items())
        set_ranks(root, [(line.tail, line.head) for line in kept])
        group_layers(root, self.audit.variables)
        set_ranks(root, [(line.tail, line.head) for line in kept])
        settle(root)
        open_what_is_broken(root)
        order = sorted(kept, key=lambda line: (line.tail.number, line.head.number))
        return Wiring(root, tuple(order), self.nest.variables, marks)

    def _place(self, marks: Iterable[Iterable[Box]], breaks: Mapping[str, Box]) -> None:
        """Put the marks of each kind beside the layers, too many alike in groups, and breaks into their layers."""
        beside: list[Box] = []
        for boxes in marks:
            alike = list(dict.fromkeys(boxes))
            beside += grouped([box for box in alike if box.is_quiet])
            beside += grouped([box for box in alike if not box.is_quiet])
        layers = self.nest.root.children
        self.nest.root.children = []
        self.nest.root.add([*beside, *layers])
        for node, box in breaks.items():
            if box.parent is None:
                self._container(node).add([box])

    def _container(self, node: str) -> Box:
        """The box in which other boxes stand, innermost around an op."""
        box = self.nest.box_of_layer(self.nodes[node].get("layer"))
        around = () if box is None else box.above()
        return next((each for each in around if each.kind != "group" and each.holds_layers), self.nest.root)

    # ----------------------------------------------------------------------------------------------------- the marks

    def _term_kind(self, node: str) -> str | None:
        return str(self.nodes[node].get("term_kind", "task")) if self.nodes[node].get("kind") == "term" else None

    def _label(self, node: str) -> str:
        return str(self.nodes[node].get("label") or node)

    def _objectives(self) -> dict[str, Box]:
        nodes = (node for node, kind in self.nodes(data="kind") if kind == "objective")
        return {node: Box("objective", self._label(node)) for node in nodes}

    def _terms(self) -> dict[str, Box]:
        return {node: self._term(node) for node, kind in self.nodes(data="kind") if kind == "term"}

    def _term(self, node: str) -> Box:
        label, weight, kind = self._label(node), self.nodes[node].get("weight"), self._term_kind(node)
        reached = sum(1 for verdict in self.audit.variables if label in verdict.terms)
        facts = ([] if weight is None else [f"weight {weight_of(weight)}"]) + [
            f"{'trains' if kind == 'task' else 'reaches'} {reached}"
        ]
        status: Status = "connected" if kind == "task" else "participation-only"
        return Box("term", label, [label], status, details=(" · ".join(facts),))

    def _outputs(self, marks: Mapping[str, Box]) -> dict[str, Box]:
        """The named outputs that a term reads, or in which a group ends."""
        named = {node: name for node, name in self.nodes(data="output") if name and node not in marks}
        ends = {output: group.status for group in reversed(self.groups) for output in group.outputs}
        read = met_outputs(self.graph, [node for node in marks if self._term_kind(node)], named)
        shown = {name for name in named.values() if name in ends} | {named[node] for node in read}
        boxes = {
            name: Box("output", name, status=ends.get(name, "connected"))
            for name in dict.fromkeys(named.values())
            if name in shown
        }
        return {node: boxes[name] for node, name in named.items() if name in boxes}

    def _breaks(self, live: set[str]) -> dict[str, Box]:
        """The ops at which a path to a group's variables ends, though a gradient reaches them."""
        marks: dict[str, Box] = {}
        known: dict[tuple[object, ...], Box] = {}
        for group in self.groups:
            if not is_cut_off(group) or len(known) >= _BREAKS:
                continue
            for node in self._breaking_ops(group, live)[:_BREAKS_OF_GROUP]:
                facts = self.nodes[node]
                key = facts.get("op_type"), facts.get("source"), self._container(node)
                marks.setdefault(node, known.setdefault(key, _break(facts, group.status)))
        return marks

    def _breaking_ops(self, group: Group, live: set[str]) -> list[str]:
        """The op that the cause blames, and its like at the edge of what a gradient reaches."""
        edge = frontier(self.graph, group.variables, live)
        like = [node for node in edge if self.nodes[node].get("op_type") in blocking_types(group)]
        blamed = break_of(group)
        ops = [blamed, *like] if blamed is not None and blamed in self.graph else like or edge[:1]
        return [node for node in dict.fromkeys(ops) if self.nodes[node].get("kind") == "op"]

    def _ends(
        self, lines: list[Line], objectives: Mapping[str, Box], outputs: Mapping[str, Box]
    ) -> tuple[list[Box], list[Line]]:
        """A mark for each group that hangs on nothing, and the broken lines through it."""
        entered = {line.head for line in lines}
        by_name = {box.title: box for box in outputs.values()}
        ends: dict[tuple[str, tuple[str, ...]], tuple[Group, dict[Box, None]]] = {}
        for group in self.groups:
            if is_read(group):
                continue
            tops = [by_name[name] for name in group.outputs if name in by_name] or self._homes(group)
            tops = [top for top in tops if top not in entered]
            if tops:
                like = why_ended(group, 1), where_ended(group)
                ends.setdefault(like, (group, {}))[1].update(dict.fromkeys(tops))
        boxes: list[Box] = []
        drawn: list[Line] = []
        for (_, where), (group, below) in ends.items():
            boxes.append(Box("end", why_ended(group, len(below)), status=group.status, details=where))
            drawn += [Line(objective, boxes[-1], "broken") for objective in list(objectives.values())[:1]]
            drawn += [Line(boxes[-1], top, "broken") for top in below]
        return boxes, drawn

    def _homes(self, group: Group) -> list[Box]:
        paths = set(group.variables)
        homes = zip(self.audit.variables, self.nest.variables, strict=True)
        return list(dict.fromkeys(home for verdict, home in homes if verdict.path in paths))

    # ----------------------------------------------------------------------------------------------------- the lines

    def _lines(self, marks: Mapping[str, Box], by_task: set[str], by_any: set[str]) -> Iterator[Line]:
        """The lines worth drawing: every gradient, the inside of dead branches, and where one is cut off."""
        assigned = self._assigned(marks)
        keys = {str(number): box for number, box in enumerate(dict.fromkeys(assigned.values()))}
        numbers = {box: key for key, box in keys.items()}
        with_broken = any(map(is_cut_off, self.groups))
        routes = routes_between(
            self.ways,
            {node: numbers[box] for node, box in assigned.items()},
            by_task,
            by_any,
            with_broken=with_broken,
        )
        _read_outputs_from_above(routes, {key for key, box in keys.items() if box.kind == "output"}, keys)
        penalties = {numbers[box] for node, box in marks.items() if self._term_kind(node) == "penalty"}
        cut_off = self._cut_off(marks)
        for tail, box in keys.items():
            for head, kind in _heads(routes, tail):
                if _is_drawn(box, keys[head], kind, cut_off, tail in penalties):
                    yield Line(box, keys[head], kind)

    def _assigned(self, marks: Mapping[str, Box]) -> dict[str, Box]:
        """The box of each node that belongs to one; the others are glue between boxes."""
        homes = {verdict.path: box for verdict, box in zip(self.audit.variables, self.nest.variables, strict=True)}
        known: dict[str | None, Box | None] = {}
        assigned: dict[str, Box] = {}
        for node, facts in self.nodes(data=True):
            layer = facts.get("layer")
            if layer not in known:
                box = self.nest.box_of_layer(layer)
                known[layer] = None if box is None or box.kind == "root" or box.holds_layers else box
            found = marks.get(node) or homes.get(facts.get("path", "")) or known[layer]
            if found is not None:
                assigned[node] = found
        return assigned

    def _cut_off(self, marks: Mapping[str, Box]) -> set[Box]:
        """The boxes of the groups that a blocking op cuts off, and of their outputs."""
        groups = [group for group in self.groups if is_cut_off(group)]
        outputs = {name for group in groups for name in group.outputs}
        boxes = {box for box in marks.values() if box.kind == "output" and box.title in outputs}
        boxes |= {box for box in marks.values() if box.kind == "break"}
        return boxes.union(*(self._homes(group) for group in groups))

    def _contradicted(self, lines: list[Line], end_lines: list[Line]) -> list[Line]:
        """The lines, with those as broken that lead to what is disconnected for a reason that no op shows."""
        explained = {line.head for line in (*lines, *end_lines) if line.kind == "broken"}
        statuses: dict[Box, set[Status]] = {}
        for verdict, home in zip(self.audit.variables, self.nest.variables, strict=True):
            statuses.setdefault(home, set()).add(verdict.status)
        dead = {box for box, found in statuses.items() if found == {"disconnected"}} - explained
        return [
            Line(line.tail, line.head, "broken") if line.head in dead and line.kind in _PASSES else line
            for line in lines
        ]


def _break(facts: Mapping[str, Any], status: Status) -> Box:
    source = facts.get("source")
    details = (last_parts(str(source), 2),) if isinstance(source, Source) else ()
    return Box("break", str(facts.get("op_type")), status=status, details=details)


def _families(terms: Iterable[Box]) -> list[Box]:
    """The terms, those of participation in one scope as one box."""
    scopes: dict[object, list[Box]] = {}
    for term in terms:
        scopes.setdefault(term if term.is_quiet else scope_of(term.title), []).append(term)
    return [members[0] if len(members) == 1 else _family(str(scope), members) for scope, members in scopes.items()]


def _family(scope: str, terms: list[Box]) -> Box:
    """The terms in a box with their scope's name, which is not said again in it."""
    for term in terms:
        term.title = term.title.removeprefix(f"{scope}/")
    return family(scope, grouped(terms))


def _read_outputs_from_above(routes: Routes, outputs: set[str], boxes: Mapping[str, Box]) -> None:
    """What a layer takes of an output it takes of the layer that makes it: outputs stand above all layers."""
    for by_box in (routes.task, routes.participation, routes.dead, routes.broken):
        for tail, heads in by_box.items():
            if boxes[tail].kind in ("layer", "break"):
                for output in sorted(heads & outputs):
                    below = routes.task.get(output, set()) | routes.participation.get(output, set())
                    heads |= (below | routes.dead.get(output, set())) - outputs - {tail}
                heads -= outputs


def _heads(routes: Routes, tail: str) -> Iterator[tuple[str, LineKind]]:
    """What is reached from a box, each on the best kind of way there is."""
    seen: set[str] = set()
    kinds: tuple[tuple[LineKind, dict[str, set[str]]], ...] = (
        ("task", routes.task),
        ("participation", routes.participation),
        ("none", routes.dead),
        ("broken", routes.broken),
    )
    for kind, by_box in kinds:
        for head in sorted(by_box.get(tail, set()) - seen, key=int):
            yield head, kind
        seen |= by_box.get(tail, set())


def _is_drawn(tail: Box, head: Box, kind: LineKind, cut_off: set[Box], is_penalty: bool) -> bool:
    if kind == "participation":
        return not (is_penalty and head.is_quiet)  # a penalty reaches every variable by itself
    if kind == "none":
        return not tail.is_quiet
    return kind == "task" or (tail.is_quiet or tail.kind == "break") and head in cut_off
