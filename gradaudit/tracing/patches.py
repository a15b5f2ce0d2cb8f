"""Attributes of TensorFlow and Keras that are replaced while a step is traced, and put back afterwards."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import keras
import tensorflow as tf

from gradaudit.errors import TraceError


class Patches:
    """Replaces attributes; as a context manager it puts them back, in reverse order, whatever happens."""

    def __init__(self) -> None:
        self._undo = ExitStack()

    def __enter__(self) -> Patches:
        return self

    def __exit__(self, *exception: object) -> None:
        self._undo.close()

    def put(self, owner: Any, name: str, value: Any) -> None:
        """Give `owner` an attribute of this name, in place of one that it has or not."""
        if name in owner.__dict__:
            self._undo.callback(setattr, owner, name, owner.__dict__[name])
        else:
            self._undo.callback(delattr, owner, name)
        setattr(owner, name, value)

    def wrap(self, owner: Any, name: str, wrapper: Callable[..., Any]) -> None:
        """Let calls of `owner.name` go to `wrapper`, which gets the original and then the call's arguments.

        Raises:
            TraceError: this release of TensorFlow or Keras has no such attribute.
        """
        if name not in owner.__dict__:
            versions = f"TensorFlow {tf.__version__}, Keras {keras.__version__}"
            raise TraceError(
                f"{owner.__name__}.{name} is not there in {versions}, and gradaudit needs it. Report this, and "
                "meanwhile use the releases that gradaudit's requirements.lock pins."
            )
        original = owner.__dict__[name]
        called = original.__func__ if isinstance(original, staticmethod) else original

        @functools.wraps(called)
        def replacement(*arguments: Any, **options: Any) -> Any:
            return wrapper(called, *arguments, **options)

        setattr(owner, name, staticmethod(replacement) if called is not original else replacement)
        self._undo.callback(setattr, owner, name, original)
