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
    scopes = _Scopes()
    patches.wrap(CompileLoss, "call", scopes.call)
    patches.wrap(CompileLoss, "build", scopes.build)


class _Scopes:
    """Puts the losses of a model into scopes while they are computed, the first time as soon as they are known."""

    def __init__(self) -> None:
        self._computing: dict[int, Any] = {}
        """The losses as they were, by the id of what holds them; None until they are known."""

    def call(self, original: Callable[..., Any], compile_loss: Any, *arguments: Any, **options: Any) -> Any:
        """Compute the losses, each in its scope."""
        self._computing[id(compile_loss)] = None
        self._open(compile_loss)
        try:
            return original(compile_loss, *arguments, **options)
        finally:
            losses = self._computing.pop(id(compile_loss))
            if losses is not None:
                compile_loss._flat_losses = losses

    def build(self, original: Callable[..., None], compile_loss: Any, *arguments: Any, **options: Any) -> None:
        """Match losses and outputs, which a call does if nobody has."""
        original(compile_loss, *arguments, **options)
        if id(compile_loss) in self._computing:
            self._open(compile_loss)

    def _open(self, compile_loss: Any) -> None:
        losses = self._computing[id(compile_loss)] = compile_loss._flat_losses
        if losses is not None and len(losses) > 1:
            times = Counter(entry.name for entry in losses)
            compile_loss._flat_losses = [entry._replace(loss=_scoped(entry, times[entry.name] > 1)) for entry in losses]


def _scoped(entry: Any, one_of_several: bool) -> Callable[..., Any]:
    """A loss in the scope of its output, and of its own name too where the output has several."""
    name = f"{entry.name}_{entry.loss.name}" if one_of_several else entry.name

    def compute(*arguments: Any) -> Any:
        # An output inside another has its whole path for a name, which is to be one scope.
        with tf.name_scope(name.replace("/", ".")):
            return entry.loss(*arguments)

    return compute
