"""Participation terms in real steps: cut off from every gradient, and the model outputs that they read watched."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.eager import backprop, record
from tensorflow.python.framework import func_graph
from tensorflow.python.ops import gradients_util
from tensorflow.python.ops.resource_variable_ops import ResourceVariable

from gradaudit.tracing.patches import Patches
from gradaudit.tracing.scope_names import ScopeNames, participation_name

_SUMS = frozenset({"AddV2", "Add", "AddN", "Sub", "Pack"})
"""Ops by which a term gets into the loss: in a participation scope too, what they add up is not all participation."""
_OF_SUMS = frozenset(
    {"Sum", "Mean", "Neg", "RealDiv", "Identity", "Reshape", "Squeeze", "ExpandDims", "Cast", "CheckNumerics"}
)
"""Ops that may stand between such a sum and the next."""
_BACKWARD = frozenset({"gradient_tape", "gradients"})
"""Scopes in which TensorFlow differentiates, below which the scopes of the forward pass are repeated."""
_OWN_SCOPE = "participation_measured/"


class ParticipationTerms:
    """Sees the participation terms of a step while it is traced.

    Where they are to be severed, each hands on its value and no gradient, so that the step trains as if they had not
    been added: what only they reach gets None, not zeros.
    """

    def __init__(self, scopes: Collection[str], *, severed: bool) -> None:
        self._scopes = scopes
        self._severed = severed
        self._scope_names = ScopeNames()
        self._powers: dict[str, ResourceVariable] = {}
        self._seen: dict[tuple[int, str], Any] = {}
        """The graphs in which a term's output is watched: held, so that no id is given twice."""
        self._is_own = False

    def install(self, patches: Patches) -> None:
        """Begin to see to them."""
        patches.wrap(func_graph.FuncGraph, "_create_op_internal", self._create_op)
        patches.wrap(backprop.GradientTape, "gradient", self._differentiate)
        patches.wrap(gradients_util, "_GradientsHelper", self._differentiate_symbolically)
        self._scope_names.install(patches)

    def power(self, term: str) -> float | None:
        """The mean square of what a term read last: the first tensor of numbers that enters its scope."""
        return float(self._powers[term].numpy()) if term in self._powers else None

    def _create_op(
        self,
        original: Callable[..., Any],
        graph: Any,
        op_type: str,
        inputs: Sequence[Any],
        dtypes: Any = None,
        input_types: Any = None,
        name: str | None = None,
        *others: Any,
        **options: Any,
    ) -> Any:
        if not self._is_own:
            self._is_own = True
            try:
                inputs = self._handed_on(graph, op_type, inputs, self._term(graph, _scope(graph, name)))
            finally:
                self._is_own = False
        return original(graph, op_type, inputs, dtypes, input_types, name, *others, **options)

    def _differentiate(self, original: Callable[..., Any], tape: Any, target: Any, *others: Any, **options: Any) -> Any:
        return original(tape, tf.nest.map_structure(self._as_target, target), *others, **options)

    def _differentiate_symbolically(self, original: Callable[..., Any], ys: Any, *others: Any, **options: Any) -> Any:
        # TensorFlow itself passes the graph to differentiate, a user never does.
        is_users = options.get("src_graph") is None
        return original(tf.nest.map_structure(self._as_target, ys) if is_users else ys, *others, **options)

    def _as_target(self, tensor: Any) -> Any:
        """What is differentiated in place of a loss: of one that is a participation term itself, nothing."""
        is_term = self._severed and self._term_of(tensor) is not None
        return _stopped(tensor) if is_term and not _is_sum(tensor.op.type, tensor.op.inputs) else tensor

    def _handed_on(self, graph: Any, op_type: str, inputs: Sequence[Any], term: str | None) -> list[Any]:
        """The inputs that an op in the scope of `term`, or in none, is to have."""
        handed_on = []
        for tensor in inputs:
            producer = self._term_of(tensor)
            if term is not None and producer is None:
                self._watch(graph, term, tensor, is_added=op_type in _SUMS)
            leaves = producer is not None and (term is None or _is_sum(op_type, inputs))
            is_addend = leaves and not _is_sum(tensor.op.type, tensor.op.inputs)
            handed_on.append(_stopped(tensor) if self._severed and is_addend and _has_gradient(tensor) else tensor)
        return handed_on

    def _term_of(self, tensor: Any) -> str | None:
        """The term in whose scope a tensor is computed."""
        if not tf.is_symbolic_tensor(tensor):
            return None
        return self._term(tensor.graph, tensor.op.name.rpartition("/")[0])

    def _term(self, graph: Any, scope: str) -> str | None:
        called = self._scope_names.of(graph, scope)
        name = participation_name(called, self._scopes)
        is_backward = name is not None and not _BACKWARD.isdisjoint(called.partition(name)[0].split("/"))
        return None if is_backward else name

    def _watch(self, graph: Any, term: str, tensor: Any, *, is_added: bool) -> None:
        """Keep the mean square of the first tensor that enters a term; a scalar that is added to may be the loss."""
        if (id(graph), term) in self._seen or not _has_gradient(tensor) or (is_added and tensor.shape.rank == 0):
            return
        self._seen[id(graph), term] = graph
        if term not in self._powers:
            with tf.init_scope():
                # Past the creators of variables: those of a `tf.function` let none be made when it is traced again.
                self._powers[term] = ResourceVariable(float("nan"), trainable=False)
        with record.stop_recording(), tf.name_scope(_OWN_SCOPE):
            numbers = tf.cast(tf.abs(tensor), tf.float32)
            self._powers[term].assign(tf.reduce_mean(tf.square(numbers)))


def _scope(graph: Any, name: str | None) -> str:
    """The scope of an op that is about to be made: a name that ends with a slash is a whole one."""
    if name is not None and name.endswith("/"):
        return name[:-1].rpartition("/")[0]
    scope: str = graph.get_name_scope()
    return scope


def _is_sum(op_type: str, inputs: Sequence[Any]) -> bool:
    """Whether an op adds up, or is all that becomes of what was added up."""
    if op_type not in _OF_SUMS:
        return op_type in _SUMS
    return bool(tf.is_symbolic_tensor(inputs[0])) and _is_sum(inputs[0].op.type, inputs[0].op.inputs)


def _has_gradient(tensor: Any) -> bool:
    return bool(tensor.dtype.is_floating or tensor.dtype.is_complex)


def _stopped(tensor: Any) -> Any:
    with tf.name_scope(_OWN_SCOPE):
        return tf.stop_gradient(tensor)
