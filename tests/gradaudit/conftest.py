"""What the tests of the command share: a folder with a toy project in it, and a way to run the command there."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import pytest

from gradaudit.cli import main

TOY = '''"""A toy: two heads, of which the loss reads one, or both."""

import keras
import tensorflow as tf

from gradaudit import Subject


def subject(config):
    heads = ("left", "right")
    targets = config.get("targets", heads)
    inputs = keras.Input((4,), name="inputs")
    hidden = keras.layers.Dense(8)(inputs)
    model = keras.Model(inputs, {head: keras.layers.Dense(1, name=head)(hidden) for head in heads}, name="toy")
    model.compile("adam", loss={target: "mse" for target in targets})
    return Subject.from_keras(model, (tf.TensorSpec((2, 4)), {target: tf.TensorSpec((2, 1)) for target in targets}))


def healthy():
    return subject({})


def half_dead():
    return subject({"targets": ["left"]})
'''

SCENARIOS = """
targets = ["left", "right"]

[gradaudit]
subject = "toy.py:subject"

[[gradaudit.scenario]]
name = "both"

[[gradaudit.scenario]]
name = "one"
set = { targets = ["left"] }
"""


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit status, what it wrote to standard output, and to standard error."""

    status: int
    output: str
    messages: str


Command = Callable[..., Ended]


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with toy.py and a gradaudit.toml of two scenarios in it."""
    (tmp_path / "toy.py").write_text(TOY, "utf-8")
    (tmp_path / "gradaudit.toml").write_text(SCENARIOS, "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "toy", raising=False)  # another test's, of another folder
    return tmp_path


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run the command within this process, where TensorFlow is imported once for all tests."""

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "path", list(sys.path))
        keras.utils.clear_session()  # names of layers count on within a process
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments, prog_name="gradaudit")
        captured = capfd.readouterr()
        assert isinstance(ended.value.code, int)
        return Ended(ended.value.code, captured.out, captured.err)

    return run
