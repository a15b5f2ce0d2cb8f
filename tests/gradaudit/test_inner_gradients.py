"""Gradients that are asked for inside a loss: a part of it, and no training of their own unless they are applied."""

import tensorflow as tf

from gradaudit import Subject, audit
from tests.cases.case import DATA, weight

X = tf.ones([4, 16])


def step_whose_loss_has_a_gradient(*, applies_inner: bool) -> Subject:
    """`b` has a gradient in the inner call; the outer loss reads that gradient, which does not depend on `b`."""
    a, b = weight("a"), weight("b")

    def step(x: tf.Tensor) -> list[tf.Tensor | None]:
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                linear = tf.reduce_sum(x @ b)
            of_b = inner.gradient(linear, b)
            loss = tf.reduce_sum(x @ a @ of_b)
        gradients = outer.gradient(loss, [a, b])
        for gradient, variable in zip(gradients, [a, b], strict=True):
            if gradient is not None:
                variable.assign_sub(0.1 * gradient)
        if applies_inner:
            b.assign_sub(0.1 * of_b)
        return gradients

    return Subject(step, [DATA], variables=[a, b])


def test_a_gradient_that_only_feeds_a_loss_trains_nothing() -> None:
    of_a, of_b = step_whose_loss_has_a_gradient(applies_inner=False).step(X)
    assert [gradient is None for gradient in (of_a, of_b)] == [False, True]

    for verify in (False, True):
        a, b = audit(lambda: step_whose_loss_has_a_gradient(applies_inner=False), verify=verify).variables
        assert (a.status, a.tape) == ("connected", "tensor")
        assert (b.status, b.tape) == ("disconnected", "none")
        assert b.cause is not None
        assert (b.cause.kind, b.trained_by) == ("dead-end", ())


def test_a_probe_leaves_out_what_only_feeds_a_loss() -> None:
    a, b = audit(lambda: step_whose_loss_has_a_gradient(applies_inner=False), probe=1).variables
    assert (a.probe, b.probe) == ("non-zero", "none")
    a, b = audit(lambda: step_whose_loss_has_a_gradient(applies_inner=True), probe=1).variables
    assert (a.probe, b.probe) == ("non-zero", "non-zero")


def test_a_gradient_that_feeds_a_loss_and_is_applied_trains() -> None:
    for verify in (False, True):
        a, b = audit(lambda: step_whose_loss_has_a_gradient(applies_inner=True), verify=verify).variables
        assert (a.status, a.tape) == ("connected", "tensor")
        assert (b.status, b.tape) == ("connected", "tensor")
