"""What an architecture is: a function that builds a compiled model, the batch it trains on, and what of it is dead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from gradaudit import Subject


@dataclass(frozen=True)
class Values:
    """One tensor of a batch: integers below a number, or, without one, normally distributed numbers."""

    shape: tuple[int, ...]
    below: int | None = None

    @property
    def spec(self) -> tf.TensorSpec:
        return tf.TensorSpec(self.shape, tf.float32 if self.below is None else tf.int32)

    def drawn(self, numbers: np.random.Generator) -> tf.Tensor:
        if self.below is None:
            return tf.constant(numbers.normal(size=self.shape), tf.float32)
        return tf.constant(numbers.integers(self.below, size=self.shape), tf.int32)


@dataclass(frozen=True)
class Architecture:
    """`dead` has the beginnings of the paths of variables that are not connected, and their status.

    `inert` has ends of paths, and why a connected variable has a gradient of zero in theory, and of rounding noise in
    numbers: docs/limitations.md names these.
    """

    name: str
    model: Callable[[], keras.Model]
    batch: Any
    dead: Mapping[str, str] = field(default_factory=dict)
    inert: Mapping[str, str] = field(default_factory=dict)
    slow: bool = False

    def status(self, path: str) -> str:
        return next((status for beginning, status in self.dead.items() if path.startswith(beginning)), "connected")

    def subject(self) -> Subject:
        return Subject.from_keras(self.model(), tf.nest.map_structure(lambda values: values.spec, self.batch))


ARCHITECTURES: list[Architecture] = []


def architecture(
    *batch: Any, dead: Mapping[str, str] | None = None, inert: Mapping[str, str] | None = None, slow: bool = False
) -> Callable[[Callable[[], keras.Model]], Callable[[], keras.Model]]:
    """Register a function that builds a compiled model, with the batch that it trains on."""

    def register(model: Callable[[], keras.Model]) -> Callable[[], keras.Model]:
        ARCHITECTURES.append(Architecture(model.__name__, model, batch, dead or {}, inert or {}, slow))
        return model

    return register


def compiled(model: keras.Model) -> keras.Model:
    """The model with the optimizer, loss and metrics that keras-hub gives a task of its kind."""
    model.compile()
    return model


KEY_BIAS = {"key/bias": "shifts all scores of a query alike, which softmax ignores"}
