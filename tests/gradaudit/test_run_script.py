"""`gradaudit run`: training scripts, unchanged, are audited at their first step, and no step is run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.gradaudit.forks import program
from tests.gradaudit.script_runs import audited, by_status, run, written

SCRIPTS = Path(__file__).resolve().parents[2] / "examples" / "scripts"

FOUND: dict[str, tuple[str, dict[str, list[str]]]] = {
    "functional_fit": ("fit", {"disconnected": ["quality/bias", "quality/kernel"]}),
    "subclassed_train_step": ("fit", {"disconnected": ["denoiser/confidence/bias", "denoiser/confidence/kernel"]}),
    "custom_loop": ("train_step", {"disconnected": ["embedding/bias", "embedding/kernel"]}),
    "eager_loop": (
        "a loop that differentiates",
        {"disconnected": ["regressor/variance/bias", "regressor/variance/kernel"]},
    ),
    "gan_train_step": (
        "fit",
        {"disconnected": [f"generator/dense_{n}/{part}" for n in (2, 3) for part in ("bias", "kernel")]},
    ),
    "gan_loop": (
        "a loop that differentiates",
        {"disconnected": [f"generator/dense_{n}/{part}" for n in (2, 3) for part in ("bias", "kernel")]},
    ),
    "eager_gan_loop": ("a loop that differentiates", {}),
    "tf_data_fit": ("fit", {}),
    "pydataset_fit": ("fit", {}),
    "mixed_precision": ("train_step", {"disconnected": ["example_weight/bias", "example_weight/kernel"]}),
    "mirrored_fit": ("fit", {"disconnected": ["pitch/bias", "pitch/kernel"]}),
    "mirrored_loop": ("distributed_train_step", {"disconnected": ["unused/bias", "unused/kernel"]}),
    "with_arguments": ("train_on_batch", {"disconnected": ["skipped/bias", "skipped/kernel"]}),
    "with_checkpoints": ("train_step", {"disconnected": ["net/domain/bias", "net/domain/kernel"]}),
}
"""Of each script: what it was stopped at, and the variables that will not learn, by status."""
TOTALS = {"gan_train_step": 8, "gan_loop": 8, "eager_gan_loop": 8, "mirrored_fit": 6, "mirrored_loop": 6}
ARGUMENTS = {"with_arguments": ["--format", "large", "--units", "12"]}
LEFT = {"with_checkpoints": ["before.txt"]}
"""The files that a script writes before its first step; no others may be there."""


def test_every_script_of_the_examples_has_its_findings_here() -> None:
    assert {path.stem for path in SCRIPTS.glob("*.py")} == {*FOUND, "networks"}


@pytest.mark.parametrize("name", FOUND)
def test_a_script_is_audited_at_its_first_step_and_writes_nothing_after_it(name: str, tmp_path: Path) -> None:
    what, expected = FOUND[name]

    done = run(tmp_path, "--format", "json", "--verify", str(SCRIPTS / f"{name}.py"), *ARGUMENTS.get(name, []))

    audit = audited(done)
    assert by_status(audit) == expected
    assert f"reaches, {what} at " in audit["notes"][0]
    assert len(audit["variables"]) == TOTALS.get(name, len(audit["variables"]))
    assert done.returncode == (1 if expected else 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == LEFT.get(name, [])


def test_the_layer_that_a_script_never_calls_is_told(tmp_path: Path) -> None:
    audit = audited(run(tmp_path, "--format", "json", str(SCRIPTS / "pydataset_fit.py")))

    (finding,) = audit["findings"]
    assert finding["rule"] == "GA106"
    assert "judge/attend" in finding["message"]


FIT = """
import sys
import keras
import numpy as np

model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(200), keras.layers.Dense(1)])
model.compile("adam", loss="mse")
"""
ENDLESS = (
    FIT
    + """
try:
    model.fit(np.ones((8, 4)), np.ones((8, 1)), callbacks=[keras.callbacks.ModelCheckpoint("c.keras")])
except BaseException as error:
    open("caught.txt", "w").write(repr(error))
finally:
    open("finally.txt", "w").write(str(model.optimizer.iterations.numpy()))
open("after.txt", "w")
"""
)


def test_neither_finally_nor_except_nor_what_follows_runs(tmp_path: Path) -> None:
    done = run(tmp_path, str(written(tmp_path, ENDLESS)))

    assert done.returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["train.py"]


UNTOUCHED = """
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from gradaudit.running import run_script

class Stopped(BaseException):
    pass

def conclude(conclusion):
    raise Stopped(conclusion)

kept = tf.GradientTape.gradient, keras.Model.fit, keras.layers.Layer.__call__, sys.modules["__main__"], list(sys.path)
with pytest.raises(Stopped) as stopped:
    run_script(Path(sys.argv[1]), ["--x"], conclude)
(audit,) = stopped.value.args
print([(v.path, v.status) for v in audit.variables])
frame = [entry for entry in stopped.traceback if entry.name == "<module>"][-1].frame
model, optimizer = frame.f_globals["model"], frame.f_globals["optimizer"]
moved = tf.reduce_max(tf.abs(model.weights[0] - frame.f_globals["first"]))
print(int(optimizer.iterations), optimizer.built, float(moved))
now = tf.GradientTape.gradient, keras.Model.fit, keras.layers.Layer.__call__, sys.modules["__main__"], list(sys.path)
print(now == kept)
"""
LOOP = """
import keras
import numpy as np
import tensorflow as tf

model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(1)])
optimizer = keras.optimizers.SGD(1.0)
first = model.weights[0].numpy()
x = tf.ones((8, 4))

{decorator}
def train_step(x):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(x)))
    optimizer.apply_gradients(zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables))
    return loss

while True:
    loss = train_step(x)
    print(float(loss))
"""


@pytest.mark.parametrize("decorator", ["@tf.function", "@tf.function(jit_compile=True)", ""])
def test_weights_and_optimizer_are_as_they_were_and_no_patch_is_left(decorator: str, tmp_path: Path) -> None:
    script = written(tmp_path, LOOP.format(decorator=decorator))

    done = program(tmp_path, UNTOUCHED, str(script))

    paths, state, patches = done.stdout.splitlines()[-3:]
    assert paths.count("'connected'") == 4
    assert state == "0 False 0.0"
    assert patches == "True"


def test_the_command_says_in_a_fork_what_it_says_in_a_process_of_its_own(tmp_path: Path) -> None:
    script = written(tmp_path, LOOP.format(decorator="@tf.function"))
    command = [sys.executable, "-m", "gradaudit", "run", "--format", "json", script.name]

    alone = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    forked = run(tmp_path, "--format", "json", script.name)

    assert (alone.returncode, without_times(audited(alone))) == (forked.returncode, without_times(audited(forked)))


def without_times(audit: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in audit.items() if name != "seconds"}


def test_all_options_before_the_script_are_gradaudits_and_all_after_it_the_scripts(tmp_path: Path) -> None:
    script = written(tmp_path, "import sys\nprint(sys.argv, __name__, __file__, sys.path[0])\n")

    done = run(tmp_path, "--format", "json", "train.py", "--format", "x", "--", "-h")

    assert done.returncode == 2
    assert done.stdout == ""
    assert f"['train.py', '--format', 'x', '--', '-h'] __main__ train.py {script.parent}" in done.stderr
    assert "gradaudit: train.py ends without training: it calls no fit or train_on_batch" in done.stderr


def test_a_script_that_fails_is_told_with_its_own_lines(tmp_path: Path) -> None:
    written(tmp_path, "def build():\n    return {}['units']\n\ntry:\n    build()\nexcept ValueError:\n    pass\n")

    done = run(tmp_path, "train.py")

    assert done.returncode == 2
    assert "train.py ends before its first train step: KeyError at train.py:2 in build: 'units'" in done.stderr
    assert 'File "train.py", line 5, in <module>' in done.stderr
    assert "return {}['units']" in done.stderr


@pytest.mark.parametrize(
    ("ending", "told"),
    [
        ("raise SystemExit(3)", "with exit status 3 at train.py:1"),
        ("import sys; sys.exit('no data')", "with exit status 1 and the message 'no data'"),
        ("import os; os._exit(0)", "with exit status 0 at train.py:1"),
        ("import os, sys; os.execv(sys.executable, [])", "with exit status 1 and the message 'os.execv' at train.py:1"),
        ("import argparse; argparse.ArgumentParser().parse_args(['--lr'])", "with exit status 2"),
    ],
)
def test_a_script_that_ends_itself_is_told_with_its_status(ending: str, told: str, tmp_path: Path) -> None:
    written(tmp_path, ending)

    done = run(tmp_path, "train.py")

    assert done.returncode == 2
    assert "train.py ends before its first train step, " + told in done.stderr


def test_what_a_script_registers_for_its_end_does_not_change_the_status(tmp_path: Path) -> None:
    written(tmp_path, "import atexit, os\natexit.register(lambda: os._exit(0))\natexit.register(print, 'its end')\n")
    command = [sys.executable, "-m", "gradaudit", "run", "train.py"]

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (2, "its end\n")
    assert done.stderr.startswith("gradaudit: train.py ends without training")
    assert len(done.stderr.splitlines()) == 1


def test_what_is_raised_past_all_who_catch_errors_in_a_script_is_told(tmp_path: Path) -> None:
    written(tmp_path, "class Stop(BaseException):\n    pass\n\nraise Stop('enough')\n")

    done = run(tmp_path, "train.py")

    assert done.returncode == 2
    assert "gradaudit: train.py ends before its first train step: Stop at train.py:4: enough" in done.stderr


def test_a_script_that_is_not_there_and_a_step_that_cannot_be_traced_exit_with_2(tmp_path: Path) -> None:
    assert "There is no script nowhere.py" in run(tmp_path, "nowhere.py").stderr
    written(tmp_path, FIT + "model.fit(np.ones((8, 3)), np.ones((8, 1)))\n")

    done = run(tmp_path, "train.py")

    assert done.returncode == 2
    assert "gradaudit: The step cannot be traced: ValueError" in done.stderr


def test_gradients_of_inputs_before_the_training_are_no_step(tmp_path: Path) -> None:
    saliency = """
import tensorflow as tf
image = tf.ones((2, 4))
for _ in range(2):
    with tf.GradientTape() as tape:
        tape.watch(image)
        score = tf.reduce_sum(model(image))
    print("saliency", float(tf.reduce_sum(tape.gradient(score, image))) != 0.0)
model.fit(np.ones((8, 4)), np.ones((8, 1)))
"""
    written(tmp_path, FIT + saliency)

    done = run(tmp_path, "--format", "json", "train.py")

    audit = audited(done)
    # Once more than it runs: the first round is traced, to see whether it trains.
    assert done.stderr.count("saliency True") == 3
    assert "fit at train.py:" in audit["notes"][0]
    assert audit["weights_allocated"] is True
    assert "because the script reads" in audit["notes"][1]


def test_a_model_that_is_run_before_its_training_has_the_weights_that_it_would_have(tmp_path: Path) -> None:
    reading = """
total = float(keras.ops.sum(keras.ops.abs(model.layers[0].kernel)))
print("sum", total > 0, model.predict(np.ones((1, 4)), verbose=0).shape)
model.fit(np.ones((8, 4)), np.ones((8, 1)))
"""
    done = run(tmp_path, str(written(tmp_path, FIT + reading)))

    assert done.returncode == 0
    assert "sum True (1, 1)" in done.stderr


def test_a_loop_that_fails_between_gradient_and_update_is_not_audited(tmp_path: Path) -> None:
    loop = LOOP.format(decorator="").replace(
        "    optimizer.apply",
        "    print(float(tape.gradient(loss, model.trainable_variables)[0][0, 0]))\n    optimizer.apply",
    )
    written(tmp_path, loop)

    done = run(tmp_path, "train.py")

    assert done.returncode == 2
    assert "The step cannot be traced" in done.stderr


TRACED_BY_ITSELF = """
import pathlib
import keras
import tensorflow as tf

model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
optimizer = keras.optimizers.SGD()


@tf.function
def step(x):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(x)))
    optimizer.apply_gradients(zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables))
    return loss


traced = step.get_concrete_function(tf.TensorSpec((2, 4)))
print("REAL", traced(tf.ones((2, 4))))
pathlib.Path("ran").touch()
"""

SAVES = """
import keras
import tensorflow as tf

model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
optimizer = keras.optimizers.SGD()
rounds = tf.Variable(0, trainable=False)

for _ in range(2):
    x = tf.ones((2, 4))
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(x)))
    optimizer.apply_gradients(zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables))
    model.save_weights("good.weights.h5")
    open("log.txt", "w").write("overwritten")
    rounds.assign_add(1)
"""


def test_what_is_traced_by_itself_is_audited_before_it_runs(tmp_path: Path) -> None:
    ended = run(tmp_path, "--format", "json", str(written(tmp_path, TRACED_BY_ITSELF)))

    assert by_status(audited(ended)) == {}
    assert "REAL" not in ended.stderr + ended.stdout
    assert not (tmp_path / "ran").exists()


GRAPH = """
import tensorflow as tf

with tf.Graph().as_default():
    weight = tf.Variable(1.0)
    gradients = tf.gradients(weight * weight, [weight])
print("REAL")
"""


WITHOUT_SOURCE = """
import threading

text = '''
import tensorflow as tf
weight = tf.Variable(1.0)
with tf.GradientTape() as tape:
    loss = weight * weight
weight.assign_sub(tape.gradient(loss, weight))
print("REAL")
'''
thread = threading.Thread(target=exec, args=(text,))
thread.start()
thread.join()
"""


@pytest.mark.parametrize(
    ("text", "told"),
    [(GRAPH, "train.py:6 is traced in a graph of its own"), (WITHOUT_SOURCE, "has no source that could be read")],
)
def test_what_trains_and_cannot_be_followed_is_refused_before_it_runs(text: str, told: str, tmp_path: Path) -> None:
    ended = run(tmp_path, str(written(tmp_path, text)))

    assert ended.returncode == 2
    assert told in ended.stderr
    assert "REAL" not in ended.stderr


def test_a_loop_that_is_traced_overwrites_no_file(tmp_path: Path) -> None:
    for name in ("good.weights.h5", "log.txt"):
        (tmp_path / name).write_text("good")
    ended = run(tmp_path, str(written(tmp_path, SAVES)))
    assert ended.returncode == 0, ended.stderr
    assert "All 2 variables learn" in ended.stdout
    assert {(tmp_path / name).read_text() for name in ("good.weights.h5", "log.txt")} == {"good"}


PREPARES = """
import keras
import numpy as np

ids = keras.layers.Rescaling(2.0)(np.ones((4, 3), "float32"))
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(int(ids[0, 0]) + 1)])
model.compile("sgd", "mse")
model.fit(np.ones((4, 3), "float32"), np.zeros((4, 3), "float32"))
"""


def test_a_layer_that_prepares_data_is_really_run(tmp_path: Path) -> None:
    ended = run(tmp_path, str(written(tmp_path, PREPARES)))
    assert ended.returncode == 0, ended.stderr
    assert "12 parameters" in ended.stdout


MOVES = """
import os
os.mkdir("elsewhere")
os.chdir("elsewhere")

import keras
import numpy as np

inputs = keras.Input((4,))
model = keras.Model(inputs, {name: keras.layers.Dense(1, name=name)(inputs) for name in ("used", "idle")})
model.compile("adam", loss={"used": "mse"})
model.fit(np.ones((8, 4)), {"used": np.ones((8, 1))})
"""


METHOD = """
import keras, tensorflow as tf

class Trainer:
    def __init__(self):
        self.model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])

    @tf.function
    def update(self, x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(self.model(x) ** 2)
        variables = self.model.trainable_variables
        keras.optimizers.SGD().apply(tape.gradient(loss, variables), variables)

trainer = Trainer()
trainer.update(tf.ones((2, 3)))
"""


def test_a_compiled_method_is_called_by_its_name(tmp_path: Path) -> None:
    written(tmp_path, METHOD)
    done = run(tmp_path, "train.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("update  ")


def test_reports_go_to_where_the_command_was_given_wherever_the_script_goes(tmp_path: Path) -> None:
    written(tmp_path, MOVES)
    done = run(tmp_path, "--report", "pages", "--format", "json", "--output", "a.json", "train.py")
    assert done.returncode == 1, done.stderr
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert {"report.html", "report.sarif"} <= {path.name for path in (tmp_path / "pages").iterdir()}
    (audit,) = json.loads((tmp_path / "a.json").read_text())["audits"]
    assert audit["findings"][0]["sources"][0]["file"] == "train.py"
