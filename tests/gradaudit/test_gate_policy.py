"""What fails a run: which statuses by default, how a list is written, and the exit status that comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from gradaudit.errors import ConfigError
from gradaudit.gate.policy import DEFAULT_FAIL_ON, Policy, exit_status, failures, parse_fail_on
from gradaudit.gating import Gate, gated
from gradaudit.graph.gradient_graph import GradientGraph
from gradaudit.graph.report import Audit
from gradaudit.graph.verdicts import STATUSES, Finding, Severity, Status, Suppression, Verdict


def audit_of(*statuses: Status) -> Audit:
    verdicts = tuple(
        Verdict(path=f"model/{number}", shape=(1,), dtype="float32", status=status, tape="none")
        for number, status in enumerate(statuses)
    )
    return Audit("model", None, (), verdicts, (), (), GradientGraph())


def test_by_default_a_run_fails_on_whatever_never_learns_and_was_not_silenced_on_purpose():
    assert set(STATUSES) - set(DEFAULT_FAIL_ON) == {"connected", "participation-only", "frozen"}


def finding(rule: str, severity: Severity, *variables: str, suppressed: Sequence[str] = ()) -> Finding:
    suppressions = (Suppression("config", "later", tuple(suppressed)),) if suppressed else ()
    return Finding(rule, severity, variables, "title", "why", suppressions=suppressions)


def test_a_run_fails_on_errors_that_nobody_accepts():
    audit = replace(
        audit_of("frozen", "connected"),
        findings=(
            finding("GA101", "error", "a", "b", suppressed=["a"]),
            finding("GA101", "error", "c", suppressed=["c"]),
            finding("GA401", "warning", "d"),
        ),
    )
    assert [each.variables for each in failures(audit)] == [("a", "b")]


def test_a_listed_status_that_no_other_rule_reports_is_an_error_with_an_entry():
    gate = Gate(Policy(("frozen",), {"GA302": "error"}))
    (audit,) = gated([audit_of("frozen", "connected", "frozen")], [gate])
    (failed,) = failures(audit)
    assert (failed.rule, failed.variables) == ("GA302", ("model/0", "model/2"))
    assert audit.groups == (failed.group,)
    (audit,) = gated([audit_of("frozen")], [Gate(Policy(("frozen",), {"GA302": "off"}))])
    assert (audit.findings, audit.groups) == ((), ())


def test_the_exit_status_is_one_only_where_something_failed():
    assert exit_status([finding("GA101", "error", "a")]) == 1
    assert exit_status([]) == 0


@pytest.mark.parametrize(
    ("policy", "found", "status", "severity"),
    [
        (Policy(), finding("GA101", "error", "a"), "disconnected", "error"),
        (Policy(("opaque",)), finding("GA101", "error", "a"), "disconnected", "warning"),
        (Policy(("participation-only",)), finding("GA103", "note", "a"), "participation-only", "error"),
        (Policy(), finding("GA103", "note", "a"), "participation-only", "note"),
        (Policy(severities={"GA101": "note"}), finding("GA101", "error", "a"), "disconnected", "note"),
        (Policy(severities={"GA401": "error"}), finding("GA401", "warning", "a"), None, "error"),
        (Policy((), {"GA401": "error"}), finding("GA401", "warning", "a"), None, "warning"),
        (Policy((), {}), finding("GA203", "error", "a"), None, "warning"),
        (Policy(severities={"GA401": "off"}), finding("GA401", "warning", "a"), None, None),
    ],
)
def test_a_rule_is_as_grave_as_the_project_says(policy, found, status, severity):
    graded = policy.graded(found, status)
    assert (None if graded is None else graded.severity) == severity


def test_a_list_is_read_without_its_repetitions():
    assert parse_fail_on(["opaque", "frozen", "opaque"], where="--fail-on") == ("opaque", "frozen")


def test_none_alone_lets_everything_pass():
    assert parse_fail_on(["none"], where="--fail-on") == ()
    assert parse_fail_on([], where="--fail-on") == ()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["disconected"], "--fail-on: 'disconected' is no status; did you mean 'disconnected'?"),
        (["zero_gradient"], "did you mean 'zero-gradient'?"),
        ([""], "'' is no status. They are: connected, "),
        (["none", "opaque"], "'none' says that nothing fails the run; it cannot stand beside a status."),
    ],
)
def test_a_word_that_is_no_status_is_told_with_the_nearest(words: list[str], message: str):
    with pytest.raises(ConfigError) as caught:
        parse_fail_on(words, where="--fail-on")
    assert message in str(caught.value)
