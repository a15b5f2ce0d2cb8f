"""The process that TensorFlow is imported into: checked, made quiet beforehand, and described afterwards."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from gradaudit.errors import ConfigError

_LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
_FATAL_ONLY = "3"
_SIEVE = rb"""
import re, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
noise = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog|To enable the following instructions: "
    rb"|[IWE][0-9]{4} [0-9:.]+ +[0-9]+ [^ ]+:[0-9]+\] |[0-9-]{10} [0-9:.]+: [IWE] [^ ]+:[0-9]+\] "
)
for line in sys.stdin.buffer:
    if not noise.match(line):
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()
"""
"""A program that passes on what it reads, without log lines of TensorFlow's C++ that are no fatal error."""


def require_tensorflow() -> None:
    """Refuse what would fail later, and less clearly, in the middle of an import.

    Raises:
        ConfigError: TensorFlow is not installed, or Keras is told to use another backend.
    """
    if importlib.util.find_spec("tensorflow") is None:
        raise ConfigError(
            f"TensorFlow is not installed for {sys.executable}: "
            'install it with "pip install gradaudit[cpu]" or "pip install gradaudit[gpu]".'
        )
    backend, said_by = _keras_backend()
    if backend != "tensorflow":
        raise ConfigError(
            f"Keras is told to use {backend!r} by {said_by}, and gradaudit audits steps that run on TensorFlow: "
            "set KERAS_BACKEND=tensorflow."
        )


@contextlib.contextmanager
def quiet_tensorflow() -> Iterator[None]:
    """Keep TensorFlow's log out of the user's sight, unless the user has set a level. Import it inside, not before.

    It also takes the memory of a GPU as it needs it, because an audit may run beside a training that fills the rest.
    """
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    if os.environ.get(_LOG_LEVEL, _FATAL_ONLY) != _FATAL_ONLY:
        yield
        return
    os.environ[_LOG_LEVEL] = _FATAL_ONLY
    for name in ("tensorflow", "absl"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with _native_log_sieved():
        yield


@contextlib.contextmanager
def _native_log_sieved() -> Iterator[None]:
    """Send what C++ writes to standard error through another process that drops the log lines.

    The builds with CUDA log before any level counts. A process, not a thread, because it still passes on the last words
    when TensorFlow aborts this one. Python itself goes on writing to the real standard error, and so finds a terminal.
    """
    try:
        real = os.dup(2)
    except OSError:  # it is closed
        yield
        return
    sieve = subprocess.Popen([sys.executable, "-S", "-E", "-c", _SIEVE], stdin=subprocess.PIPE)
    assert sieve.stdin is not None
    # It stays open: a log handler of the audited code may hold it, and write when Python ends.
    stream = os.fdopen(os.dup(2), "w", 1, errors="backslashreplace", closefd=False)
    with contextlib.redirect_stderr(stream):
        os.dup2(sieve.stdin.fileno(), 2)
        sieve.stdin.close()
        try:
            yield
        finally:
            os.dup2(real, 2)
            os.close(real)
            with contextlib.suppress(subprocess.TimeoutExpired):  # a child of the audited code may hold the other end
                sieve.wait(timeout=2)


def tool() -> dict[str, str]:
    """What made the report."""
    return {"name": "gradaudit", "version": own_version()}


def own_version() -> str:
    """The version of the installed distribution."""
    try:
        return metadata.version("gradaudit")
    except metadata.PackageNotFoundError:
        return "unknown"


def versions() -> dict[str, str]:
    """What the verdicts may depend on: Python, and the libraries as far as they are loaded."""
    loaded = {name: sys.modules[name] for name in ("tensorflow", "keras", "numpy") if name in sys.modules}
    return {
        "python": platform.python_version(),
        **{name: str(getattr(module, "__version__", "unknown")) for name, module in loaded.items()},
    }


def _keras_backend() -> tuple[str, str]:
    """The backend that Keras is going to use, and who says so."""
    if os.environ.get("KERAS_BACKEND"):
        return os.environ["KERAS_BACKEND"], "the environment variable KERAS_BACKEND"
    file = Path(os.environ.get("KERAS_HOME") or Path("~/.keras").expanduser()) / "keras.json"
    try:
        backend = json.loads(file.read_text(encoding="utf-8")).get("backend", "tensorflow")
    except (OSError, ValueError, AttributeError):  # Keras, too, goes on without a file that it cannot read
        backend = "tensorflow"
    return str(backend), str(file)
