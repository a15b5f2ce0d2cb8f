"""Two oracles that know nothing of gradaudit: TensorFlow's own tape, and a variable that is changed.

The step of a case is run as it is, in a `tf.function`, at random weights and inputs. Every gradient call in it is made
for real, and what it differentiates and what it returns is written down by the step itself, into variables, for a call
may stand in a loop, a branch, or a function that XLA compiles.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.ops.resource_variable_ops import ResourceVariable

from tests.cases.case import Case

ROUNDS = 24
NOISE = 1e-5
"""Gradients of float32 that are smaller than this share of the largest one may be rounding alone."""


@dataclass(frozen=True)
class Observation:
    """What was seen of each variable, by path.

    `tape` is what the gradient calls that ran returned: "tensor", "zeros" in every round, "none" or "not-asked".
    `changes` says whether a change of the variable alone ever changed a differentiated loss: one of those that are
    asked for its gradient, or any, if none is. `moves` says whether the step ever wrote to the variable.
    `noise` are those whose gradient is so small beside the others of the call that it may be the rounding of a zero.
    `refused` says that TensorFlow raised LookupError, for want of a registered gradient: there is no tape then.
    """

    tape: dict[str, str]
    changes: dict[str, bool]
    moves: dict[str, bool]
    noise: frozenset[str]
    refused: bool


def observe(case: Case) -> Observation:
    """Run the step of a case for real, many times."""
    calls: list[_Call] = []
    with _noted_variables() as noted, _gradient_calls_noted_in(calls), warnings.catch_warnings():
        # Keras's own warning is one of the things that are measured here.
        warnings.filterwarnings("ignore", "Gradients do not exist", UserWarning)
        subject = case.build()
        numbers = np.random.default_rng(0)
        if subject.model is not None:
            # A step that makes variables is traced twice, and the calls of its first trace would count.
            subject.model._symbolic_build(data_batch=_batch(subject.inputs, np.random.default_rng(0))[0])
        made = noted()
        variables = {path: v for path, v in made.items() if case.expects(path, v.trainable)}
        step = tf.function(subject.step)
        draws_random_numbers = _draws_random_numbers(step.get_concrete_function(*_batch(subject.inputs, numbers)))

        def run(batch: list[Any]) -> list[float]:
            for call in calls:
                call.loss.assign(0.0)
            if draws_random_numbers:
                tf.random.set_seed(1)  # the same numbers in every run; it costs more than the step
            step(*batch)
            return [float(call.loss) for call in calls]

        moves, changed_in = dict.fromkeys(variables, False), {path: set[int]() for path in variables}
        for _ in range(ROUNDS):
            for variable in variables.values():
                variable.assign(_weights(variable, numbers))
            batch = _batch(subject.inputs, numbers)
            before = {path: variable.numpy() for path, variable in made.items()}
            losses = run(batch)
            after = {path: variable.numpy() for path, variable in made.items()}
            for path, variable in variables.items():
                moves[path] |= not np.array_equal(before[path], after[path])
                if _settled(changed_in[path], calls, variable):
                    continue
                _restore(made, before)
                variable.assign(_weights(variable, numbers))
                pairs = enumerate(zip(losses, run(batch), strict=True))
                changed_in[path] |= {number for number, pair in pairs if not np.array_equal(*pair, equal_nan=True)}
            _restore(made, after)
    return Observation(
        tape={path: _answer(variable, calls) for path, variable in variables.items()},
        changes={path: _settled(changed_in[path], calls, variable) for path, variable in variables.items()},
        moves=moves,
        noise=frozenset(path for path, variable in variables.items() if _is_noise(variable, calls)),
        refused=any(call.refused for call in calls),
    )


# ------------------------------------------------------------------------------------------------------- gradient calls


@dataclass(frozen=True)
class _Call:
    """A gradient call of the user's: its sources, a fingerprint of what it differentiates, the peaks of its results."""

    handles: tuple[Any, ...]
    runs: Any
    loss: Any
    peaks: tuple[Any | None, ...]
    refused: bool

    def asks_for(self, variable: Any) -> bool:
        return any(handle is variable.handle for handle in self.handles)

    def peaks_of(self, variable: Any) -> list[float]:
        pairs = zip(self.handles, self.peaks, strict=True)
        return [float(peak) for handle, peak in pairs if handle is variable.handle and peak is not None]


@contextmanager
def _gradient_calls_noted_in(calls: list[_Call]) -> Iterator[None]:
    def noting(original: Callable[..., Any]) -> Callable[..., Any]:
        def ask(*arguments: Any, **options: Any) -> Any:
            if _is_tensorflows_own(sys._getframe(1)):
                return original(*arguments, **options)
            target, sources = arguments[-2:] if original is symbolic else arguments[1:3]
            try:
                gradients, refused = original(*arguments, **options), False
            except LookupError:
                gradients, refused = tf.nest.map_structure(lambda _: None, sources), True
            handles = tuple(getattr(source, "handle", None) for source in tf.nest.flatten(sources))
            if any(handle is not None for handle in handles):
                with tf.name_scope("oracle"):
                    calls.append(_noted_call(handles, target, tf.nest.flatten(gradients), refused))
            return gradients

        return ask

    symbolic = tf.gradients
    with ExitStack() as patches:
        for owner, name in ((tf.GradientTape, "gradient"), (tf.GradientTape, "jacobian"), (tf, "gradients")):
            patches.enter_context(mock.patch.object(owner, name, noting(getattr(owner, name))))
        yield


def _is_tensorflows_own(frame: Any) -> bool:
    """Whether TensorFlow asks for itself, as for a jacobian; what AutoGraph calls, it calls for the user."""
    module = str(frame.f_globals.get("__name__", ""))
    return module.startswith("tensorflow.") and not module.startswith("tensorflow.python.autograph.")


def _noted_call(handles: tuple[Any, ...], target: Any, gradients: list[Any], refused: bool) -> _Call:
    with tf.init_scope():
        # Made past the creators of variables: those of a `tf.function` let none be made after its first call.
        runs, loss = (ResourceVariable(0.0, dtype=tf.float64, trainable=False) for _ in range(2))
        peaks = tuple(
            None if gradient is None else ResourceVariable(0.0, dtype=tf.float64, trainable=False)
            for gradient in gradients
        )
    runs.assign_add(1.0)
    for part in tf.nest.flatten(target, expand_composites=True):
        loss.assign_add(_fingerprint(part))
    for peak, gradient in zip(peaks, gradients, strict=True):
        if peak is not None:
            peak.assign(tf.maximum(peak, _peak(gradient)))
    return _Call(handles, runs, loss, peaks, refused)


def _fingerprint(tensor: Any) -> Any:
    """A number that tells two losses apart, also where the sum of their elements does not."""
    flat = _flat(tf.convert_to_tensor(tensor))
    return tf.reduce_sum(flat * tf.cos(tf.cast(tf.range(tf.size(flat)), tf.float64)))


def _peak(gradient: Any) -> Any:
    dense = gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient
    return tf.reduce_max(tf.concat([[0.0], tf.abs(_flat(dense))], axis=0))


def _flat(tensor: Any) -> Any:
    parts = [tf.math.real(tensor), tf.math.imag(tensor)] if tensor.dtype.is_complex else [tensor]
    return tf.concat([tf.reshape(tf.cast(part, tf.float64), [-1]) for part in parts], axis=0)


def _answer(variable: Any, calls: list[_Call]) -> str:
    asked = [call for call in calls if call.asks_for(variable) and float(call.runs) > 0]
    peaks = [peak for call in asked for peak in call.peaks_of(variable)]
    if any(peak != 0.0 for peak in peaks):
        return "tensor"
    return "zeros" if peaks else "none" if asked else "not-asked"


def _is_noise(variable: Any, calls: list[_Call]) -> bool:
    return all(
        peak < NOISE * max(float(other) for other in call.peaks if other is not None)
        for call in calls
        for peak in call.peaks_of(variable)
    )


def _draws_random_numbers(concrete: Any) -> bool:
    graph = concrete.graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    return any(node.op.startswith(("Random", "TruncatedNormal", "Multinomial")) for node in nodes)


def _settled(changed: set[int], calls: list[_Call], variable: Any) -> bool:
    """Whether one of the losses that count for a variable has changed with it."""
    asking = {number for number, call in enumerate(calls) if call.asks_for(variable)}
    return bool(changed & asking if asking else changed)


# ------------------------------------------------------------------------------------------- variables, weights, inputs


@contextmanager
def _noted_variables() -> Iterator[Callable[[], dict[str, Any]]]:
    """Within, every variable that is made; the callable gives them by the path that gradaudit calls them."""
    made: list[Any] = []
    of_keras: list[Any] = []

    def make(next_creator: Callable[..., Any], **options: Any) -> Any:
        made.append(next_creator(**options))
        return made[-1]

    def initialize(variable: Any, *arguments: Any, **options: Any) -> None:
        original(variable, *arguments, **options)
        of_keras.append(variable)

    def by_path() -> dict[str, Any]:
        paths = {id(variable.value): variable.path for variable in of_keras}
        return {paths.get(id(variable), variable.name.removesuffix(":0")): variable for variable in made}

    original = keras.Variable.__init__
    with tf.variable_creator_scope(make), mock.patch.object(keras.Variable, "__init__", initialize):
        yield by_path


def _restore(variables: dict[str, Any], values: dict[str, Any]) -> None:
    for path, variable in variables.items():
        variable.assign(values[path])


def _weights(variable: Any, numbers: np.random.Generator) -> Any:
    if variable.dtype.is_integer:
        return tf.constant(numbers.integers(0, 16, variable.numpy().shape), variable.dtype)
    return tf.cast(numbers.normal(scale=0.3, size=variable.numpy().shape), variable.dtype)


def _batch(inputs: Any, numbers: np.random.Generator) -> list[Any]:
    """Values for specs and arrays; of different sizes, so that in a step that branches every branch gets its turn."""
    scale = numbers.uniform(0, 0.5)

    def values(spec: Any) -> Any:
        if isinstance(spec, tf.RaggedTensorSpec):
            lengths = numbers.permutation([1, 2, 3, 4])  # always ten values: the step is traced once
            flat = numbers.normal(scale=scale, size=(10, *spec.shape[2:]))
            return tf.RaggedTensor.from_row_lengths(tf.constant(flat, spec.dtype), lengths)
        if isinstance(spec, tf.SparseTensorSpec):
            return tf.sparse.from_dense(tf.constant(numbers.normal(scale=scale, size=spec.shape), spec.dtype))
        if not isinstance(spec, tf.TensorSpec):
            return spec
        shape = [4 if size is None else size for size in spec.shape]
        floats = numbers.normal(scale=scale, size=shape)
        return tf.constant(floats if spec.dtype.is_floating else numbers.integers(0, 16, shape), spec.dtype)

    return list(tf.nest.map_structure(values, list(inputs)))
