"""Watches a running script for its first train step: a `fit`, a function that differentiates, or a loop that does."""

from __future__ import annotations

import functools
import inspect
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from types import FrameType
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.backend.tensorflow.trainer import TensorFlowTrainer
from keras.src.layers.layer import Layer
from keras.src.trainers.data_adapters import data_adapter_utils
from keras.src.trainers.epoch_iterator import EpochIterator
from tensorflow.python.distribute import distribute_lib
from tensorflow.python.eager import backprop, context, record
from tensorflow.python.eager.polymorphic_function import concrete_function, polymorphic_function
from tensorflow.python.framework import composite_tensor, func_graph
from tensorflow.python.ops import gradients_util

from gradaudit.errors import SubjectError, TraceError
from gradaudit.graph.verdicts import Source
from gradaudit.tracing.lines import running_line
from gradaudit.tracing.loops import (
    LooseStep,
    choices_of_functions,
    differentiates,
    is_data,
    loose_step,
    may_update,
    zeros_of_round,
)
from gradaudit.tracing.patches import Patches
from gradaudit.tracing.variable_kinds import is_variable
from gradaudit.user_code import is_framework, user_errors

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
        updates_later: whether it is known to update in some round, though perhaps not in the present one.
        plainly: what to call in place of `step` where that fails, which follows branches that the round does not take.
        followed: the lines of those branches.
        choices: lines in functions that a loop calls which choose between rounds, and are followed as the present one.
        zeros: names of numbers that are 0 in the present round and computed anew in each.
    """

    what: str
    source: Source | None
    model: Any = None
    batch: Any = None
    step: Callable[..., Any] | None = None
    inputs: tuple[Any, ...] = ()
    name: str | None = None
    is_certain: bool = True
    updates_later: bool = False
    plainly: Callable[..., Any] | None = None
    followed: tuple[int, ...] = ()
    choices: tuple[Source, ...] = ()
    zeros: tuple[str, ...] = ()


class _GradientAsked(BaseException):
    """The function that is being traced asks for the gradient of a variable: it trains."""


_ASKED = object()


@dataclass
class _Tracing:
    """The trace of a function that the script calls."""

    has_asked: bool = False
    """Whether that asked for the gradient of a variable. It may have an `except:` of its own around that."""


@dataclass
class StepWatch:
    """Hands the first train step to `reached` before it runs; where that returns, the script goes on.

    `lost` gets the error where something trains that cannot be stopped before it runs, or where the watch itself fails:
    it is not to return. `other_backend` is told of a backend that the script chooses for Keras.

    One thread at a time is at a step. Another that comes to one waits, and for good where the first has found the step
    to audit. Threads that trace in a graph, as replicas do, belong to the one that they trace for.
    """

    reached: Callable[[FirstStep], None]
    lost: Callable[[Exception], None]
    other_backend: Callable[[str], None]
    zeros: list[Source] = field(default_factory=list)
    """The lines that call a model which that builds: it is traced, and its outputs are zeros."""
    _turn: Any = field(default_factory=threading.RLock)
    _pausing_thread: int | None = None
    _tracings: dict[int, _Tracing] = field(default_factory=dict)
    """By thread, what is being traced because the script calls it."""
    _calls: Counter[int] = field(default_factory=Counter)
    """By thread, how many calls of layers are under way, one within the other."""
    _attempted: dict[Source | None, FirstStep] = field(default_factory=dict)
    """By line, what was about to record for a gradient and could not be audited."""

    def install(self, patches: Patches) -> None:
        """Watch every way to train."""

        def watch(owner: Any, name: str, hook: Callable[..., Any]) -> None:
            patches.wrap(owner, name, self._guarded(hook))

        watch(TensorFlowTrainer, "fit", self._fit)
        watch(TensorFlowTrainer, "train_on_batch", self._train_on_batch)
        watch(polymorphic_function.Function, "__call__", self._call_function)
        watch(polymorphic_function.Function, "get_concrete_function", self._concrete_function)
        watch(concrete_function.ConcreteFunction, "_call_flat", self._run_function)
        watch(distribute_lib.StrategyBase, "run", self._run_on_replicas)
        watch(backprop.GradientTape, "_push_tape", self._start_tape)
        for name in ("gradient", "jacobian", "batch_jacobian"):
            watch(backprop.GradientTape, name, self._ask_tape)
        watch(gradients_util, "_GradientsHelper", self._ask_symbolically)
        watch(Layer, "__call__", self._call_layer)
        watch(keras.config, "set_backend", self._set_backend)

    def _guarded(self, hook: Callable[..., Any]) -> Callable[..., Any]:
        """A hook out of which no error comes that the script would not meet without it."""

        def guarded(original: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
            if self._is_pausing:
                return hook(original, *arguments, **options)
            usual: list[BaseException] = []

            @functools.wraps(original)
            def called(*arguments: Any, **options: Any) -> Any:
                try:
                    return original(*arguments, **options)
                except BaseException as error:
                    usual.append(error)
                    raise

            try:
                return hook(called, *arguments, **options)
            except Exception as error:
                if not any(error is each for each in usual):
                    self._lose(error)
                raise

        return guarded

    @contextmanager
    def _paused(self) -> Iterator[None]:
        """Inside, nothing counts as the script's."""
        with self._turn:
            before, self._pausing_thread = self._pausing_thread, threading.get_ident()
            try:
                yield
            finally:
                self._pausing_thread = before

    @property
    def _is_pausing(self) -> bool:
        thread, pausing = threading.get_ident(), self._pausing_thread
        is_part = thread not in self._tracings and not context.executing_eagerly()
        return pausing == thread or pausing is not None and is_part

    @property
    def _tracing(self) -> _Tracing | None:
        """The trace that this thread is part of: a replica's has none of its own."""
        of_others = [] if context.executing_eagerly() else list(self._tracings.values())[-1:]
        return self._tracings.get(threading.get_ident(), next(iter(of_others), None))

    def _reach(self, step: FirstStep) -> None:
        with self._paused(), _outside_of_strategies():
            self.reached(step)

    def _lose(self, error: Exception) -> None:
        with self._paused():
            self.lost(error)

    def _is_of_script(self) -> bool:
        """Whether it is the script that runs, and nothing that is being traced."""
        return not self._is_pausing and self._tracing is None and bool(context.executing_eagerly())

    def _set_backend(self, original: Callable[..., None], backend: str) -> None:
        """Leave TensorFlow where it is, which Keras would import once more."""
        self.other_backend(backend)

    # ------------------------------------------------------------------------------------------------------------ Keras

    def _fit(self, original: Callable[..., Any], model: Any, *arguments: Any, **options: Any) -> Any:
        self._refuse_inside_a_step("fit")
        with self._paused(), user_errors("fit cannot begin", SubjectError):
            given = _given(original, model, arguments, options)
            of_an_epoch = {name: given[name] for name in _OF_AN_EPOCH}
            epoch = EpochIterator(**of_an_epoch, steps_per_execution=model.steps_per_execution)
            batch = tf.nest.map_structure(_of_one_replica, epoch.data_adapter.get_tf_dataset().element_spec)
        self._reach(FirstStep("fit", running_line(sys._getframe(1)), model=model, batch=batch))
        return None

    def _train_on_batch(self, original: Callable[..., Any], model: Any, *arguments: Any, **options: Any) -> Any:
        self._refuse_inside_a_step("train_on_batch")
        with self._paused(), user_errors("train_on_batch cannot begin", SubjectError):
            given = _given(original, model, arguments, options)
            x, y, weights, by_class = (given[name] for name in ("x", "y", "sample_weight", "class_weight"))
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
        thread = threading.get_ident()
        is_outermost = not self._calls[thread] and not self._is_pausing and context.executing_eagerly()
        self._calls[thread] += 1
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
            self._calls[thread] -= 1

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
        return self._called(function, partial(original, function), function, arguments, options)

    def _called(
        self, function: Any, original: Callable[..., Any], step: Callable[..., Any], arguments: Any, options: Any
    ) -> Any:
        """What `original` returns that calls `function`, unless that trains: `step` is the same for the audit."""
        if not self._is_of_script():
            return original(*arguments, **options)
        outputs = self._until_gradient(partial(original, *arguments, **options))
        if outputs is not _ASKED:
            return outputs
        frame = sys._getframe(1)
        loose = loose_step(frame)
        if loose is not None and loose.trains_later:
            self._reach(_of_statements(loose, frame))
        self._reach(_of_function(function, step, arguments, options, frame))
        return None

    def _concrete_function(self, original: Callable[..., Any], function: Any, *arguments: Any, **options: Any) -> Any:
        if not self._is_of_script():
            return original(function, *arguments, **options)
        outputs = self._until_gradient(partial(original, function, *arguments, **options))
        if outputs is not _ASKED:
            return outputs
        given = arguments if arguments or options else tuple(function.input_signature or ())
        self._reach(_of_function(function, function, given, options, sys._getframe(1)))
        return None

    def _until_gradient(self, call: Callable[[], Any]) -> Any:
        """What a call returns that traces a function; `_ASKED` where that asks for the gradient of a variable."""
        thread = threading.get_ident()
        self._tracings[thread] = _Tracing()
        try:
            return call()
        except _GradientAsked:
            return _ASKED
        finally:
            del self._tracings[thread]

    def _run_function(self, original: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        tracing = self._tracing
        if (
            tracing is not None and tracing.has_asked and not self._is_pausing
        ):  # it has caught what was to end its trace
            raise _GradientAsked
        return original(*arguments, **options)

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
        if self._is_pausing or not any(is_variable(source) for source in tf.nest.flatten(sources)):
            return
        tracing = self._tracing
        if tracing is not None:
            tracing.has_asked = True
            raise _GradientAsked
        line = running_line(sys._getframe(2))
        if not context.executing_eagerly():
            self._lose(_not_followed(line, "is traced in a graph of its own"))
        if not self._attempted:
            self._lose(_not_followed(line, "has no source that could be read, or is an async function"))
        for step in list(self._attempted.values())[-1:]:
            self._reach(step)

    # ------------------------------------------------------------------------------------------------------------ loops

    def _start_tape(self, original: Callable[..., None], tape: Any) -> None:
        if self._is_of_script():
            self._try_statements(sys._getframe(1))
        original(tape)

    def _run_on_replicas(
        self, original: Callable[..., Any], strategy: Any, fn: Any, *arguments: Any, **options: Any
    ) -> Any:
        """Look at what calls a function on replicas, each of which is a thread of its own that comes from nowhere."""
        if isinstance(fn, polymorphic_function.Function):
            run = partial(strategy.run, fn)
            return self._called(fn, partial(original, strategy, fn), run, arguments, options)
        if self._is_of_script() and differentiates(fn):
            self._try_statements(sys._getframe(1))
        return original(strategy, fn, *arguments, **options)

    def _try_statements(self, frame: FrameType) -> None:
        """Audit what stands around a line that may train, once."""
        line = running_line(frame)
        if line is None:  # a thread of TensorFlow's, which the one at a step may wait for
            return
        with self._turn:
            loose = None if line in self._attempted else loose_step(frame)
            if loose is not None:
                self._attempted[line] = _of_statements(loose, frame)
                self._reach(replace(self._attempted[line], is_certain=False))


def _given(method: Callable[..., Any], model: Any, arguments: Any, options: Any) -> dict[str, Any]:
    """What a training method of a compiled model is given, by name."""
    model._assert_compile_called(method.__name__)
    given = inspect.signature(method).bind(model, *arguments, **options)
    given.apply_defaults()
    return given.arguments


@contextmanager
def _outside_of_strategies() -> Iterator[None]:
    """Inside, no strategy is in force: between its replicas, a distributed variable hands out no handle."""
    distribute_lib._push_per_thread_mode(distribute_lib._get_default_replica_mode())
    try:
        yield
    finally:
        distribute_lib._pop_per_thread_mode()


def _not_followed(line: Source | None, reason: str) -> TraceError:
    """What ends the run before something trains that no step can be made of."""
    return TraceError(
        f"What trains at {line or 'code without a file'} {reason}, and would run: audit it with a subject, as in "
        "gradaudit trace path/to/file.py:callable."
    )


def _of_function(function: Any, step: Callable[..., Any], arguments: Any, options: Any, frame: FrameType) -> FirstStep:
    line = running_line(frame)
    name = _name(function.python_function, line)
    return FirstStep(
        name,
        line,
        step=_called(step),
        inputs=tf.nest.map_structure(_described, (arguments, options)),
        name=name,
        updates_later=may_update(frame),
        choices=tuple(choices_of_functions(frame)),
        zeros=tuple(zeros_of_round(frame)),
    )


def _name(function: Any, line: Source | None) -> str:
    """What to call a function; one that a library puts around the user's, as a data set does, has no name of theirs."""
    function = inspect.unwrap(function)  # a method is wrapped once it is bound
    code = getattr(function, "__code__", None)
    if code is not None and line is not None and is_framework(code.co_filename):
        return f"what is traced at line {line.line}"
    return str(getattr(function, "__name__", "step"))


def _of_statements(loose: LooseStep, frame: FrameType) -> FirstStep:
    return FirstStep(
        "a loop that differentiates",
        running_line(frame),
        step=loose.run,
        inputs=tuple(tf.nest.map_structure(_described, value) for value in loose.data),
        name=loose.name,
        updates_later=may_update(frame),
        plainly=loose.run_plainly if loose.followed else None,
        followed=loose.followed,
        choices=tuple(choices_of_functions(frame)),
        zeros=tuple(zeros_of_round(frame)),
    )


def _called(function: Any) -> Callable[..., Any]:
    def step(arguments: Any, options: Any) -> Any:
        return function(*arguments, **options)

    return step


def _described(value: Any) -> Any:
    """The shape and type of what holds numbers; anything else as it is."""
    if is_variable(value) or isinstance(value, tf.data.Dataset):
        return value
    if isinstance(value, np.ndarray) and value.ndim and value.dtype != object:
        return tf.TensorSpec(value.shape, value.dtype)
    if isinstance(value, tf.Tensor):
        return tf.TensorSpec(value.shape, value.dtype)
    return tf.type_spec_from_value(value) if isinstance(value, composite_tensor.CompositeTensor) else value


def _of_one_replica(spec: Any) -> Any:
    """What one replica gets, of a data set that is distributed already."""
    return getattr(spec, "_value_specs", (spec,))[0]
