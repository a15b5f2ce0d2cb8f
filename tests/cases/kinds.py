"""Task terms, participation terms and penalties that are easily taken for one another."""

import numpy as np
import tensorflow as tf

from gradaudit import Subject
from tests.cases.case import case, descend, weight


def participation(x: tf.Tensor, variable: tf.Variable) -> tf.Tensor:
    """A term that exists only so that a gradient exists."""
    with tf.name_scope("gradient_participation"):
        return 1e-6 * tf.reduce_mean(tf.square(x @ variable))


@case(connected="a b")
def collocation_points_are_data() -> Subject:
    a, b = weight("a", 1, 16), weight("b", 16, 1)

    def loss():
        points = tf.linspace(0.0, 1.0, 8)[:, None]
        return tf.reduce_mean(tf.square(tf.tanh(points @ a) @ b - 1.0))

    return descend(loss, [a, b], inputs=[])


@case(connected="a")
def a_table_in_a_closure_is_data() -> Subject:
    a, table = weight("a"), tf.constant(np.ones((4, 16)), tf.float32)
    return descend(lambda: tf.reduce_mean(tf.square(table @ a - 1.0)), [a], inputs=[])


@case(connected="a")
def a_replay_buffer_is_data() -> Subject:
    a, buffer = weight("a"), tf.Variable(tf.ones((4, 16)), trainable=False, name="buffer")
    return descend(lambda: tf.reduce_mean(tf.square(buffer @ a - 1.0)), [a], inputs=[])


@case(connected="a")
def random_numbers_are_data() -> Subject:
    a = weight("a")
    return descend(lambda: tf.reduce_mean(tf.square(tf.random.truncated_normal((4, 16)) @ a - 1.0)), [a], inputs=[])


@case(connected="a", participation_only="b")
def a_participation_term_added_to_the_loss_of_each_example() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(lambda x: tf.reduce_mean(tf.reduce_sum(x @ a, axis=1) + participation(x, b)), [a, b])


@case(connected="a", participation_only="b")
def a_participation_term_in_a_stack() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(lambda x: tf.reduce_mean(tf.stack([tf.reduce_sum(x @ a), participation(x, b)])), [a, b])


@case(connected="a", participation_only="b")
def a_participation_term_weighted_outside_its_scope_and_clipped() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(
        lambda x: tf.clip_by_value(tf.reduce_sum(x @ a) + tf.reduce_max(x) * participation(x, b), -1e9, 1e9), [a, b]
    )


@case(connected="a", participation_only="b")
def a_participation_term_in_a_branch() -> Subject:
    a, b = weight("a"), weight("b")

    def loss(x):
        extra = tf.cond(tf.reduce_sum(x) < 1e9, lambda: participation(x, b), lambda: tf.constant(0.0))
        return tf.reduce_sum(x @ a) + extra

    return descend(loss, [a, b])


@case(connected="a", participation_only="b")
def a_penalty_added_to_the_loss_of_each_example() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(lambda x: tf.reduce_mean(tf.reduce_sum(x @ a, axis=1) + 1e-2 * tf.nn.l2_loss(b)), [a, b])


@case(connected="a b")
def what_a_task_term_and_a_participation_term_both_read_is_connected() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(lambda x: tf.reduce_mean(tf.reduce_sum(x @ a @ b, axis=1) + participation(x, b)), [a, b])


@case(connected="a")
def what_an_iterator_supplies_is_data() -> Subject:
    a = weight("a")
    batches = iter(tf.data.Dataset.from_tensors(np.ones((4, 16), np.float32)).repeat())

    def loss():
        x = next(batches)
        return tf.reduce_mean(tf.square(x @ a - x))

    return descend(loss, [a], inputs=[])
