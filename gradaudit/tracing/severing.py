"""Participation terms in real steps: cut off from every gradient, so that a step trains as if they were not there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.eager import backprop
from tensorflow.python.framework import func_graph
from tensorflow.python.ops import gradients_util

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
_OWN_SCOPE = "participation_severed/"


class SeveredTerms:
    """Lets each participation term of a step hand on its value and no gradient, while the step is traced."""

    def __init__(self, scopes: Collection[str]) -> None:
        self._scopes = scopes
        self._scope_names = ScopeNames()
        self._is_own = False

    def install(self, patches: Patches) -> None:
        """Begin to sever."""
        patches.wrap(func_graph.FuncGraph, "_create_op_internal", self._create_op)
        patches.wrap(backprop.GradientTape, "gradient", self._differentiate)
        patches.wrap(gradients_util, "_GradientsHelper", self._differentiate_symbolically)
        self._scope_names.install(patches)

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
                inputs = self._handed_on(op_type, inputs, self._term(graph, _scope(graph, name)))
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
        return _stopped(tensor) if self._term_of(tensor) is not None and not self._is_sum(tensor) else tensor

    def _handed_on(self, op_type: str, inputs: Sequence[Any], term: str | None) -> list[Any]:
        """The inputs that an op in the scope of `term`, or in none, is to have."""
        goes_on = term is not None and not self._adds_up(op_type, inputs)
        return [tensor if goes_on or not self._is_addend(tensor) else _stopped(tensor) for tensor in inputs]

    def _is_addend(self, tensor: Any) -> bool:
        """Whether a tensor is a participation term, and no sum that may hold a task's too."""
        return self._term_of(tensor) is not None and not self._is_sum(tensor) and _has_gradient(tensor)

    def _is_sum(self, tensor: Any) -> bool:
        """Whether a tensor of a participation scope adds up terms, or is all that becomes of such a sum there."""
        return self._term_of(tensor) is not None and self._adds_up(tensor.op.type, tensor.op.inputs)

    def _adds_up(self, op_type: str, inputs: Sequence[Any]) -> bool:
        """Whether an op in a participation scope adds up losses, of which one at least is a number, and not data."""
        if op_type in _SUMS:
            return any(tensor.shape.rank in (0, None) for tensor in inputs)
        return op_type in _OF_SUMS and self._is_sum(inputs[0])

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


class ArrivingGradients:
    """Sees for which variables gradients arrive while a step is traced: `arrived` are the ids of their handles.

    For those of `left_out` None is returned in any case. TensorFlow returns zeros for what only severed terms reach,
    where they are added up inside a loop.
    """

    def __init__(self, left_out: Collection[int] = ()) -> None:
        self.arrived: set[int] = set()
        self._left_out = left_out

    def install(self, patches: Patches) -> None:
        """Begin to see to them."""
        patches.wrap(backprop.GradientTape, "gradient", self._differentiate)
        patches.wrap(gradients_util, "_GradientsHelper", self._differentiate_symbolically)

    def _differentiate(
        self, original: Callable[..., Any], tape: Any, target: Any, sources: Any, *others: Any, **options: Any
    ) -> Any:
        gradients = original(tape, target, sources, *others, **options)
        return tf.nest.map_structure(self._seen, sources, gradients, check_types=False)

    def _differentiate_symbolically(
        self, original: Callable[..., Any], ys: Any, xs: Any, *others: Any, **options: Any
    ) -> Any:
        gradients = original(ys, xs, *others, **options)
        return [self._seen(source, gradient) for source, gradient in zip(tf.nest.flatten(xs), gradients, strict=True)]

    def _seen(self, source: Any, gradient: Any) -> Any:
        handle = id(getattr(source, "handle", source))
        if gradient is None or handle in self._left_out:
            return None
        self.arrived.add(handle)
        return gradient


def handles_of(variable: Any) -> set[int]:
    """The ids of a variable's handles: of one that is distributed, that of each replica."""
    return {id(part.handle) for part in getattr(variable, "values", (variable,))}


def _scope(graph: Any, name: str | None) -> str:
    """The scope of an op that is about to be made: a name that ends with a slash is a whole one."""
    if name is not None and name.endswith("/"):
        return name[:-1].rpartition("/")[0]
    scope: str = graph.get_name_scope()
    return scope


def _has_gradient(tensor: Any) -> bool:
    return bool(tensor.dtype.is_floating or tensor.dtype.is_complex)


def _stopped(tensor: Any) -> Any:
    with tf.name_scope(_OWN_SCOPE):
        return tf.stop_gradient(tensor)
