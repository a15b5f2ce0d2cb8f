"""The watch of this process.

Python tells of each file that is opened and of each folder that is listed, by its audit events. Who merely asks whether
something is there, and what of the environment is read, is seen by functions that are put in the place of Python's own.
What compiled libraries do by themselves is told by whoever knows them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType

from gradaudit.cache.events import Events
from gradaudit.cache.process import watch_children, watch_variables
from gradaudit.cache.questions import watch_questions
from gradaudit.cache.watch import Watch

_current: list[Watch] = []


def watch() -> Watch:
    """The watch of this process, which begins with the first call."""
    if not _current:
        began = Watch()
        if "tensorflow" in sys.modules:
            began.note_unheld("TensorFlow was imported before anybody watched what that reads")
        for module in (*sys.modules, "sitecustomize", "usercustomize"):  # Python looks for the two by itself
            began.note_sought(module, ())
        _current.append(began)
        sys.addaudithook(Events(began).hear)
        sys.meta_path.insert(0, _Names(began))
        watch_questions(began)
        watch_variables(began)
        watch_children(began)
    return _current[0]


def stop_watching() -> None:
    """Note nothing more in this process."""
    for begun in _current:
        begun.is_on = False


class _Names(MetaPathFinder):
    """Hears which modules are looked for, whoever finds them, and finds none."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        self._watch.note(self._watch.note_sought, name, sys.path if path is None else path)
