"""The command and programs in forks of one process that has imported TensorFlow, which takes longer than most of them.

A fork is a process of its own, which a script may end, change or hang. What depends on how a process begins (its
environment at the import of TensorFlow, a closed output, a signal) is tested with real ones.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType

from gradaudit.cache.watching import stop_watching

ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONDONTWRITEBYTECODE": "1"}
_IMPORTED = [
    "gradaudit.cli.preloaded",
    "tensorflow",
    "keras",
    "gradaudit.running",
    "gradaudit.auditing",
    "gradaudit.cli",
]
"""The first is what `--jobs` forks from, whose processes come from this server too where a test runs it."""

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(_IMPORTED)


def gradaudit(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `gradaudit` in a folder, as `python -m gradaudit` does."""
    return _forked(_command, arguments, folder, environment)


def program(folder: Path, text: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a folder, as `python -c` does."""
    return _forked(_program, [text, *arguments], folder, environment)


def _forked(
    target: Callable[[Sequence[str]], None], arguments: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # the server has it from here
    with tempfile.TemporaryDirectory() as written:
        output, errors = (Path(written) / name for name in ("output", "errors"))
        given = (target, arguments, folder, {**os.environ, **ENVIRONMENT, **environment}, output, errors)
        process = _context.Process(target=_become, args=given)
        process.start()
        process.join()
        texts = (path.read_text("utf-8") if path.exists() else "" for path in (output, errors))
        return subprocess.CompletedProcess(arguments, process.exitcode or 0, *texts)


def _become(
    target: Callable[[Sequence[str]], None],
    arguments: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    output: Path,
    errors: Path,
) -> None:
    """What the fork does: become the process that is asked for, and do what it does."""
    stop_watching()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    _redirect(0, Path(os.devnull), os.O_RDONLY)
    _redirect(1, output, os.O_WRONLY | os.O_CREAT)
    _redirect(2, errors, os.O_WRONLY | os.O_CREAT)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(number, mode) for number, mode in ((0, "r"), (1, "w"), (2, "w")))
    sys.path[:] = [str(folder), *(place for place in sys.path if place not in ("", str(folder)))]
    try:
        target(arguments)
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()


def _command(arguments: Sequence[str]) -> None:
    from gradaudit.cli import main

    main(arguments, prog_name="gradaudit")


def _program(given: Sequence[str]) -> None:
    text, *arguments = given
    sys.argv = ["-c", *arguments]
    sys.modules["__main__"] = ModuleType("__main__")
    exec(compile(text, "<string>", "exec"), vars(sys.modules["__main__"]))


def _redirect(number: int, path: Path, flags: int) -> None:
    opened = os.open(path, flags)
    os.dup2(opened, number)
    os.close(opened)
