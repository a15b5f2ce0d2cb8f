"""Keras models as they are compiled and fitted, with the parts that were forgotten."""

import random

import keras
import tensorflow as tf
from keras import layers

from gradaudit import Subject
from tests.cases.case import apply, case, descend

X = tf.TensorSpec([4, 16], tf.float32)
Y = tf.TensorSpec([4, 1], tf.float32)
TOKENS = tf.TensorSpec([4, 6], tf.int32)
SEQUENCE = tf.TensorSpec([4, 6, 16], tf.float32)
UNUSED = {"tape": {"unused/*": "none"}, "cause": {"unused/*": ("dead-end", None)}}


def compiled(model: keras.Model, **options) -> keras.Model:
    model.compile(**({"optimizer": keras.optimizers.SGD(0.1), "loss": "mse"} | options))
    return model


def chain(*stages, **options) -> keras.Model:
    """Layers one after the other, from 16 features to a head of one."""
    inputs = outputs = keras.Input((16,), name="x")
    for stage in (*stages, layers.Dense(1, name="head")):
        outputs = stage(outputs)
    return compiled(keras.Model(inputs, outputs), **options)


def two_heads(**options) -> keras.Model:
    """A trunk with two heads, `used` and `unused`."""
    inputs = keras.Input((16,), name="x")
    trunk = layers.Dense(8, activation="tanh", name="trunk")(inputs)
    outputs = {name: layers.Dense(1, name=name)(trunk) for name in ("used", "unused")}
    return compiled(keras.Model(inputs, outputs), **options)


@case(connected="trunk/* used/*", disconnected="unused/*", **UNUSED)
def a_head_without_a_target() -> Subject:
    return Subject.from_keras(two_heads(loss={"used": "mse", "unused": None}), (X, {"used": Y, "unused": Y}))


@case(connected="trunk/* used/*", disconnected="unused/*", **UNUSED)
def a_head_that_only_a_metric_reads() -> Subject:
    model = two_heads(loss={"used": "mse", "unused": None}, metrics={"unused": ["mae"]})
    return Subject.from_keras(model, (X, {"used": Y, "unused": Y}))


@case(connected="trunk/* used/*", zero_gradient="unused/*", findings={"GA201": 1})
def a_head_with_a_loss_weight_of_zero() -> Subject:
    model = two_heads(loss={"used": "mse", "unused": "mse"}, loss_weights={"used": 1.0, "unused": 0.0})
    return Subject.from_keras(model, (X, {"used": Y, "unused": Y}))


@case(connected="trunk/* used/* unused/*")
def deep_supervision_of_two_heads() -> Subject:
    model = two_heads(loss={"used": "mse", "unused": "mse"}, loss_weights={"used": 1.0, "unused": 0.4})
    return Subject.from_keras(model, (X, {"used": Y, "unused": Y}))


@case(connected="trunk/* used/*", disconnected="unused/*", **UNUSED)
def a_dead_head_under_loss_scaling() -> Subject:
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), initial_scale=8.0)
    model = two_heads(loss={"used": "mse", "unused": None}, optimizer=optimizer)
    return Subject.from_keras(model, (X, {"used": Y, "unused": Y}))


@case(connected="trunk/* used/*", disconnected="unused/*", **UNUSED)
def a_dead_head_under_gradient_accumulation() -> Subject:
    optimizer = keras.optimizers.Adam(0.01, gradient_accumulation_steps=4)
    model = two_heads(loss={"used": "mse", "unused": None}, optimizer=optimizer)
    return Subject.from_keras(model, (X, {"used": Y, "unused": Y}))


@case(connected="trunk/* used/*", disconnected="unused/*", **UNUSED)
def a_dead_head_in_a_step_that_is_compiled() -> Subject:
    model = two_heads(loss={"used": "mse", "unused": None}, jit_compile=True)
    return Subject.from_keras(model, (X, {"used": Y, "unused": Y}))


@case(connected="trunk/* used/*", disconnected="unused/*", **UNUSED)
def a_dead_head_in_half_precision() -> Subject:
    inputs = keras.Input((16,), name="x")
    trunk = layers.Dense(8, activation="tanh", name="trunk", dtype="mixed_float16")(inputs)
    outputs = {name: layers.Dense(1, name=name, dtype="mixed_float16")(trunk) for name in ("used", "unused")}
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), initial_scale=8.0)
    model = compiled(keras.Model(inputs, outputs), loss={"used": "mse", "unused": None}, optimizer=optimizer)
    return Subject.from_keras(model, (X, {"used": Y, "unused": Y}))


@case(
    connected="used/*",
    participation_only="unused/kernel",
    disconnected="unused/bias",
    cause={"unused/bias": ("dead-end", None)},
)
def a_regularizer_on_a_layer_that_nothing_else_uses() -> Subject:
    inputs = keras.Input((16,), name="x")
    outputs = {
        "used": layers.Dense(1, name="used")(inputs),
        "unused": layers.Dense(1, name="unused", kernel_regularizer="l2")(inputs),
    }
    model = compiled(keras.Model(inputs, outputs), loss={"used": "mse", "unused": None})
    return Subject.from_keras(model, (X, {"used": Y, "unused": Y}))


class Encoder(keras.Model):
    """A small BERT: embeddings, one block of attention, and a pooler over the first token."""

    def __init__(self):
        super().__init__(name="bert")
        self.embedding = layers.Embedding(30, 16, name="embedding")
        self.attention = layers.MultiHeadAttention(2, 8, use_bias=False, name="attention")
        self.norm = layers.LayerNormalization(name="norm")
        self.feed_forward = layers.Dense(16, activation="gelu", name="feed_forward")
        self.pooler = layers.Dense(16, activation="tanh", name="pooler")

    def call(self, tokens):
        hidden = self.embedding(tokens)
        hidden = self.norm(hidden + self.attention(hidden, hidden))
        hidden = hidden + self.feed_forward(hidden)
        return hidden, self.pooler(hidden[:, 0])


class TokenClassifier(keras.Model):
    """Reads the encoder's sequence, or its pooled output."""

    def __init__(self, reads_pooled: bool):
        super().__init__(name="classifier")
        self.encoder = Encoder()
        self.head = layers.Dense(1, name="head")
        self.reads_pooled = reads_pooled

    def call(self, tokens):
        hidden, pooled = self.encoder(tokens)
        return self.head(pooled if self.reads_pooled else tf.reduce_mean(hidden, axis=1))


@case(connected="*", disconnected="*pooler/*", tape={"*pooler/*": "none"}, cause={"*pooler/*": ("dead-end", None)})
def an_unused_pooler() -> Subject:
    return Subject.from_keras(compiled(TokenClassifier(reads_pooled=False)), (TOKENS, Y))


@case(connected="*")
def a_pooler_that_is_used() -> Subject:
    return Subject.from_keras(compiled(TokenClassifier(reads_pooled=True)), (TOKENS, Y))


@case(connected="*", disconnected="*pooler/*", tape={"*pooler/*": "zeros"}, cause={"*pooler/*": ("dead-end", None)})
def an_unused_pooler_of_an_encoder_in_a_function() -> Subject:
    encoder = Encoder()
    encoder(keras.KerasTensor((4, 6), "int32"))
    encode = tf.function(lambda tokens: encoder(tokens))

    def step(tokens):
        with tf.GradientTape() as tape:
            hidden, _ = encode(tokens)
            loss = tf.reduce_mean(hidden**4)
        variables = encoder.trainable_variables
        apply(tape.gradient(loss, variables), variables)

    return Subject(step, [TOKENS], variables=encoder.trainable_variables)


@case(
    connected="*",
    zero_gradient="*query/kernel *key/kernel",
    tape={"*query/kernel": "noise", "*key/kernel": "noise"},
)
def attention_over_one_key() -> Subject:
    inputs = keras.Input((1, 16))
    hidden = layers.MultiHeadAttention(2, 8, use_bias=False, name="attention")(inputs, inputs)
    model = compiled(keras.Model(inputs, layers.Dense(1, name="head")(hidden[:, 0])))
    return Subject.from_keras(model, (tf.TensorSpec([4, 1, 16]), Y))


@case(
    connected="*",
    disconnected="*backward*",
    tape={"*backward*": "none"},
    cause={"*backward*": ("dead-end", None)},
)
def a_bidirectional_layer_of_which_one_half_is_used() -> Subject:
    inputs = keras.Input((6, 16))
    both = layers.Bidirectional(layers.GRU(8, unroll=True, name="gru"), merge_mode=None, name="both")
    forward, _ = both(inputs)
    model = compiled(keras.Model(inputs, layers.Dense(1, name="head")(forward)))
    return Subject.from_keras(model, (SEQUENCE, Y))


@case(
    connected="*",
    disconnected="*backward*",
    tape={"*backward*": "zeros"},
    cause={"*backward*": ("dead-end", None)},
)
def a_bidirectional_layer_whose_halves_are_joined_and_sliced() -> Subject:
    inputs = keras.Input((6, 16))
    joined = layers.Bidirectional(layers.GRU(8, unroll=True, name="gru"), merge_mode="concat", name="both")(inputs)
    model = compiled(keras.Model(inputs, layers.Dense(1, name="head")(joined[:, :8])))
    return Subject.from_keras(model, (SEQUENCE, Y))


@case(connected="*")
def the_last_output_of_a_recurrent_layer() -> Subject:
    inputs = keras.Input((6, 16))
    hidden = layers.LSTM(8, name="lstm")(inputs)
    return Subject.from_keras(compiled(keras.Model(inputs, layers.Dense(1, name="head")(hidden))), (SEQUENCE, Y))


@case(connected="*")
def a_stack_of_recurrent_layers() -> Subject:
    inputs = keras.Input((6, 16))
    hidden = layers.GRU(8, return_sequences=True, name="lower")(inputs)
    hidden = layers.GRU(8, name="upper")(hidden)
    return Subject.from_keras(compiled(keras.Model(inputs, layers.Dense(1, name="head")(hidden))), (SEQUENCE, Y))


@case(connected="*", disconnected="state_head/*", cause={"state_head/*": ("dead-end", None)})
def a_recurrent_layer_whose_state_nobody_trains_on() -> Subject:
    inputs = keras.Input((6, 16))
    last, state = layers.GRU(8, return_state=True, name="gru")(inputs)
    outputs = {"y": layers.Dense(1, name="head")(last), "state": layers.Dense(1, name="state_head")(state)}
    model = compiled(keras.Model(inputs, outputs), loss={"y": "mse", "state": None})
    return Subject.from_keras(model, (SEQUENCE, {"y": Y, "state": Y}))


@case(connected="*")
def tied_embeddings() -> Subject:
    class Tied(keras.Model):
        def __init__(self):
            super().__init__(name="tied")
            self.embedding = layers.Embedding(30, 16, name="embedding")
            self.hidden = layers.Dense(16, activation="tanh", name="hidden")

        def call(self, tokens):
            return tf.matmul(self.hidden(self.embedding(tokens)), self.embedding.embeddings, transpose_b=True)

    model = compiled(Tied(), loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return Subject.from_keras(model, (TOKENS, TOKENS))


@case(
    connected="*",
    disconnected="*block_1/* *block_3/*",
    tape={"*block_1/*": "none", "*block_3/*": "none"},
    cause={"*block_1/*": ("never-read", None), "*block_3/*": ("never-read", None)},
)
def layers_that_python_drops_by_chance() -> Subject:
    class LayerDrop(keras.Model):
        def __init__(self):
            super().__init__(name="dropped")
            self.blocks = [layers.Dense(16, activation="tanh", name=f"block_{i}") for i in range(4)]
            self.head = layers.Dense(1, name="head")

        def build(self, shape):
            for block in self.blocks:
                block.build(shape)
            self.head.build(shape)

        def call(self, x):
            chance = random.Random(3)
            for block in self.blocks:
                if chance.random() < 0.5:
                    x = x + block(x)
            return self.head(x)

    return Subject.from_keras(compiled(LayerDrop()), (X, Y))


@case(connected="*")
def batch_normalization() -> Subject:
    return Subject.from_keras(chain(layers.BatchNormalization(name="norm")), (X, Y))


@case(connected="*", disconnected="*experts/*", cause={"*experts/*": ("dead-end", None)})
def a_layer_that_the_call_forgets_to_add() -> Subject:
    class Forgetful(keras.Model):
        def __init__(self):
            super().__init__(name="model")
            self.used = layers.Dense(1, name="used")
            self.experts = layers.Dense(1, name="experts")

        def call(self, x):
            y = self.used(x)
            self.experts(x)
            return y

    return Subject.from_keras(compiled(Forgetful()), (X, Y))


@case(connected="dense/* head/*", participation_only="scale/*")
def a_penalty_by_add_loss_on_a_weight() -> Subject:
    class Scale(layers.Layer):
        def build(self, shape):
            self.scale = self.add_weight(shape=(16,), name="kernel", initializer="ones")

        def call(self, x):
            self.add_loss(0.1 * keras.ops.sum(keras.ops.square(self.scale)))
            return x

    return Subject.from_keras(chain(layers.Dense(16, name="dense"), Scale(name="scale")), (X, Y))


@case(connected="*")
def an_auxiliary_loss_by_add_loss_on_activations() -> Subject:
    class Sparse(layers.Layer):
        def __init__(self):
            super().__init__(name="sparse")
            self.gate = layers.Dense(8, name="gate")

        def call(self, x):
            self.add_loss(0.1 * keras.ops.mean(keras.ops.square(self.gate(x))))
            return x

    return Subject.from_keras(chain(Sparse()), (X, Y))


@case(connected="head/*", untracked="hidden/*")
def a_layer_in_the_closure_of_a_lambda() -> Subject:
    hidden = layers.Dense(8, activation="tanh", name="hidden")
    hidden.build((None, 16))
    return Subject.from_keras(chain(layers.Lambda(lambda x: hidden(x))), (X, Y))


class OwnStep(keras.Model):
    """Two layers and a `train_step` of its own: which variables it differentiates and updates is up to the case."""

    def __init__(self, asked, applied):
        super().__init__(name="own")
        self.lower = layers.Dense(8, activation="tanh", name="lower")
        self.upper = layers.Dense(1, name="upper")
        self.asked, self.applied = asked, applied

    def call(self, x):
        return self.upper(self.lower(x))

    def weights_of(self, names):
        return [variable for name in names for variable in getattr(self, name).trainable_variables]

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self(x, training=True) - y))
        asked, applied = self.weights_of(self.asked), self.weights_of(self.applied)
        gradients = dict(zip((v.path for v in asked), tape.gradient(loss, asked), strict=True))
        self.optimizer.apply([gradients[v.path] for v in applied], applied)
        return {"loss": loss}


@case(connected="own/lower/* own/upper/*")
def a_train_step_of_its_own() -> Subject:
    model = OwnStep(asked=["lower", "upper"], applied=["lower", "upper"])
    return Subject.from_keras(compiled(model), (X, Y))


@case(connected="own/upper/*", untracked="own/lower/*")
def a_train_step_that_forgets_a_layer() -> Subject:
    model = OwnStep(asked=["upper"], applied=["upper"])
    return Subject.from_keras(compiled(model), (X, Y))


@case(connected="own/upper/*", not_updated="own/lower/*")
def a_train_step_that_applies_only_some_gradients() -> Subject:
    model = OwnStep(asked=["lower", "upper"], applied=["upper"])
    return Subject.from_keras(compiled(model), (X, Y))


@case(connected="head/*", frozen="base/kernel base/bias")
def a_frozen_base() -> Subject:
    base = layers.Dense(16, name="base")
    base.trainable = False
    return Subject.from_keras(chain(base), (X, Y))


@case(connected="head/*", disconnected="base/*", cause={"base/*": ("blocked", "StopGradient")})
def a_base_behind_a_stop_gradient() -> Subject:
    return Subject.from_keras(chain(layers.Dense(16, name="base"), layers.Lambda(keras.ops.stop_gradient)), (X, Y))


@case(connected="*")
def recomputed_activations_of_a_layer() -> Subject:
    class Recomputed(layers.Layer):
        def __init__(self):
            super().__init__(name="recomputed")
            self.hidden = layers.Dense(8, activation="tanh", name="hidden")

        def build(self, shape):
            self.hidden.build(shape)

        def call(self, x):
            return keras.remat(self.hidden.call)(x)

    return Subject.from_keras(chain(Recomputed(), layers.Dropout(0.2)), (X, Y))


@case(connected="*", disconnected="*router/*", cause={"*router/*": ("blocked", "ArgMax")})
def a_mixture_of_experts_routed_by_argmax() -> Subject:
    inputs = keras.Input((16,))
    scores = layers.Dense(2, name="router")(inputs)
    chosen = layers.Lambda(lambda s: tf.one_hot(tf.argmax(s, axis=-1), 2))(scores)
    experts = [layers.Dense(1, name=f"expert_{i}")(inputs) for i in range(2)]
    outputs = layers.Lambda(lambda p: tf.reduce_sum(tf.concat(p[1:], axis=-1) * p[0], -1, keepdims=True))(
        [chosen, *experts]
    )
    return Subject.from_keras(compiled(keras.Model(inputs, outputs)), (X, Y))


@case(connected="head/*", frozen="norm/gamma norm/beta")
def a_normalization_that_is_frozen() -> Subject:
    norm = layers.BatchNormalization(name="norm")
    norm.trainable = False
    return Subject.from_keras(chain(norm), (X, Y))


@case(connected="student/*", frozen="teacher/kernel teacher/bias", moves={"teacher/*": True})
def a_teacher_that_follows_its_student() -> Subject:
    student, teacher = (layers.Dense(8, name=name) for name in ("student", "teacher"))
    for layer in (student, teacher):
        layer.build((None, 16))
    teacher.trainable = False

    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(student(x) - teacher(x + 0.1)))
        apply(tape.gradient(loss, student.trainable_variables), student.trainable_variables)
        for slow, fast in zip(teacher.variables, student.variables, strict=True):
            slow.assign(0.9 * slow + 0.1 * fast)

    return Subject(step, [X], variables=[*student.variables, *teacher.variables])


@case(connected="decoder/*", disconnected="encoder/*", cause={"encoder/*": ("blocked", "Round")})
def a_quantizer_between_an_encoder_and_a_decoder() -> Subject:
    class Quantizer(layers.Layer):
        def call(self, x):
            return tf.round(x)

    encoder, decoder = layers.Dense(8, name="encoder"), layers.Dense(16, name="decoder")
    quantizer = Quantizer(name="quantizer")
    encoder.build((None, 16))
    decoder.build((None, 8))
    return descend(
        lambda x: tf.reduce_mean(tf.square(decoder(quantizer(encoder(x))) - x)),
        [*encoder.trainable_variables, *decoder.trainable_variables],
    )
