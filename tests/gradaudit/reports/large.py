"""An audit as large as the page must bear: two thousand variables and fifty thousand ops, made without TensorFlow."""

from __future__ import annotations

import dataclasses

import networkx

from gradaudit.graph.report import Audit
from tests.gradaudit.reports.drawing import DrawnGraph
from tests.gradaudit.reports.xtts_like import xtts_audit

VARIABLES = 2000
OPS = 50_000
_BLOCKS = 62


def large_audit() -> Audit:
    """An audit with at least so many variables and ops: a deep model, and on each of its edges ops that pass on."""
    audit = xtts_audit("minimal-unpatched", blocks=_BLOCKS)
    graph = networkx.DiGraph()
    graph.add_nodes_from(audit.graph.nodes(data=True))
    between = -(-(OPS - len(graph)) // audit.graph.number_of_edges())
    for number, (tail, head, facts) in enumerate(audit.graph.edges(data=True)):
        layer = audit.graph.nodes[tail].get("layer")
        for place in range(between):
            node = f"{layer or 'step'}/Identity_{number}_{place}"
            graph.add_node(node, kind="op", op_type="Identity", layer=layer, source=None)
            graph.add_edge(tail, node, flow="passes")
            tail = node
        graph.add_edge(tail, head, **facts)
    return dataclasses.replace(audit, gradients=DrawnGraph(graph))
