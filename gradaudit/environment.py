"""The process that TensorFlow is imported into: checked, made quiet beforehand, and described afterwards."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import platform
import sys
from importlib import metadata
from pathlib import Path

from gradaudit.errors import ConfigError

_LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
_FATAL_ONLY = "3"
TENSORFLOW = "tensorflow"
"""The backend of Keras that is audited."""


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
    if backend != TENSORFLOW:
        raise ConfigError(
            f"Keras is told to use {backend!r} by {said_by}, and gradaudit audits steps that run on TensorFlow: "
            "set KERAS_BACKEND=tensorflow."
        )


def require_backend_of_script(script: Path | str, chosen: str | None = None) -> None:
    """Refuse to audit, on TensorFlow, a script that wants another backend of Keras than it was started with.

    Args:
        script: the script, for the message.
        chosen: the backend that it asks Keras for; None for that of the environment, which it may have changed.

    Raises:
        ConfigError: it wants another backend than TensorFlow.
    """
    backend = chosen or _keras_backend()[0]
    if backend != TENSORFLOW:
        raise ConfigError(
            f"{script} tells Keras to use {backend!r}, and gradaudit audits steps that run on TensorFlow. If it "
            'runs on TensorFlow too, let it leave the choice open, as os.environ.setdefault("KERAS_BACKEND", …) does, '
            "and set KERAS_BACKEND=tensorflow."
        )


def require_matplotlib() -> None:
    """Refuse to begin the long work whose plot could not be drawn.

    Raises:
        ConfigError: Matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise ConfigError(
            f"Matplotlib, which draws what is measured, is not installed for {sys.executable}: "
            'pip install "gradaudit[plot]", or leave out --report.'
        )


def quiet_tensorflow() -> None:
    """Keep TensorFlow's log out of the user's sight, unless the user has set a level. Call it before the import.

    It also takes the memory of a GPU as it needs it, because an audit may run beside a training that fills the rest.
    """
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    # Where they are on, which depends on the processor, TensorFlow says so at every level of its log.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    if os.environ.setdefault(_LOG_LEVEL, _FATAL_ONLY) == _FATAL_ONLY:
        for name in ("tensorflow", "absl"):
            logging.getLogger(name).setLevel(logging.ERROR)


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
        backend = json.loads(file.read_text(encoding="utf-8")).get("backend", TENSORFLOW)
    except (OSError, ValueError, AttributeError):  # Keras, too, goes on without a file that it cannot read
        backend = TENSORFLOW
    return str(backend), str(file)
