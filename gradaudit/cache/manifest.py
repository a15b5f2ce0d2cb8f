"""All that an audit was made from, as it was then, and whether it is so still."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.machinery import all_suffixes
from typing import Any

from gradaudit.cache.software import is_covered, is_library, software
from gradaudit.cache.watch import KIND, SIZE, TIME, Look, Watch, listing

_UNSEEN = (
    *("TF_", "XLA_", "CUDA_", "NVIDIA_", "KERAS_", "NETWORKX_", "PYTHON", "LD_", "LANG", "LC_", "TZ"),
    *("OMP_", "KMP_", "MKL_", "OPENBLAS_"),
)
"""How variables of the environment begin that are read past Python, or by whoever goes through all of them."""


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
    contents: Mapping[str, str]
    """Of each file that was read, a hash."""
    answers: Mapping[str, list[Any]]
    """What there was at paths that were only asked for, and in how much detail that was asked."""
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
            and self.arguments in (None, _hashed(repr(sys.argv)))
            and all(told == _told(Look.at(path), detail) for path, (detail, told) in self.answers.items())
            and all(found == _found(folder, self.names[package]) for package, folder, found in self._searched())
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
    names = _names(watch)
    searched = {"": [*places, *sys.path], **_searched_packages()}
    for file in (*_module_files(watch), *_archives(searched[""])):
        watch.looks.setdefault(file, Look.at(file))
        watch.read.add(file)
    read = environment if watch.reads_all_variables else watch.variables
    return Manifest(
        software=software(),
        variables={name: _hashed(environment.get(name)) for name in sorted(read)},
        unseen_variables=_unseen(environment),
        arguments=_hashed(repr(sys.argv)) if watch.reads_arguments else None,
        contents={path: _held_content(watch, path) for path in sorted(watch.read) if _is_held(watch, path)},
        answers={path: _held_answer(watch, path) for path in sorted(watch.looks) if _is_question(watch, path)},
        listings={folder: found for folder, found in sorted(watch.listings.items()) if not is_library(f"{folder}/")},
        names={package: names.get(package, []) for package in searched},
        places={
            package: {folder: _found(folder, names.get(package, [])) for folder in map(os.path.abspath, folders)}
            for package, folders in searched.items()
        },
    )


def _is_held(watch: Watch, path: str) -> bool:
    """Whether a path is held by its content."""
    return path in watch.read and watch.looks[path].kind in ("file", "other") and not is_covered(path)


def _is_question(watch: Watch, path: str) -> bool:
    """Whether it was only asked what is at a path, or there was nothing that could be opened."""
    return not is_covered(path) and (path in watch.asked or path in watch.read) and not _is_held(watch, path)


def _held_content(watch: Watch, path: str) -> str:
    if watch.looks[path].kind == "other":
        raise Unheld(f"it reads {path}, which is no file that stays")
    if path in watch.written:
        raise Unheld(f"it both reads and writes {path}")
    digest = _digest(path)
    if digest is None or Look.at(path) != watch.looks[path]:
        raise Unheld(f"{path} was changed meanwhile")
    return digest


def _held_answer(watch: Watch, path: str) -> list[Any]:
    if path in watch.written:
        return [KIND, _told(watch.looks[path], KIND)]
    detail = watch.asked.get(path, KIND)
    told = _told(watch.looks[path], detail)
    if told != _told(Look.at(path), detail):
        raise Unheld(f"{path} was changed meanwhile")
    return [detail, told]


def _told(look: Look, detail: int) -> str:
    """What there is at a path, in as much detail as was asked for."""
    told = look.kind
    if look.kind == "file" and detail >= SIZE:
        told += f" of {look.size} bytes"
    if look.kind in ("file", "folder") and detail >= TIME:
        told += f" of {look.changed[0]}"
    return told if look.link is None else f"{told}, by a link to {look.link}"


def _unseen(environment: Mapping[str, str]) -> dict[str, str | None]:
    return {name: _hashed(value) for name, value in sorted(environment.items()) if name.startswith(_UNSEEN)}


def _hashed(value: str | None) -> str | None:
    return None if value is None else hashlib.sha256(value.encode("utf-8", "surrogateescape")).hexdigest()


def _names(watch: Watch) -> dict[str, list[str]]:
    """The modules that are loaded or were looked for, by package."""
    names: dict[str, set[str]] = {}
    for module in (*sys.modules, *watch.modules):
        parts = module.split(".")
        for length, name in enumerate(parts):
            names.setdefault(".".join(parts[:length]), set()).add(name)
    return {package: sorted(found) for package, found in names.items()}


def _searched_packages() -> dict[str, list[str]]:
    """Where the modules of the project's packages were looked for."""
    paths = {name: _path_of(module) for name, module in list(sys.modules.items())}
    return {name: path for name, path in sorted(paths.items()) if any(not is_library(f"{each}/") for each in path)}


def _path_of(module: Any) -> list[str]:
    try:
        return [each for each in getattr(module, "__path__", ()) if isinstance(each, str)]
    except Exception:  # noqa: BLE001  # a module may be any object, and say anything when it is asked
        return []


def _module_files(watch: Watch) -> set[str]:
    """The files of the modules that are loaded, but for what the software speaks for and what this process has made."""
    files = set()
    for module in list(sys.modules.values()):
        file = vars(module).get("__file__") if hasattr(module, "__dict__") else None
        if isinstance(file, str) and not is_covered(os.path.abspath(file)) and os.path.abspath(file) not in watch.made:
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


def _found(folder: str, names: Iterable[str]) -> list[str] | None:
    """What in a folder a module of these names could be; of a folder, what makes it a package too."""
    entries = listing(folder)
    if entries is None:
        return None
    wanted = set(names)
    suffixes = ("/", *all_suffixes())
    found = [each for each in entries if any(each.endswith(end) and each[: -len(end)] in wanted for end in suffixes)]
    packages = [each for each in found if each.endswith("/")]
    inside = [(each, name) for each in packages for name in listing(os.path.join(folder, each)) or ()]
    return [*found, *(f"{each}{name}" for each, name in inside if name.startswith("__init__."))]


def _digest(path: str) -> str | None:
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:  # the path may be no text
            while part := file.read(1 << 20):
                digest.update(part)
    except OSError:
        return None
    return digest.hexdigest()
