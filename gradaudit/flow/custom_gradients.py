"""Which custom gradients of TensorFlow's or Keras's own, each one of a kind to TensorFlow, are made of like values."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from types import CodeType, FunctionType
from typing import Any

import tensorflow as tf

from gradaudit.flow.definitions import definition

_LIBRARIES = ("tensorflow.", "keras.")
"""How the names of modules begin whose gradients answer by what they hold and by the shapes that they see.

Of a user's that is not known: they may ask for names, for static values, for the time of day.
"""
_PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes, tf.DType})
_MOST = 200
"""A function that holds more values than this is not looked through."""
_codes: dict[int, CodeType] = {}
"""Code that was met, by id, held so that no id is given twice: to compare code itself takes its time."""


def kind_of_gradient(function: Any, inputs: Sequence[Any]) -> Hashable:
    """A value that is equal for gradients that answer alike; None where that is not known.

    Args:
        function: the gradient function of an op.
        inputs: the inputs of the op, which functions of one kind hold in the same places.
    """
    try:
        return _Kinds(inputs).of(function, ())
    except _UnknownError:
        return None


class _UnknownError(Exception):
    """What a function holds is no plain value, or too much: it may answer otherwise next time."""


class _Kinds:
    """Tells what values are, for the gradient of an op with these inputs."""

    def __init__(self, inputs: Sequence[Any]) -> None:
        self._positions = {id(tensor): position for position, tensor in enumerate(inputs)}
        self._left = _MOST

    def of(self, value: Any, around: tuple[Any, ...]) -> Hashable:
        """What a value is; `around` are the functions, lists and dicts that hold it, one of which it may be itself."""
        self._left -= 1
        if not self._left:
            raise _UnknownError
        kind = type(value)
        if kind in _PLAIN:
            return kind.__name__, repr(value)  # 0.0 is equal to -0.0, and shown otherwise
        if isinstance(value, tf.Tensor) and hasattr(value, "graph"):
            is_constant = value.op.type == "Const"
            place = self._positions.get(id(value), -1)
            return "tensor", place, value.dtype, str(value.shape), definition(value.op) if is_constant else None
        for depth, outer in enumerate(around):
            if value is outer:
                return "held in itself", depth
        around = *around, value
        if kind in (list, tuple):
            return kind.__name__, *(self.of(each, around) for each in value)
        if kind is dict:
            return "dict", *((self.of(key, around), self.of(each, around)) for key, each in value.items())
        if kind is FunctionType and value.__globals__.get("__name__", "").startswith(_LIBRARIES):
            code = _codes.setdefault(id(value.__code__), value.__code__)
            held = _held(value), value.__defaults__, value.__kwdefaults__, value.__dict__
            return "function", id(code), *(self.of(each, around) for each in held)
        raise _UnknownError


def _held(function: FunctionType) -> list[Any]:
    """What a function holds of the code around it."""
    try:
        return [cell.cell_contents for cell in function.__closure__ or ()]
    except ValueError:  # a name that is given no value yet
        raise _UnknownError from None
