"""Runs of `gradaudit run` in processes of their own, and what their reports say."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.gradaudit.forks import gradaudit


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, which the script ends."""
    return gradaudit(folder, "run", *arguments)


def audited(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode in (0, 1), done.stderr
    (audit,) = json.loads(done.stdout)["audits"]
    return dict(audit)


def by_status(audit: dict[str, Any]) -> dict[str, list[str]]:
    paths: dict[str, list[str]] = {}
    for variable in audit["variables"]:
        if variable["status"] != "connected":
            paths.setdefault(variable["status"], []).append(variable["path"])
    return {status: sorted(names) for status, names in paths.items()}


def written(folder: Path, text: str, name: str = "train.py") -> Path:
    (folder / name).write_text(text, "utf-8")
    return folder / name
