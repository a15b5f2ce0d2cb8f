"""The corpus: tape and perturbation confirm what a case states of its variables, and then gradaudit must say it."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from gradaudit import audit
from tests.cases.case import Case, all_cases, stated
from tests.cases.oracles import Observation, observe
from tests.cases.table import Answer, table

STATUSES = {
    "connected",
    "participation-only",
    "zero-gradient",
    "disconnected",
    "untracked",
    "not-updated",
    "opaque",
    "frozen",
}

LINE = re.compile(r"\S+\.py:\d+( #\d+)?")
COUNTED = re.compile(r"_\d+(/|$)|[A-Z]\w*#\d+")
"""What ends in a number of TensorFlow's, or is named after the type of an op. No case calls anything of its own so."""


@pytest.mark.parametrize("case", all_cases(), ids=lambda case: case.name)
def test_tape_and_perturbation_confirm_a_case_and_gradaudit_says_it(case: Case) -> None:
    observation = observe(case)
    confirm_statements_are_complete(case, observation)
    confirm_by_tape(case, observation)
    confirm_by_perturbation(case, observation)
    result = audit(case.build)
    verdicts = {verdict.path: verdict for verdict in result.variables}
    assert {path: v.status for path, v in verdicts.items()} == {p: case.status_of(p) for p in observation.tape}
    for path, verdict in verdicts.items():
        if not observation.refused and verdict.status != "frozen":
            tape = "zeros" if case.tape_of(path) == "noise" else observation.tape[path]
            assert (path, verdict.tape) == (path, tape)
        if verdict.status == "disconnected":
            kind, op_type = stated(case.cause, path)
            assert verdict.cause is not None
            assert (path, verdict.cause.kind) == (path, kind)
            assert op_type in (None, verdict.cause.op_type)
            assert verdict.cause.message
            assert verdict.cause.fix
    rules = Counter(finding.rule for finding in result.findings if finding.rule in ("GA201", "GA202"))
    assert rules == case.findings
    for term in (term for objective in result.objectives for term in objective.terms):
        assert not COUNTED.search(LINE.sub("", term.name)), term.name


def confirm_statements_are_complete(case: Case, observation: Observation) -> None:
    """Every statement is on a variable that there is, and every disconnected variable has a cause."""
    for statements in (case.expected, case.tape, case.cause, case.changes, case.moves):
        idle = [pattern for pattern in statements if not any(stated({pattern: True}, p) for p in observation.tape)]
        assert not idle, f"the step makes no such variables: {idle}"
    causeless = [
        path for path in observation.tape if case.status_of(path) == "disconnected" and stated(case.cause, path) is None
    ]
    assert not causeless, f"the case states no cause of these: {causeless}"


def confirm_by_tape(case: Case, observation: Observation) -> None:
    """The tape returns what the case states; it refuses where a path is opaque; what learns moves, no more."""
    assert observation.refused == ("opaque" in case.expected.values())
    if observation.refused:
        return
    for path, answer in observation.tape.items():
        expected = case.tape_of(path)
        assert expected is not None or answer != "tensor" or case.status_of(path) == "frozen", path
        if expected == "noise":
            # What rounding leaves of a zero depends on the processor, and so does whether an optimizer moves by it.
            assert path in observation.noise
        else:
            assert expected in (None, answer), path
    moves = {path: moves for path, moves in observation.moves.items() if case.tape_of(path) != "noise"}
    assert moves == {path: case.moves_of(path) for path in moves}


def confirm_by_perturbation(case: Case, observation: Observation) -> None:
    """The differentiated loss changes with a variable, or never does, as the case says."""
    trainable = [path for path in observation.changes if case.status_of(path) != "frozen"]
    assert {p: observation.changes[p] for p in trainable} == {p: case.changes_of(p) for p in trainable}


def test_the_corpus_has_many_cases_of_different_names_and_variables_of_every_status() -> None:
    cases = all_cases()
    assert len(cases) >= 120
    assert len({case.name for case in cases}) == len(cases)
    assert {status for case in cases for status in case.expected.values()} == STATUSES


def test_the_table_counts_by_status_what_is_found_missed_and_wrongly_claimed() -> None:
    answers = [
        Answer("connected", "connected", False),
        Answer("connected", "disconnected", False),
        Answer("disconnected", "disconnected", True),
        Answer("disconnected", "disconnected", False),
        Answer("zero-gradient", "connected", False),
        Answer("untracked", None, False),
    ]
    assert (
        table(answers)
        == """\
status         variables  gradaudit  precision  recall  Keras warns of
connected              2          2      50.0%   50.0%               0
zero-gradient          1          0          -    0.0%               0
disconnected           2          3      66.7%  100.0%               1
untracked              1          0          -    0.0%               0

Of 4 variables that do not learn and ought to, gradaudit names 2 with their status, Keras's warning 1."""
    )


@pytest.mark.parametrize("case", all_cases(), ids=lambda case: case.name)
def test_every_real_gradient_call_is_as_foretold(case: Case) -> None:
    # `verify` raises DisagreementError where TensorFlow returns None, or raises LookupError, and that was not expected,
    # or was and does not come.
    for verdict in audit(case.build, verify=True).variables:
        assert (verdict.path, verdict.status) == (verdict.path, case.status_of(verdict.path))
