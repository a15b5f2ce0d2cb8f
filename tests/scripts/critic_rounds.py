"""A WGAN with a gradient penalty: the rounds of the critic fetch their own batches."""

import keras
import numpy as np
import tensorflow as tf

gen = keras.Sequential([keras.Input((3,)), keras.layers.Dense(8, activation="tanh"), keras.layers.Dense(5)], name="gen")
critic = keras.Sequential(
    [keras.Input((5,)), keras.layers.Dense(8, activation="tanh"), keras.layers.Dense(1)], name="critic"
)
g_opt, c_opt = keras.optimizers.Adam(1e-3), keras.optimizers.Adam(1e-3)
data = iter(tf.data.Dataset.from_tensor_slices(np.random.rand(64, 5).astype("float32")).repeat().batch(8))
N_CRITIC = 3
for step in range(4):
    for _ in range(N_CRITIC):
        real = next(data)
        z = tf.random.normal((8, 3))
        with tf.GradientTape() as tape:
            fake = gen(z)
            eps = tf.random.uniform((8, 1))
            mixed = eps * real + (1 - eps) * fake
            with tf.GradientTape() as inner:
                inner.watch(mixed)
                score = critic(mixed)
            slope = inner.gradient(score, mixed)
            gp = tf.reduce_mean((tf.norm(slope, axis=1) - 1.0) ** 2)
            c_loss = tf.reduce_mean(critic(fake)) - tf.reduce_mean(critic(real)) + 10.0 * gp
        c_opt.apply_gradients(zip(tape.gradient(c_loss, critic.trainable_variables), critic.trainable_variables))
    with tf.GradientTape() as tape:
        g_loss = -tf.reduce_mean(critic(gen(tf.random.normal((8, 3)))))
    g_opt.apply_gradients(zip(tape.gradient(g_loss, gen.trainable_variables), gen.trainable_variables))
    print(step, float(c_loss), float(g_loss))
