"""Gradients that nothing applies, beside a counter of rounds that is assigned to."""

import keras
import numpy as np
import tensorflow as tf

model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8), keras.layers.Dense(1)])
rounds = tf.Variable(0)
ds = tf.data.Dataset.from_tensor_slices(np.random.rand(64, 4).astype("float32")).batch(8)
for step, x in enumerate(ds):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(x)))
    grads = tape.gradient(loss, model.trainable_variables)
    rounds.assign_add(1)
