"""Files of a script: what it wrote before its step is written out, and the step, which is only traced, writes none."""

from __future__ import annotations

import builtins
import contextlib
import gc
import io
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


def write_out() -> None:
    """Write out what is buffered in all files that are open, as the end of a process does."""
    files = [each for each in gc.get_objects() if issubclass(type(each), io.IOBase)]  # objects may lie of their class
    # Texts go by way of the bytes below them, which are flushed with them.
    for file in sorted(files, key=lambda each: isinstance(each, io.RawIOBase | io.BufferedIOBase)):
        with contextlib.suppress(Exception):  # closed, or its reader is gone: nobody is left to be told
            file.flush()


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
