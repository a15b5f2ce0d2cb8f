"""A Keras callback: audits the step that `fit` is about to run, and stops or warns before the first one."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from os import PathLike
from types import FrameType
from typing import Any, Literal

import keras

from gradaudit.errors import GateError, SubjectError
from gradaudit.integrations.checking import checked
from gradaudit.subject import Subject

_FIT = "epoch_iterator"
"""What `fit` calls the batches that it goes through, for those who look for it from a callback."""


class AuditCallback(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Audits at `on_train_begin`.

    Args:
        action: "stop" raises GateError where a variable will never learn, so that no step is run; "warn" warns.
        fail_on: the statuses of variables that are meant; left out, those of the config, or of a run.
        config: a TOML file of gradaudit's, relative to the working folder, whose severities, suppressions, contracts,
            participation scopes and baseline count; with `scenario`, as that scenario has them.
        baseline: the file of what is known and fails nothing; left out, that of the config.
        batch: what `train_step` gets, as `Subject.from_keras` takes it; left out, what `fit` was given.
        options: further arguments of `gradaudit.audit`, such as `contracts`.

    Attributes:
        audit: the audit, once training has begun.
    """

    def __init__(
        self,
        action: Literal["stop", "warn"] = "stop",
        *,
        fail_on: Sequence[str] | None = None,
        config: str | PathLike[str] | None = None,
        baseline: str | PathLike[str] | None = None,
        batch: Any = None,
        **options: Any,
    ) -> None:
        super().__init__()
        if action not in ("stop", "warn"):
            raise SubjectError(f'action must be "stop" or "warn", not {action!r}')
        self._action = action
        self._batch = batch
        self._options = {"fail_on": fail_on, "config": config, "baseline": baseline, **options}
        self.audit: Any = None

    def on_train_begin(self, logs: Any = None) -> None:
        """Audit the model's step, and say what is found if the gate fails.

        Raises:
            GateError: it fails, and the action is "stop".
            ConfigError: a word of `fail_on` is no status, or a file cannot be read.
            SubjectError: it cannot be told what `fit` was given.
        """
        subject = Subject.from_keras(self.model, _batch_of_fit() if self._batch is None else self._batch)
        self.audit, report = checked(subject, **self._options)
        if report is None:
            return
        message = f"{self.model.name} has variables that this training will not train\n\n{report}"
        if self._action == "stop":
            raise GateError(message)
        warnings.warn(message, stacklevel=2)


def _batch_of_fit() -> Any:
    """The description of the batches that the running `fit` goes through."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        iterator = frame.f_locals.get(_FIT)
        if iterator is not None and hasattr(iterator, "_distributed_dataset"):
            return _one_replica_s(iterator._distributed_dataset.element_spec)
        frame = frame.f_back
    raise SubjectError("What fit was given cannot be seen from here. Pass it: AuditCallback(batch=(x, y)).")


def _one_replica_s(spec: Any) -> Any:
    """What one replica gets of a description of what all get."""
    return keras.tree.map_structure(lambda part: getattr(part, "_value_specs", (part,))[0], spec)
