"""Training recipes that differentiate more than one thing: GANs, codebooks, distillation, contrast, reinforcement."""

import keras
import tensorflow as tf

from gradaudit import Subject
from tests.cases.case import DATA, apply, case, descend, weight


def nearest(codebook: tf.Variable, latent: tf.Tensor) -> tf.Tensor:
    """The entries of a codebook that lie next to the rows of a tensor, chosen by argmin."""
    distances = tf.reduce_sum(tf.square(latent[:, None] - codebook[None]), axis=-1)
    return tf.gather(codebook, tf.argmin(distances, axis=-1))


@case(connected="encoder decoder", disconnected="codebook", cause={"codebook": ("blocked", "StopGradient")})
def a_codebook_without_its_loss() -> Subject:
    encoder, codebook, decoder = weight("encoder"), weight("codebook", 8, 16), weight("decoder")

    def loss(x):
        latent = x @ encoder
        code = nearest(codebook, latent)
        commitment = tf.reduce_mean(tf.square(latent - tf.stop_gradient(code)))
        return tf.reduce_mean(tf.square((latent + tf.stop_gradient(code - latent)) @ decoder - x)) + commitment

    return descend(loss, [encoder, codebook, decoder])


@case(connected="encoder codebook decoder")
def a_codebook_with_its_loss() -> Subject:
    encoder, codebook, decoder = weight("encoder"), weight("codebook", 8, 16), weight("decoder")

    def loss(x):
        latent = x @ encoder
        code = nearest(codebook, latent)
        pull = tf.reduce_mean(tf.square(tf.stop_gradient(latent) - code))
        return tf.reduce_mean(tf.square((latent + tf.stop_gradient(code - latent)) @ decoder - x)) + pull

    return descend(loss, [encoder, codebook, decoder])


@case(connected="codebook decoder", disconnected="encoder", cause={"encoder": ("blocked", "ArgMin")})
def a_codebook_without_a_straight_through_estimator() -> Subject:
    encoder, codebook, decoder = weight("encoder"), weight("codebook", 8, 16), weight("decoder")
    return descend(
        lambda x: tf.reduce_mean(tf.square(nearest(codebook, x @ encoder) @ decoder - x)), [encoder, codebook, decoder]
    )


@case(connected="decoder encoder", frozen="codebook", moves={"codebook": True})
def a_codebook_that_follows_by_moving_averages() -> Subject:
    encoder, decoder = weight("encoder"), weight("decoder")
    codebook = weight("codebook", 8, 16, trainable=False)
    variables = [encoder, decoder]

    def step(x):
        with tf.GradientTape() as tape:
            latent = x @ encoder
            code = nearest(codebook, latent)
            loss = tf.reduce_mean(tf.square((latent + tf.stop_gradient(code - latent)) @ decoder - x))
        apply(tape.gradient(loss, variables), variables)
        codebook.assign(0.99 * codebook + 0.01 * tf.reduce_mean(latent, axis=0))

    return Subject(step, [DATA], variables=[encoder, codebook, decoder])


@case(connected="generator critic")
def a_gan_with_a_gradient_penalty() -> Subject:
    generator, critic = weight("generator"), weight("critic")

    def score(images):
        return tf.reduce_sum(tf.tanh(images @ critic), axis=1)

    def step(x):
        noise = tf.random.normal([4, 16])
        with tf.GradientTape() as of_critic:
            fake = noise @ generator
            with tf.GradientTape() as inner:
                mixed = x + 0.5 * (fake - x)
                inner.watch(mixed)
                value = score(mixed)
            slopes = tf.norm(inner.gradient(value, mixed) + 1e-6, axis=1)
            loss = tf.reduce_mean(score(fake) - score(x)) + 10.0 * tf.reduce_mean(tf.square(slopes - 1.0))
        apply(of_critic.gradient(loss, [critic]), [critic])
        with tf.GradientTape() as of_generator:
            loss = -tf.reduce_mean(score(noise @ generator))
        apply(of_generator.gradient(loss, [generator]), [generator])

    return Subject(step, [DATA])


@case(
    connected="discriminator",
    disconnected="generator",
    tape={"generator": "none"},
    cause={"generator": ("blocked", "StopGradient")},
)
def a_gan_whose_generator_is_detached_for_both_losses() -> Subject:
    generator, discriminator = weight("generator"), weight("discriminator")

    def step(x):
        with tf.GradientTape(persistent=True) as tape:
            fake = tf.stop_gradient(x @ generator)
            score = tf.reduce_mean(tf.tanh(fake @ discriminator))
            loss_g, loss_d = -score, score - tf.reduce_mean(tf.tanh(x @ discriminator))
        apply(tape.gradient(loss_g, [generator]), [generator])
        apply(tape.gradient(loss_d, [discriminator]), [discriminator])

    return Subject(step, [DATA])


@case(connected="generator discriminator")
def a_gan_with_two_optimizers_of_keras() -> Subject:
    generator, discriminator = weight("generator"), weight("discriminator")
    of_g, of_d = keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.1)
    of_g.build([generator])
    of_d.build([discriminator])

    def step(x):
        with tf.GradientTape() as tape_g, tf.GradientTape() as tape_d:
            score = tf.reduce_mean(tf.tanh(x @ generator @ discriminator))
            loss_g, loss_d = -score, score - tf.reduce_mean(tf.tanh(x @ discriminator))
        of_g.apply_gradients([(tape_g.gradient(loss_g, generator), generator)])
        of_d.apply_gradients([(tape_d.gradient(loss_d, discriminator), discriminator)])

    return Subject(step, [DATA])


@case(connected="generator", not_updated="discriminator")
def a_gan_that_applies_the_generators_gradients_twice() -> Subject:
    generator, discriminator = weight("generator"), weight("discriminator")

    def step(x):
        with tf.GradientTape() as tape_g, tf.GradientTape() as tape_d:
            score = tf.reduce_mean(tf.tanh(x @ generator @ discriminator))
            loss_g, loss_d = -score, score - tf.reduce_mean(tf.tanh(x @ discriminator))
        gradients = tape_g.gradient(loss_g, [generator])
        tape_d.gradient(loss_d, [discriminator])
        apply(gradients, [generator])
        apply(gradients, [generator])

    return Subject(step, [DATA])


@case(connected="a", disconnected="b", tape={"b": "none"}, cause={"b": ("dead-end", None)}, findings={"GA202": 1})
def a_regularizer_added_after_the_differentiated_tensor() -> Subject:
    a, b = weight("a"), weight("b")

    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(x @ a)
        total = loss + 0.1 * tf.reduce_sum(tf.square(x @ b))
        apply(tape.gradient(loss, [a, b]), [a, b])
        return total

    return Subject(step, [DATA])


@case(connected="a", disconnected="b", cause={"b": ("dead-end", None)})
def a_wrapper_that_minimizes() -> Subject:
    a, b = weight("a"), weight("b")

    class Minimizer:
        def minimize(self, loss, variables):
            with tf.GradientTape() as tape:
                value = loss()
            apply(tape.gradient(value, variables), variables)

    def step(x):
        def loss():
            tf.nn.relu(x @ b)
            return tf.reduce_sum(x @ a)

        Minimizer().minimize(loss, [a, b])

    return Subject(step, [DATA])


@case(connected="student", disconnected="teacher", cause={"teacher": ("blocked", "StopGradient")})
def a_teacher_in_the_list_of_variables() -> Subject:
    student, teacher = weight("student"), weight("teacher")
    return descend(lambda x: tf.reduce_mean(tf.square(x @ student - tf.stop_gradient(x @ teacher))), [student, teacher])


@case(connected="policy value")
def an_actor_and_a_critic() -> Subject:
    policy, value = weight("policy"), weight("value", 16, 1)

    def loss(x):
        logits = tf.nn.log_softmax(x @ policy)
        chosen = tf.reduce_sum(logits * tf.one_hot(tf.argmax(x, axis=1), 16), axis=1)
        advantage = 1.0 - tf.squeeze(x @ value, 1)
        return tf.reduce_mean(-chosen * tf.stop_gradient(advantage)) + tf.reduce_mean(tf.square(advantage))

    return descend(loss, [policy, value])


@case(connected="policy", disconnected="value", cause={"value": ("blocked", "StopGradient")})
def an_actor_and_a_critic_without_the_critics_loss() -> Subject:
    policy, value = weight("policy"), weight("value", 16, 1)

    def loss(x):
        logits = tf.nn.log_softmax(x @ policy)
        chosen = tf.reduce_sum(logits * tf.one_hot(tf.argmax(x, axis=1), 16), axis=1)
        return tf.reduce_mean(-chosen * tf.stop_gradient(1.0 - tf.squeeze(x @ value, 1)))

    return descend(loss, [policy, value])


@case(connected="policy", disconnected="scale", cause={"scale": ("blocked", "StatelessMultinomial")})
def a_sample_from_a_categorical_distribution() -> Subject:
    policy, scale = weight("policy"), weight("scale")

    def loss(x):
        drawn = tf.random.stateless_categorical(x @ scale, 1, seed=[1, 2])[:, 0]
        return tf.reduce_sum(tf.nn.log_softmax(x @ policy) * tf.one_hot(drawn, 16))

    return descend(loss, [policy, scale])


@case(connected="mean deviation")
def a_sample_by_reparameterization() -> Subject:
    mean, deviation = weight("mean"), weight("deviation")

    def loss(x):
        drawn = x @ mean + tf.exp(0.1 * x @ deviation) * tf.random.normal([4, 16])
        return tf.reduce_mean(tf.square(drawn - x))

    return descend(loss, [mean, deviation])


@case(connected="query", disconnected="key", cause={"key": ("blocked", "StopGradient")})
def momentum_contrast_with_the_key_encoder_in_the_list() -> Subject:
    query, key = weight("query"), weight("key")

    def loss(x):
        logits = tf.matmul(x @ query, tf.stop_gradient(x @ key), transpose_b=True)
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=tf.range(4), logits=logits))

    return descend(loss, [query, key])


@case(connected="a", disconnected="b", tape={"b": "none"}, cause={"b": ("dead-end", None)})
def none_that_users_code_drops() -> Subject:
    a, b = weight("a"), weight("b")

    def step(x):
        with tf.GradientTape() as tape:
            tf.reduce_sum(x @ b)
            loss = tf.reduce_sum(x @ a)
        pairs = zip(tape.gradient(loss, [a, b]), [a, b], strict=True)
        for gradient, variable in [(g, v) for g, v in pairs if g is not None]:
            variable.assign_sub(0.1 * gradient)

    return Subject(step, [DATA])


@case(connected="a", disconnected="b", tape={"b": "none"}, cause={"b": ("never-read", None)})
def none_that_users_code_turns_into_zeros() -> Subject:
    a, b = weight("a"), weight("b")

    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(x @ a)
        gradients = tape.gradient(loss, [a, b])
        for gradient, variable in zip(gradients, [a, b], strict=True):
            variable.assign_sub(0.1 * (tf.zeros(variable.shape) if gradient is None else gradient))

    return Subject(step, [DATA])


@case(connected="a b", frozen="slow", moves={"slow": True})
def a_moving_average_of_weights() -> Subject:
    a, b, slow = weight("a"), weight("b"), weight("slow", trainable=False)

    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.tanh(x @ a) @ b)
        apply(tape.gradient(loss, [a, b]), [a, b])
        slow.assign(0.9 * slow + 0.1 * a)

    return Subject(step, [DATA], variables=[a, b, slow])


@case(connected="a", disconnected="steps", tape={"steps": "none"}, cause={"steps": ("blocked", None)})
def a_counter_in_the_list_of_variables() -> Subject:
    a, steps = weight("a"), tf.Variable([1, 2], dtype=tf.int32, name="steps")
    return descend(lambda x: tf.reduce_sum(x @ a) * tf.cast(tf.reduce_sum(steps), tf.float32), [a, steps])


@case(connected="a table")
def a_table_that_is_read_by_rows_and_whole() -> Subject:
    a, table = weight("a"), weight("table", 20, 16)
    ids = tf.TensorSpec([4], tf.int32)
    return descend(
        lambda i: tf.reduce_sum(tf.matmul(tf.nn.embedding_lookup(table, i) @ a, table, transpose_b=True)),
        [a, table],
        inputs=[ids],
    )


@case(connected="a b")
def a_ragged_batch() -> Subject:
    a, b = weight("a"), weight("b")
    ragged = tf.RaggedTensorSpec([4, None, 16], tf.float32, ragged_rank=1)
    return descend(
        lambda x: tf.reduce_sum(tf.reduce_mean(x.with_flat_values(x.flat_values @ a), axis=1) @ b),
        [a, b],
        inputs=[ragged],
    )


@case(connected="a")
def a_sparse_batch() -> Subject:
    a = weight("a")
    sparse = tf.SparseTensorSpec([4, 16], tf.float32)
    return descend(lambda x: tf.reduce_sum(tf.sparse.sparse_dense_matmul(x, a)), [a], inputs=[sparse])


@case(connected="a b")
def python_that_differentiates() -> Subject:
    a, b = weight("a"), weight("b")

    def loss(x):
        y = tf.py_function(lambda y: y * y, [x @ b], tf.float32)
        return tf.reduce_sum(x @ a * tf.ensure_shape(y, [4, 16]))

    return descend(loss, [a, b])


@case(connected="a", disconnected="b", tape={"b": "zeros"}, cause={"b": ("dead-end", None)})
def a_loop_in_a_branch_whose_second_result_is_dropped() -> Subject:
    a, b = weight("a"), weight("b")

    def loss(x):
        def rounds():
            return tf.while_loop(lambda i, *_: i < 3, lambda i, u, v: (i + 1, tf.tanh(u @ a), v @ b), (0, x, x))[1:]

        used, _ = tf.cond(tf.reduce_sum(x) > 0.0, rounds, lambda: (x @ a, x @ b))
        return tf.reduce_sum(used)

    return descend(loss, [a, b])


@case(connected="a", disconnected="b", cause={"b": ("blocked", None)})
def a_weight_that_only_counts_the_rounds_of_a_loop() -> Subject:
    a, b = weight("a"), weight("b")

    def loss(x):
        limit = tf.minimum(tf.reduce_sum(tf.abs(x @ b)), 5.0)
        _, state = tf.while_loop(lambda i, _: i < limit, lambda i, s: (i + 1.0, s @ a), (0.0, x))
        return tf.reduce_sum(state)

    return descend(loss, [a, b])


@case(connected="a b c")
def a_case_of_three() -> Subject:
    a, b, c = weight("a"), weight("b"), weight("c")

    def loss(x):
        total = tf.reduce_sum(x)
        branches = [(total < -1.0, lambda: x @ a), (total > 1.0, lambda: x @ b)]
        return tf.reduce_sum(tf.case(branches, default=lambda: x @ c))

    return descend(loss, [a, b, c])


@case(connected="a b")
def a_custom_gradient_in_a_function() -> Subject:
    a, b = weight("a"), weight("b")

    @tf.custom_gradient
    def reversed_gradient(value):
        return tf.identity(value), lambda upstream: -upstream

    @tf.function
    def adversary(x):
        return reversed_gradient(x @ a) @ b

    return descend(lambda x: tf.reduce_sum(adversary(x)), [a, b])


@case(connected="a", disconnected="b", cause={"b": ("blocked", None)})
def a_custom_gradient_in_a_function_that_returns_none() -> Subject:
    a, b = weight("a"), weight("b")

    @tf.custom_gradient
    def product(left, right):
        return left * right, lambda upstream: (upstream * right, None)

    @tf.function
    def joined(x):
        return product(x @ a, x @ b)

    return descend(lambda x: tf.reduce_sum(joined(x)), [a, b])


@case(connected="a", disconnected="b", tape={"b": "zeros"}, cause={"b": ("dead-end", None)})
def a_dead_head_in_a_function_that_is_compiled() -> Subject:
    a, b = weight("a"), weight("b")

    @tf.function(jit_compile=True)
    def heads(x):
        return {"used": tf.tanh(x @ a), "unused": tf.tanh(x @ b)}

    return descend(lambda x: tf.reduce_sum(heads(x)["used"]), [a, b])


@case(connected="phase")
def a_complex_weight() -> Subject:
    phase = tf.Variable(tf.complex(tf.ones([16]), tf.ones([16])), name="phase")
    return descend(lambda x: tf.reduce_sum(tf.square(tf.abs(tf.cast(x, tf.complex64) * phase))), [phase])


@case(connected="a", opaque="b")
def a_count_of_values_by_an_op_that_has_no_gradient() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(lambda x: tf.reduce_sum(x @ a) + tf.reduce_sum(tf.unique(tf.reshape(x @ b, [-1]))[0]), [a, b])


@case(connected="a b")
def vectorized_per_example_losses() -> Subject:
    a, b = weight("a"), weight("b")
    return descend(
        lambda x: tf.reduce_sum(
            tf.vectorized_map(lambda row: tf.linalg.matvec(b, tf.tanh(tf.linalg.matvec(a, row))), x)
        ),
        [a, b],
    )
