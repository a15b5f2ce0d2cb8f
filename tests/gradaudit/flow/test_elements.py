"""Which elements an op reads for each that it makes: held against the op's own Jacobian."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import func_graph

from gradaudit.flow.elements import selection
from gradaudit.flow.values import Value, fold
from gradaudit.graph.parts import Part, axis_of

R = np.random.default_rng(7)


def randoms(*shape: int) -> tf.Tensor:
    return tf.constant(R.uniform(0.2, 2.0, shape), tf.float32)


def in_a_list(*items: tf.Tensor) -> tf.TensorArray:
    array = tf.TensorArray(tf.float32, len(items), element_shape=items[0].shape)
    for index, item in enumerate(items):
        array = array.write(index, item)
    return array


OPS: dict[str, tuple[Callable[..., Any], list[tuple[int, ...]]]] = {
    "stack": (lambda a, b: tf.stack([a, b], 1), [(2, 3), (2, 3)]),
    "stack from the end": (lambda a, b: tf.stack([a, b, a], -1), [(2, 3), (2, 3)]),
    "unstack": (lambda a: tf.unstack(a, axis=1)[2], [(2, 3, 2)]),
    "concat": (lambda a, b: tf.concat([a, b], -1), [(2, 3), (2, 1)]),
    "split": (lambda a: tf.split(a, 3, axis=0)[1], [(6, 2)]),
    "split into sizes": (lambda a: tf.split(a, [1, 3, 2], axis=-1)[1], [(2, 6)]),
    "slice": (lambda a: a[1:, :2], [(3, 4)]),
    "slice from the end": (lambda a: a[..., -1], [(3, 4)]),
    "slice with strides": (lambda a: a[::-2, tf.newaxis, 1::2], [(5, 4)]),
    "slice around an ellipsis": (lambda a: a[0, ..., 1:3], [(2, 3, 4)]),
    "slice by size": (lambda a: tf.slice(a, [1, 0], [2, -1]), [(4, 3)]),
    "gather": (lambda a: tf.gather(a, [2, 0, 2], axis=1), [(2, 4)]),
    "gather one": (lambda a: tf.gather(a, 1, axis=0), [(3, 4)]),
    "gather from the end": (lambda a: tf.gather(a, [3], axis=-1), [(2, 4)]),
    "transpose": (lambda a: tf.transpose(a, [2, 0, 1]), [(2, 3, 4)]),
    "reverse": (lambda a: tf.reverse(a, [1]), [(2, 3)]),
    "pad": (lambda a: tf.pad(a, [[1, 2], [0, 0]]), [(2, 3)]),
    "tile": (lambda a: tf.tile(a, [2, 1]), [(2, 3)]),
    "broadcast": (lambda a: tf.broadcast_to(a, [4, 2, 3]), [(2, 1)]),
    "reshape": (lambda a: tf.reshape(a, [2, 6]), [(2, 3, 2)]),
    "reshape of inner axes": (lambda a: tf.reshape(a, [2, 3, 4, 2]), [(2, 12, 2)]),
    "expand": (lambda a: a[:, None], [(2, 3)]),
    "squeeze": (lambda a: tf.squeeze(a, 1), [(2, 1, 3)]),
    "sum over an axis": (lambda a: tf.reduce_sum(a, 1), [(2, 3, 2)]),
    "mean that keeps its axes": (lambda a: tf.reduce_mean(a, [0, 2], keepdims=True), [(2, 3, 2)]),
    "product": (lambda a, b: a * b, [(2, 3), (3,)]),
    "sum of a column": (lambda a, b: a + b, [(2, 3), (2, 1)]),
    "bias": (lambda a, b: tf.nn.bias_add(a, b), [(2, 3), (3,)]),
    "choice": (lambda a, b: tf.where(tf.constant([[True], [False]]), a, b), [(2, 3), (2, 3)]),
    "sine": (lambda a: tf.sin(a), [(2, 3)]),
    "matmul": (lambda a, b: a @ b, [(2, 3), (3, 4)]),
    "matmul of what is turned": (lambda a, b: tf.matmul(a, b, transpose_a=True, transpose_b=True), [(3, 2), (4, 3)]),
    "matmul by batch": (lambda a, b: tf.matmul(a, b, transpose_b=True), [(2, 3, 2), (2, 4, 2)]),
    "matmul by a batch of one": (lambda a, b: a @ b, [(2, 3, 2), (1, 2, 4)]),
    "softmax": (lambda a: tf.nn.softmax(a), [(2, 3)]),
    "matrix inverse": (lambda a: tf.linalg.inv(a), [(2, 3, 3)]),
    "a slot of a list": (lambda a, b: in_a_list(a, b).read(1), [(2, 3), (2, 3)]),
    "a stacked list": (lambda a, b: in_a_list(a, b).stack(), [(2,), (2,)]),
    "some of a list": (lambda a, b: in_a_list(a, b, a).gather([2, 1]), [(2,), (2,)]),
    "a list from a tensor": (lambda a: tf.TensorArray(tf.float32, 3).unstack(a).read(2), [(3, 2)]),
}

READS_MORE = {"matrix inverse", "choice"}
"""Of these more is said to be read than is: an inverse counts as a whole, a condition as if it might be any."""


@pytest.mark.parametrize("name", OPS)
def test_the_part_that_is_read_is_that_of_the_jacobian(name: str) -> None:
    function, shapes = OPS[name]
    inputs = [randoms(*shape) for shape in shapes]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(inputs)
        result = tf.identity(function(*inputs))
    graph, placeholders, output = traced(function, shapes)
    for given, placeholder in zip(inputs, placeholders, strict=True):
        jacobian = np.asarray(tape.jacobian(result, given, unconnected_gradients=tf.UnconnectedGradients.ZERO))
        for element in np.ndindex(*result.shape):
            read = jacobian[element] != 0
            said = np.zeros(read.shape, bool)
            for part in parts_behind(graph, output, tuple(1 << index for index in element), placeholder):
                said |= elements(part, read.shape)
            assert not (read & ~said).any(), "an element that is read was said not to be"
            if name not in READS_MORE:
                assert (read == said).all(), "an element that is not read was said to be"


def traced(function: Callable[..., Any], shapes: list[tuple[int, ...]]) -> tuple[Any, list[Any], Any]:
    graph = func_graph.FuncGraph("op")
    with graph.as_default():
        placeholders = [tf.compat.v1.placeholder(tf.float32, shape) for shape in shapes]
        return graph, placeholders, tf.identity(function(*placeholders))


def parts_behind(graph: Any, output: Any, part: Part, wanted: Any) -> list[Part]:
    """The parts of a tensor behind a part of another one, over all ways between them."""
    values: dict[tuple[int, int], Value | None] = {}

    def value(tensor: Any) -> Value | None:
        return values.get((id(tensor.op), tensor.value_index))

    for op in graph.get_operations():
        if op.type != "Placeholder":
            for index, known in enumerate(fold(op, [value(tensor) for tensor in op.inputs])):
                values[id(op), index] = known
    found = []
    waiting = [(output, part)]
    while waiting:
        tensor, behind = waiting.pop()
        if tensor is wanted:
            found.append(behind)
            continue
        for position, producer in enumerate(tensor.op.inputs):
            known = [value(given) for given in tensor.op.inputs]
            before = selection(tensor.op, tensor.value_index, position, known)(behind)
            if before is not None:
                waiting.append((producer, before))
    return found


def elements(part: Part, shape: tuple[int, ...]) -> np.ndarray:
    counts = np.ones(shape, bool)
    for axis, length in enumerate(shape):
        bits = axis_of(part, axis)
        kept = np.array([bits is None or bool(bits >> index & 1) for index in range(length)])
        counts &= kept.reshape([-1 if other == axis else 1 for other in range(len(shape))])
    return counts


def test_a_slice_counted_from_the_end_of_an_axis_of_unknown_length_reads_all_of_it() -> None:
    graph = func_graph.FuncGraph("op")
    with graph.as_default():
        given = tf.compat.v1.placeholder(tf.float32, [None, 3])
        assert parts_behind(graph, given[-1], (), given) == [()]
        assert parts_behind(graph, given[1], (), given) == [(0b10,)]
        assert parts_behind(graph, given[1:3], (), given) == [(0b110,)]


def test_a_broadcast_along_an_axis_of_unknown_length_reads_all_of_it() -> None:
    graph = func_graph.FuncGraph("op")
    with graph.as_default():
        first, second = (tf.compat.v1.placeholder(tf.float32, [None, 3]) for _ in range(2))
        assert parts_behind(graph, first + second, (0b10, 0b1), first) == [(None, 0b1)]
        assert parts_behind(graph, first * 2.0, (0b10, 0b1), first) == [(0b10, 0b1)]
