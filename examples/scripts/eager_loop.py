"""A training loop without tf.function: everything is eager, and every step prints."""

import keras
import numpy as np
import tensorflow as tf


class Regressor(keras.Model):
    def __init__(self):
        super().__init__(name="regressor")
        self.hidden = keras.layers.Dense(32, activation="relu", name="hidden")
        self.value = keras.layers.Dense(1, name="value")
        self.variance = keras.layers.Dense(1, name="variance")

    def call(self, x):
        hidden = self.hidden(x)
        return self.value(hidden), self.variance(hidden)


model = Regressor()
optimizer = keras.optimizers.Adam(1e-3)
numbers = np.random.default_rng(0)
x_train = numbers.normal(size=(64, 8)).astype("float32")
y_train = x_train.sum(axis=1, keepdims=True)
model(x_train[:1])
print("parameters:", model.count_params())

losses = []
for epoch in range(2):
    for start in range(0, len(x_train), 16):
        x = x_train[start : start + 16]
        y = y_train[start : start + 16]
        with tf.GradientTape() as tape:
            value, _ = model(x, training=True)
            loss = tf.reduce_mean(tf.square(value - y))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables))
        losses.append(loss.numpy())
        print(f"epoch {epoch} loss {losses[-1]:.3f}")
