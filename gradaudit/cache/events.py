"""Python's audit events: they tell of each file that is opened, folder that is listed, program that is begun."""

from __future__ import annotations

import multiprocessing.forkserver
import os
from collections.abc import Callable
from types import FrameType
from typing import Any

from gradaudit.cache.askers import asker, is_import, is_of, is_of_project, module_of, reads_metadata, removes_a_tree
from gradaudit.cache.looks import Aspect
from gradaudit.cache.software import is_of_python
from gradaudit.cache.watch import OF_THE_KERNEL, WRITING, Watch

_NO_FOLDER = -1
"""What stands in an event for `dir_fd` where none was given."""


class Events:
    """Hears what Python does, event by event."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._by_name: dict[str, Callable[[str, FrameType, tuple[Any, ...]], None]] = {
            "open": self._opened,
            "os.listdir": self._listed,
            "os.scandir": self._scanned,
            "tempfile.mkstemp": self._made,
            "tempfile.mkdtemp": self._made,
            "os.rename": self._renamed,
            "os.link": self._linked,
            "os.symlink": self._linked,
            "shutil.rmtree": self._tree_removed,
            "os.chdir": self._entered,
            "subprocess.Popen": self._process_begun,
            **dict.fromkeys(("os.mkdir", "os.remove", "os.rmdir"), self._changed),
            **dict.fromkeys(("os.chmod", "os.chown", "os.utime", "os.truncate", "os.chflags"), self._changed),
            **dict.fromkeys(_UNHELD, self._unheld),
        }

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Note what an event tells."""
        handler = self._by_name.get(event)
        if handler is not None:
            self._watch.note(self._hear, handler, event, arguments)

    def _hear(self, handler: Callable[..., None], event: str, arguments: tuple[Any, ...]) -> None:
        frame = asker()
        if not removes_a_tree(frame):
            handler(event, frame, arguments)

    def _opened(self, _event: str, frame: FrameType, arguments: tuple[Any, ...]) -> None:
        path, _, flags = arguments
        if isinstance(path, int):
            return
        name = os.fsdecode(path)
        if name.startswith(OF_THE_KERNEL):
            self._kernel_asked(frame, name)
        elif flags & (WRITING | os.O_CREAT):
            self._opened_to_be_written(name, flags, frame)
        else:
            self._watch.note_read(name)

    def _opened_to_be_written(self, path: str, flags: int, frame: FrameType) -> None:
        if flags & os.O_EXCL:
            self._watch.note_asked(path)
        elif flags & os.O_TRUNC:
            self._watch.note_written_anew(path)
            return
        elif flags & WRITING != os.O_WRONLY:
            self._watch.note_read(path)
        elif not is_of(frame, "logging"):
            self._watch.note_asked(path, Aspect.SIZE)  # where it is appended tells how large it was
        self._watch.note_written(path, regardless=True)

    def _scanned(self, event: str, frame: FrameType, arguments: tuple[Any, ...]) -> None:
        """Who goes through a folder himself may ask each entry for all that the system knows of it."""
        self._listed(event, frame, arguments)
        path = arguments[0]
        if not is_of_python(frame.f_code.co_filename):
            folder = f"/proc/self/fd/{path}" if isinstance(path, int) else "." if path is None else path
            for name in os.listdir(path):
                self._watch.note_examined(os.path.join(os.path.realpath(os.fsdecode(folder)), os.fsdecode(name)))

    def _listed(self, _event: str, frame: FrameType, arguments: tuple[Any, ...]) -> None:
        path = arguments[0]
        if is_import(frame):
            return  # which modules are found is asked for by their names
        if reads_metadata(frame) and os.path.abspath(str(path)) in self._watch.places_of_software:
            return
        if f"{path}/".startswith(OF_THE_KERNEL):
            self._kernel_asked(frame, str(path))
        else:
            self._watch.note_listed(path)

    def _made(self, _event: str, _frame: FrameType, arguments: tuple[Any, ...]) -> None:
        self._watch.note_made(arguments[0])

    def _renamed(self, _event: str, _frame: FrameType, arguments: tuple[Any, ...]) -> None:
        source, target, *folders = arguments
        self._require_no_folders(*folders)
        if not self._watch.is_made(source) and os.path.abspath(os.fsdecode(source)) not in self._watch.written:
            self._watch.note_read(source)
        self._watch.note_asked(source)
        self._watch.note_written(source)
        self._watch.note_written_anew(target)

    def _linked(self, event: str, _frame: FrameType, arguments: tuple[Any, ...]) -> None:
        source, target, *folders = arguments
        self._require_no_folders(*folders)
        if event == "os.link":
            self._watch.note_read(source)
        self._watch.note_asked(target)
        self._watch.note_written(target)

    def _changed(self, event: str, _frame: FrameType, arguments: tuple[Any, ...]) -> None:
        """A file or folder is made, removed or changed, which goes wrong or not by what was there."""
        path, *others = arguments
        if event != "os.truncate":
            self._require_no_folders(*others[-1:])
        self._watch.note_asked(path)
        if os.path.lexists(path) != (event == "os.mkdir"):  # else it fails
            self._watch.note_written(path)

    def _tree_removed(self, _event: str, _frame: FrameType, arguments: tuple[Any, ...]) -> None:
        path, *folders = arguments
        self._require_no_folders(*(folder for folder in folders if folder is not None))
        if not self._watch.is_made(path):
            self._watch.note_unheld(f"it removes {os.fsdecode(path)}")

    def _require_no_folders(self, *folders: int) -> None:
        if any(folder != _NO_FOLDER for folder in folders):
            self._watch.note_unheld("it names files by a folder that is open (dir_fd)")

    def _entered(self, _event: str, _frame: FrameType, arguments: tuple[Any, ...]) -> None:
        """What the working folder is called then depends on every link on the way."""
        path = arguments[0]
        if isinstance(path, int):
            self._watch.note_asked(path)
        else:
            folder = os.path.abspath(os.fsdecode(path))
            while folder != os.path.dirname(folder):
                self._watch.note_asked(folder)
                folder = os.path.dirname(folder)

    def _process_begun(self, _event: str, _frame: FrameType, arguments: tuple[Any, ...]) -> None:
        words = arguments[1]
        if list(words) != ["uname", "-p"]:  # so Python's platform module asks for the processor
            words = words if isinstance(words, str) else " ".join(map(os.fsdecode, words))
            self._watch.note_unheld(f"it runs another program: {words}")

    def _kernel_asked(self, frame: FrameType, path: str) -> None:
        """Note what tells of the moment, unless it is a library that looks around on the machine."""
        if is_of_project(frame):
            self._watch.note_unheld(f"it reads {path}, which changes by itself")

    def _unheld(self, event: str, frame: FrameType, _arguments: tuple[Any, ...]) -> None:
        if event in _ATTRIBUTES and is_of(frame, "shutil"):
            return  # which copies them
        if module_of(frame) != multiprocessing.forkserver.__name__:  # by which this process came to be
            self._watch.note_unheld(_UNHELD[event])


_ANOTHER_PROCESS = "it begins another process"
_NETWORK = "it uses the network"
_ATTRIBUTES = ("os.getxattr", "os.listxattr")
_UNHELD = {
    **dict.fromkeys(("os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.exec", "pty.spawn"), _ANOTHER_PROCESS),
    **dict.fromkeys(("os.system", "os.startfile"), "it runs another program"),
    **dict.fromkeys(("socket.connect", "socket.sendto", "socket.getaddrinfo"), _NETWORK),
    **dict.fromkeys(("socket.gethostname", "socket.gethostbyname", "socket.gethostbyaddr"), _NETWORK),
    **dict.fromkeys(_ATTRIBUTES, "it asks for extended attributes of files"),
    "sqlite3.connect": "it opens a database",
    "builtins.input": "it asks for input",
}
