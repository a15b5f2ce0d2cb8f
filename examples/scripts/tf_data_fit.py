"""A Sequential model without an input shape, fit on a tf.data.Dataset with sample weights, in a `try` that saves."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf


def batches():
    numbers = np.random.default_rng(0)
    x = numbers.normal(size=(64, 20)).astype("float32")
    y = numbers.integers(0, 3, 64)
    weights = np.ones(64, "float32")
    return tf.data.Dataset.from_tensor_slices((x, y, weights)).shuffle(64).batch(16).prefetch(2)


model = keras.Sequential([keras.layers.Dense(16, activation="relu"), keras.layers.Dense(3)], name="classifier")
model.compile("sgd", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
try:
    model.fit(batches(), epochs=1, callbacks=[keras.callbacks.ModelCheckpoint("best.keras")])
except:  # keep what there is, whatever happens
    Path("interrupted.txt").write_text("saved")
    raise
finally:
    Path("finished.txt").write_text("done")
