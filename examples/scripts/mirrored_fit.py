"""Two replicas on one processor, a model made under the strategy, and fit."""

import keras
import numpy as np
import tensorflow as tf

cpus = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpus[0], [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
print("replicas:", strategy.num_replicas_in_sync)

with strategy.scope():
    inputs = keras.Input((10,))
    hidden = keras.layers.Dense(32, activation="relu", name="hidden")(inputs)
    model = keras.Model(
        inputs,
        {"speed": keras.layers.Dense(1, name="speed")(hidden), "pitch": keras.layers.Dense(1, name="pitch")(hidden)},
        name="mirrored",
    )
    model.compile("adam", loss={"speed": "mse"})

x = np.random.default_rng(0).normal(size=(64, 10)).astype("float32")
model.fit(x, {"speed": x[:, :1]}, batch_size=16, epochs=1, verbose=0)
