"""Where an op comes from: the Keras layer that made it, the line of the user's code, the outputs of the model."""

from __future__ import annotations

import functools
import os
import sys
import sysconfig
import threading
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType, TracebackType
from typing import Any

import keras
import tensorflow as tf
from tensorflow.python.util import nest, tf_stack

from gradaudit.graph.verdicts import Source

TRACING_FUNCTION = "_trace_once"
"""The function that calls the step: what lies further out is the caller of the audit, and no source of any op."""

_AUTOGRAPH = "__autograph_generated_file"
_FRAMEWORKS = tuple(
    os.path.join(os.path.dirname(os.path.abspath(path)), "")
    for path in (tf.__file__, keras.__file__, os.path.dirname(__file__))
) + (os.path.join(sysconfig.get_paths()["stdlib"], ""), "<")
_SITE_PACKAGES = tuple(
    os.path.join(path, "") for path in {sysconfig.get_paths()["purelib"], sysconfig.get_paths()["platlib"]}
)


@dataclass(frozen=True)
class Origin:
    """What was known when an op was made."""

    layer: str | None
    source: Source | None


@dataclass
class ModelOutput:
    """A tensor that an outermost Keras call returned, by the name under which the user knows it."""

    name: str
    tensor: Any


@dataclass
class Origins:
    """The origin of each op of a trace, and what its models returned."""

    layers: list[Any] = field(default_factory=list)
    """The Keras layers whose calls are under way, outermost first."""
    outputs: list[ModelOutput] = field(default_factory=list)
    _by_op: dict[int, tuple[Any, Origin]] = field(default_factory=dict)
    _users: dict[CodeType, bool] = field(default_factory=dict)

    def note_op(self, op: Any) -> None:
        """Remember where `op` is made: call it from the frame that makes it."""
        layer = layer_path(self.layers[-1]) if self.layers else None
        # The op is kept with its origin, so that its id cannot be given to another one.
        self._by_op[id(op)] = (op, Origin(layer, self._innermost_source(sys._getframe(1))))

    def of(self, op: Any) -> Origin:
        """The origin of `op`; empty for an op that was not made under the trace's eyes."""
        known = self._by_op.get(id(op))
        return known[1] if known else Origin(None, None)

    def note_outputs(self, model: Any, outputs: Any) -> None:
        """Remember what an outermost layer call returned."""
        for path, value in nest.flatten_with_joined_string_paths(outputs):
            if isinstance(value, tf.Tensor):
                self.outputs.append(ModelOutput(_output_name(model, path, outputs), value))

    def call_site(self) -> Source | None:
        """The line of the user's code that is running now."""
        return self._innermost_source(sys._getframe(1))

    def _innermost_source(self, frame: FrameType | None) -> Source | None:
        while frame is not None and frame.f_code.co_name != TRACING_FUNCTION:
            code = frame.f_code
            is_users = self._users.get(code)
            if is_users is None:
                is_users = self._users[code] = is_user_file(code.co_filename)
            if is_users:
                if _AUTOGRAPH in code.co_filename:
                    source = _original_source(frame)
                    if source is not None:
                        return source
                    frame = frame.f_back
                    continue
                return Source(display_path(code.co_filename), frame.f_lineno, code.co_name)
            frame = frame.f_back
        return None


def is_user_file(file: str) -> bool:
    """Whether a frame in `file` is the user's code rather than a framework's."""
    return not file.startswith(_FRAMEWORKS) or file.startswith(_SITE_PACKAGES) and not file.startswith(_FRAMEWORKS[:3])


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


def innermost_user_source(traceback: TracebackType | None) -> Source | None:
    """The user's own line in a traceback: the innermost frame that is no framework's."""
    found = None
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if is_user_file(code.co_filename):
            found = Source(display_path(code.co_filename), traceback.tb_lineno, code.co_name)
        traceback = traceback.tb_next
    return found


def layer_path(layer: Any) -> str:
    """A layer's path, as its variables carry it."""
    return str(getattr(layer, "_path", None) or layer.name)


def _original_source(frame: FrameType) -> Source | None:
    """The user's line behind a frame of code that AutoGraph generated."""
    mapper = tf_stack._source_mapper_stacks[threading.get_ident()][-1]
    original = mapper.get_effective_source_map().get((frame.f_code.co_filename, frame.f_lineno))
    if original is None:
        return None
    file, line, function = original
    return Source(display_path(file), line, function)


def _output_name(model: Any, path: str, outputs: Any) -> str:
    names = getattr(model, "output_names", None)
    if path and not path.isdigit():
        return path
    if path and names and len(names) > int(path):
        return str(names[int(path)])
    if path:
        return f"{model.name}[{path}]"
    return f"{model.name} output"
