"""Python's search for garbage, put off: what an audit makes is needed until its end, and looking it over takes time."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def garbage_left_alone() -> Iterator[None]:
    """Inside, Python does not search for objects that keep only each other alive."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def remove_garbage() -> None:
    """Remove what has become garbage since the last time; what was left then is not looked at again."""
    gc.collect(1)
