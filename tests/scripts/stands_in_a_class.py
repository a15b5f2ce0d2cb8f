"""A generator method with super, private names and annotations in its loop."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf


class Base:
    def prepare(self, x):
        return x * 2.0


class Trainer(Base):
    def __init__(self):
        self.__model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(1)])
        self.__opt = keras.optimizers.SGD()

    def __apply(self, pairs):
        self.__opt.apply_gradients(pairs)

    def prepare(self, x):
        return -x

    def train(self):
        __seen = 0
        variables = self.__model.trainable_variables

        def count():
            return __seen, self

        for x in np.random.rand(4, 8, 4).astype("float32"):
            __seen += 1
            with tf.GradientTape() as tape:
                loss: tf.Tensor = tf.reduce_mean(self.__model(super().prepare(x)) ** 2)
                z: int
                total: tf.Tensor = loss * count()[0]
            self.__apply(zip(tape.gradient(total, variables), variables))
            yield float(loss)


for value in Trainer().train():
    print(value)
