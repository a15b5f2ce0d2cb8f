"""Files of a prepared corpus, each there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np

from xtts.errors import DataError
from xtts.whole_files import replaced


def write_text(path: Path, text: str) -> None:
    """Write a text file.

    Raises:
        DataError: it cannot be written.
    """
    _write(path, lambda file: file.write(text.encode("utf-8")))


def write_array(path: Path, array: np.ndarray) -> None:
    """Write one array as `.npy`.

    Raises:
        DataError: it cannot be written.
    """
    _write(path, lambda file: np.save(file, array, allow_pickle=False))


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write named arrays as `.npz`.

    Raises:
        DataError: it cannot be written.
    """
    _write(path, lambda file: np.savez(file, allow_pickle=False, **arrays))


def make_folder(path: Path) -> None:
    """Make a folder, and try that it can be written to.

    Raises:
        DataError: it cannot.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise DataError(f"The folder {path} cannot be written: {error.strerror}. Name another one.") from None


def _write(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced(path, writer=str(os.getpid())) as file:
            write(file)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror}. Make room, or name another folder.") from None
