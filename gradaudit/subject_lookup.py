"""From the words "package.module:callable" to the callable, and from that to what `audit` takes.

Nothing is imported before `audit` asks for it, because a model that is built while a module is imported ought to take
no memory either. What goes wrong in the user's code becomes a `SubjectError` with the user's own error and line.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from gradaudit.errors import SubjectError
from gradaudit.garbage import write_out
from gradaudit.spelling import nearest
from gradaudit.user_code import displayed, is_users, user_errors

_HOW_TO_WRITE = 'write "package.module:callable" or "path/to/file.py:callable"'


def find_subject(reference: str, *, folder: Path) -> Callable[..., Any]:
    """Import what `reference` names; a path is relative to `folder`, a module is found there or in the working folder.

    Raises:
        SubjectError: the reference is no reference, or its module, file or callable is not there or fails to import.
    """
    target, attribute = split_reference(reference)
    with user_errors(f"The subject {reference!r} cannot be imported", SubjectError):
        module = _load_file(folder / target) if _is_file(target) else _import_module(target, folder)
    return _callable_in(module, attribute, reference)


def lazy_subject(
    reference: str, *, folder: Path, project: dict[str, Any], changed: Sequence[str] = ()
) -> Callable[[], Any]:
    """Return what `audit` takes: it imports the callable, calls it, with `project` if it takes an argument, and checks.

    `changed` are the keys of `project` that a scenario or `--set` replaced: a callable that takes no argument would
    ignore them, and the audit would answer for another configuration than the one that was asked for.
    """

    def build() -> Any:
        function = find_subject(reference, folder=folder)
        # Every call gets its own copy: a project may change its dict, and a step that is traced twice is built twice.
        arguments = _arguments(function, copy.deepcopy(project), reference)
        if changed and not arguments:
            raise SubjectError(
                f"The subject {reference!r} takes no argument, so that {changed[0]!r} cannot be set: let it take one, "
                "the configuration as a dict."
            )
        with user_errors(f"The subject {reference!r} failed", SubjectError):
            subject = function(*arguments)
        return _checked(subject, reference)

    return build


@contextlib.contextmanager
def audited_code_forgotten() -> Iterator[None]:
    """At the end, forget the user's modules that were imported inside, and what Keras remembers of them.

    So each scenario finds what a training run of its own would find: no layer is called `dense_7` because six others
    were built for another scenario, and no dtype policy outlives the one that set it. Files that they have left open
    are written out before: found as garbage, they may be closed before what they have buffered.
    """
    before = dict(sys.modules)
    try:
        yield
    finally:
        write_out()
        for name, module in list(sys.modules.items()):
            if before.get(name) is not module and _is_users_module(module):
                del sys.modules[name]
                if name in before:
                    sys.modules[name] = before[name]
        keras = sys.modules.get("keras")
        if keras is not None:
            keras.utils.clear_session(free_memory=False)  # the search for garbage is put off


def check_reference(reference: str, *, folder: Path) -> None:
    """Find the mistakes that show before anything is imported.

    Raises:
        SubjectError: the reference is not written as one, or names a file that is not there.
    """
    target, _ = split_reference(reference)
    if _is_file(target):
        _existing(folder / target)


def split_reference(reference: str) -> tuple[str, str]:
    """Split "target:callable" at its last colon.

    Raises:
        SubjectError: there is no colon, or nothing on one of its sides.
    """
    target, _, attribute = reference.rpartition(":")
    if not target:
        raise SubjectError(f"The subject {reference!r} names no callable: {_HOW_TO_WRITE}.")
    is_name = all(part.isidentifier() for part in attribute.split("."))
    if not is_name or not (_is_file(target) or all(part.isidentifier() for part in target.split("."))):
        raise SubjectError(f"The subject {reference!r} is not written as one: {_HOW_TO_WRITE}.")
    return target, attribute


# ------------------------------------------------------------------------------------------------------------ importing


def _import_module(name: str, folder: Path) -> ModuleType:
    _make_importable(folder)
    _make_importable(Path.cwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        places = " and in ".join(dict.fromkeys(str(place.resolve()) for place in (Path.cwd(), folder)))
        raise SubjectError(
            f"There is no module {error.name!r}{_needed_by(error.name, name)}: looked in {places} "
            f"and among the installed packages{_nearest_module(error.name)}"
        ) from None


def _load_file(path: Path) -> ModuleType:
    """Run a file as the module that it is when imported: within its package, or with its own folder to import from."""
    path = _existing(path).resolve()
    parts = [path.stem]
    root = path.parent
    while (root / "__init__.py").is_file():
        parts.insert(0, root.name)
        root = root.parent
    _make_importable(root)
    if len(parts) > 1:
        return importlib.import_module(".".join(parts))
    for module in list(sys.modules.values()):
        if getattr(module, "__file__", None) == str(path) and module.__name__ != "__main__":
            return module
    return _run_file(path)


def _run_file(path: Path) -> ModuleType:
    # A file called like a module that is loaded already, say test.py, must not take that module's place.
    name = path.stem if path.stem not in sys.modules else f"subject_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise SubjectError(f"{path} cannot be imported: it is no Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _existing(path: Path) -> Path:
    if path.is_file():
        return path
    if not path.parent.is_dir():
        raise SubjectError(f"There is no file {path} to take the subject from: its folder does not exist.")
    known = sorted(file.name for file in path.parent.glob("*.py"))
    raise SubjectError(f"There is no file {path} to take the subject from{nearest(path.name, known)}")


def _is_file(target: str) -> bool:
    return target.endswith(".py") or "/" in target or "\\" in target


def _make_importable(folder: Path) -> None:
    """Put a folder first, as Python does with that of a script; it stays, because functions import when called, too."""
    entry = str(folder.resolve())
    if entry not in sys.path:
        sys.path.insert(0, entry)
    importlib.invalidate_caches()  # a file may be newer than what Python remembers of its folder


def _needed_by(missing: str, name: str) -> str:
    return "" if missing == name else f" for {name!r}"


def _nearest_module(missing: str) -> str:
    """Look among the siblings of a missing module: in its package, or beside the working folder's other modules."""
    package, _, last = missing.rpartition(".")
    folders = list(getattr(sys.modules.get(package), "__path__", ())) if package else [str(Path.cwd())]
    names = {
        entry.stem
        for folder in folders
        for entry in Path(folder).iterdir()
        if entry.suffix == ".py" or (entry / "__init__.py").is_file()
    }
    return nearest(last, sorted(names))


# -------------------------------------------------------------------------------------------------------------- calling


def _callable_in(module: ModuleType, attribute: str, reference: str) -> Callable[..., Any]:
    found: Any = module
    for name in attribute.split("."):
        if not hasattr(found, name):
            known = [known for known, value in vars(found).items() if callable(value) and not known.startswith("_")]
            raise SubjectError(f"There is no {attribute!r} in {_file_of(module)}{nearest(name, known)}")
        found = getattr(found, name)
    if not callable(found):
        raise SubjectError(
            f"The subject {reference!r} is {_described(found)}, not a callable: name a function that returns a "
            "gradaudit.Subject. Then its weights need no memory, and a scenario can change what it builds."
        )
    function: Callable[..., Any] = found
    return function


def _arguments(function: Callable[..., Any], project: dict[str, Any], reference: str) -> tuple[Any, ...]:
    try:
        signature = inspect.signature(function)
    except ValueError:  # some callables written in C tell nothing
        return ()
    with contextlib.suppress(TypeError):
        if signature.parameters and _takes_position(signature):
            signature.bind(project)
            return (project,)
    with contextlib.suppress(TypeError):
        signature.bind()
        return ()
    raise SubjectError(
        f"The subject {reference!r} takes {signature}, but gradaudit calls it with no argument or with one, "
        "the configuration as a dict."
    )


def _takes_position(signature: inspect.Signature) -> bool:
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return any(parameter.kind in positional for parameter in signature.parameters.values())


def _checked(subject: Any, reference: str) -> Any:
    from gradaudit.subject import Subject  # knows TensorFlow, whose import is not wanted for a misspelt name

    if isinstance(subject, Subject):
        return subject
    hint = "return a gradaudit.Subject"
    if subject is None:
        hint = "it needs a `return`, with a gradaudit.Subject"
    elif hasattr(subject, "compute_loss") and hasattr(subject, "train_step"):
        hint = "return gradaudit.Subject.from_keras(model, batch)"
    raise SubjectError(f"The subject {reference!r} returned {_described(subject)}: {hint}.")


def _described(value: Any) -> str:
    if value is None:
        return "None"
    return f"an object of class {type(value).__qualname__}"


def _is_users_module(module: ModuleType) -> bool:
    file = getattr(module, "__file__", None)
    # A folder without an __init__.py is a module, too, and has no file.
    places = [file] if file else list(getattr(module, "__path__", ()))
    return any(is_users(place) for place in places)


def _file_of(module: ModuleType) -> str:
    return displayed(getattr(module, "__file__", None) or module.__name__)
