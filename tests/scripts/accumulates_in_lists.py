"""Gradients are summed in lists, and applied in every fourth round; a layer is never called."""

import keras
import numpy as np
import tensorflow as tf

model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8), keras.layers.Dense(1)])
unused = keras.layers.Dense(3)
unused.build((None, 4))
optimizer = keras.optimizers.Adam()
variables = model.trainable_variables + unused.trainable_variables
ds = tf.data.Dataset.from_tensor_slices(np.random.rand(64, 4).astype("float32")).batch(8)
acc = [tf.zeros_like(v) for v in variables]
for step, x in enumerate(ds):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(x)))
    grads = tape.gradient(loss, variables)
    acc = [a + g if g is not None else a for a, g in zip(acc, grads)]
    if (step + 1) % 4 == 0:
        optimizer.apply_gradients((a / 4, v) for a, v in zip(acc, variables))
        acc = [tf.zeros_like(v) for v in variables]
