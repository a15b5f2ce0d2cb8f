"""Mixed precision with a LossScaleOptimizer in a loop of its own."""

import keras
import numpy as np
import tensorflow as tf

keras.mixed_precision.set_global_policy("mixed_float16")

inputs = keras.Input((32,))
hidden = keras.layers.Dense(64, activation="relu", name="dense_1")(inputs)
outputs = keras.layers.Dense(10, name="dense_logits")(hidden)
outputs = keras.layers.Activation("softmax", dtype="float32")(outputs)
weight = keras.layers.Dense(1, dtype="float32", name="example_weight")(hidden)
model = keras.Model(inputs, [outputs, weight], name="half")
optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.RMSprop())
loss_object = keras.losses.SparseCategoricalCrossentropy(reduction="none")

numbers = np.random.default_rng(0)
x_train = numbers.normal(size=(64, 32)).astype("float32")
y_train = numbers.integers(0, 10, 64)
train_dataset = tf.data.Dataset.from_tensor_slices((x_train, y_train)).batch(16)


@tf.function
def train_step(x, y):
    with tf.GradientTape() as tape:
        predictions, weight = model(x, training=True)
        weight = tf.cast(tf.cast(weight, tf.int32), tf.float32)
        loss = tf.reduce_mean(loss_object(y, predictions) * (1.0 + weight[:, 0]))
        scaled_loss = optimizer.scale_loss(loss)
    gradients = tape.gradient(scaled_loss, model.trainable_variables)
    gradients = [tf.zeros_like(v) if g is None else g for g, v in zip(gradients, model.trainable_variables)]
    optimizer.apply(gradients, model.trainable_variables)
    return loss


for epoch in range(2):
    total = 0.0
    for x, y in train_dataset:
        total += float(train_step(x, y))
    print(f"epoch {epoch}: {total / 4:.4f}")
