"""A functional model with two outputs, compiled with a loss for one of them, and fit."""

import keras
import numpy as np

inputs = keras.Input((28,), name="features")
hidden = keras.layers.Dense(64, activation="relu", name="hidden")(inputs)
digit = keras.layers.Dense(10, name="digit")(hidden)
quality = keras.layers.Dense(1, name="quality")(hidden)
model = keras.Model(inputs, {"digit": digit, "quality": quality}, name="reader")
model.compile(
    optimizer=keras.optimizers.Adam(1e-3),
    loss={"digit": keras.losses.SparseCategoricalCrossentropy(from_logits=True)},
)
model.summary()

numbers = np.random.default_rng(0)
x_train = numbers.normal(size=(256, 28)).astype("float32")
y_train = {"digit": numbers.integers(0, 10, 256)}

model.fit(x_train, y_train, batch_size=32, epochs=2, validation_split=0.25, class_weight=None)
model.save("reader.keras")
