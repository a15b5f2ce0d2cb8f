"""A GAN in a loop of its own: two tf.functions, called one after the other; the second stops at a comparison."""

import keras
import numpy as np
import tensorflow as tf

LATENT = 8
discriminator = keras.Sequential(
    [keras.Input((12,)), keras.layers.Dense(16, activation="relu"), keras.layers.Dense(1)], name="discriminator"
)
generator = keras.Sequential(
    [keras.Input((LATENT,)), keras.layers.Dense(16, activation="relu"), keras.layers.Dense(12)], name="generator"
)
d_optimizer = keras.optimizers.Adam(3e-4)
g_optimizer = keras.optimizers.Adam(3e-4)
loss_fn = keras.losses.BinaryCrossentropy(from_logits=True)


@tf.function
def train_discriminator(real):
    noise = tf.random.normal((tf.shape(real)[0], LATENT))
    with tf.GradientTape() as tape:
        on_real, on_fake = discriminator(real), discriminator(generator(noise))
        loss = loss_fn(tf.ones_like(on_real), on_real) + loss_fn(tf.zeros_like(on_fake), on_fake)
    grads = tape.gradient(loss, discriminator.trainable_variables)
    d_optimizer.apply_gradients(zip(grads, discriminator.trainable_variables))
    return loss


@tf.function
def train_generator(batch_size):
    noise = tf.random.normal((batch_size, LATENT))
    with tf.GradientTape() as tape:
        fooled = tf.cast(discriminator(generator(noise)) > 0.0, tf.float32)
        loss = tf.reduce_mean(1.0 - fooled)
    grads = tape.gradient(loss, generator.trainable_variables)
    g_optimizer.apply_gradients(
        (grad, variable) for grad, variable in zip(grads, generator.trainable_variables) if grad is not None
    )
    return loss


def main():
    data = np.random.default_rng(0).normal(size=(64, 12)).astype("float32")
    dataset = tf.data.Dataset.from_tensor_slices(data).batch(16)
    for epoch in range(2):
        for real in dataset:
            d_loss = train_discriminator(real)
            g_loss = train_generator(tf.constant(16))
        print(f"epoch {epoch}: {float(d_loss):.3f} {float(g_loss):.3f}")


if __name__ == "__main__":
    main()
