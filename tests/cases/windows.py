"""What a tape records, how gradients are asked for, and what becomes of them."""

import keras
import numpy as np
import tensorflow as tf

from gradaudit import Subject
from tests.cases.case import DATA, apply, case, weight


@case(connected="a", disconnected="b", cause={"b": ("outside-tape", "MatMul")})
def a_layer_called_before_the_tape() -> Subject:
    a, b = weight("a"), weight("b")

    def step(x):
        features = x @ b
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(features @ a)
        apply(tape.gradient(loss, [a, b]), [a, b])

    return Subject(step, [DATA])


@case(disconnected="a b", cause={"a": ("outside-tape", "AddV2"), "b": ("outside-tape", "AddV2")}, findings={"GA201": 1})
def a_sum_made_after_the_tape() -> Subject:
    a, b = weight("a"), weight("b")

    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(x @ a)
        loss += tf.reduce_sum(x @ b)
        apply(tape.gradient(loss, [a, b]), [a, b])

    return Subject(step, [DATA])


@case(connected="a", disconnected="b", cause={"b": ("dead-end", None)}, findings={"GA202": 1})
def a_term_added_to_the_reported_loss_alone() -> Subject:
    a, b = weight("a"), weight("b")

    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(x @ a)
            reported = loss + 1e-6 * tf.reduce_sum(x @ b)
        apply(tape.gradient(loss, [a, b]), [a, b])
        return reported

    return Subject(step, [DATA])


@case(connected="a", disconnected="b", cause={"b": ("outside-tape", "MatMul")}, findings={"GA201": 1})
def recording_that_is_stopped() -> Subject:
    a, b = weight("a"), weight("b")

    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(x @ a)
            with tape.stop_recording():
                features = x @ b
            loss += tf.reduce_sum(features)
        apply(tape.gradient(loss, [a, b]), [a, b])

    return Subject(step, [DATA])


@case(connected="a", disconnected="b", tape={"b": "none"}, cause={"b": ("outside-tape", None)})
def a_variable_that_is_not_watched() -> Subject:
    a, b = weight("a"), weight("b")

    def step(x):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(a)
            loss = tf.reduce_sum(x @ a @ b)
        apply(tape.gradient(loss, [a, b]), [a, b])

    return Subject(step, [DATA])


@case(connected="a b")
def a_step_that_is_a_function() -> Subject:
    a, b = weight("a"), weight("b")

    @tf.function
    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(x @ a @ b)
        apply(tape.gradient(loss, [a, b]), [a, b])

    return Subject(step, [DATA])


@case(connected="a", disconnected="b", cause={"b": ("dead-end", None)})
def a_dead_head_in_a_step_that_is_a_function() -> Subject:
    a, b = weight("a"), weight("b")

    @tf.function(jit_compile=True)
    def step(x):
        with tf.GradientTape() as tape:
            tf.nn.relu(x @ b)
            loss = tf.reduce_sum(x @ a)
        apply(tape.gradient(loss, [a, b]), [a, b])

    return Subject(step, [DATA])


@case(connected="a b")
def a_persistent_tape_with_two_losses() -> Subject:
    a, b = weight("a"), weight("b")

    def step(x):
        with tf.GradientTape(persistent=True) as tape:
            first, second = tf.reduce_sum(x @ a), tf.reduce_sum(x @ b)
        apply(tape.gradient(first, [a]), [a])
        apply(tape.gradient(second, [b]), [b])

    return Subject(step, [DATA])


@case(connected="g d")
def a_gan() -> Subject:
    g, d = weight("g"), weight("d")

    def step(x):
        with tf.GradientTape() as of_g, tf.GradientTape() as of_d:
            fake, real = tf.reduce_mean(x @ g @ d), tf.reduce_mean(x @ d)
            loss_g, loss_d = -fake, fake - real
        apply(of_g.gradient(loss_g, [g]), [g])
        apply(of_d.gradient(loss_d, [d]), [d])

    return Subject(step, [DATA])


@case(connected="d", disconnected="g", cause={"g": ("outside-tape", "MatMul")})
def a_gan_whose_generator_runs_outside_its_tape() -> Subject:
    g, d = weight("g"), weight("d")

    def step(x):
        fake = x @ g
        with tf.GradientTape() as of_g, tf.GradientTape() as of_d:
            score = tf.reduce_mean(fake @ d)
            loss_g, loss_d = -score, score - tf.reduce_mean(x @ d)
        apply(of_g.gradient(loss_g, [g]), [g])
        apply(of_d.gradient(loss_d, [d]), [d])

    return Subject(step, [DATA])


@case(connected="d")
def a_gradient_penalty_alone() -> Subject:
    d = weight("d")

    def step(x):
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                inner.watch(x)
                score = tf.reduce_sum(tf.square(x @ d))
            penalty = tf.reduce_mean(tf.square(inner.gradient(score, x)))
        apply(outer.gradient(penalty, [d]), [d])

    return Subject(step, [DATA])


@case(connected="a b")
def a_step_on_the_gradient_of_a_step() -> Subject:
    a, b = weight("a"), weight("b")

    def step(x):
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                loss = tf.reduce_sum(tf.square(x @ a @ b))
            fast = a - 0.1 * inner.gradient(loss, a)
            meta = tf.reduce_sum(x @ fast)
        apply(outer.gradient(meta, [a, b]), [a, b])

    return Subject(step, [DATA])


@case(connected="a b")
def an_inner_gradient_taken_after_the_inner_tape() -> Subject:
    a, b = weight("a"), weight("b")

    def step(x):
        with tf.GradientTape() as tape:
            first = tf.reduce_sum(tf.square(x @ a))
        gradient = tape.gradient(first, a)
        apply([gradient], [a])
        with tf.GradientTape() as second_tape:
            second = tf.reduce_sum(x @ b * tf.reduce_sum(gradient))
        apply(second_tape.gradient(second, [b]), [b])

    return Subject(step, [DATA])


@case(connected="a", disconnected="b", cause={"b": ("blocked", "StopGradient")})
def symbolic_gradients() -> Subject:
    a, b = weight("a"), weight("b")

    @tf.function
    def step(x):
        loss = tf.reduce_sum(x @ a * tf.stop_gradient(x @ b))
        apply(tf.gradients(loss, [a, b]), [a, b])

    return Subject(step, [DATA])


@case(connected="a", not_updated="b")
def a_gradient_that_is_never_applied() -> Subject:
    a, b = weight("a"), weight("b")

    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(x @ a @ b)
        gradients = tape.gradient(loss, [a, b])
        apply(gradients[:1], [a])

    return Subject(step, [DATA])


@case(connected="a", untracked="b")
def a_variable_that_no_gradient_is_asked_for() -> Subject:
    a, b = weight("a"), weight("b")

    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(x @ a @ b)
        apply(tape.gradient(loss, [a]), [a])

    return Subject(step, [DATA])


@case(connected="a b")
def gradients_that_are_clipped_together() -> Subject:
    a, b = weight("a"), weight("b")

    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(x @ a @ b)
        gradients, _ = tf.clip_by_global_norm(tape.gradient(loss, [a, b]), 1.0)
        apply(gradients, [a, b])

    return Subject(step, [DATA])


@case(connected="a")
def gradients_that_are_accumulated() -> Subject:
    a, total = weight("a"), weight("total", trainable=False, value=0.0)
    count = tf.Variable(0, trainable=False, name="count")

    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(x @ a)
        total.assign_add(tape.gradient(loss, a))
        count.assign_add(1)
        if_due = tf.cast(count % 4 == 0, tf.float32)
        a.assign_sub(0.1 * total * if_due)

    return Subject(step, [DATA], variables=[a])


@case(connected="a", disconnected="b", tape={"b": "zeros"}, cause={"b": ("never-read", None)})
def zeros_for_what_is_unconnected() -> Subject:
    a, b = weight("a"), weight("b")

    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(x @ a)
        apply(tape.gradient(loss, [a, b], unconnected_gradients="zero"), [a, b])

    return Subject(step, [DATA])


@case(connected="a", disconnected="b", tape={"b": "zeros"}, cause={"b": ("never-read", None)})
def a_jacobian_with_zeros_for_what_is_not_connected() -> Subject:
    a, b = weight("a"), weight("b")

    def step(x):
        with tf.GradientTape() as tape:
            losses = tf.reduce_sum(x @ a, 1)
        apply([tf.reduce_sum(j, 0) for j in tape.jacobian(losses, [a, b], unconnected_gradients="zero")], [a, b])

    return Subject(step, [DATA], variables=[a, b])


@case(connected="a b")
def a_jacobian() -> Subject:
    a, b = weight("a", 16), weight("b", 16)

    def step(x):
        with tf.GradientTape() as tape:
            losses = tf.reduce_sum(x * a * b, axis=1)
        apply([tf.reduce_sum(j, 0) for j in tape.jacobian(losses, [a, b])], [a, b])

    return Subject(step, [DATA])


@case(connected="table a")
def micro_batches_in_a_python_loop() -> Subject:
    table, a = weight("table", 40, 16), weight("a")

    def step(ids):
        total = None
        for part in tf.split(ids, 2):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(tf.gather(table, part) @ a)
            gradients = [tf.convert_to_tensor(g) for g in tape.gradient(loss, [table, a])]
            total = gradients if total is None else [t + g for t, g in zip(total, gradients, strict=True)]
        apply(total, [table, a])

    return Subject(step, [tf.TensorSpec([4], tf.int32)])


@case(connected="a b")
def gradients_that_a_function_returns() -> Subject:
    a, b = weight("a"), weight("b")

    @tf.function
    def gradients(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(x @ a @ b))
        return tape.gradient(loss, [a, b])

    return Subject(lambda x: apply(gradients(x), [a, b]), [DATA])


@case(connected="a", disconnected="b", cause={"b": ("blocked", "StopGradient")})
def loss_and_gradients_that_a_function_in_a_function_returns() -> Subject:
    a, b = weight("a"), weight("b")

    @tf.function
    def loss_and_gradients(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(x @ a * tf.stop_gradient(x @ b)))
        return loss, tape.gradient(loss, [a])

    @tf.function
    def step(x):
        _, gradients = loss_and_gradients(x)
        apply(gradients, [a])

    return Subject(step, [DATA], variables=[a, b])


@case(connected="a b")
def per_example_gradients_under_an_outer_tape() -> Subject:
    a, b = weight("a"), weight("b")

    def step(x):
        def norm(row):
            with tf.GradientTape() as inner:
                inner.watch(row)
                score = tf.reduce_sum(tf.square(row[None] @ a @ b))
            return tf.reduce_sum(tf.square(inner.gradient(score, row)))

        with tf.GradientTape() as outer:
            penalty = tf.reduce_mean(tf.map_fn(norm, x))
        apply(outer.gradient(penalty, [a, b]), [a, b])

    return Subject(step, [DATA])


@case(connected="a")
def gradients_that_are_accumulated_in_a_loop() -> Subject:
    a = weight("a")

    @tf.function
    def step(x):
        total = tf.zeros([16, 16])
        for i in tf.range(4):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(tf.square(x[i : i + 1] @ a))
            total += tape.gradient(loss, a)
        a.assign_sub(0.01 * total)

    return Subject(step, [DATA])


@case(connected="b", disconnected="a", tape={"a": "none"}, cause={"a": ("blocked", "MatMul")})
def symbolic_gradients_that_stop_at_a_tensor() -> Subject:
    a, b = weight("a"), weight("b")

    @tf.function
    def step(x):
        features = x @ a
        apply(tf.gradients(tf.reduce_sum(features @ b), [a, b], stop_gradients=[features]), [a, b])

    return Subject(step, [DATA])


@case(
    connected="b",
    disconnected="a",
    tape={"a": "zeros"},
    cause={"a": ("blocked", "StopGradient")},
    findings={"GA201": 1},
)
def symbolic_gradients_that_are_zeros_where_unconnected() -> Subject:
    a, b = weight("a"), weight("b")

    @tf.function
    def step(x):
        loss = tf.reduce_sum(x @ b) + tf.reduce_sum(tf.stop_gradient(x @ a))
        apply(tf.gradients(loss, [a, b], unconnected_gradients=tf.UnconnectedGradients.ZERO), [a, b])

    return Subject(step, [DATA])


@case(connected="a c", disconnected="b", tape={"b": "none"}, cause={"b": ("outside-tape", "MatMul")})
def symbolic_gradients_of_what_is_computed_around_their_function() -> Subject:
    a, b, c = weight("a"), weight("b"), weight("c")

    def step(x):
        features = x @ b

        @tf.function(autograph=False)
        def inside(features):
            return features @ c

        @tf.function(autograph=False)
        def train(x):
            loss = tf.reduce_sum(inside(features + x) @ a)
            return [gradient for gradient in tf.gradients(loss, [a, b, c]) if gradient is not None]

        apply(train(x), [a, c])

    return Subject(step, [DATA])


def dense(name: str, units: int, inputs: int = 16) -> keras.layers.Dense:
    layer = keras.layers.Dense(units, name=name)
    layer.build((None, inputs))
    return layer


@case(connected="head/*", disconnected="base/*", tape={"base/*": "none"}, cause={"base/*": ("outside-tape", "BiasAdd")})
def a_keras_layer_called_before_the_tape() -> Subject:
    base, head = dense("base", 8), dense("head", 1, 8)
    weights = base.trainable_variables + head.trainable_variables

    def step(x):
        features = base(x)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(head(features)))
        apply(tape.gradient(loss, weights), weights)

    return Subject(step, [DATA], variables=weights)


@case(
    disconnected="base/* head/*",
    tape={"*": "none"},
    cause={"*": ("outside-tape", "Mean")},
    findings={"GA201": 1},
)
def a_loss_computed_after_the_tape_of_its_model() -> Subject:
    base, head = dense("base", 8), dense("head", 1, 8)
    weights = base.trainable_variables + head.trainable_variables

    def step(x):
        with tf.GradientTape() as tape:
            predicted = head(base(x))
        loss = tf.reduce_mean(tf.square(predicted))
        apply(tape.gradient(loss, weights), weights)

    return Subject(step, [DATA], variables=weights)


@case(connected="head/*", disconnected="base/*", tape={"base/*": "none"}, cause={"base/*": ("outside-tape", "BiasAdd")})
def a_keras_layer_called_while_the_tape_does_not_record() -> Subject:
    base, head = dense("base", 8), dense("head", 1, 8)
    weights = base.trainable_variables + head.trainable_variables

    def step(x):
        with tf.GradientTape() as tape:
            with tape.stop_recording():
                features = base(x)
            loss = tf.reduce_mean(tf.square(head(features)))
        apply(tape.gradient(loss, weights), weights)

    return Subject(step, [DATA], variables=weights)


@case(connected="head/*", not_updated="base/*", moves={"base/*": False})
def zeros_that_an_optimizer_gets_for_a_gradient() -> Subject:
    base, head = dense("base", 8), dense("head", 1, 8)
    weights = base.trainable_variables + head.trainable_variables
    optimizer = keras.optimizers.SGD()
    optimizer.build(weights)

    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(head(base(x))))
        gradients = tape.gradient(loss, weights)
        optimizer.apply([tf.zeros_like(gradients[0]), tf.zeros([8]), *gradients[2:]], weights)

    return Subject(step, [DATA], variables=weights)


@case(connected="a b")
def a_function_with_a_tape_of_its_own_under_two_tapes() -> Subject:
    a, b = weight("a"), weight("b")

    @tf.function
    def slope(x):
        with tf.GradientTape() as inner:
            inner.watch(x)
            score = tf.tanh(x @ a)
        return tf.reduce_mean(tf.square(inner.gradient(score, x)))

    def step(x):
        slope(x)
        with tf.GradientTape() as first:
            loss = slope(x)
        apply([first.gradient(loss, a)], [a])
        with tf.GradientTape() as second:
            loss = slope(x @ b)
        apply([second.gradient(loss, b)], [b])

    return Subject(step, [DATA])


@case(connected="a", disconnected="b", tape={"b": "none"}, cause={"b": ("dead-end", None)})
def an_epoch_over_a_data_set() -> Subject:
    a, b = weight("a"), weight("b")
    batches = tf.data.Dataset.from_tensor_slices(np.ones((8, 16), np.float32)).batch(4)

    @tf.function
    def epoch():
        for x in batches:
            with tf.GradientTape() as tape:
                _ = x @ b
                loss = tf.reduce_mean(tf.tanh(x @ a))
            apply(tape.gradient(loss, [a, b]), [a, b])

    return Subject(epoch, [])


@case(disconnected="b", connected="a", tape={"b": "none"}, cause={"b": ("never-read", None)})
def gradients_asked_for_one_by_one() -> Subject:
    a, b = weight("a"), weight("b")

    def step(x):
        with tf.GradientTape(persistent=True) as tape:
            loss = tf.reduce_sum(x @ a)
        apply([tape.gradient(loss, a), tape.gradient(loss, b)], [a, b])

    return Subject(step, [DATA], variables=[a, b])


@case(connected="a", participation_only="b")
def a_variable_that_is_differentiated_itself() -> Subject:
    a, b = weight("a"), weight("b")

    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(x @ a)
        apply(tape.gradient([loss, b], [a, b]), [a, b])

    return Subject(step, [DATA])


@case(connected="a", disconnected="b", tape={"b": "none"}, cause={"b": ("blocked", "AssignVariableOp")})
def values_that_get_to_the_loss_through_a_variable() -> Subject:
    a, b = weight("a"), weight("b")
    bank = tf.Variable(tf.ones((4, 16)), trainable=False, name="bank")

    def step(x):
        with tf.GradientTape() as tape:
            bank.assign(x @ b)
            loss = tf.reduce_sum(tf.square(bank @ a))
        apply(tape.gradient(loss, [a, b]), [a, b])

    return Subject(step, [DATA], variables=[a, b])


def descent_on(variable: tf.Variable, x: tf.Tensor) -> tf.Tensor:
    """One step of a helper that is used for several variables, at one and the same line."""
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(x @ variable))
    apply([tape.gradient(loss, variable)], [variable])
    return loss


@case(connected="a b")
def one_line_that_trains_in_a_loop_over_a_data_set_and_outside_it() -> Subject:
    a, b = weight("a"), weight("b")
    batches = tf.data.Dataset.from_tensor_slices(np.ones((8, 16), np.float32)).batch(4)

    @tf.function
    def epoch(x):
        for rows in batches:
            descent_on(a, rows)
        return descent_on(b, x)

    return Subject(epoch, [DATA], variables=[a, b])


@case(connected="a")
def gradients_of_each_example_by_a_vectorized_map() -> Subject:
    a = weight("a")

    def step(x):
        def of_example(row):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(row[tf.newaxis] @ a))
            return tape.gradient(loss, a)

        apply([tf.reduce_mean(tf.vectorized_map(of_example, x), axis=0)], [a])

    return Subject(step, [DATA], variables=[a])


@case(connected="a", not_updated="b", moves={"b": True})
def a_gradient_that_is_forgotten_beside_a_renormalisation() -> Subject:
    a, b = weight("a"), weight("b")

    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(x @ a + x @ b))
        of_a, _ = tape.gradient(loss, [a, b])
        a.assign_sub(0.1 * of_a)
        b.assign(b / (1e-3 + tf.norm(a)))

    return Subject(step, [DATA], variables=[a, b])


@case(connected="a b")
def a_loss_that_a_loop_hands_out_in_the_sum_that_is_reported() -> Subject:
    a, b = weight("a"), weight("b")

    @tf.function
    def step(x):
        first = 0.0
        for _ in tf.range(2):
            first = descent_on(a, x)
        return first + descent_on(b, x)

    return Subject(step, [DATA], variables=[a, b])


@case(connected="a", disconnected="b", tape={"b": "none"}, cause={"b": ("outside-tape", "ReadVariableOp")})
def a_variable_that_is_watched_after_it_was_read() -> Subject:
    a, b = weight("a"), weight("b")

    def step(x):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(a)
            loss = tf.reduce_sum(x @ b @ a)
            tape.watch(b)
        apply(tape.gradient(loss, [a, b]), [a, b])

    return Subject(step, [DATA])


@case(
    connected="a b",
    disconnected="c d",
    tape={"c": "none", "d": "none"},
    cause={"c": ("outside-tape", "ReadVariableOp"), "d": ("outside-tape", "ReadVariableOp")},
    findings={"GA201": 1},
)
def variables_that_are_watched_after_functions_read_them() -> Subject:
    a, b, c, d = (weight(name) for name in "abcd")

    @tf.function
    def of_both(x):
        return tf.reduce_sum(x @ b @ a)

    @tf.function
    def of_one(x):
        return tf.reduce_sum(x @ c)

    def step(x):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(a)
            loss = of_both(x) + of_one(x)
            loss += tf.reduce_sum(tf.cond(tf.reduce_sum(x) > 0.0, lambda: a @ d, lambda: a))
            for variable in (b, c, d):
                tape.watch(variable)
        apply(tape.gradient(loss, [a, b, c, d]), [a, b, c, d])

    return Subject(step, [DATA])


@case(connected="a", untracked="b", findings={"GA201": 1})
def a_function_of_which_the_tape_watches_nothing() -> Subject:
    a, b = weight("a"), weight("b")

    @tf.function
    def penalty(x):
        return tf.reduce_sum(x @ b)

    def step(x):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(a)
            loss = penalty(x) + tf.reduce_sum(x @ a)
        apply(tape.gradient(loss, [a]), [a])

    return Subject(step, [DATA], variables=[a, b])


@case(connected="a", disconnected="b", tape={"b": "none"}, cause={"b": ("blocked", "StopGradient")})
def a_loop_that_reads_what_is_watched_for_a_function_behind_it() -> Subject:
    a, b = weight("a"), weight("b", 16)

    @tf.function
    def unused():
        return tf.reduce_sum(b)

    def step(x):
        with tf.GradientTape() as tape:
            rows = tf.scan(lambda row, added: row + added * tf.stop_gradient(b), x, tf.zeros([16]))
            unused()
            loss = tf.reduce_sum(rows @ a)
        apply(tape.gradient(loss, [a, b]), [a, b])

    return Subject(step, [DATA])


@case(connected="a")
def a_gradient_in_a_branch_before_one_through_the_condition() -> Subject:
    a = weight("a", 4, 16)

    def step(x):
        with tf.GradientTape(persistent=True) as outer:

            def with_a_gradient():
                with tf.GradientTape() as inner:
                    inner.watch(x)
                    square = tf.reduce_sum(tf.square(x))
                return x + 0.0 * inner.gradient(square, x), 2.0 * a

            first, second = tf.switch_case(tf.cast(x[0, 0] > 9.0, tf.int32), [with_a_gradient, lambda: (x, a * a)])
            with tf.GradientTape() as inner:
                inner.watch(first)
                product = tf.reduce_sum(tf.square(first) * second)
            loss = tf.reduce_sum(inner.gradient(product, first))
        apply(outer.gradient(loss, [a]), [a])

    return Subject(step, [DATA])


@case(connected="a c", disconnected="b", tape={"b": "none"}, cause={"b": ("dead-end", None)})
def a_gradient_penalty_that_is_also_logged_for_something_else() -> Subject:
    a, b, c = weight("a"), weight("b"), weight("c")

    @tf.function
    def penalty(x):
        with tf.GradientTape() as inner:
            inner.watch(x)
            score = tf.reduce_sum(tf.tanh(x @ c))
        return tf.reduce_mean(tf.square(inner.gradient(score, x)))

    def step(x):
        with tf.GradientTape() as tape:
            loss = penalty(x @ a)
            logged = penalty(x @ b)
        apply(tape.gradient(loss, [a, b, c]), [a, b, c])
        return logged

    return Subject(step, [DATA])


@case(connected="a c", zero_gradient="b", findings={"GA201": 1})
def two_calls_of_a_function_with_a_gradient_of_which_one_weighs_nothing() -> Subject:
    a, b, c = weight("a"), weight("b"), weight("c")

    @tf.function
    def slope_and_score(x):
        with tf.GradientTape() as inner:
            inner.watch(x)
            score = tf.reduce_sum(tf.tanh(x @ c))
        return tf.reduce_mean(tf.square(inner.gradient(score, x))), score

    def step(x):
        with tf.GradientTape() as tape:
            slope, _ = slope_and_score(x @ a)
            _, score = slope_and_score(x @ b)
            loss = slope + 0.0 * score
        apply(tape.gradient(loss, [a, b, c]), [a, b, c])

    return Subject(step, [DATA])


@case(connected="a", zero_gradient="b", findings={"GA201": 1})
def a_weight_of_zero_that_is_passed_into_the_function_that_trains() -> Subject:
    a, b = weight("a"), weight("b")

    @tf.function
    def train(x, of_b):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(x @ a)) + of_b * tf.reduce_mean(tf.square(x @ b))
        apply(tape.gradient(loss, [a, b]), [a, b])

    return Subject(lambda x: train(x, tf.constant(0.0)), [DATA], variables=[a, b])


@case(connected="a b")
def a_weight_that_is_passed_in_as_zero_and_as_one() -> Subject:
    a, b = weight("a"), weight("b")

    @tf.function
    def train(x, of_b):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(x @ a)) + of_b * tf.reduce_mean(tf.square(x @ b))
        apply(tape.gradient(loss, [a, b]), [a, b])

    def step(x):
        train(x, tf.constant(0.0))
        train(x, tf.constant(1.0))

    return Subject(step, [DATA], variables=[a, b])


@case(connected="b", not_updated="a c")
def gradients_that_are_masked_away_before_they_are_applied() -> Subject:
    a, b, c = weight("a"), weight("b"), weight("c")
    optimizer = keras.optimizers.SGD()

    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(x @ a @ b @ c))
        of_a, of_b, of_c = tape.gradient(loss, [a, b, c])
        optimizer.apply_gradients([(of_a * 0.0, a), (of_b, b)])
        c.assign_sub(0.1 * of_c * tf.zeros_like(of_c))

    return Subject(step, [DATA])
