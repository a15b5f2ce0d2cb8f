"""The corpus: each case's verdicts are what it states, and TensorFlow's own tape does not contradict them."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import tests.cases
from gradaudit import audit
from tests.cases.case import CASES, Case

for module in pkgutil.iter_modules(tests.cases.__path__):
    importlib.import_module(f"tests.cases.{module.name}")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_verdicts_are_those_that_the_case_states(case: Case) -> None:
    verdicts = {verdict.path: verdict for verdict in audit(case.build).variables}
    assert {path: verdict.status for path, verdict in verdicts.items()} == case.expected
    assert {path: verdicts[path].tape for path in case.tape} == case.tape
    for path, (kind, op_type) in case.cause.items():
        cause = verdicts[path].cause
        assert cause is not None
        assert cause.kind == kind
        assert op_type is None or cause.op_type == op_type
        assert cause.message
        assert cause.fix


@pytest.mark.parametrize("case", [c for c in CASES if "opaque" not in c.expected.values()], ids=lambda case: case.name)
def test_the_tape_of_tensorflow_agrees(case: Case) -> None:
    # `verify` makes every gradient call for real and raises DisagreementError where None was expected and is not there,
    # or the other way round. An opaque path is left out: TensorFlow itself raises LookupError there.
    verdicts = {verdict.path: verdict.status for verdict in audit(case.build, verify=True).variables}
    assert verdicts == case.expected
