"""`gradaudit init`: what it finds without importing, that it overwrites nothing, and that what it wrote is true."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gradaudit.config import ConfigFile
from gradaudit.first_files import write_first_files
from gradaudit.project_search import search_project
from tests.gradaudit.conftest import TOY, Command
from tests.gradaudit.first_projects import PROJECTS, RUN, WITHOUT_GRADIENT
from tests.gradaudit.forks import gradaudit, program

BUILDER = '''"""A factory in a folder below; the training is elsewhere."""

import keras


def classifier(classes=3):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8), keras.layers.Dense(classes)])
    model.compile("adam", loss="sparse_categorical_crossentropy")
    return model


def with_two_heads():
    return classifier(4)
'''
TRAINING = '''"""Trains every project that is named, and tells which variables get a gradient."""

import contextlib
import json
import os
import runpy
import sys

import keras

given = []
apply = keras.optimizers.Optimizer.apply


def noted(optimizer, gradients, variables=None):
    pairs = zip(gradients, variables or optimizer._trainable_variables)
    given.extend(variable.path for gradient, variable in pairs if gradient is not None)
    return apply(optimizer, gradients, variables)


keras.optimizers.Optimizer.apply = noted
told = {}
modules, places = set(sys.modules), list(sys.path)
for folder, script in json.loads(sys.argv[1]).items():
    os.chdir(folder)
    keras.utils.clear_session()
    del sys.argv[1:]
    is_file = script.endswith(".py")
    sys.path[:] = [os.path.dirname(os.path.abspath(script)) if is_file else folder, *places]
    with contextlib.redirect_stdout(sys.stderr):
        (runpy.run_path if is_file else runpy.run_module)(script, run_name="__main__")
    told[os.path.basename(folder)] = sorted(set(given))
    given.clear()
    for name in set(sys.modules) - modules:
        if not name.startswith(("keras", "tensorflow", "numpy", "google")):
            del sys.modules[name]
print(json.dumps(told))
'''
ENVIRONMENT = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONDONTWRITEBYTECODE": "1"}


def process(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
    return folder


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every project, with what init writes into it."""
    folders = {name: write(tmp_path_factory.mktemp(name, numbered=False), PROJECTS[name]) for name in PROJECTS}
    for folder in folders.values():
        write_first_files(folder)
    return folders


@pytest.fixture(scope="module")
def trained(projects: dict[str, Path]) -> dict[str, list[str]]:
    """The variables of every project that get a gradient when it trains."""
    scripts = {str(folder): RUN[name] for name, folder in projects.items()}
    done = program(next(iter(projects.values())), TRAINING, json.dumps(scripts))
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("name", PROJECTS)
def test_what_init_writes_says_of_each_project_what_its_training_does(
    name: str, projects: dict[str, Path], trained: dict[str, list[str]]
) -> None:
    folder = projects[name]
    assert ConfigFile(folder / "gradaudit.toml").plan().script == RUN[name]

    done = gradaudit(folder, "trace", "--config", "gradaudit.toml", "--format", "json")

    assert done.returncode == ("disconnected" in WITHOUT_GRADIENT[name]), done.stderr
    (audit,) = json.loads(done.stdout)["audits"]
    statuses: dict[str, list[str]] = {}
    for variable in audit["variables"]:
        statuses.setdefault(variable["status"], []).append(variable["path"])
    assert sorted(statuses.pop("connected")) == trained[name]
    assert {status: sorted(paths) for status, paths in statuses.items()} == WITHOUT_GRADIENT[name]


def test_what_init_writes_is_formatted_and_says_what_was_found_and_left_out(projects: dict[str, Path]) -> None:
    texts = {name: (folder / "gradaudit.toml").read_text("utf-8") for name, folder in projects.items()}

    assert "# Found: train.py:1: trains when it is run, fit at train.py:14, fit at train.py:24." in texts["flat"]
    assert "GradientTape at scripts/learn.py:12" in texts["loop"]
    assert "as `python -m speech.train` from the working folder" in texts["package"]
    assert "evaluate" not in texts["package"]
    assert "show.py" not in texts["subclassed"]
    *_, first, second = (line for line in texts["several"].splitlines() if line.startswith("#   "))
    assert first.startswith('#   script = "src/pretrain/first.py"  # src/pretrain/first.py:1: trains when it is run')
    assert second.startswith('#   script = "src/tokens.py"')
    assert "that may be a scaler's" in second
    driver = projects["function"] / "audits.py"
    assert '"""Trains as experiment does at src/work.py:11' in driver.read_text("utf-8")
    assert process(driver.parent, "-m", "ruff", "format", "--isolated", "--check", "audits.py").returncode == 0
    assert process(driver.parent, "-m", "ruff", "check", "--isolated", "audits.py").returncode == 0


def test_a_function_that_returns_a_compiled_model_is_audited_where_nothing_trains(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write(tmp_path, {"src/factory.py": BUILDER}))

    assert command("init").status == 0
    ended = command("trace", "--format", "json")

    summary = json.loads(ended.output)["audits"][0]["summary"]
    assert (ended.status, summary["variables"], summary["disconnected"]) == (0, 4, 0)
    assert process(tmp_path, "-m", "ruff", "format", "--isolated", "--check", "audits.py").returncode == 0
    assert "# Found: src/factory.py:6: classifier returns a compiled model." in (tmp_path / "gradaudit.toml").read_text(
        "utf-8"
    )


def test_a_project_that_has_a_subject_gets_a_configuration_alone(tmp_path: Path, command: Command) -> None:
    write(tmp_path, {"part/toy.py": TOY, "train.py": PROJECTS["flat"]["train.py"]})

    ended = command("init", str(tmp_path))

    assert ended.status == 0
    assert "part/toy.py:9: subject returns a Subject (this is audited)" in ended.output
    assert "train.py:1: trains when it is run" in ended.output
    assert f"cd {tmp_path}\n  gradaudit trace" in ended.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gradaudit.toml", "part", "train.py"]
    traced = command("trace", "--config", str(tmp_path / "gradaudit.toml"), "--format", "json")
    assert json.loads(traced.output)["audits"][0]["summary"]["connected"] == 6


NOTEBOOK: dict[str, Any] = {
    "cells": [{"cell_type": "code", "source": ["%pip list\n", "import keras\n", "model.fit(x)"]}]
}


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"train.ipynb": json.dumps(NOTEBOOK)}, "train.ipynb: a notebook that names Keras"),
        ({"svm.py": "from sklearn.svm import SVC\nmodel = SVC().fit([[1]], [1])\n"}, "nothing that trains"),
        ({}, "nothing that trains"),
    ],
    ids=["notebook", "no-keras", "empty"],
)
def test_where_nothing_is_found_a_subject_is_to_be_filled_in(
    files: dict[str, str], told: str, tmp_path: Path, command: Command
) -> None:
    write(tmp_path, files)

    ended = command("init", str(tmp_path))
    traced = command("trace", "--config", str(tmp_path / "gradaudit.toml"))

    assert ended.status == 0
    assert told in ended.output
    assert f"Say in {tmp_path / 'audits.py'} what is trained" in ended.output
    assert process(tmp_path, "-m", "ruff", "format", "--isolated", "--check", "audits.py").returncode == 0
    assert ("in a cell of the notebook" in ended.output) is ("train.ipynb" in files)
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


FITS = "    model = keras.Model()\n    model.compile()\n    model.fit(1)\n"
GUARD = "if __name__ == '__main__':\n"
TRAINER = """import tensorflow as tf
class Trainer(Base):
    def train_step(self, x):
        with tf.GradientTape() as tape:
            pass
"""
STYLES: dict[str, tuple[dict[str, str], list[str]]] = {
    "click": (
        {"go.py": f"import click, keras\n@click.command()\ndef main(n):\n{FITS}{GUARD}    main()\n"},
        ["go.py"],
    ),
    "a function that a script calls is no other": (
        {"a.py": f"import keras\ndef main():\n{FITS}", "b.py": "import a\nif __name__ == '__main__':\n    a.main()\n"},
        ["b.py"],
    ),
    "a function with arguments": ({"a.py": f"import keras\ndef main(size):\n{FITS}"}, []),
    "the outermost function": (
        {"a.py": f"import keras\ndef inner():\n{FITS}\ndef outer():\n    inner()\n"},
        ["a.py:7 outer", "a.py:2 inner"],
    ),
    "a step that a loop calls": (
        {
            "work.py": TRAINER,
            "go.py": "import work\ntrainer = work.Trainer()\nfor x in data:\n    trainer.train_step(x)\n",
        },
        ["go.py"],
    ),
    "a step that nothing calls": ({"work.py": TRAINER, "show.py": "from work import Trainer\nprint(Trainer)\n"}, []),
    "a package": (
        {
            "p/__init__.py": "",
            "p/__main__.py": "from .core import go\ngo()\n",
            "p/core.py": f"import keras\ndef go():\n{FITS}",
        },
        ["p"],
    ),
    "another package of the folder": (
        {"jobs/go.py": "from lib.core import go\ngo()\n", "lib/core.py": f"import keras\ndef go():\n{FITS}"},
        ["jobs.go"],
    ),
    "what compiles comes first": (
        {
            "a.py": "import keras, re\nre.compile('a')\nScaler().fit([1])\n",
            "b/c.py": f"import keras\nif __name__ == '__main__':\n{FITS}",
        },
        ["b/c.py", "a.py"],
    ),
    "tf.gradients": ({"a.py": "import tensorflow as tf\ntf.gradients(y, x)\ngradients(y, x)\n"}, ["a.py"]),
    "imports in a circle": (
        {
            "a.py": "from b import g\nimport keras\nif __name__ == '__main__':\n    g()\n",
            "b.py": f"import a\ndef g():\n{FITS}",
        },
        ["a.py"],
    ),
}


@pytest.mark.parametrize("style", STYLES)
def test_what_trains_is_found_by_what_is_called(style: str, tmp_path: Path) -> None:
    files, expected = STYLES[style]
    write(tmp_path, files)

    found = search_project(tmp_path).trainers

    assert [trainer.reference or f"{trainer.place} {trainer.function}" for trainer in found] == expected


def test_files_that_are_no_python_hidden_folders_and_environments_are_passed_over(tmp_path: Path) -> None:
    for folder in (".hidden", "venv", "tests"):
        write(tmp_path, {f"{folder}/train.py": PROJECTS["flat"]["train.py"]})
    write(tmp_path, {"broken.py": "def (", "test_it.py": PROJECTS["flat"]["train.py"], "a\nb.py": "import keras"})
    write(tmp_path, {"broken.ipynb": "{", "other.ipynb": "[]"})
    (tmp_path / "latin.py").write_bytes(b"x = '\xe9'\n")

    found = search_project(tmp_path)

    assert (found.trainers, found.builders, found.subjects, found.notebooks) == ((), (), (), ())
    assert found.unread == (Path("broken.py"), Path("latin.py"))
