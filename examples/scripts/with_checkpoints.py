"""Prints, logs and checkpoints around and inside a loop over a tf.data.Dataset, and evaluates before it begins."""

import atexit
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

atexit.register(lambda: Path("at_exit.txt").write_text("ended"))
Path("before.txt").write_text("made before the first step")


class Net(keras.Model):
    def __init__(self):
        super().__init__(name="net")
        self.body = keras.layers.Dense(32, activation="tanh", name="body")
        self.head = keras.layers.Dense(3, name="head")
        self.domain = keras.layers.Dense(2, name="domain")

    def call(self, x):
        features = self.body(x)
        return self.head(features), self.domain(features)


numbers = np.random.default_rng(0)
x, y = numbers.normal(size=(64, 12)).astype("float32"), numbers.integers(0, 3, 64)
train_dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(16)
net = Net()
optimizer = keras.optimizers.Adam()
loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@tf.function
def evaluate(x, y):
    return loss_fn(y, net(x, training=False)[0])


@tf.function
def train_step(x, y):
    with tf.GradientTape() as tape:
        scores, domain = net(x, training=True)
        loss = loss_fn(y, scores)
    gradients = tape.gradient(loss, net.trainable_variables)
    optimizer.apply_gradients(zip(gradients, net.trainable_variables))
    return loss


print("before:", float(evaluate(x[:16], y[:16])))
checkpoint = tf.train.Checkpoint(net=net, optimizer=optimizer)
manager = tf.train.CheckpointManager(checkpoint, "checkpoints", max_to_keep=2)

step = 0
for epoch in range(2):
    for features, labels in train_dataset:
        loss = train_step(features, labels)
        step += 1
        Path("history.csv").open("a").write(f"{step},{float(loss)}\n")
    print("saved", manager.save())
