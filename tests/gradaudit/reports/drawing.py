"""A small language in which a test draws its gradient graph as lines of text, from a loss down to the variables.

    loss > (mel 2.5) > [mel_output] > decoder/dense/kernel
    loss > (mel) > StopGradient@decoder x> encoder/dense/kernel

One chain a line, from consumer to producer. ` > ` passes a gradient, ` x> ` blocks it, ` 0> ` makes it zero, ` ?> `
is opaque. `(name weight)` is a term, `(~name)` a participation term, `(+name)` a weight penalty, `[name]` or
`[name@layer]` a model output, `Type@layer` an op of a layer, `Type@` one of no layer. Any other word with a slash is a
variable, read by an op of its layer. The first word of a line without marks is an objective.
"""

from __future__ import annotations

import re

import networkx

from gradaudit.graph.coverage import coverage
from gradaudit.graph.gradient_graph import GradientGraph
from gradaudit.graph.report import Audit, Report
from gradaudit.graph.verdicts import (
    Cause,
    CauseKind,
    Finding,
    Group,
    Objective,
    Source,
    Status,
    TapeAnswer,
    Term,
    Verdict,
)

_FLOWS = {">": "passes", "x>": "blocked", "0>": "zero", "?>": "opaque"}
_KINDS = {"~": "participation", "+": "penalty"}
_TAPES: dict[Status, TapeAnswer] = {
    "connected": "tensor",
    "participation-only": "tensor",
    "not-updated": "tensor",
    "disconnected": "none",
    "zero-gradient": "zeros",
    "untracked": "not-asked",
    "opaque": "none",
    "frozen": "not-asked",
}
_RULES: dict[Status, str] = {
    "disconnected": "GA101",
    "zero-gradient": "GA102",
    "participation-only": "GA103",
    "untracked": "GA104",
    "not-updated": "GA105",
    "opaque": "GA107",
}


class DrawnGraph(GradientGraph):
    """A gradient graph that is given as networkx has it."""

    def __init__(self, network: networkx.DiGraph | None = None) -> None:
        super().__init__()
        self._drawn = networkx.DiGraph() if network is None else network

    def network(self) -> networkx.DiGraph:
        return self._drawn


def drawn_graph(text: str) -> networkx.DiGraph:
    """The graph that the lines draw."""
    graph = networkx.DiGraph()
    for line in filter(None, (line.strip() for line in text.splitlines())):
        words = re.split(r"\s+(>|x>|0>|\?>)\s+", line)
        above = _node(graph, words[0])
        for arrow, word in zip(words[1::2], words[2::2], strict=True):
            above = _below(graph, above, _FLOWS[arrow], word)
    return graph


def drawn_audit(
    text: str,
    *groups: Group,
    scenario: str | None = None,
    subject: str = "drawn",
    findings: tuple[Finding, ...] = (),
    notes: tuple[str, ...] = (),
    shape: tuple[int, ...] = (8, 4),
    tape: TapeAnswer | None = None,
) -> Audit:
    """An audit whose graph the lines draw, and whose variables have the status of their group, else `connected`."""
    graph = drawn_graph(text)
    by_path = {path: group for group in groups for path in group.variables}
    paths = [attributes["path"] for _, attributes in graph.nodes(data=True) if attributes["kind"] == "variable"]
    paths += [path for path in by_path if path not in paths]
    reach = _reach(graph)
    verdicts = tuple(_verdict(path, by_path.get(path), shape, tape, reach) for path in paths)
    for verdict in verdicts:
        if verdict.path in graph:
            graph.nodes[verdict.path]["status"] = verdict.status
    objectives = _objectives(graph, reach)
    return Audit(
        subject=subject,
        scenario=scenario,
        objectives=objectives,
        variables=verdicts,
        groups=tuple(group for group in groups if group.rule),  # what is connected or frozen is no entry
        findings=findings,
        gradients=DrawnGraph(graph),
        coverage=coverage(objectives, verdicts, {}),
        optimizer="Adam",
        notes=notes,
        weights_allocated=False,
        seconds={"trace": 1.25},
    )


def group(
    status: Status,
    *variables: str,
    kind: CauseKind = "dead-end",
    outputs: tuple[str, ...] = (),
    terms: tuple[str, ...] = (),
    op_type: str | None = None,
    source: Source | None = None,
    message: str = "read by no loss term",
    fix: str = "give the output a target",
    layer: str | None = None,
    chain: tuple[str, ...] = (),
) -> Group:
    """A group of variables with one cause."""
    cause = Cause(kind=kind, message=message, fix=fix, op_type=op_type, outputs=outputs, source=source, chain=chain)
    return Group(
        status=status,
        variables=variables,
        layer=_common_layer(variables) if layer is None else layer,
        message=message,
        fix=fix,
        rule=_RULES.get(status, ""),
        outputs=outputs,
        terms=terms,
        sources=() if source is None else (source,),
        cause=cause,
    )


def report_of(*audits: Audit) -> Report:
    """A report of the audits, made by a tool and in an environment that never change."""
    return Report(
        tool={"name": "gradaudit", "version": "0.0"},
        environment={"python": "3.11", "keras": "3.15.1", "tensorflow": "2.21.0"},
        audits=audits,
    )


def _below(graph: networkx.DiGraph, above: str, flow: str, word: str) -> str:
    node = _node(graph, word)
    if graph.nodes[node]["kind"] == "variable" and graph.nodes[above].get("layer") != graph.nodes[node]["layer"]:
        reader = _node(graph, f"MatMul@{graph.nodes[node]['layer']}")
        graph.add_edge(above, reader, flow=flow)
        above, flow = reader, "passes"
    graph.add_edge(above, node, flow=flow)
    return node


def _node(graph: networkx.DiGraph, word: str) -> str:
    if word not in graph:
        graph.add_node(word, **_attributes(word))
    return word


def _attributes(word: str) -> dict[str, object]:
    blank: dict[str, object] = {"op_type": None, "layer": None, "source": None}
    if word.startswith("("):
        name, _, weight = word[1:-1].partition(" ")
        kind = _KINDS.get(name[0], "task")
        label = name.lstrip("~+")
        return {**blank, "kind": "term", "term_kind": kind, "label": label, "weight": float(weight) if weight else None}
    if word.startswith("["):
        name, _, layer = word[1:-1].partition("@")
        return {**blank, "kind": "op", "op_type": "Identity", "layer": layer or None, "output": name}
    if "@" in word:
        op_type, _, layer = word.partition("@")
        return {**blank, "kind": "op", "op_type": op_type, "layer": layer or None}
    if "/" in word:
        return {**blank, "kind": "variable", "path": word, "layer": word.rpartition("/")[0], "status": "connected"}
    return {**blank, "kind": "objective", "label": word}


def _verdict(
    path: str, group: Group | None, shape: tuple[int, ...], tape: TapeAnswer | None, reach: dict[str, set[str]]
) -> Verdict:
    status = "connected" if group is None else group.status
    return Verdict(
        path=path,
        shape=shape,
        dtype="float32",
        status=status,
        tape=_TAPES[status] if tape is None or group is None else tape,
        trained_by=tuple(("loss", label) for label, reached in reach.items() if path in reached),
        cause=None if group is None else group.cause,
    )


def _reach(graph: networkx.DiGraph) -> dict[str, set[str]]:
    """The nodes that each term reaches on passing edges, by the term's label."""
    passing = networkx.DiGraph((a, b) for a, b, flow in graph.edges(data="flow") if flow == "passes")
    terms = {node: attributes["label"] for node, attributes in graph.nodes(data=True) if attributes["kind"] == "term"}
    return {label: networkx.descendants(passing, node) if node in passing else set() for node, label in terms.items()}


def _objectives(graph: networkx.DiGraph, reach: dict[str, set[str]]) -> tuple[Objective, ...]:
    objectives = []
    for node, attributes in graph.nodes(data=True):
        if attributes["kind"] == "objective":
            terms = [below for below in graph.successors(node) if graph.nodes[below]["kind"] == "term"]
            objectives.append(Objective(node, tuple(_term(graph, term, reach) for term in terms), None))
    return tuple(objectives)


def _term(graph: networkx.DiGraph, term: str, reach: dict[str, set[str]]) -> Term:
    attributes = graph.nodes[term]
    label = attributes["label"]
    trains = sum(1 for node in reach[label] if graph.nodes[node]["kind"] == "variable")
    return Term(label, attributes["term_kind"], attributes["weight"], None, trains)


def _common_layer(variables: tuple[str, ...]) -> str:
    layers = [path.split("/")[:-1] for path in variables]
    shared = []
    for names in zip(*layers, strict=False):
        if len(set(names)) > 1:
            break
        shared.append(names[0])
    return "/".join(shared)
