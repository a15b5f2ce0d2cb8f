"""Models that nobody has built: the audited step builds what it calls, as the first step of `fit` does."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from gradaudit import Subject, audit
from gradaudit.errors import TraceError

X, Y = np.ones((4, 16), "float32"), np.ones((4, 1), "float32")


def network(name: str, units: int) -> keras.Sequential:
    layers = [keras.layers.Dense(100, name=f"{name}_hidden"), keras.layers.Dense(units, name=f"{name}_out")]
    return keras.Sequential(layers, name=name)


class Adversarial(keras.Model):
    """A generator and a critic, each with an optimizer. `call` takes noise, so that the batch cannot build it."""

    def __init__(self) -> None:
        super().__init__(name="gan")
        self.generator, self.critic = network("generator", 16), network("critic", 1)
        self.loss_of_critic = keras.metrics.Mean(name="critic_loss")

    def compile(self, generator_optimizer: keras.optimizers.Optimizer, critic_optimizer: keras.optimizers.Optimizer):
        super().compile()
        self.generator_optimizer, self.critic_optimizer = generator_optimizer, critic_optimizer

    def call(self, noise: tf.Tensor) -> tf.Tensor:
        return self.critic(self.generator(noise))

    def train_step(self, real: tf.Tensor) -> dict[str, tf.Tensor]:
        noise = tf.random.normal([tf.shape(real)[0], 8])
        made = self.generator(noise)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(self.critic(made)) - tf.reduce_mean(self.critic(real))
        weights = self.critic.trainable_weights
        self.critic_optimizer.apply(tape.gradient(loss, weights), weights)
        self.loss_of_critic.update_state(loss)
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(self.critic(self.generator(noise)))
        weights = self.generator.trainable_weights
        self.generator_optimizer.apply(tape.gradient(loss, weights), weights)
        return {"critic_loss": self.loss_of_critic.result()}


class Blocked(keras.Model):
    """Has no `call`, and layers of which one is blocked and one is left out."""

    def __init__(self) -> None:
        super().__init__(name="blocked")
        self.below, self.above = keras.layers.Dense(100, name="below"), keras.layers.Dense(1, name="above")
        self.idle = keras.layers.Dense(1, name="idle")

    def train_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self.above(tf.stop_gradient(self.below(x))) - y))
        weights = self.trainable_weights
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        return {"loss": loss}


class Broken(keras.Model):
    """Its `call` cannot take the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.head = keras.layers.Dense(7)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return tf.reshape(self.head(x), (3, 5))


def adversarial() -> Adversarial:
    model = Adversarial()
    model.compile(keras.optimizers.Adam(), keras.optimizers.Adam())
    return model


def compiled(model: keras.Model) -> keras.Model:
    model.compile("adam", "mse")
    return model


def test_a_gan_of_two_optimizers_whose_networks_are_built_in_the_step_is_audited() -> None:
    model = adversarial()
    model.fit(X, verbose=0)
    trained = {variable.path for variable in model.trainable_variables}
    result = audit(lambda: Subject.from_keras(adversarial(), X), verify=True)
    assert {verdict.path: verdict.status for verdict in result.variables} == dict.fromkeys(trained, "connected")
    assert len(trained) == 8
    assert not result.weights_allocated


def test_of_a_model_without_a_call_what_its_step_builds_is_audited() -> None:
    model = compiled(Blocked())
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        model.fit(X, Y, verbose=0)
    result = audit(lambda: Subject.from_keras(compiled(Blocked()), (X, Y)), verify=True)
    statuses = {verdict.path: verdict.status for verdict in result.variables}
    assert set(statuses) == {variable.path for variable in model.trainable_variables}
    assert statuses == {
        "below/kernel": "disconnected",
        "below/bias": "disconnected",
        "above/kernel": "connected",
        "above/bias": "connected",
    }
    assert [finding.message.split()[3] for finding in result.findings if finding.rule == "GA106"] == ["blocked/idle"]


def test_a_variable_that_a_layer_makes_from_a_drawn_tensor_while_the_step_builds_it_is_made() -> None:
    class Raw(keras.layers.Layer):
        def build(self, shape: tuple[int, ...]) -> None:
            self.raw = tf.Variable(tf.random.normal([16, 1]), name="raw")
            self.scale = self.add_weight(shape=(1,), name="scale")

        def call(self, x: tf.Tensor) -> tf.Tensor:
            return x @ self.raw * self.scale

    def model() -> keras.Model:
        return compiled(keras.Sequential([Raw(name="layer")], name="m"))

    model().fit(X, Y, verbose=0)
    for options in ({"verify": True}, {"probe": 1}):
        result = audit(lambda: Subject.from_keras(model(), (X, Y)), **options)
        statuses = {verdict.path.rpartition("/")[2]: verdict.status for verdict in result.variables}
        assert statuses == {"scale": "connected", "raw": "untracked"}


def test_a_model_that_was_made_before_can_be_trained_after_its_audit() -> None:
    model = compiled(Blocked())
    audit(Subject.from_keras(model, (X, Y)))
    before = model.above.kernel.numpy()
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        model.fit(X, Y, verbose=0)
    assert not np.array_equal(before, model.above.kernel.numpy())


def test_a_model_that_cannot_take_its_batch_is_told_with_the_line_that_fails() -> None:
    with pytest.raises(
        TraceError, match=r"^The step cannot be traced: ValueError at .*test_unbuilt_models.py:\d+ in call"
    ):
        audit(lambda: Subject.from_keras(compiled(Broken()), (X, Y)))
