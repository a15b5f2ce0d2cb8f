"""Finds, without importing anything, where a Keras project builds a model and trains it."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_SKIPPED = frozenset({"build", "dist", "node_modules", "site-packages", "test", "tests", "venv"})
_ASKS_THE_COMMAND_LINE = frozenset({"argparse", "argv", "input", "parse_args"})
"""Names of what is of no use where no command line is."""
_DATA = ("x", "y", "sample_weight")
_Function = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Place:
    """A line of a file, relative to the folder that is searched."""

    file: Path
    line: int

    def __str__(self) -> str:
        return f"{self.file.as_posix()}:{self.line}"


@dataclass(frozen=True)
class FoundSubject:
    """A function that returns a gradaudit.Subject already."""

    place: Place
    name: str


@dataclass(frozen=True)
class FoundFit:
    """A call of `fit`, with what leads to it.

    Attributes:
        place: where it is.
        function: the function that calls it.
        statements: the source of what makes the model and the data, in order.
        imported: the names that these take from the file.
        model: the expression that is fit.
        data: the expressions of x, y and sample_weight, as many as are given.
    """

    place: Place
    function: str
    statements: tuple[str, ...]
    imported: tuple[str, ...]
    model: str
    data: tuple[str, ...]


@dataclass(frozen=True)
class FoundBuilder:
    """A function without required arguments that returns a compiled model which knows its inputs.

    `sparse` says that its labels are ids.
    """

    place: Place
    name: str
    sparse: bool


@dataclass(frozen=True)
class Project:
    """What was found; of what could serve, the first of each kind comes first. `scripts` train when they are run."""

    subjects: tuple[FoundSubject, ...] = ()
    fits: tuple[FoundFit, ...] = ()
    builders: tuple[FoundBuilder, ...] = ()
    scripts: tuple[Place, ...] = ()
    steps: tuple[Place, ...] = ()


@dataclass
class _Search:
    subjects: list[FoundSubject] = field(default_factory=list)
    fits: list[FoundFit] = field(default_factory=list)
    builders: list[FoundBuilder] = field(default_factory=list)
    scripts: list[Place] = field(default_factory=list)
    steps: list[Place] = field(default_factory=list)


def search_project(folder: Path) -> Project:
    """Look through the Python files in and below a folder: not hidden ones, tests, builds and environments."""
    found = _Search()
    for path in sorted(_python_files(folder)):
        try:
            tree = ast.parse(path.read_text("utf-8"))
        except (SyntaxError, UnicodeDecodeError, ValueError):
            continue
        _search_file(tree, path.relative_to(folder), found)
    return Project(*(tuple(kind) for kind in vars(found).values()))


def _python_files(folder: Path) -> Iterator[Path]:
    for entry in folder.iterdir():
        is_skipped = entry.name.startswith(".") or entry.name in _SKIPPED or (entry / "pyvenv.cfg").exists()
        if entry.is_dir() and not entry.is_symlink() and not is_skipped:
            yield from _python_files(entry)
        elif entry.suffix == ".py" and entry.is_file() and not entry.name.startswith("test_"):
            yield entry


def _search_file(tree: ast.Module, file: Path, found: _Search) -> None:
    functions = {node.name: node for node in tree.body if isinstance(node, _Function)}
    module_names = _bound(tree.body)
    for function in functions.values():
        if _returns_a_subject(function):
            found.subjects.append(FoundSubject(Place(file, function.lineno), function.name))
        elif (
            "Input" in _mentioned(tree)
            and not _required(function)
            and (compiled := _compile_call(function, functions)) is not None
        ):
            sparse = "sparse" in ast.unparse(compiled).lower()
            found.builders.append(FoundBuilder(Place(file, function.lineno), function.name, sparse))
    for node in ast.walk(tree):
        if isinstance(node, _Function) and "GradientTape" in _mentioned(node):
            found.steps.append(Place(file, node.lineno))
    loose = [node for node in tree.body if not isinstance(node, (*_Function, ast.ClassDef)) and not _is_guard(node)]
    trains_on_import = any(_fit_calls(node) or "GradientTape" in _mentioned(node) for node in loose)
    if trains_on_import or any(_is_guard(node) for node in tree.body) and "fit" in _mentioned(tree):
        found.scripts.append(Place(file, 1))
    if trains_on_import:
        return
    guards = [(f"{file.stem}.__main__", node.body, None) for node in tree.body if isinstance(node, ast.If)]
    scopes = [(name, node.body, node.args) for name, node in functions.items()]
    for name, body, arguments in (*scopes, *guards):
        for call, before in _fits_with_what_precedes(body):
            fit = _sliced(call, before, arguments, module_names, file, name)
            if fit is not None:
                found.fits.append(fit)


# -------------------------------------------------------------------------------------------------- what is looked for


def _returns_a_subject(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    returned = (node.value for node in ast.walk(function) if isinstance(node, ast.Return) and node.value is not None)
    return any(isinstance(value, ast.Call) and "Subject" in _mentioned(value.func) for value in returned)


def _compile_call(
    function: ast.FunctionDef | ast.AsyncFunctionDef,
    functions: dict[str, ast.FunctionDef | ast.AsyncFunctionDef],
    depth: int = 3,
) -> ast.Call | None:
    """The call of `compile` on what a function returns, made there or in a function whose result it returns."""
    calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
    compiled = {
        ast.unparse(call.func.value): call
        for call in calls
        if isinstance(call.func, ast.Attribute) and call.func.attr == "compile"
    }
    for node in ast.walk(function):
        if not isinstance(node, ast.Return) or node.value is None:
            continue
        if ast.unparse(node.value) in compiled:
            return compiled[ast.unparse(node.value)]
        inner = node.value.func if isinstance(node.value, ast.Call) else None
        if depth and isinstance(inner, ast.Name) and inner.id in functions:
            return _compile_call(functions[inner.id], functions, depth - 1)
    return None


def _required(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether a function has arguments without a default."""
    given = function.args
    return len(given.posonlyargs) + len(given.args) > len(given.defaults) or None in given.kw_defaults


def _is_guard(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "__name__" in _mentioned(node.test)


def _fit_calls(node: ast.AST) -> list[ast.Call]:
    return [
        call
        for call in ast.walk(node)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "fit"
    ]


def _fits_with_what_precedes(
    body: Sequence[ast.stmt], before: tuple[ast.stmt, ...] = ()
) -> Iterator[tuple[ast.Call, tuple[ast.stmt, ...]]]:
    """Each call of `fit` in a body, with the statements that are certain to run before it."""
    for statement in body:
        inner = [block for name in ("body", "orelse", "finalbody") if (block := getattr(statement, name, None))]
        if inner and not isinstance(statement, (*_Function, ast.ClassDef)):
            for block in inner:
                yield from _fits_with_what_precedes(block, before)
        else:
            yield from ((call, before) for call in _fit_calls(statement))
        before = (*before, statement)


# ----------------------------------------------------------------------------------------------------- what leads to it


def _sliced(
    call: ast.Call,
    before: Sequence[ast.stmt],
    arguments: ast.arguments | None,
    module_names: set[str],
    file: Path,
    function: str,
) -> FoundFit | None:
    """The call with what makes its model and data; None if that hangs on arguments or on the command line."""
    named = {keyword.arg: keyword.value for keyword in call.keywords}
    positional = dict(zip(_DATA[:2], call.args, strict=False))
    data = [value for name in _DATA if (value := positional.get(name, named.get(name))) is not None]
    receiver = call.func.value if isinstance(call.func, ast.Attribute) else None
    if receiver is None or not data:
        return None
    needed = _loads([receiver, *data])
    kept: list[ast.stmt] = []
    for statement in reversed(before):
        if _binds(statement) & needed or _changes(statement) & needed:
            kept.insert(0, statement)
            needed |= _loads([statement])
    made = set().union(*(_binds(statement) for statement in kept)) if kept else set()
    missing = needed - made - set(dir(builtins))
    asks = set().union(*(_mentioned(node) for node in (*kept, *data))) & _ASKS_THE_COMMAND_LINE
    if asks or missing - module_names or arguments is not None and missing & _arguments(arguments):
        return None
    return FoundFit(
        place=Place(file, call.lineno),
        function=function,
        statements=tuple(ast.unparse(statement) for statement in kept),
        imported=tuple(sorted(missing)),
        model=ast.unparse(receiver),
        data=tuple(ast.unparse(value) for value in data),
    )


def _arguments(arguments: ast.arguments) -> set[str]:
    return {node.arg for node in ast.walk(arguments) if isinstance(node, ast.arg)}


def _loads(nodes: Sequence[ast.AST]) -> set[str]:
    return {name.id for root in nodes for name in ast.walk(root) if isinstance(name, ast.Name) and _is_load(name)}


def _is_load(name: ast.Name) -> bool:
    return isinstance(name.ctx, ast.Load)


def _binds(statement: ast.stmt) -> set[str]:
    return _bound([statement]) | {
        name.id for name in ast.walk(statement) if isinstance(name, ast.Name) and not _is_load(name)
    }


def _bound(body: Sequence[ast.stmt]) -> set[str]:
    """The names that statements give a meaning, outside of functions and classes."""
    names: set[str] = set()
    for statement in body:
        if isinstance(statement, (*_Function, ast.ClassDef)):
            names.add(statement.name)
        elif isinstance(statement, (ast.Import, ast.ImportFrom)):
            names |= {(alias.asname or alias.name).partition(".")[0] for alias in statement.names}
        else:
            stored = (node for node in ast.walk(statement) if isinstance(node, ast.Name) and not _is_load(node))
            names |= {name.id for name in stored}
    return names


def _changes(statement: ast.stmt) -> set[str]:
    """What a statement calls a method of, as in `model.compile(...)`."""
    value = statement.value if isinstance(statement, ast.Expr) else None
    function = value.func if isinstance(value, ast.Call) else None
    root = function.value if isinstance(function, ast.Attribute) else None
    is_told = isinstance(function, ast.Attribute) and function.attr in ("add", "adapt", "build", "compile")
    return {root.id} if isinstance(root, ast.Name) and is_told else set()


def _mentioned(node: ast.AST) -> set[str]:
    return {
        part.id if isinstance(part, ast.Name) else part.attr
        for part in ast.walk(node)
        if isinstance(part, (ast.Name, ast.Attribute))
    }
