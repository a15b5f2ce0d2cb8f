"""A loop that sets the globals which its helpers read, and that defines its own update."""

import keras
import numpy as np
import tensorflow as tf

enc = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)], name="enc")
dec = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)], name="dec")
opt = keras.optimizers.SGD()
features = None


def objective():
    return tf.reduce_mean((dec(features) - x) ** 2)


for x in np.random.rand(4, 8, 4).astype("float32"):
    params = enc.trainable_variables + dec.trainable_variables
    with tf.GradientTape() as tape:
        features = enc(x)
        loss: tf.Tensor = objective()

    def update(grads):
        opt.apply_gradients(zip(grads, params))

    update(tape.gradient(loss, params))
    print(float(loss))
