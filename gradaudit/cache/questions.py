"""Questions that are no event, `os.stat` above all: functions in the place of Python's own tell of them."""

from __future__ import annotations

import os
import pathlib
import posix
from collections.abc import Callable
from types import FrameType
from typing import Any

from gradaudit.cache.askers import asker, aspects_asked, is_import, reads_metadata, removes_a_tree
from gradaudit.cache.events import OF_THE_KERNEL
from gradaudit.cache.looks import KIND, Aspect
from gradaudit.cache.watch import Watch


def watch_questions(watch: Watch) -> None:
    """Let `os.stat` and its like tell what is asked."""

    def note(name: str, path: Any, options: dict[str, Any]) -> None:
        frame = asker()
        if is_import(frame) or removes_a_tree(frame):
            return
        if options.get("dir_fd") is not None:
            watch.note_unheld("it names files by a folder that is open (dir_fd)")
        if name != "open":
            _note_question(watch, name, path, frame)

    for name in ("stat", "lstat", "fstat", "access", "readlink", "open"):
        _replace_everywhere(name, _asking(watch, note, getattr(os, name)))


def _asking(watch: Watch, note: Callable[..., None], original: Callable[..., Any]) -> Callable[..., Any]:
    def ask(path: Any, *arguments: Any, **options: Any) -> Any:
        watch.note(note, original.__name__, path, options)
        return original(path, *arguments, **options)

    ask.__name__ = ask.__qualname__ = original.__name__
    ask.__doc__ = original.__doc__
    return ask


def _note_question(watch: Watch, name: str, path: Any, frame: FrameType) -> None:
    if str(path).startswith(OF_THE_KERNEL) or reads_metadata(frame, str(path)):
        return
    aspects = {"access": Aspect.MODE, "readlink": KIND}.get(name, aspects_asked(frame))
    if aspects or not isinstance(path, int):  # what is behind the number of an open file was told when it was opened
        watch.note_asked(path, aspects)


def _replace_everywhere(name: str, replacement: Callable[..., Any]) -> None:
    """Put a function in the place of one of `os`, also in the sets by which `shutil` knows what it can do."""
    original = getattr(os, name)
    for known in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks, os.supports_effective_ids):
        if original in known:
            known.add(replacement)
    for module in (os, posix):
        setattr(module, name, replacement)
    accessor = getattr(pathlib, "_NormalAccessor", None)  # Python 3.10 keeps its own references
    if accessor is not None and hasattr(accessor, name):
        setattr(accessor, name, staticmethod(replacement))
