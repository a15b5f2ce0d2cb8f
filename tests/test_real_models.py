"""Architectures that nobody here wrote: every verdict is the tape's, asked without gradaudit, and the numbers agree."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tests.models
from gradaudit import audit
from tests.models.architecture import ARCHITECTURES, Architecture

for module in pkgutil.iter_modules(tests.models.__path__):
    importlib.import_module(f"tests.models.{module.name}")

RUNS = 3
SHAKE = 0.05
"""Weights are disturbed at least by so much: attention with the weights that it starts from is all but uniform."""
NOISE = 1e-4
"""Of the median gradient of a model: rounding leaves less than that where theory says zero, and a live path more."""

every_architecture = pytest.mark.parametrize(
    "architecture",
    [pytest.param(a, marks=[pytest.mark.slow] if a.slow else [], id=a.name) for a in ARCHITECTURES],
)


@pytest.fixture(autouse=True)
def names_from_the_start() -> Iterator[None]:
    # Layers without a name of their own are numbered: every model is to be the first of its session.
    keras.utils.clear_session()
    yield
    keras.utils.clear_session()


@every_architecture
def test_every_verdict_is_what_the_tape_and_the_numbers_say(architecture: Architecture) -> None:
    verdicts = [verdict for verdict in audit(architecture.subject).variables if verdict.status != "frozen"]
    keras.utils.clear_session()
    variables, sizes = _gradients(architecture)

    assert [_plain(verdict.path) for verdict in verdicts] == [variable.path for variable in variables]
    assert [verdict.tape for verdict in verdicts] == [_answer(size) for size in sizes]
    live = NOISE * float(np.median([size for size in sizes if size]))
    inert = {v.path for v, size in zip(verdicts, sizes, strict=True) if v.tape == "tensor" and not size > live}
    assert inert == {v.path for v in verdicts if _plain(v.path).endswith(tuple(architecture.inert))}
    assert {v.path: v.status for v in verdicts} == {v.path: architecture.status(v.path) for v in verdicts}
    assert [verdict.status == "connected" for verdict in verdicts] == [bool(size) for size in sizes]
    # And nothing is listed that is not there.
    assert all(any(v.path.startswith(beginning) for v in verdicts) for beginning in architecture.dead)
    assert all(any(v.path.endswith(end) for v in verdicts) for end in architecture.inert)


@every_architecture
def test_the_tape_that_an_audit_asks_to_verify_agrees(architecture: Architecture) -> None:
    verdicts = [v for v in audit(architecture.subject, verify=True).variables if v.status != "frozen"]
    assert {v.path: v.status for v in verdicts} == {v.path: architecture.status(v.path) for v in verdicts}


def test_at_least_twelve_architectures_are_asked() -> None:
    assert len({architecture.name for architecture in ARCHITECTURES}) >= 12


class _Asked(Exception):
    """The step has got its gradients, and need go no further."""


def _plain(path: str) -> str:
    """Keras's path, which two variables may share."""
    return path.partition(" #")[0]


def _gradients(architecture: Architecture) -> tuple[list[Any], list[float | None]]:
    """The trainable variables, and the size of the gradient of each at weights and data at random; None for None."""
    numbers = np.random.default_rng(0)
    model = architecture.model()
    model._symbolic_build(data_batch=tf.nest.map_structure(lambda values: values.drawn(numbers), architecture.batch))
    step, sources = _gradient_step(model)
    variables = model.trainable_variables
    initial = [variable.numpy() for variable in variables]
    sizes: dict[int, float] = {}
    for _ in range(RUNS):
        for variable, value in zip(variables, initial, strict=True):
            variable.assign(value + max(SHAKE, 0.3 * np.std(value)) * numbers.normal(size=value.shape))
        batch = tf.nest.map_structure(lambda values: values.drawn(numbers), architecture.batch)
        for index, size in step(batch).items():
            assert np.isfinite(size)
            sizes[index] = max(sizes.get(index, 0.0), float(size))
    assert [id(source.handle) for source in sources] == [id(variable.handle) for variable in variables]
    return variables, [sizes.get(index) for index in range(len(variables))]


def _gradient_step(model: keras.Model) -> tuple[Callable[[Any], dict[int, tf.Tensor]], list[tf.Variable]]:
    """The train step of Keras up to its gradient call: the largest of each variable's gradient that is not None.

    The list is filled with what was asked for when the step is traced.
    """
    asked: list[tf.Variable] = []

    @tf.function
    def step(data: Any) -> dict[int, tf.Tensor]:
        found: list[Any] = []
        ask = tf.GradientTape.gradient

        def gradient(tape: Any, target: Any, sources: Any, *rest: Any, **options: Any) -> None:
            asked.extend(sources)
            found.extend(ask(tape, target, sources, *rest, **options))
            raise _Asked

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tf.GradientTape, "gradient", gradient)
            with pytest.raises(_Asked):
                model.train_step(data)
        dense = {index: tf.convert_to_tensor(found[index]) for index in range(len(found)) if found[index] is not None}
        return {index: tf.reduce_max(tf.abs(value)) for index, value in dense.items()}

    return step, asked


def _answer(size: float | None) -> str:
    return "none" if size is None else "tensor" if size else "zeros"
