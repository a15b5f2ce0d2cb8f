"""Drawings of the corpus: whatever breaks a way, a person sees it break, and nothing is too much to read."""

from __future__ import annotations

import json

import networkx
import pytest

from gradaudit import audit
from gradaudit.reports.graph_data import plain_graph, render_graphml, render_node_link
from gradaudit.reports.op_flows import OpFlows
from gradaudit.reports.op_sketch import OpSketch, sketch_ops
from gradaudit.reports.op_view import OP_LIMIT, layer_names
from tests.cases.case import Case, all_cases

CUT_OFF = ("disconnected", "zero-gradient", "opaque")
WITHOUT_A_WAY = ("values_that_get_to_the_loss_through_a_variable",)
"""What a gradient would have to go through is no op that reads another."""


def shows_a_break(content: OpSketch) -> bool:
    return any(box.is_break or box.kind == "end" for box in content.boxes)


@pytest.mark.parametrize("case", all_cases()[::5], ids=lambda case: case.name)
def test_every_drawing_of_a_case_says_what_its_verdicts_say(case: Case):
    result = audit(case.build)
    flows = OpFlows(result)
    for verdict in result.variables:
        content = sketch_ops(flows, focus=verdict.path)
        assert len(content.boxes) <= OP_LIMIT
        assert sum(box.is_focus for box in content.boxes) == 1
        if verdict.status in CUT_OFF and case.name not in WITHOUT_A_WAY:
            assert shows_a_break(content), verdict
    for layer in layer_names(flows):
        assert 0 < len(sketch_ops(flows, around=layer).boxes) <= OP_LIMIT
    assert len(sketch_ops(flows).boxes) <= OP_LIMIT


@pytest.mark.parametrize("case", all_cases()[::25], ids=lambda case: case.name)
def test_the_graph_of_a_case_loads_again(case: Case):
    result = audit(case.build)
    whole = plain_graph(result)
    for graph in (
        networkx.parse_graphml(render_graphml(result)),
        networkx.node_link_graph(json.loads(render_node_link(result))),
    ):
        assert dict(graph.nodes(data=True)) == dict(whole.nodes(data=True))
        assert {edge: graph.edges[edge] for edge in graph.edges} == {edge: whole.edges[edge] for edge in whole.edges}
