"""The bodies of calls, conditions and loops, found from the ops that run them."""

from __future__ import annotations

import functools
from typing import Any

from tensorflow.python.framework import function_def_to_graph, op_def_registry
from tensorflow.python.util import compat

_CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
_CONDITIONS = frozenset({"If", "StatelessIf"})
_CASES = frozenset({"Case", "StatelessCase"})
_LOOPS = frozenset({"While", "StatelessWhile"})


def is_loop(op: Any) -> bool:
    """Whether `op` runs its body again and again on its own results."""
    return op.type in _LOOPS


def called_bodies(op: Any) -> list[Any] | None:
    """The FuncGraphs of which one gives the outputs of `op`; None if `op` calls nothing."""
    if _calls_nothing(op.type):
        return None
    if op.type in _CALLS:
        names = [op.get_attr("f").name]
    elif op.type in _CONDITIONS:
        names = [op.get_attr("then_branch").name, op.get_attr("else_branch").name]
    elif op.type in _CASES:
        names = [branch.name for branch in op.get_attr("branches")]
    elif op.type in _LOOPS:
        names = [op.get_attr("body").name]
    elif op.graph._is_function(op.type):
        names = [op.type]
    else:
        return None
    return [_body(op.graph, name) for name in names]


@functools.cache
def _calls_nothing(op_type: str) -> bool:
    """Whether a type is no function of a graph, but TensorFlow's or a library's own, and runs no body."""
    return op_type not in _CALLS | _CONDITIONS | _CASES | _LOOPS and op_def_registry.get(op_type) is not None


def loop_condition(op: Any) -> Any:
    """The FuncGraph that decides whether a loop goes on."""
    return _body(op.graph, op.get_attr("cond").name)


def body_arguments(op: Any) -> list[Any]:
    """The inputs of `op` that its bodies get, in the order of the bodies' own inputs."""
    return list(op.inputs[1:] if op.type in _CONDITIONS | _CASES else op.inputs)


def selector(op: Any) -> Any | None:
    """The input that decides which branch runs; None for calls and loops."""
    return op.inputs[0] if op.type in _CONDITIONS | _CASES else None


def _body(graph: Any, name: str) -> Any:
    function = None
    owner = graph
    while function is None and owner is not None:
        function = owner._get_function(compat.as_bytes(name))
        owner = getattr(owner, "outer_graph", None)
    if function is None:
        raise LookupError(f"function {name!r} is in none of the graphs around its call")
    body = getattr(function, "graph", None)
    if body is not None and hasattr(body, "outputs"):
        return body
    return function_def_to_graph.function_def_to_graph(function.cached_definition)
