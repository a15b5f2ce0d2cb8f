"""What the kernel tells of a process: each way to open a file, from whichever thread or child, before it is opened."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gradaudit.cache.syscalls import ADDRESS, Supervisor

OPENER = """
import ctypes, os, socket, subprocess, sys, threading

from gradaudit.cache.syscalls import install_filter

install_filter()
worker = os.fork()
if worker:
    os.waitpid(worker, 0)
    sys.exit(print(worker))
library = ctypes.CDLL(None)
open("by-python")
library.creat(b"created", 0o600)
folder = os.open("folder", os.O_RDONLY)
open("inside", opener=lambda name, flags: os.open(name, flags, dir_fd=folder))
open("/" + "./" * 2000 + os.path.abspath("long-path")[1:])
thread = threading.Thread(target=open, args=["by-a-thread"])
thread.start()
thread.join()
child = os.fork()
if child == 0:
    open("by-a-child")
    os.chdir("folder")
    open("inside-too")
    os._exit(0)
os.waitpid(child, 0)
library.fopen(b"absent", b"r")
open("by-python", "w")
if "further" in sys.argv:
    subprocess.run(["true"])
    with socket.socket() as connection:
        connection.connect_ex(("127.0.0.1", 9))
    os.mkfifo("pipe")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the files that are opened."""
    (tmp_path / "folder").mkdir()
    for name in ("by-python", "folder/inside", "long-path", "by-a-thread", "by-a-child", "folder/inside-too"):
        (tmp_path / name).touch()
    return tmp_path


def supervised(folder: Path, *arguments: str) -> tuple[Supervisor, int]:
    """Whoever has supervised the opener, and the process that was forked from it."""
    supervisor = Supervisor()
    environment = {**os.environ, ADDRESS: supervisor.address}
    command = [sys.executable, "-c", OPENER, *arguments]
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as process:
        output, _ = process.communicate(timeout=60)
    if not supervisor.supervises(process.pid):
        pytest.skip("this system does not tell which files a process opens (by user notification of seccomp)")
    return supervisor, int(output)


def test_every_way_to_open_a_file_is_told_with_what_was_there_before(folder: Path) -> None:
    supervisor, process = supervised(folder)
    of_server, opens, _ = supervisor.opens(process)
    found = {path.removeprefix(f"{folder}/"): look.kind for path, look in opens.looks.items() if str(folder) in path}

    assert found == {
        "by-python": "file",
        "created": "absent",
        "folder": "folder",
        "folder/inside": "file",
        "long-path": "file",
        "by-a-thread": "file",
        "by-a-child": "file",
        "folder/inside-too": "file",
        "absent": "absent",
    }
    assert not opens.unheld
    assert not any(str(folder) in path for path in of_server.looks)
    reading, writing = opens.flags[str(folder / "by-python")]
    assert reading & os.O_ACCMODE == os.O_RDONLY
    assert writing & os.O_ACCMODE == os.O_WRONLY
    assert writing & os.O_TRUNC


def test_what_is_no_file_that_stays_is_told(folder: Path) -> None:
    supervisor, process = supervised(folder, "further")
    _, opens, _ = supervisor.opens(process)

    assert list(opens.unheld) == ["it runs another program", "it uses the network", "it makes a special file"]


def test_nobody_is_supervised_by_a_supervisor_that_nobody_connects_to() -> None:
    supervisor = Supervisor()

    assert supervisor.opens(os.getpid()) == []
    assert not supervisor.supervises(os.getpid())
