"""The software that an audit is made with: gradaudit's own files, Python, and the distributions that are installed."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import re
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

_OWN_FOLDER = str(Path(__file__).resolve().parents[1])
_METADATA = (".dist-info", ".egg-info")
_RECORD = "RECORD"
_COMPILED = re.compile(r"\.(so|dylib)(\.\d+)*$")


def software(places: Iterable[str]) -> dict[str, str]:
    """What tells two states of the software apart; distributions are looked for in `places`."""
    return {
        "gradaudit": _digest(_own_files()),
        "python": sys.version,
        "platform": platform.platform(),
        "processors": str(os.cpu_count()),
        "devices": " ".join(sorted(path.name for path in Path("/dev").glob("nvidia*"))),
        "distributions": _digest(_metadata_files(places)),
    }


def search_path() -> list[str]:
    """`sys.path`, without what Python passes over because it is no text."""
    path: list[Any] = sys.path
    return [place for place in path if isinstance(place, str)]


def is_covered(file: str) -> bool:
    """Whether `software` speaks for a file: it is gradaudit's, or a compiled library of a distribution or of Python."""
    is_compiled = _COMPILED.search(file) is not None
    return file.startswith(f"{_OWN_FOLDER}{os.sep}") or is_compiled and is_library(file)


def is_library(file: str) -> bool:
    """Whether nobody works on this file here, as far as the folder says that it is in."""
    return file.startswith((f"{_OWN_FOLDER}{os.sep}", *_site_folders())) or is_of_python(file)


def is_of_python(file: str) -> bool:
    """Whether a file belongs to Python's own library, or is what Python has in itself of it."""
    return file.startswith(("<frozen ", *_folders_of_python())) and not file.startswith(_site_folders())


def _own_files() -> Iterator[Path]:
    for path in sorted(Path(_OWN_FOLDER).rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            yield path


def _metadata_files(places: Iterable[str]) -> Iterator[Path]:
    """Of each distribution its record, which holds a hash of every file, or else all that describes it.

    And the files by which folders are added to those in which modules are looked for.
    """
    for place in dict.fromkeys(places):
        folder = Path(place)
        for name in sorted(os.listdir(folder)) if folder.is_dir() else ():
            if name.endswith(_METADATA):
                record = folder / name / _RECORD
                described = [record] if record.is_file() else sorted((folder / name).rglob("*"))
                yield from described or [folder / name]
            elif name.endswith(".pth"):
                yield folder / name


def _digest(files: Iterator[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        content = file.read_bytes() if file.is_file() else b""
        digest.update(f"{file}\0{len(content)}\0".encode("utf-8", "surrogateescape") + content)
    return digest.hexdigest()


@functools.cache
def _site_folders() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    folders = [paths["purelib"], paths["platlib"], *site.getsitepackages(), site.getusersitepackages()]
    return tuple(f"{folder}{os.sep}" for folder in folders)


@functools.cache
def _folders_of_python() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    return tuple(f"{paths[name]}{os.sep}" for name in ("stdlib", "platstdlib"))
