"""The software that an audit is made with: gradaudit's own files, Python, and the distributions that are installed."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

_OWN_FOLDER = str(Path(__file__).resolve().parents[1])
_METADATA = (".dist-info", ".egg-info")
_RECORD = "RECORD"


def software() -> dict[str, str]:
    """What tells two states of the software apart."""
    return {
        "gradaudit": _digest(_own_files()),
        "python": sys.version,
        "platform": platform.platform(),
        "processors": str(os.cpu_count()),
        "devices": " ".join(sorted(path.name for path in Path("/dev").glob("nvidia*"))),
        "distributions": _digest(_metadata_files()),
    }


def is_covered(file: str) -> bool:
    """Whether `software` speaks for a file: it is gradaudit's, or belongs to a distribution by its record."""
    return file.startswith((f"{_OWN_FOLDER}{os.sep}", "<")) or record_of(file) is not None


def record_of(file: str) -> str | None:
    """The record of the distribution that has brought a file, unless the file was changed since."""
    record = _recorded().get(file)
    return record if record is not None and is_as_installed(record, [file]) else None


def is_as_installed(record: str, files: Iterable[str]) -> bool:
    """Whether files of a distribution were not changed since its record was written, which is done last."""
    try:
        installed = os.stat(record).st_ctime_ns
        return all(os.stat(file).st_ctime_ns <= installed for file in files)
    except OSError:
        return False


def is_library(file: str) -> bool:
    """Whether nobody works on this file here, as far as the folder says that it is in."""
    return file.startswith((f"{_OWN_FOLDER}{os.sep}", "<", *_site_folders())) or is_of_python(file)


def is_of_python(file: str) -> bool:
    """Whether a file belongs to Python's own library."""
    return file.startswith(_folders_of_python()) and not file.startswith(_site_folders())


def below_site_folder(file: str) -> str | None:
    """The path of a file below the folder of the installed distributions; None where it is in none of these."""
    folders = [folder for folder in _site_folders() if file.startswith(folder)]
    return file[len(max(folders, key=len)) :] if folders else None


def _own_files() -> Iterator[Path]:
    for path in sorted(Path(_OWN_FOLDER).rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            yield path


def _metadata_files() -> Iterator[Path]:
    """Of each distribution its record, which holds a hash of every file, or else all that describes it.

    And the files by which folders are added to those in which modules are looked for.
    """
    for place in dict.fromkeys(sys.path):
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
def _recorded() -> dict[str, str]:
    """Of each file that a distribution has brought, the record; a distribution without one answers for no file."""
    files = {}
    for path in _metadata_files():
        if path.name == _RECORD:
            folder = path.parent.parent
            for line in path.read_text("utf-8", "surrogateescape").splitlines():
                name = line.rsplit(",", 2)[0].strip('"')
                files[os.path.normpath(folder / name)] = str(path)
    return files


@functools.cache
def _site_folders() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    folders = [paths["purelib"], paths["platlib"], *site.getsitepackages(), site.getusersitepackages()]
    return tuple(f"{folder}{os.sep}" for folder in folders)


@functools.cache
def _folders_of_python() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    return tuple(f"{paths[name]}{os.sep}" for name in ("stdlib", "platstdlib"))
