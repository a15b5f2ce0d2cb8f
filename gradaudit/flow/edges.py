"""Which inputs of an op get a gradient: asked of the op's own gradient function, called symbolically."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow.python.eager import backprop_util
from tensorflow.python.framework import func_graph, ops, tensor_util

from gradaudit.graph.gradient_graph import Flow

Matrix = tuple[tuple[Flow, ...], ...]
"""For each output of an op, and for each input, what a gradient does there."""

_VALUES_NOT_READ = frozenset({"ZerosLike", "OnesLike", "Shape", "ShapeN", "Size", "Rank", "VariableShape"})
"""Ops whose result does not depend on the value of their input: through them no gradient is carried."""

_SAME_VALUES = frozenset({"Identity", "Reshape", "Cast", "BroadcastTo", "ExpandDims", "Squeeze"})

_IGNORED_ATTRIBUTES = frozenset({"_output_shapes", "_class", "_XlaHasReferenceVars", "container", "shared_name"})


class Edges:
    """Asks gradient functions, once for each signature: type, attributes, types and ranks, repeated inputs."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], Matrix] = {}

    def of(self, op: Any) -> Matrix:
        """What a gradient does between each output and each input of `op`. Not for calls and loops."""
        if not op.inputs:
            return tuple(() for _ in op.outputs)
        signature = _signature(op)
        matrix = self._known.get(signature) if signature else None
        if matrix is None:
            matrix = _asked(op)
            if signature:
                self._known[signature] = matrix
        return matrix


def carries_gradient(tensor: Any) -> bool:
    """Whether TensorFlow lets tensors of this type carry a gradient."""
    return bool(backprop_util.IsTrainable(tensor))


def has_custom_gradient(op: Any) -> bool:
    """Whether the gradient of `op` is one of its kind, made by `tf.custom_gradient` or `tf.recompute_grad`."""
    return "_gradient_op_type" in op.node_def.attr


def _signature(op: Any) -> tuple[object, ...] | None:
    """What the answer depends on; None where it depends on more, as with a custom gradient, one of its kind."""
    if has_custom_gradient(op):
        return None
    attributes = op.node_def.attr
    inputs = list(op.inputs)
    first = {id(tensor): position for position, tensor in reversed(list(enumerate(inputs)))}
    return (
        op.type,
        tuple(sorted((k, v.SerializeToString()) for k, v in attributes.items() if k not in _IGNORED_ATTRIBUTES)),
        tuple((tensor.dtype, tensor.shape.rank, first[id(tensor)], tensor.op.type == "Const") for tensor in inputs),
        len(op.outputs),
    )


def _asked(op: Any) -> Matrix:
    try:
        gradient_function = ops.get_gradient_function(op)
    except LookupError:
        return _everywhere(op, "opaque")
    if gradient_function is None:
        return _everywhere(op, "blocked")
    with op.graph.as_default():
        scratch = func_graph.FuncGraph("gradient")
    with scratch.as_default():
        arriving = [_placeholder(output) for output in op.outputs]
        try:
            leaving = gradient_function(op, *arriving)
        except Exception:  # noqa: BLE001  # a user's custom gradient may raise anything
            # TensorFlow would fail in the same place: whether a gradient passes cannot be known.
            return _everywhere(op, "opaque")
    leaving = list(leaving) if isinstance(leaving, (list, tuple)) else [leaving]
    columns = [_column(op, gradient, arriving, tensor) for gradient, tensor in zip(leaving, op.inputs, strict=True)]
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
    placeholder = tf.compat.v1.placeholder(output.dtype, output.shape)
    if hasattr(output, "_handle_data"):
        placeholder._handle_data = output._handle_data
    return placeholder


def _column(op: Any, gradient: Any, arriving: list[Any], tensor: Any) -> tuple[Flow, ...]:
    """What a gradient does between each output and one input, by what the input's gradient was computed from."""
    if gradient is None or not carries_gradient(tensor):
        return tuple("blocked" for _ in op.outputs)
    used = _ancestors(gradient)
    # A gradient that depends on none that arrives is zeros, as of `sign`, or is made up by a custom gradient.
    is_made_up = not any(id(placeholder.op) in used for placeholder in arriving if placeholder is not None)
    by_itself: Flow = "passes" if is_made_up and not _is_zeros(gradient) else "zero"

    def flow(placeholder: Any) -> Flow:
        if placeholder is None:
            return "blocked"
        return "passes" if id(placeholder.op) in used else by_itself

    return tuple(flow(placeholder) for placeholder in arriving)


def _is_zeros(gradient: Any) -> bool:
    """Whether a gradient is zeros, as far as the ops that make it tell."""
    if not isinstance(gradient, tf.Tensor):
        return False
    op, index = gradient.op, gradient.value_index
    while op.type in _SAME_VALUES or op.type == "IdentityN":
        source = op.inputs[index if op.type == "IdentityN" else 0]
        op, index = source.op, source.value_index
    if op.type == "ZerosLike":
        return True
    value = tensor_util.constant_value(op.inputs[1] if op.type == "Fill" else op.outputs[index])
    return value is not None and not value.any()


def _ancestors(gradient: Any) -> set[int]:
    """The ids of the ops that a gradient's values were computed from."""
    values = gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient
    waiting = tf.nest.flatten(values, expand_composites=True)
    seen: set[tuple[int, int]] = set()
    while waiting:
        tensor = waiting.pop()
        op = tensor.op
        if (id(op), tensor.value_index) in seen:
            continue
        seen.add((id(op), tensor.value_index))
        if op.type == "IdentityN":
            waiting.append(op.inputs[tensor.value_index])
        elif op.type not in _VALUES_NOT_READ:
            waiting += op.inputs
    return {op for op, _ in seen}
