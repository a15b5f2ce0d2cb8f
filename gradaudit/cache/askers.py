"""Who asks: Python's `import`, a search for installed distributions, a library that looks around, or the project."""

from __future__ import annotations

import os
import sys
from types import FrameType

from gradaudit.cache.looks import EVERYTHING, KIND, Aspect
from gradaudit.cache.software import is_library, is_of_python

_OWN_FOLDER = os.path.dirname(os.path.abspath(__file__)) + os.sep
_IMPORTERS = ("<frozen importlib", "<frozen zipimport")
_IMPORTS = frozenset(("_find_and_load", "_find_spec", "_gcd_import", "_handle_fromlist"))
_METADATA_READERS = (f"importlib{os.sep}metadata{os.sep}", f"importlib_metadata{os.sep}")
_AFTER_THE_KIND = frozenset(
    (
        *("fnmatch", "genericpath", "glob", "inspect", "linecache", "ntpath", "os", "pathlib", "pkgutil", "platform"),
        *("posixpath", "py_compile", "runpy", "shutil", "site", "subprocess", "sysconfig", "tempfile", "tokenize"),
        *("importlib", "multiprocessing", "zipimport"),
    )
)
"""Modules of Python that call `os.stat` and hand on no more than what is there, but for the functions below."""
_AFTER_MORE = {
    "getsize": Aspect.SIZE,
    "getmtime": Aspect.TIME,
    "getctime": Aspect.STATUS,
    "getatime": EVERYTHING,
    "samefile": Aspect.IDENTITY,
    "sameopenfile": Aspect.IDENTITY,
    "ismount": Aspect.IDENTITY,
    "owner": Aspect.MODE,
    "group": Aspect.MODE,
    "copymode": Aspect.MODE,
    "copystat": EVERYTHING,
    "stat": EVERYTHING,
    "lstat": EVERYTHING,
}
"""What functions of these modules are after."""


def asker() -> FrameType:
    """The frame that has called what stands in the place of a function of Python's."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_OWN_FOLDER):
        frame = frame.f_back
    return frame


def module_of(frame: FrameType) -> str:
    """The name of the module whose code a frame runs."""
    return str(frame.f_globals.get("__name__"))


def is_of(frame: FrameType, package: str) -> bool:
    """Whether a frame runs code of this module or package of Python's own."""
    return module_of(frame).partition(".")[0] == package and is_of_python(frame.f_code.co_filename)


def is_import(frame: FrameType) -> bool:
    """Whether Python's `import` asks, or a search for a module on `sys.path`: not who calls a finder or loader."""
    link: FrameType | None = frame
    while link is not None and link.f_code.co_filename.startswith((*_IMPORTERS, _OWN_FOLDER)):
        if link.f_code.co_name in _IMPORTS:
            return True
        link = link.f_back
    return False


def reads_metadata(frame: FrameType) -> bool:
    """Whether somebody asks which distributions are installed, as `importlib.metadata` does with pathlib or zipfile."""
    link: FrameType | None = frame
    for _ in range(4):
        if link is not None:
            if any(reader in link.f_code.co_filename for reader in _METADATA_READERS):
                return True
            link = link.f_back
    return False


def removes_a_tree(frame: FrameType) -> bool:
    """Whether `shutil.rmtree` goes through what it removes."""
    return is_of(frame, "shutil") and frame.f_code.co_name.startswith("_rmtree")


def is_of_project(frame: FrameType) -> bool:
    """Whether the project's own code has called this, by way of Python's own modules at most."""
    link: FrameType | None = frame
    while link is not None and is_of_python(link.f_code.co_filename):
        link = link.f_back
    return link is not None and not is_library(link.f_code.co_filename)


def is_of_imported_library(frame: FrameType) -> bool:
    """Whether a library calls this while it is imported, and no line of the project's own but the `import` has."""
    link: FrameType | None = frame
    while link is not None and is_library(link.f_code.co_filename):
        if link.f_code.co_name == "<module>":
            return True
        link = link.f_back
    return False


def aspects_asked(frame: FrameType) -> Aspect:
    """What is asked by a call of `os.stat` or its like: whoever is not known to hand on less gets to know all."""
    while is_of(frame, "pathlib") and frame.f_back is not None:
        if not is_of(frame.f_back, "pathlib"):
            aspects = _AFTER_MORE.get(frame.f_code.co_name, KIND)
            return aspects if aspects != EVERYTHING else aspects_asked(frame.f_back)
        frame = frame.f_back
    if is_of(frame, "shutil") and frame.f_code.co_name == "_stat" and frame.f_back is not None:
        frame = frame.f_back
    package = module_of(frame).partition(".")[0]
    if package in _AFTER_THE_KIND and is_of_python(frame.f_code.co_filename):
        return _AFTER_MORE.get(frame.f_code.co_name, KIND)
    return EVERYTHING
