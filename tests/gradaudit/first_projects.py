"""Small Keras projects in as many styles, of which `gradaudit init` has to find what trains."""

from __future__ import annotations

PROJECTS: dict[str, dict[str, str]] = {
    "flat": {
        "train.py": '''"""A flat script: another thing is fit first, and only one of two heads has a loss."""

import keras
import numpy as np


class Scaler:
    def fit(self, values):
        self.mean = values.mean()
        return self


x = np.ones((16, 4), "float32")
scaler = Scaler().fit(x)
inputs = keras.Input((4,))
hidden = keras.layers.Dense(8, name="hidden")(inputs)
outputs = {}
for name in ("left", "right"):
    outputs[name] = keras.layers.Dense(1, name=name)(hidden)
model = keras.Model(inputs, outputs)
model.compile("adam", loss={"left": "mse"})
targets = {}
targets["left"] = np.zeros((16, 1))
model.fit(x - scaler.mean, targets, batch_size=4, verbose=0)
'''
    },
    "package": {
        "speech/__init__.py": '"""A package."""\n',
        "speech/models.py": '''"""The model."""

import keras


def build_model(units):
    base = keras.Sequential([keras.Input((4,)), keras.layers.Dense(units), keras.layers.Dense(units)], name="base")
    return base, keras.Sequential([base, keras.layers.Dense(1, name="top")])
''',
        "speech/data.py": '''"""The data."""

import tensorflow as tf


def batches(size):
    return tf.data.Dataset.from_tensors((tf.ones((size, 4)), tf.zeros((size, 1))))
''',
        "speech/train.py": '''"""Trains the top alone."""

import argparse

from .data import batches
from .models import build_model


def main(arguments):
    base, model = build_model(arguments.units)
    for layer in base.layers:
        layer.trainable = False
    model.compile("adam", loss="mse")
    model.fit(batches(arguments.batch), epochs=arguments.epochs, verbose=0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--units", type=int, default=8)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=1)
    main(parser.parse_args())
''',
        "speech/evaluate.py": '''"""Knows the model, and trains nothing."""

from .models import build_model

if __name__ == "__main__":
    print(build_model(8)[1].count_params())
''',
    },
    "subclassed": {
        "network.py": '''"""A model with a step of its own, which reads one of its two layers."""

import keras
import tensorflow as tf


class Network(keras.Model):
    def __init__(self):
        super().__init__(name="network")
        self.used = keras.layers.Dense(1, name="used")
        self.spare = keras.layers.Dense(1, name="spare")

    def call(self, x):
        return self.used(x), self.spare(x)

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            used, _ = self(x, training=True)
            loss = tf.reduce_mean(tf.square(used - y))
        variables = self.trainable_variables
        self.optimizer.apply_gradients(
            (gradient, variable)
            for gradient, variable in zip(tape.gradient(loss, variables), variables)
            if gradient is not None
        )
        return {"loss": loss}
''',
        "main.py": '''"""Trains the network."""

import numpy as np

from network import Network

model = Network()
model.compile("sgd")
model.fit(np.ones((8, 4)), np.zeros((8, 1)), verbose=0)
''',
        "show.py": '''"""Knows the network, and does not train it."""

from network import Network

print(Network())
''',
    },
    "loop": {
        "scripts/learn.py": '''"""A loop of its own, with a layer that is frozen by an attribute."""

import keras
import tensorflow as tf

from lib.network import network

model = network()
model.get_layer("first").trainable = False
optimizer = keras.optimizers.SGD(0.1)
for x in tf.data.Dataset.from_tensors(tf.ones((4, 3))).repeat(2):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(x)))
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables))
''',
        "lib/network.py": '''"""The network."""

import keras


def network():
    return keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(3, name="first"), keras.layers.Dense(1, name="second")]
    )
''',
    },
    "pydataset": {
        "run.py": '''"""Trains on a PyDataset, a model that is grown layer by layer."""

import keras
import numpy as np


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        batch = {}
        batch["x"] = np.ones((4, 3), "float32")
        return batch["x"], np.zeros((4,), "int64")


def main():
    model = keras.Sequential([keras.Input((3,))])
    model.add(keras.layers.Dense(8, name="first"))
    model.add(keras.layers.Dense(2, name="second"))
    model.layers[0].trainable = False
    model.compile("adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(Batches(), verbose=0)


if __name__ == "__main__":
    main()
''',
    },
    "frozen": {
        "finetune.py": '''"""Fine-tunes a base that is frozen, with weights that are loaded."""

import os

import keras
import numpy as np

base = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8), keras.layers.Dense(8)], name="base")
base.save_weights("base.weights.h5")
base.load_weights("base.weights.h5")
os.remove("base.weights.h5")
base.trainable = False
inputs = keras.Input((4,))
model = keras.Model(inputs, keras.layers.Dense(1, name="head")(base(inputs)))
model.compile("adam", loss="mse")
model.fit(np.ones((8, 4)), np.zeros((8, 1)), verbose=0)
''',
    },
    "several": {
        "src/train_all.py": '''"""Trains."""

import keras
import numpy as np

from models import pair

if __name__ == "__main__":
    model = pair()
    model.compile("adam", loss=["mse", None])
    model.fit(np.ones((8, 4)), [np.zeros((8, 1)), np.zeros((8, 1))], verbose=0)
''',
        "src/models.py": '''"""Two heads."""

import keras


def pair():
    inputs = keras.Input((4,))
    return keras.Model(inputs, [keras.layers.Dense(1, name=name)(inputs) for name in ("one", "two")])
''',
        "src/pretrain/first.py": '''"""Trains something else before."""

import keras
import numpy as np

model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
model.compile("adam", loss="mse")
model.fit(np.ones((8, 4)), np.zeros((8, 1)), verbose=0)
''',
        "src/tokens.py": '''"""Fits something that is no model."""

import keras
import re

from words import Tokenizer

WORD = re.compile("a")
tokenizer = Tokenizer()
tokenizer.fit(["a", "b"])
''',
    },
    "function": {
        "src/work.py": '''"""Trains where its function is called, which nothing here does."""

import keras
import numpy as np


def fit_once(model):
    model.fit(np.ones((8, 4)), np.zeros((8, 1)), verbose=0)


def experiment(units=4):
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(units, name="hidden")(inputs)
    keras.layers.Dense(units, name="forgotten")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1, name="out")(hidden))
    model.get_layer("hidden").trainable = False
    model.compile("adam", loss="mse")
    fit_once(model)
''',
    },
}

RUN: dict[str, str] = {
    "flat": "train.py",
    "package": "speech.train",
    "subclassed": "main.py",
    "loop": "scripts.learn",
    "pydataset": "run.py",
    "frozen": "finetune.py",
    "several": "src/train_all.py",
    "function": "audits.py",
}
"""What init is to name as each project's script."""

WITHOUT_GRADIENT: dict[str, dict[str, list[str]]] = {
    "flat": {"disconnected": ["right/bias", "right/kernel"]},
    "package": {"frozen": ["base/dense/bias", "base/dense/kernel", "base/dense_1/bias", "base/dense_1/kernel"]},
    "subclassed": {"disconnected": ["network/spare/bias", "network/spare/kernel"]},
    "loop": {},
    "pydataset": {"frozen": ["sequential/first/bias", "sequential/first/kernel"]},
    "frozen": {"frozen": ["base/dense/bias", "base/dense/kernel", "base/dense_1/bias", "base/dense_1/kernel"]},
    "several": {"disconnected": ["two/bias", "two/kernel"]},
    "function": {"frozen": ["hidden/bias", "hidden/kernel"]},
}
"""The variables of each that get none, by their status; of a loop, what is frozen is not listed."""
