"""Lines of the user's code: found in the frames that are running, and in tracebacks."""

from __future__ import annotations

import functools
import os
import sysconfig
import threading
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType, TracebackType

import keras
import tensorflow as tf
from keras.src.models.functional import Functional
from keras.src.models.sequential import Sequential
from keras.src.ops.function import Function
from tensorflow.python.util import tf_stack

from gradaudit.graph.verdicts import Source

TRACING_FUNCTION = "_trace_once"
"""The function that calls the step: what lies further out is the caller of the audit, and no source of any op."""

_AUTOGRAPH = "__autograph_generated_file"
_CONTAINERS = frozenset(container.call.__code__ for container in (Functional, Sequential, Function))
"""Code that calls layers which the user has put together elsewhere."""

# As written in the code objects: not resolved, because an environment may be reached through a link.
_FRAMEWORKS = tuple(
    f"{folder}{os.sep}" for folder in (Path(tf.__file__).parent, Path(keras.__file__).parent, Path(__file__).parents[1])
)
_PATHS = sysconfig.get_paths()
_STANDARD_LIBRARY = f"{_PATHS['stdlib']}{os.sep}"
_SITE_PACKAGES = tuple(f"{folder}{os.sep}" for folder in {_PATHS["purelib"], _PATHS["platlib"]})


def running_line(frame: FrameType | None, *, up_to_container: bool = False) -> Source | None:
    """The innermost line of the user's code that is running, seen from `frame` outwards.

    With `up_to_container` the search ends where Keras runs a model that was put together from layers: what lies further
    out calls the model, and says nothing of the layer.
    """
    for outer in _frames(frame):
        code = outer.f_code
        if code.co_name == TRACING_FUNCTION or up_to_container and code in _CONTAINERS:
            return None
        if _is_users(code):
            return Source(display_path(code.co_filename), outer.f_lineno, code.co_name)
        if _AUTOGRAPH in code.co_filename and (original := _original_line(outer)) is not None:
            return original
    return None


def raising_line(traceback: TracebackType | None) -> Source | None:
    """The innermost line of the user's code in a traceback."""
    found = None
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if _is_users(code):
            found = Source(display_path(code.co_filename), traceback.tb_lineno, code.co_name)
        traceback = traceback.tb_next
    return found


@functools.cache
def display_path(file: str) -> str:
    """`file` as a person would name it: relative to the working folder, or from its package on."""
    for folder in _SITE_PACKAGES:
        if file.startswith(folder):
            return file[len(folder) :]
    path = Path(file)
    try:
        return path.resolve().relative_to(Path.cwd()).as_posix()
    except ValueError:
        return path.as_posix()


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


@functools.cache
def _is_users(code: CodeType) -> bool:
    """Whether code is the user's, or that of a library the user has chosen, and no framework's."""
    file = code.co_filename
    if file.startswith(("<", *_FRAMEWORKS)) or _AUTOGRAPH in file:
        return False
    return file.startswith(_SITE_PACKAGES) or not file.startswith(_STANDARD_LIBRARY)


def _original_line(frame: FrameType) -> Source | None:
    """The user's line behind a line that AutoGraph generated."""
    mapper = tf_stack._source_mapper_stacks[threading.get_ident()][-1]
    original = mapper.get_effective_source_map().get((frame.f_code.co_filename, frame.f_lineno))
    if original is None:
        return None
    file, line, function = original
    return Source(display_path(file), line, function)
