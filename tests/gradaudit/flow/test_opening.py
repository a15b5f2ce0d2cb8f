"""What is opened once, however often it is called."""

from __future__ import annotations

import pytest
import tensorflow as tf

from gradaudit import Subject, audit
from gradaudit.flow.edges import Edges
from gradaudit.flow.opening import Opening


def deep(blocks: int) -> Subject:
    """A step of equal blocks, each of which one function makes of weights of its own."""
    kernels = [tf.Variable(lambda: tf.eye(16), name=f"block_{number}/kernel") for number in range(blocks)]
    unused = tf.Variable(lambda: tf.eye(16), name="unused")

    @tf.function(autograph=False)
    def block(x, kernel, dropped):
        @tf.function(autograph=False)
        def product(value):
            return tf.nn.silu(value @ kernel), value @ dropped

        return x + product(x)[0]

    def step(x):
        with tf.GradientTape() as tape:
            for kernel in kernels:
                x = block(x, kernel.value(), unused.value())
            loss = tf.reduce_sum(x)
        for kernel, gradient in zip(kernels, tape.gradient(loss, kernels), strict=True):
            kernel.assign_sub(gradient)

    return Subject(step, [tf.TensorSpec([4, 16])], variables=[*kernels, unused])


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the bodies that are looked at."""
    names: list[str] = []
    usual = Opening._opened_anew

    def counted(self, body, *arguments):
        names.append(body.name)
        return usual(self, body, *arguments)

    monkeypatch.setattr(Opening, "_opened_anew", counted)
    return names


def test_equal_blocks_that_one_function_makes_are_looked_at_once(opened: list[str]):
    few = audit(lambda: deep(2), verify=True)
    looked_at = len(opened)
    opened.clear()
    many = audit(lambda: deep(16), verify=True)
    assert looked_at == len(opened) == 2
    assert few.count("connected") == 2
    assert many.count("connected") == 16
    assert many.count("disconnected") + many.count("untracked") == 1
    assert len(many.gradients) > 5 * len(few.gradients)


def test_a_gradient_of_tensorflows_own_that_is_custom_is_asked_once(monkeypatch: pytest.MonkeyPatch):
    asked: list[str] = []
    usual = Edges._asked

    def noted(self, op, values):
        asked.append(op.type)
        return usual(self, op, values)

    monkeypatch.setattr(Edges, "_asked", noted)
    weights = [tf.Variable(lambda: tf.eye(16), name=f"w{number}") for number in range(8)]

    def step(x):
        with tf.GradientTape() as tape:
            for weight in weights:
                x = tf.nn.silu(x @ weight)
            loss = tf.reduce_sum(x)
        for weight, gradient in zip(weights, tape.gradient(loss, weights), strict=True):
            weight.assign_sub(gradient)

    assert audit(Subject(step, [tf.TensorSpec([4, 16])], variables=weights)).count("connected") == 8
    assert asked.count("IdentityN") == 1
