"""The stack that TensorFlow keeps with each op: taking it is a tenth of a trace, and only a few errors tell of it."""

from __future__ import annotations

import tensorflow as tf
from tensorflow.python.framework.errors_impl import InaccessibleTensorError
from tensorflow.python.util import tf_stack

from gradaudit.tracing.patches import Patches


def share_one_stack(patches: Patches) -> None:
    """Let TensorFlow keep one and the same stack with all ops."""
    shared = tf_stack.extract_stack()
    patches.put(tf_stack, "extract_stack", lambda stacklevel=1: shared)


def tells_of_stacks(error: BaseException | None) -> bool:
    """Whether TensorFlow says in an error, or in one that it came from, where an op was made."""
    while error is not None:
        if isinstance(error, (InaccessibleTensorError, tf.errors.OpError)):
            return True
        error = error.__cause__ or error.__context__
    return False
