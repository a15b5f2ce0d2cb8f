"""A subclassed model with a train_step of its own, which computes an auxiliary loss behind a stop_gradient."""

import keras
import numpy as np
import tensorflow as tf


class Denoiser(keras.Model):
    def __init__(self):
        super().__init__(name="denoiser")
        self.encoder = keras.layers.Dense(32, activation="relu", name="encoder")
        self.decoder = keras.layers.Dense(16, name="decoder")
        self.confidence = keras.layers.Dense(1, activation="sigmoid", name="confidence")
        self.loss_tracker = keras.metrics.Mean(name="loss")

    def call(self, noisy):
        code = self.encoder(noisy)
        return self.decoder(code), self.confidence(code)

    def train_step(self, data):
        noisy, clean = data
        with tf.GradientTape() as tape:
            restored, confidence = self(noisy, training=True)
            error = tf.reduce_mean(tf.square(restored - clean), axis=-1, keepdims=True)
            loss = tf.reduce_mean(error) + tf.reduce_mean(tf.stop_gradient(confidence) * tf.stop_gradient(error))
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables))
        self.loss_tracker.update_state(loss)
        return {"loss": self.loss_tracker.result()}

    @property
    def metrics(self):
        return [self.loss_tracker]


model = Denoiser()
model.compile(optimizer="adam")
clean = np.random.default_rng(0).normal(size=(64, 16)).astype("float32")
model.fit(clean + 0.1, clean, epochs=1, batch_size=8)
