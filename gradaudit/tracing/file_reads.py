"""What TensorFlow asks for past Python without opening it: whether a file is there, and what there is of a name."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Protocol

from tensorflow.python.lib.io import _pywrap_file_io, file_io

from gradaudit.tracing.patches import Patches


class FileNotes(Protocol):
    """Who wants to know of the files."""

    def note(self, note: Callable[..., None], *arguments: Any) -> None:
        """Note something by one of the functions below."""

    def note_read(self, path: Any) -> None:
        """What is in a file may be read."""

    def note_written(self, path: Any) -> None:
        """Something comes to be there, or is removed."""

    def note_asked(self, path: Any) -> None:
        """Somebody asks what there is at a path."""

    def note_examined(self, path: Any) -> None:
        """Somebody asks for all that the system knows of a path."""

    def note_listed(self, path: Any) -> None:
        """A folder is listed."""

    def note_unheld(self, reason: str) -> None:
        """Something is asked of which it is not known here what."""


def tell_file_reads(patches: Patches, notes: FileNotes) -> None:
    """Until the patches are undone, let all that is asked past Python be told."""

    def changed(path: Any) -> None:
        notes.note_asked(path)
        notes.note_written(path)

    def renamed(source: Any, target: Any) -> None:
        notes.note_read(source)
        changed(source)
        changed(target)

    told: dict[str, Callable[..., None]] = {
        **dict.fromkeys(("FileExists", "IsDirectory"), notes.note_asked),
        **dict.fromkeys(("CreateDir", "RecursivelyCreateDir", "DeleteFile", "DeleteRecursively"), changed),
        "Stat": notes.note_examined,
        "GetMatchingFiles": lambda pattern: _note_pattern(notes, pattern),
    }
    look = _pywrap_file_io.Stat

    def size(_original: Callable[..., int], file: file_io.FileIO) -> int:
        return int(look(os.fspath(file.name)).length)  # of what is about to be read, and more than this is not seen

    patches.wrap(file_io.FileIO, "size", size)
    for name, note in told.items():
        patches.wrap(_pywrap_file_io, name, _noting(notes, 1, note))
    patches.wrap(_pywrap_file_io, "RenameFile", _noting(notes, 2, renamed))


def _note_pattern(notes: FileNotes, pattern: Any) -> None:
    """Whoever asks for all files of a pattern asks for a listing, if only the last part is one."""
    folder = os.fsdecode(pattern).rpartition("/")[0]
    if any(mark in folder for mark in "*?["):
        notes.note_unheld(f"it looks for {os.fsdecode(pattern)}")
    else:
        notes.note_listed(folder or ".")


def _noting(notes: FileNotes, paths: int, note: Callable[..., None]) -> Callable[..., Any]:
    """A wrapper of a function whose first arguments are so many paths."""

    def call(original: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        notes.note(note, *arguments[:paths])
        return original(*arguments, **options)

    return call
