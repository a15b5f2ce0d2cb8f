"""A `gradaudit.toml` that names a script: its first step is audited as `gradaudit run` does, and gated by the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gradaudit.config import ConfigFile
from gradaudit.errors import ConfigError
from tests.gradaudit.conftest import TOY, Command
from tests.gradaudit.forks import gradaudit

TRAIN = '''"""Trains a toy with two heads, of which the loss reads what the command line says."""

import argparse
import os

import keras
import numpy as np

from .heads import HEADS

parser = argparse.ArgumentParser()
parser.add_argument("--targets", nargs="+", required=True)
targets = parser.parse_args().targets
os.chdir(os.path.dirname(os.path.abspath(__file__)))

inputs = keras.Input((4,))
hidden = keras.layers.Dense(8, name="hidden")(inputs)
model = keras.Model(inputs, {head: keras.layers.Dense(1, name=head)(hidden) for head in HEADS})
model.compile("adam", loss={target: "mse" for target in targets})
model.fit(np.zeros((8, 4)), {target: np.zeros((8, 1)) for target in targets})
raise AssertionError("a step was run")
'''
CONFIG = """
[gradaudit]
script = "pack.train"
arguments = ["--targets", "left"]

[[gradaudit.must-train]]
variables = ["right/kernel"]

[[gradaudit.suppress]]
rule = "GA101"
reason = "the right head comes next"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a package below src/, which trains when it is run as a module."""
    for name, text in {
        "__init__": '"""A package."""\n',
        "heads": 'HEADS = ("left", "right")\n',
        "train": TRAIN,
    }.items():
        path = tmp_path / "src" / "pack" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    (tmp_path / "gradaudit.toml").write_text(CONFIG, "utf-8")
    return tmp_path


def test_the_script_is_run_with_its_arguments_and_held_to_the_files_contracts(project: Path) -> None:
    done = gradaudit(project, "trace", "--format", "json", "--output", "report.json")

    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines()[-1] == "gradaudit: The gate fails: 1 broken contract (GA204)."
    (audit,) = json.loads((project / "report.json").read_text("utf-8"))["audits"]
    assert audit["summary"]["disconnected"] == 2
    assert {finding["rule"]: bool(finding.get("suppressions")) for finding in audit["findings"]} == {
        "GA101": True,
        "GA204": False,
    }
    assert audit["notes"][0].startswith("audited is the first step that pack.train reaches, fit at ")


def test_the_arguments_can_be_set_from_the_command_line(project: Path) -> None:
    both = 'gradaudit.arguments=["--targets", "left", "right"]'

    done = gradaudit(project, "trace", "--set", both, "--fail-on", "disconnected")

    assert "All 6 variables learn" in done.stdout


def test_a_baseline_is_written_of_a_script_too_and_respected(project: Path) -> None:
    (project / "gradaudit.toml").write_text(CONFIG.partition("[[")[0] + 'baseline = "known.json"\n', "utf-8")

    written = gradaudit(project, "baseline", "write")
    traced = gradaudit(project, "trace")

    assert written.returncode == 0, written.stderr
    assert (project / "known.json").is_file()
    assert traced.returncode == 0, traced.stderr


def test_what_a_script_cannot_be_asked_is_refused(project: Path, command: Command) -> None:
    config = ("--config", str(project / "gradaudit.toml"))

    for arguments, told in [
        (("trace", *config, "--probe"), "--probe runs real steps, and the script pack.train can be run once only"),
        (("cover", *config, "--suggest"), "the script pack.train can be run once only: name a subject"),
        (("trace", *config, "--set", "data.size=2"), "so that 'data.size' cannot be set"),
        (("trace", *config, "--set", "gradaudit.script=nowhere.py"), "There is no script"),
        (("trace", *config, "--set", "gradaudit.script=no.where"), "There is no script"),
    ]:
        ended = command(*arguments)
        assert ended.status == 2
        assert told in ended.messages
    scenario = '\n[[gradaudit.scenario]]\nname = "left"\n'
    (project / "gradaudit.toml").write_text(CONFIG + scenario, "utf-8")
    assert "A script has no scenarios, such as 'left'" in command("trace", *config).messages


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ('subject = "a.py:b"\nscript = "a.py"', "[gradaudit] names a subject and a script: keep one of the two"),
        ('subject = "a.py:b"\narguments = ["x"]', "[gradaudit] has arguments and no script"),
        ('script = "a.py"\narguments = "--x"', "arguments: should be a list, not '--x'"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(table: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "gradaudit.toml"
    path.write_text(f"[gradaudit]\n{table}\n", "utf-8")

    with pytest.raises(ConfigError) as refused:
        ConfigFile(path).plan()

    assert told in str(refused.value)


def test_a_subject_on_the_command_line_goes_before_the_files_script(
    project: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "toy.py").write_text(TOY, "utf-8")
    monkeypatch.chdir(project)

    ended = command("trace", "toy.py:healthy", "--config", "gradaudit.toml", "--fail-on", "none")

    assert "toy" in ended.output
    assert "first step" not in ended.output
