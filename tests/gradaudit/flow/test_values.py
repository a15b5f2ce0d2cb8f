"""What is known of values: held against the values that TensorFlow computes, for any inputs."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import func_graph

from gradaudit.flow.values import ANNIHILATED_BY_ZERO, MOVES_ELEMENTS, ZERO_IF_FIRST_IS, Value, fold

KNOWN: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "a factor of zero": lambda x: 0.0 * x,
    "a product with zeros": lambda x: x @ tf.zeros([3, 3]),
    "zeros of the same shape": lambda x: tf.reduce_sum(tf.zeros_like(x), 1),
    "ones of the same shape": lambda x: tf.transpose(tf.ones_like(x)) * 2.0,
    "the difference from itself": lambda x: x - x,
    "a difference of equal constants": lambda x: tf.fill(tf.shape(x), 2.0) - tf.constant(2.0),
    "a softmax over one": lambda x: tf.nn.softmax(x[:, :1]),
    "a log-softmax over one": lambda x: tf.nn.log_softmax(x[:, :1]),
    "a mask that nothing passes": lambda x: tf.cast(tf.logical_and(x > 0, tf.zeros_like(x, tf.bool)), tf.float32),
    "a mask that everything passes": lambda x: tf.logical_or(x > 0, tf.ones_like(x, tf.bool)),
    "a constant condition": lambda x: tf.where(tf.zeros_like(x, tf.bool), x, tf.ones_like(x)),
    "small constants": lambda x: tf.reshape(tf.range(6.0), [2, 3]) + tf.linspace(0.0, 1.0, 3),
    "a one-hot table": lambda x: tf.one_hot([1, 2], 3)[:, ::-1],
    "padded zeros": lambda x: tf.pad(tf.zeros_like(x), [[1, 1], [0, 0]]),
    "zeros put together": lambda x: tf.concat([tf.zeros_like(x), 0.0 * x], 0),
    "an einsum with zeros": lambda x: tf.einsum("ij,jk->ik", x, tf.zeros([3, 2])),
    "half precision": lambda x: tf.cast(tf.constant([1.5, 2.5]), tf.bfloat16) * 2,
}

UNKNOWN: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "a sign": tf.sign,
    "a difference of two reads": lambda x: tf.identity(x) - x,
    "what stands in for itself": lambda x: x - tf.stop_gradient(x),
    "a softmax over two": lambda x: tf.nn.softmax(x[:, :2]),
    "a data-dependent mask": lambda x: tf.cast(x > 0, tf.float32),
    "half of a mask": lambda x: tf.concat([tf.zeros([2]), x[0]], 0),
    "random numbers": lambda x: tf.random.uniform([2]),
}


@pytest.mark.parametrize("name", KNOWN)
def test_a_value_that_is_known_is_the_one_that_is_computed(name: str) -> None:
    value = folded(KNOWN[name])
    assert value is not None
    for scale in (0.5, 3.0):
        given = tf.constant(np.random.default_rng(3).normal(scale=scale, size=(2, 3)), tf.float32)
        computed = KNOWN[name](given).numpy()
        assert value.dtype == computed.dtype
        assert np.array_equal(np.broadcast_to(value, computed.shape), computed)


@pytest.mark.parametrize("name", UNKNOWN)
def test_a_value_that_depends_on_anything_is_not_known(name: str) -> None:
    assert folded(UNKNOWN[name]) is None


def test_what_all_elements_of_a_large_tensor_are_is_known() -> None:
    assert folded(lambda x: tf.zeros([1000, 1000]) * 3.0) == 0
    assert folded(lambda x: tf.constant(np.arange(10_000.0), tf.float32)) is None


def folded(function: Callable[[Any], Any], shape: Any = (2, 3)) -> Value | None:
    graph = func_graph.FuncGraph("value")
    with graph.as_default():
        result = tf.identity(function(tf.compat.v1.placeholder(tf.float32, shape)))
    values: dict[tuple[int, int], Value | None] = {}
    for op in graph.get_operations():
        if op.type != "Placeholder":
            inputs = [values.get((id(tensor.op), tensor.value_index)) for tensor in op.inputs]
            for index, value in enumerate(fold(op, inputs)):
                values[id(op), index] = value
    return values[id(result.op), 0]


R = tf.raw_ops
BOOL = (False, True)
SAME, VALID = "SAME", "VALID"
OPS: dict[str, tuple[int, list[Callable[[tf.Tensor, tf.Tensor], Any]]]] = {
    "Mul": (2, [lambda z, x: R.Mul(x=x, y=z)]),
    "MulNoNan": (2, [lambda z, x: R.MulNoNan(x=x, y=z), lambda z, x: R.MulNoNan(x=z, y=x)]),
    "MatMul": (2, [lambda z, x, t=t: R.MatMul(a=x, b=z, transpose_a=t, transpose_b=not t) for t in BOOL]),
    "BatchMatMul": (3, [lambda z, x: R.BatchMatMul(x=z, y=x)]),
    "BatchMatMulV2": (3, [lambda z, x: R.BatchMatMulV2(x=x, y=z)]),
    "BatchMatMulV3": (3, [lambda z, x: R.BatchMatMulV3(x=x, y=z, Tout=tf.float32)]),
    "Einsum": (
        2,
        [lambda z, x, e=e: R.Einsum(inputs=[x, z], equation=e) for e in ("ij,jk->ik", "ij,ij->", "ij,kl->il")],
    ),
    "Conv2D": (4, [lambda z, x, p=p: R.Conv2D(input=x, filter=z, strides=[1] * 4, padding=p) for p in (SAME, VALID)]),
    "Conv3D": (5, [lambda z, x: R.Conv3D(input=z, filter=x, strides=[1] * 5, padding=SAME)]),
    "DepthwiseConv2dNative": (
        4,
        [lambda z, x: R.DepthwiseConv2dNative(input=z, filter=x, strides=[1] * 4, padding=SAME)],
    ),
    "Conv2DBackpropInput": (
        4,
        [
            lambda z, x: R.Conv2DBackpropInput(
                input_sizes=tf.shape(x), filter=x, out_backprop=z, strides=[1] * 4, padding=SAME
            )
        ],
    ),
    "Conv3DBackpropInputV2": (
        5,
        [
            lambda z, x: R.Conv3DBackpropInputV2(
                input_sizes=tf.shape(x), filter=z, out_backprop=x, strides=[1] * 5, padding=SAME
            )
        ],
    ),
    "RealDiv": (2, [lambda z, x: R.RealDiv(x=z, y=x)]),
    "Div": (2, [lambda z, x: R.Div(x=z, y=x)]),
    "DivNoNan": (2, [lambda z, x: R.DivNoNan(x=z, y=x), lambda z, x: R.DivNoNan(x=x, y=z)]),
    "Xdivy": (2, [lambda z, x: R.Xdivy(x=z, y=x)]),
    "Xlogy": (2, [lambda z, x: R.Xlogy(x=z, y=tf.abs(x))]),
    "Xlog1py": (2, [lambda z, x: R.Xlog1py(x=z, y=tf.abs(x))]),
    "Sum": (2, [lambda z, _, k=k: R.Sum(input=z, axis=[1], keep_dims=k) for k in BOOL]),
    "Cumsum": (2, [lambda z, _, e=e, r=r: R.Cumsum(x=z, axis=1, exclusive=e, reverse=r) for e in BOOL for r in BOOL]),
    "Prod": (2, [lambda z, _: R.Prod(input=z, axis=[1])]),
    "Cumprod": (2, [lambda z, _, e=e, r=r: R.Cumprod(x=z, axis=1, exclusive=e, reverse=r) for e in BOOL for r in BOOL]),
    "EuclideanNorm": (2, [lambda z, _: R.EuclideanNorm(input=z, axis=[0, 1])]),
    "L2Loss": (2, [lambda z, _: R.L2Loss(t=z)]),
    "Pad": (2, [lambda z, _: R.Pad(input=z, paddings=[[1, 0], [0, 2]])]),
    "MatrixBandPart": (2, [lambda z, _: R.MatrixBandPart(input=z, num_lower=0, num_upper=-1)]),
    "SegmentSum": (2, [lambda z, _: R.SegmentSum(data=z, segment_ids=[0, 0, 2, 3])]),
    "UnsortedSegmentSum": (
        2,
        [lambda z, _: R.UnsortedSegmentSum(data=z, segment_ids=[0, 0, 2, 3], num_segments=6)],
    ),
    "BiasAddGrad": (2, [lambda z, _: R.BiasAddGrad(out_backprop=z)]),
    "FFT": (3, [lambda z, _: R.FFT(input=tf.cast(z, tf.complex64))]),
    "IFFT": (3, [lambda z, _: R.IFFT(input=tf.cast(z, tf.complex64))]),
    "RFFT": (3, [lambda z, _: R.RFFT(input=z, fft_length=[4])]),
    "IRFFT": (3, [lambda z, _: R.IRFFT(input=tf.cast(z, tf.complex64), fft_length=[4])]),
    "FFT2D": (3, [lambda z, _: R.FFT2D(input=tf.cast(z, tf.complex64))]),
    "IFFT2D": (3, [lambda z, _: R.IFFT2D(input=tf.cast(z, tf.complex64))]),
    "RFFT2D": (3, [lambda z, _: R.RFFT2D(input=z, fft_length=[4, 4])]),
    "IRFFT2D": (3, [lambda z, _: R.IRFFT2D(input=tf.cast(z, tf.complex64), fft_length=[4, 4])]),
    "Identity": (2, [lambda z, _: R.Identity(input=z)]),
    "StopGradient": (2, [lambda z, _: R.StopGradient(input=z)]),
    "PreventGradient": (2, [lambda z, _: R.PreventGradient(input=z)]),
    "Snapshot": (2, [lambda z, _: R.Snapshot(input=z)]),
    "DeepCopy": (2, [lambda z, _: R.DeepCopy(x=z)]),
    "EnsureShape": (2, [lambda z, _: R.EnsureShape(input=z, shape=[4, None])]),
    "CheckNumerics": (2, [lambda z, _: R.CheckNumerics(tensor=z, message="")]),
    "Reshape": (2, [lambda z, _: R.Reshape(tensor=z, shape=[2, 8])]),
    "Transpose": (2, [lambda z, _: R.Transpose(x=z, perm=[1, 0])]),
    "Tile": (2, [lambda z, _: R.Tile(input=z, multiples=[2, 3])]),
    "BroadcastTo": (2, [lambda z, _: R.BroadcastTo(input=z, shape=[3, 4, 4])]),
    "ExpandDims": (2, [lambda z, _: R.ExpandDims(input=z, axis=1)]),
    "Squeeze": (2, [lambda z, _: R.Squeeze(input=z[:1], axis=[0])]),
    "Slice": (2, [lambda z, _: R.Slice(input=z, begin=[1, 0], size=[2, -1])]),
    "StridedSlice": (2, [lambda z, _: z[::-2, 1:3], lambda z, _: z[tf.newaxis, ..., 1]]),
    "GatherV2": (2, [lambda z, _, a=a: R.GatherV2(params=z, indices=[3, 0], axis=a) for a in (0, 1)]),
    "GatherNd": (2, [lambda z, _: R.GatherNd(params=z, indices=[[0, 1], [3, 3]])]),
    "ReverseV2": (2, [lambda z, _: R.ReverseV2(tensor=z, axis=[1])]),
    "ReverseSequence": (2, [lambda z, _: R.ReverseSequence(input=z, seq_lengths=[1, 2, 3, 4], seq_dim=1)]),
    "Roll": (2, [lambda z, _: R.Roll(input=z, shift=[1], axis=[1])]),
    "MirrorPad": (
        2,
        [lambda z, _, m=m: R.MirrorPad(input=z, paddings=[[1, 1], [0, 2]], mode=m) for m in ("REFLECT", "SYMMETRIC")],
    ),
    "Unpack": (2, [lambda z, _: R.Unpack(value=tf.ensure_shape(z, [4, None]), num=4)[2]]),
    "Split": (2, [lambda z, _: R.Split(axis=1, value=z, num_split=2)[1]]),
    "SplitV": (2, [lambda z, _: R.SplitV(value=z, size_splits=[1, 3], axis=1, num_split=2)[1]]),
    "Max": (2, [lambda z, _: R.Max(input=z, axis=[0])]),
    "Min": (2, [lambda z, _: R.Min(input=z, axis=[0])]),
    "Mean": (2, [lambda z, _: R.Mean(input=z, axis=[0, 1])]),
    "MatrixDiagPartV3": (
        2,
        [
            lambda z, _, k=k, p=p: R.MatrixDiagPartV3(input=z, k=k, padding_value=p)
            for k in (0, [1, 1], [-1, 1])
            for p in (0.0, 1.0)
        ],
    ),
    "DepthToSpace": (4, [lambda z, _: R.DepthToSpace(input=tf.ensure_shape(z, [None, None, None, 4]), block_size=2)]),
    "SpaceToDepth": (4, [lambda z, _: R.SpaceToDepth(input=z, block_size=2)]),
    "AvgPool": (
        4,
        [lambda z, _, p=p: R.AvgPool(value=z, ksize=[1, 3, 3, 1], strides=[1] * 4, padding=p) for p in (SAME, VALID)],
    ),
    "MaxPool": (
        4,
        [lambda z, _, p=p: R.MaxPool(input=z, ksize=[1, 3, 3, 1], strides=[1] * 4, padding=p) for p in (SAME, VALID)],
    ),
}
"""For each op whose results are known from its kind alone: the rank of its data, and calls of it in each way."""


@pytest.mark.parametrize("kind", OPS)
@pytest.mark.parametrize("number", [0.0, 1.0, 2.5])
def test_what_is_known_from_the_kind_of_an_op_holds_whatever_its_attributes(kind: str, number: float) -> None:
    rank, calls = OPS[kind]
    for call in calls:

        def of_uniform(x: tf.Tensor, call: Callable[..., Any] = call) -> tf.Tensor:
            return call(tf.fill(tf.shape(x), number), x)

        value = folded(of_uniform, [None] * rank)
        if value is not None:
            computed = of_uniform(tf.constant(np.random.default_rng(3).normal(size=[4] * rank), tf.float32)).numpy()
            np.testing.assert_allclose(np.broadcast_to(value, computed.shape), computed, rtol=1e-6)


def test_every_op_that_is_known_from_its_kind_is_called_above() -> None:
    assert OPS.keys() == ANNIHILATED_BY_ZERO | ZERO_IF_FIRST_IS | MOVES_ELEMENTS
