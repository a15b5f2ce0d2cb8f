"""What TensorFlow says of the stack with which an op was made, though it takes none while a step is traced."""

from __future__ import annotations

import sys

import pytest
import tensorflow as tf
from tensorflow.python.util import tf_stack

import gradaudit
from gradaudit.errors import TraceError


@pytest.fixture
def weight() -> tf.Variable:
    return tf.Variable(1.0, name="weight")


def test_an_error_says_where_the_tensor_was_made_that_is_out_of_scope(weight: tf.Variable) -> None:
    steps: list[int] = []
    kept: list[tf.Tensor] = []

    def step() -> tf.Tensor:
        steps.append(len(steps))

        @tf.function
        def keep() -> tf.Tensor:
            kept.append(weight * 2.0)
            return kept[-1]

        made_at.append(keep.python_function.__code__.co_firstlineno + 2)
        return keep() + kept[-1]

    made_at: list[int] = []
    with pytest.raises(TraceError, match="out of scope") as raised:
        gradaudit.audit(gradaudit.Subject(step, [], variables=[weight]))
    assert f'test_stacks.py", line {made_at[0]}' in str(raised.value.__cause__)
    assert len(steps) == 2


def test_a_step_that_fails_at_first_fails_though_it_would_not_a_second_time(weight: tf.Variable) -> None:
    kept: list[tf.Tensor] = []

    @tf.function
    def keep() -> None:
        kept.append(weight * 2.0)

    def step() -> None:
        keep()
        with tf.GradientTape() as tape:
            loss = kept[-1] + 1.0 if len(kept) == 1 else weight * 2.0
        weight.assign_sub(tape.gradient(loss, weight))

    with pytest.raises(TraceError, match="out of scope"):
        gradaudit.audit(gradaudit.Subject(step, [], variables=[weight]))


def test_a_step_that_fails_of_itself_is_traced_once(weight: tf.Variable) -> None:
    steps: list[int] = []

    def step() -> None:
        steps.append(len(steps))
        raise ValueError("no")

    with pytest.raises(TraceError, match="no"):
        gradaudit.audit(gradaudit.Subject(step, [], variables=[weight]))
    assert len(steps) == 1


def test_tensorflow_takes_stacks_again_after_an_audit(weight: tf.Variable) -> None:
    before = tf_stack.extract_stack

    def step() -> None:
        with tf.GradientTape() as tape:
            loss = weight * 2.0
        assert loss.op.traceback is not None
        weight.assign_sub(tape.gradient(loss, weight))

    gradaudit.audit(gradaudit.Subject(step, [], variables=[weight]))
    assert tf_stack.extract_stack is before
    frame = before()[-1]
    assert frame.lineno < sys._getframe().f_lineno
    assert frame.filename == __file__
