"""Compiled libraries: they could open files past Python, and of most nobody knows."""

from __future__ import annotations

import os
import sys
from importlib.machinery import EXTENSION_SUFFIXES

from gradaudit.cache.software import below_site_folder, is_of_python

_KNOWN = frozenset(
    (
        *("PIL", "_brotli", "_yaml", "charset_normalizer", "contourpy", "cryptography", "frozenlist", "google"),
        *("greenlet", "h5py", "jaxlib", "kiwisolver", "llvmlite", "markupsafe", "matplotlib", "ml_dtypes", "msgpack"),
        *("multidict", "numba", "numpy", "optree", "orjson", "pandas", "propcache", "psutil", "pydantic_core"),
        *("rapidfuzz", "regex", "rpds", "scipy", "skimage", "sklearn", "soxr", "tensorflow", "wrapt", "yaml", "yarl"),
        "zstandard",
    )
)
"""By folder: libraries that read files by way of Python only, or are watched themselves, but for the modules below."""
_READERS = frozenset(("_dbm", "_gdbm", "_imagingft"))


def may_read_files(library: str) -> bool:
    """Whether a compiled library may read files past Python, by its path."""
    if os.path.basename(library).partition(".")[0] in _READERS:
        return True
    return not is_of_python(library) and _name_below(library) not in _KNOWN


def readers_of_files() -> list[str]:
    """The modules of this process that may read files past Python."""
    modules = {name: module for name, module in list(sys.modules.items()) if hasattr(module, "__dict__")}
    files = {name: vars(module).get("__file__") for name, module in modules.items()}
    return sorted(
        name
        for name, file in files.items()
        if isinstance(file, str) and file.endswith(tuple(EXTENSION_SUFFIXES)) and may_read_files(file)
    )


def _name_below(library: str) -> str | None:
    """The folder or module, below that of the installed distributions, that a library is in."""
    below = below_site_folder(library)
    return None if below is None else below.partition(os.sep)[0].partition(".")[0]
