"""The GitHub action: its description keeps to GitHub's schema, and what it runs does what it says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.gradaudit.reports.test_formats import published

ROOT = Path(__file__).parents[3]
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))


def test_it_keeps_to_the_schema_of_actions() -> None:
    jsonschema.validate(ACTION, published("github-action.json"))


def test_every_input_is_used() -> None:
    steps = json.dumps(ACTION["runs"]["steps"])
    assert [name for name in ACTION["inputs"] if f"inputs.{name}" not in steps] == []


def run_step(name: str, folder: Path, programs: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a step as GitHub does, with these programs before all others."""
    if shutil.which("bash") is None:
        pytest.skip("bash is not here")
    (step,) = [step for step in ACTION["runs"]["steps"] if step["name"] == name]
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"]],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", **environment},
    )


def audit_step(folder: Path, programs: Path, *, subject: str, arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the step that audits."""
    return run_step(
        "Audit",
        folder,
        programs,
        GITHUB_OUTPUT=str(folder / "outputs"),
        GITHUB_STEP_SUMMARY=str(folder / "summary"),
        SUBJECT=subject,
        CONFIG="",
        ARGUMENTS=arguments,
        SARIF="a.sarif",
        FOLDER=".",
    )


@pytest.fixture
def noted(tmp_path: Path) -> Path:
    """Stands in for gradaudit and pip, and says which arguments it gets, each on a line of its own."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in ("gradaudit", "python"):
        says = "printf '%s\\n' \"$@\""
        pass_on = f'[ "$1" != -c ] || exec {sys.executable} "$@"\n' if name == "python" else ""
        (folder / name).write_text(f"#!/bin/sh\n{pass_on}{says}\n")
        (folder / name).chmod(0o755)
    (tmp_path / "a.py").touch()
    return folder


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("", []),
        ("--scenario small  --verify", ["--scenario", "small", "--verify"]),
        ("--scenario 'two words'\n--set\n\"name=a 'b'\"", ["--scenario", "two words", "--set", "name=a 'b'"]),
        ("--set ''", ["--set", ""]),
        ("*.py $HOME `id` $(id); id", ["*.py", "$HOME", "`id`", "$(id);", "id"]),
    ],
)
def test_arguments_are_split_and_never_expanded(noted: Path, tmp_path: Path, arguments: str, words: list[str]) -> None:
    ended = audit_step(tmp_path, noted, subject="a b.py:c", arguments=arguments)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[: 3 + len(words)] == ["trace", "a b.py:c", *words, "--format"]
    ended = run_step("Install", tmp_path, noted, ACTION="the action", INSTALL=arguments)
    assert ended.stdout.splitlines() == ["-m", "pip", "install", "--quiet", "the action", *words]


def test_a_quote_that_is_not_closed_is_no_audit(noted: Path, tmp_path: Path) -> None:
    ended = audit_step(tmp_path, noted, subject="a.py:b", arguments="--scenario 'small")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "No closing quotation" in ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("subject", "status"), [("toy.py:healthy", 0), ("toy.py:half_dead", 1), ("toy.py:no", 2)])
def test_the_step_that_audits_annotates_summarizes_and_leaves_results(toy: Path, subject: str, status: int) -> None:
    ended = audit_step(toy, Path(sys.executable).parent, subject=subject, arguments="--no-verify")
    out, summary = toy / "outputs", toy / "summary"
    assert ended.returncode == status, ended.stderr
    assert out.read_text() == "sarif=./a.sarif\n"
    if status == 2:
        assert "gradaudit: " in ended.stderr
        return
    assert ended.stdout.startswith("::error file=" if status else "::notice ")
    assert summary.read_text().startswith("## toy")
    assert json.loads((toy / "a.sarif").read_text())["version"] == "2.1.0"
