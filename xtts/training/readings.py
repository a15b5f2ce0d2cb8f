"""What is read off a step beside its loss terms, and how its values are called."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import keras
from keras import ops

from xtts.training.gradient_norms import read_norms

VALIDATION = "val_"
NORM = "gradient_norm/"
WHOLE_NORM = "gradient_norm"
RATE = "learning_rate"
SECONDS = "seconds"


class Readings(keras.callbacks.Callback):
    """Adds to the logs of each step, for the callbacks after this one.

    These are the learning rate, the gradient's norm, whole and of each module, and the seconds since the step before.

    Args:
        rate: the learning rate of the step with that number, from 0.
    """

    def __init__(self, rate: Callable[[int], float]) -> None:
        super().__init__()
        self.rate = rate
        self._before = 0.0

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        self._before = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if logs is None:
            return
        norms = read_norms(self.model.optimizer)
        now = time.perf_counter()
        logs[RATE] = self.rate(epoch)
        if norms:
            logs[WHOLE_NORM] = math.hypot(*norms.values())
            logs.update({f"{NORM}{module}": norm for module, norm in norms.items()})
        logs[SECONDS], self._before = now - self._before, now


def loss_terms(logs: dict[str, float]) -> dict[str, float]:
    """Return the loss and its terms alone, those of a validation included."""
    others = (WHOLE_NORM, RATE, SECONDS)
    return {name: value for name, value in logs.items() if not name.startswith(NORM) and name not in others}


def loss_scale(optimizer: keras.optimizers.Optimizer) -> float:
    """Return the factor of the loss in float16; infinity where there is no scaling."""
    scale = getattr(optimizer, "dynamic_scale", None)
    return math.inf if scale is None else float(ops.convert_to_numpy(scale))
