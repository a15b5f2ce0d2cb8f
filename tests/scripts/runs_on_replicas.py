"""An eager loop that runs a step on replicas: python or function, and how many replicas."""

import sys

import keras
import numpy as np
import tensorflow as tf

cpus = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpus[0], [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"][: int(sys.argv[2])])
ds = strategy.experimental_distribute_dataset(
    tf.data.Dataset.from_tensor_slices(np.random.rand(32, 4).astype("float32")).batch(8)
)
with strategy.scope():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(20), keras.layers.Dense(1)])
    dead = keras.layers.Dense(1, name="dead")
    dead.build((None, 4))
    opt = keras.optimizers.SGD(0.1)


def step(x):
    v = model.trainable_variables + dead.trainable_variables
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(model(x, training=True) ** 2) / 2
    grads = tape.gradient(loss, v)
    opt.apply_gradients((g, w) for g, w in zip(grads, v) if g is not None)
    return loss


if sys.argv[1] == "function":
    step = tf.function(step)
for x in ds:
    losses = strategy.run(step, args=(x,))
    print(strategy.reduce(tf.distribute.ReduceOp.SUM, losses, axis=None))
