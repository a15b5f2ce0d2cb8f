"""What processes open, as the kernel tells it, of Python and of compiled libraries alike (seccomp's user notification).

A process that has installed the filter, and all that come from it, stand still at each such call until a `Supervisor`
in a process above them has noted it. See seccomp(2) and seccomp_unotify(2).
"""

from __future__ import annotations

import copy
import ctypes
import errno
import fcntl
import os
import platform
import re
import select
import signal
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from gradaudit.cache.looks import Look
from gradaudit.cache.software import is_covered, is_library

ADDRESS = "GRADAUDIT_SUPERVISOR"
"""The variable of the environment that says where a supervisor waits for the process that it is to supervise."""

_CALLS = {
    "x86_64": {
        2: "open",
        85: "creat",
        257: "openat",
        437: "openat2",
        59: "execve",
        322: "execveat",
        42: "connect",
        425: "io_uring_setup",
        133: "mknod",
        259: "mknodat",
    },
    "aarch64": {
        56: "openat",
        437: "openat2",
        221: "execve",
        281: "execveat",
        203: "connect",
        425: "io_uring_setup",
        33: "mknodat",
    },
}
"""By machine the numbers of the calls that are noted."""
_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_SECCOMP = {"x86_64": 317, "aarch64": 277}
_UNHELD = {
    "execve": "it runs another program",
    "execveat": "it runs another program",
    "io_uring_setup": "it reads files by io_uring",
    "mknod": "it makes a special file",
    "mknodat": "it makes a special file",
}
_NO_NEW_PRIVILEGES, _SIGNAL_OF_PARENTS_END = 38, 1
_SET_FILTER, _NEW_LISTENER, _WAIT_KILLABLE = 1, 8, 32
_LOAD, _IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _NOTIFY = 0x7FFF0000, 0x7FC00000
_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_NOTIFICATION = struct.Struct("=QIIiIQ6Q")
"""Its id, the thread, flags, the call, the architecture, where it stands, its arguments."""
_ANSWER = struct.Struct("=QqiI")
_CONTINUE = 1
_HERE = -100
"""What stands for a folder that is the working one."""
_LONGEST_PATH = 4096
_OF_MODULES = (".py", ".pyc")
_STATUS = re.compile(rb"^Tgid:\t(\d+)$.*^PPid:\t(\d+)$", re.MULTILINE | re.DOTALL)
_NOBODY = 0
"""In the place of a process: what has none of ours above it any more."""
_INTERNET = (socket.AF_INET, socket.AF_INET6)


@dataclass
class Opens:
    """What a process and those that it began have opened. Paths are absolute."""

    looks: dict[str, Look] = field(default_factory=dict)
    """What there was at each path, just before it was opened first."""
    flags: dict[str, list[int]] = field(default_factory=dict)
    """With which flags it was opened, in order, each once."""
    unheld: dict[str, None] = field(default_factory=dict)
    """What they did of which the outcome may be another one next time."""

    def note(self, path: str, flags: int) -> None:
        """A file or folder is about to be opened."""
        if is_covered(path) or is_library(path) and path.endswith(_OF_MODULES):
            return  # which modules are loaded the process knows itself
        if path not in self.looks:
            self.looks[path] = Look.at(path)
        known = self.flags.setdefault(path, [])
        if flags not in known:
            known.append(flags)


def install_filter() -> None:
    """Let each call of this process, which has one thread yet, go by the supervisor that waits at `ADDRESS`, if any.

    The machine or the kernel may not be able to, or forbid it: then nobody is supervised.
    """
    machine = platform.machine()
    address = os.environ.get(ADDRESS)
    if machine in _CALLS and address:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.connect(f"\0{address}")
            end_with_parent()
            listener = _listener(machine)
            socket.send_fds(connection, [b"."], [listener])
            os.close(listener)


def _listener(machine: str) -> int:
    """Install the filter; returns the descriptor by which the kernel tells.

    Raises:
        OSError: it cannot be installed.
    """
    library = ctypes.CDLL(None, use_errno=True)
    library.syscall.restype = ctypes.c_long
    program = b"".join(_program(machine))
    text = ctypes.create_string_buffer(program, len(program))
    filter_program = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(text))
    for is_privileged in (True, False):  # without privileges one has to renounce those of programs that it runs
        if not is_privileged:
            _control(library, _NO_NEW_PRIVILEGES, 1)
        for flags in (_NEW_LISTENER | _WAIT_KILLABLE, _NEW_LISTENER):  # that signals do not disturb is of Linux 5.19
            numbers = map(ctypes.c_ulong, (_SECCOMP[machine], _SET_FILTER, flags))
            listener = library.syscall(*numbers, filter_program)
            if listener >= 0:
                return int(listener)
    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def end_with_parent() -> None:
    """Let the kernel end this process with the one that has begun it, which its calls wait for."""
    _control(ctypes.CDLL(None), _SIGNAL_OF_PARENTS_END, signal.SIGKILL)


def _control(library: ctypes.CDLL, option: int, value: int) -> None:
    library.prctl(option, *map(ctypes.c_ulong, (value, 0, 0, 0)))


def _program(machine: str) -> Iterator[bytes]:
    """The instructions of the filter: are the machine and the call one of ours?"""
    numbers = list(_CALLS[machine])
    yield struct.pack("HBBI", _LOAD, 0, 0, 4)
    yield struct.pack("HBBI", _IF_EQUAL, 0, len(numbers) + 1, _ARCHITECTURE[machine])
    yield struct.pack("HBBI", _LOAD, 0, 0, 0)
    for position, number in enumerate(numbers):
        yield struct.pack("HBBI", _IF_EQUAL, len(numbers) - position, 0, number)
    yield struct.pack("HBBI", _RETURN, 0, 0, _ALLOW)
    yield struct.pack("HBBI", _RETURN, 0, 0, _NOTIFY)


class Supervisor:
    """Notes what the process opens that connects to it, and all that come from that."""

    def __init__(self) -> None:
        self.address = f"gradaudit-{os.getpid()}-{id(self)}"
        self._calls = _CALLS.get(platform.machine(), {})
        self._server: int | None = None
        self._opens: dict[int, Opens] = {}
        self._lock = threading.Lock()
        self._waiting = socket.socket(socket.AF_UNIX)
        self._waiting.bind(f"\0{self.address}")
        self._waiting.listen(1)
        threading.Thread(target=self._supervise, daemon=True).start()

    def supervises(self, process: int | None) -> bool:
        """Whether this is the process that has connected to it."""
        return self._server is not None and process == self._server

    def opens(self, process: int) -> list[Opens]:
        """What the server has opened, and a process that was forked from it; empty where nobody is supervised."""
        if self._server is None:
            return []
        with self._lock:
            return [copy.deepcopy(self._opens.get(each, Opens())) for each in (self._server, process, _NOBODY)]

    def _supervise(self) -> None:
        with self._waiting, suppress(OSError):
            connection, _ = self._waiting.accept()
            with connection:
                process, user, _ = struct.unpack(
                    "3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
                )
                _, listeners, _, _ = socket.recv_fds(connection, 1, 1)
            for listener in listeners if user == os.getuid() else ():  # none, where no filter could be installed
                self._server = process
                try:
                    self._listen(listener)
                finally:
                    os.close(listener)

    def _listen(self, listener: int) -> None:
        ready = select.poll()
        ready.register(listener, select.POLLIN)
        while True:
            buffer = bytearray(_NOTIFICATION.size)
            try:
                fcntl.ioctl(listener, _RECEIVE, buffer)
            except OSError as error:
                is_over = any(event & select.POLLHUP for _, event in ready.poll(0))
                if is_over or error.errno not in (errno.ENOENT, errno.EINTR):
                    return
                continue  # the process has gone, or was interrupted meanwhile
            call, thread, _, number, _, _, *arguments = _NOTIFICATION.unpack(buffer)
            with self._lock:
                self._note(thread, self._calls[number], arguments)
            with suppress(OSError):
                fcntl.ioctl(listener, _SEND, _ANSWER.pack(call, 0, 0, _CONTINUE))

    def _note(self, thread: int, call: str, arguments: list[int]) -> None:
        opens = self._opens.setdefault(_NOBODY, Opens())
        try:
            opens = self._opens.setdefault(self._owner(thread), Opens())
            if call in _UNHELD:
                opens.unheld.setdefault(_UNHELD[call])
            elif call == "connect":
                family = int.from_bytes(_memory(thread, arguments[1], 2), "little")
                if family in _INTERNET:
                    opens.unheld.setdefault("it uses the network")
            else:
                opens.note(*self._opened(thread, call, arguments))
        except Exception as error:  # noqa: BLE001  # whatever is wrong, the process waits for an answer
            opens.unheld.setdefault(f"the kernel does not tell what it opens ({error})")

    def _opened(self, thread: int, call: str, arguments: list[int]) -> tuple[str, int]:
        """The path, and the flags."""
        folder, address, flags = _HERE, arguments[0], arguments[1]
        if call == "creat":
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        elif call in ("openat", "openat2"):
            folder, address, flags = ctypes.c_int(arguments[0]).value, arguments[1], arguments[2]
        if call == "openat2":
            flags = int.from_bytes(_memory(thread, flags, 8), "little")
        path = os.fsdecode(_text(thread, address))
        if not os.path.isabs(path):
            path = os.path.join(os.readlink(f"/proc/{thread}/{'cwd' if folder == _HERE else f'fd/{folder}'}"), path)
        return path if ".." in path.split(os.sep) else os.path.normpath(path), flags & 0xFFFFFFFF

    def _owner(self, thread: int) -> int:
        """The process below the server that a thread belongs to, or the server itself; `_NOBODY`'s are counted to all.

        Numbers of processes and threads are used again, so that none of it is remembered.
        """
        facts = _STATUS.search(Path(f"/proc/{thread}/status").read_bytes())
        if facts is None:
            return _NOBODY
        process, parent = map(int, facts.groups())
        if self._server in (process, parent):
            return process
        return self._owner(parent) if parent > 1 else _NOBODY


def _memory(thread: int, address: int, length: int) -> bytes:
    memory = os.open(f"/proc/{thread}/mem", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(memory, length, address) or b"\0"
    finally:
        os.close(memory)


def _text(thread: int, address: int) -> bytes:
    text = b""
    while b"\0" not in text and len(text) <= _LONGEST_PATH:  # no page is read that the text does not reach into
        text += _memory(thread, address + len(text), 4096 - (address + len(text)) % 4096)
    return text.partition(b"\0")[0]
