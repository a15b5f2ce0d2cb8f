"""`--jobs`: the same report and messages as of one process, whatever becomes of the others."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gradaudit.cli import workers
from tests.gradaudit.conftest import Command
from tests.gradaudit.forks import program

TIMES = re.compile(rb'"(build|trace|analyse|probe|measure)": [\d.]+|Traced in [\d.]+ s| time="[\d.]+"')

PRINTED = "printed by the audited code\n"

THREE = """
targets = ["left", "right"]
participation-scopes = []
ends = ""

[gradaudit]
subject = "ends.py:subject"

[[gradaudit.scenario]]
name = "first"

[[gradaudit.scenario]]
name = "second"
set = { ends = "%s" }

[[gradaudit.scenario]]
name = "third"
set = { targets = ["left"] }
"""

ENDS = '''"""The toy, or the end of the process that audits it."""

import ctypes
import multiprocessing
import os
import signal
import time

import toy

print("printed by the audited code")


def subject(config):
    match config["ends"]:
        case "with an error":
            raise LookupError("no such corpus")
        case "late with an error":
            time.sleep(1)
            raise LookupError("no such corpus")
        case "with children":
            multiprocessing.Process(target=time.sleep, args=(1000,)).start()
        case "past Python":
            ctypes.CDLL(None)._exit(3)
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "by a fault":
            ctypes.string_at(0)
    return toy.subject(config)
'''


@pytest.fixture
def ends(toy: Path) -> Path:
    """The toy with a module whose scenarios come to different ends."""
    (toy / "ends.py").write_text(ENDS, "utf-8")
    return toy


def asked(folder: Path, second: str) -> None:
    (folder / "gradaudit.toml").write_text(THREE % second, "utf-8")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: TIMES.sub(b"", path.read_bytes()) for path in folder.iterdir()}


# --------------------------------------------------------------------------------------------------------- what is same


def test_every_format_and_picture_is_that_of_one_process(toy: Path, command: Command):
    one = command("trace", "--report", "one", "--verify", "--probe")
    two = command("trace", "--report", "two", "--verify", "--probe", "--jobs", "2")

    assert two.status == one.status == 1
    assert two.messages == one.messages
    assert contents(toy / "two") == contents(toy / "one")
    assert len(contents(toy / "two")) == 15


@pytest.mark.parametrize("arguments", [["cover", "--probe", "2"], ["cover", "--suggest", "--format", "json"]])
def test_cover_says_the_same(toy: Path, command: Command, arguments: list[str]):
    one, two = (command(*arguments, "-j", str(jobs)) for jobs in (1, 2))

    assert (two.status, two.messages) == (one.status, one.messages)
    assert TIMES.sub(b"", two.output.encode()) == TIMES.sub(b"", one.output.encode())


def test_graphs_and_baselines_are_the_same(toy: Path, command: Command):
    for jobs in ("1", "2"):
        assert command("graph", "--output", f"graphs-{jobs}", "--format", "graphml", "-j", jobs).status == 0
        assert command("baseline", "write", "--output", f"known-{jobs}.json", "-j", jobs).status == 0

    assert contents(toy / "graphs-2") == contents(toy / "graphs-1")
    assert (toy / "known-2.json").read_bytes() == (toy / "known-1.json").read_bytes()


def test_errors_are_told_in_the_order_of_the_scenarios_with_their_tracebacks(
    ends: Path, command: Command, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("GRADAUDIT_DEBUG", "1")
    asked(ends, "late with an error")
    with (ends / "gradaudit.toml").open("a") as file:
        file.write('[[gradaudit.scenario]]\nname = "fourth"\nset = { ends = "with an error" }\n')
    one, two = (command("trace", "--format", "json", "-j", str(jobs)) for jobs in (1, 2))
    said, said_by_two = (ended.messages.replace(PRINTED, "") for ended in (one, two))

    assert two.status == one.status == 2
    assert said_by_two == said
    assert said.index("second: ") < said.index("fourth: ")
    assert said.count("Traceback") == 4  # two errors, each with its cause
    assert TIMES.sub(b"", two.output.encode()) == TIMES.sub(b"", one.output.encode())


def test_one_audit_needs_no_process_of_its_own(toy: Path, command: Command, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(workers, "_Worker", None)

    assert command("trace", "--scenario", "one", "--jobs", "8").status == 1


# ------------------------------------------------------------------------------------------------------------ accidents


@pytest.mark.parametrize(
    ("second", "told"),
    [
        ("past Python", "ended, with status 3, before it was done. To look closer, audit it alone: --scenario second"),
        ("killed", "was killed by SIGKILL, before it was done. The system does that where memory runs out: give a"),
        ("by a fault", "was killed by SIGSEGV, before it was done."),
    ],
)
def test_a_process_that_dies_is_told_and_takes_no_other_along(ends: Path, command: Command, second: str, told: str):
    asked(ends, second)
    ended = command("trace", "--format", "json", "--jobs", "2")

    assert ended.status == 2
    assert [audit["scenario"] for audit in json.loads(ended.output)["audits"]] == ["first", "third"]
    first, *others = ended.messages.replace(PRINTED, "").splitlines()
    assert first.startswith(f"gradaudit: second: The process that audits it {told}")
    assert others == ["gradaudit: third: The gate fails: 2 disconnected."]


@pytest.mark.parametrize("more", [[], ["--jobs", "2"]])
def test_the_children_of_a_subject_keep_no_command_waiting(ends: Path, more: list[str]) -> None:
    asked(ends, "with children")
    command = [sys.executable, "-m", "gradaudit", "trace", "--scenario", "first", "--scenario", "second", *more]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)

    assert ended.returncode == 0
    assert "All 6 variables learn" in ended.stdout


def test_a_server_that_dies_is_no_interruption(toy: Path) -> None:
    (toy / "dying.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n", "utf-8")
    text = (
        "from gradaudit.cli import main, workers\nworkers._PRELOADED = 'dying'\n"
        "main(['trace', '--jobs', '2'], prog_name='gradaudit')"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(["", str(toy), os.environ.get("PYTHONPATH", "")])}
    ended = subprocess.run([sys.executable, "-c", text], env=environment, capture_output=True, text=True)

    assert ended.returncode == 2
    assert "gradaudit: No process can be begun for an audit" in ended.stderr


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 2), (signal.SIGTERM, -signal.SIGTERM)])
def test_whoever_ends_the_command_ends_all_its_processes(ends: Path, number: int, status: int):
    asked(ends, "")
    text = f"""
import multiprocessing, os, pathlib, signal, threading, time
from gradaudit.cli import main, workers

def end():
    while len(children := multiprocessing.active_children()) < 3:
        time.sleep(0.02)
    pathlib.Path("children").write_text(" ".join(str(child.pid) for child in children))
    os.kill(os.getpid(), {number})

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets what it runs in the background ignore it
workers._PRELOADED = "gradaudit.cli.workers"  # they die as well while they import TensorFlow, and the server needs none
threading.Thread(target=end, daemon=True).start()
main(["trace", "--jobs", "3"], prog_name="gradaudit")
"""
    ended = program(ends, text)
    children = [int(number) for number in (ends / "children").read_text().split()]

    assert ended.returncode == status
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    assert ("gradaudit: Interrupted." in ended.stderr) is (status == 2)
    assert len(children) == 3
    assert all(map(ends_soon, children))


def ends_soon(process: int) -> bool:
    for _ in range(100):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


# --------------------------------------------------------------------------------------------------------- the terminal


def test_the_terminal_shows_every_audit_that_is_being_made_and_standard_output_gets_the_report_alone(ends: Path):
    asked(ends, "with an error")
    if sys.version_info >= (3, 11):  # before, Python cannot be kept from looking into the working folder
        (ends / "queue.py").write_text("raise RuntimeError('not the one of Python')\n", "utf-8")
    leader, follower = pty.openpty()
    running = subprocess.Popen(
        [Path(sys.executable).parent / "gradaudit", "trace", "--format", "json", "--jobs", "2"],
        stdout=subprocess.PIPE,
        stderr=follower,
        env={**os.environ, "TERM": "xterm-256color"},
    )
    os.close(follower)
    shown = b""
    while True:
        try:
            shown += os.read(leader, 65536)
        except OSError:  # Linux's way to tell that nobody has the terminal open any more
            break
    os.close(leader)
    output, _ = running.communicate()

    assert running.returncode == 2
    assert [audit["scenario"] for audit in json.loads(output)["audits"]] == ["first", "third"]
    assert re.search(rb"first: importing.*\n.*second: importing", shown)
    assert shown.count(b"printed by the audited code\r\n") == 3


# ----------------------------------------------------------------------------------------------- what makes it possible


def test_what_processes_are_forked_from_has_run_nothing_in_tensorflow(tmp_path: Path):
    text = """
import gradaudit.cli.preloaded
import sys
from tensorflow.python.eager import context

print("tensorflow" in sys.modules, "gradaudit.auditing" in sys.modules, context.context()._initialized)
"""
    assert program(tmp_path, text).stdout == "True True False\n"


def test_what_a_subject_has_not_written_out_yet_is_written_when_the_command_ends(tmp_path: Path) -> None:
    (tmp_path / "logging_subject.py").write_text(
        "import tensorflow as tf\nfrom gradaudit import Subject\n\nlog = open('log.txt', 'a')\n\n\n"
        "def subject(config):\n    log.write('seen\\n')\n    a = tf.Variable(1.0, name='a')\n\n"
        "    def step():\n        with tf.GradientTape() as tape:\n            loss = a * 2.0\n"
        "        a.assign_sub(tape.gradient(loss, a))\n\n    return Subject(step, [], variables=[a])\n"
    )
    (tmp_path / "gradaudit.toml").write_text(
        "[gradaudit]\nsubject = 'logging_subject:subject'\n[x]\nn = 0\n"
        "[[gradaudit.scenario]]\nname = 'one'\nset = { 'x.n' = 1 }\n"
        "[[gradaudit.scenario]]\nname = 'two'\nset = { 'x.n' = 2 }\n"
    )
    command = [sys.executable, "-m", "gradaudit", "trace", "--config", "gradaudit.toml"]
    for more in ([], ["--jobs", "2"]):
        done = subprocess.run([*command, *more], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "log.txt").read_text() == "seen\n" * 4
