"""Whatever cannot be audited ends with exit status 2 and one message that names the culprit, without a traceback."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gradaudit import environment
from tests.gradaudit.conftest import Command

STEPS = '''"""Steps and subjects that cannot be audited."""

import os
import posix
import sys

import keras
import tensorflow as tf

from gradaudit import ConfigError, Subject

BATCH = [tf.TensorSpec((2, 4))]


def model(*layers):
    made = keras.Sequential(layers)
    made.compile("sgd", "mse")
    return made


def raises():
    raise LookupError("no such corpus: librispeech")


def refuses(config):
    raise ConfigError("[model] has an unknown key 'preste'; did you mean 'preset'?")


def raising_step():
    def step(x):
        raise LookupError("no pitch in the batch")

    return Subject(step, BATCH)


def mismatched_step():
    weight = tf.Variable(tf.ones([7, 3]))

    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.matmul(x, weight))
        return tape.gradient(loss, [weight])

    return Subject(step, BATCH)


def converted_step():
    @tf.function
    def step(x):
        if tf.reduce_sum(x) > 0:
            x = tf.reshape(x, (3, 5))
        return x

    return Subject(step, BATCH)


def exiting_step():
    return Subject(lambda x: sys.exit(1), BATCH)


def mismatched_fit():
    return Subject.from_keras(model(keras.layers.Dense(3)), (BATCH[0], tf.TensorSpec((2, 5))))


def step_without_gradient():
    weight = tf.Variable(tf.ones([4, 3]))
    return Subject(lambda x: tf.matmul(x, weight), BATCH)


def frozen_model():
    frozen = model(keras.layers.Dense(4))
    frozen.trainable = False
    frozen.compile("sgd", "mse")
    return Subject.from_keras(frozen, (BATCH[0], BATCH[0]))


def empty_model():
    return Subject.from_keras(model(keras.layers.Flatten()), (BATCH[0], BATCH[0]))


def uncompiled_model():
    return Subject.from_keras(keras.Sequential([keras.layers.Dense(4)]), (BATCH[0], BATCH[0]))


def interrupted():
    raise KeyboardInterrupt


def leaves():
    os._exit(0)


def leaves_past_python():
    posix._exit(0)


def restarts():
    os.execvp("true", ["true"])


class Stop(BaseException):
    pass


def stops():
    raise Stop("enough")


def forks():
    child = os.fork()
    if child == 0:
        os._exit(3)
    raise LookupError(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
'''


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with steps.py in it."""
    (tmp_path / "steps.py").write_text(STEPS, "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def line_of(text: str) -> int:
    return 1 + next(number for number, line in enumerate(STEPS.splitlines()) if text in line)


def refusal(command: Command, *arguments: str) -> str:
    """The one message with which a command that cannot audit ends."""
    ended = command("trace", *arguments)
    assert ended.status == 2, ended.messages
    assert ended.output == ""
    assert "Traceback" not in ended.messages
    assert ended.messages.count("gradaudit: ") == 1
    return ended.messages[ended.messages.index("gradaudit: ") + len("gradaudit: ") :].strip()


# ---------------------------------------------------------------------------------------- before TensorFlow is imported


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail if the long work begins: these mistakes are to be told before it."""

    def begun() -> None:
        raise AssertionError("the audit has begun")

    monkeypatch.setattr(environment, "quiet_tensorflow", begun)


@pytest.mark.usefixtures("no_engine")
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--config", "gradaudt.toml"], "There is no config file gradaudt.toml; did you mean 'gradaudit.toml'?"),
        (["--confg", "x"], "No such option '--confg'."),
        (
            ["--format", "yaml"],
            "'yaml' is not one of 'text', 'json', 'markdown',",
        ),
        (["--scenario", "bothe"], "There is no scenario 'bothe' in"),
        (["--set", "targets"], "--set targets: write KEY=VALUE"),
        (["--set", "targets.left=1"], "'targets.left' cannot be set, because 'targets' is no table"),
        (["--fail-on", "disconnect"], "--fail-on: 'disconnect' is no status; did you mean 'disconnected'?"),
        (["--fail-on", ""], "--fail-on: '' is no status."),
        (["toy"], "The subject 'toy' names no callable: write"),
        (["toys.py:subject"], "toys.py to take the subject from; did you mean 'toy.py'?"),
        (["--report", "toy.py"], "The report folder toy.py cannot be made: a file of that name is in the way."),
        (["--report", "toy.py/below"], "The report folder toy.py/below cannot be written: Not a directory."),
        (["--output", "."], "The report cannot be written to .: it is a folder."),
        (["--output", "toy.py/report.txt"], "The report cannot be written to toy.py/report.txt:"),
    ],
)
def test_a_bad_argument_is_told_before_the_long_work(toy: Path, command: Command, arguments: list[str], told: str):
    assert told in refusal(command, *arguments)


@pytest.mark.usefixtures("no_engine")
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[gradaudit]\nsubject = "open', "gradaudit.toml, line 2: this is no valid TOML"),
        ('[gradaudit]\nsubjet = "a:b"', "[gradaudit] has an unknown key 'subjet'; did you mean 'subject'?"),
        (
            "[gradaudit]\n",
            'write subject = "package.module:callable" or script = "train.py" under [gradaudit], or give SUBJECT.',
        ),
        (
            '[gradaudti]\nsubject = "a:b"',
            "names no subject: no table is called gradaudit; is 'gradaudti' meant to be it?",
        ),
        ('[gradaudit]\nsubject = "nowhere.py:f"', "There is no file"),
    ],
)
def test_a_bad_config_is_told_before_the_long_work(toy: Path, command: Command, text: str, told: str):
    (toy / "gradaudit.toml").write_text(text)

    assert told in refusal(command)


@pytest.mark.usefixtures("no_engine")
def test_nothing_to_audit_is_told_with_what_to_do(tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    assert "There is nothing to audit: no SUBJECT, no --config, and neither" in refusal(command)


@pytest.mark.usefixtures("no_engine")
def test_a_python_without_tensorflow_is_told_what_to_install(
    toy: Path, command: Command, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(environment.importlib.util, "find_spec", lambda name: None)

    told = refusal(command)
    assert told.startswith("TensorFlow is not installed")
    assert "gradaudit[cpu]" in told
    assert "gradaudit[gpu]" in told


@pytest.mark.usefixtures("no_engine")
def test_another_backend_of_keras_is_refused(toy: Path, command: Command, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert "'jax' by the environment variable KERAS_BACKEND" in refusal(command)

    monkeypatch.delenv("KERAS_BACKEND")
    monkeypatch.setenv("KERAS_HOME", str(toy))
    (toy / "keras.json").write_text('{"backend": "torch"}')
    assert f"'torch' by {toy / 'keras.json'}" in refusal(command)


# ------------------------------------------------------------------------------------------------------- in the subject


def test_a_module_that_is_not_there_is_named(steps: Path, command: Command):
    assert refusal(command, "stps:raises").startswith("There is no module 'stps': looked in")


def test_a_callable_that_is_not_there_is_named(steps: Path, command: Command):
    assert refusal(command, "steps.py:raise") == "There is no 'raise' in steps.py; did you mean 'raises'?"


def test_what_the_subject_raises_is_told_with_its_line(steps: Path, command: Command):
    line = line_of("no such corpus")

    assert refusal(command, "steps.py:raises") == (
        f"The subject 'steps.py:raises' failed: LookupError at steps.py:{line} in raises: no such corpus: librispeech"
    )


def test_an_unknown_key_of_the_projects_own_is_told_in_its_own_words(steps: Path, command: Command):
    assert refusal(command, "steps.py:refuses") == "[model] has an unknown key 'preste'; did you mean 'preset'?"


def test_a_model_that_is_not_compiled_is_named(steps: Path, command: Command):
    assert "is not compiled" in refusal(command, "steps.py:uncompiled_model")


def test_an_interruption_is_no_verdict(steps: Path, command: Command):
    assert refusal(command, "steps.py:interrupted") == "Interrupted."


@pytest.mark.parametrize("subject", ["leaves", "leaves_past_python", "restarts"])
def test_a_subject_that_leaves_at_once_is_told(steps: Path, command: Command, subject: str):
    told = refusal(command, f"steps.py:{subject}")

    assert f"in {subject}, with sys.exit or the like." in told
    assert command("trace", f"steps.py:{subject}").output == ""


def test_a_child_of_a_subject_may_leave_at_once(steps: Path, command: Command):
    assert refusal(command, "steps.py:forks").endswith("in forks: 3")


def test_what_is_raised_past_all_who_catch_errors_is_told(steps: Path, command: Command):
    line = line_of("enough")

    assert refusal(command, "steps.py:stops") == (
        f"The subject 'steps.py:stops' ends the audit: Stop at steps.py:{line} in stops: enough"
    )


# ---------------------------------------------------------------------------------------------------------- in the step


@pytest.mark.parametrize(
    ("subject", "culprit", "error"),
    [
        ("raising_step", "no pitch in the batch", "LookupError"),
        ("mismatched_step", "tf.matmul(x, weight))", "ValueError"),
        ("converted_step", "tf.reshape(x, (3, 5))", "ValueError"),
    ],
)
def test_a_step_that_cannot_be_traced_is_told_with_the_users_own_error_and_line(
    steps: Path, command: Command, subject: str, culprit: str, error: str
):
    told = refusal(command, f"steps.py:{subject}")

    assert f"{error} at steps.py:{line_of(culprit)} in " in told
    assert len(told.splitlines()) == 1


def test_a_fit_that_cannot_be_traced_is_no_crash_of_gradaudits_own(steps: Path, command: Command):
    told = refusal(command, "steps.py:mismatched_fit")

    assert "[2,5]" in told
    assert "defect of gradaudit" not in told


def test_a_step_that_ends_the_program_is_told(steps: Path, command: Command):
    told = refusal(command, "steps.py:exiting_step")
    assert re.fullmatch(
        r"The step cannot be traced: it ends the program at steps\.py:\d+ in .*, with sys\.exit .*", told
    )


def test_a_step_that_asks_for_no_gradient_is_told(steps: Path, command: Command):
    assert "never asks for the gradient" in refusal(command, "steps.py:step_without_gradient")


@pytest.mark.parametrize("subject", ["frozen_model", "empty_model"])
def test_a_model_without_trainable_variables_is_told(steps: Path, command: Command, subject: str):
    assert "no trainable variables" in refusal(command, f"steps.py:{subject}")


# ------------------------------------------------------------------------------------------------------ gradaudit's own


def test_a_crash_of_gradaudits_own_is_owned_and_can_be_reported(
    toy: Path, command: Command, monkeypatch: pytest.MonkeyPatch
):
    def crash(*_: object, **__: object) -> None:
        raise KeyError("node 7")

    monkeypatch.setattr("gradaudit.auditing.audit", crash)
    told = refusal(command, "--scenario", "both")

    assert told.startswith("both: gradaudit failed: KeyError: 'node 7' (")
    assert "This is a defect of gradaudit." in told
    assert "tensorflow 2." in told


def test_the_traceback_of_any_error_is_shown_to_who_asks(
    steps: Path, command: Command, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("GRADAUDIT_DEBUG", "1")
    ended = command("trace", "steps.py:raises")

    assert ended.status == 2
    assert "Traceback" in ended.messages
    assert 'raise LookupError("no such corpus' in ended.messages
