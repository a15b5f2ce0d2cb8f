"""Finds, without importing anything, what of a Keras project trains when it is run, or returns a model.

It decides only what is to be run: what is audited then is the project's own code, as it stands.
"""

from __future__ import annotations

import ast
import functools
import json
import keyword
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

_SKIPPED = frozenset({"build", "dist", "node_modules", "site-packages", "test", "tests", "venv"})
_TRAINS = ("fit", "train_on_batch")
"""Methods of Keras's models; other things have a `fit`, too."""
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
class FoundBuilder:
    """A function without required arguments that returns a compiled model which knows its inputs.

    `is_sparse` says that its labels are ids.
    """

    place: Place
    name: str
    is_sparse: bool


@dataclass(frozen=True)
class Trainer:
    """What trains when it is run.

    Attributes:
        place: where it begins.
        reference: of a script, what is run: its file, or its module where it is run by `python -m`.
        function: the name of a function without required arguments, where no script calls it.
        trained_at: the lines that train or differentiate, each with what it names; what is nearest comes first.
        is_sure: whether a model is compiled or loaded, or a tape started: a `fit` alone may be a scaler's.
    """

    place: Place
    reference: str
    function: str | None
    trained_at: tuple[tuple[str, Place], ...]
    is_sure: bool


@dataclass(frozen=True)
class Project:
    """What was found; of what could serve, the best comes first. `unread` are files that are no valid Python."""

    subjects: tuple[FoundSubject, ...] = ()
    trainers: tuple[Trainer, ...] = ()
    builders: tuple[FoundBuilder, ...] = ()
    notebooks: tuple[Path, ...] = ()
    unread: tuple[Path, ...] = ()


def search_project(folder: Path) -> Project:
    """Look through the files in and below a folder: not hidden ones, tests, builds and environments."""
    paths = sorted(_files(folder))
    scripts = [path.relative_to(folder) for path in paths if path.suffix == ".py"]
    sources = _Sources({path: file for path in scripts if (file := _parsed(path, folder)) is not None})
    files = sources.files.values()
    return Project(
        subjects=tuple(found for file in files for found in _subjects(file)),
        trainers=tuple(_trainers(sources)),
        builders=tuple(found for file in files for found in _builders(file)),
        notebooks=tuple(path.relative_to(folder) for path in paths if path.suffix == ".ipynb" and _names_keras(path)),
        unread=tuple(path for path in scripts if path not in sources.files),
    )


# ------------------------------------------------------------------------------------------------------------ the files


def _files(folder: Path) -> Iterator[Path]:
    """Python files and notebooks; not those with names that would need to be quoted."""
    entries: list[Path] = []
    with suppress(OSError):
        entries = list(folder.iterdir())
    for entry in entries:
        name = entry.name
        if name.startswith(".") or not name.isprintable() or set(name) & {'"', "\\"}:
            continue
        if entry.is_dir() and not entry.is_symlink():
            if name not in _SKIPPED and not (entry / "pyvenv.cfg").exists():
                yield from _files(entry)
        elif entry.suffix in (".py", ".ipynb") and entry.is_file() and not _is_test(entry):
            yield entry


def _is_test(path: Path) -> bool:
    return path.stem.startswith("test_") or path.stem.endswith("_test") or path.stem == "conftest"


@dataclass(frozen=True, eq=False)
class _File:
    """A parsed file, by its path in the folder."""

    path: Path
    tree: ast.Module

    @functools.cached_property
    def functions(self) -> dict[str, ast.FunctionDef]:
        """The functions at its top."""
        return {node.name: node for node in self.tree.body if isinstance(node, ast.FunctionDef)}

    @functools.cached_property
    def definitions(self) -> dict[str, ast.stmt]:
        """The functions and classes at its top, which other code can name."""
        return {node.name: node for node in self.tree.body if isinstance(node, (*_Function, ast.ClassDef))}

    @functools.cached_property
    def imported(self) -> dict[str, tuple[str, str | None]]:
        """What each imported name stands for: a module, with as many dots before it as its import has, and a name."""
        names: dict[str, tuple[str, str | None]] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                names |= {alias.asname or alias.name.partition(".")[0]: (alias.name, None) for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                module = "." * node.level + (node.module or "")
                names |= {alias.asname or alias.name: (module, alias.name) for alias in node.names}
        return names

    @functools.cached_property
    def packages(self) -> set[str]:
        """The first part of what it imports; "" where that is relative."""
        return {module.partition(".")[0] for module, _ in self.imported.values()}

    @property
    def names_keras(self) -> bool:
        """Whether it imports Keras or TensorFlow."""
        return any(package == "tensorflow" or package.startswith("keras") for package in self.packages)

    def body(self, *, as_script: bool) -> list[ast.stmt]:
        """The statements that run when it is imported, or also those that run when it is a script."""
        loose = [node for node in self.tree.body if not isinstance(node, (*_Function, ast.ClassDef))]
        return [node for node in loose if as_script or not _is_guard(node)]


def _parsed(path: Path, folder: Path) -> _File | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an escape in a string that Python will not allow for ever
            return _File(path, ast.parse((folder / path).read_bytes()))
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _names_keras(notebook: Path) -> bool:
    try:
        cells = json.loads(notebook.read_bytes())["cells"]
        sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False
    return any("keras" in source or "tensorflow" in source for source in sources)


def _is_guard(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "__name__" in _mentioned(node.test)


def _is_train_step(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef) and node.name == "train_step"


def _train_steps(node: ast.stmt) -> list[ast.stmt]:
    return [each for each in node.body if _is_train_step(each)] if isinstance(node, ast.ClassDef) else []


def _mentioned(node: ast.AST) -> set[str]:
    return {name for part in ast.walk(node) if (name := _name(part)) is not None}


def _name(node: ast.AST) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else None


@dataclass(frozen=True, eq=False)
class _Piece:
    """A statement, function or class of a file with all below it: what it names, and what it does by these names."""

    file: _File
    node: ast.stmt
    names: set[str]
    modules: tuple[str, ...]
    """What it imports."""
    trained_at: tuple[tuple[str, Place], ...]
    makes_models: bool


def _piece(file: _File, node: ast.stmt) -> _Piece:
    parts = list(_walk(node))
    return _Piece(
        file=file,
        node=node,
        names={name for part in parts if (name := _name(part)) is not None},
        modules=tuple(module for part in parts for module in _modules(part)),
        trained_at=tuple(found for part in parts if (found := _trained_at(part, file)) is not None),
        makes_models=any(_makes_a_model(part, file) for part in parts),
    )


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    """A node and all below it, but for the `train_step` of a class: that trains where somebody calls it."""
    left = [node]
    while left:
        part = left.pop()
        yield part
        steps = _train_steps(part) if isinstance(part, ast.ClassDef) else []
        left += reversed([child for child in ast.iter_child_nodes(part) if child not in steps])


def _modules(node: ast.AST) -> list[str]:
    """The modules that an import runs."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        module = "." * node.level + (node.module or "")
        return [module, *(_below(module, alias.name) for alias in node.names)]
    return []


def _below(module: str, name: str) -> str:
    return f"{module}{name}" if module.endswith(".") else f"{module}.{name}"


def _trained_at(node: ast.AST, file: _File) -> tuple[str, Place] | None:
    if not isinstance(node, ast.Call):
        return None
    name, owner = _name(node.func), getattr(node.func, "value", None)
    if name == "GradientTape" or name in _TRAINS and owner is not None:
        return name, Place(file.path, node.lineno)
    is_of_tensorflow = name == "gradients" and isinstance(owner, ast.Name) and owner.id == "tf"
    return ("tf.gradients", Place(file.path, node.lineno)) if is_of_tensorflow else None


def _makes_a_model(node: ast.AST, file: _File) -> bool:
    """Whether it compiles or loads a model: what is fit beside that may be more than a scaler or a tokenizer."""
    if isinstance(node, ast.Attribute) and node.attr == "compile":
        return not (isinstance(node.value, ast.Name) and node.value.id in file.imported)  # as re.compile
    return _name(node) == "load_model"


# ----------------------------------------------------------------------------------------------------- what calls what


@dataclass(frozen=True)
class _Sources:
    """The files of a project, and what of them is run by what."""

    files: Mapping[Path, _File]
    _pieces: dict[int, _Piece] = field(default_factory=dict)
    _followed: dict[int, list[_Piece]] = field(default_factory=dict)
    _found: dict[tuple[Path, str], _File | None] = field(default_factory=dict)

    @functools.cached_property
    def folders(self) -> set[Path]:
        """All in which there is a file, or a folder with one."""
        return {folder for path in self.files for folder in path.parents}

    def reached(self, file: _File, statements: Sequence[ast.stmt]) -> list[_Piece]:
        """The statements, and all in the project that they name and import, and that this names, nearest first."""
        found = self._closed([self._piece(file, statement) for statement in statements])
        if any("train_step" in piece.names for piece in found):
            steps = [self._piece(piece.file, step) for piece in found for step in _train_steps(piece.node)]
            found = self._closed([*found, *steps])
        return found

    def _closed(self, pieces: Sequence[_Piece]) -> list[_Piece]:
        found = list(pieces)
        seen = set(map(id, found))
        for piece in found:
            for following in self._next(piece):
                if id(following) not in seen:
                    seen.add(id(following))
                    found.append(following)
        return found

    def _piece(self, file: _File, node: ast.stmt) -> _Piece:
        if id(node) not in self._pieces:
            self._pieces[id(node)] = _piece(file, node)
        return self._pieces[id(node)]

    def _next(self, piece: _Piece) -> list[_Piece]:
        if id(piece) not in self._followed:
            named = (found for name in sorted(piece.names) for found in self._named(piece.file, name, piece.names))
            self._followed[id(piece)] = [*named, *self._imported(piece)]
        return self._followed[id(piece)]

    def _imported(self, piece: _Piece) -> Iterator[_Piece]:
        """What runs because it is imported."""
        for module in piece.modules:
            imported = self._file(piece.file, module)
            if imported is not None:
                yield from (self._piece(imported, statement) for statement in imported.body(as_script=False))

    def _named(self, file: _File, name: str, names: set[str], depth: int = 5) -> Iterator[_Piece]:
        """What a name means in a file; of a module, all that is named beside it."""
        if name in file.definitions:
            yield self._piece(file, file.definitions[name])
        elif name in file.imported and depth:
            module, inner = file.imported[name]
            source = self._file(file, module)
            below = None if inner is None else self._file(file, _below(module, inner))
            if inner is not None and source is not None and below is None:
                yield from self._named(source, inner, names, depth - 1)
            elif (whole := source if inner is None else below) is not None:
                for wanted in sorted(names - {name}):
                    yield from self._named(whole, wanted, set(), depth - 1)

    def _file(self, file: _File, module: str) -> _File | None:
        """The file of the project that a module is, as `file` imports it."""
        key = file.path.parent, module
        if key not in self._found:
            self._found[key] = self._searched(file, module)
        return self._found[key]

    def _searched(self, file: _File, module: str) -> _File | None:
        name = module.lstrip(".")
        level = len(module) - len(name)
        folders = [*file.path.parents, Path("src")]
        for folder in folders[level - 1 : level] if level else folders:
            path = folder.joinpath(*name.split("."))
            for candidate in (path.with_name(f"{path.name}.py") if name else path, path / "__init__.py"):
                if candidate in self.files:
                    return self.files[candidate]
        return None


# ---------------------------------------------------------------------------------------------------------- what trains


@dataclass
class _Candidate:
    trainer: Trainer
    reached: list[_Piece]
    is_inner: bool = False
    """Whether another candidate calls it."""


def _trainers(sources: _Sources) -> list[Trainer]:
    """Scripts that train, and functions that no script calls: what is sure comes first, then what is outermost."""
    scripts = [found for file in sources.files.values() if (found := _script(sources, file)) is not None]
    called = {id(piece.node) for found in scripts for piece in found.reached}
    functions = [
        found
        for file in sources.files.values()
        for function in file.functions.values()
        if id(function) not in called and (found := _function(sources, file, function)) is not None
    ]
    for found in functions:
        own, others = found.reached[0], [other for other in functions if other is not found]
        found.is_inner = any(piece is own for other in others for piece in other.reached)
    return [found.trainer for found in sorted((*scripts, *functions), key=_rank)]


def _rank(candidate: _Candidate) -> tuple[bool, bool, bool, int, bool, str, int]:
    trainer = candidate.trainer
    file = trainer.place.file
    return (
        not trainer.is_sure,
        trainer.function is not None,
        candidate.is_inner,
        len(file.parts),
        "train" not in (trainer.function or file.stem).lower(),
        file.as_posix(),
        trainer.place.line,
    )


def _script(sources: _Sources, file: _File) -> _Candidate | None:
    statements = file.body(as_script=True)
    guard = next((node.lineno for node in statements if _is_guard(node)), 1)
    return _candidate(sources.reached(file, statements), Place(file.path, guard), _reference(file, sources), None)


def _function(sources: _Sources, file: _File, function: ast.FunctionDef) -> _Candidate | None:
    if not _is_callable(file, function) or _returns_a_subject(file, function):
        return None
    return _candidate(sources.reached(file, [function]), Place(file.path, function.lineno), "", function.name)


def _candidate(reached: list[_Piece], place: Place, reference: str, function: str | None) -> _Candidate | None:
    trained_at = tuple(dict.fromkeys(each for piece in reached for each in piece.trained_at))
    if not trained_at or not any(piece.file.names_keras for piece in reached):
        return None
    is_sure = any(piece.makes_models for piece in reached) or any(what not in _TRAINS for what, _ in trained_at)
    return _Candidate(Trainer(place, reference, function, trained_at, is_sure), reached)


def _reference(file: _File, sources: _Sources) -> str:
    """What is run: the file, or its module where it needs to import from the folder of the project."""
    parts = file.path.with_suffix("").parts
    is_below_src = parts[0] == "src" and len(parts) > 1 and "src" not in file.packages
    module = parts[1:] if is_below_src else parts

    def lies_in(folder: Path, name: str) -> bool:
        return folder / f"{name}.py" in sources.files or folder / name in sources.folders

    outside = [name for name in file.packages if name and not lies_in(file.path.parent, name)]
    needs_folder = any(lies_in(place, name) for name in outside for place in (Path(), Path("src")))
    needs_own = len(module) > 1 and any(name and name not in outside for name in file.packages)
    is_module = "" in file.packages or needs_folder and not needs_own
    if not is_module or not all(_is_identifier(part) for part in module):
        return file.path.as_posix()
    return ".".join(module[:-1] if module[-1] == "__main__" and len(module) > 1 else module)


def _is_identifier(name: str) -> bool:
    return name.isidentifier() and not keyword.iskeyword(name)


# ----------------------------------------------------------------------------------------------------- what is returned


def _subjects(file: _File) -> Iterator[FoundSubject]:
    for function in file.functions.values():
        if _returns_a_subject(file, function) and _required(function) <= 1 and not function.name.startswith("_"):
            yield FoundSubject(Place(file.path, function.lineno), function.name)


def _returns_a_subject(file: _File, function: ast.FunctionDef) -> bool:
    if "gradaudit" not in file.packages:
        return False
    returned = (node.value for node in ast.walk(function) if isinstance(node, ast.Return))
    return any(isinstance(value, ast.Call) and "Subject" in _mentioned(value.func) for value in returned)


def _builders(file: _File) -> Iterator[FoundBuilder]:
    """The functions without required arguments that return a compiled model which knows its inputs."""
    if "Input" not in _mentioned(file.tree):
        return
    for function in file.functions.values():
        compiled = _compile_call(function, file.functions) if _is_callable(file, function) else None
        if compiled is not None:
            is_sparse = "sparse" in ast.unparse(compiled).lower()
            yield FoundBuilder(Place(file.path, function.lineno), function.name, is_sparse)


def _is_callable(file: _File, function: ast.FunctionDef) -> bool:
    """Whether a function can be imported and called as it is."""
    if not _is_identifier(file.path.stem) or function.name.startswith("_") or _required(function):
        return False
    return not any(isinstance(node, (ast.Yield, ast.YieldFrom)) for node in ast.walk(function))


def _compile_call(
    function: ast.FunctionDef, functions: Mapping[str, ast.FunctionDef], depth: int = 3
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


def _required(function: ast.FunctionDef) -> int:
    """How many arguments have no default."""
    given = function.args
    keywords = sum(default is None for default in given.kw_defaults)
    return len(given.posonlyargs) + len(given.args) - len(given.defaults) + keywords
