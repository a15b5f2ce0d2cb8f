"""The table of variables and scenarios: its call-outs, its labels, and that it fits whatever it is printed on."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from gradaudit.graph.report import Audit
from gradaudit.graph.verdicts import STATUSES, Status
from gradaudit.reports.console import printed
from gradaudit.reports.matrix import render_scenarios
from gradaudit.reports.scenario_table import scenario_table
from tests.gradaudit.reports.drawing import drawn_audit, group, report_of
from tests.gradaudit.reports.xtts_like import xtts_audit


def table_of(*audits: Audit, width: int = 100, color: bool = False) -> str:
    return printed(scenario_table(report_of(*audits), width), width=width, color=color)


def heads(*lost: str, status: Status = "disconnected", scenario: str = "some") -> Audit:
    """A model with three heads, of which those have the status."""
    paths = [f"m/{head}/{part}" for head in lost for part in ("kernel", "bias")]
    drawing = "\n".join(
        f"loss > (l) > m/{head}/{part}" for head in ("mel", "pitch", "energy") for part in ("kernel", "bias")
    )
    return drawn_audit(drawing, *([group(status, *paths)] if paths else []), scenario=scenario)


def test_what_is_connected_in_no_scenario_is_called_out_first_in_the_colour_of_what_is_lost():
    audits = heads("pitch", "energy", scenario="one"), heads("pitch", status="participation-only", scenario="two")
    assert table_of(*audits).splitlines() == [
        "2 variables are connected in no scenario:",
        "    m/pitch (kernel, bias)",
        "",
        "  in m            one           two",
        "  pitch (2)       disconnected  participation-only",
        "  energy (2)      disconnected  connected",
        "  all others (2)  connected     connected",
    ]
    assert table_of(*audits, color=True).startswith("\x1b[1;31m2 variables are connected in no scenario:")


def test_where_every_variable_is_connected_somewhere_it_says_so():
    text = table_of(heads("pitch"), heads("energy"))
    assert text.startswith("Every variable is connected in at least one scenario\n")
    frozen = [drawn_audit("loss > (l) > m/a/kernel", group("frozen", "m/norm/mean")) for _ in range(2)]
    assert table_of(*frozen).startswith(
        "Every variable is connected in at least one scenario, but for 1 that is always frozen\n"
    )


def test_where_all_is_frozen_it_says_that_nothing_trains():
    assert table_of(*[drawn_audit("", group("frozen", "m/a/kernel"))] * 2).startswith("No scenario trains anything\n")


def test_where_nothing_differs_there_is_one_row():
    assert table_of(heads(), heads()).splitlines()[-1] == "  all (6)    connected  connected"


def test_a_variable_that_a_scenario_does_not_have_has_a_dash_there():
    other = drawn_audit("loss > (l) > m/mel/kernel", scenario="other")
    assert "  energy (2)      disconnected  -\n" in table_of(heads("energy"), other)


def test_a_row_that_does_not_hold_its_layer_whole_says_what_it_holds_of_it():
    drawing = "\n".join(f"loss > (l) > m/encoder/block_{index}/kernel" for index in range(6))
    parts = [f"m/encoder/block_{index}/kernel" for index in range(5)]
    few = drawn_audit(drawing, group("disconnected", *parts[:2]))
    many = drawn_audit(drawing, group("disconnected", *parts))
    assert "  encoder: block_0, block_1 (2)  disconnected  connected\n" in table_of(few, drawn_audit(drawing))
    assert "  encoder: block_0, block_1, … (5)  disconnected  connected\n" in table_of(many, drawn_audit(drawing))


def test_variables_without_a_common_layer_are_named_by_their_outermost_ones():
    drawing = "loss > (l) > a/kernel\n loss > (l) > b/kernel\n loss > (l) > c/kernel"
    lost = drawn_audit(drawing, group("disconnected", "a/kernel", "c/kernel"))
    assert "  a, c (2)        disconnected  connected\n" in table_of(lost, drawn_audit(drawing))


def test_of_many_rows_those_that_are_left_out_are_counted():
    paths = [f"m/head_{index}/kernel" for index in range(40)]
    drawing = "\n".join(f"loss > (l) > {path}" for path in ["m/mel/kernel", *paths])
    lost = drawn_audit(drawing, *(group("disconnected", path, layer=path) for path in paths))
    for width in (40, 100):
        text = table_of(lost, drawn_audit(drawing), width=width)
        assert "\n  … 28 more rows (28)\n" in text
        assert "head_11" in text
        assert "head_12" not in text
        assert "\n  all others (1)" in text


def test_where_a_table_has_no_room_each_row_lists_the_scenarios_of_each_status():
    audits = [xtts_audit(scenario, blocks=1) for scenario in ("minimal-unpatched", "minimal", "mixed", "comprehensive")]
    text = table_of(*audits, width=60)
    assert (
        "\n".join(
            [
                "  xtts/prosody_predictor (12)",
                "    connected           comprehensive",
                "    participation-only  minimal, mixed",
                "    disconnected        minimal-unpatched",
            ]
        )
        in text
    )


@pytest.mark.parametrize("status", STATUSES)
def test_every_status_has_its_word_in_the_table_and_in_the_list(status: Status):
    audits = heads("pitch", status=status), heads("pitch", "energy")
    assert all(f" {status}" in table_of(*audits, width=width) for width in (40, 100))


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120])
@pytest.mark.parametrize(
    "name", ["a", "with-all-the-targets-that-there-are", "w" * 70, "日本語のシナリオ名です", "snake_case_scenario_name"]
)
def test_no_line_is_wider_than_the_page_and_no_name_is_cut(name: str, width: int):
    deep = "/".join(["a_layer_with_a_rather_long_name"] * 5) + "/kernel"
    audits = [drawn_audit("loss > (l) > m/kernel", group("disconnected", deep), scenario=f"{name}{i}") for i in "123"]
    text = table_of(*audits, width=width)
    assert max(map(cell_len, text.splitlines())) <= width
    assert "…" not in text
    assert set(name) <= set(text)


def test_hostile_names_come_out_inert():
    path = "m/[red]x[/red]\x1b[31m\nall (7)\N{RIGHT-TO-LEFT OVERRIDE}/kernel"
    lost = drawn_audit("loss > (l) > m/h/kernel", group("disconnected", path), scenario="[b]\x1b[2J")
    audits = lost, heads()
    for text in (table_of(*audits), table_of(*audits, width=40), render_scenarios(report_of(*audits))):
        assert not set("\x1b\r\N{RIGHT-TO-LEFT OVERRIDE}") & set(text)
        assert "[red]" in text
        assert "[b]" in text


def test_the_csv_has_a_line_for_each_variable_and_a_column_for_each_scenario():
    other = drawn_audit("loss > (l) > m/mel/kernel\n loss > (l) > m/mel/bias\n loss > (l) > m/new/kernel", scenario="b")
    assert render_scenarios(report_of(heads("energy", scenario="a"), other)).splitlines() == [
        "variable,a,b",
        "m/mel/kernel,connected,connected",
        "m/mel/bias,connected,connected",
        "m/pitch/kernel,connected,",
        "m/pitch/bias,connected,",
        "m/energy/kernel,disconnected,",
        "m/energy/bias,disconnected,",
        "m/new/kernel,,connected",
    ]
