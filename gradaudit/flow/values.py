"""What is known of a tensor's value whatever the inputs and weights are: constants, folded forward op by op."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import node_def_pb2
from tensorflow.python.eager import context, execute
from tensorflow.python.framework import tensor_util

from gradaudit.flow.definitions import definition

Value = np.ndarray[Any, Any]
"""The value of a tensor; without axes where all elements are the same, whatever the tensor's shape."""

_LARGEST = 4096
"""Tensors of more elements are known only if all their elements are the same."""
_LARGEST_CONSTANT = 1_000_000
"""Of constants that are larger, not even that is asked."""

HANDLES = frozenset({tf.resource, tf.variant})
"""The types of what refers to a value, and is none."""
_WITHOUT_NUMBERS = HANDLES | {tf.string}

ANNIHILATED_BY_ZERO = frozenset(
    {"Mul", "MulNoNan", "MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum", "Conv2D", "Conv3D"}
    | {"DepthwiseConv2dNative", "Conv2DBackpropInput", "Conv3DBackpropInputV2"}
)
ZERO_IF_FIRST_IS = frozenset(
    {"RealDiv", "Div", "DivNoNan", "Xdivy", "Xlogy", "Xlog1py", "Sum", "Cumsum", "Prod", "Cumprod", "EuclideanNorm"}
    | {"L2Loss", "Pad", "MatrixBandPart", "SegmentSum", "UnsortedSegmentSum", "BiasAddGrad", "FFT", "IFFT", "RFFT"}
    | {"IRFFT", "FFT2D", "IFFT2D", "RFFT2D", "IRFFT2D"}
)
MOVES_ELEMENTS = frozenset(
    {"Identity", "StopGradient", "PreventGradient", "Snapshot", "EnsureShape", "CheckNumerics", "Reshape", "Transpose"}
    | {"Tile", "BroadcastTo", "ExpandDims", "Squeeze", "Slice", "StridedSlice", "GatherV2", "GatherNd", "ReverseV2"}
    | {"Roll", "MirrorPad", "Unpack", "Split", "SplitV", "Max", "Min", "Mean", "MatrixDiagPartV3", "DeepCopy"}
    | {"ReverseSequence", "DepthToSpace", "SpaceToDepth", "AvgPool", "MaxPool"}
)
"""Ops that make every element of a result from elements of their data, and keep a value that all of them share."""
_DATA_OF_SPLIT = 1
ELEMENTWISE = frozenset(
    {"Abs", "Acos", "Acosh", "Add", "AddV2", "Asin", "Asinh", "Atan", "Atan2", "Atanh", "Cast", "Ceil", "ClipByValue"}
    | {"Complex", "Conj", "Cos", "Cosh", "Digamma", "Div", "DivNoNan", "Elu", "Equal", "Erf", "Erfc", "Erfinv", "Exp"}
    | {"Expm1", "Floor", "FloorDiv", "FloorMod", "Greater", "GreaterEqual", "Imag", "Inv", "IsFinite", "IsInf", "IsNan"}
    | {"LeakyRelu", "Less", "LessEqual", "Lgamma", "Log", "Log1p", "LogicalAnd", "LogicalNot", "LogicalOr", "Maximum"}
    | {"Minimum", "Mod", "Mul", "MulNoNan", "Ndtri", "Neg", "NotEqual", "Pow", "Real", "RealDiv", "Reciprocal", "Relu"}
    | {"Relu6", "Rint", "Round", "Rsqrt", "Select", "SelectV2", "Selu", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus"}
    | {"Softsign", "Sqrt", "Square", "SquaredDifference", "Sub", "Tan", "Tanh", "TruncateDiv", "Xdivy", "Xlog1py"}
    | {"Xlogy", "ReluGrad", "Relu6Grad", "LeakyReluGrad", "EluGrad", "SeluGrad", "SigmoidGrad", "TanhGrad", "RsqrtGrad"}
    | {"SqrtGrad", "SoftplusGrad", "SoftsignGrad", "ReciprocalGrad", "InvGrad", "AddN"}
)
"""Ops that compute each element of their result from the elements at the same place."""


_KNOWN_BY_KIND = frozenset(
    {"ZerosLike", "OnesLike", "Softmax", "LogSoftmax", "SparseSoftmaxCrossEntropyWithLogits", "Sub", "Equal"}
)
"""Ops of which something may be known though nothing is of their inputs."""


def fold(op: Any, inputs: Sequence[Value | None]) -> list[Value | None]:
    """What is known of the outputs of `op`, given what is known of its inputs.

    Not for calls, placeholders and custom gradients.
    """
    if op.type == "Const":
        return [_constant(op)]
    if op.type == "IdentityN":
        return list(inputs)
    known = [value for value in inputs if value is not None]
    if not known and op.type not in _KNOWN_BY_KIND:
        return [None] * len(op.outputs)
    if all(output.dtype in _WITHOUT_NUMBERS for output in op.outputs):
        return [None] * len(op.outputs)
    if inputs and len(known) == len(inputs):
        computed = _computed(op, known)
        if computed is not None:
            return computed
    value = _shared_by_all(op, inputs)
    return [None if value is None else value.astype(output.dtype.as_numpy_dtype) for output in op.outputs]


def is_zero(value: Value | None) -> bool:
    """Whether every element is known to be zero."""
    return value is not None and not value.any()


def is_uniform(value: Value | None) -> bool:
    """Whether every element is known to have one and the same value."""
    return value is not None and value.ndim == 0


def uniform(value: Value) -> Value:
    """The value without its axes, if all elements are the same."""
    if value.ndim and value.size and (value == value.flat[0]).all():
        return np.asarray(value.flat[0])
    return value


def one_of_all(values: Sequence[Value | None]) -> Value | None:
    """The value of all elements of several tensors, where it is one and the same."""
    first = values[0]
    if first is not None and all(value is not None and is_uniform(value) and value == first for value in values):
        return first
    return None


def value_of_captured(tensor: Any) -> Value | None:
    """The value of a tensor that a trace takes from outside, where it was computed eagerly."""
    if not isinstance(tensor, tf.Tensor) or not hasattr(tensor, "numpy"):
        return None
    if tensor.dtype in _WITHOUT_NUMBERS or tensor.shape.num_elements() > _LARGEST_CONSTANT:
        return None
    return _small_or_uniform(tensor.numpy())


def _constant(op: Any) -> Value | None:
    output = op.outputs[0]
    if output.dtype is tf.string or output.shape.num_elements() > _LARGEST_CONSTANT:
        return None
    defined = definition(op)
    return _value_of(defined) if output.shape.num_elements() > _LARGEST else _constant_of(defined)


@functools.lru_cache(maxsize=4096)
def _constant_of(defined: bytes) -> Value | None:
    """The value of a constant that is defined so: axes and shapes are written again and again."""
    return _value_of(defined)


def _value_of(defined: bytes) -> Value | None:
    value = node_def_pb2.NodeDef.FromString(defined).attr["value"].tensor
    return _small_or_uniform(np.asarray(tensor_util.MakeNdarray(value)))


def _small_or_uniform(value: Value) -> Value | None:
    value = uniform(np.asarray(value))
    return value if value.size <= _LARGEST else None


def _shared_by_all(op: Any, inputs: Sequence[Value | None]) -> Value | None:
    """The one value of all elements of all outputs, known from the kind of `op`, though not all its inputs are."""
    kind = op.type
    first = inputs[0] if inputs else None
    if kind == "ZerosLike":
        return np.asarray(0)
    if kind == "OnesLike":
        return np.asarray(1)
    if kind == "Fill":
        return inputs[1] if is_uniform(inputs[1]) else None
    if kind in ("Softmax", "LogSoftmax"):
        is_of_one = op.inputs[0].shape.rank and op.inputs[0].shape[-1] == 1
        return np.asarray(kind == "Softmax") if is_of_one else None
    if kind == "SparseSoftmaxCrossEntropyWithLogits":
        return np.asarray(0) if op.inputs[0].shape.rank and op.inputs[0].shape[-1] == 1 else None
    if kind == "Sub" and op.inputs[0] is op.inputs[1]:
        return np.asarray(0)
    is_countable = op.inputs and (op.inputs[0].dtype.is_bool or op.inputs[0].dtype.is_integer)
    if kind == "Equal" and is_countable and op.inputs[0] is op.inputs[1]:
        return np.asarray(True)
    if kind in ANNIHILATED_BY_ZERO and any(is_zero(value) for value in inputs):
        return np.asarray(0)
    if kind == "Cumprod" and op.get_attr("exclusive"):
        return None  # it begins with the product of nothing, 1
    if kind in ZERO_IF_FIRST_IS and is_zero(first) or kind == "DivNoNan" and is_zero(inputs[1]):
        return np.asarray(0)
    if kind == "LogicalAnd" and any(is_uniform(value) and is_zero(value) for value in inputs):
        return np.asarray(False)
    if kind == "LogicalOr" and any(is_uniform(value) and bool(value) for value in inputs):
        return np.asarray(True)
    if kind in ("Select", "SelectV2") and is_uniform(first):
        chosen = inputs[1 if first else 2]
        return chosen if is_uniform(chosen) else None
    if kind == "MatrixDiagPartV3":
        return one_of_all([first, inputs[2]])  # a band's shorter diagonals are padded
    if kind in MOVES_ELEMENTS:
        data = inputs[_DATA_OF_SPLIT if kind == "Split" else 0]
        return data if is_uniform(data) else None
    if kind in ("ConcatV2", "Pack"):
        return one_of_all(inputs[:-1] if kind == "ConcatV2" else inputs)
    if kind in ELEMENTWISE and all(is_uniform(value) for value in inputs):
        results = _run(op, inputs)
        return None if results is None else results[0]
    return None


def _computed(op: Any, inputs: Sequence[Value]) -> list[Value | None] | None:
    """The outputs as TensorFlow's own kernel computes them, if they are small and nothing else decides on them."""
    tensors = [*op.inputs, *op.outputs]
    if op.op_def.is_stateful or any((tensor.shape.num_elements() or 0) > _LARGEST for tensor in tensors):
        return None
    whole = []
    for value, tensor in zip(inputs, op.inputs, strict=True):
        if value.ndim == 0 and tensor.shape.rank != 0:
            if not tensor.shape.is_fully_defined():
                return None
            value = np.broadcast_to(value, tensor.shape)
        whole.append(value)
    results = _run(op, whole)
    return None if results is None else [uniform(result) for result in results]


_KEPT_RUNS = 4096
_runs: dict[object, list[Value] | None] = {}
"""What ops have made of values: repeated blocks compute the same shapes and axes, one after the other."""


def _run(op: Any, inputs: Sequence[Value | None]) -> list[Value] | None:
    """The outputs as TensorFlow's kernel computes them; None if it cannot be run here."""
    arguments = [
        np.asarray(value, tensor.dtype.as_numpy_dtype) for value, tensor in zip(inputs, op.inputs, strict=True)
    ]
    key = definition(op), *((value.dtype.str, value.shape, value.tobytes()) for value in arguments)
    if key not in _runs:
        if len(_runs) >= _KEPT_RUNS:
            _runs.clear()
        _runs[key] = _executed(op, arguments)
    return _runs[key]


def _executed(op: Any, inputs: Sequence[Value]) -> list[Value] | None:
    attributes: list[Any] = []
    for attribute in op.op_def.attr:
        if attribute.type == "func":
            return None
        attributes += [attribute.name, op.get_attr(attribute.name)]
    try:
        with context.eager_mode(), tf.device("CPU:0"):
            arguments = [tf.constant(value, tensor.dtype) for value, tensor in zip(inputs, op.inputs, strict=True)]
            results = execute.execute(
                op.type.encode(), len(op.outputs), arguments, tuple(attributes), context.context()
            )
            return [result.numpy() for result in results]
    except Exception:  # noqa: BLE001  # an op that cannot be run here, for whatever reason, is not known
        return None
