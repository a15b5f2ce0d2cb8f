"""The whole gradient graph for other tools: GraphML and node-link JSON, with plain attributes alone."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from numbers import Real
from typing import Any

import networkx

from gradaudit.graph.report import Audit
from gradaudit.graph.verdicts import Source
from gradaudit.reports.inert import inert
from gradaudit.reports.wording import title

Plain = str | bool | int | float


def render_graphml(audit: Audit) -> str:
    """The graph as GraphML that `networkx.read_graphml` reads. Whatever is not ASCII is a character reference."""
    graph = plain_graph(audit)
    legal = networkx.relabel_nodes(graph, _legal_names(graph))
    for facts in (legal.graph, *(facts for _, facts in legal.nodes(data=True))):
        facts.update({name: _legal(value) for name, value in facts.items() if isinstance(value, str)})
    return "\n".join(networkx.generate_graphml(legal)) + "\n"


def render_node_link(audit: Audit) -> str:
    """The graph as JSON that `networkx.node_link_graph` reads, with the keys `nodes` and `edges`."""
    graph = plain_graph(audit)
    content = {
        "directed": True,
        "multigraph": False,
        "graph": graph.graph,
        "nodes": [{**facts, "id": node} for node, facts in graph.nodes(data=True)],
        "edges": [{**facts, "source": tail, "target": head} for tail, head, facts in graph.edges(data=True)],
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def plain_graph(audit: Audit) -> networkx.DiGraph:
    """A copy of the graph of which every attribute is text, a number or a truth value.

    What is None or empty is left out. A line of code is `file`, `line` and `function`.
    """
    plain = networkx.DiGraph(title=title(audit))
    plain.add_nodes_from((node, dict(_plain(facts))) for node, facts in audit.graph.nodes(data=True))
    plain.add_edges_from((tail, head, dict(_plain(facts))) for tail, head, facts in audit.graph.edges(data=True))
    return plain


def _plain(facts: dict[str, Any]) -> Iterator[tuple[str, Plain]]:
    for name, value in facts.items():
        if isinstance(value, Source):
            yield from _plain({"file": value.file, "line": value.line, "function": value.function})
        elif isinstance(value, frozenset | set | tuple | list):
            yield name, ", ".join(sorted(map(str, value)))
        elif value not in (None, ""):
            yield name, value if isinstance(value, bool | int | str) else _number(value)


def _number(value: Any) -> float | str:
    """A float of any library; as text what is none, or what JSON has no number for."""
    return float(value) if isinstance(value, Real) and math.isfinite(value) else str(value)


def _legal_names(graph: networkx.DiGraph) -> dict[str, str]:
    """Names for the nodes that XML can hold, no two of them alike."""
    names: dict[str, str] = {}
    taken = set(graph)
    for node in graph:
        name = _legal(node)
        number = 2
        while name != node and name in taken:
            name = f"{_legal(node)}#{number}"
            number += 1
        taken.add(name)
        names[node] = name
    return names


def _legal(text: str) -> str:
    """The text with the characters written as escapes that no XML may hold, or that a reader of XML would change."""
    return "".join(character if _is_legal(character) else inert(character) for character in text)


def _is_legal(character: str) -> bool:
    return character >= " " and not "\ud800" <= character <= "\udfff" and character not in "\ufffe\uffff"
