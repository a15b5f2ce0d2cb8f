"""Drawings of ops: what a person sees of a way of the gradient, as facts, and the DOT and SVG as readers see them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from xml.etree import ElementTree

import networkx
import pygraphviz
import pytest

from gradaudit.graph.report import Audit
from gradaudit.graph.verdicts import Block, Source
from gradaudit.reports.graph_report import GraphRequest, render_graph
from gradaudit.reports.inert import is_unseen
from gradaudit.reports.op_flows import OpFlows
from gradaudit.reports.op_picture import draw_ops
from gradaudit.reports.op_sketch import OpBox, OpSketch, sketch_ops
from gradaudit.reports.op_view import OP_LIMIT
from gradaudit.reports.picture import INK, render_picture
from tests.gradaudit.reports.drawing import DrawnGraph, drawn_audit, group
from tests.gradaudit.reports.hostile import HOSTILE
from tests.gradaudit.reports.xtts_like import xtts_audit

SVG = "{http://www.w3.org/2000/svg}"
XLINK = "{http://www.w3.org/1999/xlink}"
SIGNS = {
    "gradient": ">",
    "participation": "~>",
    "zero": "0>",
    "opaque": "?>",
    "blocked": "x",
    "detached": "|",
    "none": "-",
    "unneeded": ".",
}


def sketched(audit: Audit, **view: str) -> OpSketch:
    return sketch_ops(OpFlows(audit), **view)


def arrows(content: OpSketch) -> set[str]:
    """The arrows in the language of drawings: > for a gradient, - for none, x for where a way ends."""
    names = {box.key: box.title for box in content.boxes}
    return {f"{names[arrow.tail]} {SIGNS[arrow.kind]} {names[arrow.head]}" for arrow in content.arrows}


def box(content: OpSketch, title: str) -> OpBox:
    (found,) = (box for box in content.boxes if box.title == title)
    return found


def dot_of(audit: Audit, **view: str) -> pygraphviz.AGraph:
    return pygraphviz.AGraph(string=draw_ops(audit, sketched(audit, **view)))


def words_of(audit: Audit, **view: str) -> str:
    """All words of a drawing."""
    picture = ElementTree.fromstring(render_picture(draw_ops(audit, sketched(audit, **view)), "svg"))
    return " ".join(text.text or "" for text in picture.iter(f"{SVG}text"))


DETACHED = drawn_audit(
    "loss > (cls) > [logits] > MatMul@m/head > StopGradient@m x> Add@m/encoder > m/encoder/kernel\n"
    "MatMul@m/head > m/head/kernel",
    group("disconnected", "m/encoder/kernel", kind="blocked", op_type="StopGradient", source=Source("t.py", 4, "step")),
)


# --------------------------------------------------------------------------------------------------------- one variable


def test_the_way_to_a_variable_goes_from_the_loss_over_the_break_to_it():
    content = sketched(DETACHED, focus="m/encoder/kernel")
    assert {
        "loss > cls",
        "cls > logits",
        "logits > MatMul",
        "MatMul > StopGradient",
        "StopGradient x Add",
        "Add - kernel",
    } <= arrows(content)
    assert [box.title for box in content.boxes if box.is_break] == ["StopGradient"]
    assert [box.title for box in content.boxes if box.is_focus] == ["kernel"]
    assert content.headline == "m/encoder/kernel is disconnected"
    assert content.sentences == ("why: read by no loss term", "fix: give the output a target")


def test_the_way_to_a_variable_that_learns_is_one_of_gradients_and_names_its_terms():
    content = sketched(DETACHED, focus="m/head/kernel")
    assert {"loss > cls", "cls > logits", "logits > MatMul", "MatMul > kernel"} <= arrows(content)
    assert not any(box.is_break for box in content.boxes if box.title != "StopGradient")
    assert content.sentences == ("trained by cls",)


def test_an_output_that_no_loss_reads_hangs_on_a_dead_end_beside_the_way_that_is_broken():
    entry = group("disconnected", "m/pitch/kernel", outputs=("pitch_output",))
    assert entry.cause is not None
    block = Block("StopGradient", "no-gradient", "m/decoder", Source("decoder.py", 63, "call"))
    object.__setattr__(entry.cause, "blocks", (block,))
    audit = drawn_audit(
        "loss > (mel) > Mul@m/decoder > StopGradient@m/decoder x> [pitch_output@m] > m/pitch/kernel", entry
    )
    content = sketched(audit, focus="m/pitch/kernel")
    assert {"StopGradient x pitch_output", "no loss term reads it x pitch_output"} < arrows(content)
    assert box(content, "no loss term reads it").details == ("read by decoder through StopGradient",)


def test_the_verdicts_own_chain_goes_before_a_shorter_way():
    audit = drawn_audit(
        "loss > (l) > Select@m x> Greater@m x> Add@m > m/gate/kernel\n(l) > Round@m x> Add@m\n(l) > m/head/kernel",
        group(
            "disconnected",
            "m/gate/kernel",
            kind="blocked",
            op_type="Greater",
            chain=("loss", "(l)", "Select@m", "Greater@m", "Add@m"),
        ),
    )
    assert {"l > Select", "Select x Greater", "Greater - Add"} < arrows(sketched(audit, focus="m/gate/kernel"))


def test_a_value_that_carries_no_gradient_is_drawn_where_the_way_goes_through_it():
    audit = drawn_audit(
        "loss > (l) > Gather@m x> ArgMax@m x> Softmax@m > m/router/kernel",
        group("disconnected", "m/router/kernel", kind="blocked", op_type="ArgMax"),
    )
    audit.graph.nodes["ArgMax@m"]["carries"] = False
    assert {"Gather x ArgMax", "ArgMax - Softmax"} < arrows(sketched(audit, focus="m/router/kernel"))


def test_an_op_outside_of_the_tape_passes_nothing_though_its_edges_could():
    audit = drawn_audit(
        "loss > (l) > Add@m > m/late/kernel",
        group("disconnected", "m/late/kernel", kind="outside-tape", op_type="Add", chain=("loss", "(l)", "Add@m", "x")),
    )
    content = sketched(audit, focus="m/late/kernel")
    assert "Add x MatMul" in arrows(content)
    assert box(content, "Add").is_break


def test_zeros_and_ops_that_cannot_be_seen_into_have_arrows_of_their_own():
    audit = drawn_audit(
        "loss > (l) > Mul@m 0> Add@m > m/zero/kernel\n(l) > Custom@m ?> Sub@m > m/hidden/kernel",
        group("zero-gradient", "m/zero/kernel", kind="blocked", op_type="Mul"),
        group("opaque", "m/hidden/kernel", kind="blocked", op_type="Custom"),
    )
    zero, hidden = sketched(audit, focus="m/zero/kernel"), sketched(audit, focus="m/hidden/kernel")
    assert {"l > Mul", "Mul 0> Add", "MatMul 0> kernel"} < arrows(zero)
    assert {"l > Custom", "Custom ?> Sub", "MatMul ?> kernel"} < arrows(hidden)
    breaks = {box.title: box.break_status for drawing in (zero, hidden) for box in drawing.boxes if box.is_break}
    assert breaks == {"Mul": "zero-gradient", "Custom": "opaque"}


def test_a_variable_that_only_participates_has_that_way_and_the_one_on_which_no_task_comes():
    audit = drawn_audit(
        "loss > (mel) > StopGradient@m x> [pitch@m] > m/pitch/kernel\nloss > (~part/pitch 1e-6) > [pitch@m]",
        group("participation-only", "m/pitch/kernel", outputs=("pitch",), terms=("part/pitch",)),
    )
    content = sketched(audit, focus="m/pitch/kernel")
    assert {"loss > mel", "StopGradient x pitch", "loss ~> part/pitch", "part/pitch ~> pitch"} < arrows(content)
    assert "MatMul ~> kernel" in arrows(content)


def test_a_block_is_no_break_where_a_gradient_arrives_by_another_way():
    audit = drawn_audit("loss > (l) > Add@m > m/dense/kernel\n(l) > StopGradient@m x> Add@m")
    content = sketched(audit, around="m")
    assert "StopGradient | Add" in arrows(content)
    assert not any(box.is_break for box in content.boxes)


def test_reads_and_what_a_function_captures_are_left_out_of_the_way():
    audit = drawn_audit("loss > (l) > Add@m > ReadVariableOp@m > Placeholder@m > m/kernel")
    assert arrows(sketched(audit, focus="m/kernel")) == {"loss > l", "l > Add", "Add > kernel"}


def test_a_loop_of_ops_that_hand_values_on_ends():
    audit = drawn_audit("loss > (l) > Add@m > Identity@m > Identity@m/x > Identity@m\nAdd@m > m/d/kernel")
    assert "MatMul > kernel" in arrows(sketched(audit, focus="m/d/kernel"))


def test_a_variable_that_nothing_reads_is_drawn_under_its_dead_end():
    audit = drawn_audit("loss > (l) > m/head/kernel", group("disconnected", "m/lost/kernel", kind="never-read"))
    assert arrows(sketched(audit, focus="m/lost/kernel")) == {"never read in this step x kernel"}
    audit.graph.remove_node("m/lost/kernel") if "m/lost/kernel" in audit.graph else None
    assert arrows(sketched(audit, focus="m/lost/kernel")) == {"never read in this step x kernel"}


def long_way(ops: int) -> Audit:
    chain = " > ".join(f"Op{index}@m/block_{index // 10}" for index in range(ops))
    return drawn_audit(f"loss > (l) > {chain} > m/embedding/kernel")


def test_a_long_way_is_folded_where_nothing_happens():
    content = sketched(long_way(300), focus="m/embedding/kernel")
    assert len(content.boxes) < 10
    (run,) = (box for box in content.boxes if box.kind == "run")
    assert (run.title, run.details) == ("300 ops", ("of m/block_0", "to m/block_29"))
    assert run.tooltip.endswith("… 276 more")


# ------------------------------------------------------------------------------------------------------- around a layer


def test_around_a_layer_are_its_ops_and_its_neighbours_and_nothing_else():
    audit = drawn_audit("loss > (l) > [y@m/head] > Mul@m/head > Tanh@m/body > Add@m/body > Relu@m/stem > m/stem/kernel")
    content = sketched(audit, around="m/body")
    assert arrows(content) == {"Mul > Tanh", "Tanh > Add", "Add > Relu"}
    assert [box.title for box in content.boxes if box.kind == "outside"] == ["Mul", "Relu"]
    assert content.left_out == ("1 more op: --around LAYER shows one",)


def test_layers_below_are_folded_where_they_do_not_fit_and_the_broken_one_stays_open():
    lines = ["loss > (l) > Add@m/d"]
    for number in range(30):
        ops = " > ".join(f"Op{number}_{index}@m/d/part{'abcdefghijklmnopqrstuvwxyzABCD'[number]}" for index in range(9))
        lines.append(
            f"Add@m/d {'x' if number == 7 else ''}> {ops} > m/d/part{'abcdefghijklmnopqrstuvwxyzABCD'[number]}/w"
        )
    audit = drawn_audit("\n".join(lines), group("disconnected", "m/d/parth/w", kind="blocked", op_type="Add"))
    content = sketched(audit, around="m/d")
    assert {"Add x Op7_0", "Op7_8 - w"} < arrows(content)
    assert {"9 ops, 1 variable"} == {box.details[0] for box in content.boxes if box.kind == "layer"}
    assert len(content.boxes) <= OP_LIMIT


def test_repeated_healthy_layers_are_one_box_that_counts_them():
    chain = " > ".join(f"Add@m/d/block_{number} > Mul@m/d/block_{number}" for number in range(24))
    variables = "\n".join(f"Mul@m/d/block_{number} > m/d/block_{number}/w" for number in range(24))
    content = sketched(
        drawn_audit(f"loss > (l) > Tanh@m/d > {chain} > Sub@m/d\n{variables}\nSub@m/d > m/d/w"), around="m/d"
    )
    assert box(content, "block_0 … block_23").details == ("24 layers, 48 ops, 24 variables",)
    assert {"Tanh > block_0 … block_23", "block_0 … block_23 > Sub"} < arrows(content)


@pytest.mark.parametrize("ops", [10, 100, 3_000])
@pytest.mark.parametrize("layer", ["m/flat", ""])
def test_however_many_ops_stand_in_one_layer_a_person_can_read_the_drawing(ops: int, layer: str):
    lines = [f"Op{index}@{layer} > Op{index + 1}@{layer}" for index in range(ops)]
    lines += [f"Op{index}@{layer} > Op{min(ops, index * 2)}@{layer}" for index in range(1, ops)]
    lines += [f"loss > (l) > Op0@{layer}", f"Op{ops}@{layer} > m/flat/w"]
    audit = drawn_audit("\n".join(lines))
    content = sketched(audit, **({"around": layer} if layer else {}))
    assert len(content.boxes) <= OP_LIMIT
    if ops > OP_LIMIT:
        drawn = sum(1 for box in content.boxes if box.kind == "op")
        assert content.left_out == (f"{ops + 1 - drawn:,} more ops: --around LAYER shows one",)
        assert any("… more next to it" in box.details for box in content.boxes)


def test_a_layer_of_many_layers_is_drawn_with_those_that_do_not_learn():
    names = ["".join(chr(97 + int(digit)) for digit in f"{number:03}") for number in range(300)]
    lines = [f"loss > (l) > Add@m > A@m/{name} > B@m/{name} > m/{name}/w" for name in names]
    dead = f"m/{names[250]}/w"
    audit = drawn_audit("\n".join(lines), group("disconnected", dead, kind="blocked"))
    content = sketched(audit, around="m")
    assert 40 < len(content.boxes) <= OP_LIMIT
    assert f"m/{names[250]}" in {place for box in content.boxes for place in (box.place, f"{box.place}/{box.title}")}
    assert content.left_out[0].endswith("layers: --around LAYER shows one")
    assert box(content, "Add").details == ("… more next to it",)


def test_a_layer_with_more_neighbours_than_a_drawing_holds_is_drawn_with_some():
    lines = [f"loss > (l) > Op{number}@out{'x' * number} > Add@m/hub" for number in range(100)]
    content = sketched(drawn_audit("\n".join(lines) + "\nAdd@m/hub > m/hub/w"), around="m/hub")
    assert 5 < len(content.boxes) <= OP_LIMIT


# ------------------------------------------------------------------------------------------------------- the whole step


def test_without_a_focus_the_way_to_each_entry_of_the_report_is_drawn():
    content = sketched(xtts_audit("minimal-unpatched"))
    ends = {head.split(" x ")[1] for head in arrows(content) if head.startswith("no loss term reads")}
    assert ends == {
        "duration_pred",
        *("prosody_pitch", "prosody_energy", "prosody_speaking_rate"),
        *("pitch_output", "energy_output"),
    }
    assert content.headline.endswith("will never learn")
    assert "and 11 more variables" in {detail for box in content.boxes for detail in box.details}


def test_more_broken_entries_than_fit_are_counted():
    lines, groups = [], []
    for number in range(80):
        lines.append(f"loss > (term_{number}) > Round{number}@m x> m/part{number}/kernel")
        groups.append(group("disconnected", f"m/part{number}/kernel", kind="blocked", op_type=f"Round{number}"))
    content = sketched(drawn_audit("\n".join(lines), *groups))
    assert 40 < len(content.boxes) <= OP_LIMIT
    assert "more of the report's entries: --focus VARIABLE shows one" in content.left_out[0]


def test_an_entry_that_no_drawing_can_show_is_counted():
    audit = drawn_audit("loss > (l) > m/head/kernel", group("disconnected", "m/lost/kernel", kind="never-read"))
    assert sketched(audit).left_out[0] == "1 more of the report's entries: --focus VARIABLE shows one"


def test_a_step_in_which_all_is_well_is_drawn_with_its_layers_folded():
    content = sketched(xtts_audit("comprehensive", blocks=6))
    assert {box.status for box in content.boxes} == {"connected"}
    assert {"loss > mel", "loss > stop"} < arrows(content)
    assert len(content.boxes) <= OP_LIMIT


def test_an_audit_without_a_graph_is_an_empty_drawing():
    assert sketched(drawn_audit("", group("frozen", "b"))).boxes == ()


# ---------------------------------------------------------------------------------------------------------- the drawing


@pytest.mark.parametrize(
    ("name", "view"),
    [
        ("focus", {"focus": "xtts/mel_decoder/pitch_projection/kernel"}),
        ("around", {"around": "xtts/mel_decoder"}),
        ("ops", {}),
    ],
)
def test_the_drawing_of_a_step(name: str, view: dict[str, str], golden: Callable[[str, str], None]):
    audit = xtts_audit("minimal-unpatched", blocks=2)
    golden(f"reports/minimal-unpatched.{name}.dot", draw_ops(audit, sketched(audit, **view)))


def test_the_same_step_gives_the_same_bytes_in_every_format():
    for form in ("dot", "svg", "png", "pdf", "graphml", "json"):
        request = GraphRequest(form, "op")
        first, second = (render_graph(xtts_audit("minimal-unpatched"), request) for _ in range(2))
        assert first == second, form


def test_every_format_is_what_it_is_called():
    starts = {"svg": b"<?xml", "png": b"\x89PNG\r\n", "pdf": b"%PDF-", "dot": b"strict digraph"}
    for form, start in starts.items():
        assert render_graph(DETACHED, GraphRequest(form, "op")).content.startswith(start)


def test_a_break_is_told_by_a_sign_and_a_form_too_not_by_colour_alone():
    drawing = dot_of(DETACHED, focus="m/encoder/kernel")
    (node,) = (node for node in drawing.nodes() if "StopGradient" in node.attr["label"])
    assert node.attr["shape"] == "octagon"
    assert "\N{MULTIPLICATION SIGN}" in node.attr["label"]
    assert node.attr["color"] == INK["disconnected"]
    assert any(edge.attr["arrowhead"] == "tee" for edge in drawing.out_edges(node))


def test_the_legend_tells_each_kind_of_line_that_is_drawn_and_no_other():
    words = words_of(DETACHED, focus="m/encoder/kernel")
    assert all(meaning in words for meaning in ("the path ends here", "no gradient", "──▸"))
    assert "zeros" not in words
    assert "participation" not in words


def test_what_is_left_out_is_said_in_the_drawing():
    audit = long_way(90)
    (clause,) = sketched(audit, around="m/block_1").left_out
    assert f"… {clause}" in words_of(audit, around="m/block_1")


def test_a_long_name_is_cut_in_the_middle_and_whole_in_the_tooltip():
    long = "an_op_with_a_name_that_is_much_too_long_to_be_drawn"
    audit = drawn_audit(f"loss > (l) > {long}@m/d > m/d/kernel")
    picture = ElementTree.fromstring(render_picture(draw_ops(audit, sketched(audit, focus="m/d/kernel")), "svg"))
    drawn = " ".join(text.text or "" for text in picture.iter(f"{SVG}text"))
    assert "an_op_with_a_…_to_be_drawn" in drawn
    assert any(long in anchor.get(f"{XLINK}title", "") for anchor in picture.iter(f"{SVG}a"))


def hostile_audit(name: str) -> Audit:
    """An audit in which the name stands wherever a name can stand."""
    graph = drawn_audit("loss > (l) > StopGradient@m x> [y@m] > m/dense/kernel").graph
    path = f"{name}/kernel"
    renamed = networkx.relabel_nodes(graph, {"m/dense/kernel": path, "StopGradient@m": f"{name}/op"})
    renamed.nodes[path].update(path=path, layer=name)
    renamed.nodes[f"{name}/op"].update(op_type=name, layer=name, source=Source(name, 1, name))
    renamed.nodes["(l)"]["label"] = name
    renamed.nodes["[y@m]"].update(output=name or "y", layer=f"{name}/inner", scope=name)
    entry = group("disconnected", path, outputs=(name or "y",), message=name, fix=name, source=Source(name, 2, name))
    audit = drawn_audit("", entry, subject=name, scenario=name)
    return dataclasses.replace(audit, gradients=DrawnGraph(renamed))


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("view", ["layer", "focus", "around", "op"])
def test_hostile_names_are_drawn_as_they_are_written(name: str, view: str):
    audit = hostile_audit(name)
    focus = f"{name}/kernel" if view == "focus" else None
    around = next(iter(filter(None, name.split("/"))), None) if view == "around" and name == name.strip("/") else None
    request = GraphRequest("dot", "layer" if view == "layer" else "op", focus, around)
    dot = render_graph(audit, request).content.decode("utf-8")

    assert not any(is_unseen(character) for character in dot if character not in "\n\t")
    assert len(pygraphviz.AGraph(string=dot).nodes()) >= 3
    picture = ElementTree.fromstring(render_picture(dot, "svg"))
    assert not [element.tag for element in picture.iter() if element.tag.rpartition("}")[2] in ("script", "image", "b")]
    assert not any(
        "onload" in attribute or "href" in attribute
        for e in picture.iter()
        for attribute in e.attrib
        if e.get(attribute)
    )
    assert not any(is_unseen(c) for text in picture.iter(f"{SVG}text") for c in text.text or "")


@pytest.mark.parametrize("view", ["layer", "op"])
def test_a_very_long_name_makes_no_wide_picture(view: str):
    picture = render_graph(hostile_audit(HOSTILE["very long"]), GraphRequest("png", view)).content
    assert int.from_bytes(picture[16:20], "big") < 1650


def test_a_block_behind_which_nothing_misses_a_gradient_is_no_break():
    audit = drawn_audit("loss > (l) > Mul@m > StopGradient@m x> Tanh@m > [y@m/b] > m/b/w\n(l) > [y@m/b]")
    content = sketched(audit, around="m")
    assert "StopGradient | Tanh" in arrows(content)
    assert {box.status for box in content.boxes if box.is_break or box.status == "disconnected"} == set()


def test_what_the_step_computes_beside_its_losses_is_left_out():
    audit = drawn_audit("loss > (l) > Add@m > m/d/kernel\nMetric@m > Add@m\nMetric@m > m/lone/kernel")
    audit.graph.add_edge("Count@m", "Add@m", flow="passes")
    audit.graph.nodes["Count@m"].update(kind="op", op_type="Count", layer="m", source=None)
    titles = {box.title for box in sketched(audit, around="m").boxes}
    assert "Metric" in titles  # for one variable it is all that reads it
    assert "Count" not in titles


def test_drawing_says_nothing_on_standard_error(capfd: pytest.CaptureFixture[str]):
    render_graph(DETACHED, GraphRequest("pdf", "op"))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "view", [{"focus": "xtts/mel_decoder/pitch_projection/kernel"}, {"around": "xtts/mel_decoder"}, {}]
)
def test_a_graph_of_twenty_thousand_ops_is_drawn_in_a_few_boxes(view: dict[str, str]):
    audit = xtts_audit("minimal-unpatched", blocks=80)
    above = next(node for node, output in audit.graph.nodes(data="output") if output == "mel_output")
    while audit.graph.number_of_nodes() < 20_000:
        number = audit.graph.number_of_nodes()
        audit.graph.add_node(
            f"op {number}", kind="op", op_type="Add", layer=f"xtts/mel_decoder/x_{number % 50}", source=None
        )
        audit.graph.add_edge(above, f"op {number}", flow="passes")
        above = f"op {number}"
    audit.graph.add_edge(above, "xtts/mel_decoder/pitch_projection/kernel", flow="passes")
    content = sketched(audit, **view)
    assert 0 < len(content.boxes) <= OP_LIMIT
    assert draw_ops(audit, content).startswith("strict digraph")
