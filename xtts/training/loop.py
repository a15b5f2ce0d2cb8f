"""Trains a model as configured, and tells of every step."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import keras

from xtts.config import Config
from xtts.models.xtts import XTTS
from xtts.training.assembly import compiled_model, training_batches

StepReport = Callable[[int, Mapping[str, float]], None]


def train(config: Config, report: StepReport) -> XTTS:
    """Run `fit` on generated batches.

    Args:
        config: what to train, and how.
        report: called after each step with its number, from 1, and the loss with its terms.

    Returns:
        The trained model.
    """
    keras.utils.set_random_seed(config.train.seed)
    model = compiled_model(config)
    # `fit` would create these inside the traced step, where each variable takes far longer.
    model.build()
    model.optimizer.build(model.trainable_variables)
    model.fit(
        training_batches(config, model),
        # Keras's metrics are means over an epoch: an epoch of one step makes them the step's own values.
        epochs=config.train.steps,
        steps_per_epoch=1,
        shuffle=False,
        verbose=0,
        callbacks=[_StepReports(report)],
    )
    return model


class _StepReports(keras.callbacks.Callback):
    def __init__(self, report: StepReport) -> None:
        super().__init__()
        self.report = report

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Pass a step's losses on."""
        self.report(epoch + 1, logs or {})
