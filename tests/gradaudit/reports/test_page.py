"""The HTML page without a browser: what it holds, how it is nested, and that nothing in it can do harm."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from gradaudit.graph.report import Audit
from gradaudit.graph.verdicts import Source
from gradaudit.reports.page import render_page
from gradaudit.reports.page.source_lines import source_lines
from gradaudit.reports.wording import REPORTING_ORDER
from tests.gradaudit.reports.drawing import drawn_audit, group, report_of
from tests.gradaudit.reports.hostile import HOSTILE_NAMES, hostile_report
from tests.gradaudit.reports.large import OPS, VARIABLES, large_audit
from tests.gradaudit.reports.xtts_like import xtts_audit

BOX = ("kind", "title", "status", "rank", "variables", "children", "details", "open", "path")
BLOCKED = """
    loss > (mel) > [out] > MatMul@m/head > StopGradient@m/decoder x> MatMul@m/encoder > m/encoder/kernel
    MatMul@m/head > m/head/kernel
    MatMul@m/head > m/decoder/dense/kernel
"""
CHAIN = ("loss", "(mel)", "[out]", "MatMul@m/head", "StopGradient@m/decoder", "MatMul@m/encoder")


class Elements(HTMLParser):
    """The elements of a page with their attributes, and the text of its scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {"script": [], "style": [], "title": []}
        self._open = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._open = tag

    def handle_data(self, data: str) -> None:
        if self._open in self.texts:
            self.texts[self._open].append(data)
            self._open = ""


def content_of(*audits: Audit) -> dict[str, Any]:
    """What the page of these audits knows."""
    return json.loads(Elements(render_page(report_of(*audits))).texts["script"][0])


def boxes_of(audit: dict[str, Any]) -> list[dict[str, Any]]:
    return [dict(zip(BOX, box, strict=True)) for box in audit["boxes"]]


def box_called(audit: dict[str, Any], title: str) -> int:
    (number,) = [number for number, box in enumerate(boxes_of(audit)) if box["title"] == title]
    return number


def lines_of(audit: dict[str, Any]) -> set[str]:
    titles = [box["title"] for box in boxes_of(audit)]
    return {f"{titles[tail]} {kind} {titles[head]}" for tail, head, kind in audit["lines"]}


def way_to(audit: dict[str, Any], path: str) -> list[str]:
    """The words of the way to a variable; a step that no gradient gets to has a cross before it."""
    (number,) = [variable[7] for variable in audit["variables"] if variable[0] == path]
    way = []
    while number >= 0:
        above, label, _, _, kind, _, _ = audit["ways"]["steps"][number]
        way.append(("x " if kind >= 4 else "") + audit["ways"]["words"][label])
        number = above
    return way[::-1]


# ------------------------------------------------------------------------------------------------------- one inert file


def test_the_page_is_one_file_that_loads_nothing():
    page = render_page(report_of(xtts_audit("minimal-unpatched", blocks=2)))
    elements = Elements(page).found
    assert not [
        attributes for _, attributes in elements if {"src", "href", "style", "onclick", "action"} & {*attributes}
    ]
    assert not {"link", "img", "iframe", "object", "base", "form"} & {tag for tag, _ in elements}
    assert "@import" not in page
    assert "url(http" not in page


def test_the_policy_lets_nothing_in_but_the_page_s_own_script_and_style():
    elements = Elements(render_page(report_of(xtts_audit("minimal", blocks=1))))
    (policy,) = [each["content"] for tag, each in elements.found if each.get("http-equiv") == "Content-Security-Policy"]
    digests = {
        kind: base64.b64encode(hashlib.sha256(elements.texts[kind][-1].encode()).digest()).decode()
        for kind in ("script", "style")
    }
    assert policy is not None
    assert policy.split("; ") == [
        "default-src 'none'",
        f"style-src 'sha256-{digests['style']}'",
        f"script-src 'sha256-{digests['script']}'",
        "base-uri 'none'",
        "form-action 'none'",
    ]


def test_the_same_audit_gives_the_same_bytes_apart_from_timings():
    report = report_of(xtts_audit("minimal-unpatched", blocks=2), xtts_audit("mixed", blocks=2))
    again = report_of(xtts_audit("minimal-unpatched", blocks=2), xtts_audit("mixed", blocks=2))
    slower = tuple(dataclasses.replace(audit, seconds={"trace": 99.0}) for audit in report.audits)
    page = render_page(report)
    assert page == render_page(again)
    later = render_page(dataclasses.replace(report, audits=slower))
    assert later != page
    untimed = [re.sub(r"Traced in [\d.]+ s", "Traced", each) for each in (page, later)]
    assert untimed[0] == untimed[1]


def test_hostile_names_are_text_in_the_page_and_nothing_else():
    harmless, hostile = render_page(report_of(drawn_audit(BLOCKED))), render_page(hostile_report())
    count = [Counter(tag for tag, _ in Elements(page).found) for page in (harmless, hostile)]
    assert count[0] == count[1], "a name has become an element"
    data = Elements(hostile).texts["script"][0]
    assert not re.search("[<>&\u2028\u2029\u202e\x1b\x7f]", data)


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_hostile_name_is_told_with_its_unseen_characters_as_escapes(name: str):
    audit = content_of(drawn_audit("loss > (mel) > [out] > m/kernel", group("disconnected", f"m/{name}/kernel")))
    (path,) = [variable[0] for variable in audit["audits"][0]["variables"] if variable[3] == 0]
    assert path.isprintable()
    assert len(path) <= 2000
    for seen in ("<script>", "</script>", "]]>", "-->", '"', "::error::"):
        assert (seen in name and len(name) < 1000) <= (seen in path)


def test_a_report_without_variables_and_one_without_audits_have_a_page_too():
    nothing = Audit("empty", None, (), (), (), (), drawn_audit("loss > (mel) > [out]").gradients)
    assert content_of(nothing)["audits"][0]["headline"] == "No variables to audit"
    assert content_of()["audits"] == []


# ------------------------------------------------------------------------------------------------------------ the graph


def test_every_variable_stands_in_one_box_and_every_box_in_one_other():
    (audit,) = content_of(xtts_audit("minimal-unpatched", blocks=6))["audits"]
    boxes = boxes_of(audit)
    assert Counter(number for box in boxes for number in box["variables"]) == Counter(range(len(audit["variables"])))
    assert Counter(child for box in boxes for child in box["children"]) == Counter(range(1, len(boxes)))


def test_no_box_has_more_in_it_than_a_person_reads():
    (audit,) = content_of(large_audit())["audits"]
    # A broken layer stands beside its healthy neighbours, which are one box.
    assert max(len(box["children"]) for box in boxes_of(audit)[1:]) <= 17
    assert max(len(box["variables"]) for box in boxes_of(audit)) <= 16


def test_what_is_broken_is_open_and_what_is_healthy_beside_it_is_one_closed_box():
    (audit,) = content_of(xtts_audit("minimal-unpatched", blocks=6))["audits"]
    boxes = boxes_of(audit)
    decoder = boxes[box_called(audit, "mel_decoder")]
    assert decoder["open"]
    inside = {boxes[child]["title"]: boxes[child]["open"] for child in decoder["children"]}
    assert inside == {"pitch_projection": 1, "energy_projection": 1, "11 healthy layers": 0}
    assert not boxes[box_called(audit, "audio_encoder")]["open"]


def test_losses_terms_outputs_and_layers_stand_in_rows_below_each_other():
    (audit,) = content_of(xtts_audit("minimal-unpatched", blocks=2))["audits"]
    boxes = boxes_of(audit)
    ranks: dict[str, set[int]] = {}
    for child in boxes[0]["children"]:
        ranks.setdefault(boxes[child]["kind"], set()).add(boxes[child]["rank"])
    assert (ranks["objective"], ranks["term"], ranks["end"], ranks["output"]) == ({0}, {1}, {1}, {2})
    assert min(ranks["layer"]) == 3


def test_consumers_stand_above_what_they_consume_round_a_loop_too():
    audit = drawn_audit(
        """
        loss > (mel) > [out] > MatMul@m/top > MatMul@m/left > MatMul@m/right > MatMul@m/left
        MatMul@m/right > MatMul@m/bottom > m/bottom/kernel
        MatMul@m/top > m/top/kernel
        MatMul@m/left > m/left/kernel
        MatMul@m/right > m/right/kernel
        """
    )
    (content,) = content_of(audit)["audits"]
    ranks = {box["title"]: box["rank"] for box in boxes_of(content)}
    assert ranks["top"] < ranks["left"] < ranks["right"] < ranks["bottom"]


def test_a_line_that_a_longer_way_tells_is_left_out():
    audit = drawn_audit(
        """
        loss > (mel) > [out] > MatMul@m/one > MatMul@m/two > MatMul@m/three > m/three/kernel
        MatMul@m/one > MatMul@m/three
        MatMul@m/one > m/one/kernel
        MatMul@m/two > m/two/kernel
        """
    )
    lines = lines_of(content_of(audit)["audits"][0])
    assert {"one task two", "two task three"} < lines
    assert "one task three" not in lines


def test_a_break_stands_in_its_layer_and_the_line_below_it_is_broken():
    blocked = group("disconnected", "m/encoder/kernel", kind="blocked", op_type="StopGradient", chain=CHAIN)
    (audit,) = content_of(drawn_audit(BLOCKED, blocked))["audits"]
    assert {"head task StopGradient", "StopGradient broken encoder"} < lines_of(audit)
    assert boxes_of(audit)[box_called(audit, "StopGradient")]["kind"] == "break"


def test_an_output_that_no_term_reads_hangs_on_a_dead_end():
    (audit,) = content_of(xtts_audit("minimal-unpatched", blocks=2))["audits"]
    assert {"loss broken no loss term reads it", "no loss term reads it broken duration_pred"} < lines_of(audit)
    assert "duration_pred none duration_predictor" in lines_of(audit)


def test_participation_terms_of_one_scope_are_one_box_that_opens():
    audit = drawn_audit(
        """
        loss > (~scope/a 1e-6) > m/a/kernel
        loss > (~scope/b 1e-6) > m/b/kernel
        loss > (mel) > m/c/kernel
        """
    )
    (content,) = content_of(audit)["audits"]
    boxes = boxes_of(content)
    scope = boxes[box_called(content, "scope")]
    inside = [(boxes[child]["title"], boxes[child]["path"]) for child in scope["children"]]
    assert inside == [("a", "scope/a"), ("b", "scope/b")]
    assert boxes[box_called(content, "mel")]["kind"] == "term"


# ------------------------------------------------------------------------------------------------------------- the ways


def test_the_way_to_a_connected_variable_comes_from_the_loss():
    assert way_to(content_of(drawn_audit(BLOCKED))["audits"][0], "m/head/kernel") == [
        "loss",
        "mel",
        "Identity",
        "MatMul",
        "m/head/kernel",
    ]


def test_a_task_term_is_preferred_to_a_shorter_way_from_another():
    audit = drawn_audit("loss > (mel) > [out] > MatMul@m/a > m/a/kernel\nloss > (+l2) > m/a/kernel")
    assert way_to(content_of(audit)["audits"][0], "m/a/kernel")[1] == "mel"


def test_the_way_to_a_blocked_variable_goes_on_beyond_its_break():
    blocked = group("disconnected", "m/encoder/kernel", kind="blocked", op_type="StopGradient", chain=CHAIN)
    (audit,) = content_of(drawn_audit(BLOCKED, blocked))["audits"]
    expected = ["loss", "mel", "Identity", "MatMul", "StopGradient", "x MatMul", "m/encoder/kernel"]
    assert way_to(audit, "m/encoder/kernel") == expected


def test_the_way_to_what_no_term_reads_begins_at_its_output():
    (audit,) = content_of(xtts_audit("minimal-unpatched", blocks=2))["audits"]
    way = way_to(audit, "xtts/text_encoder/duration_predictor/kernel")
    assert way[0] == "AddV2"
    assert way[-1] == "xtts/text_encoder/duration_predictor/kernel"
    assert not [word for word in way if word.startswith("x ")]


def test_a_way_knows_the_boxes_of_its_loss_term_output_and_break():
    blocked = group("disconnected", "m/encoder/kernel", kind="blocked", op_type="StopGradient", chain=CHAIN)
    (audit,) = content_of(drawn_audit(BLOCKED, blocked))["audits"]
    titles = [box["title"] for box in boxes_of(audit)]
    marks = {titles[step[6]] for step in audit["ways"]["steps"] if step[6] >= 0}
    assert marks == {"loss", "mel", "out", "StopGradient"}


def test_terms_of_two_losses_with_one_name_are_two_boxes():
    audit = drawn_audit("one > (mel) > m/a/kernel\ntwo > (mel 2) > m/b/kernel")
    (content,) = content_of(audit)["audits"]
    assert Counter(box["kind"] for box in boxes_of(content))["term"] == 2
    assert not [box for box in boxes_of(content) if box["kind"] == "group"]


def test_the_way_to_what_ends_in_no_output_begins_where_it_ends():
    dead = group("disconnected", "m/lost/kernel")
    (audit,) = content_of(drawn_audit(BLOCKED + "MatMul@m/lost > Relu@m/lost > m/lost/kernel", dead))["audits"]
    assert way_to(audit, "m/lost/kernel") == ["MatMul", "Relu", "m/lost/kernel"]


def test_the_way_to_what_no_tape_watches_breaks_at_the_variable():
    unwatched = group("disconnected", "m/head/kernel", kind="outside-tape")
    (audit,) = content_of(drawn_audit(BLOCKED, unwatched))["audits"]
    assert way_to(audit, "m/head/kernel") == ["loss", "mel", "Identity", "MatMul", "x m/head/kernel"]


def test_a_variable_that_nothing_reads_has_no_way():
    audit = drawn_audit(BLOCKED, group("disconnected", "m/never/kernel", kind="never-read"))
    assert way_to(content_of(audit)["audits"][0], "m/never/kernel") == []


# ------------------------------------------------------------------------------------------------------------- the code


def test_the_page_shows_the_lines_around_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("model.py").write_text("".join(f"line {number}\n" for number in range(1, 41)), "utf-8")
    Path("secret.py").write_text("password", "utf-8")
    audit = drawn_audit(BLOCKED, group("disconnected", "m/encoder/kernel", source=Source("model.py", 20, "call")))
    code = content_of(audit)["code"]
    assert [[file, dict(lines)] for file, lines in code] == [
        ["model.py", {number: f"line {number}" for number in range(15, 26)}]
    ]
    assert "password" not in render_page(report_of(audit))


@pytest.mark.parametrize("file", ["absent.py", ".", "\0", "binary.py", "x" * 5000, ""])
def test_a_file_that_cannot_be_read_is_left_out(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("binary.py").write_bytes(b"\xff\xfe\x00")
    assert source_lines([Source(file, 1, "call")]) == ()


def test_a_file_is_read_in_the_encoding_that_it_declares(tmp_path: Path):
    file = tmp_path / "old.py"
    file.write_bytes("# -*- coding: latin-1 -*-\nname = 'Jürgen'\n".encode("latin-1"))
    assert source_lines([Source(str(file), 2, "")])[0][1][2] == "name = 'Jürgen'"


# --------------------------------------------------------------------------------------------------- scenarios and size


def test_scenarios_are_there_where_there_are_several():
    several = content_of(xtts_audit("minimal-unpatched", blocks=1), xtts_audit("comprehensive", blocks=1))
    assert content_of(xtts_audit("minimal-unpatched", blocks=1))["scenarios"] is None
    worst, connected = REPORTING_ORDER.index("disconnected"), REPORTING_ORDER.index("connected")
    assert several["scenarios"]["rows"][0]["statuses"] == [worst, connected]
    assert several["scenarios"]["headline"] == "Every variable is connected in at least one scenario"


def test_the_page_of_a_large_model_keeps_to_a_few_megabytes():
    audit = large_audit()
    assert len(audit.variables) >= VARIABLES
    assert len(audit.graph) >= OPS
    assert len(render_page(report_of(audit))) < 4_000_000
