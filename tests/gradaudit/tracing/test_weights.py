"""Weights without memory: what they know, what they refuse, and what is real all the same."""

from __future__ import annotations

import re
from pathlib import Path

import keras
import pytest
import tensorflow as tf

from gradaudit.tracing.weights import WeightlessReadError, WeightlessVariable, weights_without_memory

TERABYTE = (500_000, 500_000)


def test_a_layer_larger_than_the_memory_is_built() -> None:
    with weights_without_memory():
        layer = keras.layers.Dense(TERABYTE[1])
        layer.build((None, TERABYTE[0]))
    assert tuple(layer.kernel.shape) == TERABYTE


def test_an_optimizer_makes_no_slots_in_memory_either() -> None:
    with weights_without_memory():
        layer = keras.layers.Dense(TERABYTE[1])
        layer.build((None, TERABYTE[0]))
        optimizer = keras.optimizers.Adam()
        optimizer.build(layer.trainable_variables)
    assert sum(1 for variable in optimizer.variables if tuple(variable.shape) == TERABYTE) == 2


@pytest.mark.parametrize(
    "read",
    [
        lambda v: v.numpy(),
        lambda v: v + 1.0,
        lambda v: tf.reduce_all(v > 0),
        lambda v: tf.gather(v, [0]),
        lambda v: v.assign_add(tf.zeros(v.shape)),
    ],
    ids=["numpy", "arithmetic", "comparison", "gather", "assign_add"],
)
def test_an_eager_read_is_refused_and_names_the_variable(read: object) -> None:
    with weights_without_memory():
        variable = tf.Variable(lambda: tf.zeros((100, 10)), name="embedding")
    assert isinstance(variable, WeightlessVariable)
    with pytest.raises(WeightlessReadError, match="'embedding'"):
        read(variable)  # type: ignore[operator]  # a lambda of the list above


def test_what_is_assigned_can_be_read() -> None:
    with weights_without_memory():
        variable = tf.Variable(lambda: tf.zeros((100, 10)))
    variable.assign(tf.ones((100, 10)))
    assert float(tf.reduce_sum(variable)) == 1000.0


def test_small_variables_and_those_made_from_a_value_are_real() -> None:
    with weights_without_memory():
        counter = tf.Variable(lambda: tf.constant(3), name="counter")
        table = tf.Variable(tf.ones((100, 10)))
    assert int(counter) == 3
    assert float(tf.reduce_sum(table)) == 1000.0


def test_shape_and_type_of_any_other_initializer_are_asked_without_running_it() -> None:
    with weights_without_memory():
        variable = tf.Variable(lambda: tf.random.normal(TERABYTE, dtype=tf.float16), name="noise")
    assert (tuple(variable.shape), variable.dtype) == (TERABYTE, tf.float16)


def test_frozen_stays_frozen() -> None:
    with weights_without_memory():
        assert tf.Variable(lambda: tf.zeros((100, 10)), trainable=False).trainable is False
        assert tf.Variable(lambda: tf.zeros((100, 10))).trainable is True


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells what a process holds")
def test_a_thousand_variables_of_names_of_their_own_take_a_few_megabytes() -> None:
    def held() -> float:
        found = re.search(r"VmRSS:\s*(\d+) kB", Path("/proc/self/status").read_text("utf-8"))
        assert found is not None
        return int(found[1]) / 1000

    with weights_without_memory():
        first = keras.Variable("zeros", TERABYTE, name="first")
        before = held()
        variables = [keras.Variable("zeros", TERABYTE, name=f"variable_{number}") for number in range(1000)]
        grown = held() - before
    assert grown < 10
    assert [first.path, variables[999].path] == ["first", "variable_999"]
    assert variables[999].value.name == "variable_999:0"
