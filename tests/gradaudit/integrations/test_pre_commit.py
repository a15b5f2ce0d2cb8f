"""The hook that pre-commit offers, tried as its users would."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gradaudit.conftest import TOY

ROOT = Path(__file__).parents[3]


def git(folder: Path, *arguments: str) -> None:
    names = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    subprocess.run(["git", *names, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def hooks(tmp_path: Path) -> Path:
    """A repository with the hook alone, as it stands here."""
    if shutil.which("git") is None:
        pytest.skip("git is not here")
    folder = tmp_path / "hooks"
    folder.mkdir()
    shutil.copy(ROOT / ".pre-commit-hooks.yaml", folder)
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "hook")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("subject", "status"), [("healthy", 0), ("half_dead", 1)])
def test_a_commit_is_refused_where_a_variable_never_learns(
    tmp_path: Path, hooks: Path, subject: str, status: int
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "toy.py").write_text(TOY)
    (project / "gradaudit.toml").write_text(f'[gradaudit]\nsubject = "toy.py:{subject}"\n')
    git(project, "init", "--quiet")
    git(project, "add", ".")
    ended = subprocess.run(
        [sys.executable, "-m", "pre_commit", "try-repo", str(hooks), "gradaudit", "--all-files", "--verbose"],
        cwd=project,
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "PRE_COMMIT_HOME": str(tmp_path / "home"),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        },
    )
    assert ended.returncode == status, ended.stdout + ended.stderr
    assert ("2 of 6 variables will never learn" in ended.stdout) == bool(status)
