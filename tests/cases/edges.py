"""Ops that pass no gradient, pass zeros, or are opaque."""

from types import FunctionType

import tensorflow as tf

from gradaudit import Subject
from tests.cases.case import DATA, apply, case, descend, weight


@case(connected="a", disconnected="b", tape={"b": "none"}, cause={"b": ("never-read", None)})
def a_weight_that_nothing_reads() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(lambda x: tf.reduce_sum(x @ a), [a, b])


@case(connected="a", disconnected="b", tape={"b": "none"}, cause={"b": ("dead-end", None)})
def a_head_whose_result_is_dropped() -> Subject:
    a, b = weight("a"), weight("b")

    def loss(x):
        tf.nn.relu(x @ b)
        return tf.reduce_sum(x @ a)

    return descend(loss, [a, b])


@case(connected="a", disconnected="b", cause={"b": ("blocked", "StopGradient")})
def a_stop_gradient() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(lambda x: tf.reduce_sum(x @ a * tf.stop_gradient(x @ b)), [a, b])


@case(connected="a", disconnected="b", cause={"b": ("blocked", "ArgMax")})
def an_argmax_router() -> Subject:
    a, b = weight("a"), weight("b")

    def loss(x):
        chosen = tf.one_hot(tf.argmax(x @ b, axis=-1), 16)
        return tf.reduce_sum(x @ a * chosen)

    return descend(loss, [a, b])


@case(connected="a b")
def an_argmax_router_with_soft_gates() -> Subject:
    a, b = weight("a"), weight("b")

    def loss(x):
        scores = tf.nn.softmax(x @ b)
        chosen = tf.one_hot(tf.argmax(scores, axis=-1), 16)
        return tf.reduce_sum(x @ a * chosen * scores)

    return descend(loss, [a, b])


@case(connected="a b")
def a_straight_through_estimator() -> Subject:
    a, b = weight("a"), weight("b")

    def loss(x):
        y = x @ b
        return tf.reduce_sum(x @ a * (y + tf.stop_gradient(tf.round(y) - y)))

    return descend(loss, [a, b])


@case(connected="a", disconnected="b", cause={"b": ("blocked", "Round")})
def a_round() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(lambda x: tf.reduce_sum(x @ a * tf.round(x @ b)), [a, b])


@case(connected="a", disconnected="b", cause={"b": ("blocked", "Greater")})
def a_condition_of_where() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(lambda x: tf.reduce_sum(tf.where(x @ b > 0.0, x @ a, 0.0)), [a, b])


@case(connected="a", disconnected="b", cause={"b": ("blocked", "Cast")})
def a_cast_to_integers() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(lambda x: tf.reduce_sum(x @ a * tf.cast(tf.cast(x @ b, tf.int32), tf.float32)), [a, b])


@case(connected="a b")
def a_cast_between_floats() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(lambda x: tf.reduce_sum(x @ a * tf.cast(tf.cast(x @ b, tf.float16), tf.float32)), [a, b])


@case(connected="a table")
def an_embedding() -> Subject:
    a, table = weight("a"), weight("table", 50, 16)
    ids = tf.TensorSpec([4], tf.int32)
    return descend(lambda i: tf.reduce_sum(tf.gather(table, i) @ a), [a, table], inputs=[ids])


@case(connected="a", zero_gradient="b", changes={"b": True})
def a_sign() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(lambda x: tf.reduce_sum(x @ a * tf.sign(x @ b)), [a, b])


@case(connected="a", opaque="b")
def an_op_without_a_registered_gradient() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(lambda x: tf.reduce_sum(x @ a) + tf.reduce_sum(tf.linalg.lu(b)[0]), [a, b])


@case(connected="a", disconnected="b", cause={"b": ("blocked", "IdentityN")})
def a_custom_gradient_that_returns_none() -> Subject:
    a, b = weight("a"), weight("b")

    @tf.custom_gradient
    def product(left, right):
        return left * right, lambda upstream: (upstream * right, None)

    return descend(lambda x: tf.reduce_sum(product(x @ a, x @ b)), [a, b])


@case(connected="a b")
def a_custom_gradient() -> Subject:
    a, b = weight("a"), weight("b")

    @tf.custom_gradient
    def rounded(value):
        return tf.round(value), lambda upstream: upstream

    return descend(lambda x: tf.reduce_sum(x @ a * rounded(x @ b)), [a, b])


def held_by_a_gradient(keeps: bool):
    """A custom gradient that holds a truth value, by which it decides."""

    @tf.custom_gradient
    def handed_on(value):
        return tf.identity(value), lambda upstream: upstream if keeps else None

    return handed_on


@case(connected="a", disconnected="b", cause={"b": ("blocked", "IdentityN")})
def custom_gradients_of_one_code_that_hold_other_values() -> Subject:
    a, b = weight("a"), weight("b")
    passes, blocks = held_by_a_gradient(True), held_by_a_gradient(False)
    return descend(lambda x: tf.reduce_sum(passes(x @ a) * blocks(x @ b)), [a, b])


@case(connected="a", disconnected="b", cause={"b": ("blocked", "IdentityN")})
def custom_gradients_of_one_code_that_hold_other_objects() -> Subject:
    a, b = weight("a"), weight("b")

    class Gate:
        def __init__(self, keeps):
            self.keeps = keeps

        def handed_on(self, value):
            return tf.custom_gradient(
                lambda value: (tf.identity(value), lambda upstream: upstream if self.keeps else None)
            )(value)

    return descend(lambda x: tf.reduce_sum(Gate(True).handed_on(x @ a) * Gate(False).handed_on(x @ b)), [a, b])


@case(connected="a", disconnected="b", cause={"b": ("blocked", "IdentityN")})
def custom_gradients_of_one_code_with_other_defaults() -> Subject:
    a, b = weight("a"), weight("b")

    def handed_on(value, keeps):
        gradient = lambda upstream, keeps=keeps: upstream if keeps else None  # noqa: E731  # its default is the point
        return tf.custom_gradient(lambda value: (tf.identity(value), gradient))(value)

    return descend(lambda x: tf.reduce_sum(handed_on(x @ a, True) * handed_on(x @ b, False)), [a, b])


@case(connected="a", disconnected="b", cause={"b": ("blocked", "IdentityN")})
def custom_gradients_of_one_code_with_other_attributes() -> Subject:
    a, b = weight("a"), weight("b")

    def handed_on(value, keeps):
        def gradient(upstream):
            return upstream if gradient.keeps else None

        gradient.keeps = keeps
        return tf.custom_gradient(lambda value: (tf.identity(value), gradient))(value)

    return descend(lambda x: tf.reduce_sum(handed_on(x @ a, True) * handed_on(x @ b, False)), [a, b])


@case(connected="a", disconnected="b", cause={"b": ("blocked", "IdentityN")})
def custom_gradients_of_one_code_in_other_modules() -> Subject:
    a, b = weight("a"), weight("b")

    def gradient(upstream):
        return upstream if globals()["KEEPS"] else None

    def handed_on(value, keeps):
        in_module = FunctionType(gradient.__code__, {"KEEPS": keeps})
        return tf.custom_gradient(lambda value: (tf.identity(value), in_module))(value)

    return descend(lambda x: tf.reduce_sum(handed_on(x @ a, True) * handed_on(x @ b, False)), [a, b])


@case(connected="a", disconnected="b", cause={"b": ("blocked", "IdentityN")})
def a_custom_gradient_that_looks_at_shapes() -> Subject:
    a, b = weight("a", 4, 16), weight("b", 1, 16)

    @tf.custom_gradient
    def added(left, right):
        return left + right, lambda upstream: (upstream, None if right.shape[0] == 1 else upstream)

    return descend(lambda x: tf.reduce_sum(added(x, b) * added(x, a)), [a, b])


@case(connected="a", disconnected="b", tape={"b": "zeros"}, cause={"b": ("blocked", "IdentityN")})
def a_custom_gradient_that_looks_at_static_values() -> Subject:
    a, b = weight("a"), weight("b")

    @tf.custom_gradient
    def handed_on(value, keeps):
        return tf.identity(value), lambda upstream: (
            upstream if tf.get_static_value(keeps) else tf.zeros_like(upstream),
            None,
        )

    def loss(x):
        blocked = handed_on(x @ b, tf.cast(tf.constant(0), tf.int64))
        return tf.reduce_sum(blocked * handed_on(x @ a, tf.cast(tf.constant(1), tf.int64)))

    return descend(loss, [a, b])


@case(connected="a", disconnected="b", tape={"b": "zeros"}, cause={"b": ("blocked", "IdentityN")})
def a_custom_gradient_that_holds_a_dict_of_a_class_of_its_own() -> Subject:
    a, b = weight("a"), weight("b")

    class Options(dict):
        keeps = False

    def handed_on(value, keeps):
        options = Options()
        options.keeps = keeps
        return tf.custom_gradient(
            lambda value: (tf.identity(value), lambda upstream: upstream if options.keeps else tf.zeros_like(upstream))
        )(value)

    return descend(lambda x: tf.reduce_sum(handed_on(x @ b, False) * handed_on(x @ a, True)), [a, b])


@case(connected="a")
def a_custom_gradient_behind_hundreds_of_functions() -> Subject:
    a = weight("a")

    def wrapped(inner):
        return lambda upstream: inner(upstream)

    scaled = tf.identity
    for _ in range(300):
        scaled = wrapped(scaled)
    handed_on = tf.custom_gradient(lambda value: (tf.identity(value), lambda upstream: scaled(upstream)))
    return descend(lambda x: tf.reduce_sum(handed_on(x @ a)), [a])


@tf.RegisterGradient("OfReluAlone")
def gradient_of_relu_alone(op, upstream):
    return upstream if op.type == "Relu" else tf.zeros_like(upstream)


@case(connected="a", disconnected="b", tape={"b": "zeros"}, cause={"b": ("blocked", "Tanh")})
def a_gradient_for_two_types_of_ops_that_tells_them_apart() -> Subject:
    a, b = weight("a"), weight("b")

    def step(x):
        instead = {"Relu": "OfReluAlone", "Tanh": "OfReluAlone"}
        with tf.compat.v1.get_default_graph().gradient_override_map(instead):
            loss = tf.reduce_sum(tf.tanh(x @ b) * tf.nn.relu(x @ a))
        apply(tf.gradients(loss, [a, b]), [a, b])

    return Subject(step, [DATA], variables=[a, b])


@case(connected="a", disconnected="b", cause={"b": ("blocked", "IdentityN")})
def custom_gradients_that_hold_themselves_and_what_is_not_there_yet() -> Subject:
    a, b = weight("a"), weight("b")

    def handed_on(value, keeps):
        def gradient(upstream, depth=2):
            if depth:
                return gradient(upstream, depth - 1)
            return upstream if keeps else later

        gradient_of_both = tf.custom_gradient(lambda value: (tf.identity(value), gradient))(value)
        later = None
        return gradient_of_both

    return descend(lambda x: tf.reduce_sum(handed_on(x @ a, True) * handed_on(x @ b, False)), [a, b])


@case(connected="a c", disconnected="b", cause={"b": ("blocked", "IdentityN")})
def custom_gradients_of_one_code_whose_inputs_change_places() -> Subject:
    a, b, c = weight("a"), weight("b"), weight("c")

    @tf.custom_gradient
    def product(left, right):
        chosen = left if left.shape == right.shape else right
        return left * right, lambda upstream: (upstream * right if chosen is left else None, upstream * left)

    def loss(x):
        kept = product(x @ a, x @ c)
        return tf.reduce_sum(kept) + tf.reduce_sum(product((x @ b)[:1], x @ c))

    return descend(loss, [a, b, c])


@case(connected="a b")
def recomputed_activations() -> Subject:
    a, b = weight("a"), weight("b")
    block = tf.recompute_grad(lambda x: tf.nn.relu(x @ b))
    return descend(lambda x: tf.reduce_sum(block(x) @ a), [a, b])


@case(connected="a", frozen="b")
def a_frozen_weight() -> Subject:
    a, b = weight("a"), weight("b", trainable=False)
    return descend(lambda x: tf.reduce_sum(x @ a @ b), [a, b])


@case(connected="a", participation_only="b")
def a_penalty_on_a_weight_that_nothing_else_reads() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(lambda x: tf.reduce_sum(x @ a) + 1e-4 * tf.reduce_sum(b * b), [a, b])


@case(connected="a", participation_only="b")
def a_participation_term() -> Subject:
    a, b = weight("a"), weight("b")

    def loss(x):
        with tf.name_scope("task"):
            task = tf.reduce_sum(x @ a)
        with tf.name_scope("gradient_participation"):
            participation = 1e-6 * tf.reduce_mean(tf.square(x @ b))
        return task + participation

    return descend(loss, [a, b])


@case(connected="a b", tape={"b": "tensor"})
def the_values_of_top_k() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(lambda x: tf.reduce_sum(x @ a) * tf.reduce_sum(tf.math.top_k(x @ b, 2).values), [a, b])


@case(connected="a", disconnected="b", cause={"b": ("blocked", "TopKV2")})
def the_indices_of_top_k() -> Subject:
    a, b = weight("a"), weight("b")

    def loss(x):
        best = tf.math.top_k(x @ b, 2).indices
        return tf.reduce_sum(tf.gather(x @ a, best, batch_dims=1))

    return descend(loss, [a, b])


@case(connected="a", disconnected="b", cause={"b": ("blocked", "PyFunc")})
def a_numpy_function() -> Subject:
    a, b = weight("a"), weight("b")

    def loss(x):
        scale = tf.numpy_function(lambda y: y * 2, [x @ b], tf.float32)
        return tf.reduce_sum(x @ a) * tf.reduce_sum(scale)

    return descend(loss, [a, b])


@case(connected="a b")
def complex_numbers() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(lambda x: tf.reduce_sum(x @ a * tf.abs(tf.signal.fft(tf.cast(x @ b, tf.complex64)))), [a, b])


@case(connected="gate experts", changes={"gate": False})
def an_auxiliary_loss_injected_by_a_custom_gradient() -> Subject:
    gate, experts = weight("gate"), weight("experts")

    @tf.custom_gradient
    def inject(activations, scores):
        return tf.identity(activations), lambda upstream: (upstream, 0.01 * tf.ones_like(scores))

    return descend(lambda x: tf.reduce_sum(inject(x @ experts, x @ gate)), [gate, experts])


@case(connected="a", disconnected="b", tape={"b": "zeros"}, cause={"b": ("blocked", None)})
def a_custom_gradient_that_returns_zeros() -> Subject:
    a, b = weight("a"), weight("b")

    @tf.custom_gradient
    def product(left, right):
        return left * right, lambda upstream: (upstream * right, tf.zeros_like(right))

    return descend(lambda x: tf.reduce_sum(product(x @ a, x @ b)), [a, b])


@case(connected="a")
def a_buffer_of_any_shape() -> Subject:
    a = weight("a")
    buffer = tf.Variable(tf.zeros([4, 16]), shape=tf.TensorShape(None), trainable=False, name="buffer")
    return descend(lambda x: tf.reduce_mean(tf.square(x @ a - tf.reshape(buffer, [4, 16]))), [a])


@case(connected="table")
def a_table_of_any_length() -> Subject:
    table = tf.Variable(tf.ones([8, 16]), shape=[None, 16], name="table")
    return descend(lambda x: tf.reduce_sum(x * tf.gather(table, [0, 3, 3, 7])), [table])


@case(connected="a")
def a_recomputed_layer_inside_another_one_that_hands_on_what_it_took_from_outside() -> Subject:
    a = weight("a")

    def step(x):
        size = tf.reduce_sum(x)
        with tf.GradientTape() as tape:

            def outer(x):
                def inner(size, table):
                    return size, tf.stack([size, 1.0, table[0, 0]])

                tf.recompute_grad(inner)(size, x)
                tf.recompute_grad(inner)(size, 2.0 * x)
                return tf.tanh(x @ a)

            loss = tf.reduce_sum(tf.recompute_grad(outer)(x))
        apply(tape.gradient(loss, [a]), [a])

    return Subject(step, [DATA])
