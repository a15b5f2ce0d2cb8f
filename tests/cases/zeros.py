"""Paths whose gradient is zero whatever the inputs and weights, and paths that only look like it."""

import tensorflow as tf

from gradaudit import Subject
from tests.cases.case import DATA, apply, case, descend, weight


@case(connected="a", zero_gradient="b", findings={"GA201": 1})
def zero_times_a_sum_so_that_no_warning_comes() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(lambda x: tf.reduce_sum(x @ a) + 0 * tf.reduce_sum(b), [a, b])


@case(connected="a", zero_gradient="b", findings={"GA201": 1})
def zero_times_an_unused_head() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(lambda x: tf.reduce_sum(x @ a) + 0.0 * tf.reduce_mean(tf.square(x @ b)), [a, b])


@case(connected="a", zero_gradient="b", findings={"GA201": 1})
def a_loss_weight_of_zero() -> Subject:
    a, b = weight("a"), weight("b")
    weights = {"main": 1.0, "auxiliary": 0.0}

    def loss(x):
        losses = {"main": tf.reduce_sum(x @ a), "auxiliary": tf.reduce_sum(tf.square(x @ b))}
        return tf.add_n([tf.constant(weights[name]) * value for name, value in losses.items()])

    return descend(loss, [a, b])


@case(connected="a", zero_gradient="b", findings={"GA201": 1})
def a_weight_of_zero_handed_to_a_function() -> Subject:
    a, b = weight("a"), weight("b")

    @tf.function
    def total(x, auxiliary_weight):
        return tf.reduce_sum(x @ a) + auxiliary_weight * tf.reduce_sum(x @ b)

    return descend(lambda x: total(x, tf.constant(0.0)), [a, b])


@case(connected="a b")
def a_weight_that_is_an_input_of_the_step() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(
        lambda x, auxiliary_weight: tf.reduce_sum(x @ a) + auxiliary_weight * tf.reduce_sum(x @ b),
        [a, b],
        inputs=[DATA, tf.TensorSpec([], tf.float32)],
    )


@case(connected="a b")
def a_weight_that_is_annealed_in_a_variable() -> Subject:
    a, b = weight("a"), weight("b")
    annealed = tf.Variable(0.0, trainable=False, name="annealed")

    def loss(x):
        annealed.assign(tf.minimum(annealed + 0.1, 1.0))
        return tf.reduce_sum(x @ a) + annealed * tf.reduce_sum(x @ b)

    return descend(loss, [a, b])


@case(connected="a", zero_gradient="b", findings={"GA201": 1})
def a_mask_of_zeros_like() -> Subject:
    a, b = weight("a"), weight("b")

    def loss(x):
        y = x @ b
        return tf.reduce_sum(x @ a + y * tf.zeros_like(y))

    return descend(loss, [a, b])


@case(connected="a", zero_gradient="b", findings={"GA201": 1})
def a_mask_of_zeros_with_the_shape_of_the_batch() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(
        lambda x: tf.reduce_sum(x @ a + (x @ b) * tf.zeros([tf.shape(x)[0], 1])),
        [a, b],
        inputs=[tf.TensorSpec([None, 16], tf.float32)],
    )


@case(connected="a b")
def a_mask_from_the_data() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(lambda x: tf.reduce_sum(x @ a + (x @ b) * tf.cast(x > 0.0, tf.float32)), [a, b])


@case(connected="a", zero_gradient="b", findings={"GA201": 1})
def a_difference_of_equal_constants() -> Subject:
    a, b = weight("a"), weight("b")
    end, start = tf.constant(0.3), tf.constant(0.3)
    return descend(lambda x: tf.reduce_sum(x @ a) + (end - start) * tf.reduce_sum(x @ b), [a, b])


@case(connected="a", zero_gradient="b")
def a_tensor_minus_itself() -> Subject:
    a, b = weight("a"), weight("b")

    def loss(x):
        y = x @ b
        return tf.reduce_sum(x @ a + (y - y))

    return descend(loss, [a, b])


@case(connected="a", zero_gradient="b")
def a_softmax_over_one_key() -> Subject:
    a, b = weight("a"), weight("b", 16, 1)
    return descend(lambda x: tf.reduce_sum(x @ a * tf.nn.softmax(x @ b, axis=-1)), [a, b])


@case(connected="a b")
def a_softmax_over_two_keys() -> Subject:
    a, b = weight("a"), weight("b", 16, 2)
    return descend(lambda x: tf.reduce_sum((x @ a)[:, :2] * tf.nn.softmax(x @ b, axis=-1)), [a, b])


@case(connected="a", zero_gradient="b", findings={"GA201": 1})
def a_cross_entropy_over_one_class() -> Subject:
    a, b = weight("a"), weight("b", 16, 1)

    def loss(x):
        labels = tf.zeros([4], tf.int32)
        return tf.reduce_sum(x @ a) + tf.reduce_sum(
            tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=x @ b)
        )

    return descend(loss, [a, b])


@case(connected="a", zero_gradient="b")
def a_power_of_zero() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(lambda x: tf.reduce_sum(x @ a * tf.pow(tf.abs(x @ b) + 1.0, 0.0)), [a, b])


@case(connected="a", zero_gradient="b")
def a_choice_by_a_constant_condition() -> Subject:
    a, b = weight("a"), weight("b")
    is_training = tf.constant(False)
    return descend(lambda x: tf.reduce_sum(tf.where(is_training, x @ b, x @ a)), [a, b])


@case(connected="a", zero_gradient="b", findings={"GA201": 1})
def a_flag_that_is_cast_to_a_number() -> Subject:
    a, b = weight("a"), weight("b")
    is_enabled = tf.constant(False)

    def loss(x):
        return tf.reduce_sum(x @ a) + tf.cast(is_enabled, tf.float32) * tf.reduce_sum(x @ b)

    return descend(loss, [a, b])


@case(connected="a", zero_gradient="b")
def a_product_that_knows_no_nan() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(lambda x: tf.reduce_sum(x @ a + tf.math.multiply_no_nan(x @ b, tf.zeros([4, 16]))), [a, b])


@case(connected="a", zero_gradient="b")
def a_matrix_of_zeros_that_is_a_constant() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(lambda x: tf.reduce_sum(x @ a + (x @ b) @ tf.zeros([16, 16])), [a, b])


@case(connected="a", zero_gradient="b", findings={"GA201": 1})
def zero_times_a_clipped_head() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(lambda x: tf.reduce_sum(x @ a + 0.0 * tf.clip_by_value(x @ b, -1.0, 1.0)), [a, b])


@case(connected="a", zero_gradient="b", changes={"b": True})
def the_sign_of_a_sum() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(lambda x: tf.reduce_sum(x @ a * tf.sign(tf.reduce_sum(x @ b))), [a, b])


@case(connected="a b")
def a_sign_beside_a_path_that_passes() -> Subject:
    a, b = weight("a"), weight("b")

    def loss(x):
        y = x @ b
        return tf.reduce_sum(x @ a * (tf.sign(y) * tf.abs(y)))

    return descend(loss, [a, b])


@case(connected="a b", findings={"GA201": 1})
def zero_times_one_path_of_two() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(lambda x: tf.reduce_sum(x @ a @ b) + 0.0 * tf.reduce_sum(x @ b), [a, b])


@case(connected="base down up")
def an_adapter_whose_second_matrix_starts_at_zero() -> Subject:
    base, down, up = weight("base"), weight("down", 16, 2), weight("up", 2, 16, value=0.0)
    return descend(lambda x: tf.reduce_sum(tf.square(x @ base + x @ down @ up)), [base, down, up])


@case(connected="down up", frozen="base")
def an_adapter_on_a_frozen_matrix() -> Subject:
    base, down, up = weight("base", trainable=False), weight("down", 16, 2), weight("up", 2, 16, value=0.0)
    return descend(lambda x: tf.reduce_sum(tf.square(x @ base + x @ down @ up)), [base, down, up])


@case(connected="gate a")
def a_gate_that_starts_at_zero() -> Subject:
    gate, a = weight("gate", 16, value=0.0), weight("a")
    return descend(lambda x: tf.reduce_sum(x + gate * tf.tanh(x @ a)), [gate, a])


@case(connected="a b bias")
def a_relu_that_is_dead_at_its_first_bias() -> Subject:
    a, b, bias = weight("a"), weight("b"), weight("bias", 16, value=-100.0)
    return descend(lambda x: tf.reduce_sum(x @ a * tf.nn.relu(x @ b + bias)), [a, b, bias])


@case(connected="a b")
def a_clip_that_the_data_saturates() -> Subject:
    a, b = weight("a"), weight("b", value=50.0)
    return descend(lambda x: tf.reduce_sum(x @ a * tf.clip_by_value(x @ b, -1.0, 1.0)), [a, b])


@case(connected="a b")
def a_mask_of_which_one_half_is_zero() -> Subject:
    a, b = weight("a"), weight("b")
    half = tf.constant([1.0] * 8 + [0.0] * 8)
    return descend(lambda x: tf.reduce_sum(x @ a + (x @ b) * half), [a, b])


@case(connected="a", zero_gradient="b", findings={"GA201": 1})
def a_zero_factor_in_a_nested_function() -> Subject:
    a, b = weight("a"), weight("b")

    @tf.function
    def auxiliary(x):
        return 0.0 * tf.reduce_sum(x @ b)

    return descend(lambda x: tf.reduce_sum(x @ a) + auxiliary(x), [a, b])


@case(connected="a", zero_gradient="b", findings={"GA201": 1})
def a_zero_factor_on_the_result_of_a_nested_function() -> Subject:
    a, b = weight("a"), weight("b")

    @tf.function
    def auxiliary(x):
        return tf.reduce_sum(x @ b)

    return descend(lambda x: tf.reduce_sum(x @ a) + 0.0 * auxiliary(x), [a, b])


@case(connected="a", zero_gradient="b", changes={"b": True}, findings={"GA201": 1})
def a_loss_whose_gradient_is_scaled_by_zero() -> Subject:
    a, b = weight("a"), weight("b")

    def step(x):
        with tf.GradientTape() as tape:
            losses = [tf.reduce_sum(x @ a), tf.reduce_sum(x @ b)]
        apply(tape.gradient(losses, [a, b], output_gradients=[tf.constant(1.0), tf.constant(0.0)]), [a, b])

    return Subject(step, [DATA])


@case(connected="a", zero_gradient="b c", findings={"GA201": 1})
def a_quotient_that_is_zero_where_its_divisor_is() -> Subject:
    a, b, c = weight("a"), weight("b"), weight("c")

    def loss(x):
        nothing = tf.linalg.band_part(tf.zeros([4, 16]), 0, -1)
        return tf.reduce_sum(x @ a) + tf.reduce_sum(
            tf.math.divide_no_nan(x @ b, tf.signal.irfft(tf.signal.rfft(nothing))) + tf.math.cumprod(nothing) * (x @ c)
        )

    return descend(loss, [a, b, c])


@tf.custom_gradient
def reversed_gradient(value):
    return tf.identity(value), lambda upstream: -upstream


@tf.custom_gradient
def zeros_with_a_gradient(value):
    return tf.zeros_like(value), lambda upstream: upstream


@case(connected="a c", zero_gradient="b", changes={"c": False}, findings={"GA201": 1})
def what_is_known_of_what_has_a_custom_gradient() -> Subject:
    a, b, c = weight("a"), weight("b"), weight("c")

    def loss(x):
        return tf.reduce_sum(
            x @ a * 3.0 + reversed_gradient(tf.zeros([4, 16])) * (x @ b) + zeros_with_a_gradient(x @ c)
        )

    return descend(loss, [a, b, c])


@case(connected="a b")
def a_number_that_is_added_to_each_example_and_taken_away_once() -> Subject:
    a, b = weight("a"), weight("b")

    def loss(x):
        extra = tf.reduce_mean(tf.square(x @ b))
        return tf.reduce_sum(tf.reduce_mean(tf.square(x @ a), axis=1) + extra) - extra

    return descend(loss, [a, b])


@case(connected="a", zero_gradient="b", findings={"GA201": 1})
def zeros_that_a_function_with_a_gradient_call_takes_from_around_it() -> Subject:
    a, b = weight("a"), weight("b")

    def step(x):
        nothing = 0.0 * x

        @tf.function(autograph=False)
        def train(x):
            loss = tf.reduce_sum(x @ a) + tf.reduce_sum(nothing * (x @ b))
            return tf.gradients(loss, [a, b])

        apply(train(x), [a, b])

    return Subject(step, [DATA])


@case(connected="a", zero_gradient="b", findings={"GA201": 1})
def a_stack_of_vectors_times_zero() -> Subject:
    a, b = weight("a"), weight("b")

    def loss(x):
        rows = [tf.reduce_sum(x @ b, axis=0), tf.ones([16])]
        return tf.reduce_mean(tf.square(x @ a)) + 0.0 * tf.reduce_mean(tf.stack([rows[0], rows[1], rows[0]]))

    return descend(loss, [a, b])


@case(connected="a b")
def a_product_over_what_came_before_zeros() -> Subject:
    a, b = weight("a"), weight("b")

    def loss(x):
        transmittance = tf.math.cumprod(tf.zeros_like(x), axis=1, exclusive=True)
        return tf.reduce_mean(x @ a) + tf.reduce_mean(transmittance * (x @ b))

    return descend(loss, [a, b], inputs=[tf.TensorSpec([None, 16])])


@case(connected="a b")
def diagonals_that_are_padded_with_ones() -> Subject:
    a, b = weight("a"), weight("b")

    def loss(x):
        band = tf.linalg.diag_part(tf.zeros_like(x), k=(-1, 1), padding_value=1.0)
        return tf.reduce_mean(x @ a) + tf.reduce_sum(band) * tf.reduce_sum(x @ b)

    return descend(loss, [a, b], inputs=[tf.TensorSpec([None, 16])])


@case(
    connected="v",
    zero_gradient="q",
    disconnected="k",
    tape={"k": "zeros"},
    cause={"q": ("blocked", "Mul"), "k": ("dead-end", "ConcatV2")},
    findings={"GA201": 1},
)
def a_part_of_a_joint_projection_that_a_weight_of_zero_reads() -> Subject:
    q, k, v = (weight(name, 16, 12) for name in "qkv")

    def loss(x):
        joint = tf.reshape(tf.concat([x @ q, x @ k, x @ v], -1), [4, 3, 4, 3])
        queries, _, values = tf.unstack(tf.transpose(joint, [1, 0, 2, 3]))
        return tf.reduce_mean(tf.square(values)) + 0.0 * tf.reduce_sum(queries)

    return descend(loss, [q, k, v])


@case(connected="a", zero_gradient="b", cause={"b": ("blocked", "Mul")}, findings={"GA201": 1})
def a_mask_of_zeros_far_from_the_loss() -> Subject:
    a, b = weight("a"), weight("b")

    def power(x):
        return tf.reduce_mean(tf.square(x))

    return descend(lambda x: power(x @ (b * tf.zeros([16, 16]))) + power(x @ a), [a, b])
