"""The graph for other tools: what networkx reads back is what was written, whatever the names are."""

from __future__ import annotations

import dataclasses
import json
from xml.etree import ElementTree

import networkx
import pytest

from gradaudit.graph.report import Audit
from gradaudit.graph.verdicts import Source
from gradaudit.reports.graph_data import plain_graph, render_graphml, render_node_link
from gradaudit.reports.inert import is_unseen
from tests.gradaudit.reports.drawing import DrawnGraph, drawn_audit
from tests.gradaudit.reports.hostile import HOSTILE
from tests.gradaudit.reports.test_op_picture import hostile_audit
from tests.gradaudit.reports.xtts_like import xtts_audit


def from_graphml(text: str) -> networkx.DiGraph:
    return networkx.parse_graphml(text)


def from_node_link(text: str) -> networkx.DiGraph:
    return networkx.node_link_graph(json.loads(text))


def content(graph: networkx.DiGraph) -> tuple[dict, dict]:
    return dict(graph.nodes(data=True)), {(tail, head): facts for tail, head, facts in graph.edges(data=True)}


def audited() -> Audit:
    audit = xtts_audit("minimal-unpatched", blocks=2)
    audit.graph.nodes["term:mel"].update(tapes=frozenset({"tape 2", "tape 1"}), weight=2.5, line_of=None)
    return audit


@pytest.mark.parametrize(
    ("render", "read"), [(render_graphml, from_graphml), (render_node_link, from_node_link)], ids=["graphml", "json"]
)
def test_networkx_reads_back_the_nodes_and_edges_of_the_audit(render, read):
    audit = audited()
    graph = read(render(audit))
    assert content(graph) == content(plain_graph(audit))
    assert list(graph) == list(audit.graph)
    assert [*graph.edges] == [*audit.graph.edges]
    assert graph.graph["title"] == "xtts · minimal-unpatched"


def test_attributes_are_plain_and_none_is_left_out():
    nodes = plain_graph(audited()).nodes
    assert nodes["term:mel"] == {
        "kind": "term",
        "term_kind": "task",
        "label": "mel",
        "weight": 2.5,
        "tapes": "tape 1, tape 2",
    }


def test_a_line_of_code_is_a_file_a_line_and_a_function():
    audit = drawn_audit("loss > (l) > Add@m > m/kernel")
    audit.graph.nodes["Add@m"]["source"] = Source("model.py", 7, "call")
    assert plain_graph(audit).nodes["Add@m"] == {
        "kind": "op",
        "op_type": "Add",
        "layer": "m",
        "file": "model.py",
        "line": 7,
        "function": "call",
    }


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), 1e-300])
def test_a_weight_that_json_has_no_number_for_is_text(weight: float):
    audit = drawn_audit("loss > (l) > m/kernel")
    audit.graph.nodes["(l)"]["weight"] = weight
    strict = json.loads(render_node_link(audit), parse_constant=pytest.fail)
    (term,) = (node for node in strict["nodes"] if node["kind"] == "term")
    assert float(term["weight"]) == pytest.approx(weight, nan_ok=True)
    assert from_graphml(render_graphml(audit)).number_of_nodes() == audit.graph.number_of_nodes()


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_hostile_names_come_back_as_they_were_from_json(name: str):
    audit = hostile_audit(name)
    text = render_node_link(audit)
    assert text.isascii()
    assert not any(is_unseen(character) for character in text if character != "\n")
    assert content(from_node_link(text)) == content(plain_graph(audit))


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_hostile_names_come_back_from_graphml_with_escapes_for_what_xml_cannot_hold(name: str):
    audit = hostile_audit(name)
    text = render_graphml(audit)
    assert text.isascii()
    assert not any(is_unseen(character) for character in text if character != "\n")
    tags = {element.tag.rpartition("}")[2] for element in ElementTree.fromstring(text).iter()}
    assert tags == {"graphml", "key", "graph", "node", "edge", "data"}
    graph = from_graphml(text)
    assert graph.number_of_nodes() == audit.graph.number_of_nodes()
    assert graph.number_of_edges() == audit.graph.number_of_edges()
    if all(character >= " " and not "\ud800" <= character <= "\udfff" and character < "\ufffe" for character in name):
        assert content(graph) == content(plain_graph(audit))


def test_two_names_that_become_one_in_xml_stay_two_nodes():
    audit = drawn_audit("loss > (l) > m/a > m/b > m/c")
    names = {"m/a": "x\x00", "m/b": "x\\x00", "m/c": "x\\x00#2"}
    audit = dataclasses.replace(audit, gradients=DrawnGraph(networkx.relabel_nodes(audit.graph, names)))
    graph = from_graphml(render_graphml(audit))
    assert graph.number_of_nodes() == audit.graph.number_of_nodes()
    assert graph.has_edge("x\\x00#3", "MatMul@m") or graph.has_edge("x\\x00#3", "x\\x00")
