"""Who asks: Python's `import`, a search for installed distributions, a library that looks around, or the project."""

from __future__ import annotations

import os
import sys
from types import FrameType

from gradaudit.cache.looks import EVERYTHING, KIND, Aspect
from gradaudit.cache.software import is_library

_OWN_FOLDER = os.path.dirname(os.path.abspath(__file__)) + os.sep
_IMPORTERS = ("<frozen importlib", "<frozen zipimport")
_METADATA_READERS = (f"importlib{os.sep}metadata{os.sep}", f"importlib_metadata{os.sep}")
_AFTER_THE_KIND = frozenset(
    (
        *("fnmatch", "genericpath", "glob", "inspect", "linecache", "ntpath", "os", "pkgutil", "platform", "posixpath"),
        *("py_compile", "runpy", "shutil", "site", "subprocess", "sysconfig", "tempfile", "tokenize", "zipimport"),
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
    "stat": EVERYTHING,
    "lstat": EVERYTHING,
}
"""What functions of Python's path modules are after."""


def asker() -> FrameType:
    """The frame that has called what stands in the place of a function of Python's."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_OWN_FOLDER):
        frame = frame.f_back
    return frame


def module_of(frame: FrameType) -> str:
    """The name of the module whose code a frame runs."""
    return str(frame.f_globals.get("__name__"))


def is_import(frame: FrameType) -> bool:
    """Whether Python's `import` asks."""
    return frame.f_code.co_filename.startswith(_IMPORTERS)


def reads_metadata(frame: FrameType, path: str) -> bool:
    """Whether somebody asks which distributions are installed, as `importlib.metadata` does with pathlib or zipfile."""
    if not {path, os.path.dirname(path), os.path.dirname(os.path.dirname(path))}.isdisjoint(sys.path):
        link: FrameType | None = frame
        for _ in range(4):
            if link is not None:
                if any(reader in link.f_code.co_filename for reader in _METADATA_READERS):
                    return True
                link = link.f_back
    return False


def removes_a_tree(frame: FrameType) -> bool:
    """Whether `shutil.rmtree` goes through what it removes."""
    return module_of(frame) == "shutil" and frame.f_code.co_name.startswith("_rmtree")


def is_of_libraries(frame: FrameType) -> bool:
    """Whether no line of the project's own has called this, but for its `import` of what does it."""
    link: FrameType | None = frame
    while link is not None:
        if not is_library(link.f_code.co_filename):
            return False
        if link.f_code.co_name == "<module>":
            return True
        link = link.f_back
    return True


def aspects_asked(frame: FrameType) -> Aspect:
    """What is asked by a call of `os.stat` or its like: whoever is not known to hand on less gets to know all."""
    while module_of(frame).startswith("pathlib") and frame.f_back is not None:
        if not module_of(frame.f_back).startswith("pathlib"):
            aspects = _AFTER_MORE.get(frame.f_code.co_name, KIND)
            return aspects if aspects != EVERYTHING else aspects_asked(frame.f_back)
        frame = frame.f_back
    module = module_of(frame)
    if module in ("genericpath", "posixpath", "ntpath"):
        return _AFTER_MORE.get(frame.f_code.co_name, KIND)
    is_after_the_kind = module in _AFTER_THE_KIND or module.startswith(("importlib", "multiprocessing"))
    return KIND if is_after_the_kind and is_library(frame.f_code.co_filename) else EVERYTHING
