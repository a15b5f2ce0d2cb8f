"""Which inputs of an op get a gradient: asked of the op's own gradient function, called symbolically."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Literal

import tensorflow as tf
from tensorflow.python.eager import backprop_util
from tensorflow.python.eager.graph_only_ops import graph_placeholder
from tensorflow.python.framework import func_graph, ops

from gradaudit.flow.custom_gradients import kind_of_gradient
from gradaudit.flow.definitions import definition
from gradaudit.flow.values import HANDLES, Value, fold, is_uniform, is_zero
from gradaudit.graph.gradient_graph import Flow

Answer = Flow | Literal["made up"]
"""What a gradient does between an output and an input; "made up" if the input gets one that no output's arrives in."""
Matrix = tuple[tuple[Answer, ...], ...]
"""For each output of an op, and for each input, what a gradient does there."""

_VALUES_NOT_READ = frozenset({"ZerosLike", "OnesLike", "Shape", "ShapeN", "Size", "Rank", "VariableShape"})
"""Ops whose result does not depend on the value of their input: through them no gradient is carried."""

_GRADIENT_OF_ITS_OWN = "_gradient_op_type"
"""The attribute that names it."""

_OTHER_GRAPH = "should be from the same graph"
"""What TensorFlow says of a custom gradient, made while another one is asked, that hands on what stands elsewhere."""


class Edges:
    """Asks gradient functions, once for each signature: type, attributes, types and ranks, repeats, known values."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], Matrix] = {}
        self.strays: set[Any] = set()
        """Ops that were made in graphs of the user's when their gradients were asked for, and feed nothing."""

    def of(self, op: Any, values: Sequence[Value | None], defined: bytes) -> Matrix:
        """What a gradient does between each output and each input of `op`. Not for calls and loops.

        Args:
            op: the op.
            values: what is known of the values of its inputs.
            defined: its definition.
        """
        values = [
            value if is_uniform(value) and _may_decide(tensor) else None
            for value, tensor in zip(values, op.inputs, strict=True)
        ]
        signature = _signature(op, values, defined)
        matrix = self._known.get(signature) if signature else None
        if matrix is None:
            matrix = self._asked(op, values)
            if signature:
                self._known[signature] = matrix
        return matrix

    def _asked(self, op: Any, values: Sequence[Value | None]) -> Matrix:
        try:
            gradient_function = ops.get_gradient_function(op)
        except LookupError:
            return _everywhere(op, "opaque")
        if gradient_function is None:
            return _everywhere(op, "blocked")
        with op.graph.as_default():
            scratch = func_graph.FuncGraph("gradient")
        try:
            arriving, leaving = _called(gradient_function, op, scratch)
        except Exception as error:  # noqa: BLE001  # a user's custom gradient may raise anything
            if isinstance(error, ValueError) and _OTHER_GRAPH in str(error):
                return self._asked_in_place(gradient_function, op)
            # TensorFlow would fail in the same place: whether a gradient passes cannot be known.
            return _everywhere(op, "opaque")
        return _matrix(op, arriving, leaving, _folded(scratch, op, values))

    def _asked_in_place(self, gradient_function: Callable[..., Any], op: Any) -> Matrix:
        """Ask a custom gradient that works in no graph but that of its op, as one that recomputes another one.

        Others are not asked there: one that reduces among replicas would wait for the others.
        """
        before = len(op.graph.get_operations())
        try:
            arriving, leaving = _called(gradient_function, op, op.graph)
        except Exception:  # noqa: BLE001  # as above: TensorFlow would fail here too
            return _everywhere(op, "opaque")
        finally:
            self.strays.update(op.graph.get_operations()[before:])
        return _matrix(op, arriving, leaving, {})


_CARRYING: dict[Any, bool] = {}
"""By type what TensorFlow says of it; handles are told apart by what they are of."""


def carries_gradient(tensor: Any) -> bool:
    """Whether TensorFlow lets tensors of this type carry a gradient."""
    dtype = tensor.dtype
    carries = _CARRYING.get(dtype)
    if carries is None:
        carries = bool(backprop_util.IsTrainable(tensor))
        if dtype not in HANDLES:
            _CARRYING[dtype] = carries
    return carries


def has_custom_gradient(op: Any) -> bool:
    """Whether the gradient of `op` is one of its kind, made by `tf.custom_gradient` or `tf.recompute_grad`."""
    return is_custom(definition(op))


def is_custom(defined: bytes) -> bool:
    """Whether the gradient of an op that is defined so is one of its kind."""
    return _GRADIENT_OF_ITS_OWN.encode() in defined


def _may_decide(tensor: Any) -> bool:
    """Whether the value of an input may make a gradient zero: a factor or a condition, and no axis or shape."""
    return carries_gradient(tensor) or tensor.dtype is tf.bool


def _signature(op: Any, values: Sequence[Value | None], defined: bytes) -> tuple[object, ...] | None:
    """What the answer depends on; None where it depends on more, as a custom gradient may."""
    inputs = op.inputs
    kind: Hashable = defined
    if is_custom(defined):
        gradient = kind_of_gradient(ops.get_gradient_function(op), inputs)
        if gradient is None:
            return None
        shapes = [str(tensor.shape) for tensor in (*inputs, *op.outputs)]
        kind = gradient, definition(op, but=_GRADIENT_OF_ITS_OWN), *shapes
    handles = [tensor for tensor in (*inputs, *op.outputs) if tensor.dtype in HANDLES]
    return (
        kind,
        *[(tensor.shape.rank, tensor.op.type == "Const") for tensor in inputs],
        *[None if value is None else value.item() for value in values],
        _repeats(inputs),
        # A list is known by what it holds, of which only the tensor tells.
        *[carries_gradient(tensor) for tensor in handles],
    )


def _repeats(inputs: Sequence[Any]) -> tuple[int, ...] | None:
    """Which inputs are one tensor, by the place of the first; None if all are different."""
    tensors = [id(tensor) for tensor in inputs]
    return tuple(map(tensors.index, tensors)) if len({*tensors}) < len(tensors) else None


def _called(gradient_function: Callable[..., Any], op: Any, graph: Any) -> tuple[list[Any], list[Any]]:
    """What a gradient function is given for each output of `op`, and what it returns for each input."""
    with graph.as_default():
        arriving = [_placeholder(output) for output in op.outputs]
        leaving = gradient_function(op, *arriving)
    return arriving, list(leaving) if isinstance(leaving, (list, tuple)) else [leaving]


def _matrix(op: Any, arriving: list[Any], leaving: list[Any], known: dict[tuple[int, int], Value]) -> Matrix:
    columns = [
        _column(op, gradient, arriving, tensor, known) for gradient, tensor in zip(leaving, op.inputs, strict=True)
    ]
    return tuple(zip(*columns, strict=True))


def _everywhere(op: Any, flow: Flow) -> Matrix:
    """`flow` wherever both ends can carry a gradient at all."""
    return tuple(
        tuple(flow if carries_gradient(output) and carries_gradient(tensor) else "blocked" for tensor in op.inputs)
        for output in op.outputs
    )


def _placeholder(output: Any) -> Any:
    if not carries_gradient(output):
        return None
    placeholder = graph_placeholder(output.dtype, output.shape)
    if hasattr(output, "_handle_data"):
        placeholder._handle_data = output._handle_data
    return placeholder


def _folded(scratch: Any, op: Any, values: Sequence[Value | None]) -> dict[tuple[int, int], Value]:
    """What is known of the values in a scratch graph, by op and output, given what is known of the inputs of `op`."""
    known: dict[tuple[int, int], Value] = {}
    given = {id(tensor): value for tensor, value in zip(op.inputs, values, strict=True)}
    for external, internal in scratch.captures:
        value = given.get(id(external))
        if value is not None:
            known[id(internal.op), 0] = value
    for inner in scratch.get_operations():
        if inner.type != "Placeholder":
            results = fold(inner, [known.get((id(tensor.op), tensor.value_index)) for tensor in inner.inputs])
            known.update({(id(inner), index): value for index, value in enumerate(results) if value is not None})
    return known


def _column(
    op: Any, gradient: Any, arriving: list[Any], tensor: Any, known: dict[tuple[int, int], Value]
) -> tuple[Answer, ...]:
    """What a gradient does between each output and one input, by what the input's gradient was computed from."""
    if gradient is None or not carries_gradient(tensor):
        return tuple("blocked" for _ in op.outputs)
    gradient = gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient
    used = _ancestors(gradient, known)
    # A gradient that depends on none that arrives is zeros, as of `sign`, or is made up by a custom gradient.
    is_made_up = not any(id(placeholder.op) in used for placeholder in arriving if placeholder is not None)
    by_itself: Answer = "made up" if is_made_up and not _is_zeros(gradient, known) else "zero"

    def flow(placeholder: Any) -> Answer:
        if placeholder is None:
            return "blocked"
        return "passes" if id(placeholder.op) in used else by_itself

    return tuple(flow(placeholder) for placeholder in arriving)


def _is_zeros(gradient: Any, known: dict[tuple[int, int], Value]) -> bool:
    """Whether a gradient is zeros whatever arrives."""
    return isinstance(gradient, tf.Tensor) and is_zero(known.get((id(gradient.op), gradient.value_index)))


def _ancestors(gradient: Any, known: dict[tuple[int, int], Value]) -> set[int]:
    """The ids of the ops that a gradient's values were computed from; what is known is computed from nothing."""
    waiting = tf.nest.flatten(gradient, expand_composites=True)
    seen: set[tuple[int, int]] = set()
    while waiting:
        tensor = waiting.pop()
        op = tensor.op
        if (id(op), tensor.value_index) in seen or (id(op), tensor.value_index) in known:
            continue
        seen.add((id(op), tensor.value_index))
        if op.type == "IdentityN":
            waiting.append(op.inputs[tensor.value_index])
        elif op.type not in _VALUES_NOT_READ:
            waiting += op.inputs
    return {op for op, _ in seen}
