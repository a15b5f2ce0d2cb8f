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


@pytest.mark.slow
@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize(("subject", "status"), [("toy.py:healthy", 0), ("toy.py:half_dead", 1), ("toy.py:no", 2)])
def test_the_step_that_audits_annotates_summarizes_and_leaves_results(
    toy: Path, tmp_path: Path, subject: str, status: int
) -> None:
    if shutil.which("bash") is None:
        pytest.skip("bash is not here")
    (step,) = [step for step in ACTION["runs"]["steps"] if step["name"] == "Audit"]
    out, summary = tmp_path / "outputs", tmp_path / "summary"
    ended = subprocess.run(
        ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"]],
        cwd=toy,
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "GITHUB_OUTPUT": str(out),
            "GITHUB_STEP_SUMMARY": str(summary),
            "SUBJECT": subject,
            "CONFIG": "",
            "ARGUMENTS": "--no-verify",
            "SARIF": "a.sarif",
            "FOLDER": ".",
        },
    )
    assert ended.returncode == status, ended.stderr
    assert out.read_text() == "sarif=./a.sarif\n"
    if status == 2:
        assert "gradaudit: " in ended.stderr
        return
    assert ended.stdout.startswith("::error file=" if status else "::notice ")
    assert summary.read_text().startswith("## toy")
    assert json.loads((toy / "a.sarif").read_text())["version"] == "2.1.0"
