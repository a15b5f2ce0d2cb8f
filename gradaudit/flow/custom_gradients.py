"""Which custom gradients, each one of a kind to TensorFlow, are made by the same code out of like values."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from types import CodeType, FunctionType
from typing import Any

import tensorflow as tf

from gradaudit.flow.definitions import definition

_PLAIN = (type(None), bool, int, float, complex, str, bytes, tf.DType)
_codes: dict[int, CodeType] = {}
"""Code that was met, by id, held so that no id is given twice: to compare code itself takes its time."""


def kind_of_gradient(function: Any, inputs: Sequence[Any]) -> Hashable:
    """A value that is equal for gradients that answer alike; None where that is not known.

    Args:
        function: the gradient function of an op.
        inputs: the inputs of the op, which functions of one kind hold in the same places.
    """
    positions = {id(tensor): position for position, tensor in enumerate(inputs)}
    try:
        return _kind(function, positions, ())
    except _UnknownError:
        return None


class _UnknownError(Exception):
    """What a function holds is no plain value: it may answer otherwise next time."""


def _kind(value: Any, positions: dict[int, int], around: tuple[Any, ...]) -> Hashable:
    """What a value is; `around` are the functions, lists and dicts that hold it, one of which it may be itself."""
    if isinstance(value, _PLAIN):
        return type(value).__name__, value
    if isinstance(value, tf.Tensor) and hasattr(value, "graph"):
        is_constant = value.op.type == "Const"
        place = positions.get(id(value), -1)
        return "tensor", place, value.dtype, value.shape.rank, definition(value.op) if is_constant else None
    for depth, outer in enumerate(around):
        if value is outer:
            return "held in itself", depth
    around = *around, value
    if isinstance(value, (list, tuple)):
        return type(value).__name__, *(_kind(each, positions, around) for each in value)
    if isinstance(value, dict):
        return "dict", *((_kind(key, positions, around), _kind(each, positions, around)) for key, each in value.items())
    if isinstance(value, FunctionType):
        code = _codes.setdefault(id(value.__code__), value.__code__)
        held = _held(value), value.__defaults__, value.__kwdefaults__, value.__dict__
        return "function", id(code), id(value.__globals__), *(_kind(each, positions, around) for each in held)
    raise _UnknownError


def _held(function: FunctionType) -> list[Any]:
    """What a function holds of the code around it."""
    try:
        return [cell.cell_contents for cell in function.__closure__ or ()]
    except ValueError:  # a name that is given no value yet
        raise _UnknownError from None
