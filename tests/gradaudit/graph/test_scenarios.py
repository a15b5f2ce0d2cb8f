"""Several audits side by side: facts about the rows of variables that share their fate."""

from __future__ import annotations

import dataclasses

from gradaudit.graph.report import Audit
from gradaudit.graph.scenarios import ScenarioRow
from gradaudit.graph.verdicts import Group
from tests.gradaudit.reports.drawing import drawn_audit, group, report_of

HEADS = """
    loss > (mel) > m/mel/kernel
    loss > (pitch) > m/pitch/kernel
    loss > (energy) > m/energy/kernel
"""
PITCH, ENERGY = "m/pitch/kernel", "m/energy/kernel"


def rows_of(*audits: Audit) -> tuple[ScenarioRow, ...]:
    return report_of(*audits).scenarios


def audit_of(*groups: Group, scenario: str = "") -> Audit:
    return drawn_audit(HEADS, *groups, scenario=scenario)


def test_variables_of_one_fate_that_stand_in_one_entry_are_one_row():
    lost, idle = group("disconnected", PITCH, ENERGY), group("participation-only", PITCH, ENERGY)
    first, second = rows_of(audit_of(lost), audit_of(idle))
    assert first == ScenarioRow("m", (PITCH, ENERGY), ("disconnected", "participation-only"))
    assert second == ScenarioRow("m/mel", ("m/mel/kernel",), ("connected", "connected"))


def test_variables_of_two_entries_are_two_rows():
    lost = [group("disconnected", path) for path in (PITCH, ENERGY)]
    assert [row.layer for row in rows_of(audit_of(*lost), audit_of())] == ["m/pitch", "m/energy", "m/mel"]


def test_variables_of_one_entry_that_differ_elsewhere_are_two_rows():
    lost = group("disconnected", PITCH, ENERGY)
    rows = rows_of(audit_of(lost), audit_of(group("disconnected", ENERGY)))
    assert [(row.layer, row.statuses) for row in rows] == [
        ("m/energy", ("disconnected", "disconnected")),
        ("m/pitch", ("disconnected", "connected")),
        ("m/mel", ("connected", "connected")),
    ]


def test_what_is_connected_in_no_scenario_comes_first_and_what_always_is_comes_last():
    pitch, energy = group("disconnected", PITCH), group("zero-gradient", ENERGY)
    rows = rows_of(audit_of(pitch, energy), audit_of(group("participation-only", ENERGY)))
    assert [row.layer for row in rows] == ["m/energy", "m/pitch", "m/mel"]
    assert [row.never_connected for row in rows] == [True, False, False]


def test_what_is_frozen_in_every_scenario_is_a_row_of_its_own_and_not_missed():
    frozen = group("frozen", PITCH)
    rows = rows_of(audit_of(frozen), audit_of(frozen, group("frozen", ENERGY)))
    assert [(row.layer, row.statuses, row.never_connected) for row in rows] == [
        ("m/energy", ("connected", "frozen"), False),
        ("m/pitch", ("frozen", "frozen"), False),
        ("m/mel", ("connected", "connected"), False),
    ]


def test_what_one_scenario_freezes_and_another_loses_is_connected_in_no_scenario():
    first, *_ = rows_of(audit_of(group("frozen", PITCH)), audit_of(group("disconnected", PITCH)))
    assert first.never_connected


def test_a_scenario_without_the_variable_has_no_status_for_it_and_does_not_save_it():
    other = drawn_audit("loss > (mel) > m/mel/kernel")
    first, second = rows_of(audit_of(group("disconnected", PITCH)), other)
    assert (first.layer, first.statuses, first.never_connected) == ("m/pitch", ("disconnected", None), True)
    assert second == ScenarioRow("m", ("m/mel/kernel", ENERGY), ("connected", "connected"))


def test_two_scenarios_without_a_common_variable_still_make_one_row_of_what_is_connected():
    rows = rows_of(drawn_audit("loss > (l) > a/kernel"), drawn_audit("loss > (l) > b/kernel"))
    assert rows == (ScenarioRow("", ("a/kernel", "b/kernel"), ("connected", "connected")),)


def test_the_json_of_several_audits_holds_the_rows_under_the_names_of_the_scenarios():
    lost = audit_of(group("disconnected", PITCH), scenario="unpatched")
    content = report_of(lost, audit_of()).to_dict()["scenarios"]
    assert content["names"] == ["unpatched", "drawn"]
    assert content["rows"][0] == {
        "layer": "m/pitch",
        "variables": [PITCH],
        "statuses": ["disconnected", "connected"],
        "never_connected": False,
    }


def test_the_json_of_one_audit_holds_no_scenarios():
    assert "scenarios" not in report_of(audit_of()).to_dict()


def test_the_order_of_the_rows_is_that_of_the_variables():
    lost = audit_of(group("disconnected", PITCH), group("disconnected", ENERGY))
    turned = dataclasses.replace(lost, groups=lost.groups[::-1])
    assert rows_of(lost, audit_of()) == rows_of(turned, audit_of())
