"""What statements say that they do: the names in them, and in the functions of the user's that they name."""

from __future__ import annotations

import ast
import functools
import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from gradaudit.tracing.syntax import Functions, definition, named_in
from gradaudit.user_code import is_framework

DIFFERENTIATES = frozenset({"GradientTape", "gradient", "gradients", "jacobian", "batch_jacobian", "minimize"})
"""Names of what asks for gradients."""
GRADIENTS = DIFFERENTIATES - {"GradientTape", "minimize"}
"""Names of what returns them."""
OPTIMIZES = frozenset({"apply_gradients", "apply", "minimize"})
"""Names of what applies them."""
ASSIGNS = frozenset({"assign", "assign_add", "assign_sub"})
TRAINS = DIFFERENTIATES | OPTIMIZES | ASSIGNS
"""Names of what differentiates or updates."""

_Branch = (ast.If, ast.IfExp, ast.Match)
_UNKNOWN = object()


@dataclass(frozen=True)
class Written:
    """A statement, or a function's definition, with what its names mean and the file that it stands in."""

    node: ast.AST
    names: Mapping[str, Any]
    file: str

    def mentions(self, words: frozenset[str]) -> bool:
        """Whether it names one of `words`, by itself or by way of functions of the user's."""
        return any(word in words for each in self.reached() for word in _words(each.node))

    def may_update(self) -> bool:
        """Whether it says that it updates, now or in a later round: what is assigned to each time is a counter."""
        return self.mentions(OPTIMIZES) or any(
            Written(branch, each.names, each.file).mentions(ASSIGNS)
            for each in self.reached()
            for branch in ast.walk(each.node)
            if isinstance(branch, _Branch)
        )

    def reached(self) -> Iterator[Written]:
        """This, and the definitions of all functions of the user's that it comes to by names."""
        waiting, seen = [self], {id(self.node)}
        while waiting:
            written = waiting.pop()
            yield written
            for part in _parts(written.node):
                for found in _behind(part, written):
                    if id(found.node) not in seen:
                        seen.add(id(found.node))
                        waiting.append(found)


def _words(node: ast.AST) -> Iterator[str]:
    """The attributes that are named and the functions that are called: `gradients` alone may be a list of them."""
    for part in ast.walk(node):
        if isinstance(part, ast.Attribute):
            yield part.attr
        elif isinstance(part, ast.Call) and isinstance(part.func, ast.Name):
            yield part.func.id


def _parts(node: ast.AST) -> Iterator[ast.Name | ast.Attribute]:
    return (part for part in ast.walk(node) if isinstance(part, (ast.Name, ast.Attribute)))


def _word(part: ast.Name | ast.Attribute) -> str:
    return part.id if isinstance(part, ast.Name) else part.attr


def _behind(part: ast.Name | ast.Attribute, written: Written) -> Sequence[Written]:
    """The functions of the user's that a name stands for; where it has no meaning yet, those of the file."""
    value = _meaning(part, written.names)
    if value is not _UNKNOWN:
        found = _of_function(value, _owner(part, written.names))
        return [] if found is None else [found]
    named = named_in(written.file).get(_word(part), ()) if written.file else ()
    return [Written(node, written.names, written.file) for node in named]


def _meaning(node: ast.expr, names: Mapping[str, Any]) -> Any:
    """What a dotted name stands for, looked up without running anything."""
    if isinstance(node, ast.Name):
        return names.get(node.id, _UNKNOWN)
    if not isinstance(node, ast.Attribute):
        return _UNKNOWN
    owner = _meaning(node.value, names)
    return _UNKNOWN if owner is _UNKNOWN else inspect.getattr_static(owner, node.attr, _UNKNOWN)


def _owner(part: ast.Name | ast.Attribute, names: Mapping[str, Any]) -> Any:
    """What a method is called on."""
    return _meaning(part.value, names) if isinstance(part, ast.Attribute) else _UNKNOWN


def _of_function(value: Any, owner: Any) -> Written | None:
    """The definition of a function of the user's, or of what is called like one."""
    function = _unwrapped(value)
    if not isinstance(function, FunctionType):
        owner = value
        function = _unwrapped(None if isinstance(value, type) else inspect.getattr_static(value, "__call__", None))
    code = getattr(function, "__code__", None)
    if not isinstance(code, CodeType) or is_framework(code.co_filename):
        return None
    found = definition(code)
    return None if found is None else Written(found.node, _names_in(function, found.node, owner), code.co_filename)


def _unwrapped(value: Any) -> Any:
    """The function within a method, a `tf.function`, a `partial` or what a decorator made of it."""
    while (inner := _inner(value)) is not None:
        value = inner
    return value


def _inner(value: Any) -> Any:
    if isinstance(value, functools.partial):
        return value.func
    if isinstance(value, (MethodType, staticmethod, classmethod)):
        return value.__func__
    if isinstance(value, type):
        return None
    attributes = getattr(value, "__dict__", {})
    return attributes.get("_python_function") or attributes.get("__wrapped__")  # the first is a tf.function's


def _names_in(function: FunctionType, node: ast.AST, owner: Any) -> Mapping[str, Any]:
    """What names mean inside a function, as far as it is known before it is called."""
    names = {**function.__globals__}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            names[name] = cell.cell_contents
        except ValueError:
            names.pop(name, None)
    arguments = _arguments(node)
    for name in arguments:
        names.pop(name, None)
    if arguments and not isinstance(owner, (type, ModuleType)) and owner is not _UNKNOWN:
        names[arguments[0]] = owner
    return names


def _arguments(node: ast.AST) -> list[str]:
    if not isinstance(node, (*Functions, ast.Lambda)):
        return []
    return [each.arg for each in ast.walk(node.args) if isinstance(each, ast.arg)]
