"""A model as it is looked at between steps: with averaged weights, always the same noise, and no trace left of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext

import keras
import numpy as np
from keras import ops

from xtts.training.checkpoint import seeds


class QuietValidation(keras.callbacks.Callback):
    """Has every validation look at the model so, and leave it as it was.

    Keras's own `SwapEMAWeights` swaps by adding and subtracting, and so changes the last bits of the weights.
    """

    def __init__(self) -> None:
        super().__init__()
        self._looking = ExitStack()

    def on_test_begin(self, logs: Mapping[str, float] | None = None) -> None:
        self._looking.enter_context(looked_at(self.model))

    def on_test_end(self, logs: Mapping[str, float] | None = None) -> None:
        self._looking.close()


@contextmanager
def looked_at(model: keras.Model) -> Iterator[None]:
    """Put the averaged weights in the place of the weights, if there are any, rewind the noise, and undo both."""
    scope = model.distribute_strategy.scope if hasattr(model, "distribute_strategy") else nullcontext
    states = seeds(model)
    averaged = getattr(model.optimizer, "inner_optimizer", model.optimizer).use_ema
    changed = [*states, *(model.trainable_variables if averaged else ())]
    before = [_copy(variable) for variable in changed]
    with scope():
        if averaged:
            model.optimizer.finalize_variable_values(model.trainable_variables)
            for variable in model.trainable_variables:
                # On JAX a weight and its average are one buffer now, and a compiled step takes the weights' for itself.
                variable.assign(_copy(variable))
        for number, state in enumerate(states):
            state.assign(np.array([0, number], state.dtype))
    try:
        yield
    finally:
        with scope():
            for variable, value in zip(changed, before, strict=True):
                variable.assign(value)


def _copy(variable) -> np.ndarray:
    return np.array(ops.convert_to_numpy(variable))
