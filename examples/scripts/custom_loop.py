"""A training loop with a tf.function over a tf.data.Dataset, and a head that its loss never reads."""

import keras
import numpy as np
import tensorflow as tf

inputs = keras.Input((784,), name="digits")
x1 = keras.layers.Dense(64, activation="relu", name="dense_1")(inputs)
x2 = keras.layers.Dense(64, activation="relu", name="dense_2")(x1)
logits = keras.layers.Dense(10, name="predictions")(x2)
embedding = keras.layers.Dense(8, name="embedding")(x1)
model = keras.Model(inputs, [logits, embedding])

optimizer = keras.optimizers.SGD(1e-3)
loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
train_metric = keras.metrics.SparseCategoricalAccuracy()

numbers = np.random.default_rng(0)
x_train = numbers.normal(size=(256, 784)).astype("float32")
y_train = numbers.integers(0, 10, 256)
train_dataset = tf.data.Dataset.from_tensor_slices((x_train, y_train)).shuffle(256).batch(32)


@tf.function
def train_step(x, y):
    with tf.GradientTape() as tape:
        logits, _ = model(x, training=True)
        loss_value = loss_fn(y, logits)
    grads = tape.gradient(loss_value, model.trainable_weights)
    optimizer.apply_gradients(zip(grads, model.trainable_weights))
    train_metric.update_state(y, logits)
    return loss_value


for epoch in range(2):
    print(f"Start of epoch {epoch}")
    for step, (x_batch, y_batch) in enumerate(train_dataset):
        loss = train_step(x_batch, y_batch)
        if step % 4 == 0:
            print(f"Training loss at step {step}: {float(loss):.4f}")
    print(f"Training acc over epoch: {float(train_metric.result()):.4f}")
    train_metric.reset_state()
