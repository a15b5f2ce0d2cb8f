"""What ends a training before its last step: values that are not finite, no progress, a signal."""

from __future__ import annotations

import contextlib
import math
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import FrameType

import keras
import numpy as np

from xtts.data.stream import BatchStream
from xtts.errors import NotFiniteError
from xtts.training.readings import NORM, VALIDATION, WHOLE_NORM, loss_scale

# Where even so small a scale leaves gradients that are not finite in float16, it is not the scale's fault.
_SMALLEST_LOSS_SCALE = 1.0
_LOSS_SCALE = "loss_scale"


class FiniteGuard(keras.callbacks.Callback):
    """Stops at the first step in which a loss or a gradient is not finite, before anything of it is saved.

    Args:
        batches: what `fit` goes through.
        start: steps done before the first of these batches.
    """

    def __init__(self, batches: BatchStream, start: int) -> None:
        super().__init__()
        self.batches = batches
        self.start = start

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Look at the step's values.

        Raises:
            NotFiniteError: one is not finite; the message names step, batch, utterances, loss terms and modules.
        """
        wrong = [name for name, value in (logs or {}).items() if not math.isfinite(value)]
        if loss_scale(self.model.optimizer) < _SMALLEST_LOSS_SCALE:
            wrong.append(_LOSS_SCALE)
        if wrong:
            raise NotFiniteError(f"Step {epoch + 1}: {_culprits(wrong)}. {self._batch(epoch - self.start)}")

    def _batch(self, index: int) -> str:
        rows = self.batches.utterances(index)
        inputs, targets, *_ = self.batches[index]
        damaged = [
            f"{name} of {rows[row]}"
            for name, values in {**inputs, **targets}.items()
            for row in np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))
        ]
        cause = f"Not finite in it: {', '.join(damaged)}." if damaged else "All that is in it is finite."
        return f"It was batch {self.batches.source_index(index)}: {', '.join(rows)}. {cause}"


class EarlyStopping(keras.callbacks.EarlyStopping):
    """Keras's own, which looks only where there was a validation, and takes up where a resumed training was.

    Args:
        patience: validations without a new best after which training ends; `None` for never.
        best: the best so far.
        waited: validations since then.
    """

    def __init__(self, patience: int | None, best: float | None, waited: int) -> None:
        super().__init__(monitor=f"{VALIDATION}loss", mode="min", patience=patience or sys.maxsize)
        self._before = (best, waited)

    @property
    def improved(self) -> bool:
        """Whether the last validation was the best so far."""
        return self.best is not None and self.wait == 0

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        super().on_train_begin(logs)
        self.best, self.wait = self._before

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        if self.monitor in (logs or {}):
            super().on_epoch_end(epoch, logs)


@dataclass
class CaughtSignal:
    """The signal that asked for an end, if one did."""

    number: int | None = None


@contextlib.contextmanager
def signals_caught(caught: CaughtSignal) -> Iterator[CaughtSignal]:
    """Note SIGINT and SIGTERM, so that the step at hand can end and be saved; the second one acts as usual."""
    if threading.current_thread() is not threading.main_thread():
        yield caught  # only the main thread hears of signals
        return
    usual = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def let_go() -> None:
        for number, handler in usual.items():
            signal.signal(number, handler)

    def note(number: int, _frame: FrameType | None) -> None:
        caught.number = number
        let_go()

    for number in usual:
        signal.signal(number, note)
    try:
        yield caught
    finally:
        let_go()


class SignalStop(keras.callbacks.Callback):
    """Ends training after the step in which a signal came."""

    def __init__(self, caught: CaughtSignal) -> None:
        super().__init__()
        self.caught = caught

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        if self.caught.number is not None:
            self.model.stop_training = True


def _culprits(wrong: list[str]) -> str:
    """What is not finite: the loss terms, then the modules in the order in which gradients reach them."""
    modules = [name.removeprefix(NORM) for name in wrong if name.startswith(NORM)][::-1]
    validated = [name.removeprefix(VALIDATION) for name in wrong if name.startswith(VALIDATION)]
    others = {*(f"{NORM}{module}" for module in modules), *(f"{VALIDATION}{name}" for name in validated)}
    terms = [name for name in wrong if name not in {*others, "loss", WHOLE_NORM, _LOSS_SCALE}]
    found = (
        ("not finite in the loss: ", terms),
        ("not finite in the gradient, first where it comes to first: ", modules),
        ("not finite in the validation after it: ", validated),
        ("the gradient is not finite at any scale that float16 has for it", wrong.count(_LOSS_SCALE) * [""]),
    )
    return "; ".join(f"{what}{', '.join(names)}" for what, names in found if names)
