"""Calls, conditions and loops: where TensorFlow hands back zeros for lack of a path, and says nothing."""

import tensorflow as tf

from gradaudit import Subject
from tests.cases.case import DATA, apply, case, descend, weight


@case(connected="a", disconnected="b", tape={"b": "zeros"}, cause={"b": ("dead-end", None)})
def a_dead_head_in_a_nested_function() -> Subject:
    a, b = weight("a"), weight("b")

    @tf.function
    def heads(x):
        return x @ a, x @ b

    return descend(lambda x: tf.reduce_sum(heads(x)[0]), [a, b])


@case(connected="a", disconnected="b", tape={"b": "zeros"}, cause={"b": ("dead-end", None)})
def a_dead_head_two_functions_deep() -> Subject:
    a, b = weight("a"), weight("b")

    @tf.function(jit_compile=True)
    def inner(x):
        return x @ a, x @ b

    @tf.function
    def outer(x):
        return inner(x)

    return descend(lambda x: tf.reduce_sum(outer(x)[0]), [a, b])


@case(connected="a b")
def a_function_that_is_called_twice() -> Subject:
    a, b = weight("a"), weight("b")

    @tf.function
    def heads(x):
        return x @ a, x @ b

    return descend(lambda x: tf.reduce_sum(heads(x)[0]) + tf.reduce_sum(heads(x + 1.0)[1]), [a, b])


@case(connected="a b", zero_gradient="c", findings={"GA201": 1})
def a_function_of_which_one_call_of_three_is_given_a_zero() -> Subject:
    a, b, c = weight("a"), weight("b"), weight("c")

    @tf.function
    def scaled(x, kernel, factor):
        return (x @ kernel) * factor

    def loss(x):
        one, zero = tf.constant(1.0), tf.constant(0.0)
        return tf.reduce_sum(scaled(x, a.value(), one) + scaled(x, b.value(), one) + scaled(x, c.value(), zero))

    return descend(loss, [a, b, c])


@case(connected="a b c", disconnected="d", tape={"d": "zeros"}, cause={"d": ("dead-end", None)})
def a_function_with_a_loop_that_is_called_again_and_again() -> Subject:
    a, b, c, d = weight("a"), weight("b"), weight("c"), weight("d")

    @tf.function
    def rounds(x, used, dropped):
        def body(number, kept, lost):
            return number + 1, tf.tanh(kept @ used), lost @ dropped

        return tf.while_loop(lambda number, *_: number < 3, body, [0, x, x])[1]

    def loss(x):
        for kernel in (a, b, c):
            x = rounds(x, kernel.value(), d.value())
        return tf.reduce_sum(x)

    return descend(loss, [a, b, c, d])


@case(connected="a b")
def a_function_that_asks_for_a_gradient_is_called_outside_of_the_tape_first() -> Subject:
    a, b = weight("a"), weight("b")

    @tf.function(autograph=False)
    def norm_of_gradient(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(x @ a))
        return tf.reduce_sum(tf.square(tape.gradient(loss, a)))

    def step(x):
        logged = norm_of_gradient(x)
        with tf.GradientTape() as tape:
            logged += norm_of_gradient(x)
            loss = tf.reduce_sum(x @ b) + norm_of_gradient(x)
        apply(tape.gradient(loss, [a, b]), [a, b])
        return logged

    return Subject(step, [DATA], variables=[a, b])


@case(connected="a c", disconnected="b", tape={"b": "zeros"}, cause={"b": ("dead-end", None)})
def a_function_that_is_given_one_tensor_twice_and_then_two() -> Subject:
    a, b, c = weight("a"), weight("b"), weight("c")

    @tf.function
    def first(left, right):
        return tf.square(left), right + 1.0

    def loss(x):
        both = x @ a
        return tf.reduce_sum(first(both, both)[0]) + tf.reduce_sum(first(x @ c, x @ b)[0])

    return descend(loss, [a, b, c])


@case(connected="a b", disconnected="c", tape={"c": "zeros"}, cause={"c": ("dead-end", None)})
def the_branches_of_a_condition() -> Subject:
    a, b, c = weight("a"), weight("b"), weight("c")

    def loss(x):
        used, _ = tf.cond(tf.reduce_sum(x) > 0, lambda: (x @ a, x @ c), lambda: (x @ b, x))
        return tf.reduce_sum(used)

    return descend(loss, [a, b, c])


@case(connected="a", disconnected="b", cause={"b": ("blocked", "Greater")})
def a_weight_that_only_decides() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(
        lambda x: tf.reduce_sum(tf.cond(tf.reduce_sum(x @ b) > 0, lambda: x @ a, lambda: x @ a * 2.0)), [a, b]
    )


@case(connected="a b c")
def a_switch() -> Subject:
    a, b, c = weight("a"), weight("b"), weight("c")

    def loss(x):
        chosen = tf.cast(tf.reduce_sum(x), tf.int32)
        return tf.reduce_sum(tf.switch_case(chosen, [lambda: x @ a, lambda: x @ b, lambda: x @ c]))

    return descend(loss, [a, b, c])


@case(connected="a b")
def values_that_swap_places_in_a_loop() -> Subject:
    a, b = weight("a"), weight("b")

    def loss(x):
        def body(i, left, middle, right):
            return i + 1, middle, right, left

        n = tf.cast(tf.reduce_sum(x), tf.int32)
        _, left, _, _ = tf.while_loop(lambda i, *_: i < n, body, (0, x @ a, x, x @ b))
        return tf.reduce_sum(left)

    return descend(loss, [a, b])


@case(connected="a", disconnected="b", tape={"b": "zeros"}, cause={"b": ("dead-end", None)})
def a_loop_variable_that_nobody_uses() -> Subject:
    a, b = weight("a"), weight("b")

    def loss(x):
        n = tf.cast(tf.reduce_sum(x), tf.int32)
        _, used, _ = tf.while_loop(lambda i, *_: i < n, lambda i, u, v: (i + 1, u @ a, v @ b), (0, x, x))
        return tf.reduce_sum(used)

    return descend(loss, [a, b])


@case(connected="cell recurrent")
def an_unrolled_recurrence() -> Subject:
    cell, recurrent = weight("cell"), weight("recurrent")

    def loss(x):
        state = tf.zeros([4, 16])
        for _ in range(3):
            state = tf.tanh(x @ cell + state @ recurrent)
        return tf.reduce_sum(state)

    return descend(loss, [cell, recurrent])


@case(connected="a b")
def a_scan() -> Subject:
    a, b = weight("a"), weight("b")

    def loss(x):
        return tf.reduce_sum(tf.scan(lambda s, row: tf.tanh(s @ a + row @ b), x[:, None, :], tf.zeros([1, 16])))

    return descend(loss, [a, b])


@case(connected="a b")
def a_map() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(lambda x: tf.reduce_sum(tf.map_fn(lambda row: row[None] @ a, x)[:, 0] @ b), [a, b])


@case(connected="a", disconnected="b", tape={"b": "zeros"}, cause={"b": ("blocked", None)})
def a_stop_gradient_in_recomputed_activations() -> Subject:
    a, b = weight("a"), weight("b")
    block = tf.recompute_grad(lambda x: x @ a + tf.stop_gradient(x @ b))
    return descend(lambda x: tf.reduce_sum(block(x)), [a, b])


@case(connected="a b")
def an_autograph_loop() -> Subject:
    a, b = weight("a"), weight("b")

    @tf.function
    def heads(x):
        total = tf.zeros([4, 16])
        for i in tf.range(tf.cast(tf.reduce_sum(x), tf.int32)):
            if i % 2 == 0:
                total += x @ a
            else:
                total += x @ b
        return total

    return descend(lambda x: tf.reduce_sum(heads(x)), [a, b])


@case(connected="a", disconnected="b", tape={"b": "none"}, cause={"b": ("dead-end", None)})
def a_computation_that_a_function_drops() -> Subject:
    a, b = weight("a"), weight("b")

    @tf.function(autograph=False)
    def features(x):
        _ = x @ b
        return x @ a

    return descend(lambda x: tf.reduce_sum(features(x)), [a, b])


@case(connected="a", disconnected="b", tape={"b": "none"}, cause={"b": ("dead-end", None)})
def an_argument_that_a_function_does_not_read() -> Subject:
    a, b = weight("a"), weight("b")

    @tf.function(autograph=False)
    def features(x, _):
        return x @ a

    return descend(lambda x: tf.reduce_sum(features(x, x @ b)), [a, b])


@case(connected="a", disconnected="b", tape={"b": "none"}, cause={"b": ("blocked", "StopGradient")})
def a_stop_gradient_in_a_branch() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(
        lambda x: tf.reduce_sum(x @ a + tf.cond(x[0, 0] > 0, lambda: tf.stop_gradient(x @ b), lambda: x)), [a, b]
    )


@case(connected="a", disconnected="b", tape={"b": "zeros"}, cause={"b": ("dead-end", None)})
def a_computation_that_the_body_of_a_loop_drops() -> Subject:
    a, b = weight("a"), weight("b")

    def body(step, h):
        _ = h @ b
        return step + 1, h @ a

    return descend(lambda x: tf.reduce_sum(tf.while_loop(lambda step, _: step < 3, body, (0, x))[1]), [a, b])


@case(connected="a", disconnected="b", tape={"b": "zeros"}, cause={"b": ("dead-end", None)})
def a_branch_that_a_constant_never_takes() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(lambda x: tf.reduce_sum(tf.cond(tf.constant(True), lambda: x @ a, lambda: x @ b)), [a, b])


@tf.custom_gradient
def with_a_gradient_made_up(left, right):
    return tf.identity(left), lambda upstream: (upstream, 0.1 * tf.ones_like(right))


@case(connected="a b", changes={"b": False})
def a_gradient_made_up_in_a_function_of_which_another_output_is_read() -> Subject:
    a, b = weight("a"), weight("b")

    @tf.function(autograph=False)
    def features(x, right):
        return x @ a, with_a_gradient_made_up(x, right)

    return descend(lambda x: tf.reduce_sum(features(x, x @ b)[0]), [a, b])


@case(connected="a", disconnected="b", tape={"b": "none"}, cause={"b": ("dead-end", None)})
def a_gradient_made_up_in_a_function_that_drops_it() -> Subject:
    a, b = weight("a"), weight("b")

    @tf.function(autograph=False)
    def features(x, right):
        with_a_gradient_made_up(x, right)
        return x @ a

    return descend(lambda x: tf.reduce_sum(features(x, x @ b)), [a, b])


@case(connected="a b", changes={"b": False})
def a_gradient_made_up_of_what_counts_for_zero() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(lambda x: tf.reduce_sum(x @ a) + 0.0 * tf.reduce_sum(with_a_gradient_made_up(x, x @ b)), [a, b])


@case(connected="a", disconnected="b", tape={"b": "none"}, cause={"b": ("dead-end", None)})
def a_gradient_made_up_that_nobody_asks_for() -> Subject:
    a, b = weight("a"), weight("b")

    def loss(x):
        with_a_gradient_made_up(x, x @ b)
        return tf.reduce_sum(x @ a)

    return descend(loss, [a, b])


@case(connected="a")
def a_map_to_integers_and_floats_in_a_function() -> Subject:
    a = weight("a")

    @tf.function
    def head(x):
        types = (tf.int32, tf.float32)
        return tf.map_fn(lambda row: (tf.argmax(row, output_type=tf.int32), tf.tanh(row)), x, fn_output_signature=types)

    return descend(lambda x: tf.reduce_sum(head(x @ a)[1]), [a])


@case(connected="generator discriminator")
def a_gradient_penalty_on_a_discriminator_in_a_function() -> Subject:
    generator, discriminator = weight("generator"), weight("discriminator")
    score = tf.function(lambda x: tf.tanh(x @ discriminator))

    def step(x):
        with tf.GradientTape(persistent=True) as outer:
            fake = x @ generator
            loss = tf.reduce_mean(score(fake))
            with tf.GradientTape() as inner:
                inner.watch(fake)
                scored = score(fake)
            loss_d = loss + tf.reduce_mean(tf.square(inner.gradient(scored, fake)))
        of_d, of_g = outer.gradient(loss_d, discriminator), outer.gradient(loss, generator)
        apply([of_d, of_g], [discriminator, generator])

    return Subject(step, [DATA])


@case(connected="a", disconnected="b", tape={"b": "zeros"}, cause={"b": ("blocked", "IdentityN")}, changes={"b": False})
def a_head_of_a_recomputed_block_that_nobody_reads() -> Subject:
    a, b = weight("a"), weight("b")

    @tf.recompute_grad
    def block(x):
        hidden = tf.tanh(x @ a)
        return hidden, hidden @ b

    return descend(lambda x: tf.reduce_sum(block(x)[0]), [a, b])


@case(connected="a b", changes={"b": False})
def a_gradient_made_up_in_a_loop_of_which_another_output_is_read() -> Subject:
    a, b = weight("a"), weight("b")

    def body(step, total, kept, given):
        return step + 1, total + tf.reduce_sum(tf.tanh(total)), with_a_gradient_made_up(kept, given), given

    def loss(x):
        start = tf.reduce_mean(x @ a)
        return tf.while_loop(lambda step, *_: step < 2, body, (0, start, x, x @ b))[1]

    return descend(loss, [a, b])


@case(connected="a", disconnected="b", tape={"b": "zeros"}, cause={"b": ("blocked", "IdentityN")}, changes={"b": False})
def a_variable_that_a_recomputed_block_hands_through() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(lambda x: tf.reduce_sum(x @ tf.recompute_grad(lambda value: (a * 2.0, value))(b)[0]), [a, b])


@case(connected="a c", disconnected="b", tape={"b": "zeros"}, cause={"b": ("dead-end", None)})
def a_function_of_which_a_term_is_one_result() -> Subject:
    a, b, c = weight("a"), weight("b"), weight("c")

    @tf.function(autograph=False)
    def both(x, y):
        return tf.reduce_sum(tf.tanh(x)), y * 2.0

    return descend(lambda x: tf.reduce_sum(tf.square(x @ a)) + both(x @ c, b)[0], [a, b, c])


@case(connected="a b")
def a_function_that_reads_the_variable_it_was_first_given() -> Subject:
    a, b = weight("a"), weight("b")

    @tf.function
    def score(x, _given):
        # In the second call TensorFlow reads the other one here.
        return tf.reduce_sum(x @ a)

    return descend(lambda x: score(x, a) + score(x, b), [a, b])
