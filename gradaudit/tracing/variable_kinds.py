"""What counts as a variable: TensorFlow's own, those that are distributed over replicas, and Keras's."""

from __future__ import annotations

from typing import Any


def is_variable(value: Any) -> bool:
    """Whether a value is a variable. A distributed one refuses, in places, to hand out the handle that all have."""
    try:
        return hasattr(value, "handle")
    except ValueError:
        return True
