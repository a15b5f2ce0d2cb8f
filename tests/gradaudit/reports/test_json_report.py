"""The JSON report: the whole of it as golden files, and facts about its encoding."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

from gradaudit.graph.verdicts import Finding
from gradaudit.reports.json_report import render_json
from tests.gradaudit.reports.drawing import drawn_audit, group, report_of
from tests.gradaudit.reports.xtts_like import xtts_audit

DEAD_HEAD = """
    loss > (mel 2.5) > [mel_output] > decoder/dense/kernel
    [pitch_output] > decoder/pitch/kernel
"""


def test_the_json_of_a_dead_head(golden: Callable[[str, str], None]):
    audit = drawn_audit(DEAD_HEAD, group("disconnected", "decoder/pitch/kernel", outputs=("pitch_output",)))
    golden("reports/dead-head.json", render_json(report_of(audit)))


def test_the_json_holds_what_the_report_says():
    report = report_of(xtts_audit("minimal-unpatched", blocks=1), xtts_audit("minimal", blocks=1))
    assert json.loads(render_json(report)) == json.loads(json.dumps(report.to_dict()))


def test_it_ends_with_one_newline():
    text = render_json(report_of())
    assert text.endswith("}\n")


def test_a_weight_that_is_no_number_is_null():
    report = report_of(drawn_audit("loss > (mel nan) > [out] > a/kernel"))
    terms = json.loads(render_json(report))["audits"][0]["objectives"][0]["terms"]
    assert terms[0]["weight"] is None


def test_names_that_turn_the_direction_of_text_stay_the_same_value_and_are_not_seen():
    hostile = "a\N{RIGHT-TO-LEFT OVERRIDE}/b\x7f\x9b\N{LINE SEPARATOR}\N{LANGUAGE TAG}/kernel"
    audit = drawn_audit("loss > (mel) > [out] > a/kernel", group("disconnected", hostile))
    text = render_json(report_of(audit))
    assert json.loads(text)["audits"][0]["variables"][1]["path"] == hostile
    assert "\\u202e" in text
    assert not set("\N{RIGHT-TO-LEFT OVERRIDE}\x7f\x9b\N{LINE SEPARATOR}\N{LANGUAGE TAG}") & set(text)


def test_letters_of_any_script_are_written_as_themselves():
    assert '"größe/日本"' in render_json(report_of(drawn_audit("loss > (l) > größe/日本")))


def test_the_environment_is_in_one_order_whatever_order_it_came_in():
    report = report_of()
    turned = dataclasses.replace(report, environment=dict(reversed(report.environment.items())))
    assert render_json(report) == render_json(turned)


def test_a_lone_surrogate_can_be_encoded():
    finding = Finding("GA101", "error", (), "bad", "bad \ud800 name")
    audit = drawn_audit("loss > (l) > a/kernel", findings=(finding,))
    assert b"\\ud800" in render_json(report_of(audit)).encode("utf-8")
