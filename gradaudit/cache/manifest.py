"""All that an audit was made from, as it was then, and whether it is so still."""

from __future__ import annotations

import hashlib
import marshal
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gradaudit.cache.compiled import readers_of_files
from gradaudit.cache.looks import KIND, Aspect, Look, listing, modules_found
from gradaudit.cache.software import is_as_installed, is_covered, is_library, record_of, software
from gradaudit.cache.watch import Watch

_UNSEEN = (
    *("TF_", "XLA_", "CUDA_", "NVIDIA_", "KERAS_", "NETWORKX_", "PYTHON", "LD_", "LANG", "LC_", "TZ"),
    *("OMP_", "KMP_", "MKL_", "OPENBLAS_"),
)
"""How variables of the environment begin that are read past Python, or by whoever goes through all of them."""

_HEADER = 16
"""Bytes before what Python has made of a source."""


class Unheld(Exception):
    """Why an answer cannot be kept."""


@dataclass(frozen=True)
class Manifest:
    """What an audit was made from. Paths are absolute, and values, which may be secrets, are hashed."""

    software: Mapping[str, str]
    variables: Mapping[str, str | None]
    """The variables of the environment that were read; None of those that were not set."""
    unseen_variables: Mapping[str, str | None]
    arguments: str | None
    """The arguments of the command, if they were read."""
    installed: Mapping[str, list[str]]
    """By the record of a distribution, which `software` knows, the files of it that were read, none changed since."""
    contents: Mapping[str, str]
    """Of each other file that was read, a hash."""
    answers: Mapping[str, list[Any]]
    """What was asked of paths beside their content, and what there was."""
    listings: Mapping[str, list[str] | None]
    names: Mapping[str, list[str]]
    """The names of the modules that were looked for, by their package; those in none by ''."""
    places: Mapping[str, Mapping[str, list[str] | None]]
    """By package the folders that were looked in for them, and what was there under these names."""

    def is_current(self, software: Mapping[str, str]) -> bool:
        """Whether an audit would be made from the same, with the software that there is now."""
        return (
            self.software == software
            and self.variables == {name: _hashed(os.environ.get(name)) for name in self.variables}
            and self.unseen_variables == _unseen(os.environ)
            and self.arguments in (None, _arguments())
            and all(told == Look.at(path).told(Aspect(aspects)) for path, (aspects, told) in self.answers.items())
            and all(found == modules_found(folder, self.names[package]) for package, folder, found in self._searched())
            and all(is_as_installed(record, files) for record, files in self.installed.items())
            and all(names == listing(folder) for folder, names in self.listings.items())
            and all(digest == _digest(path) for path, digest in self.contents.items())
        )

    def _searched(self) -> Iterable[tuple[str, str, list[str] | None]]:
        return (
            (package, folder, found) for package, folders in self.places.items() for folder, found in folders.items()
        )


def manifest_of(watch: Watch, environment: Mapping[str, str], places: Iterable[str]) -> Manifest:
    """What this process has made an audit from.

    Args:
        watch: what it has read.
        environment: the variables of the environment when it began.
        places: where it looked for modules when it began.

    Raises:
        Unheld: something of it cannot be held fast.
    """
    watch.is_on = False
    for reason in watch.unheld:
        raise Unheld(reason)
    for module in readers_of_files():
        raise Unheld(f"it imports {module}, a compiled module that may read files unseen")
    _require_unchanged(watch)
    names = _names(watch)
    searched = _searched(watch, places)
    for file in (*_module_files(watch), *_archives(searched[""])):
        watch.looks.setdefault(file, Look.at(file))
        watch.read.add(file)
    read = environment if watch.reads_all_variables else watch.variables
    return Manifest(
        software=software(),
        variables={name: _hashed(environment.get(name)) for name in sorted(read)},
        unseen_variables=_unseen(environment),
        arguments=_arguments() if watch.reads_arguments else None,
        installed=_installed(watch),
        contents={path: _held_content(watch, path) for path in sorted(watch.read) if _is_held(watch, path)},
        answers={path: _held_answer(watch, path) for path in sorted(watch.looks) if _is_question(watch, path)},
        listings={folder: found for folder, found in sorted(watch.listings.items()) if not is_library(f"{folder}/")},
        names={package: names.get(package, []) for package in searched},
        places={
            package: {folder: modules_found(folder, names.get(package, [])) for folder in folders}
            for package, folders in searched.items()
        },
    )


def _require_unchanged(watch: Watch) -> None:
    """Whatever was seen first has to be so still, but for what the audited code has done itself.

    Raises:
        Unheld: it is not.
    """
    for source, bytecode in watch.bytecode.items():
        if not is_covered(source) and not _is_made_from(bytecode, source):
            raise Unheld(f"Python has run {bytecode}, which it had made from another {source}: remove it")
    for sought in watch.places.values():
        for folder, found in sought.items():
            for name, then in found.items():
                if modules_found(folder, [name]) != then:
                    raise Unheld(f"in {folder} the module {name} was changed meanwhile")
    for folder, then in watch.listings.items():
        changed = {os.path.join(folder, name) for name in {*(then or ())} ^ {*(listing(folder) or ())}}
        if not is_library(f"{folder}/") and any(not watch.has_changed(path.rstrip("/")) for path in changed):
            raise Unheld(f"{folder} was changed meanwhile")


def _is_made_from(bytecode: str, source: str) -> bool:
    """Whether a file of Python's holds what it would make of a source now."""
    try:
        with open(source, "rb") as text, open(bytecode, "rb") as made:
            expected = compile(text.read(), source, "exec", dont_inherit=True)
            return bool(marshal.loads(made.read()[_HEADER:]) == expected)
    except (OSError, ValueError, SyntaxError, EOFError, TypeError):
        return False


def _searched(watch: Watch, places: Iterable[str]) -> dict[str, list[str]]:
    """The folders in which modules were looked for, by package; but for the packages of the libraries."""
    searched: dict[str, dict[str, None]] = {"": dict.fromkeys(map(os.path.abspath, (*places, *sys.path)))}
    for name, module in sorted(sys.modules.items()):
        path = [os.path.abspath(each) for each in _path_of(module)]
        if any(not is_library(f"{each}/") for each in path):
            searched[name] = dict.fromkeys(path)
    for package, folders in watch.places.items():
        searched.setdefault(package, {}).update(dict.fromkeys(folders))
    return {package: list(folders) for package, folders in searched.items()}


def _is_held(watch: Watch, path: str) -> bool:
    """Whether a path is held by its content."""
    return path in watch.read and watch.looks[path].kind in ("file", "other") and not is_covered(path)


def _is_question(watch: Watch, path: str) -> bool:
    """Whether more was asked of a path than its content tells, or there was nothing that could be opened."""
    if is_covered(path) or not (path in watch.asked or path in watch.read):
        return False
    return bool(watch.asked.get(path)) or not _is_held(watch, path)


def _held_content(watch: Watch, path: str) -> str:
    look = watch.looks[path]
    if look.kind == "other":
        raise Unheld(f"it reads {path}, which is no file that stays")
    if path in watch.written:
        raise Unheld(f"it both reads and writes {path}")
    digest = _digest(path)
    if digest is None or not look.is_settled or not look.is_as(Look.at(path)):
        raise Unheld(f"{path} was changed meanwhile")
    return digest


def _held_answer(watch: Watch, path: str) -> list[Any]:
    aspects = watch.asked.get(path, KIND)
    look = watch.looks[path]
    if path in watch.written:
        if aspects and look.kind != "absent":
            raise Unheld(f"it both looks at and changes {path}")
    elif look.told(aspects) != Look.at(path).told(aspects):
        raise Unheld(f"{path} was changed meanwhile")
    return [int(aspects), look.told(aspects)]


def _arguments() -> str | None:
    return _hashed(repr((list(sys.argv), list(sys.orig_argv))))


def _unseen(environment: Mapping[str, str]) -> dict[str, str | None]:
    return {name: _hashed(value) for name, value in sorted(environment.items()) if name.startswith(_UNSEEN)}


def _hashed(value: str | None) -> str | None:
    return None if value is None else hashlib.sha256(value.encode("utf-8", "surrogateescape")).hexdigest()


def _names(watch: Watch) -> dict[str, list[str]]:
    """The modules that are loaded or were looked for, by package."""
    names: dict[str, set[str]] = {package: set(found) for package, found in watch.modules.items()}
    for module in list(sys.modules):
        parts = module.split(".")
        for length, name in enumerate(parts):
            names.setdefault(".".join(parts[:length]), set()).add(name)
    return {package: sorted(found) for package, found in names.items()}


def _path_of(module: Any) -> list[str]:
    try:
        return [each for each in getattr(module, "__path__", ()) if isinstance(each, str)]
    except Exception:  # noqa: BLE001  # a module may be any object, and say anything when it is asked
        return []


def _module_files(watch: Watch) -> set[str]:
    """The files of the modules that are loaded, but for what this process has made."""
    files = set()
    for module in list(sys.modules.values()):
        file = vars(module).get("__file__") if hasattr(module, "__dict__") else None
        if isinstance(file, str) and os.path.abspath(file) not in watch.made:
            files.add(_existing(os.path.abspath(file)))
    return files


def _installed(watch: Watch) -> dict[str, list[str]]:
    files: dict[str, list[str]] = {}
    for path in sorted(watch.read):
        record = record_of(path)
        if record is not None:
            files.setdefault(record, []).append(path)
    return files


def _existing(file: str) -> str:
    """The file itself, or the archive that it is in."""
    while not os.path.lexists(file) and os.path.dirname(file) != file:
        file = os.path.dirname(file)
    return file


def _archives(places: Iterable[str]) -> list[str]:
    """What modules are looked for in and is no folder, be it there or not."""
    return [os.path.abspath(place) for place in places if not os.path.isdir(place)]


def _digest(path: str) -> str | None:
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:  # the path may be no text
            while part := file.read(1 << 20):
                digest.update(part)
    except OSError:
        return None
    return digest.hexdigest()
