"""What fails a run: which statuses by default, how a list is written, and the exit status that comes of it."""

from __future__ import annotations

import networkx
import pytest

from gradaudit.errors import ConfigError
from gradaudit.gate.policy import DEFAULT_FAIL_ON, exit_status, failures, parse_fail_on
from gradaudit.graph.report import Audit
from gradaudit.graph.verdicts import STATUSES, Status, Verdict


def audit_of(*statuses: Status) -> Audit:
    verdicts = tuple(
        Verdict(path=f"model/{number}", shape=(1,), dtype="float32", status=status, tape="none")
        for number, status in enumerate(statuses)
    )
    return Audit("model", None, (), verdicts, (), (), networkx.DiGraph())


def test_by_default_a_run_fails_on_whatever_never_learns_and_was_not_silenced_on_purpose():
    assert set(STATUSES) - set(DEFAULT_FAIL_ON) == {"connected", "participation-only", "frozen"}


def test_failures_are_the_verdicts_with_a_listed_status_in_the_order_of_the_audit():
    audit = audit_of("disconnected", "connected", "opaque", "disconnected")

    assert [verdict.path for verdict in failures(audit, ("opaque", "disconnected"))] == [
        "model/0",
        "model/2",
        "model/3",
    ]
    assert failures(audit, ()) == ()


def test_the_exit_status_is_one_only_where_something_failed():
    audit = audit_of("disconnected", "connected")

    assert exit_status(failures(audit, DEFAULT_FAIL_ON)) == 1
    assert exit_status(failures(audit, ("opaque",))) == 0


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
