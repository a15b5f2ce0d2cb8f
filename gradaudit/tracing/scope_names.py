"""The names of scopes as they were asked for: where a name is in use already, TensorFlow appends a number to it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

from tensorflow.python.framework import ops

from gradaudit.tracing.patches import Patches


class ScopeNames:
    """What each scope of the traced graphs was asked to be called."""

    def __init__(self) -> None:
        self._asked: dict[tuple[int, str], tuple[Any, str]] = {}
        self._found: dict[tuple[int, str], tuple[Any, str]] = {}
        self._opened: set[str] = set()

    def install(self, patches: Patches) -> None:
        """Begin to take notes."""
        patches.wrap(ops.Graph, "unique_name", self._note)

    def of(self, graph: Any, scope: str) -> str:
        """A scope of `graph`, with as many parts, each without the number that its author did not write."""
        if not scope:
            return scope
        key = id(graph), scope
        if key not in self._found:
            outer, _, own = scope.rpartition("/")
            name = self._asked.get(key, (graph, own))[1]
            # The graphs are kept with the names, so that no id can be given to another one.
            self._found[key] = graph, f"{self.of(graph, outer)}/{name}" if outer else name
        return self._found[key][1]

    def opened(self, names: Iterable[str]) -> list[str]:
        """Those of the names that a scope was asked to be called, whether anything was computed in it or not."""
        opened = {name.rpartition("/")[2] for name in self._opened}
        return [name for name in names if name in opened]

    def _note(self, original: Callable[..., Any], graph: Any, name: str, *arguments: Any, **options: Any) -> Any:
        unique = original(graph, name, *arguments, **options)
        self._opened.add(name)
        if unique != name and not unique.endswith(f"/{name}"):
            self._asked[id(graph), unique] = (graph, name.rpartition("/")[2])
            self._found.clear()
        return unique


def participation_name(scope: str, participation_scopes: Collection[str]) -> str | None:
    """The name of a term in this scope, with the scope inside it, which says for which output it is."""
    scopes = [part for part in scope.split("/") if part]
    for position, part in enumerate(scopes):
        if part in participation_scopes:
            return "/".join([part, *scopes[position + 1 : position + 2]])
    return None
