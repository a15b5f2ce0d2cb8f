"""`gradaudit init`: what it finds without importing, that it overwrites nothing, and that what it wrote runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from gradaudit.project_search import search_project
from tests.gradaudit.conftest import Command

ROOT = Path(__file__).resolve().parents[2]

MAIN = '''"""Trains, in main()."""

import keras
import numpy as np


def build_model(units=8):
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(units)(inputs)
    model = keras.Model(inputs, {name: keras.layers.Dense(1, name=name)(hidden) for name in ("left", "right")})
    return model


def load():
    return np.zeros((64, 4), "float32"), {"left": np.zeros((64, 1), "float32")}


def main():
    model = build_model()
    x, y = load()
    model.compile("adam", loss={"left": "mse"})
    model.fit(x, y, epochs=2)
    model.save("never.keras")


if __name__ == "__main__":
    main()
'''
DATASET = '''"""Trains on a data set, below a guard."""

import keras
import tensorflow as tf

SIZE = 4


def batches():
    return tf.data.Dataset.from_tensors((tf.zeros((8, SIZE)), tf.zeros((8, 1))))


def network():
    return keras.Sequential([keras.layers.Dense(3), keras.layers.Dense(1)])


if __name__ == "__main__":
    strategy = tf.distribute.get_strategy()
    with strategy.scope():
        model = network()
        model.compile("sgd", loss="mse")
    train_data = batches()
    model.fit(train_data, epochs=3)
'''
BUILDER = '''"""A factory in a folder below; the training is elsewhere."""

import keras


def classifier(classes=3):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8), keras.layers.Dense(classes)])
    model.compile("adam", loss="sparse_categorical_crossentropy")
    return model


def with_two_heads():
    return classifier(4)
'''


def status_and_summary(command: Command, *arguments: str) -> tuple[int, dict[str, int]]:
    ended = command("trace", "--format", "json", *arguments)
    return ended.status, json.loads(ended.output)["audits"][0]["summary"]


@pytest.mark.parametrize(
    ("files", "variables", "disconnected"),
    [
        ({"job.py": MAIN}, 6, 2),
        ({"job_with_data.py": DATASET}, 4, 0),
        ({"src/factory.py": BUILDER}, 4, 0),
        ({"pack/__init__.py": '"""A package."""', "pack/inner.py": MAIN}, 6, 2),
    ],
    ids=["main", "guard", "factory", "package"],
)
def test_what_init_writes_runs_as_it_is(
    files: dict[str, str],
    variables: int,
    disconnected: int,
    tmp_path: Path,
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    monkeypatch.chdir(tmp_path)

    assert command("init").status == 0
    status, summary = status_and_summary(command)

    assert status == (1 if disconnected else 0)
    assert (summary["variables"], summary["disconnected"]) == (variables, disconnected)
    assert not (tmp_path / "never.keras").exists()


def test_a_project_that_has_a_subject_gets_a_configuration_alone(tmp_path: Path, command: Command) -> None:
    shutil.copytree(ROOT / "xtts", tmp_path / "xtts", ignore=shutil.ignore_patterns("__pycache__"))

    ended = command("init", str(tmp_path))

    assert ended.status == 0
    assert "xtts/subject.py" in ended.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gradaudit.toml", "xtts"]
    assert status_and_summary(command, "--config", str(tmp_path / "gradaudit.toml"))[1]["disconnected"] == 0


def test_a_script_that_trains_when_it_is_imported_is_left_to_run(tmp_path: Path, command: Command) -> None:
    shutil.copy(ROOT / "examples" / "scripts" / "functional_fit.py", tmp_path / "train.py")

    ended = command("init", str(tmp_path))
    traced = command("trace", "--config", str(tmp_path / "gradaudit.toml"))

    assert f"gradaudit run {tmp_path / 'train.py'}" in ended.output
    assert traced.status == 2
    assert "say here what is trained, where it reads FILL THIS IN" in traced.messages


@pytest.mark.parametrize("name", ["gradaudit.toml", "audits.py"])
def test_nothing_is_overwritten_and_nothing_half_written(name: str, tmp_path: Path, command: Command) -> None:
    (tmp_path / name).write_text("mine", "utf-8")

    ended = command("init", str(tmp_path))

    assert ended.status == 2
    assert f"{tmp_path / name} is there already" in ended.messages
    assert [path.read_text("utf-8") for path in tmp_path.iterdir()] == ["mine"]


def test_a_table_in_pyproject_is_respected(tmp_path: Path, command: Command) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.gradaudit]\nsubject = "a.py:b"\n', "utf-8")

    assert command("init", str(tmp_path)).status == 2
    assert [path.name for path in tmp_path.iterdir()] == ["pyproject.toml"]


def test_a_fit_that_hangs_on_the_command_line_or_on_arguments_is_no_subject(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        "import argparse\ndef f(config):\n    model = g(config)\n    model.fit(h())\n"
        "def main():\n    args = argparse.ArgumentParser().parse_args()\n    model = g(args)\n    model.fit(h())\n"
        "def g(x):\n    pass\ndef h():\n    pass\n",
        "utf-8",
    )

    assert search_project(tmp_path).fits == ()


def test_files_that_are_no_python_hidden_folders_and_environments_are_passed_over(tmp_path: Path) -> None:
    for folder in (".hidden", "venv", "tests"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "job.py").write_text(MAIN, "utf-8")
    (tmp_path / "broken.py").write_text("def (", "utf-8")

    found = search_project(tmp_path)

    assert (found.fits, found.builders, found.scripts) == ((), (), ())
