"""Gradients are summed in variables, and applied in every fourth round."""

import keras
import numpy as np
import tensorflow as tf

model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8), keras.layers.Dense(1)])
optimizer = keras.optimizers.Adam()
variables = model.trainable_variables
ds = tf.data.Dataset.from_tensor_slices(np.random.rand(64, 4).astype("float32")).batch(8)
acc = [tf.Variable(tf.zeros_like(v)) for v in variables]
for step, x in enumerate(ds):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(x)))
    for a, g in zip(acc, tape.gradient(loss, variables)):
        a.assign_add(g / 4)
    if (step + 1) % 4 == 0:
        optimizer.apply_gradients(zip(acc, variables))
        for a in acc:
            a.assign(tf.zeros_like(a))
