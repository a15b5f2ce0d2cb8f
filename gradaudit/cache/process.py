"""What a process was begun with and begins: its arguments, the environment, and processes of its own."""

from __future__ import annotations

import multiprocessing.util
import os
import sys
from collections.abc import Callable
from typing import Any

from gradaudit.cache.askers import asker, is_of_imported_library
from gradaudit.cache.watch import Watch

_READING = (
    *("__getitem__", "__iter__", "__len__", "__contains__", "__reversed__", "__add__", "__mul__", "__rmul__"),
    *("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__repr__", "copy", "count", "index", "pop"),
    *("__imul__", "remove", "sort"),
)


class _Arguments(list[str]):
    """The arguments of the command, which tell when they are read."""

    watch: Watch

    def __radd__(self, other: list[str]) -> list[str]:
        return [*other, *self]

    def __reduce_ex__(self, protocol: Any) -> Any:
        return list, ([*self],)  # for another process they are a list


def _telling(name: str) -> Callable[..., Any]:
    original = getattr(list, name)

    def read(arguments: _Arguments, *others: Any, **options: Any) -> Any:
        arguments.watch.reads_arguments |= arguments.watch.is_on
        return original(arguments, *others, **options)

    return read


for _name in _READING:
    setattr(_Arguments, _name, _telling(_name))


def watch_arguments(watch: Watch, arguments: list[str], all_arguments: list[str]) -> None:
    """Let the arguments of this process tell when they are read.

    Args:
        watch: who is told.
        arguments: those of the command, as `sys.argv` has them.
        all_arguments: with Python's own, as `sys.orig_argv` has them.
    """
    sys.argv, sys.orig_argv = _Arguments(arguments), _Arguments(all_arguments)
    for each in (sys.argv, sys.orig_argv):
        each.watch = watch


def watch_variables(watch: Watch) -> None:
    """Let `os.environ` tell which of its variables are read.

    A library that goes through all of them while it is imported looks for those of its own.
    """
    kind = type(os.environ)
    read, go_through, count, show = kind.__getitem__, kind.__iter__, kind.__len__, kind.__repr__

    def note_name(name: str) -> None:
        frame = asker()
        if frame.f_code.co_name != "__iter__" or not is_of_imported_library(frame):
            watch.variables.add(name)

    def note_all() -> None:
        watch.reads_all_variables |= not is_of_imported_library(asker())

    def note_and_read(environment: Any, name: Any) -> Any:
        if isinstance(name, str | bytes):
            watch.note(note_name, os.fsdecode(name))
        return read(environment, name)

    def note_and_go_through(environment: Any) -> Any:
        watch.note(note_all)
        return go_through(environment)

    def note_and_count(environment: Any) -> int:
        watch.note(note_all)
        return count(environment)

    def note_and_show(environment: Any) -> str:
        watch.note(note_all)
        return show(environment)

    for name, replacement in (
        ("__getitem__", note_and_read),
        ("__iter__", note_and_go_through),
        ("__len__", note_and_count),
        ("__repr__", note_and_show),
    ):
        setattr(kind, name, replacement)


def watch_children(watch: Watch) -> None:
    """Let `multiprocessing` tell of the processes that it begins without an event."""
    original = multiprocessing.util.spawnv_passfds

    def note_and_spawn(*arguments: Any) -> Any:
        watch.note(watch.note_unheld, "it begins another process")
        return original(*arguments)

    multiprocessing.util.spawnv_passfds = note_and_spawn  # type: ignore[assignment]  # in place of the function
