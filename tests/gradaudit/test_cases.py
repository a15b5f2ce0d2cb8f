"""The corpus: each case's verdicts are what it states, and TensorFlow's own tape does not contradict them."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

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
def test_the_numbers_agree(case: Case) -> None:
    # The step is run for real, from weights at random: what is said to get a gradient moves, and nothing else does.
    subject = case.build()
    numbers = np.random.default_rng(0)

    def values(spec: tf.TensorSpec) -> tf.Tensor:
        # Of different sizes, so that in a step that branches every branch gets its turn.
        floats = numbers.normal(scale=numbers.uniform(0, 0.5), size=spec.shape)
        return tf.constant(floats if spec.dtype.is_floating else numbers.integers(0, 16, spec.shape), spec.dtype)

    found = {verdict.path for verdict in audit(case.build).variables}
    variables = {v.name.removesuffix(":0"): v for v in _variables_of(subject.step) if v.dtype.is_floating}
    variables = {path: variable for path, variable in variables.items() if path in found}
    assert variables.keys() == case.expected.keys()
    for variable in variables.values():
        variable.assign(numbers.normal(scale=0.3, size=variable.shape))
    before = {path: variable.numpy() for path, variable in variables.items()}
    step = tf.function(subject.step)
    for _ in range(50):
        step(*(values(spec) for spec in subject.inputs))
    moved = {path for path, variable in variables.items() if not np.array_equal(before[path], variable.numpy())}
    assert moved == {path for path, status in case.expected.items() if status in ("connected", "participation-only")}


def _variables_of(step: Any) -> list[tf.Variable]:
    """The variables that a step holds on to, wherever in its closures."""
    found: list[tf.Variable] = []
    waiting, seen = [step], set()
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, tf.Variable):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            waiting += value
        else:
            function = getattr(value, "python_function", value)
            waiting += [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()]
            waiting += [wrapped] if (wrapped := getattr(function, "__wrapped__", None)) is not None else []
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_tape_of_tensorflow_agrees(case: Case) -> None:
    # `verify` makes every gradient call for real and raises DisagreementError where None was expected and is not there,
    # or the other way round, and where a LookupError is not foretold that TensorFlow raises, or the other way round.
    verdicts = {verdict.path: verdict.status for verdict in audit(case.build, verify=True).variables}
    assert verdicts == case.expected
