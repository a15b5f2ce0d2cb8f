"""Gradient calls of a step: each is noted and answered with stand-ins, so that no backward pass is traced."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import tensorflow as tf
from tensorflow.python.eager import backprop, context
from tensorflow.python.eager.graph_only_ops import graph_placeholder
from tensorflow.python.framework import composite_tensor, ops
from tensorflow.python.ops import gradients_util, resource_variable_ops

from gradaudit.errors import DisagreementError, TraceError
from gradaudit.graph.verdicts import Source, UnregisteredOp
from gradaudit.tracing.lines import running_line
from gradaudit.tracing.patches import Patches
from gradaudit.tracing.tapes import TapeRecord, Tapes
from gradaudit.tracing.variable_kinds import is_variable

Answer = Literal["none", "tensor", "slices"]
"""What TensorFlow returns for a source: nothing, a dense gradient, or IndexedSlices."""


class StandInReached(BaseException):
    """A loss depends on a gradient that was only stood in for: that call, by number, has to be made for real.

    A step that has an `except Exception` of its own is not to hear of it.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class _FailsAsForetoldError(Exception):
    """TensorFlow raises the LookupError that was expected of a call."""


@dataclass
class GradientCall:
    """One call of `GradientTape.gradient`, `GradientTape.jacobian` or `tf.gradients`.

    `variables` are the sources as the caller gave them, None where a source is a tensor; `handles` are the tensors that
    TensorFlow differentiates with respect to; `watched` are the ids of the handles that the tape watches, None for
    `tf.gradients`, which has no tape; `zeros_for_none` says that the caller asked for zeros where there is no path;
    `constants` are the tensors through which `tf.gradients` was told to pass none; `seeds` are the gradients of the
    targets, where the caller gives them; `unregistered` are the ops at which the call is expected to fail, and
    `may_fail` says that a custom gradient on the way may; `verified` says that `results` are TensorFlow's own, and were
    found to be None where that was expected, and nowhere else.
    """

    number: int
    tape: TapeRecord | None
    graph: Any
    targets: tuple[Any, ...]
    variables: tuple[Any | None, ...]
    handles: tuple[Any, ...]
    watched: frozenset[int] | None
    zeros_for_none: bool
    source: Source | None
    constants: tuple[Any, ...] = ()
    seeds: tuple[Any, ...] = ()
    results: list[Any] = field(default_factory=list)
    unregistered: tuple[UnregisteredOp, ...] = ()
    may_fail: bool = False
    verified: bool = False


Expectation = Callable[[GradientCall], Sequence[Answer]]


@dataclass
class GradientCalls:
    """Notes gradient calls and answers those whose result can only feed an update.

    `expect` tells what TensorFlow would return; `real` are the numbers of calls that must be made for real, as are
    those under another tape, those of a tape that still records, and those with respect to tensors. With `verify` all
    are made, and each answer is compared with what was expected. `added_terms` gives what is to be differentiated along
    with the loss, though the step does not add it.
    """

    tapes: Tapes
    expect: Expectation
    real: frozenset[int]
    verify: bool
    added_terms: Callable[[TapeRecord | None], list[Any]]
    calls: list[GradientCall] = field(default_factory=list)
    stand_ins: dict[Any, int] = field(default_factory=dict)
    """Number of the call by the stand-in's op."""
    checks: set[Any] = field(default_factory=set)
    """The ops of backward passes that were traced to be compared, and feed nothing."""
    _nested: bool = False

    def install(self, patches: Patches) -> None:
        """Take over every way to ask for a gradient."""
        patches.wrap(backprop.GradientTape, "gradient", self._tape_gradient)
        patches.wrap(backprop.GradientTape, "jacobian", self._tape_jacobian)
        patches.wrap(backprop.GradientTape, "batch_jacobian", self._tape_jacobian)
        patches.wrap(gradients_util, "_GradientsHelper", self._symbolic_gradients)

    @contextmanager
    def ignored(self) -> Any:
        """Inside, gradient calls are none of the step's own."""
        before, self._nested = self._nested, True
        try:
            yield
        finally:
            self._nested = before

    def _tape_gradient(
        self,
        original: Callable[..., Any],
        tape: backprop.GradientTape,
        target: Any,
        sources: Any,
        output_gradients: Any = None,
        unconnected_gradients: tf.UnconnectedGradients = tf.UnconnectedGradients.NONE,
    ) -> Any:
        def ask() -> Any:
            with self.ignored():
                return original(tape, target, sources, output_gradients, unconnected_gradients)

        tape_record = self.tapes.of(tape)
        if self._nested or tape_record is None or tape._tape is None or target is None or context.executing_eagerly():
            return ask()
        if tape._recording and not tape._persistent:
            tape._pop_tape()
        target = tf.nest.map_structure(lambda value: _read_under(tape, value), target)
        if output_gradients is None and self._could_update(len(self.calls), tf.nest.flatten(sources)):
            with tape:
                added = self.added_terms(tape_record)
            target = [*tf.nest.flatten(target), *added] if added else target
        call = self._note(target, sources, tape_record, unconnected_gradients, seeds=output_gradients)
        answers = self.expect(call)
        if not self._feeds_only_an_update(call):
            return self._checked(call, answers, ask)
        self._verify(call, answers, ask)
        if not tape._persistent and tape._tape is not None:
            # What a real call leaves behind: a tape that is used up, and remembers what it watched.
            tape._watched_variables = tape._tape.watched_variables()
            tape._tape = None
        return self._stood_in(call, answers, sources)

    def _tape_jacobian(
        self,
        original: Callable[..., Any],
        tape: backprop.GradientTape,
        *arguments: Any,
        **options: Any,
    ) -> Any:
        def ask() -> Any:
            with self.ignored():
                return original(tape, *arguments, **options)

        tape_record = self.tapes.of(tape)
        if self._nested or tape_record is None or context.executing_eagerly():
            return ask()
        given = inspect.signature(original).bind(tape, *arguments, **options)
        given.apply_defaults()
        _, target, sources, unconnected, *_ = given.arguments.values()
        call = self._note(target, sources, tape_record, unconnected)
        answers = self.expect(call)
        try:
            return self._checked(call, answers, ask)
        except _FailsAsForetoldError as error:
            raise _failure(call, error.__cause__) from error

    def _symbolic_gradients(self, original: Callable[..., Any], ys: Any, xs: Any, *rest: Any, **options: Any) -> Any:
        def ask() -> Any:
            with self.ignored():
                return original(ys, xs, *rest, **options)

        # TensorFlow itself passes the graph to differentiate, a user never does.
        if self._nested or options.get("src_graph") is not None or context.executing_eagerly():
            return ask()
        if self._could_update(len(self.calls), tf.nest.flatten(xs)):
            ys = [*tf.nest.flatten(ys), *self.added_terms(None)]
        given = inspect.signature(original).bind(ys, xs, *rest, **options)
        given.apply_defaults()
        unconnected, constants = given.arguments["unconnected_gradients"], given.arguments["stop_gradients"]
        call = self._note(ys, xs, None, unconnected, constants=_symbolic(constants))
        answers = self.expect(call)
        if not self._feeds_only_an_update(call):
            return self._checked(call, answers, ask)
        self._verify(call, answers, ask)
        return self._stood_in(call, answers, list(tf.nest.flatten(xs)))

    def _note(
        self,
        target: Any,
        sources: Any,
        tape_record: TapeRecord | None,
        unconnected: Any,
        constants: Sequence[Any] = (),
        seeds: Any = None,
    ) -> GradientCall:
        flat = tf.nest.flatten(sources)
        call = GradientCall(
            number=len(self.calls),
            tape=tape_record,
            graph=ops.get_default_graph(),
            targets=tuple(_symbolic(target)),
            variables=tuple(source if is_variable(source) else None for source in flat),
            handles=tuple(getattr(source, "handle", source) for source in flat),
            watched=_watched(tape_record),
            zeros_for_none=tf.UnconnectedGradients(unconnected) == tf.UnconnectedGradients.ZERO,
            source=running_line(sys._getframe(1)),
            constants=tuple(constants),
            seeds=() if seeds is None else tuple(tf.nest.flatten(seeds)),
        )
        self.calls.append(call)
        return call

    def _verify(self, call: GradientCall, answers: Sequence[Answer], ask: Callable[[], Any]) -> None:
        """Make a call for real and compare; the audit goes on with stand-ins all the same, as if it had not asked."""
        if self.verify:
            before = len(call.graph.get_operations())
            with suppress(_FailsAsForetoldError):
                self._checked(call, answers, ask)
            self.checks.update(call.graph.get_operations()[before:])

    def _feeds_only_an_update(self, call: GradientCall) -> bool:
        return self._could_update(call.number, call.variables)

    def _could_update(self, number: int, sources: Sequence[Any]) -> bool:
        """Whether what a call returns can only feed an update, as far as it is known yet."""
        of_variables = all(is_variable(source) for source in sources)
        return number not in self.real and of_variables and not self.tapes.is_recording()

    def _stood_in(self, call: GradientCall, answers: Sequence[Answer], sources: Any) -> Any:
        call.results = []
        with tf.name_scope("gradaudit_gradient"):
            for variable, answer in zip(call.variables, answers, strict=True):
                call.results.append(self._stand_in(call, variable, answer))
        return tf.nest.pack_sequence_as(sources, call.results) if not isinstance(sources, list) else list(call.results)

    def _stand_in(self, call: GradientCall, variable: Any, answer: Answer) -> Any:
        if answer == "none" and not call.zeros_for_none:
            return None
        shape = tf.TensorShape(variable.shape)
        if answer == "slices":
            values = graph_placeholder(tf.as_dtype(variable.dtype), tf.TensorShape([None, *shape[1:]]))
            indices = graph_placeholder(tf.int64, tf.TensorShape([None]))
            self.stand_ins[values.op] = call.number
            known = tf.constant(shape.as_list(), tf.int64) if shape.is_fully_defined() else None
            dense_shape = resource_variable_ops.variable_shape(variable.handle, tf.int64) if known is None else known
            return tf.IndexedSlices(values, indices, dense_shape)
        gradient = graph_placeholder(tf.as_dtype(variable.dtype), shape)
        self.stand_ins[gradient.op] = call.number
        return gradient

    def _checked(self, call: GradientCall, answers: Sequence[Answer], ask: Callable[[], Any]) -> Any:
        try:
            gradients = ask()
        except LookupError as error:
            is_foretold = bool(call.unregistered) or call.may_fail
            if not _is_for_lack_of_a_gradient(error) or not is_foretold and not self.verify:
                raise
            if not is_foretold:
                raise _disagreement(call, "no failure of", f"raises LookupError: {error}") from error
            if self.verify and self._feeds_only_an_update(call):
                raise _FailsAsForetoldError from error
            raise _failure(call, error) from error
        if self.verify and call.unregistered:
            raise _disagreement(call, f"LookupError for {call.unregistered[0].op_type} from", "raises none")
        call.results = _flat_gradients(gradients, len(call.variables))
        if self.verify and not call.zeros_for_none:
            _compare(call, answers)
            call.verified = True
        return gradients


def _compare(call: GradientCall, answers: Sequence[Answer]) -> None:
    for variable, answer, gradient in zip(call.variables, answers, call.results, strict=True):
        if variable is not None and (answer == "none") != (gradient is None):
            path = getattr(variable, "path", variable.name)
            expected, got = ("None", "a gradient") if answer == "none" else ("a gradient", "None")
            raise _disagreement(call, f"{expected} for variable {path!r} from", f"returns {got}")


def _disagreement(call: GradientCall, expected: str, got: str) -> DisagreementError:
    return DisagreementError(
        f"gradaudit expected {expected} the gradient call at {call.source}, TensorFlow {tf.__version__} {got}. This is "
        "a defect of gradaudit: report it with this message and the step."
    )


def _is_for_lack_of_a_gradient(error: LookupError) -> bool:
    """Whether TensorFlow has no gradient for an op: KeyError and IndexError are LookupErrors too, and others' own."""
    return type(error) is LookupError and ("gradient registry" in str(error) or "No gradient defined" in str(error))


def _failure(call: GradientCall, error: BaseException | None) -> TraceError:
    """That a gradient fails which nothing can stand in for, because the loss depends on it."""
    places = [str(op.source) for op in call.unregistered if op.source is not None]
    where = f" The op is at {', '.join(places)}." if places else ""
    return TraceError(
        f"The step fails: the gradient call at {call.source} raises LookupError: {error}.{where} Replace the op, or "
        "stop the gradient before it."
    )


def _flat_gradients(gradients: Any, count: int) -> list[Any]:
    flat = tf.nest.flatten(gradients)  # of None a list of one
    return flat if len(flat) == count else [None] * count


def _symbolic(target: Any) -> list[Any]:
    tensors = []
    for value in tf.nest.flatten(target):
        is_composite = isinstance(value, composite_tensor.CompositeTensor)
        parts = tf.nest.flatten(value, expand_composites=True) if is_composite else [value]
        tensors += [part for part in parts if isinstance(part, tf.Tensor) and not isinstance(part, ops.EagerTensor)]
    return tensors


def _read_under(tape: backprop.GradientTape, value: Any) -> Any:
    """A variable that is differentiated itself, read as the tape would read it; anything else as it is."""
    if not is_variable(value):
        return value
    with tape:
        return tf.convert_to_tensor(value)


def _watched(tape_record: TapeRecord | None) -> frozenset[int] | None:
    if tape_record is None or tape_record.tape._tape is None:
        return None
    return frozenset(id(variable.handle) for variable in tape_record.tape._tape.watched_variables())
