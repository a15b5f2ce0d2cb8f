"""The model of with_arguments.py."""

import keras


def regressor(units, large):
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(units, activation="relu", name="hidden")(inputs)
    if large:
        skipped = keras.layers.Dense(units, name="skipped")(hidden)
        hidden = hidden + keras.ops.stop_gradient(skipped)
    model = keras.Model(inputs, keras.layers.Dense(1, name="value")(hidden), name="regressor")
    model.compile("adam", loss="mse")
    return model
