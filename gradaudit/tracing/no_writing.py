"""Files of a script: its step, which is only traced, writes none."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from gradaudit.tracing.patches import Patches

_WRITING = frozenset("wax+")
_WRITERS: tuple[tuple[Any, str], ...] = (
    (keras.Model, "save"),
    (keras.Model, "save_weights"),
    (keras.Model, "export"),
    (tf.train.Checkpoint, "write"),
    (tf.train.Checkpoint, "save"),
    (tf.train.CheckpointManager, "save"),
)


class WritesError(Exception):
    """A step that is traced was about to write a file."""


def refuse_writing(patches: Patches) -> None:
    """Let whatever would write a file end the step, as far as Python can see it."""
    patches.wrap(builtins, "open", _open)
    for owner, name in _WRITERS:
        patches.wrap(owner, name, _write)


def _open(original: Callable[..., Any], file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
    if _WRITING.isdisjoint(str(mode)):
        return original(file, mode, *arguments, **options)
    raise WritesError(f"it writes {file}")


def _write(original: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    raise WritesError(f"it saves by {original.__name__}")
