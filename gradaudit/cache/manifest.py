"""All that an audit was made from, as it was then, and whether it is so still."""

from __future__ import annotations

import hashlib
import importlib.util
import marshal
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gradaudit.cache.looks import KIND, Aspect, Look, listing, modules_found
from gradaudit.cache.software import is_covered, is_library, search_path, software
from gradaudit.cache.syscalls import Opens
from gradaudit.cache.watch import Watch

_UNSEEN = (
    *("TF_", "XLA_", "CUDA_", "NVIDIA_", "KERAS_", "NETWORKX_", "PYTHON", "LD_", "LANG", "LC_", "TZ"),
    *("OMP_", "KMP_", "MKL_", "OPENBLAS_"),
)
"""How variables of the environment begin that are read past Python, or by whoever goes through all of them."""

_IS_FREE = -1
"""In the place of aspects: it was only found out whether a file can be put there."""
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
    all_variables: list[str] | None
    """The names of all of them, if somebody went through them."""
    unseen_variables: Mapping[str, str | None]
    arguments: str | None
    """The arguments of the command, if they were read."""
    contents: Mapping[str, str]
    """Of each file that was read, a hash."""
    bytecode: Mapping[str, str | None]
    """Of what Python has made of each source, where it keeps that, a hash; None where there is nothing."""
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
            and self.all_variables in (None, sorted(os.environ))
            and self.unseen_variables == _unseen(os.environ)
            and self.arguments in (None, _arguments())
            and all(told == _told(Look.at(path), aspects) for path, (aspects, told) in self.answers.items())
            and all(found == modules_found(folder, self.names[package]) for package, folder, found in self._searched())
            and all(names == listing(folder) for folder, names in self.listings.items())
            and all(digest == _digest(path) for path, digest in self.contents.items())
            and all(_digest(path, _HEADER) in (None, digest) for path, digest in self.bytecode.items())
        )

    def _searched(self) -> Iterable[tuple[str, str, list[str] | None]]:
        return (
            (package, folder, found) for package, folders in self.places.items() for folder, found in folders.items()
        )


def manifest_of(
    watch: Watch, opens: Iterable[Opens], environment: Mapping[str, str], places: Sequence[str]
) -> Manifest:
    """What this process has made an audit from.

    Args:
        watch: what it has read, as it knows itself.
        opens: what it has opened, as the kernel tells.
        environment: the variables of the environment when it began.
        places: where modules and distributions were looked for when it began.

    Raises:
        Unheld: something of it cannot be held fast.
    """
    watch.is_on = False
    for opened in opens:
        for path, look in opened.looks.items():
            watch.note_opened(path, opened.flags[path], look)
        watch.unheld.update(opened.unheld)
    for reason in watch.unheld:
        raise Unheld(reason)
    _require_unchanged(watch)
    names = _names(watch)
    searched = _searched(watch, places)
    sources = _module_files(watch) | watch.sources
    for file in (*sources, *_archives(searched[""])):
        watch.looks.setdefault(file, Look.at(file))
        watch.read.add(file)
    read = environment if watch.reads_all_variables else watch.variables
    return Manifest(
        software=software(places),
        variables={name: _hashed(environment.get(name)) for name in sorted(read)},
        all_variables=sorted(environment) if watch.reads_all_variables else None,
        unseen_variables=_unseen(environment),
        arguments=_arguments() if watch.reads_arguments else None,
        contents={path: _held_content(watch, path) for path in sorted(watch.read) if _is_held(watch, path)},
        bytecode=_held_bytecode(sources),
        answers={path: _held_answer(watch, path) for path in sorted(watch.looks) if _is_question(watch, path)},
        listings=dict(sorted(watch.listings.items())),
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
    for sought in watch.places.values():
        for folder, found in sought.items():
            for name, then in found.items():
                if modules_found(folder, [name]) != then:
                    raise Unheld(f"in {folder} the module {name} was changed meanwhile")
    for folder, then in watch.listings.items():
        changed = {os.path.join(folder, name) for name in {*(then or ())} ^ {*(listing(folder) or ())}}
        if any(not watch.has_changed(path.rstrip("/")) for path in changed):
            raise Unheld(f"{folder} was changed meanwhile")


def _held_bytecode(sources: Iterable[str]) -> dict[str, str | None]:
    """What Python keeps of the sources that somebody may work on: it runs that as long as size and time are the same.

    Raises:
        Unheld: it was made from another source.
    """
    held = {}
    for source in sources:
        if source.endswith(".py") and not is_library(source):
            bytecode = importlib.util.cache_from_source(source)
            if os.path.exists(bytecode) and not _is_made_from(bytecode, source):
                raise Unheld(f"Python keeps {bytecode}, which it had made from another {source}: remove it")
            held[bytecode] = _digest(bytecode, _HEADER)
    return held


def _is_made_from(bytecode: str, source: str) -> bool:
    """Whether a file of Python's holds what it would make of a source now."""
    try:
        with open(source, "rb") as text, open(bytecode, "rb") as made:
            expected = compile(text.read(), source, "exec", dont_inherit=True)
            return bool(marshal.loads(made.read()[_HEADER:]) == expected)
    except (OSError, ValueError, SyntaxError, EOFError, TypeError):
        return False


def _searched(watch: Watch, places: Iterable[str]) -> dict[str, list[str]]:
    """The folders in which modules were looked for, by package."""
    searched: dict[str, dict[str, None]] = {"": dict.fromkeys(map(os.path.abspath, (*places, *search_path())))}
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
    if is_covered(path) or not (path in watch.asked or path in watch.read or path in watch.taken_over):
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
    aspects = _IS_FREE if path in watch.taken_over else int(watch.asked.get(path, KIND))
    look = watch.looks[path]
    told = _told(look, aspects)
    if told != _told(Look.at(path), aspects):
        if path not in watch.written:
            raise Unheld(f"{path} was changed meanwhile")
        if aspects > 0 and look.kind != "absent":
            raise Unheld(f"it both looks at and changes {path}")
    return [aspects, told]


def _told(look: Look, aspects: int) -> list[str | None]:
    """What somebody got to know who asked for these aspects."""
    if aspects == _IS_FREE:
        return ["taken" if look.kind in ("folder", "other") else "free"]
    return look.told(Aspect(aspects))


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


def _existing(file: str) -> str:
    """The file itself, or the archive that it is in."""
    while not os.path.lexists(file) and os.path.dirname(file) != file:
        file = os.path.dirname(file)
    return file


def _archives(places: Iterable[str]) -> list[str]:
    """What modules are looked for in and is no folder, be it there or not."""
    return [os.path.abspath(place) for place in places if not os.path.isdir(place)]


def _digest(path: str, start: int = 0) -> str | None:
    """A hash of the content of a file from a byte on."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:  # the path may be no text
            file.seek(start)
            while part := file.read(1 << 20):
                digest.update(part)
    except OSError:
        return None
    return digest.hexdigest()
