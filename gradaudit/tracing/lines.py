"""The line of the user's code that is running, found in the frames."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import CodeType, FrameType

from keras.src.models.functional import Functional
from keras.src.models.sequential import Sequential
from keras.src.ops.function import Function
from tensorflow.python.util import tf_stack

from gradaudit.graph.verdicts import Source
from gradaudit.user_code import AUTOGRAPH, displayed, is_framework, is_users

TRACING_FUNCTION = "_trace_once"
"""The function that calls the step: what lies further out is the caller of the audit, and no source of any op."""

_CONTAINERS = {id(code): code for code in (each.call.__code__ for each in (Functional, Sequential, Function))}
"""Code that calls layers which the user has put together elsewhere, by id: to compare code takes its time."""


Lines = dict[tuple[int, int], tuple[CodeType, Source]]
"""Lines that were found before, by the id of their code, which is held so that it is not given twice, and number."""

_skipped: dict[int, CodeType] = {}
"""Code that is nobody's line and ends no search, by id, held for the same reason."""


def running_line(
    frame: FrameType | None, *, up_to_container: bool = False, known: Lines | None = None
) -> Source | None:
    """The innermost line of the user's code that is running, seen from `frame` outwards.

    With `up_to_container` the search ends where Keras runs a model that was put together from layers: what lies further
    out calls the model, and says nothing of the layer. `known` are lines that were found in the same trace.
    """
    while frame is not None:
        code = frame.f_code
        if id(code) in _skipped:
            frame = frame.f_back
            continue
        if code.co_name == TRACING_FUNCTION or up_to_container and id(code) in _CONTAINERS:
            return None
        if not is_framework(code.co_filename):
            return _line(frame, {} if known is None else known)
        if AUTOGRAPH in code.co_filename:
            if (original := _original_line(frame)) is not None:
                return original
        elif id(code) not in _CONTAINERS:
            _skipped[id(code)] = code
        frame = frame.f_back
    return None


def _line(frame: FrameType, known: Lines) -> Source:
    code = frame.f_code
    key = id(code), frame.f_lineno
    if key not in known:
        known[key] = code, Source(displayed(code.co_filename), frame.f_lineno, code.co_name)
    return known[key][1]


def user_frames(frame: FrameType | None) -> Iterator[FrameType]:
    """The frames that run files of the user's own, innermost first."""
    while frame is not None:
        if is_users(frame.f_code.co_filename):
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
