"""The picture: DOT as golden files, and what a person sees in it as facts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from xml.etree import ElementTree

import networkx
import pytest

from gradaudit.errors import OutputError
from gradaudit.graph.report import Audit
from gradaudit.graph.verdicts import Block, Source
from gradaudit.reports.graph_report import GraphRequest, render_graph
from gradaudit.reports.picture import draw, render_picture
from gradaudit.reports.sketch import LIMIT, Sketch, sketch
from tests.gradaudit.reports.drawing import drawn_audit, group
from tests.gradaudit.reports.xtts_like import xtts_audit

SVG = "{http://www.w3.org/2000/svg}"
XLINK = "{http://www.w3.org/1999/xlink}"


def boxes(content: Sketch) -> dict[str, str]:
    """The layer boxes, as `module/title`, with the status of each."""
    return {"/".join(filter(None, (box.module, box.title))): box.status for box in content.boxes}


def arrows(content: Sketch) -> set[str]:
    """The arrows in the language of drawings: > for a gradient, ~> for participation, - for none, x for the break."""
    names = {mark.key: mark.title for mark in content.marks}
    names |= {box.key: "/".join(filter(None, (box.module, box.title))) for box in content.boxes}
    signs = {"task": ">", "participation": "~>", "none": "-"}
    return {
        f"{names[arrow.tail]} {'x' if arrow.is_broken else signs[arrow.kind]} {names[arrow.head]}"
        for arrow in content.arrows
    }


@pytest.mark.parametrize("scenario", ["minimal-unpatched", "minimal", "mixed", "comprehensive"])
def test_the_picture_of_a_scenario(scenario: str, golden: Callable[[str, str], None]):
    golden(f"reports/{scenario}.dot", draw(xtts_audit(scenario, blocks=2)))


def test_the_same_audit_gives_the_same_bytes():
    first, second = draw(xtts_audit("minimal-unpatched")), draw(xtts_audit("minimal-unpatched"))
    assert first == second
    assert render_picture(first, "svg") == render_picture(second, "svg")


def test_an_output_that_no_loss_reads_hangs_on_a_dead_end_above_its_layers():
    audit = drawn_audit(
        """
        loss > (mel 2.5) > [mel_output] > m/mel/kernel
        [pitch_output] > m/pitch/kernel
        """,
        group("disconnected", "m/pitch/kernel", outputs=("pitch_output",)),
    )
    assert arrows(sketch(audit)) == {
        "loss > mel",
        "mel > mel_output",
        "mel_output > mel",
        "loss x no loss term reads it",
        "no loss term reads it x pitch_output",
        "pitch_output - pitch",
    }


def test_an_entry_for_what_is_frozen_is_no_dead_end():
    text = "loss > (mel 2.5) > [mel_output] > m/mel/kernel"
    frozen = group("frozen", "m/backbone/kernel", fix="make it trainable")
    listed = replace(frozen, rule="GA302", cause=None)
    assert arrows(sketch(drawn_audit(text, listed))) == arrows(sketch(drawn_audit(text, frozen)))
    assert not [mark for mark in sketch(drawn_audit(text, listed)).marks if mark.kind == "end"]


def test_a_blocking_op_stands_between_what_learns_and_what_does_not():
    source = Source("train.py", 40, "step")
    audit = drawn_audit(
        "loss > (cls) > [logits] > MatMul@m/head > StopGradient@m x> MatMul@m/encoder > m/encoder/kernel\n"
        "MatMul@m/head > m/head/kernel",
        group("disconnected", "m/encoder/kernel", kind="blocked", op_type="StopGradient", source=source),
    )
    assert {"head > StopGradient", "StopGradient x encoder"} < arrows(sketch(audit))


def test_a_blocking_op_inside_of_the_broken_layer_is_drawn_outside_of_it():
    audit = drawn_audit(
        "loss > (l) > m/head/kernel\n(l) > Add@m/encoder > Round@m/encoder x> m/encoder/kernel",
        group("disconnected", "m/encoder/kernel", kind="blocked", op_type="Round"),
    )
    assert "Round x encoder" in arrows(sketch(audit))


def test_a_path_that_ends_twice_is_marked_where_the_gradient_stops_first():
    audit = drawn_audit(
        "loss > (l) > m/head/kernel\n(l) > Round@m x> Add@m > Cast@m x> m/encoder/kernel",
        group("disconnected", "m/encoder/kernel", kind="blocked", op_type="Round"),
    )
    assert "Round x encoder" in arrows(sketch(audit))


def test_the_op_that_the_cause_blames_is_the_one_that_is_marked():
    audit = drawn_audit(
        "loss > (l) > m/head/kernel\n(l) > Select@m x> Greater@m x> Add@m > m/gate/kernel",
        group(
            "disconnected",
            "m/gate/kernel",
            kind="blocked",
            op_type="Greater",
            chain=("loss", "(l)", "Select@m", "Greater@m", "Add@m"),
        ),
    )
    assert {"l x Greater", "Greater x gate"} < arrows(sketch(audit))


def test_an_op_outside_of_the_tape_passes_nothing_though_its_edges_could():
    audit = drawn_audit(
        "loss > (l) > m/head/kernel\n(l) > Add@m > m/late/kernel",
        group("disconnected", "m/late/kernel", kind="outside-tape", op_type="Add", chain=("loss", "(l)", "Add@m", "x")),
    )
    assert arrows(sketch(audit)) == {"loss > l", "l > head", "l > Add", "Add x late"}


def test_a_variable_that_is_disconnected_for_no_op_of_the_graph_has_no_arrow_that_says_otherwise():
    audit = drawn_audit(
        "loss > (l) > m/head/kernel\n(l) > m/unwatched/kernel", group("disconnected", "m/unwatched/kernel")
    )
    assert arrows(sketch(audit)) == {"loss > l", "l > head", "l x unwatched"}


def test_what_else_reads_a_dead_output_is_told_at_its_dead_end():
    entry = group("disconnected", "m/pitch/kernel", outputs=("pitch_output",))
    assert entry.cause is not None
    block = Block("StopGradient", "no-gradient", "m/decoder", Source("decoder.py", 63, "call"))
    object.__setattr__(entry.cause, "blocks", (block,))
    audit = drawn_audit("loss > (l) > m/mel/kernel\n[pitch_output] > m/pitch/kernel", entry)
    (end,) = (mark for mark in sketch(audit).marks if mark.kind == "end")
    assert end.details == ("read by decoder through StopGradient",)


def test_a_variable_that_is_never_read_hangs_on_a_dead_end():
    audit = drawn_audit(
        "loss > (l) > m/head/kernel", group("disconnected", "m/lost/kernel", "m/lost/bias", kind="never-read")
    )
    assert {"loss x never read in this step", "never read in this step x lost"} < arrows(sketch(audit))


def test_a_variable_that_only_a_penalty_reaches_hangs_on_the_penalty_and_no_other_does():
    audit = drawn_audit(
        "loss > (mse) > [y] > m/dense/kernel\nloss > (+l2 0.01) > m/dense/kernel\n(+l2 0.01) > m/unused/kernel",
        group("participation-only", "m/unused/kernel", terms=("l2",)),
    )
    assert "l2 ~> unused" in arrows(sketch(audit))
    assert "l2 ~> dense" not in arrows(sketch(audit))


def test_the_participation_terms_of_one_scope_are_one_box():
    audit = drawn_audit(
        """
        loss > (mel) > [mel_output] > m/mel/kernel
        loss > (~participation/pitch 1e-6) > [pitch_output] > m/pitch/kernel
        loss > (~participation/energy 1e-6) > [energy_output] > m/energy/kernel
        """,
        group("participation-only", "m/pitch/kernel", outputs=("pitch_output",)),
        group("participation-only", "m/energy/kernel", outputs=("energy_output",)),
    )
    drawn = sketch(audit)
    assert [mark.title for mark in drawn.marks if mark.kind == "term"] == ["mel", "participation"]
    assert {"participation ~> pitch_output", "participation ~> energy_output"} < arrows(drawn)


def test_healthy_layers_are_folded_and_broken_ones_open():
    assert boxes(sketch(xtts_audit("minimal-unpatched", blocks=12))) == {
        "audio_encoder": "connected",
        "global_style_token": "connected",
        "text_encoder/the rest": "connected",
        "text_encoder/duration_predictor": "disconnected",
        "prosody_predictor/style_projection": "disconnected",
        "prosody_predictor/prosody_layer_0": "disconnected",
        "prosody_predictor/prosody_layer_1": "disconnected",
        "prosody_predictor/pitch_predictor": "disconnected",
        "prosody_predictor/energy_predictor": "disconnected",
        "prosody_predictor/speaking_rate_predictor": "disconnected",
        "mel_decoder/the rest": "connected",
        "mel_decoder/pitch_projection": "disconnected",
        "mel_decoder/energy_projection": "disconnected",
    }


def test_repeated_broken_layers_are_one_box_that_counts_them():
    paths = [f"m/block_{index}/attention/bias" for index in range(24)]
    text = "loss > (l) > Add@m\n" + "\n".join(f"Add@m > {path}" for path in [*paths, "m/head/kernel"])
    drawn = sketch(drawn_audit(text, group("zero-gradient", *paths)))
    assert boxes(drawn) == {"head": "connected", "block_0 … block_23/attention": "zero-gradient"}
    (row,) = drawn.boxes[-1].rows()
    assert len(row.paths) == 24


def test_layers_that_differ_in_a_verdict_are_not_laid_upon_each_other():
    paths = [f"m/block_{index}/bias" for index in range(4)]
    text = "loss > (l) > Add@m\n" + "\n".join(f"Add@m > {path}" for path in paths)
    drawn = sketch(drawn_audit(text, group("zero-gradient", *paths[:3])))
    assert boxes(drawn) == {"block_3": "connected", "block_0 … block_2": "zero-gradient"}


def test_ops_of_no_layer_are_no_boxes_but_join_them_even_in_a_loop():
    audit = drawn_audit(
        """
        loss > (l) > Sub@ > While@ > Body@ > While@
        Body@ > m/cell/kernel
        m/cell/kernel > m/unlikely/kernel
        """
    )
    assert "l > cell" in arrows(sketch(audit))


def flat_model(layers: int) -> Audit:
    dead = [f"m/{chr(97 + index % 26)}{'x' * (index // 26)}/kernel" for index in range(layers)]
    text = "loss > (l) > Add@m\n" + "\n".join(f"Add@m > m/dense_{index}/kernel" for index in range(layers))
    return drawn_audit(text, *(group("disconnected", path, kind="never-read") for path in dead))


@pytest.mark.parametrize("layers", [1, 10, 100, 400])
def test_however_many_layers_a_model_has_a_screen_holds_the_picture(layers: int):
    assert len(sketch(flat_model(layers))) <= LIMIT


def test_what_is_left_out_is_said():
    text = "\n".join(f"loss > (term_{index}) > m/dense_{index}/kernel" for index in range(30))
    content = sketch(drawn_audit(text))
    assert content.left_out == ("21 loss terms",)
    assert "Left out: 21 loss terms" in draw(drawn_audit(text))
    assert render_graph(drawn_audit(text), GraphRequest("dot")).left_out == ("21 loss terms",)


def test_the_end_of_a_path_may_be_a_glob():
    audit = xtts_audit("minimal-unpatched")
    by_path, by_end = (
        render_graph(audit, GraphRequest("dot", "op", focus=focus))
        for focus in ("xtts/mel_decoder/pitch_projection/kernel", "pitch_proj*/kern?l")
    )
    assert by_path == by_end


def test_a_graph_of_fifty_thousand_ops_is_drawn_on_a_screen():
    audit = xtts_audit("minimal-unpatched", blocks=12)
    graph: networkx.DiGraph = audit.graph
    above = next(node for node, output in graph.nodes(data="output") if output == "mel_output")
    for index in range(50_000):
        layer = None if index % 3 else f"xtts/mel_decoder/block_{index % 12}"
        graph.add_node(f"op {index}", kind="op", op_type="Add", layer=layer, source=None)
        graph.add_edge(above, f"op {index}", flow="passes")
        graph.add_edge(f"op {index}", f"op {index // 2}", flow="blocked" if index % 7 else "passes")
        above = f"op {index}"
    assert len(sketch(audit)) <= LIMIT
    assert draw(audit).startswith("strict digraph")


def test_the_svg_holds_whole_names_as_tooltips_where_the_box_cuts_them():
    long = "m/a_layer_with_a_name_that_is_much_too_long_to_be_drawn"
    audit = drawn_audit("loss > (l) > m/head/kernel", group("disconnected", f"{long}/kernel", kind="never-read"))
    picture = ElementTree.fromstring(render_picture(draw(audit), "svg"))
    tooltips = [anchor.get(f"{XLINK}title", "") for anchor in picture.iter(f"{SVG}a")]
    assert any(long in tooltip for tooltip in tooltips)
    drawn = " ".join(text.text or "" for text in picture.iter(f"{SVG}text"))
    assert "a_layer_with_…_to_be_drawn" in drawn
    assert long not in drawn


@pytest.mark.parametrize(
    "name",
    [
        "<script>alert(1)</script>",
        '"quoted"',
        "back\\slash\\n",
        "a:b:c",
        "&amp;",
        "]]>",
        "new\nline",
        "\x1b[31m",
        "{}|<>",
        "",
    ],
)
def test_hostile_names_are_drawn_as_they_are_written(name: str):
    path = f"m/{name}/kernel"
    audit = drawn_audit(
        "loss > (l) > m/head/kernel", group("disconnected", path, kind="never-read"), subject=name, scenario=name
    )
    picture = ElementTree.fromstring(render_picture(draw(audit), "svg"))
    assert not list(picture.iter(f"{SVG}script"))
    assert not set("\x1b\n") & set("".join(text.text or "" for text in picture.iter(f"{SVG}text")))


def test_hostile_outputs_and_terms_are_drawn_too():
    graph_text = 'loss > (<b>&\\N 1.0) > [<i>:x\\n"] > m/head/kernel'
    picture = ElementTree.fromstring(render_picture(draw(drawn_audit(graph_text)), "svg"))
    drawn = "".join(text.text or "" for text in picture.iter(f"{SVG}text"))
    assert '<i>:x\\n"' in drawn
    assert "<b>&\\N" in drawn


def test_a_status_is_told_by_a_sign_too_not_by_colour_alone():
    dot = draw(xtts_audit("minimal-unpatched", blocks=1))
    assert "\N{MULTIPLICATION SIGN} disconnected" in dot
    assert "✓ connected" in dot


def test_the_png_is_a_png_and_fits_on_a_screen():
    picture = render_picture(draw(xtts_audit("minimal-unpatched")), "png")
    assert picture.startswith(b"\x89PNG\r\n")
    width, height = int.from_bytes(picture[16:20], "big"), int.from_bytes(picture[20:24], "big")
    assert width <= 1620
    assert height <= 1020


def test_drawing_says_nothing_on_standard_error(capfd: pytest.CaptureFixture[str]):
    render_picture(draw(xtts_audit("comprehensive", blocks=1)), "png")
    assert capfd.readouterr().err == ""


def test_a_picture_that_graphviz_refuses_is_an_error_of_ours():
    with pytest.raises(OutputError, match="svg"):
        render_picture("digraph {", "svg")


def test_an_audit_without_a_graph_still_shows_its_layers():
    audit = drawn_audit("", group("disconnected", "m/lost/kernel", kind="never-read"))
    assert boxes(sketch(audit)) == {"lost": "disconnected"}
    assert "lost" in draw(audit)


def test_variables_of_no_layer_are_boxes_of_their_own():
    audit = drawn_audit("", group("disconnected", "w", kind="never-read"), group("frozen", "b"))
    assert boxes(sketch(audit)) == {"w": "disconnected", "b": "frozen"}
    assert "never read in this step x w" in arrows(sketch(audit))


def test_even_a_model_that_is_broken_everywhere_fits_on_a_screen():
    lines, groups = [], []
    for index in range(40):
        lines.append(f"loss_{index} > (term_{index}) > [output_{index}] > m/part_{index}/dense/kernel")
        lines.append(f"(term_{index}) > Round{index}@m x> m/cut_{'x' * index}/dense_{index}/kernel")
        lines.append(f"[dead_{index}] > m/dead_{'y' * index}/dense_{index}/kernel")
        cut = f"m/cut_{'x' * index}/dense_{index}/kernel"
        groups.append(group("disconnected", cut, kind="blocked", op_type=f"Round{index}"))
        dead = f"m/dead_{'y' * index}/dense_{index}/kernel"
        groups.append(group("disconnected", dead, outputs=(f"dead_{index}",)))
    drawn = sketch(drawn_audit("\n".join(lines), *groups))
    assert len(drawn) <= LIMIT
    assert drawn.left_out
