"""The variables of a step: known by the handle through which ops read them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from gradaudit.graph.gradient_graph import GradientGraph


@dataclass(frozen=True, eq=False)
class KnownVariable:
    """A Keras or TensorFlow variable, its handle, and what is reported of it.

    `handles` are the ids of all its handles: one that is distributed has another for each replica.
    """

    variable: Any
    handle: Any
    handles: frozenset[int]
    path: str
    shape: tuple[int, ...]
    dtype: str
    trainable: bool


class Variables:
    """Finds a variable, and its node in the graph, by its handle.

    `later` gives the Keras variables that have come to light since: only they know their paths, and whether they train.
    """

    def __init__(self, known: Iterable[Any], later: Callable[[], Iterable[Any]] = tuple) -> None:
        self._by_handle: dict[int, KnownVariable] = {}
        self._nodes: dict[int, str] = {}
        self._times: dict[str, int] = {}
        self._later = later
        for variable in known:
            self.add(variable)

    def forgetting_nodes(self, later: Callable[[], Iterable[Any]] | None = None) -> Variables:
        """The same variables, for another graph."""
        apart = Variables((), later or self._later)
        apart._by_handle, apart._times = self._by_handle.copy(), self._times.copy()
        return apart

    def add(self, variable: Any) -> KnownVariable:
        """Make a variable known; one that is known already stays as it is."""
        handle = variable.handle
        if id(handle) not in self._by_handle:
            handles = frozenset({id(handle), *(id(part.handle) for part in _replicas(variable))})
            known = KnownVariable(
                variable=variable,
                handle=handle,
                handles=handles,
                path=self._unused(getattr(variable, "path", None) or variable.name.removesuffix(":0")),
                shape=_shape(variable),
                dtype=str(getattr(variable.dtype, "name", variable.dtype)),
                trainable=bool(variable.trainable),
            )
            self._by_handle.update(dict.fromkeys(handles, known))
        return self._by_handle[id(handle)]

    def _unused(self, path: str) -> str:
        """A path that no other variable has: the second of one path, as of a cloned model's, is called `path #2`."""
        count = self._times[path] = self._times.get(path, 0) + 1
        return path if count == 1 else f"{path} #{count}"

    def of_handle(self, handle: Any) -> KnownVariable | None:
        """The variable behind a handle; None for resources of another kind, such as tables."""
        known = self._by_handle.get(id(handle))
        if known is None:
            owner = getattr(handle, "_parent_trackable", lambda: None)()
            if owner is not None and hasattr(owner, "trainable") and hasattr(owner, "read_value"):
                for variable in self._later():
                    self.add(variable)
                known = self.add(owner)
        return known

    def node(self, known: KnownVariable, graph: GradientGraph) -> str:
        """The variable's node, added to the graph if it is not there yet."""
        key = id(known.handle)
        if key not in self._nodes:
            self._nodes[key] = graph.add_variable(known.path, is_data=not known.trainable and known.shape != ())
        return self._nodes[key]

    def with_nodes(self) -> list[tuple[KnownVariable, str]]:
        """All variables that the step was seen to touch, with their nodes."""
        return [(self._by_handle[key], node) for key, node in self._nodes.items()]


def _replicas(variable: Any) -> tuple[Any, ...]:
    """The variable's copies, where a strategy has made one for each replica."""
    return tuple(getattr(getattr(variable, "value", variable), "values", ()))


def _shape(variable: Any) -> tuple[int, ...]:
    """Its lengths, -1 for one that is not known, and for a shape of which nothing is known."""
    if variable.shape is None or getattr(variable.shape, "rank", 0) is None:
        return (-1,)
    return tuple(-1 if length is None else int(length) for length in variable.shape)
