"""Answers on disk: one file for each request, with the manifest of what the answer was made from.

An answer holds a pickle, which runs code when it is read: the folder has to be trusted as the code is.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from gradaudit.cache.manifest import Manifest
from gradaudit.output import write_file

_FORM = b"gradaudit cache 2"


@dataclass(frozen=True)
class Answer:
    """An answer of the cache: the content, when it was made, and from what."""

    content: Any
    made: str
    manifest: Manifest


def file_of(folder: Path, request: Any) -> Path:
    """The file for the answer to a request, which is told apart by its `repr`, the place, the user, the interpreter."""
    interpreter = (sys.path, sys.executable, sys.flags, sys.warnoptions, sys._xoptions)
    asked = repr((request, str(Path.cwd()), os.getuid(), sorted(os.getgroups()), *interpreter))
    return folder / f"{hashlib.sha256(asked.encode('utf-8', 'surrogatepass')).hexdigest()}.audit"


def read_answer(file: Path, software: Mapping[str, str]) -> Answer | None:
    """The answer in a file, if it is whole and an audit would be made from the same now, with this software."""
    try:
        form, _, rest = file.read_bytes().partition(b"\n")
        if form != _FORM + b" " + hashlib.sha256(rest).hexdigest().encode():
            return None
        header, _, content = rest.partition(b"\n")
        told: Mapping[str, Any] = json.loads(header)
        manifest = Manifest(**told["manifest"])
        return Answer(pickle.loads(content), told["made"], manifest) if manifest.is_current(software) else None
    except Exception:  # noqa: BLE001  # whatever is wrong with it, the audit is made anew
        return None


def write_answer(file: Path, content: Any, manifest: Manifest) -> None:
    """Keep an answer, in the place of the one before.

    Raises:
        OutputError: it cannot be written.
    """
    made = datetime.now().astimezone().isoformat(" ", "seconds")
    header = json.dumps({"made": made, "manifest": asdict(manifest)}).encode("ascii")
    rest = header + b"\n" + pickle.dumps(content)
    write_file(file, _FORM + b" " + hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest, "answer")
