"""A few real steps: which variables get a gradient that is not zero, in numbers."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.eager import backprop
from tensorflow.python.eager.polymorphic_function import polymorphic_function
from tensorflow.python.ops import gradients_util

from gradaudit.errors import TraceError
from gradaudit.tracing.patches import Patches
from gradaudit.tracing.trace import traced_apart
from gradaudit.user_code import user_errors

_EXAMPLES = 2
"""Length of a first axis of which the spec does not say the length."""
_POSITIONS = 8
"""Length of any other such axis."""
_SMALLEST_SPREAD = 0.1
_SHIFT = 0.1
"""Before each step, each weight is moved by this part of the root of its mean square, or of the smallest spread."""


def probe(
    step: Callable[..., Any],
    inputs: Sequence[Any],
    batches: Iterable[Any] | None,
    variables: Sequence[Any],
    steps: int,
) -> dict[int, int]:
    """Run `step` for real, and count the steps in which each gradient is somewhere neither zero nor infinite.

    Args:
        step: any callable that differentiates and updates.
        inputs: its positional arguments; for TensorSpecs in them, random values are drawn: normal floats, integers 0
            and 1. Arrays and tensors are used as they are.
        batches: real values of the first argument, if there are any.
        variables: those that train; before each step their values are moved at random, off any zero.
        steps: how many steps to run.

    Returns:
        The number of such steps by the id of the variable's handle; what was never asked for is left out.

    Raises:
        TraceError: the step fails.
    """
    counts = _Counts()
    numbers = np.random.default_rng(0)
    with Patches() as patches, warnings.catch_warnings():
        # What Keras would warn of is what the audit tells.
        warnings.filterwarnings("ignore", message="Gradients do not exist")
        patches.wrap(polymorphic_function.Function, "__call__", traced_apart())
        counts.install(patches)
        what_failed = "The probe's step fails (give the subject a real batch, if random values are what it cannot take)"
        with user_errors(what_failed, TraceError):
            run = tf.function(step)
            for values in _values(inputs, batches, steps, numbers):
                for variable in variables:
                    _move(variable, numbers)
                run(*values)
                counts.end_step()
    return counts.steps


@dataclass
class _Counts:
    """Watches gradient calls, and keeps for each variable in how many steps its gradient was not zero."""

    steps: dict[int, int] = field(default_factory=dict)
    _marks: dict[int, tuple[Any, Any]] = field(default_factory=dict)
    """By the id of the handle: the handle, held so that its id stays its own, and whether this step's was not zero."""
    _nested: bool = False

    def install(self, patches: Patches) -> None:
        """Watch every way to ask for a gradient."""
        patches.wrap(backprop.GradientTape, "gradient", self._watched)
        patches.wrap(backprop.GradientTape, "jacobian", self._watched)
        patches.wrap(backprop.GradientTape, "batch_jacobian", self._watched)
        patches.wrap(gradients_util, "_GradientsHelper", self._watched_symbolic)

    def end_step(self) -> None:
        """Add up what the step has marked."""
        for handle, (_, mark) in self._marks.items():
            self.steps[handle] = self.steps.get(handle, 0) + int(mark.numpy())
            mark.assign(0)

    def _watched(
        self, original: Callable[..., Any], tape: Any, target: Any, sources: Any, *rest: Any, **options: Any
    ) -> Any:
        return self._counted(lambda: original(tape, target, sources, *rest, **options), sources)

    def _watched_symbolic(self, original: Callable[..., Any], ys: Any, xs: Any, *rest: Any, **options: Any) -> Any:
        return self._counted(lambda: original(ys, xs, *rest, **options), xs)

    def _counted(self, ask: Callable[[], Any], sources: Any) -> Any:
        before, self._nested = self._nested, True
        try:
            gradients = ask()
        finally:
            self._nested = before
        flat_sources, flat_gradients = tf.nest.flatten(sources), tf.nest.flatten(gradients)
        if not self._nested and len(flat_sources) == len(flat_gradients):
            for source, gradient in zip(flat_sources, flat_gradients, strict=True):
                if hasattr(source, "handle"):
                    self._note(source.handle, gradient)
        return gradients

    def _note(self, handle: Any, gradient: Any) -> None:
        if id(handle) not in self._marks:
            with tf.init_scope():
                self._marks[id(handle)] = (handle, tf.Variable(0, trainable=False))
        if gradient is not None:
            values = gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient
            size = tf.abs(values)
            is_some = tf.reduce_any(tf.logical_and(tf.math.is_finite(size), size > 0))
            mark = self._marks[id(handle)][1]
            mark.assign(tf.maximum(mark, tf.cast(is_some, mark.dtype)))


def _values(
    inputs: Sequence[Any], batches: Iterable[Any] | None, steps: int, numbers: np.random.Generator
) -> Iterator[tuple[Any, ...]]:
    """The arguments of each step."""
    given = None if batches is None else iter(batches)
    for _ in range(steps):
        batch = None if given is None else next(given, None)
        if given is not None and batch is None:
            return
        first = inputs[:1] if batch is None else (batch,)
        yield tuple(tf.nest.map_structure(lambda value: _drawn(value, numbers), (*first, *inputs[1:])))


def _drawn(value: Any, numbers: np.random.Generator) -> Any:
    """Random values for a spec; anything else as it is."""
    if isinstance(value, np.ndarray) and np.issubdtype(value.dtype, np.floating):
        return tf.constant(value, keras.config.floatx())
    if isinstance(value, keras.KerasTensor):
        value = tf.TensorSpec(value.shape, value.dtype)
    if not isinstance(value, tf.TypeSpec):
        return value
    if not isinstance(value, tf.TensorSpec):
        raise TraceError(f"No random values can be drawn for a {type(value).__name__}: give the subject a real batch.")
    if value.shape.rank is None:
        raise TraceError("No random values can be drawn for a shape of unknown rank: give the subject a real batch.")
    unknown = [_EXAMPLES, *[_POSITIONS] * value.shape.rank]
    shape = [length or other for length, other in zip(value.shape.as_list(), unknown, strict=False)]
    if value.dtype == tf.string:
        return tf.fill(shape, "a")
    if value.dtype.is_integer or value.dtype.is_bool:
        return tf.constant(numbers.integers(0, 2, shape), value.dtype)
    return tf.cast(numbers.normal(size=shape), value.dtype)


def _move(variable: Any, numbers: np.random.Generator) -> None:
    value = tf.convert_to_tensor(variable)
    if not (value.dtype.is_floating or value.dtype.is_complex):
        return
    spread = float(tf.sqrt(tf.reduce_mean(tf.square(tf.cast(tf.abs(value), tf.float32)))))
    seed = numbers.integers(0, 2**31, 2)
    shift = _SHIFT * max(spread, _SMALLEST_SPREAD) * tf.random.stateless_normal(value.shape, seed)
    variable.assign(value + tf.cast(shift, value.dtype))
