"""Values for the inputs of a real step: as they are where there are any, and random for specs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from gradaudit.errors import TraceError

_EXAMPLES = 2
"""Length of a first axis of which the spec does not say the length."""
_POSITIONS = 8
"""Length of any other such axis."""
_LONGEST_ROW = 4
"""Of rows of different lengths."""


def drawn_values(inputs: Sequence[Any], numbers: np.random.Generator) -> tuple[Any, ...]:
    """The arguments of one step: normal floats, integers 0 and 1 for specs, and anything else as it is.

    Raises:
        TraceError: a spec is of a kind, or of a shape, that no values can be drawn for.
    """
    return tuple(tf.nest.map_structure(lambda value: _drawn(value, numbers), tuple(inputs)))


def _drawn(value: Any, numbers: np.random.Generator) -> Any:
    """Random values for a spec; anything else as it is."""
    if isinstance(value, np.ndarray) and np.issubdtype(value.dtype, np.floating):
        return tf.constant(value, keras.config.floatx())
    if isinstance(value, keras.KerasTensor):
        value = tf.TensorSpec(value.shape, value.dtype)
    if not isinstance(value, tf.TypeSpec):
        return value
    if value.shape.rank is None:
        raise TraceError("No random values can be drawn for a shape of unknown rank: give the subject a real batch.")
    if isinstance(value, tf.RaggedTensorSpec):
        return _ragged(value, numbers)
    if isinstance(value, tf.SparseTensorSpec):
        return tf.sparse.from_dense(_dense(value.shape, value.dtype, numbers))
    if isinstance(value, tf.TensorSpec):
        return _dense(value.shape, value.dtype, numbers)
    raise TraceError(f"No random values can be drawn for a {type(value).__name__}: give the subject a real batch.")


def _ragged(spec: Any, numbers: np.random.Generator) -> Any:
    """Random values in rows of different lengths, of which the sum is always the same: the step is traced once."""
    rows, nested = spec.shape[0] or _EXAMPLES, []
    for axis in range(1, spec.ragged_rank + 1):
        uniform = spec.shape[axis]
        lengths = np.full(rows, uniform) if uniform else numbers.permutation(np.arange(rows) % _LONGEST_ROW + 1)
        nested.append(tf.constant(lengths, spec.row_splits_dtype))
        rows = int(lengths.sum())
    values = _dense(tf.TensorShape([rows, *spec.shape[spec.ragged_rank + 1 :]]), spec.dtype, numbers)
    return tf.RaggedTensor.from_nested_row_lengths(values, nested)


def _dense(shape: Any, dtype: Any, numbers: np.random.Generator) -> Any:
    unknown = [_EXAMPLES, *[_POSITIONS] * shape.rank]
    lengths = [length or other for length, other in zip(shape.as_list(), unknown, strict=False)]
    if dtype == tf.string:
        return tf.fill(lengths, "a")
    if dtype.is_integer or dtype.is_bool:
        return tf.constant(numbers.integers(0, 2, lengths), dtype)
    return tf.cast(numbers.normal(size=lengths), dtype)
