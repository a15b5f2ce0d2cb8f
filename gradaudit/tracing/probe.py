"""A few real steps: which variables get a gradient that is not zero, in numbers."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import tensorflow as tf
from tensorflow.python.eager import backprop
from tensorflow.python.eager.polymorphic_function import polymorphic_function
from tensorflow.python.ops import gradients_util
from tensorflow.python.ops.resource_variable_ops import ResourceVariable

from gradaudit.errors import TraceError
from gradaudit.graph.verdicts import Source
from gradaudit.tracing.drawn_values import drawn_values
from gradaudit.tracing.lines import running_line
from gradaudit.tracing.patches import Patches
from gradaudit.tracing.trace import traced_apart
from gradaudit.tracing.variable_kinds import is_variable
from gradaudit.user_code import user_errors

_SMALLEST_SPREAD = 0.1
_ROUNDING = 1e-5
"""A gradient that is a smaller part than this of the largest one of its call may be nothing but rounding."""
Seen = Literal["none", "zero", "rounding", "non-zero"]
"""What became of a gradient at most: None, zeros, numbers no larger than rounding makes, or others."""
_LEAST_FIRST: tuple[Seen | None, ...] = (None, "none", "zero", "rounding", "non-zero")
"""By mark: None for a gradient call that never ran, as in a branch that was never taken."""
_SHIFT = 0.1
"""Before each step, each weight is moved by this part of the root of its mean square, or of the smallest spread."""


def probe(
    step: Callable[..., Any],
    inputs: Sequence[Any],
    batches: Iterable[Any] | None,
    variables: Sequence[Any],
    steps: int,
    left_out: Collection[tuple[Source | None, int]] = (),
) -> tuple[dict[int, Seen], int]:
    """Run `step` for real, and see whether the gradient of each variable is ever neither zero nor infinite.

    Args:
        step: any callable that differentiates and updates.
        inputs: its positional arguments; for TensorSpecs in them, random values are drawn: normal floats, integers 0
            and 1. Arrays and tensors are used as they are.
        batches: real values of the first argument, if there are any.
        variables: those that train; before each step their values are moved at random, off any zero.
        steps: how many steps to run, if there are as many batches.
        left_out: gradients that do not count, by the line that asks and the id of the variable's handle.

    Returns:
        What was seen, by the id of the variable's handle, and how many steps ran. What may be asked for in a call that
        never ran is left out, unless another call returned a gradient.

    Raises:
        TraceError: the step fails, or there is no batch to run it on.
    """
    gradients = _Gradients(left_out)
    numbers = np.random.default_rng(0)
    with Patches() as patches, warnings.catch_warnings():
        # What Keras would warn of is what the audit tells.
        warnings.filterwarnings("ignore", message="Gradients do not exist")
        patches.wrap(polymorphic_function.Function, "__call__", traced_apart(lambda: gradients.calls))
        gradients.install(patches)
        advice = " (give the subject a real batch, if random values are what it cannot take)" if batches is None else ""
        with user_errors(f"The probe's step fails{advice}", TraceError):
            # Without AutoGraph, as the audit traces it: a function of the user's inside keeps its own.
            run = tf.function(gradients.noting_traces(step), autograph=False)
            ran = 0
            for values in _values(inputs, batches, steps, numbers):
                for variable in variables:
                    _move(variable, numbers)
                run(*values)
                ran += 1
    if not ran:
        raise TraceError(
            "The probe ran no step: the subject's batches are empty. Give it data of one batch at least, or a batch of "
            "TensorSpecs, for which random values are drawn."
        )
    return gradients.seen(), ran


@dataclass
class _Gradients:
    """Watches gradient calls, and keeps the most that was seen of each variable's gradient."""

    left_out: Collection[tuple[Source | None, int]]
    calls: int = 0
    _traces: list[dict[int, tuple[Any, list[Any]]]] = field(default_factory=list)
    """Of each trace, by the id of the handle: the handle, held so that its id stays its own, and marks, one a call."""
    _nested: bool = False

    def install(self, patches: Patches) -> None:
        """Watch every way to ask for a gradient."""
        patches.wrap(backprop.GradientTape, "gradient", self._watched)
        patches.wrap(backprop.GradientTape, "jacobian", self._watched)
        patches.wrap(backprop.GradientTape, "batch_jacobian", self._watched)
        patches.wrap(gradients_util, "_GradientsHelper", self._watched_symbolic)

    def noting_traces(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """The step, in each trace of which the marks are apart."""

        def traced(*arguments: Any) -> Any:
            self._traces.append({})
            return step(*arguments)

        return traced

    def seen(self) -> dict[int, Seen]:
        """What was seen so far, by the id of the handle."""
        numbers: dict[int, list[int]] = {}
        for trace in self._traces:
            found = {handle: [int(mark.numpy()) for mark in marks] for handle, (_, marks) in trace.items()}
            # The first trace of a step that makes variables is thrown away.
            if any(map(any, found.values())):
                for handle, values in found.items():
                    numbers.setdefault(handle, []).extend(values)
        most = {handle: _LEAST_FIRST[max(values)] for handle, values in numbers.items()}
        # Who knows what a call that never ran would return.
        known = {handle: seen for handle, seen in most.items() if seen != "none" or min(numbers[handle]) > 0}
        return {handle: seen for handle, seen in known.items() if seen is not None}

    def _watched(
        self, original: Callable[..., Any], tape: Any, target: Any, sources: Any, *rest: Any, **options: Any
    ) -> Any:
        return self._counted(lambda: original(tape, target, sources, *rest, **options), sources)

    def _watched_symbolic(self, original: Callable[..., Any], ys: Any, xs: Any, *rest: Any, **options: Any) -> Any:
        # TensorFlow itself passes the graph to differentiate, a user never does.
        if options.get("src_graph") is not None:
            return original(ys, xs, *rest, **options)
        return self._counted(lambda: original(ys, xs, *rest, **options), xs)

    def _counted(self, ask: Callable[[], Any], sources: Any) -> Any:
        line = running_line(sys._getframe(1))
        self.calls += 1
        before, self._nested = self._nested, True
        try:
            gradients = ask()
        finally:
            self._nested = before
        flat_sources, flat_gradients = tf.nest.flatten(sources), tf.nest.flatten(gradients)
        if not self._nested and len(flat_sources) == len(flat_gradients):
            both = zip(flat_sources, flat_gradients, strict=True)
            pairs = [(source, gradient) for source, gradient in both if is_variable(source)]
            peaks = [None if gradient is None else _peak(gradient) for _, gradient in pairs]
            largest = tf.reduce_max(tf.stack([tf.zeros([], tf.float64), *(peak for peak in peaks if peak is not None)]))
            for (source, _), peak in zip(pairs, peaks, strict=True):
                if (line, id(source.handle)) not in self.left_out:
                    self._note(source.handle, peak, _ROUNDING * largest)
        return gradients

    def _note(self, handle: Any, peak: Any, noise: Any) -> None:
        """Mark what was seen of a gradient whose largest element is `peak`; None for a gradient of None."""
        with tf.init_scope():
            # Made past the creators of variables: those of a `tf.function` let none be made when it is traced again.
            mark = ResourceVariable(0, trainable=False)
        self._traces[-1].setdefault(id(handle), (handle, []))[1].append(mark)
        seen = 1 if peak is None else 2 + tf.cast(peak > 0, tf.int32) + tf.cast(peak > noise, tf.int32)
        mark.assign(tf.maximum(mark, seen))


def _peak(gradient: Any) -> Any:
    """The largest of a gradient's finite elements."""
    size = tf.abs(gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient)
    finite = tf.where(tf.math.is_finite(size), size, tf.zeros_like(size))
    zero = tf.zeros([1], tf.float64)
    return tf.reduce_max(tf.concat([zero, tf.reshape(tf.cast(finite, tf.float64), [-1])], axis=0))


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
        yield drawn_values((*first, *inputs[1:]), numbers)


def _move(variable: Any, numbers: np.random.Generator) -> None:
    value = tf.convert_to_tensor(variable)
    if not (value.dtype.is_floating or value.dtype.is_complex):
        return
    spread = float(tf.sqrt(tf.reduce_mean(tf.square(tf.cast(tf.abs(value), tf.float32)))))
    seed = numbers.integers(0, 2**31, 2)
    shift = _SHIFT * max(spread, _SMALLEST_SPREAD) * tf.random.stateless_normal(value.shape, seed)
    variable.assign(value + tf.cast(shift, value.dtype))
