"""The line of the user's code that is running, found in the frames."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import FrameType

from keras.src.models.functional import Functional
from keras.src.models.sequential import Sequential
from keras.src.ops.function import Function
from tensorflow.python.util import tf_stack

from gradaudit.graph.verdicts import Source
from gradaudit.user_code import AUTOGRAPH, displayed, is_framework, is_users

TRACING_FUNCTION = "_trace_once"
"""The function that calls the step: what lies further out is the caller of the audit, and no source of any op."""

_CONTAINERS = frozenset(container.call.__code__ for container in (Functional, Sequential, Function))
"""Code that calls layers which the user has put together elsewhere."""


def running_line(frame: FrameType | None, *, up_to_container: bool = False) -> Source | None:
    """The innermost line of the user's code that is running, seen from `frame` outwards.

    With `up_to_container` the search ends where Keras runs a model that was put together from layers: what lies further
    out calls the model, and says nothing of the layer.
    """
    for outer in _frames(frame):
        code = outer.f_code
        if code.co_name == TRACING_FUNCTION or up_to_container and code in _CONTAINERS:
            return None
        if AUTOGRAPH in code.co_filename:
            if (original := _original_line(outer)) is not None:
                return original
        elif not is_framework(code.co_filename):
            return Source(displayed(code.co_filename), outer.f_lineno, code.co_name)
    return None


def user_frames(frame: FrameType | None) -> Iterator[FrameType]:
    """The frames that run files of the user's own, innermost first."""
    return (outer for outer in _frames(frame) if is_users(outer.f_code.co_filename))


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _original_line(frame: FrameType) -> Source | None:
    """The user's line behind a line that AutoGraph generated."""
    mapper = tf_stack._source_mapper_stacks[threading.get_ident()][-1]
    original = mapper.get_effective_source_map().get((frame.f_code.co_filename, frame.f_lineno))
    if original is None:
        return None
    file, line, function = original
    return Source(displayed(file), line, function)
