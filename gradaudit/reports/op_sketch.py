"""Turns a view of a graph of ops into the boxes and arrows of a drawing, each with its words and what they mean."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from gradaudit.graph.verdicts import Group, Source, Status
from gradaudit.reports import wording
from gradaudit.reports.dead_ends import cause_kind, last_parts, where_ended, why_ended
from gradaudit.reports.layers import status_counts
from gradaudit.reports.op_flows import OpFlows
from gradaudit.reports.op_view import Fold, View, layer_view, left_out, variable_view, whole_view
from gradaudit.reports.picture import TIMES
from gradaudit.reports.wording import QUIET, counted, weight_of

OpBoxKind = Literal["objective", "term", "op", "output", "variable", "run", "layer", "outside", "end"]
OpArrowKind = Literal["gradient", "participation", "zero", "opaque", "blocked", "detached", "none", "unneeded"]

ARROW_MEANING: dict[OpArrowKind, str] = {
    "gradient": "gradient",
    "participation": "gradient of a participation term or penalty",
    "zero": "gradient of zeros",
    "opaque": "cannot be seen into",
    "blocked": "the path ends here",
    "detached": "no gradient from here on, and none is missing",
    "none": "no gradient",
    "unneeded": "no gradient, and none is missing",
}
"""What an arrow of each kind stands for, the one that is drawn first where an arrow stands for several."""

_BREAKS: dict[OpArrowKind, Status] = {"blocked": "disconnected", "zero": "zero-gradient", "opaque": "opaque"}
_ORDER = tuple(ARROW_MEANING)
_NAMES = 24
_TITLES = {"Placeholder": "captured value", "ReadVariableOp": "read"}
"""What ops are called that a person does not write."""


@dataclass(frozen=True)
class OpBox:
    """What is drawn as one box: a node of the graph, several that are folded, or a dead end."""

    key: str
    kind: OpBoxKind
    title: str
    details: tuple[str, ...]
    status: Status
    place: str
    """The layer in which it is drawn; empty for what stands outside of all."""
    tooltip: str
    break_status: Status | None = None
    """What becomes of variables behind it, where a gradient that arrives ends there, or turns to zeros."""
    is_focus: bool = False
    holds_variables: bool = False

    @property
    def is_break(self) -> bool:
        """Whether a gradient that arrives there ends, or turns to zeros."""
        return self.break_status is not None


@dataclass(frozen=True)
class OpArrow:
    """A way from a consumer to a producer."""

    tail: str
    head: str
    kind: OpArrowKind


@dataclass(frozen=True)
class OpSketch:
    """What a drawing of ops shows, in its order, and what is said above it."""

    headline: str
    sentences: tuple[str, ...]
    status: Status
    boxes: tuple[OpBox, ...]
    arrows: tuple[OpArrow, ...]
    left_out: tuple[str, ...]


def sketch_ops(flows: OpFlows, *, focus: str | None = None, around: str | None = None) -> OpSketch:
    """The ops on the way to a variable, those of a layer, or those on the ways to whatever does not learn."""
    if focus is not None and focus in flows.variables:
        view = variable_view(flows, focus)
    elif focus is not None:
        view = View((), groups=tuple(group for group in flows.audit.groups if focus in group.variables))
    else:
        view = whole_view(flows) if around is None else layer_view(flows, around)
    return _Composition(flows, view, focus, around).finish()


class _Composition:
    """The boxes and arrows of one view."""

    def __init__(self, flows: OpFlows, view: View, focus: str | None, around: str | None) -> None:
        self.flows = flows
        self.view = view
        self.focus = focus
        self.around = around
        self.box_of = {node: node for node in view.singles}
        self.box_of.update({node: fold.key for fold in view.folds for node in fold.nodes})
        self.breaks: dict[str, Status] = {}
        """The nodes at which a gradient that arrives ends, or turns to zeros, and the status of what is behind."""

    def finish(self) -> OpSketch:
        arrows = self._arrows()
        boxes = [self._single(node) for node in self.view.singles]
        boxes += [self._fold(fold) for fold in self.view.folds]
        if self.focus is not None and not boxes:
            boxes = [self._unread(self.focus)]
        ends, end_arrows = self._ends({box.key for box in boxes})
        headline, sentences, status = self._heading()
        return OpSketch(headline, sentences, status, (*boxes, *ends), (*arrows, *end_arrows), tuple(self._left_out()))

    def _heading(self) -> tuple[str, tuple[str, ...], Status]:
        audit = self.flows.audit
        if self.focus is not None:
            verdict = self.flows.verdicts[self.focus]
            group = self.flows.groups.get(self.focus)
            trained = (f"trained by {', '.join(verdict.terms)}",) if verdict.terms else ()
            judged = () if group is None else (f"why: {group.message}", f"fix: {group.fix}")
            return f"{self.focus} is {verdict.status}", judged or trained, verdict.status
        if self.around is not None:
            inside = [verdict for verdict in audit.variables if verdict.path.startswith(f"{self.around}/")]
            statuses = [verdict.status for verdict in inside] or ["connected"]
            status = min(statuses, key=wording.REPORTING_ORDER.index)
            counts = (f"variables: {status_counts(inside)}",) if inside else ()
            return f"In and next to {self.around}", counts, status
        found = [status for status in wording.REPORTING_ORDER if audit.count(status)]
        return wording.headline(audit), (), found[0] if found else "connected"

    def _left_out(self) -> Iterator[str]:
        if self.view.entries_left_out:
            yield f"{self.view.entries_left_out:,} more of the report's entries: --focus VARIABLE shows one"
        ops, layers = left_out(self.flows, self.view)
        if ops:
            of_layers = f" of {counted(layers, 'layer')}" if layers > 1 else ""
            yield f"{ops:,} more {'op' if ops == 1 else 'ops'}{of_layers}: --around LAYER shows one"

    # ------------------------------------------------------------------------------------------------------ the boxes

    def _single(self, node: str) -> OpBox:
        facts = self.flows.nodes[node]
        kind = self.flows.kind(node)
        if kind == "variable":
            return self._variable(node, facts["path"])
        if kind == "op":
            return self._op(node)
        weight = facts.get("weight")
        details = () if weight is None else (f"weight {weight_of(weight)}",)
        label = str(facts.get("label") or node)
        status: Status = "connected" if facts.get("term_kind", "task") == "task" else "participation-only"
        named: OpBoxKind = "objective" if kind == "objective" else "term"
        return OpBox(node, named, label, details, status, "", f"{kind} {label}", self.breaks.get(node))

    def _variable(self, node: str, path: str) -> OpBox:
        verdict = self.flows.verdicts.get(path)
        status = self.flows.status(node)
        details = [] if verdict is None else [f" {TIMES} ".join(str(size) for size in verdict.shape) or "scalar"]
        alike = [group for group in self.view.groups if group.variables[0] == path and len(group.variables) > 1]
        if alike and self.focus is None and self.around is None:
            details.append(f"and {counted(len(alike[0].variables) - 1, 'more variable')}")
        layer, _, name = path.rpartition("/")
        is_focus = node == self.view.focus
        return OpBox(
            node,
            "variable",
            name,
            tuple(details),
            status,
            layer,
            f"{path} {status}",
            is_focus=is_focus,
            holds_variables=True,
        )

    def _op(self, node: str) -> OpBox:
        facts = self.flows.nodes[node]
        source, output, op_type = facts.get("source"), facts.get("output"), str(facts.get("op_type"))
        op_type = _TITLES.get(op_type, op_type)
        line = [last_parts(str(source), 1)] if isinstance(source, Source) else []
        details = [f"{op_type} · {each}" for each in line] or [op_type] if output else line
        place = self.flows.place(node)
        tooltip = "\n".join(filter(None, (output and f"model output {output}", node, str(source or ""))))
        kind: OpBoxKind = "output" if output else "op"
        details += ["… more next to it"] if node in self.view.cut else []
        title, status = output or op_type, self.flows.status(node)
        return OpBox(node, kind, title, tuple(details), status, place, tooltip, self.breaks.get(node))

    def _unread(self, path: str) -> OpBox:
        """A variable that no op of the step reads: the graph has no node of it."""
        verdict = self.flows.verdicts[path]
        layer, _, name = path.rpartition("/")
        return OpBox(
            f"variable:{path}", "variable", name, (), verdict.status, layer, f"{path} {verdict.status}", is_focus=True
        )

    def _fold(self, fold: Fold) -> OpBox:
        if fold.is_outside and len(fold.nodes) == 1:
            return self._lone_neighbour(fold)
        variables = [node for node in fold.nodes if self.flows.kind(node) == "variable"]
        status = self._fold_status(fold.nodes, variables)
        size = counted(len(fold.nodes) - len(variables), "op")
        if fold.place is None:
            places = list(dict.fromkeys(map(self.flows.place, fold.nodes)))
            return OpBox(fold.key, "run", size, _through(places), status, _shared(places), _listed(fold.nodes))
        tooltip = _listed([fold.place, *fold.nodes])
        if fold.is_outside:
            return OpBox(fold.key, "outside", fold.place, (f"{size} next to it",), status, "", tooltip)
        facts = ([f"{fold.layers} layers"] if fold.layers > 1 else []) + [size]
        details = ", ".join(facts + ([self._counts(variables)] if variables else []))
        above, _, name = fold.place.rpartition("/")
        return OpBox(fold.key, "layer", name, (details,), status, above, tooltip, holds_variables=bool(variables))

    def _lone_neighbour(self, fold: Fold) -> OpBox:
        (node,) = fold.nodes
        box = self._single(node)
        place = last_parts(self.flows.place(node), 2)
        details = (place,) if place and box.kind in ("op", "output") else box.details
        kind = "outside" if box.kind == "op" else box.kind
        return OpBox(fold.key, kind, box.title, details, box.status, "", box.tooltip)

    def _fold_status(self, nodes: Iterable[str], variables: list[str]) -> Status:
        """The worst of the variables; without any, the best gradient that arrives at one of the ops."""
        order = wording.REPORTING_ORDER.index
        statuses = [self.flows.status(node) for node in variables]
        return min(statuses, key=order) if statuses else max(map(self.flows.status, nodes), key=order)

    def _counts(self, variables: list[str]) -> str:
        broken = [status for status in map(self.flows.status, variables) if status not in QUIET]
        every = counted(len(variables), "variable")
        what = broken[0] if len(set(broken)) == 1 else "that do not learn"
        return f"{len(broken)} of {every} {what}" if broken else every

    # ----------------------------------------------------------------------------------------------------- the arrows

    def _arrows(self) -> tuple[OpArrow, ...]:
        """The arrows between boxes, of those that join the same two the one that tells most."""
        found: dict[tuple[str, str], OpArrowKind] = {}
        for tail, head, kind in self._single_arrows():
            ends = self.box_of[tail], self.box_of[head]
            if ends[0] != ends[1]:
                found[ends] = min(found.get(ends, kind), kind, key=_ORDER.index)
        return tuple(OpArrow(tail, head, kind) for (tail, head), kind in found.items())

    def _single_arrows(self) -> Iterator[tuple[str, str, OpArrowKind]]:
        pairs = self.view.pairs
        tails = self.box_of.keys() if pairs is None else {tail for tail, _ in pairs}
        for node in self.box_of:
            for below, flow in self._below(node) if node in tails else ():
                if below in self.box_of and (pairs is None or (node, below) in pairs):
                    kind = self._arrow(node, below, flow)
                    if flow != "passes" and kind in _BREAKS:
                        self.breaks.setdefault(node, _BREAKS[kind])
                    yield node, below, kind

    def _below(self, node: str) -> Iterable[tuple[str, str]]:
        """What a node is made from, with plumbing and without it: a way may end at a read."""
        return {**dict(self.flows.edges(node)), **dict(self.flows.below(node))}.items()

    def _arrow(self, tail: str, head: str, flow: str) -> OpArrowKind:
        # A term of a loss gets the loss's gradient; what it is worth depends on the term.
        arriving = self.flows.status(head if self.flows.kind(head) == "term" else tail)
        if arriving in ("disconnected", "frozen"):
            return "none" if arriving == "disconnected" else "unneeded"
        if flow == "blocked":
            return "detached" if self.flows.status(head) in ("connected", "frozen") else "blocked"
        if flow in ("zero", "opaque"):
            return "zero" if flow == "zero" else "opaque"
        passed: dict[Status, OpArrowKind] = {
            "participation-only": "participation",
            "zero-gradient": "zero",
            "opaque": "opaque",
        }
        return passed.get(arriving, "gradient")

    def _ends(self, drawn: set[str]) -> tuple[list[OpBox], list[OpArrow]]:
        """What is said above outputs and variables that hang on nothing."""
        boxes: dict[tuple[str, tuple[str, ...]], tuple[Group, dict[str, None]]] = {}
        for group in self.view.groups:
            if cause_kind(group) in ("dead-end", "never-read"):
                tops = [top for top in self._tops(group) if top in drawn]
                boxes.setdefault((group.status, where_ended(group)), (group, {}))[1].update(dict.fromkeys(tops))
        ends: list[OpBox] = []
        arrows: list[OpArrow] = []
        for (_, where), (group, hanging) in boxes.items():
            if hanging:
                key, title = f"end:{len(ends)}", why_ended(group, len(hanging))
                ends.append(OpBox(key, "end", title, where, group.status, "", group.message))
                arrows += [OpArrow(key, top, "blocked") for top in hanging]
        return ends, arrows

    def _tops(self, group: Group) -> list[str]:
        named = [node for node in self.box_of if self.flows.nodes[node].get("output") in group.outputs]
        if named and group.outputs:
            return [self.box_of[node] for node in named]
        return [self.flows.variables.get(path, f"variable:{path}") for path in group.variables]


def _listed(names: Iterable[str]) -> str:
    """Names for a tooltip, one a line."""
    every = list(names)
    return "\n".join([*every[:_NAMES], f"… {len(every) - _NAMES} more"] if len(every) > _NAMES else every)


def _through(places: list[str]) -> tuple[str, ...]:
    """The layers that a run of ops goes through."""
    names = [place for place in places if place]
    shared = _shared(names)
    if len(names) == 1 or "/" in shared:
        return (f"of {last_parts(shared, 2)}",)
    return (f"of {last_parts(names[0], 2)}", f"to {last_parts(names[-1], 2)}") if names else ()


def _shared(places: list[str]) -> str:
    """The deepest layer that holds all of the places."""
    split = [place.split("/") for place in places]
    shared = []
    for names in zip(*split, strict=False):
        if len(set(names)) > 1:
            break
        shared.append(names[0])
    return "/".join(shared)
