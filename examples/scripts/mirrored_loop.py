"""Two replicas on one processor, and a loop of its own over a distributed data set."""

import keras
import numpy as np
import tensorflow as tf

cpus = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpus[0], [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
GLOBAL_BATCH = 16

x = np.random.default_rng(0).normal(size=(64, 10)).astype("float32")
dataset = tf.data.Dataset.from_tensor_slices((x, x[:, :1])).batch(GLOBAL_BATCH)
distributed = strategy.experimental_distribute_dataset(dataset)

with strategy.scope():
    model = keras.Sequential(
        [keras.Input((10,)), keras.layers.Dense(32, activation="relu"), keras.layers.Dense(1)], name="mirrored"
    )
    unused = keras.layers.Dense(4, name="unused")
    unused.build((None, 10))
    optimizer = keras.optimizers.SGD(0.01)


def train_step(inputs):
    features, labels = inputs
    with tf.GradientTape() as tape:
        errors = tf.square(model(features, training=True) - labels)
        loss = tf.nn.compute_average_loss(errors[:, 0], global_batch_size=GLOBAL_BATCH)
    variables = model.trainable_variables + unused.trainable_variables
    gradients = tape.gradient(loss, variables)
    optimizer.apply_gradients((g, v) for g, v in zip(gradients, variables) if g is not None)
    return loss


@tf.function
def distributed_train_step(inputs):
    per_replica = strategy.run(train_step, args=(inputs,))
    return strategy.reduce(tf.distribute.ReduceOp.SUM, per_replica, axis=None)


for batch in distributed:
    print(f"loss {distributed_train_step(batch):.4f}")
