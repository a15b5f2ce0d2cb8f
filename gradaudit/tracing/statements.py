"""Statements of a running function, to be run again: with its variables, within its class, among its globals."""

from __future__ import annotations
import __future__

import ast
import copy
import functools
import gc
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import CellType, CodeType, FrameType, FunctionType
from typing import Any

from gradaudit.tracing.syntax import Definition, Functions

_FUTURES = functools.reduce(
    int.__or__, (getattr(__future__, name).compiler_flag for name in __future__.all_feature_names)
)
# A loop of one round that gives nothing a value: `break` and `continue` end it, as they do what is taken from a loop.
_ONE_ROUND = "for () in ((),):\n    pass\n"


@dataclass(frozen=True)
class Statements:
    """Statements out of what `frame` runs, which `definition` is the source of. They may have been rewritten."""

    body: Sequence[ast.stmt]
    frame: FrameType
    definition: Definition

    def as_function(self) -> Callable[[Mapping[str, Any]], None]:
        """What runs them with other values for some names, and leaves globals and shared variables as they were."""
        scope = self.frame.f_globals
        run = self._in_module() if isinstance(self.definition.node, ast.Module) else self._in_function()

        def run_with(values: Mapping[str, Any]) -> None:
            with _kept(scope):
                run(values)

        return run_with

    def _in_module(self) -> Callable[[Mapping[str, Any]], None]:
        code = self._compiled([one_round(_plain(self.body))])
        scope = self.frame.f_globals

        def run(values: Mapping[str, Any]) -> None:
            scope.update(values)
            exec(code, scope)

        return run

    def _in_function(self) -> Callable[[Mapping[str, Any]], None]:
        variables = _Variables.of(self.frame)
        code: CodeType = self._compiled([_nested(self.body, self.definition, variables)])
        for _ in range(3 if self.definition.class_name else 2):
            code = next(constant for constant in code.co_consts if isinstance(constant, CodeType))
        closure = tuple(variables.cells[name] for name in code.co_freevars)
        scope = self.frame.f_globals
        function = FunctionType(code.replace(co_name=self.frame.f_code.co_name), scope, closure=closure)

        def run(values: Mapping[str, Any]) -> None:
            elsewhere = {*variables.own, *variables.cells}
            scope.update({name: value for name, value in values.items() if name not in elsewhere})
            with variables.shared({name: value for name, value in values.items() if name in variables.cells}):
                _run_through(function(*({**variables.values, **values}.get(name) for name in variables.own)))

        return run

    def _compiled(self, body: Sequence[ast.stmt]) -> CodeType:
        code = self.frame.f_code
        module = ast.fix_missing_locations(ast.Module(list(body), []))
        flags = code.co_flags & _FUTURES
        compiled: CodeType = compile(module, code.co_filename, "exec", flags=flags, dont_inherit=True)
        return compiled


def one_round(body: Sequence[ast.stmt]) -> ast.For:
    """A loop that runs `body` once."""
    (loop,) = ast.parse(_ONE_ROUND).body
    assert isinstance(loop, ast.For)
    loop.body = list(body)
    return ast.copy_location(loop, body[0])


def _run_through(result: Any) -> None:
    """Go through what a generator yields, which a function is where the statements yield."""
    if inspect.isgenerator(result):
        for _ in result:
            pass


# ------------------------------------------------------------------------------------------------------- the variables


@dataclass(frozen=True)
class _Variables:
    """The variables of a running function: its own, and the cells of those that it shares with other functions."""

    own: tuple[str, ...]
    cells: Mapping[str, CellType]
    values: Mapping[str, Any]

    @classmethod
    def of(cls, frame: FrameType) -> _Variables:
        """The variables of a frame, with what they stand for now."""
        code, values = frame.f_code, dict(frame.f_locals)
        shared = (*code.co_cellvars, *code.co_freevars)
        own = tuple(name for name in code.co_varnames if name not in shared and name.isidentifier())
        return cls(own, _cells(code, shared, values), values)

    @contextmanager
    def shared(self, values: Mapping[str, Any]) -> Iterator[None]:
        """Inside, shared variables have other values; what is stored in them then is gone afterwards."""
        before = {name: CellType(*_content(cell)) for name, cell in self.cells.items()}
        try:
            for name, value in values.items():
                self.cells[name].cell_contents = value
            yield
        finally:
            for name, cell in before.items():
                _fill(self.cells[name], cell)


def _cells(code: CodeType, names: Sequence[str], values: Mapping[str, Any]) -> dict[str, CellType]:
    """The very cells of a running function, which Python hands out with the functions alone that share them.

    Where no function does, nobody notices another cell.
    """
    found = {}
    for function in _sharing(code) if names else ():
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            if name in names and name not in found and _holds(cell, name, values):
                found[name] = cell
    return {name: found[name] if name in found else _new_cell(name, values) for name in names}


def _sharing(code: CodeType) -> list[FunctionType]:
    """The functions that run this code, or code inside it."""
    codes = list(_with_inner(code))
    return [each for each in gc.get_referrers(*codes) if isinstance(each, FunctionType) and each.__closure__]


def _with_inner(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _with_inner(constant)


def _holds(cell: CellType, name: str, values: Mapping[str, Any]) -> bool:
    content = _content(cell)
    return content[0] is values[name] if content and name in values else not content and name not in values


def _new_cell(name: str, values: Mapping[str, Any]) -> CellType:
    return CellType(values[name]) if name in values else CellType()


def _content(cell: CellType) -> tuple[Any, ...]:
    """What a cell holds; nothing, if it is empty."""
    try:
        return (cell.cell_contents,)
    except ValueError:
        return ()


def _fill(cell: CellType, like: CellType) -> None:
    content = _content(like)
    if content:
        cell.cell_contents = content[0]
    elif _content(cell):
        del cell.cell_contents


@contextmanager
def _kept(names: dict[str, Any]) -> Iterator[None]:
    """Inside, names may be given other values."""
    before = dict(names)
    try:
        yield
    finally:
        for name in [name for name in names if name not in before]:
            del names[name]
        names.update(before)


# --------------------------------------------------------------------------------------------------------- the nesting


def _nested(body: Sequence[ast.stmt], definition: Definition, variables: _Variables) -> ast.FunctionDef:
    """The statements as a function: inside one that has what it shares, and inside the class that it stands in."""
    shared = [name for name in variables.cells if name != "__class__"]
    unbound = [name for name in variables.own if name not in variables.values]
    inner = _function("<step>", variables.own, [one_round(_plain(body, _first_argument(definition.node)))])
    inner.body[:0] = [
        *_declared(ast.Nonlocal, shared),
        *_declared(ast.Global, _declared_global(definition.node, variables)),
        *(ast.Delete([ast.Name(name, ast.Del())]) for name in unbound),
    ]
    around = [inner] if definition.class_name is None else _class(definition.class_name, inner, shared)
    return ast.copy_location(_function("<around>", shared, around), body[0])


def _class(name: str, method: ast.FunctionDef, shared: Sequence[str]) -> list[ast.stmt]:
    """A class around a method, whose own name means what it means elsewhere."""
    (made,) = ast.parse(f"class {name}: pass").body
    assert isinstance(made, ast.ClassDef)
    made.body = [method]
    return [*_declared(ast.Global, [] if name in shared else [name]), made]


def _declared(kind: type[ast.Global] | type[ast.Nonlocal], names: Sequence[str]) -> list[ast.stmt]:
    return [kind(list(names))] if names else []


def _function(name: str, arguments: Sequence[str], body: Sequence[ast.stmt]) -> ast.FunctionDef:
    (function,) = ast.parse("def function(): pass").body
    assert isinstance(function, ast.FunctionDef)
    function.name = name  # which need be none that a person could write, and so mean something else
    function.args.args = [ast.arg(argument) for argument in arguments]
    function.body = list(body)
    return function


def _declared_global(node: ast.AST, variables: _Variables) -> list[str]:
    named = [name for each in ast.walk(node) if isinstance(each, ast.Global) for name in each.names]
    return [name for name in dict.fromkeys(named) if name not in {*variables.own, *variables.cells}]


def _first_argument(node: ast.AST) -> str | None:
    arguments = [*node.args.posonlyargs, *node.args.args] if isinstance(node, Functions) else []
    return arguments[0].arg if arguments else None


def _plain(body: Sequence[ast.stmt], first_argument: str | None = None) -> list[ast.stmt]:
    """A copy of statements without what is only allowed, or only works, in the very function."""
    plain = _Plain(first_argument)
    return [plain.visit(copy.deepcopy(statement)) for statement in body]


class _Plain(ast.NodeTransformer):
    """Names without annotations, which can be declared; no declarations of their own; `super` with its arguments."""

    def __init__(self, first_argument: str | None) -> None:
        self._first_argument = first_argument

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:  # the name is ast's, as those below
        """Leave out the annotation of a name."""
        self.generic_visit(node)
        if not isinstance(node.target, ast.Name):
            return node
        plain = ast.Pass() if node.value is None else ast.Assign([node.target], node.value)
        return ast.copy_location(plain, node)

    def visit_Global(self, node: ast.Global) -> ast.AST:
        """Leave out what is said at the top."""
        return ast.copy_location(ast.Pass(), node)

    def visit_Nonlocal(self, node: ast.Nonlocal) -> ast.AST:
        """Leave out what is said at the top."""
        return ast.copy_location(ast.Pass(), node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Give `super` the class and the object, which it would look for among the arguments of the function."""
        self.generic_visit(node)
        is_bare = isinstance(node.func, ast.Name) and node.func.id == "super" and not node.args
        if is_bare and self._first_argument is not None:
            node.args = [ast.Name("__class__", ast.Load()), ast.Name(self._first_argument, ast.Load())]
            for argument in node.args:
                ast.copy_location(argument, node)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Leave a function as it is, which has names of its own."""
        return node

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        """Leave a function as it is."""
        return node

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        """Leave a function as it is."""
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        """Leave a class as it is."""
        return node
