"""A generator that is trained in every third round alone."""

import keras
import numpy as np
import tensorflow as tf

gen = keras.Sequential([keras.Input((3,)), keras.layers.Dense(8, activation="tanh"), keras.layers.Dense(5)], name="gen")
critic = keras.Sequential(
    [keras.Input((5,)), keras.layers.Dense(8, activation="tanh"), keras.layers.Dense(1)], name="critic"
)
g_opt, c_opt = keras.optimizers.Adam(1e-3), keras.optimizers.Adam(1e-3)
ds = tf.data.Dataset.from_tensor_slices(np.random.rand(64, 5).astype("float32")).batch(8)
step = 0
for real in ds:
    step += 1
    z = tf.random.normal((8, 3))
    with tf.GradientTape() as tape:
        c_loss = tf.reduce_mean(critic(gen(z))) - tf.reduce_mean(critic(real))
    c_opt.apply_gradients(zip(tape.gradient(c_loss, critic.trainable_variables), critic.trainable_variables))
    if step % 3 == 0:
        with tf.GradientTape() as tape:
            g_loss = -tf.reduce_mean(critic(gen(z)))
        g_opt.apply_gradients(zip(tape.gradient(g_loss, gen.trainable_variables), gen.trainable_variables))
        print("generator", float(g_loss))
