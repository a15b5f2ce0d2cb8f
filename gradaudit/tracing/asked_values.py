"""Numbers for a loop that is traced though it was written to be run: where its Python asks a tensor, it is computed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.eager.lift_to_graph import UnliftableError, lift_to_graph
from tensorflow.python.framework import ops

from gradaudit.tracing.patches import Patches
from gradaudit.user_code import AUTOGRAPH, is_users


class NoValueError(Exception):
    """Python asks a tensor for its value that has none before the step is run."""


@contextmanager
def values_where_asked(graph: Any, given: Sequence[tuple[Any, Any]]) -> Iterator[None]:
    """Inside, the user's own lines get numbers of the tensors of `graph`, as if they were run.

    What is asked for is computed from the batch and the weights as they are; nothing is updated. What depends on a
    gradient, of which there is none, fails as in any graph.

    Args:
        graph: the graph in which the loop is traced.
        given: its symbolic inputs, each with the value that it stands for.
    """
    with tf.init_scope():
        values = [(symbol, tf.convert_to_tensor(value)) for symbol, value in given]
    for symbol, value in values:
        graph.function_captures.add_or_replace(key=id(value), external=value, internal=symbol, is_by_ref=False)
    with Patches() as patches:
        for name, answer in _ANSWERS.items():
            patches.put(ops.SymbolicTensor, name, _answering(name, answer, graph))
        yield


def _answering(name: str, answer: Callable[..., Any], graph: Any) -> Any:
    usual = getattr(ops.SymbolicTensor, name, None)

    def ask(tensor: Any, *arguments: Any) -> Any:
        if tensor.graph is graph and _is_asked_by_user():
            return answer(tensor, *arguments)
        if usual is None:
            raise AttributeError(f"a symbolic tensor has no {name}")
        return usual(tensor, *arguments)

    return ask


def _is_asked_by_user() -> bool:
    """Whether a line of the user's asks, by itself or through NumPy."""
    frame = sys._getframe(2)
    while frame.f_back is not None and (frame.f_globals.get("__name__") or "").startswith("numpy"):
        frame = frame.f_back
    file = frame.f_code.co_filename
    return is_users(file) or AUTOGRAPH in file


def _computed(tensor: Any) -> Any:
    """The value of a symbolic tensor."""

    def compute() -> Any:
        inputs = tensor.graph.internal_captures
        try:
            return lift_to_graph([tensor], ops.get_default_graph(), sources=inputs, handle_captures=True)[tensor]
        except UnliftableError:
            raise NoValueError(
                "the loop asks for a number that depends on a gradient, and a step that is not run has none"
            ) from None

    with tf.init_scope():
        return tf.function(compute, autograph=False)().numpy()


def _length(tensor: Any) -> int:
    return int(tensor.shape[0] if tensor.shape[0] is not None else len(_computed(tensor)))


_ANSWERS: dict[str, Callable[..., Any]] = {
    "numpy": _computed,
    "__array__": lambda tensor, dtype=None, copy=None: np.asarray(_computed(tensor), dtype),
    "__bool__": lambda tensor: bool(_computed(tensor)),
    "__float__": lambda tensor: float(_computed(tensor)),
    "__format__": lambda tensor, how: format(_computed(tensor), how),
    "__index__": lambda tensor: int(_computed(tensor)),
    "__int__": lambda tensor: int(_computed(tensor)),
    "__len__": _length,
}
"""What Python calls to ask for a value."""
