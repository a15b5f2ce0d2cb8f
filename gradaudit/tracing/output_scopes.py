"""Name scopes for the losses of `compile`: each is computed in one that is named after the output it is for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from keras.src.trainers.compile_utils import CompileLoss

from gradaudit.tracing.patches import Patches


def install(patches: Patches) -> None:
    """Open the scopes. A model with one loss alone keeps that loss's own name."""
    patches.wrap(CompileLoss, "call", _call)


def _call(original: Callable[..., Any], compile_loss: Any, *arguments: Any, **options: Any) -> Any:
    losses = compile_loss._flat_losses
    if losses is None or len(losses) < 2:
        return original(compile_loss, *arguments, **options)
    times = Counter(entry.name for entry in losses)
    compile_loss._flat_losses = [entry._replace(loss=_scoped(entry, times[entry.name] > 1)) for entry in losses]
    try:
        return original(compile_loss, *arguments, **options)
    finally:
        compile_loss._flat_losses = losses


def _scoped(entry: Any, one_of_several: bool) -> Callable[..., Any]:
    """A loss in the scope of its output, and of its own name too where the output has several."""
    name = f"{entry.name}_{entry.loss.name}" if one_of_several else entry.name

    def compute(*arguments: Any) -> Any:
        # An output inside another has its whole path for a name, which is to be one scope.
        with tf.name_scope(name.replace("/", ".")):
            return entry.loss(*arguments)

    return compute
