"""A train step that is no function: the statements of a running loop, from the present one to the last that trains."""

from __future__ import annotations

import ast
import copy
import functools
import inspect
import linecache
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import CodeType, FrameType, FunctionType
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework import ops

from gradaudit.tracing.asked_values import values_where_asked
from gradaudit.tracing.lines import user_frames
from gradaudit.user_code import is_framework

_TRAINS = frozenset(
    {"GradientTape", "gradient", "gradients", "jacobian", "apply_gradients", "apply", "minimize"}
    | {"assign", "assign_add", "assign_sub"}
)
"""Names of what differentiates or updates."""
_UPDATES = _TRAINS - {"GradientTape", "gradient", "gradients", "jacobian"}
_Function = (ast.FunctionDef, ast.AsyncFunctionDef)
_Loop = (ast.For, ast.While)


@dataclass(frozen=True)
class LooseStep:
    """Statements that train, and the values of their names: `data` are those that come with each batch."""

    name: str
    run: Callable[..., Any]
    data: tuple[Any, ...]
    trains_later: bool
    """Whether a statement after the present one trains, too."""


def loose_step(frame: FrameType | None) -> LooseStep | None:
    """The statements to run for one step, seen from the line that `frame` is at; None if there is no source to read."""
    blocks = [block for outer in user_frames(frame) for block in _blocks(outer)]
    if not blocks:
        return None
    chosen = (
        next((block for block in blocks if block.is_loop and _with_data(block.target_names, block.names)), None)
        or next((block for block in blocks if block.is_loop and block.data_names), None)
        or next((block for block in blocks if block.is_loop), None)
        or next((block for block in blocks if block.is_whole_body and block.updates), None)
        or blocks[0]
    )
    return chosen.as_step()


@dataclass(frozen=True)
class _Block:
    """A list of statements, one of which is running."""

    frame: FrameType
    owner: ast.AST
    statements: Sequence[ast.stmt]
    position: int

    @property
    def is_loop(self) -> bool:
        return isinstance(self.owner, _Loop)

    @property
    def is_whole_body(self) -> bool:
        return isinstance(self.owner, (ast.Module, *_Function))

    @functools.cached_property
    def names(self) -> dict[str, Any]:
        """What each name means here."""
        return {**self.frame.f_globals, **self.frame.f_locals}

    @property
    def target_names(self) -> list[str]:
        """What the loop gives a value in each round."""
        return _stored([self.owner.target]) if isinstance(self.owner, ast.For) else []

    @functools.cached_property
    def data_names(self) -> list[str]:
        """The names whose arrays and tensors are other ones for each batch."""
        before = [*self.target_names, *_arguments(self.owner), *_stored(self.statements[: self.position])]
        return _with_data(before, self.names) or _with_data(_loaded(self.wanted), self.names)

    @functools.cached_property
    def wanted(self) -> Sequence[ast.stmt]:
        """The present statement and those after it, up to the last that trains."""
        rest = self.statements[self.position :]
        last = max((n for n, statement in enumerate(rest) if _trains(statement, self.names)), default=0)
        return rest[: last + 1]

    @property
    def updates(self) -> bool:
        """Whether the statements say that they update."""
        return any(_mentioned(statement) & _UPDATES for statement in self.wanted)

    def as_step(self) -> LooseStep:
        """Something to call with the values of the data."""
        data_names = self.data_names
        data = tuple(self.names[name] for name in data_names)
        function = _compiled(self.wanted, self.frame.f_code)

        def run(*values: Any) -> Any:
            names = {**self.names, **dict(zip(data_names, values, strict=True))}
            with values_where_asked(ops.get_default_graph(), list(_symbols(values, data))):
                return FunctionType(function, names)()

        line = self.statements[self.position].lineno
        name = self.frame.f_code.co_name
        return LooseStep(
            name=f"line {line}" if name == "<module>" else name,
            run=run,
            data=data,
            trains_later=len(self.wanted) > 1,
        )


# ------------------------------------------------------------------------------------------------- where a frame stands


def _blocks(frame: FrameType) -> Iterator[_Block]:
    """The lists of statements around the running line, innermost first."""
    tree = _parsed(frame.f_code.co_filename)
    root = None if tree is None else _root(tree, frame.f_code)
    found = []
    while root is not None:
        block, root = _descended(frame, root)
        if block is not None:
            found.append(block)
    yield from reversed(found)


def _descended(frame: FrameType, owner: ast.AST) -> tuple[_Block | None, ast.AST | None]:
    """The list of statements in `owner` that holds the running line, and the statement in which to look further."""
    for _, statements in ast.iter_fields(owner):
        if not isinstance(statements, list):
            continue
        for position, statement in enumerate(statements):
            if not isinstance(statement, (ast.stmt, ast.ExceptHandler)) or not _holds(statement, frame.f_lineno):
                continue
            inner = None if isinstance(statement, (*_Function, ast.ClassDef)) else statement
            is_block = isinstance(statement, ast.stmt)
            return _Block(frame, owner, statements, position) if is_block else None, inner
    return None, None


def _holds(node: ast.stmt | ast.ExceptHandler, line: int) -> bool:
    return node.lineno <= line <= (node.end_lineno or node.lineno)


@functools.cache
def _parsed(file: str) -> ast.Module | None:
    try:
        return ast.parse("".join(linecache.getlines(file)))
    except SyntaxError:
        return None


def _root(tree: ast.Module, code: CodeType) -> ast.AST | None:
    if code.co_name == "<module>":
        return tree
    for node in ast.walk(tree):
        if isinstance(node, _Function) and node.name == code.co_name:
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            if first == code.co_firstlineno:
                return node
    return None


# -------------------------------------------------------------------------------------------- what statements are about


def _stored(nodes: Sequence[ast.AST]) -> list[str]:
    return [name.id for name in _names(nodes) if isinstance(name.ctx, ast.Store)]


def _loaded(nodes: Sequence[ast.AST]) -> list[str]:
    return [name.id for name in _names(nodes) if isinstance(name.ctx, ast.Load)]


def _names(nodes: Sequence[ast.AST]) -> Iterator[ast.Name]:
    return (node for root in nodes for node in ast.walk(root) if isinstance(node, ast.Name))


def _arguments(owner: ast.AST) -> list[str]:
    return (
        [argument.arg for argument in ast.walk(owner.args) if isinstance(argument, ast.arg)]
        if isinstance(owner, _Function)
        else []
    )


def _with_data(names: Sequence[str], values: Mapping[str, Any]) -> list[str]:
    return [name for name in dict.fromkeys(names) if name in values and is_data(values[name])]


def is_data(value: Any) -> bool:
    """Whether there are arrays or tensors in a value: variables, models and data sets are none."""
    return any(
        isinstance(part, (tf.Tensor, tf.RaggedTensor, tf.SparseTensor))
        or isinstance(part, np.ndarray)
        and part.ndim > 0
        for part in tf.nest.flatten(value)
    )


def _symbols(values: Any, data: Any) -> Iterator[tuple[Any, Any]]:
    """Each symbolic tensor with the value that it stands for."""
    pairs = zip(*(tf.nest.flatten(each, expand_composites=True) for each in (values, data)), strict=True)
    return ((symbol, value) for symbol, value in pairs if symbol is not value)


def _trains(statement: ast.stmt, names: Mapping[str, Any]) -> bool:
    """Whether a statement differentiates or updates, or names a function of the user's that does."""
    if _mentioned(statement) & _TRAINS:
        return True
    seen: set[CodeType] = set()
    return any(
        code is not None and _code_trains(code, meanings, seen)
        for node in ast.walk(statement)
        if isinstance(node, (ast.Name, ast.Attribute))
        for code, meanings in [_code(_meaning(node, names))]
    )


def _mentioned(node: ast.AST) -> set[str]:
    return {
        part.id if isinstance(part, ast.Name) else part.attr
        for part in ast.walk(node)
        if isinstance(part, (ast.Name, ast.Attribute))
    }


def _meaning(node: ast.expr, names: Mapping[str, Any]) -> Any:
    """What a dotted name stands for, looked up without running anything."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        return inspect.getattr_static(_meaning(node.value, names), node.attr, None)
    return None


def _code(value: Any) -> tuple[CodeType | None, Mapping[str, Any]]:
    """The code of a function of the user's, and what names mean in it."""
    value = getattr(value, "python_function", value)
    value = inspect.unwrap(value) if callable(value) else value
    code = getattr(value, "__code__", None)
    if not isinstance(code, CodeType) or is_framework(code.co_filename):
        return None, {}
    return code, getattr(value, "__globals__", {})


def _code_trains(code: CodeType, names: Mapping[str, Any], seen: set[CodeType]) -> bool:
    if code in seen:
        return False
    seen.add(code)
    if _TRAINS & {*code.co_names}:
        return True
    inner = [(constant, names) for constant in code.co_consts if isinstance(constant, CodeType)]
    called = [_code(names.get(name)) for name in code.co_names]
    return any(other is not None and _code_trains(other, meanings, seen) for other, meanings in (*inner, *called))


# --------------------------------------------------------------------------------------------- statements as a function


def _compiled(statements: Sequence[ast.stmt], code: CodeType) -> CodeType:
    """Statements as the code of a function without arguments, whose names are all global: of its own namespace."""
    loosened = [_Loosened().visit(copy.deepcopy(statement)) for statement in statements]
    module = ast.parse(_FRAME_OF_A_STEP)
    function: Any = module.body[0]
    function.body[0].body = loosened
    function.body.insert(0, ast.Global(_stored(loosened) or ["_"]))
    ast.copy_location(function, statements[0])
    compiled = compile(ast.fix_missing_locations(module), code.co_filename, "exec", dont_inherit=True)
    made = next(constant for constant in compiled.co_consts if isinstance(constant, CodeType))
    return made.replace(co_name=code.co_name)


# `break` and `continue` end a step, as the end of the loop's body does.
_FRAME_OF_A_STEP = "def step():\n    for _ in (None,):\n        pass\n"


class _Loosened(ast.NodeTransformer):
    """Statements taken out of their function: what was nonlocal is global, and that is said once for all of them."""

    def __init__(self) -> None:
        self._depth = 0

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:  # the name is ast's
        """Go into a function that has names of its own."""
        self._depth += 1
        self.generic_visit(node)
        self._depth -= 1
        return node

    def visit_Global(self, node: ast.Global) -> ast.AST:
        """Leave out what is said at the top."""
        return node if self._depth else ast.copy_location(ast.Pass(), node)

    def visit_Nonlocal(self, node: ast.Nonlocal) -> ast.AST:
        """Find the name where the statements keep it."""
        return ast.copy_location(ast.Global(node.names) if self._depth else ast.Pass(), node)
