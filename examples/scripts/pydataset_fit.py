"""A model with two inputs, fit on a PyDataset with workers; one branch is made and never called."""

import keras
import numpy as np


class Pairs(keras.utils.PyDataset):
    def __init__(self, count, **options):
        super().__init__(**options)
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        numbers = np.random.default_rng(index)
        inputs = {"words": numbers.integers(0, 50, (8, 12)), "length": numbers.normal(size=(8, 1)).astype("float32")}
        return inputs, numbers.integers(0, 2, (8, 1)).astype("float32")


class Judge(keras.Model):
    def __init__(self):
        super().__init__(name="judge")
        self.embed = keras.layers.Embedding(50, 16, name="embed")
        self.read = keras.layers.GRU(16, name="read")
        self.attend = keras.layers.MultiHeadAttention(2, 8, name="attend")
        self.decide = keras.layers.Dense(1, name="decide")

    def call(self, inputs):
        read = self.read(self.embed(inputs["words"]))
        return self.decide(keras.ops.concatenate([read, inputs["length"]], axis=-1))


model = Judge()
model.compile("adamw", loss=keras.losses.BinaryCrossentropy(from_logits=True), metrics=["accuracy"])
model.fit(Pairs(4, workers=2, use_multiprocessing=False), epochs=1, verbose=0)
