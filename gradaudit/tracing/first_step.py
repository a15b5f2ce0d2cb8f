"""Watches a running script for its first train step: a `fit`, a function that differentiates, or a loop that does."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf
from keras.src.backend.tensorflow.trainer import TensorFlowTrainer
from keras.src.layers.layer import Layer
from keras.src.trainers.data_adapters import data_adapter_utils
from keras.src.trainers.epoch_iterator import EpochIterator
from tensorflow.python.eager import backprop, context, record
from tensorflow.python.eager.polymorphic_function import polymorphic_function
from tensorflow.python.framework import composite_tensor, func_graph
from tensorflow.python.ops import gradients_util

from gradaudit.errors import TraceError
from gradaudit.graph.verdicts import Source
from gradaudit.tracing.lines import running_line
from gradaudit.tracing.loops import LooseStep, is_data, loose_step
from gradaudit.tracing.patches import Patches

_OF_AN_EPOCH = ("x", "y", "sample_weight", "batch_size", "steps_per_epoch", "shuffle", "class_weight")


@dataclass(frozen=True)
class FirstStep:
    """A train step that a script is about to run.

    Attributes:
        what: what the script calls, as a person would say it.
        source: the line that does.
        model: the Keras model that trains by its own `train_step`, if one does.
        batch: what that gets.
        step: anything else that trains, to be called with `inputs`.
        name: what the report calls the step; None for the model's name.
        is_certain: whether it trains. What is about to record for a gradient may be no train step.
    """

    what: str
    source: Source | None
    model: Any = None
    batch: Any = None
    step: Callable[..., Any] | None = None
    inputs: tuple[Any, ...] = ()
    name: str | None = None
    is_certain: bool = True


class _GradientAsked(BaseException):
    """The function that is being traced asks for the gradient of a variable: it trains. No `except` may stop this."""


@dataclass
class StepWatch:
    """Hands the first train step to `reached` before it runs; where that returns, the script goes on.

    `lost` gets the error where something trains that cannot be stopped before it runs.
    """

    reached: Callable[[FirstStep], None]
    lost: Callable[[Exception], None]
    zeros: list[Source] = field(default_factory=list)
    """The lines that call a model which that builds: it is traced, and its outputs are zeros."""
    _is_pausing: bool = False
    _function: Any = None
    _calls: int = 0
    _attempted: dict[Source | None, FirstStep] = field(default_factory=dict)
    """By line, what was about to record for a gradient and could not be audited."""

    def install(self, patches: Patches) -> None:
        """Watch every way to train."""
        patches.wrap(TensorFlowTrainer, "fit", self._fit)
        patches.wrap(TensorFlowTrainer, "train_on_batch", self._train_on_batch)
        patches.wrap(polymorphic_function.Function, "__call__", self._call_function)
        patches.wrap(backprop.GradientTape, "_push_tape", self._start_tape)
        for name in ("gradient", "jacobian", "batch_jacobian"):
            patches.wrap(backprop.GradientTape, name, self._ask_tape)
        patches.wrap(gradients_util, "_GradientsHelper", self._ask_symbolically)
        patches.wrap(Layer, "__call__", self._call_layer)

    @contextmanager
    def _paused(self) -> Iterator[None]:
        """Inside, nothing counts as the script's."""
        before, self._is_pausing = self._is_pausing, True
        try:
            yield
        finally:
            self._is_pausing = before

    def _reach(self, step: FirstStep) -> None:
        with self._paused():
            self.reached(step)

    # ------------------------------------------------------------------------------------------------------------ Keras

    def _fit(self, original: Callable[..., Any], model: Any, *arguments: Any, **options: Any) -> Any:
        self._refuse_inside_a_step("fit")
        model._assert_compile_called("fit")
        given = inspect.signature(original).bind(model, *arguments, **options)
        given.apply_defaults()
        with self._paused():
            of_an_epoch = {name: given.arguments[name] for name in _OF_AN_EPOCH}
            epoch = EpochIterator(**of_an_epoch, steps_per_execution=model.steps_per_execution)
            batch = tf.nest.map_structure(_of_one_replica, epoch.data_adapter.get_tf_dataset().element_spec)
        self._reach(FirstStep("fit", running_line(sys._getframe(1)), model=model, batch=batch))
        return None

    def _train_on_batch(self, original: Callable[..., Any], model: Any, *arguments: Any, **options: Any) -> Any:
        self._refuse_inside_a_step("train_on_batch")
        model._assert_compile_called("train_on_batch")
        given = inspect.signature(original).bind(model, *arguments, **options)
        given.apply_defaults()
        x, y, weights, by_class = (given.arguments[name] for name in ("x", "y", "sample_weight", "class_weight"))
        if by_class is not None:
            weights = data_adapter_utils.class_weight_to_sample_weights(y, by_class)
        batch = tf.nest.map_structure(_described, data_adapter_utils.pack_x_y_sample_weight(x, y, weights))
        self._reach(FirstStep("train_on_batch", running_line(sys._getframe(1)), model=model, batch=batch))
        return None

    def _refuse_inside_a_step(self, name: str) -> None:
        if self._is_pausing:
            raise TraceError(f"The step calls {name}, which runs steps of its own: gradaudit audits one of the two.")

    def _call_layer(self, original: Callable[..., Any], layer: Any, *arguments: Any, **options: Any) -> Any:
        """Trace a call that builds a model, so that no weight needs a value for it."""
        is_outermost = not self._calls and not self._is_pausing and context.executing_eagerly()
        self._calls += 1
        try:
            if (
                is_outermost
                and not layer.built
                and not record.could_possibly_record()
                and is_data((arguments, options))
            ):
                outputs = self._built(original, layer, arguments, options)
                if outputs is not None:
                    return outputs
            return original(layer, *arguments, **options)
        finally:
            self._calls -= 1

    def _built(self, original: Callable[..., Any], layer: Any, arguments: Any, options: Any) -> Any:
        """Zeros of the outputs' shapes; None if the call cannot be traced, and has to be run."""
        try:
            with func_graph.FuncGraph("build").as_default():
                outputs = original(layer, *arguments, **options)
            layer._clear_losses()
            if not layer.trainable_variables:
                return None  # it prepares data, which the script may go by
            zeros = tf.nest.map_structure(lambda output: tf.zeros(output.shape, output.dtype), outputs)
        except Exception:  # noqa: BLE001  # whatever is wrong with it, the script is to fail as it fails without us
            return None
        line = running_line(sys._getframe(2))
        if line is not None:
            self.zeros.append(line)
        return zeros

    # -------------------------------------------------------------------------------------------------------- functions

    def _call_function(self, original: Callable[..., Any], function: Any, *arguments: Any, **options: Any) -> Any:
        if self._is_pausing or self._function is not None or not context.executing_eagerly():
            return original(function, *arguments, **options)
        self._function = function
        try:
            return original(function, *arguments, **options)
        except _GradientAsked:
            pass
        finally:
            self._function = None
        frame = sys._getframe(1)
        loose = loose_step(frame)
        line = running_line(frame)
        name = str(getattr(function.python_function, "__name__", "step"))
        if loose is not None and loose.trains_later:
            self._reach(_of_statements(loose, line))
        inputs = tf.nest.map_structure(_described, (arguments, options))
        self._reach(FirstStep(name, line, step=_called(function), inputs=inputs, name=name))
        return None

    def _ask_tape(
        self, original: Callable[..., Any], tape: Any, target: Any, sources: Any, *rest: Any, **more: Any
    ) -> Any:
        self._notice(sources)
        return original(tape, target, sources, *rest, **more)

    def _ask_symbolically(self, original: Callable[..., Any], ys: Any, xs: Any, *rest: Any, **options: Any) -> Any:
        if options.get("src_graph") is None:  # which TensorFlow itself passes, and a user never does
            self._notice(xs)
        return original(ys, xs, *rest, **options)

    def _notice(self, sources: Any) -> None:
        """Stop at a gradient that trains: in a function's trace, or in a loop that could not be traced."""
        if self._is_pausing or not any(hasattr(source, "handle") for source in tf.nest.flatten(sources)):
            return
        if self._function is not None:
            raise _GradientAsked
        if not context.executing_eagerly():
            self._lose(running_line(sys._getframe(2)))
        for step in list(self._attempted.values())[-1:]:
            self._reach(step)

    def _lose(self, line: Source | None) -> None:
        """Give up, before what is being traced can run."""
        with self._paused():
            self.lost(
                TraceError(
                    f"What trains at {line} is traced by itself (by get_concrete_function, or inside a data set), and "
                    "could not be stopped once it is. Audit it with a subject: gradaudit trace path/to/file.py:callable"
                )
            )

    # ------------------------------------------------------------------------------------------------------------ loops

    def _start_tape(self, original: Callable[..., None], tape: Any) -> None:
        line = running_line(sys._getframe(1))
        is_scripts = not self._is_pausing and context.executing_eagerly() and self._function is None
        if is_scripts and line not in self._attempted:
            loose = loose_step(sys._getframe(1))
            if loose is not None:
                self._attempted[line] = _of_statements(loose, line)
                self._reach(_of_statements(loose, line, is_certain=False))
        original(tape)


def _of_statements(loose: LooseStep, line: Source | None, *, is_certain: bool = True) -> FirstStep:
    inputs = tuple(tf.nest.map_structure(_described, value) for value in loose.data)
    what = "a loop that differentiates"
    return FirstStep(what, line, step=loose.run, inputs=inputs, name=loose.name, is_certain=is_certain)


def _called(function: Any) -> Callable[..., Any]:
    def step(arguments: Any, options: Any) -> Any:
        return function(*arguments, **options)

    return step


def _described(value: Any) -> Any:
    """The shape and type of what holds numbers; anything else as it is."""
    if hasattr(value, "handle") or isinstance(value, tf.data.Dataset):
        return value
    if isinstance(value, np.ndarray) and value.ndim and value.dtype != object:
        return tf.TensorSpec(value.shape, value.dtype)
    if isinstance(value, tf.Tensor):
        return tf.TensorSpec(value.shape, value.dtype)
    return tf.type_spec_from_value(value) if isinstance(value, composite_tensor.CompositeTensor) else value


def _of_one_replica(spec: Any) -> Any:
    """What one replica gets, of a data set that is distributed already."""
    return getattr(spec, "_value_specs", (spec,))[0]
