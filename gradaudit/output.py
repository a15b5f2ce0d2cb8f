"""Reports on disk: that they can be written is found out before the long work, and no reader ever sees half of one."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from gradaudit.errors import OutputError

_LONGEST_NAME = 60
"""Characters of a file name, so that even four bytes for each leave room for the ending."""


def require_folder(folder: Path, what: str = "report folder") -> None:
    """Make `folder`, and try that a file can be made in it; errors say `what` it is.

    Raises:
        OutputError: it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except FileExistsError:
        raise OutputError(f"The {what} {folder} cannot be made: a file of that name is in the way.") from None
    except OSError as error:
        raise OutputError(f"The {what} {folder} cannot be written: {error.strerror}. Name another one.") from None


def require_file(path: Path) -> None:
    """Try that `path` can be written, without touching what may stand there; makes its folder.

    Raises:
        OutputError: it is a folder, or its folder cannot be made or written to.
    """
    if path.is_dir():
        raise OutputError(f"The report cannot be written to {path}: it is a folder. Name a file in it.")
    if _is_special(path):
        return
    try:
        path.resolve().parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.resolve().parent):
            pass
    except FileExistsError:
        raise OutputError(f"The report cannot be written to {path}: {path.parent} is no folder.") from None
    except OSError as error:
        raise OutputError(f"The report cannot be written to {path}: {error.strerror}. Name another file.") from None


def write_file(path: Path, content: bytes, what: str = "report") -> None:
    """Write beside `path` and rename, so that an interrupted run or a full disk leaves the old file or none.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        if _is_special(path):
            path.write_bytes(content)
        else:
            _replace(path.resolve(), content)
    except OSError as error:
        raise OutputError(f"The {what} cannot be written to {path}: {error.strerror}.") from None


def file_names(names: Iterable[str]) -> tuple[str, ...]:
    """A file name, without ending, for each audit: no two alike, on file systems that know no capitals either."""
    chosen: list[str] = []
    for name in names:
        safe = _safe(name)
        taken = {other.casefold() for other in chosen}
        number = 2
        unique = safe
        while unique.casefold() in taken:
            unique = f"{safe}-{number}"
            number += 1
        chosen.append(unique)
    return tuple(chosen)


def _safe(name: str) -> str:
    """Letters, digits and `._-` stay; a run of anything else, separators and marks included, becomes one dash."""
    kept = "".join(character if character.isalnum() or character in "._-" else " " for character in name)
    return "-".join(kept.split()).lstrip(".-")[:_LONGEST_NAME].rstrip(".-") or "audit"


def _is_special(path: Path) -> bool:
    """A device, a pipe: something that is written to and must not be replaced."""
    return path.exists() and not path.is_file()


def _replace(path: Path, content: bytes) -> None:
    # In a folder that was made when it was checked and is gone since, this fails as it should.
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=".gradaudit-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(beside).chmod(_usual_mode(path))  # a temporary file is for its owner alone
        Path(beside).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(beside).unlink()
        raise


def _usual_mode(path: Path) -> int:
    """The mode of the file that is replaced, or that of a new file under the user's mask."""
    if path.exists():
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
