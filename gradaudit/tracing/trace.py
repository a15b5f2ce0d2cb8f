"""Runs a step's Python once, in a graph, and keeps what was seen: ops, origins, tapes, gradient calls, updates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.layers.layer import Layer
from tensorflow.python.eager import context
from tensorflow.python.eager.lift_to_graph import UnliftableError, lift_to_graph
from tensorflow.python.eager.polymorphic_function import polymorphic_function
from tensorflow.python.framework import func_graph, ops

from gradaudit.errors import TraceError
from gradaudit.tracing import output_scopes
from gradaudit.tracing.gradient_calls import Expectation, GradientCall, GradientCalls, StandInReached
from gradaudit.tracing.making import Made
from gradaudit.tracing.origins import Origins
from gradaudit.tracing.participation import HandingOut, Participation
from gradaudit.tracing.patches import Patches
from gradaudit.tracing.scope_names import ScopeNames
from gradaudit.tracing.stacks import share_one_stack, tells_of_stacks
from gradaudit.tracing.tapes import TapeRecord, Tapes
from gradaudit.tracing.updates import Updates
from gradaudit.tracing.variable_kinds import is_variable
from gradaudit.user_code import user_errors


@dataclass
class Trace:
    """A step as it was traced. `graph` is the outermost FuncGraph, `result` what the step returned."""

    graph: Any
    origins: Origins
    tapes: Tapes
    gradient_calls: GradientCalls
    updates: Updates
    scope_names: ScopeNames
    result: Any = None

    @property
    def calls(self) -> list[GradientCall]:
        """The gradient calls, in order."""
        return self.gradient_calls.calls


def trace_step(
    step: Callable[..., Any],
    inputs: Sequence[Any],
    *,
    made: Made,
    expectation: Callable[[Trace], Expectation],
    verify: bool = False,
    participation: Participation | None = None,
) -> Trace:
    """Trace `step(*inputs)`, again if a gradient that was stood in for turns out to feed a loss.

    TensorFlow keeps no stacks meanwhile; where it tells of one in an error, the step is traced once more with them.

    Args:
        step: any callable that differentiates and updates.
        inputs: its positional arguments; arrays, tensors and TensorSpecs in them become symbolic inputs.
        made: what was noted while the subject was built.
        expectation: gets the trace, and tells at each gradient call what TensorFlow would return.
        verify: make every gradient call for real, and compare.
        participation: terms to add to the losses.

    Raises:
        TraceError: the step fails; the message has the user's own error and line.
        SubjectError: a term to add finds no loss.
        WeightlessReadError: the step needs the value of a weight that has none.
    """
    real: frozenset[int] = frozenset()
    failure: TraceError | None = None
    while True:
        try:
            trace = _trace_once(step, inputs, made, expectation, real, verify, participation, failure is not None)
        except StandInReached as reached:
            real |= {reached.number}
            continue
        except TraceError as error:
            if failure is not None or not tells_of_stacks(error):
                raise
            failure = error
            continue
        if failure is not None:  # the step goes on from what its first run left: it fails all the same where it trains
            raise failure
        if participation is not None:
            participation.require_added(trace.origins)
        return trace


def _trace_once(
    step: Callable[..., Any],
    inputs: Sequence[Any],
    made: Made,
    expectation: Callable[[Trace], Expectation],
    real: frozenset[int],
    verify: bool,
    participation: Participation | None,
    keeps_stacks: bool,
) -> Trace:
    origins, tapes, updates = Origins(made.lines_of_layers), Tapes(), Updates()

    def added_terms(tape: TapeRecord | None) -> list[Any]:
        return [] if participation is None else participation.of(origins, tape, ops.get_default_graph())

    gradient_calls = GradientCalls(tapes, lambda call: expect(call), real, verify, added_terms)
    trace = Trace(func_graph.FuncGraph("step"), origins, tapes, gradient_calls, updates, ScopeNames())
    expect = expectation(trace)
    with Patches() as patches:
        patches.wrap(func_graph.FuncGraph, "_create_op_internal", _noting(origins))
        patches.wrap(Layer, "__call__", entering(origins))
        patches.wrap(Layer, "add_loss", _adding(origins))
        patches.wrap(Layer, "_get_regularization_losses", _regularizing(origins))
        handing_out = None if participation is None else participation.handing_out(origins)
        apart = traced_apart(lambda: len(gradient_calls.calls), handing_out)
        patches.wrap(polymorphic_function.Function, "__call__", apart)
        tapes.install(patches)
        gradient_calls.install(patches)
        updates.install(patches)
        output_scopes.install(patches)
        trace.scope_names.install(patches)
        if not keeps_stacks:
            share_one_stack(patches)
        with (
            trace.graph.as_default(),
            tf.variable_creator_scope(_lifted),
            user_errors("The step cannot be traced", TraceError),
        ):
            trace.result = step(*tf.nest.map_structure(_placeholder, tuple(inputs)))
    return trace


def _lifted(next_creator: Callable[..., Any], **arguments: Any) -> Any:
    """A variable that the step makes from a symbolic value, which is computed apart, as a `tf.function` does."""
    value = arguments.get("initial_value")
    if isinstance(value, tf.Tensor) and not isinstance(value, ops.EagerTensor):

        def initial_value() -> Any:
            compute = tf.function(lambda: lift_to_graph([value], ops.get_default_graph())[value], autograph=False)
            try:
                return compute()
            except UnliftableError:  # It depends on the batch: TensorFlow computes it when the step first runs.
                return tf.zeros(value.shape, value.dtype)

        arguments["initial_value"] = initial_value
    return next_creator(**arguments)


def _noting(origins: Origins) -> Callable[..., Any]:
    def create_op(original: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        op = original(*arguments, **options)
        origins.note_op(op)
        return op

    return create_op


def entering(origins: Origins) -> Callable[..., Any]:
    """Note the layers whose calls are under way, and what the outermost ones return."""

    def call_layer(original: Callable[..., Any], layer: Any, *arguments: Any, **options: Any) -> Any:
        origins.layers.append(layer)
        origins.called[id(layer)] = layer
        try:
            outputs = original(layer, *arguments, **options)
        finally:
            origins.layers.pop()
        if not origins.layers and not context.executing_eagerly():
            origins.note_outputs(layer, outputs)
        return outputs

    return call_layer


def _adding(origins: Origins) -> Callable[..., Any]:
    def add_loss(original: Callable[..., Any], layer: Any, loss: Any) -> None:
        origins.note_losses(layer, loss)
        original(layer, loss)

    return add_loss


def _regularizing(origins: Origins) -> Callable[..., Any]:
    def regularization_losses(original: Callable[..., Any], layer: Any) -> Any:
        origins.regularizes = True
        try:
            return original(layer)
        finally:
            origins.regularizes = False

    return regularization_losses


def traced_apart(asked: Callable[[], int], handing_out: HandingOut | None = None) -> Callable[..., Any]:
    """Let copies of the user's `tf.function`s be traced instead of them.

    One that was traced earlier would not be traced again under the eyes of this trace; and none may keep a trace in
    which gradients were stood in for, or the training that follows would run that.

    TensorFlow runs one trace on all variables of one shape that a function gets as arguments. Where the function asks
    for gradients, each gets one of its own here. `asked` tells how many times a gradient was asked for so far;
    `handing_out` lets the copies return more than the user's functions do.
    """
    copies: dict[tuple[int, ...], tuple[Any, Any, Any]] = {}
    own: set[int] = set()
    asking: set[int] = set()

    def call_function(original: Callable[..., Any], function: Any, *arguments: Any, **options: Any) -> Any:
        if id(function) in own:
            return original(function, *arguments, **options)
        variables = [value for value in tf.nest.flatten([arguments, options]) if is_variable(value)]
        of_all = (id(function),)
        of_these = (id(function), *map(id, variables))
        key = of_these if id(function) in asking else of_all
        if key not in copies:
            copy = function._clone(handing_out and handing_out.python_function(function.python_function))
            own.add(id(copy))
            copies[key] = (function, variables, copy)
        before = asked()
        outputs = original(copies[key][-1], *arguments, **options)
        if key == of_all and asked() > before:
            asking.add(id(function))
            copies[of_these] = copies[of_all]
        return outputs if handing_out is None else handing_out.taken(outputs)

    return call_function


def _placeholder(value: Any) -> Any:
    """A symbolic input for an array, tensor or spec; anything else is passed as it is."""
    if isinstance(value, keras.KerasTensor):
        value = tf.TensorSpec(value.shape, value.dtype)
    if isinstance(value, np.ndarray):
        # As `fit` does: floating data takes Keras's float type.
        dtype = keras.config.floatx() if np.issubdtype(value.dtype, np.floating) else value.dtype
        value = tf.TensorSpec(value.shape, dtype)
    if isinstance(value, tf.Tensor):
        value = tf.TensorSpec(value.shape, value.dtype)
    if isinstance(value, (tf.RaggedTensor, tf.SparseTensor)):
        value = tf.type_spec_from_value(value)
    if isinstance(value, tf.TypeSpec):
        components = [
            tf.compat.v1.placeholder(part.dtype, part.shape) for part in tf.nest.flatten(value, expand_composites=True)
        ]
        return tf.nest.pack_sequence_as(value, components, expand_composites=True)
    return value
