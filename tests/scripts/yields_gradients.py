"""A generator computes gradients, and who goes through it applies them."""

import keras
import numpy as np
import tensorflow as tf

model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8), keras.layers.Dense(1)])
extra = keras.layers.Dense(2)
extra.build((None, 4))
opt = keras.optimizers.SGD(0.1)


def batches():
    while True:
        yield np.random.rand(8, 4).astype("float32")


def gradients(limit):
    vs = model.trainable_variables + extra.trainable_variables
    for n, x in enumerate(batches()):
        if n >= limit:
            return
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(model(x) ** 2)
        yield float(loss), list(zip(tape.gradient(loss, vs), vs))


for loss, pairs in gradients(4):
    opt.apply_gradients((g, v) for g, v in pairs if g is not None)
    print(loss)
