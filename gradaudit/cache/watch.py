"""What a process reads while it makes an audit: files, folders, variables of the environment, names of modules.

What cannot be seen to its end is a reason to keep no answer.
"""

from __future__ import annotations

import importlib.util
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from gradaudit.cache.looks import EVERYTHING, KIND, Aspect, Look, listing, modules_found
from gradaudit.cache.software import is_library

OF_THE_KERNEL = ("/proc/", "/sys/")
_NO_FILES = (*OF_THE_KERNEL, "/dev/")
_PYCACHE = f"{os.sep}__pycache__{os.sep}"
WRITING = os.O_WRONLY | os.O_RDWR
SAME_FOR_ALL = frozenset(f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty"))
_readlink, _realpath = os.readlink, os.path.realpath


class _Within(threading.local):
    """Whether this thread is noting something, which reads files and variables, too."""

    noting = False


_within = _Within()


@dataclass
class Watch:
    """What was read so far. Paths are absolute."""

    is_on: bool = True
    looks: dict[str, Look] = field(default_factory=dict)
    """What there was where something was read, written or asked for, before that."""
    read: set[str] = field(default_factory=set)
    written: set[str] = field(default_factory=set)
    asked: dict[str, Aspect] = field(default_factory=dict)
    """What was asked of paths, beside what is there."""
    made: set[str] = field(default_factory=set)
    """Temporary files and folders of this process, which are nobody's before."""
    taken_over: set[str] = field(default_factory=set)
    """Paths that were written without regard to what was there: only what keeps somebody from that counts."""
    listings: dict[str, list[str] | None] = field(default_factory=dict)
    places_of_software: frozenset[str] = frozenset()
    """Where distributions are looked for, of which `software` tells."""
    sources: set[str] = field(default_factory=set)
    """The sources of what was run as Python had made it before."""
    modules: dict[str, dict[str, None]] = field(default_factory=dict)
    """The names of the modules that were looked for, by their package; those in none by ''."""
    places: dict[str, dict[str, dict[str, list[str] | None]]] = field(default_factory=dict)
    """By package the folders that were looked in for modules, and what was there for each name just before."""
    variables: set[str] = field(default_factory=set)
    reads_all_variables: bool = False
    reads_arguments: bool = False
    unheld: dict[str, None] = field(default_factory=dict)
    """Reasons for which an answer cannot be kept, in the order in which they arose."""

    def note(self, note: Callable[..., None], *arguments: Any) -> None:
        """Note something by a function, but for what that does itself."""
        if self.is_on and not _within.noting:
            _within.noting = True
            try:
                note(*arguments)
            finally:
                _within.noting = False

    def note_read(self, path: Any) -> None:
        """A file is opened to be read."""
        self.read.update(self._looked_at(path))

    def note_written(self, path: Any, *, regardless: bool = False) -> None:
        """A file is opened to be written, or comes to be there, or is removed or changed.

        It may be written `regardless` of what is there: then only what would keep it from that matters.
        """
        for name in self._looked_at(path):
            self.note_asked(os.path.dirname(name), Aspect.MODE)
            if regardless and name not in self.read and name not in self.asked:
                self.taken_over.add(name)
            else:
                self.note_asked(name)
            self.written.add(name)

    def note_written_anew(self, path: Any) -> None:
        """A file is written from its beginning: what is read of it from now on is this process's own."""
        for name in self._looked_at(path):
            self.note_written(path, regardless=True)
            if name not in self.read:
                self.made.update((name, _realpath(name)))

    def note_made(self, path: Any) -> None:
        """A file or folder is made under a name that nobody has chosen."""
        name = self._absolute(path)
        if name is not None:
            self.note_asked(os.path.dirname(name))
            self.made.add(name)

    def note_asked(self, path: Any, aspects: Aspect = KIND) -> None:
        """Somebody asks what there is at a path."""
        for name in self._looked_at(path):
            self.asked[name] = aspects | self.asked.get(name, KIND)

    def note_examined(self, path: Any) -> None:
        """Somebody asks for all that the system knows of a path."""
        self.note_asked(path, EVERYTHING)

    def note_listed(self, path: Any) -> None:
        """A folder is listed."""
        name = self._kept("." if path is None else path)
        if name is not None and name not in self.listings:
            self.listings[name] = listing(name)

    def note_sought(self, module: str, places: Iterable[Any]) -> None:
        """A module is about to be looked for in these folders."""
        package, _, name = module.rpartition(".")
        self.modules.setdefault(package, {})[name] = None
        for place in places:
            folder = os.path.abspath(place) if isinstance(place, str) else ""
            if folder and not is_library(f"{folder}{os.sep}"):
                found = self.places.setdefault(package, {}).setdefault(folder, {})
                if name not in found:
                    found[name] = modules_found(folder, [name])

    def note_opened(self, path: str, flags: Sequence[int], look: Look) -> None:
        """The kernel tells that a path was opened, and what there was just before."""
        if _PYCACHE in path:
            self._note_bytecode(path)
            return
        name = self._kept(path)
        if name is None or path.startswith(_NO_FILES) and not path.startswith("/dev/shm/"):
            return
        if look.kind == "folder":
            is_sought = any(name in folders for folders in self.places.values()) or name in self.places_of_software
            if not is_sought and not is_library(f"{name}{os.sep}"):
                self.note_listed(name)
            return
        self.looks.setdefault(name, look)
        if any(flag & WRITING for flag in flags) and name not in self.written:
            write = self.note_written_anew if flags[0] & (os.O_TRUNC | os.O_EXCL) else self.note_written
            write(name)
        if any(flag & WRITING != os.O_WRONLY for flag in flags) and not self._is_made(name):
            self.read.add(name)

    def _note_bytecode(self, path: str) -> None:
        """What Python has made of a source before is no file that a person changes: the source is held."""
        with suppress(ValueError, NotImplementedError):
            source = importlib.util.source_from_cache(path)
            if os.path.exists(source):
                self.sources.add(source)

    def note_unheld(self, reason: str) -> None:
        """Something is done of which the outcome may be another one next time."""
        self.unheld.setdefault(reason)

    def has_changed(self, path: str) -> bool:
        """Whether this process has written, made or removed what is at an absolute path, as far as it was told."""
        return path in self.written or self._is_made(path) or _PYCACHE in f"{path}{os.sep}"

    def is_made(self, path: Any) -> bool:
        """Whether a path is in what this process has made for a time."""
        name = self._absolute(path)
        return name is not None and self._is_made(name)

    def _looked_at(self, path: Any) -> list[str]:
        """The path as it is kept, looked at; none where nothing is to be kept of it."""
        name = self._kept(path)
        if name is None:
            return []
        if name not in self.looks:
            self.looks[name] = Look.at(name)
        return [name]

    def _kept(self, path: Any) -> str | None:
        """The absolute path; None where nothing is to be kept of it. Links from what was made are followed."""
        name = self._absolute(path)
        if name is None or _PYCACHE in f"{name}{os.sep}":
            return None
        if self._is_made(name):
            name = _realpath(name)
            return None if self._is_made(name) else name
        return name

    def _is_made(self, name: str) -> bool:
        return name in self.made or any(name.startswith(f"{made}{os.sep}") for made in self.made)

    def _absolute(self, path: Any) -> str | None:
        """A path as seen from here; None of what has no name, or is the same on every machine."""
        try:
            text = _readlink(f"/proc/self/fd/{path}") if isinstance(path, int) else os.fsdecode(path)
            name = text if os.path.isabs(text) else os.path.join(os.getcwd(), text)
        except TypeError:  # no path: whoever is asked will say so
            return None
        except (OSError, ValueError):
            self.note_unheld(f"it asks for {path!r}, of which nobody knows where that is")
            return None
        if "\0" in name or name in SAME_FOR_ALL:
            return None
        return name if ".." in name.split(os.sep) else os.path.normpath(name)  # what is above a link is not seen here
