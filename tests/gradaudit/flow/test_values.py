"""What is known of values: held against the values that TensorFlow computes, for any inputs."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import func_graph

from gradaudit.flow.values import Value, fold

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


def folded(function: Callable[[Any], Any]) -> Value | None:
    graph = func_graph.FuncGraph("value")
    with graph.as_default():
        result = tf.identity(function(tf.compat.v1.placeholder(tf.float32, [2, 3])))
    values: dict[tuple[int, int], Value | None] = {}
    for op in graph.get_operations():
        if op.type != "Placeholder":
            inputs = [values.get((id(tensor.op), tensor.value_index)) for tensor in op.inputs]
            for index, value in enumerate(fold(op, inputs)):
                values[id(op), index] = value
    return values[id(result.op), 0]
