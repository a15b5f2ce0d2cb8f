"""Questions that are no event, `os.stat` above all: functions in the place of Python's own tell of them."""

from __future__ import annotations

import functools
import os
import pathlib
import posix
from collections.abc import Callable
from typing import Any

from gradaudit.cache.askers import asker, aspects_asked, is_import, removes_a_tree
from gradaudit.cache.looks import KIND, Aspect
from gradaudit.cache.watch import OF_THE_KERNEL, Watch


def watch_questions(watch: Watch) -> None:
    """Let `os.stat` and its like tell what is asked."""
    for name in ("stat", "lstat", "fstat", "access", "readlink", "open"):
        _replace_everywhere(name, _Question(watch, getattr(os, name)))


class _Question:
    """A function of `os` that tells who asks what; like that one it binds to no object, and can be pickled."""

    def __init__(self, watch: Watch, original: Callable[..., Any]) -> None:
        functools.update_wrapper(self, original)
        self.__module__ = "os"
        self._watch, self._original = watch, original

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        path = arguments[0] if arguments else options.get("path", options.get("fd"))
        self._watch.note(self._note, path, options)
        return self._original(*arguments, **options)

    def __reduce__(self) -> str:
        return self._original.__name__

    def _note(self, path: Any, options: dict[str, Any]) -> None:
        frame = asker()
        if is_import(frame) or removes_a_tree(frame):
            return
        if options.get("dir_fd") is not None:
            self._watch.note_unheld("it names files by a folder that is open (dir_fd)")
        name = self._original.__name__
        if name != "open" and not str(path).startswith(OF_THE_KERNEL):
            aspects = {"access": Aspect.MODE, "readlink": KIND}.get(name, aspects_asked(frame))
            if aspects or not isinstance(path, int):  # what is behind a number was told when it was opened
                self._watch.note_asked(path, aspects)


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
