"""Elements of lists and slices of tensors: those that are read, and those that never are."""

import tensorflow as tf

from gradaudit import Subject
from tests.cases.case import case, descend, weight

UNREAD = {"tape": {"b": "zeros"}, "cause": {"b": ("dead-end", None)}}
"""What is true of a weight whose values end in an element that nobody reads."""


@case(connected="a", disconnected="b", **UNREAD)
def the_first_of_a_stack() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(lambda x: tf.reduce_sum(tf.stack([x @ a, x @ b])[0]), [a, b])


@case(connected="a b")
def both_of_a_stack() -> Subject:
    a, b = weight("a"), weight("b")

    def loss(x):
        heads = tf.stack([x @ a, x @ b], axis=1)
        return tf.reduce_sum(tf.square(heads[:, 0]) - heads[:, 1])

    return descend(loss, [a, b])


@case(connected="a", disconnected="b", **UNREAD)
def the_last_of_a_stack_along_the_last_axis() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(lambda x: tf.reduce_sum(tf.stack([x @ b, x @ a], axis=-1)[..., -1]), [a, b])


@case(connected="a", disconnected="b", **UNREAD)
def a_stack_that_is_unstacked() -> Subject:
    a, b = weight("a"), weight("b")

    def loss(x):
        first, _ = tf.unstack(tf.stack([x @ a, x @ b]))
        return tf.reduce_sum(first)

    return descend(loss, [a, b])


@case(connected="a", disconnected="b", **UNREAD)
def one_part_of_a_concatenation() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(lambda x: tf.reduce_sum(tf.concat([x @ a, x @ b], axis=1)[:, :16]), [a, b])


@case(connected="a b")
def a_slice_across_the_seam_of_a_concatenation() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(lambda x: tf.reduce_sum(tf.concat([x @ a, x @ b], axis=1)[:, 8:24]), [a, b])


@case(connected="a", disconnected="b", **UNREAD)
def a_concatenation_that_is_split_again() -> Subject:
    a, b = weight("a"), weight("b")

    def loss(x):
        mean, _ = tf.split(tf.concat([x @ a, x @ b], axis=-1), 2, axis=-1)
        return tf.reduce_sum(mean)

    return descend(loss, [a, b])


@case(connected="a b")
def one_half_of_a_split_that_both_weights_have_made() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(lambda x: tf.reduce_sum(tf.split(x @ a @ b, 2, axis=1)[0]), [a, b])


@case(connected="a", disconnected="b", **UNREAD)
def an_unequal_split_of_a_concatenation() -> Subject:
    a, b = weight("a"), weight("b", 16, 4)

    def loss(x):
        joined = tf.concat([x @ a, x @ b], axis=1)
        return tf.reduce_sum(tf.split(joined, [16, 4], axis=1)[0])

    return descend(loss, [a, b])


@case(connected="a", disconnected="b", **UNREAD)
def an_elementwise_op_between_stack_and_slice() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(lambda x: tf.reduce_sum(tf.tanh(tf.stack([x @ a, x @ b]) * 2.0)[0]), [a, b])


@case(connected="a", disconnected="b", **UNREAD)
def a_transposition_between_stack_and_slice() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(lambda x: tf.reduce_sum(tf.transpose(tf.stack([x @ a, x @ b]), [1, 0, 2])[:, 0]), [a, b])


@case(connected="a", disconnected="b", **UNREAD)
def a_reshape_between_stack_and_slice() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(lambda x: tf.reduce_sum(tf.reshape(tf.stack([x @ a, x @ b]), [2, 64])[0]), [a, b])


@case(connected="a b")
def a_sum_over_a_stack_before_the_slice() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(lambda x: tf.reduce_sum(tf.reduce_sum(tf.stack([x @ a, x @ b]), axis=0)[0]), [a, b])


@case(connected="a b")
def a_softmax_over_a_stack_before_the_slice() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(lambda x: tf.reduce_sum(tf.nn.softmax(tf.stack([x @ a, x @ b]), axis=0)[0]), [a, b])


@case(connected="a", disconnected="b", **UNREAD)
def a_gather_with_a_constant_index() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(lambda x: tf.reduce_sum(tf.gather(tf.stack([x @ b, x @ a]), 1)), [a, b])


@case(connected="a c", disconnected="b", **UNREAD)
def a_gather_with_constant_indices() -> Subject:
    a, b, c = weight("a"), weight("b"), weight("c")
    return descend(lambda x: tf.reduce_sum(tf.gather(tf.stack([x @ a, x @ b, x @ c]), [0, 2])), [a, b, c])


@case(connected="a b")
def a_gather_with_an_index_from_the_data() -> Subject:
    a, b = weight("a"), weight("b")

    def loss(x):
        return tf.reduce_sum(tf.gather(tf.stack([x @ a, x @ b]), tf.cast(tf.reduce_sum(x) > 0.0, tf.int32)))

    return descend(loss, [a, b])


@case(connected="a c", disconnected="b", **UNREAD)
def every_other_element() -> Subject:
    a, b, c = weight("a"), weight("b"), weight("c")
    return descend(lambda x: tf.reduce_sum(tf.stack([x @ a, x @ b, x @ c])[::2]), [a, b, c])


@case(connected="a", disconnected="b", **UNREAD)
def the_class_token_of_a_sequence() -> Subject:
    a, b = weight("a"), weight("b")

    def loss(x):
        sequence = tf.concat([(x @ a)[:, None], tf.tile((x @ b)[:, None], [1, 3, 1])], axis=1)
        return tf.reduce_sum(sequence[:, 0])

    return descend(loss, [a, b])


@case(connected="a", disconnected="b", **UNREAD)
def a_slot_of_an_array_that_nobody_reads() -> Subject:
    a, b = weight("a"), weight("b")

    def loss(x):
        array = tf.TensorArray(tf.float32, 2).write(0, x @ a).write(1, x @ b)
        return tf.reduce_sum(array.read(0))

    return descend(loss, [a, b])


@case(connected="a b")
def an_array_that_is_stacked_and_summed() -> Subject:
    a, b = weight("a"), weight("b")

    def loss(x):
        array = tf.TensorArray(tf.float32, 2).write(0, x @ a).write(1, x @ b)
        return tf.reduce_sum(array.stack())

    return descend(loss, [a, b])


@case(connected="a", disconnected="b", **UNREAD)
def one_element_of_a_stacked_array() -> Subject:
    a, b = weight("a"), weight("b")

    def loss(x):
        array = tf.TensorArray(tf.float32, 2).write(0, x @ a).write(1, x @ b)
        return tf.reduce_sum(array.stack()[0])

    return descend(loss, [a, b])


@case(connected="a", disconnected="b", **UNREAD)
def a_list_of_tensors_filled_in_a_python_loop() -> Subject:
    a, b = weight("a"), weight("b")

    def loss(x):
        array = tf.TensorArray(tf.float32, 4, clear_after_read=False)
        for i in range(4):
            array = array.write(i, x @ (a if i % 2 else b))
        return tf.reduce_sum(array.read(1) * array.read(3))

    return descend(loss, [a, b])


@case(connected="a b")
def an_array_filled_and_read_in_a_loop() -> Subject:
    a, b = weight("a"), weight("b")

    def loss(x):
        array = tf.TensorArray(tf.float32, 4, element_shape=[4, 16])
        _, array, _ = tf.while_loop(
            lambda i, *_: i < 4,
            lambda i, array, state: (i + 1, array.write(i, state), tf.tanh(state @ b)),
            (0, array, x @ a),
        )
        return tf.reduce_sum(array.stack())

    return descend(loss, [a, b])


@case(connected="a", disconnected="b", **UNREAD)
def an_array_filled_in_a_loop_and_never_read() -> Subject:
    a, b = weight("a"), weight("b")

    def loss(x):
        array = tf.TensorArray(tf.float32, 4, element_shape=[4, 16])
        _, _, state = tf.while_loop(
            lambda i, *_: i < 4,
            lambda i, array, state: (i + 1, array.write(i, state @ b), tf.tanh(state @ a)),
            (0, array, x),
        )
        return tf.reduce_sum(state)

    return descend(loss, [a, b])


@case(connected="a b")
def the_last_state_of_a_recurrence_in_a_loop() -> Subject:
    a, b = weight("a"), weight("b")

    def loss(x):
        states = tf.scan(lambda state, row: tf.tanh(state @ a + row @ b), tf.stack([x, x + 1.0]), tf.ones([4, 16]))
        return tf.reduce_sum(states[-1])

    return descend(loss, [a, b])


@case(connected="a", disconnected="b", **UNREAD)
def one_of_two_results_of_a_map() -> Subject:
    a, b = weight("a"), weight("b")

    def loss(x):
        heads = tf.map_fn(lambda row: (row[None] @ a, row[None] @ b), x, fn_output_signature=(tf.float32, tf.float32))
        return tf.reduce_sum(heads[0])

    return descend(loss, [a, b])


@case(connected="a", disconnected="b", **UNREAD)
def one_of_two_states_of_a_scan() -> Subject:
    a, b = weight("a"), weight("b")

    def loss(x):
        used, _ = tf.scan(
            lambda states, row: (tf.tanh(states[0] @ a + row), states[1] @ b + row),
            x[:, None],
            (tf.ones([1, 16]), tf.ones([1, 16])),
        )
        return tf.reduce_sum(used)

    return descend(loss, [a, b])


@case(connected="a b")
def a_stack_that_a_matrix_product_mixes() -> Subject:
    a, b = weight("a"), weight("b")

    def loss(x):
        mixed = tf.einsum("ij,jbf->ibf", tf.constant([[1.0, 2.0], [3.0, 4.0]]), tf.stack([x @ a, x @ b]))
        return tf.reduce_sum(mixed[0])

    return descend(loss, [a, b])


@case(connected="a", disconnected="b", **UNREAD)
def padding_that_is_cut_off_again() -> Subject:
    a, b = weight("a"), weight("b")

    def loss(x):
        queries, memory = x @ a, x @ b
        return tf.reduce_sum(tf.square(tf.concat([memory, queries], axis=0)[4:]))

    return descend(loss, [a, b])


@case(connected="a", disconnected="b", **UNREAD)
def a_reversed_stack() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(lambda x: tf.reduce_sum(tf.reverse(tf.stack([x @ b, x @ a]), [0])[0]), [a, b])


@case(connected="a", disconnected="b", **UNREAD)
def a_stack_that_a_function_takes_apart() -> Subject:
    a, b = weight("a"), weight("b")

    @tf.function
    def first(values):
        return values[0]

    return descend(lambda x: tf.reduce_sum(first(tf.stack([x @ a, x @ b]))), [a, b])


@case(connected="a", disconnected="b", tape={"b": "zeros"}, cause={"b": ("dead-end", "Complex")})
def an_imaginary_part_of_which_only_the_real_one_is_read() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(lambda x: tf.reduce_sum(x @ tf.math.real(tf.complex(a, b))), [a, b])


@case(connected="a c", disconnected="b", tape={"b": "zeros"}, cause={"b": ("dead-end", "Pack")})
def a_real_part_of_which_only_the_imaginary_one_is_read() -> Subject:
    a, b, c = weight("a"), weight("b"), weight("c")

    def loss(x):
        number = tf.complex(b, a) + tf.cast(tf.complex(b, c), tf.complex64)
        turned = tf.stack([tf.transpose(tf.math.conj(number)), tf.complex(b, b)])[0]
        return tf.reduce_sum(x @ tf.math.imag(tf.reshape(turned, [16, 16])))

    return descend(loss, [a, b, c])


@case(connected="a", disconnected="b", tape={"b": "zeros"}, cause={"b": ("dead-end", "Complex")})
def a_complex_number_that_is_cast_to_a_real_one() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(lambda x: tf.reduce_sum(x @ tf.cast(tf.complex(a, b), tf.float32)), [a, b])


@case(connected="b", disconnected="a", tape={"a": "zeros"}, cause={"a": ("dead-end", "Cast")})
def a_real_number_that_is_cast_to_a_complex_one() -> Subject:
    a, b = weight("a"), weight("b")

    def loss(x):
        return tf.reduce_sum(x @ tf.math.imag(tf.cast(a, tf.complex64) + tf.complex(a, b)))

    return descend(loss, [a, b])


@case(connected="a b c d e f g")
def parts_of_complex_numbers_that_a_product_a_transform_or_a_length_mixes() -> Subject:
    a, b, c, d, e, f, g = (weight(name) for name in "abcdefg")

    def loss(x):
        product = tf.math.real(tf.complex(a, b) * tf.complex(x @ a, x @ b)[:1])
        turned = tf.math.imag(tf.signal.fft(tf.complex(x @ c, x @ d)))
        length = tf.abs(tf.complex(x @ e, x @ f))
        spectrum = tf.math.real(tf.signal.rfft(x @ g))
        return sum(tf.reduce_mean(tf.square(value)) for value in (product, turned, length, spectrum))

    return descend(loss, [a, b, c, d, e, f, g])


@case(connected="a", disconnected="b", tape={"b": "zeros"}, cause={"b": ("dead-end", "Complex")})
def a_real_part_behind_what_moves_elements() -> Subject:
    a, b = weight("a"), weight("b")

    def loss(x):
        number = tf.roll(tf.linalg.adjoint(tf.complex(a, b)), 1, axis=0)
        return tf.reduce_sum(x @ tf.math.real(tf.cumsum(number)))

    return descend(loss, [a, b])


def weights_of(*numbers: int) -> str:
    return " ".join(f"w{number}" for number in range(*numbers))


@case(
    connected=weights_of(20),
    participation_only=weights_of(20, 40),
    disconnected=weights_of(40, 42),
    tape={"w4[01]": "zeros"},
    cause={"w4[01]": ("dead-end", None)},
)
def slices_for_tasks_and_as_many_for_participation() -> Subject:
    weights = [weight(f"w{number}", 16) for number in range(42)]

    def loss(x):
        stacked = tf.stack(weights)
        task = tf.add_n([tf.reduce_sum(tf.square(x * stacked[number])) for number in range(20)])
        with tf.name_scope("gradient_participation"):
            return task + 1e-6 * tf.add_n([tf.reduce_sum(tf.square(stacked[number])) for number in range(20, 40)])

    return descend(loss, weights)


@case(
    connected=weights_of(33),
    disconnected=weights_of(33, 40),
    tape={"w3[3-9]": "zeros"},
    cause={"w3[3-9]": ("dead-end", None)},
)
def slices_of_a_stack_for_many_terms() -> Subject:
    weights = [weight(f"w{number}", 16) for number in range(40)]

    def loss(x):
        stacked = tf.stack(weights)
        return tf.add_n([tf.reduce_sum(tf.square(x * stacked[number])) for number in range(33)])

    return descend(loss, weights)
