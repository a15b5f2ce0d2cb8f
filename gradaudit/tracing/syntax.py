"""The syntax trees behind running code: the definition that a piece of code was compiled from."""

from __future__ import annotations

import ast
import functools
import linecache
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import CodeType

Functions = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Definition:
    """A function or module as it is written, and the class that it stands in, by which names are mangled."""

    node: ast.AST
    class_name: str | None = None


@functools.cache
def definition(code: CodeType) -> Definition | None:
    """What `code` was compiled from; None if there is no source to read."""
    tree = _parsed(code.co_filename)
    if tree is None or code.co_name == "<module>":
        return None if tree is None else Definition(tree)
    return next((each for each in _definitions(tree) if _is_of(each.node, code)), None)


@functools.cache
def named_in(file: str) -> Mapping[str, Sequence[ast.AST]]:
    """By name the functions that a file defines anywhere in it, and what it makes other names for functions of."""
    found: dict[str, list[ast.AST]] = {}
    for node in ast.walk(_parsed(file) or ast.Module([], [])):
        if isinstance(node, Functions):
            found.setdefault(node.name, []).append(node)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found.setdefault(node.targets[0].id, []).extend(_named_functions(node.value))
    return found


def _named_functions(value: ast.expr) -> list[ast.AST]:
    """The functions that a value may be, or wrap, as `optimizer.apply_gradients`, or `tf.function(step)` does."""
    values = [*value.args, *(word.value for word in value.keywords)] if isinstance(value, ast.Call) else [value]
    return [each for each in values if isinstance(each, (ast.Name, ast.Attribute, ast.Lambda))]


@functools.cache
def _parsed(file: str) -> ast.Module | None:
    try:
        return ast.parse("".join(linecache.getlines(file)))
    except SyntaxError:
        return None


def _definitions(node: ast.AST, class_name: str | None = None) -> Iterator[Definition]:
    """The functions inside a tree, outermost first."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (*Functions, ast.Lambda)):
            yield Definition(child, class_name)
        yield from _definitions(child, child.name if isinstance(child, ast.ClassDef) else class_name)


def _is_of(node: ast.AST, code: CodeType) -> bool:
    if isinstance(node, ast.Lambda):
        return code.co_name == "<lambda>" and node.lineno == code.co_firstlineno
    if not isinstance(node, Functions) or node.name != code.co_name:
        return False
    return code.co_firstlineno == min([node.lineno, *(each.lineno for each in node.decorator_list)])
