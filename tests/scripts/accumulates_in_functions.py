"""One tf.function sums gradients, and another, which is called before it, applies them."""

import keras
import numpy as np
import tensorflow as tf

model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8), keras.layers.Dense(1)])
optimizer = keras.optimizers.Adam()
acc = [tf.Variable(tf.zeros_like(v), trainable=False) for v in model.trainable_variables]


@tf.function
def accumulate(x):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(x)))
    for a, g in zip(acc, tape.gradient(loss, model.trainable_variables)):
        a.assign_add(g)
    return loss


@tf.function
def apply_all():
    optimizer.apply_gradients(zip(acc, model.trainable_variables))
    for a in acc:
        a.assign(tf.zeros_like(a))


ds = tf.data.Dataset.from_tensor_slices(np.random.rand(64, 4).astype("float32")).batch(8)


def train():
    for step, x in enumerate(ds):
        if step and step % 4 == 0:
            apply_all()
        loss = accumulate(x)
        print(float(loss))


train()
