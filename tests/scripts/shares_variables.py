"""A loop in a function whose helpers read, and set, its variables."""

import keras
import numpy as np
import tensorflow as tf


def main():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, activation="relu"), keras.layers.Dense(1)])
    dead = keras.layers.Dense(1, name="dead")
    dead.build((None, 8))
    opt = keras.optimizers.Adam()
    params = [*model.trainable_variables, *dead.trainable_variables]
    features = target = None

    def objective():
        return tf.reduce_mean((model(features) - target) ** 2)

    def update(tape, loss):
        grads = tape.gradient(loss, params)
        opt.apply_gradients((g, p) for g, p in zip(grads, params) if g is not None)

    for epoch in range(2):
        for x in np.random.rand(3, 8, 4).astype("float32"):
            features = x * 2.0
            with tf.GradientTape() as tape:
                target = tf.reduce_sum(features, axis=1, keepdims=True)
                loss = objective()

            def finish():
                nonlocal target
                update(tape, loss)
                target = None

            finish()
            print(f"{loss:.3f}")


main()
