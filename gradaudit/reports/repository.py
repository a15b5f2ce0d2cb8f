"""Where a file stands in its repository, which is how GitHub knows it: reports name it as seen from where one works."""

from __future__ import annotations

import os
from pathlib import Path

WORKSPACE = "GITHUB_WORKSPACE"
"""The environment variable in which GitHub's actions find the folder of what is checked out."""


def in_repository(file: str) -> str:
    """The path of a file from the root of the repository that holds the working folder.

    The root is the nearest folder with a `.git`; without any, what the environment calls the workspace; else the
    working folder. A file outside of it, or one that is not there, as of a package that is told from the package on,
    keeps its path.
    """
    here = Path.cwd()
    path, root = here / file, _root(here)
    if not _is_there(path) or not path.is_relative_to(root):
        return file
    return path.relative_to(root).as_posix()


def _root(folder: Path) -> Path:
    for around in (folder, *folder.parents):
        if (around / ".git").exists():  # a folder, or a file in a worktree or submodule
            return around
    workspace = os.environ.get(WORKSPACE)
    return Path(workspace) if workspace and folder.is_relative_to(workspace) else folder


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that no file can have
        return False
