"""Keras variables as they are made: their paths are not known to the TensorFlow variables inside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from keras.src.backend.tensorflow import core

from gradaudit.tracing.patches import Patches


@contextmanager
def keras_variables_noted() -> Iterator[list[Any]]:
    """Inside, every Keras variable that gets a value or a handle is added to the list."""
    made: list[Any] = []

    def initialize(original: Callable[..., None], variable: Any, value: Any) -> None:
        original(variable, value)
        made.append(variable)

    with Patches() as patches:
        patches.wrap(core.Variable, "_initialize", initialize)
        yield made
