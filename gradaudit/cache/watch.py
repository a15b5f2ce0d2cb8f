"""What a process reads while it makes an audit: files, folders, variables of the environment, names of modules.

Python tells of each file that is opened and of each folder that is listed, by its audit events. Who merely asks whether
something is there, and what of the environment is read, is seen by functions that are put in the place of Python's own.
What compiled libraries do by themselves is told by whoever knows them. What cannot be seen to its end is a reason to
keep no answer.
"""

from __future__ import annotations

import importlib.util
import multiprocessing.forkserver
import multiprocessing.util
import os
import pathlib
import stat
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.abc import MetaPathFinder
from types import FrameType, ModuleType
from typing import Any

from gradaudit.cache.software import is_library

_IMPORTERS = ("<frozen importlib", "<frozen zipimport>")
_METADATA_READERS = (f"importlib{os.sep}metadata{os.sep}", f"importlib_metadata{os.sep}")
_PATH_MODULES = ("genericpath", "posixpath", "ntpath")
_SAME_FOR_ALL = frozenset(f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty"))
_OF_THE_KERNEL = ("/proc/", "/sys/", "/dev/")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_stat, _readlink = os.stat, os.readlink


KIND, SIZE, TIME = range(3)
"""How much somebody wants to know of a path: what is there, how large that is too, and when it was changed as well."""


@dataclass(frozen=True)
class Look:
    """What there was at a path when it was first looked at."""

    kind: str
    """`absent`, `folder`, `file` or `other`."""
    size: int = 0
    changed: tuple[int, int] = (0, 0)
    """When, in nanoseconds, and which inode it is."""
    link: str | None = None
    """What it says itself, if it is a link."""

    @staticmethod
    def at(path: str) -> Look:
        """Look there now."""
        link = None
        with suppress(OSError, ValueError):
            link = _readlink(path)
        try:
            found = _stat(path)
        except (OSError, ValueError):
            return Look("absent", link=link)
        if stat.S_ISDIR(found.st_mode):
            return Look("folder", changed=(found.st_mtime_ns, found.st_ino), link=link)
        if not stat.S_ISREG(found.st_mode):
            return Look("other", link=link)
        return Look("file", found.st_size, (found.st_mtime_ns, found.st_ino), link)


def listing(folder: str) -> list[str] | None:
    """What is in a folder, in order, folders with a slash; None where it cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            return sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in entries)
    except OSError:
        return None


class _Within(threading.local):
    """Whether this thread is noting something, which reads files and variables, too."""

    noting = False


_within = _Within()


@dataclass
class Watch:
    """What was read so far. Paths are absolute."""

    is_on: bool = True
    looks: dict[str, Look] = field(default_factory=dict)
    read: set[str] = field(default_factory=set)
    written: set[str] = field(default_factory=set)
    asked: dict[str, int] = field(default_factory=dict)
    """How much was asked of paths."""
    made: set[str] = field(default_factory=set)
    """Temporary files and folders of this process, which are nobody's before."""
    listings: dict[str, list[str] | None] = field(default_factory=dict)
    modules: set[str] = field(default_factory=set)
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

    def note_written(self, path: Any) -> None:
        """A file is opened to be written, or comes to be there."""
        self.written.update(self._looked_at(path))

    def note_asked(self, path: Any, detail: int = KIND) -> None:
        """Somebody asks what there is at a path."""
        for name in self._looked_at(path):
            self.asked[name] = max(detail, self.asked.get(name, KIND))

    def note_listed(self, path: Any) -> None:
        """A folder is listed."""
        name = self._absolute("." if path is None else path)
        if name is not None and name not in self.listings and not self._is_made(name):
            self.listings[name] = listing(name)

    def note_unheld(self, reason: str) -> None:
        """Something is done of which the outcome may be another one next time."""
        self.unheld.setdefault(reason)

    def _looked_at(self, path: Any) -> list[str]:
        """The path as it is kept, looked at; none where nothing is to be kept of it."""
        name = self._absolute(path)
        if name is None or self._is_made(name):
            return []
        if name not in self.looks:
            self.looks[name] = Look.at(name)
        return [name]

    def _is_made(self, name: str) -> bool:
        return name in self.made or any(name.startswith(f"{made}{os.sep}") for made in self.made)

    def _absolute(self, path: Any) -> str | None:
        """A path as seen from here; None of what has no name, or is the same on every machine."""
        try:
            text = _readlink(f"/proc/self/fd/{path}") if isinstance(path, int) else os.fsdecode(path)
            name = os.path.join(os.getcwd(), text)
        except (OSError, TypeError, ValueError):
            return None
        if "\0" in name or name in _SAME_FOR_ALL or "://" in text:
            return None
        return name if ".." in name.split(os.sep) else os.path.normpath(name)  # what is above a link is not seen here


_current: list[Watch] = []


def watch() -> Watch:
    """The watch of this process, which begins with the first call."""
    if not _current:
        began = Watch()
        if "tensorflow" in sys.modules:
            began.note_unheld("TensorFlow was imported before anybody watched what that reads")
        _current.append(began)
        sys.addaudithook(_Events(began).hear)
        sys.meta_path.insert(0, _Names(began))
        _watch_questions(began)
        _watch_variables(began)
        _watch_children(began)
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
        self._watch.note(self._watch.modules.add, name)


class _Arguments(list[str]):
    """The arguments of the command, which tell when they are read."""

    watch: Watch

    def __getitem__(self, index: Any) -> Any:
        self.watch.reads_arguments |= self.watch.is_on
        return super().__getitem__(index)

    def __iter__(self) -> Iterator[str]:
        self.watch.reads_arguments |= self.watch.is_on
        return super().__iter__()

    def __len__(self) -> int:
        self.watch.reads_arguments |= self.watch.is_on
        return super().__len__()


def watch_arguments(watch: Watch) -> None:
    """Let the arguments of this process tell when they are read."""
    arguments = _Arguments(sys.argv)
    arguments.watch = watch
    sys.argv = arguments


# --------------------------------------------------------------------------------------------------------------- events


class _Events:
    """Hears what Python does, event by event."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._by_name: dict[str, Callable[[str, FrameType, tuple[Any, ...]], None]] = {
            "open": self._opened,
            "os.listdir": self._listed,
            "os.scandir": self._listed,
            "tempfile.mkstemp": self._made,
            "tempfile.mkdtemp": self._made,
            "os.rename": self._renamed,
            "os.link": self._renamed,
            "os.symlink": self._renamed,
            "ctypes.dlopen": self._library_loaded,
            "subprocess.Popen": self._process_begun,
            **dict.fromkeys(_UNHELD, self._unheld),
        }

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        handler = self._by_name.get(event)
        if handler is not None:
            self._watch.note(handler, event, sys._getframe(1), arguments)

    def _opened(self, _event: str, frame: FrameType, arguments: tuple[Any, ...]) -> None:
        path, mode, flags = arguments
        if isinstance(path, int) or _reads_metadata(frame):
            return
        if _is_import(frame):
            self._source_opened(os.fsdecode(path), isinstance(flags, int) and bool(flags & _WRITING))
        elif str(path).startswith(_OF_THE_KERNEL):
            self._kernel_asked(frame, str(path))
        elif _writes(mode, flags):
            self._watch.note_written(path)
            if "+" in mode if mode is not None else flags & os.O_RDWR:
                self._watch.note_read(path)
            if (mode is not None and "x" in mode) or (isinstance(flags, int) and flags & os.O_EXCL):
                self._watch.note_asked(path)
        else:
            self._watch.note_read(path)

    def _source_opened(self, path: str, is_written: bool) -> None:
        """Of a module Python reads what it has made of the source before; that is not what a person changes."""
        if path.endswith(".pyc"):
            with suppress(ValueError, NotImplementedError):
                source = importlib.util.source_from_cache(path)
                path = source if os.path.exists(source) else path
        if not is_written:
            self._watch.note_read(path)

    def _listed(self, _event: str, frame: FrameType, arguments: tuple[Any, ...]) -> None:
        path = arguments[0]
        if _is_import(frame) or _reads_metadata(frame):
            return  # which modules and distributions are found is asked for by their names
        if f"{path}/".startswith(_OF_THE_KERNEL):
            self._kernel_asked(frame, str(path))
        else:
            self._watch.note_listed(path)

    def _made(self, _event: str, _frame: FrameType, arguments: tuple[Any, ...]) -> None:
        self._watch.made.add(os.path.abspath(os.fsdecode(arguments[0])))

    def _renamed(self, _event: str, frame: FrameType, arguments: tuple[Any, ...]) -> None:
        if not _is_import(frame):
            self._watch.note_written(arguments[1])

    def _library_loaded(self, _event: str, _frame: FrameType, arguments: tuple[Any, ...]) -> None:
        name = arguments[0]
        if name is not None and not is_library(os.fsdecode(name)):
            self._watch.note_unheld(f"it loads the library {os.fsdecode(name)}")

    def _process_begun(self, _event: str, _frame: FrameType, arguments: tuple[Any, ...]) -> None:
        words = arguments[1]
        if list(words) != ["uname", "-p"]:  # so Python's platform module asks for the processor
            words = words if isinstance(words, str) else " ".join(map(os.fsdecode, words))
            self._watch.note_unheld(f"it runs another program: {words}")

    def _kernel_asked(self, frame: FrameType, path: str) -> None:
        """Note what tells of the moment, unless it is a library that looks around while it is imported."""
        if path not in _SAME_FOR_ALL and not _is_of_libraries(frame):
            self._watch.note_unheld(f"it reads {path}, which changes by itself")

    def _unheld(self, event: str, frame: FrameType, _arguments: tuple[Any, ...]) -> None:
        if frame.f_globals.get("__name__") != multiprocessing.forkserver.__name__:  # by which this process came to be
            self._watch.note_unheld(_UNHELD[event])


_ANOTHER_PROCESS = "it begins another process"
_NETWORK = "it uses the network"
_UNHELD = {
    **dict.fromkeys(("os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.exec", "pty.spawn"), _ANOTHER_PROCESS),
    **dict.fromkeys(("os.system", "os.startfile"), "it runs another program"),
    **dict.fromkeys(("socket.connect", "socket.sendto", "socket.getaddrinfo"), _NETWORK),
    **dict.fromkeys(("socket.gethostname", "socket.gethostbyname", "socket.gethostbyaddr"), _NETWORK),
    "sqlite3.connect": "it opens a database",
    "builtins.input": "it asks for input",
}


def _writes(mode: str | None, flags: Any) -> bool:
    if mode is not None:
        return not {"w", "a", "x", "+"}.isdisjoint(mode)
    return isinstance(flags, int) and bool(flags & _WRITING)


def _is_import(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(_IMPORTERS)


def _reads_metadata(frame: FrameType) -> bool:
    """Whether somebody asks which distributions are installed, as `importlib.metadata` does with pathlib or zipfile."""
    link: FrameType | None = frame
    for _ in range(4):
        if link is not None:
            if any(reader in link.f_code.co_filename for reader in _METADATA_READERS):
                return True
            link = link.f_back
    return False


def _is_of_libraries(frame: FrameType) -> bool:
    """Whether no line of the project's own has called this, but for its `import` of what does it."""
    link: FrameType | None = frame
    while link is not None:
        if not is_library(link.f_code.co_filename):
            return False
        if link.f_code.co_name == "<module>":
            return True
        link = link.f_back
    return True


# ------------------------------------------------------------------------------------------------------- questions


def _watch_questions(watch: Watch) -> None:
    """Let `os.stat` and its like tell what is asked, which is no event."""
    for name in ("stat", "lstat", "access", "readlink"):
        _replace_everywhere(name, _asking(watch, getattr(os, name)))


def _asking(watch: Watch, original: Callable[..., Any]) -> Callable[..., Any]:
    def ask(path: Any, *arguments: Any, **options: Any) -> Any:
        if not isinstance(path, int):
            watch.note(_note_question, watch, path, sys._getframe(1))
        return original(path, *arguments, **options)

    ask.__name__ = ask.__qualname__ = original.__name__
    ask.__doc__ = original.__doc__
    return ask


def _note_question(watch: Watch, path: Any, frame: FrameType) -> None:
    if not str(path).startswith(_OF_THE_KERNEL) and not _reads_metadata(frame):
        watch.note_asked(path, _detail(frame))


def _detail(frame: FrameType) -> int:
    """How much is asked by a call of `os.stat`: whoever calls it himself gets to know all."""
    module, asked_by = _module(frame), frame
    if module in _PATH_MODULES:
        return {"getsize": SIZE, "getmtime": TIME, "getatime": TIME, "getctime": TIME}.get(frame.f_code.co_name, KIND)
    if module.startswith("pathlib"):
        if frame.f_back is None or _module(frame.f_back).startswith("pathlib"):
            return KIND
        asked_by = frame.f_back
    # Python's own `linecache`, `shutil` and the like are not after the time.
    return SIZE if is_library(asked_by.f_code.co_filename) else TIME


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__"))


def _replace_everywhere(name: str, replacement: Callable[..., Any]) -> None:
    """Put a function in the place of one of `os`, also in the sets by which `shutil` knows what it can do."""
    original = getattr(os, name)
    for known in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks, os.supports_effective_ids):
        if original in known:
            known.add(replacement)
    setattr(os, name, replacement)
    accessor = getattr(pathlib, "_NormalAccessor", None)  # Python 3.10 keeps its own references
    if accessor is not None and hasattr(accessor, name):
        setattr(accessor, name, staticmethod(replacement))


# --------------------------------------------------------------------------------------- the environment, and children


def _watch_variables(watch: Watch) -> None:
    """Let `os.environ` tell which of its variables are read.

    A library that goes through all of them while it is imported looks for those of its own.
    """
    kind = type(os.environ)
    read, go_through, count = kind.__getitem__, kind.__iter__, kind.__len__

    def note_name(name: str, frame: FrameType) -> None:
        if frame.f_code.co_name != "__iter__" or not _is_of_libraries(frame):
            watch.variables.add(name)

    def note_all(frame: FrameType) -> None:
        watch.reads_all_variables |= not _is_of_libraries(frame)

    def note_and_read(environment: Any, name: Any) -> Any:
        if isinstance(name, str | bytes):
            watch.note(note_name, os.fsdecode(name), sys._getframe(1))
        return read(environment, name)

    def note_and_go_through(environment: Any) -> Any:
        watch.note(note_all, sys._getframe(1))
        return go_through(environment)

    def note_and_count(environment: Any) -> int:
        watch.note(note_all, sys._getframe(1))
        return count(environment)

    for name, replacement in (
        ("__getitem__", note_and_read),
        ("__iter__", note_and_go_through),
        ("__len__", note_and_count),
    ):
        setattr(kind, name, replacement)


def _watch_children(watch: Watch) -> None:
    """Let `multiprocessing` tell of the processes that it begins without an event."""
    original = multiprocessing.util.spawnv_passfds

    def note_and_spawn(*arguments: Any) -> Any:
        watch.note(watch.note_unheld, _ANOTHER_PROCESS)
        return original(*arguments)

    multiprocessing.util.spawnv_passfds = note_and_spawn  # type: ignore[assignment]  # in place of the function
