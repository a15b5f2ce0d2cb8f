"""Saves a training at the steps where that is due."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import keras

from xtts.config import Config
from xtts.training.checkpoint import Facts
from xtts.training.run_folder import RunFolder
from xtts.training.stopping import EarlyStopping


def is_saved(step: int, config: Config) -> bool:
    """Whether a training that goes as configured is saved, validated and shown after that step."""
    return step % config.train.save_every == 0 or step == config.train.steps


class Saver(keras.callbacks.Callback):
    """Writes a checkpoint every so many steps, and at the end, whatever the reason for it.

    Args:
        folder: where.
        config: what is trained; its tables are written along.
        progress: knows the best validation so far.
        say: called with what was saved.
    """

    def __init__(self, folder: RunFolder, config: Config, progress: EarlyStopping, say: Callable[[str], None]) -> None:
        super().__init__()
        self.folder = folder
        self.config = config
        self.progress = progress
        self.say = say

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Save, if it is due.

        Raises:
            RunError: the checkpoint cannot be written; those before it are still there.
        """
        step = epoch + 1
        if not (is_saved(step, self.config) or self.model.stop_training):
            return
        best = None if self.progress.best is None else float(self.progress.best)
        is_best = self.progress.monitor in (logs or {}) and self.progress.improved
        facts = Facts(step, self.config.model_dump(mode="json"), best, self.progress.wait)
        path = self.folder.save(self.model, facts, is_best)
        self.say(f"saved {path}{', the best so far' if is_best else ''}")
