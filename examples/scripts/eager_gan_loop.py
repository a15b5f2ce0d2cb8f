"""A WGAN in eager loops: five critic rounds for each of the generator, and every loss is read as a number."""

import keras
import numpy as np
import tensorflow as tf

CRITIC_ROUNDS = 5
critic = keras.Sequential([keras.Input((6,)), keras.layers.Dense(16, activation="relu"), keras.layers.Dense(1)])
generator = keras.Sequential([keras.Input((4,)), keras.layers.Dense(16, activation="relu"), keras.layers.Dense(6)])
critic_optimizer = keras.optimizers.RMSprop(5e-5)
generator_optimizer = keras.optimizers.RMSprop(5e-5)


def critic_loss_of(real, noise):
    return tf.reduce_mean(critic(generator(noise))) - tf.reduce_mean(critic(real))


def train(real):
    for _ in range(CRITIC_ROUNDS):
        noise = tf.random.normal((len(real), 4))
        with tf.GradientTape() as tape:
            critic_loss = critic_loss_of(real, noise)
        print(f"critic loss {critic_loss:.4f}")
        gradients = tape.gradient(critic_loss, critic.trainable_variables)
        critic_optimizer.apply_gradients(zip(gradients, critic.trainable_variables))
    noise = tf.random.normal((len(real), 4))
    with tf.GradientTape() as tape:
        generator_loss = -tf.reduce_mean(critic(generator(noise)))
    gradients = tape.gradient(generator_loss, generator.trainable_variables)
    generator_optimizer.apply_gradients(zip(gradients, generator.trainable_variables))
    return float(critic_loss), float(generator_loss)


dataset = tf.data.Dataset.from_tensor_slices(np.random.default_rng(0).normal(size=(64, 6)).astype("float32")).batch(16)
for real in dataset:
    print(train(real))
