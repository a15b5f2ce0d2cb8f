"""Model outputs in real steps: the mean square of each, as it was when the step last ran."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import tensorflow as tf
from keras.src.layers.layer import Layer
from tensorflow.python.eager import record
from tensorflow.python.ops.resource_variable_ops import ResourceVariable

from gradaudit.tracing.origins import ModelOutput, Origins
from gradaudit.tracing.patches import Patches
from gradaudit.tracing.trace import entering


class WatchedOutputs:
    """Watches the outputs of these names, while a step is traced and when it runs."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = names
        self._origins = Origins({})
        self._entering = entering(self._origins)
        self._powers: dict[str, ResourceVariable] = {}

    def install(self, patches: Patches) -> None:
        """Begin to watch."""
        patches.wrap(Layer, "__call__", self._call)

    def power(self, name: str) -> float | None:
        """The mean square of an output; None if it was not computed."""
        value = float(self._powers[name].numpy()) if name in self._powers else float("nan")
        return None if value != value else value

    def _call(self, original: Callable[..., Any], layer: Any, *arguments: Any, **options: Any) -> Any:
        before = len(self._origins.outputs)
        outputs = self._entering(original, layer, *arguments, **options)
        for output in self._origins.outputs[before:]:
            if output.name in self._names and (output.tensor.dtype.is_floating or output.tensor.dtype.is_complex):
                self._watch(output)
        return outputs

    def _watch(self, output: ModelOutput) -> None:
        if output.name not in self._powers:
            with tf.init_scope():
                # Past the creators of variables: those of a `tf.function` let none be made when it is traced again.
                self._powers[output.name] = ResourceVariable(float("nan"), trainable=False)
        with record.stop_recording(), tf.name_scope("output_watched/"):
            numbers = tf.cast(tf.abs(output.tensor), tf.float32)
            self._powers[output.name].assign(tf.reduce_mean(tf.square(numbers)))
