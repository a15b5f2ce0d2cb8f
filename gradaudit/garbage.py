"""Python's search for garbage, put off: what an audit makes is needed until its end, and looking it over takes time.

What files have buffered may be lost in it, or without it, and is written out before.
"""

from __future__ import annotations

import gc
import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress


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


def write_out() -> None:
    """Write out what is buffered in all files that are open, as the end of a process does."""
    objects = gc.get_objects()
    kinds = {kind for kind in set(map(type, objects)) if issubclass(kind, io.IOBase)}  # objects may lie of their class
    files = [each for each in objects if type(each) in kinds]
    # Texts go by way of the bytes below them, which are flushed with them.
    for file in sorted(files, key=lambda each: isinstance(each, io.RawIOBase | io.BufferedIOBase)):
        with suppress(Exception):  # closed, or its reader is gone: nobody is left to be told
            file.flush()
