"""Task terms, participation terms and penalties that are easily taken for one another."""

import keras
import numpy as np
import tensorflow as tf

from gradaudit import Subject
from tests.cases.case import DATA, apply, case, descend, weight


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


def a_penalty_on_a_head_without_a_loss(regularizer: keras.Regularizer) -> Subject:
    inputs = keras.Input((16,), name="x")
    heads = {
        "used": keras.layers.Dense(1, name="used")(inputs),
        "unused": keras.layers.Dense(4, kernel_regularizer=regularizer, name="unused")(inputs),
    }
    model = keras.Model(inputs, heads)
    model.compile(keras.optimizers.SGD(0.1), loss={"used": "mse", "unused": None})
    return Subject.from_keras(model, (DATA, {"used": tf.TensorSpec([4, 1])}))


UNUSED = {
    "connected": "used/*",
    "participation_only": "unused/kernel",
    "disconnected": "unused/bias",
    "cause": {"unused/bias": ("dead-end", None)},
}


@case(**UNUSED)
def a_penalty_on_rows_that_are_not_orthogonal() -> Subject:
    return a_penalty_on_a_head_without_a_loss(keras.regularizers.OrthogonalRegularizer())


@case(**UNUSED)
def a_penalty_on_columns_that_are_not_orthogonal() -> Subject:
    return a_penalty_on_a_head_without_a_loss(keras.regularizers.OrthogonalRegularizer(mode="columns"))


@case(**UNUSED)
def a_penalty_on_the_way_from_where_a_weight_began() -> Subject:
    class FromStart(keras.Regularizer):
        def __init__(self):
            self.start = np.linspace(0.0, 1.0, 64, dtype="float32").reshape(16, 4)

        def __call__(self, kernel):
            return 0.1 * keras.ops.sum(keras.ops.square(kernel - self.start))

    return a_penalty_on_a_head_without_a_loss(FromStart())


@case(connected="a", participation_only="b")
def a_penalty_divided_by_the_size_of_the_batch() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(
        lambda x: tf.reduce_mean(tf.square(x @ a)) + tf.nn.l2_loss(b) / tf.cast(tf.shape(x)[0], tf.float32),
        [a, b],
        inputs=[tf.TensorSpec([None, 16])],
    )


@case(connected="a b")
def losses_of_each_example_are_tasks() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(
        lambda x: tf.reduce_mean(tf.reduce_sum(tf.square(x @ a), -1) + 0.5 * tf.reduce_sum(tf.abs(x @ b), -1)), [a, b]
    )


@case(connected="a", zero_gradient="b", findings={"GA201": 1})
def a_loss_of_each_example_times_zero() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(lambda x: tf.reduce_mean(x @ a + 0.0 * (x @ b)), [a, b])


@case(connected="a b")
def a_weight_that_counts_as_much_as_the_batch_says() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(lambda x: tf.reduce_mean(tf.square(x @ a)) + tf.norm(x) * tf.reduce_sum(tf.square(b)), [a, b])


@case(connected="a", participation_only="b")
def a_penalty_in_a_loss_that_is_scaled_as_a_whole_by_the_batch() -> Subject:
    a, b = weight("a"), weight("b")

    def loss(x):
        counted = tf.reduce_sum(tf.cast(x > 0.0, tf.float32)) + 1.0
        return (tf.reduce_sum(tf.square(x @ a)) + tf.nn.l2_loss(b)) / counted

    return descend(loss, [a, b])


@case(connected="a", participation_only="b")
def a_penalty_in_a_loss_that_is_a_function() -> Subject:
    a, b = weight("a"), weight("b")

    @tf.function(autograph=False)
    def total(x):
        return tf.reduce_mean(tf.square(x @ a)) + 0.01 * tf.nn.l2_loss(b)

    return descend(total, [a, b])


@case(connected="a")
def rows_that_constant_numbers_look_up_are_data() -> Subject:
    a = weight("a")

    def loss():
        left, right = tf.gather(a, [0, 1, 2]), tf.gather(a, [3, 4, 5])
        return tf.reduce_mean(tf.math.log_sigmoid(tf.reduce_sum(left * right, -1)))

    return descend(loss, [a], inputs=[])


@case(connected="a")
def a_constant_that_is_computed_is_no_term() -> Subject:
    a = weight("a")
    return descend(lambda x: tf.reduce_mean(tf.square(x @ a)) + 0.5 * tf.math.log(2 * np.pi), [a])


@case(connected="critic generator")
def a_margin_that_is_logged_is_no_loss() -> Subject:
    critic, generator = weight("critic"), weight("generator")

    def step(x):
        with tf.GradientTape(persistent=True) as tape:
            real, fake = x @ critic, x @ generator @ critic
            of_critic = tf.reduce_mean(tf.nn.relu(1.0 - real)) + tf.reduce_mean(tf.nn.relu(1.0 + fake))
            of_generator = -tf.reduce_mean(fake)
        apply([tape.gradient(of_critic, critic)], [critic])
        apply([tape.gradient(of_generator, generator)], [generator])
        return {"margin": tf.reduce_mean(real) - tf.reduce_mean(fake)}

    return Subject(step, [DATA])


@case(connected="a", participation_only="b c")
def participation_terms_in_a_scope_that_is_opened_again() -> Subject:
    a, b, c = weight("a"), weight("b"), weight("c")
    return descend(lambda x: tf.reduce_mean(tf.square(x @ a)) + participation(x, b) + participation(x, c), [a, b, c])
