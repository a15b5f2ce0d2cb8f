"""The terminal report: whole outputs as golden files, and its promises as facts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from gradaudit.graph.report import Audit
from gradaudit.graph.verdicts import STATUSES, Block, Finding, Source, Status
from gradaudit.reports.console import strip_colour
from gradaudit.reports.terminal import render_text
from tests.gradaudit.reports.drawing import drawn_audit, group, report_of
from tests.gradaudit.reports.xtts_like import xtts_audit

SCENARIOS = ("minimal-unpatched", "minimal", "mixed", "comprehensive")

EVERY_STATUS = """
    loss > (mse 1.0) > [y] > m/dense/kernel
    [y] > m/dense/bias
    [y] > Sign@m/sign 0> m/sign/kernel
    [y] > m/codebook/embeddings
    [y] > m/scale/gamma
    [y] > PyFunc@m ?> m/black/kernel
    loss > (+l2 0.01) > m/unused/kernel
    [spare] > m/spare/kernel
    [y] > m/norm/moving_mean
"""


def audit_of_every_status() -> Audit:
    source = Source("model.py", 12, "call")
    return drawn_audit(
        EVERY_STATUS,
        group("disconnected", "m/spare/kernel", outputs=("spare",), source=source),
        group("zero-gradient", "m/sign/kernel", op_type="Sign", message="Sign has a zero gradient", source=source),
        group("untracked", "m/codebook/embeddings", message="no gradient call asks for it", fix="ask for it"),
        group("not-updated", "m/scale/gamma", message="its gradient is never applied", fix="apply it"),
        group("opaque", "m/black/kernel", op_type="PyFunc", message="behind PyFunc", fix="use ops"),
        group("participation-only", "m/unused/kernel", terms=("l2",), message="a penalty alone reaches it"),
        group("frozen", "m/norm/moving_mean"),
    )


@pytest.mark.parametrize("width", [60, 100, 160])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_report_of_a_scenario(scenario: str, width: int, golden: Callable[[str, str], None]):
    report = report_of(xtts_audit(scenario, blocks=2))
    text = render_text(report, width=width, pictures={scenario: f"reports/{scenario}.svg"})
    golden(f"reports/{scenario}.{width}.txt", text)


@pytest.mark.parametrize("width", [60, 100])
def test_the_report_of_every_status(width: int, golden: Callable[[str, str], None]):
    golden(f"reports/every-status.{width}.txt", render_text(report_of(audit_of_every_status()), width=width))


@pytest.mark.parametrize("width", [60, 100, 160])
def test_several_scenarios_end_in_tables_of_their_counts_and_of_their_variables(
    width: int, golden: Callable[[str, str], None]
):
    text = render_text(report_of(*(xtts_audit(scenario, blocks=1) for scenario in SCENARIOS)), width=width)
    golden(f"reports/scenarios.{width}.txt", text)
    assert text.index("  scenario  ") < text.index("Every variable is connected in at least one scenario")


def test_the_headline_is_the_first_line_after_the_title():
    lines = render_text(report_of(xtts_audit("minimal-unpatched", blocks=1))).splitlines()
    assert lines[2].startswith("18 of ")
    assert lines[2].endswith(" variables will never learn")


def test_a_healthy_audit_says_so_in_one_line_and_stops():
    lines = render_text(report_of(xtts_audit("comprehensive", blocks=1))).splitlines()
    assert len(lines) == 3
    assert lines[2] == "All 98 variables learn"


def test_variables_behind_one_cause_are_one_entry():
    paths = tuple(f"m/block_{index}/kernel" for index in range(40))
    audit = drawn_audit("loss > (l) > m/head/kernel", group("disconnected", *paths, kind="blocked", op_type="Cast"))
    text = render_text(report_of(audit))
    assert text.count("GA101") == 1
    assert "33 more variables" in text


@pytest.mark.parametrize("status", STATUSES)
def test_every_status_stands_in_the_sum(status: Status):
    count = audit_of_every_status().count(status)
    assert f"{count} {status}" in " ".join(render_text(report_of(audit_of_every_status())).split())


def test_a_status_that_no_variable_has_is_not_in_the_sum():
    text = render_text(report_of(xtts_audit("minimal-unpatched", blocks=1)))
    assert "opaque" not in text
    assert "0 " not in text.splitlines()[-2]


def test_it_says_of_which_variables_keras_would_warn_and_on_which_it_is_silent():
    lost, zeros = group("disconnected", "m/a/kernel"), group("zero-gradient", "m/b/kernel", op_type="Sign")
    text = render_text(report_of(drawn_audit("loss > (l) > m/head/kernel", lost, zeros)))
    assert "Keras would warn of 1 of these 2, and name no cause." in text
    assert "Keras would be silent on the other one" in " ".join(text.split())
    assert "says nothing: TensorFlow returns zeros, and not None" in text


def test_the_participation_terms_cover_everything_or_it_lists_what_they_do_not():
    text = """
        loss > (mel) > [mel_output] > m/mel/kernel
        loss > (~participation/pitch 1e-6) > [pitch_output] > m/pitch/kernel
        [energy_output] > m/energy/kernel
    """
    covered = group("participation-only", "m/pitch/kernel", terms=("participation/pitch",))
    left = group("disconnected", "m/energy/kernel", outputs=("energy_output",))
    rendered = render_text(report_of(drawn_audit(text, covered, left)))
    assert "participation/pitch covers 1 of 2 variables that nothing else gives a gradient" in rendered
    assert "  not covered\n    variables   m/energy (kernel)\n" in rendered
    whole = render_text(report_of(xtts_audit("minimal", blocks=1)))
    assert "gradient_participation covers 18 of 18 variables that nothing else gives a gradient" in whole


def test_a_finding_that_is_about_no_group_is_told_too():
    finding = Finding("GA201", "warning", (), "loss term", "style reaches no trainable variable")
    text = render_text(report_of(drawn_audit("loss > (l) > m/head/kernel", findings=(finding,))))
    assert "loss term: style reaches no trainable variable" in text
    assert "GA201" in text


def test_lines_of_one_function_are_told_together():
    one = group("disconnected", "m/a/kernel")
    sources = tuple(Source("model.py", line, "call") for line in (43, 41, 42, 60))
    audit = drawn_audit("loss > (l) > m/head/kernel", dataclasses.replace(one, sources=sources))
    assert "model.py:41-43, 60  in call" in render_text(report_of(audit))


def test_notes_and_allocated_weights_are_told():
    audit = drawn_audit("loss > (l) > m/h/kernel", group("disconnected", "m/a/kernel"), notes=("traced twice",))
    text = render_text(report_of(dataclasses.replace(audit, weights_allocated=True)))
    assert "Note: traced twice" in text
    assert "with its weights allocated" in text


@pytest.mark.parametrize("width", [60, 100, 160])
def test_no_line_is_wider_than_the_terminal(width: int):
    long = "/".join(["a_layer_with_a_rather_long_name"] * 6) + "/kernel"
    message = f"its values end in {long}, which no loss term reads"
    audit = drawn_audit("loss > (mel) > [out] > m/kernel", group("disconnected", long, message=message))
    for content in (audit, audit_of_every_status(), xtts_audit("minimal")):
        lines = render_text(report_of(content), width=width).splitlines()
        assert max(map(len, lines)) <= width
        assert not any(line != line.rstrip() for line in lines)


def test_colour_changes_nothing_but_colour():
    report = report_of(audit_of_every_status(), xtts_audit("minimal", blocks=1))
    plain, coloured = render_text(report), render_text(report, color=True)
    assert "\x1b[" not in plain
    assert "\x1b[" in coloured
    assert [line.rstrip() for line in strip_colour(coloured).splitlines()] == plain.splitlines()


def test_hostile_names_and_messages_come_out_inert():
    path = "m/[red]x[/red]\x1b[31m\n0 variables will never learn\N{RIGHT-TO-LEFT OVERRIDE}/kernel"
    bad = group(
        "disconnected", path, message="[bold]\x1b]0;title\x07\r\nAll 1 variables learn", fix=":smile: [link=x]y[/link]"
    )
    text = render_text(report_of(drawn_audit("loss > (l) > m/h/kernel", bad, scenario="[b]\x1b[2J", subject="\x9b")))
    assert not set("\x1b\r\x07\x9b\N{RIGHT-TO-LEFT OVERRIDE}") & set(text)
    assert "[red]x[/red]" in text
    assert ":smile: [link=x]y[/link]" in text
    assert not any(line.startswith(("0 variables", "All 1")) for line in text.splitlines())


def test_every_broken_path_of_a_variable_is_told():
    round_off = Block("Round", "no-gradient", "m/a", Source("model.py", 12, "call"))
    outside = Block("MatMul", "outside-tape", "m/b", None)
    cut = group("disconnected", "m/spare/kernel", kind="blocked", op_type="Round", message="crosses Round")
    assert cut.cause is not None
    cut = dataclasses.replace(cut, cause=dataclasses.replace(cut.cause, blocks=(round_off, outside)))
    text = " ".join(render_text(report_of(drawn_audit("loss > Round@m x> m/spare/kernel", cut))).split())
    assert "crosses Round" in text
    assert "also another path is broken at MatMul in m/b, which is computed outside the tape's recording" in text
