"""A GAN that is fit: a train_step with two optimizers and two gradient calls, on a tf.data.Dataset."""

import keras
import numpy as np
import tensorflow as tf

LATENT = 8


class GAN(keras.Model):
    def __init__(self, discriminator, generator):
        super().__init__(name="gan")
        self.discriminator = discriminator
        self.generator = generator
        self.seed_generator = keras.random.SeedGenerator(1337)

    def compile(self, d_optimizer, g_optimizer, loss_fn):
        super().compile()
        self.d_optimizer = d_optimizer
        self.g_optimizer = g_optimizer
        self.loss_fn = loss_fn

    def train_step(self, real):
        batch_size = tf.shape(real)[0]
        noise = keras.random.normal((batch_size, LATENT), seed=self.seed_generator)
        generated = self.generator(noise)
        combined = tf.concat([generated, real], axis=0)
        labels = tf.concat([tf.ones((batch_size, 1)), tf.zeros((batch_size, 1))], axis=0)
        with tf.GradientTape() as tape:
            d_loss = self.loss_fn(labels, self.discriminator(combined))
        grads = tape.gradient(d_loss, self.discriminator.trainable_weights)
        self.d_optimizer.apply_gradients(zip(grads, self.discriminator.trainable_weights))

        with tf.GradientTape() as tape:
            fooled = tf.round(self.discriminator(self.generator(noise)))  # a decision, which has no slope
            g_loss = self.loss_fn(tf.zeros((batch_size, 1)), fooled)
        grads = tape.gradient(g_loss, self.generator.trainable_weights)
        self.g_optimizer.apply_gradients(zip(grads, self.generator.trainable_weights))
        return {"d_loss": d_loss, "g_loss": g_loss}


def dense(units, inputs, name):
    return keras.Sequential(
        [keras.Input((inputs,)), keras.layers.Dense(16), keras.layers.LeakyReLU(0.2), keras.layers.Dense(units)],
        name=name,
    )


real = np.random.default_rng(0).normal(size=(64, 12)).astype("float32")
dataset = tf.data.Dataset.from_tensor_slices(real).shuffle(64).batch(16)
gan = GAN(dense(1, 12, "discriminator"), dense(12, LATENT, "generator"))
gan.compile(
    d_optimizer=keras.optimizers.Adam(3e-4),
    g_optimizer=keras.optimizers.Adam(3e-4),
    loss_fn=keras.losses.BinaryCrossentropy(from_logits=True),
)
gan.fit(dataset, epochs=1)
