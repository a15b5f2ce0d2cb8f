"""Files that are there whole or not at all: written beside, had on the disk, and renamed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

PARTIAL = ".*.partial"
"""The names of files that are being written, or were when a process was killed."""


@contextlib.contextmanager
def replaced(path: Path, writer: str = "") -> Iterator[IO[bytes]]:
    """Yield a file that takes the place of `path` at the end, or goes without trace if there is an error.

    Args:
        path: the file; its folder is there.
        writer: tells several processes apart that may write the same file at once.

    Raises:
        OSError: it cannot be written; `path` is as it was.
    """
    beside = path.with_name(f".{path.name}{writer and f'.{writer}'}.partial")
    try:
        with beside.open("w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        _sync_folder(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise


def _sync_folder(folder: Path) -> None:
    """Have the new name on the disk too: until then a power cut may take it back."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
