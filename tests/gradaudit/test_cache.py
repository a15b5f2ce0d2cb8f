"""`--cache`: the answer of before where nothing has changed, and none where anything has, or might have."""

from __future__ import annotations

import contextlib
import json
import os
import py_compile
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import h5py
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from gradaudit.cache import software
from gradaudit.cache.syscalls import ADDRESS, Supervisor
from gradaudit.cli import main
from gradaudit.cli.asked import runs_asked_for
from gradaudit.cli.kept import Kept
from tests.gradaudit.conftest import SCENARIOS, TOY, Command

READER = '''"""A subject that reads whatever can be read."""

import ctypes
import importlib.util
import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import h5py
import tensorflow as tf
from tokenizers import Tokenizer

import helper
import toy
from package import part

try:
    import extra
except ImportError:
    extra = None
found = importlib.util.find_spec("found")


def subject(config):
    assert Path("data/words.txt").read_text() and tf.io.gfile.GFile("data/gfile.txt").read()
    with h5py.File("data/numbers.h5") as file:
        assert len(file["numbers"]) and len(file["elsewhere"])
    assert len(list(Path("data").iterdir())) and os.path.getsize("data/size.bin")
    assert tf.io.read_file("data/op.txt") and Tokenizer.from_file("data/tokenizer.json")
    assert ctypes.CDLL(None).fopen(b"data/c.txt", b"r") and not ctypes.CDLL(None).fopen(b"data/no.txt", b"r")
    assert not Path("missing.txt").exists() and not tf.io.gfile.exists("missing-too.txt")
    try:
        open("never.txt")
    except FileNotFoundError:
        pass
    assert Path("linked/../above.txt").read_text() and Path("link.txt").resolve().read_text()
    assert os.path.getmtime("data/old.bin") and os.access("data/mode.bin", os.R_OK) and h5py.is_hdf5("data/numbers.h5")
    assert not os.path.samefile("data/any.bin", "data/another.bin") and Path("data/any.bin").is_file()
    with tempfile.TemporaryDirectory() as folder:
        os.symlink(os.path.abspath("data/behind.txt"), f"{folder}/link")
        assert Path(folder, "link").read_text()
    with suppress(FileExistsError):
        os.mkdir("data/there")
    assert "--surely-not" not in sys.argv and sys.orig_argv
    assert os.environ.get("READ_BY_THE_SUBJECT", "secret") and "ASKED_FOR" not in os.environ
    Path("log.txt").write_text("written, never read")
    return toy.subject(config)
'''


@pytest.fixture(scope="module", autouse=True)
def _told_by_the_kernel() -> None:
    """Answers are kept where the kernel tells what a process opens."""
    supervisor = Supervisor()
    program = "from gradaudit.cache.syscalls import install_filter; install_filter(); open('/dev/null')"
    environment = {**os.environ, ADDRESS: supervisor.address}
    with subprocess.Popen([sys.executable, "-c", program], env=environment) as process:
        process.wait(60)
    if not supervisor.supervises(process.pid):
        pytest.skip("this system does not tell which files a process opens (by user notification of seccomp)")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The working folder, with a project whose audit of the scenario `one` is in the cache."""
    folder = tmp_path_factory.mktemp("project")
    for name, text in {
        "gradaudit.toml": SCENARIOS.replace("toy.py", "reader.py"),
        "reader.py": READER,
        "toy.py": TOY,
        "helper.py": "VALUE = 1\n",
        "package/__init__.py": "",
        "package/part.py": "",
        "package/part/notes.txt": "",
        "toy/notes.txt": "",
        "data/words.txt": "one two",
        "data/gfile.txt": "three",
        "data/size.bin": "four",
        "data/op.txt": "seven",
        "data/c.txt": "eight",
        "data/old.bin": "",
        "data/mode.bin": "",
        "data/any.bin": "",
        "data/another.bin": "",
        "data/behind.txt": "six",
        "data/there/notes.txt": "",
        "deep/folder/below.txt": "",
        "deep/above.txt": "five",
        "elsewhere/library-1.0.dist-info/RECORD": "library.py,sha256=abc,3\n",
        "elsewhere/worked_on.egg-info/PKG-INFO": "Name: worked_on\n",
        "elsewhere/worked_on.egg-info/entry_points.txt": "[some.group]\n",
    }.items():
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_text(text, "utf-8")
    (folder / "linked").symlink_to("deep/folder")
    (folder / "link.txt").symlink_to("data/words.txt")
    with h5py.File(folder / "linked.h5", "w") as linked, h5py.File(folder / "data" / "numbers.h5", "w") as file:
        linked["numbers"] = file["numbers"] = [1.0, 2.0]
        file["elsewhere"] = h5py.ExternalLink("../linked.h5", "numbers")
    Tokenizer(WordLevel({"one": 0}, unk_token="one")).save(str(folder / "data" / "tokenizer.json"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "path", [str(folder / "elsewhere"), *sys.path])
        patch.setenv("READ_BY_THE_SUBJECT", "a password")
        with pytest.raises(SystemExit) as ended:
            main(["trace", "--cache", "kept", "--scenario", "one", "--output", "report.txt"], prog_name="gradaudit")
        assert ended.value.code == 1
        yield folder


def is_answered(*overrides: str, scenario: str = "one", **options: object) -> bool:
    """Whether the cache has the answer, as things are now."""
    (run,) = runs_asked_for(None, None, [scenario], overrides, ())
    return Kept(Path("kept"), {"verify": False, "probe": 0, **options}).outcome(run) is not None


# ------------------------------------------------------------------------------------------------------- what is stale


def test_what_is_unchanged_is_answered(project: Path) -> None:
    assert is_answered()


@contextlib.contextmanager
def written(name: str, text: str) -> Iterator[None]:
    """A file with another content, or one more file, for a while."""
    path = Path(name)
    before = path.read_bytes() if path.exists() else None
    path.write_text(text, "utf-8")
    try:
        yield
    finally:
        if before is None:
            path.unlink()
        else:
            path.write_bytes(before)


@contextlib.contextmanager
def edited_unseen(name: str, text: str | None = None) -> Iterator[None]:
    """A file with another content of the same size, and with the time of before."""
    path = Path(name)
    times = path.stat()
    with written(name, text or path.read_text("utf-8")[::-1]):
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        yield


@contextlib.contextmanager
def aged(name: str) -> Iterator[None]:
    """A file with another time for a while."""
    before = Path(name).stat()
    os.utime(name, (1, 1))
    try:
        yield
    finally:
        os.utime(name, ns=(before.st_atime_ns, before.st_mtime_ns))


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """A file that nobody may write for a while."""
    path = Path(name)
    before = path.stat().st_mode
    path.chmod(0o400)
    try:
        yield
    finally:
        path.chmod(before)


@contextlib.contextmanager
def replaced(name: str) -> Iterator[None]:
    """Another file of the same content and time for a while."""
    with moved_away(name):
        shutil.copy2("away", name)
        try:
            yield
        finally:
            Path(name).unlink()


@contextlib.contextmanager
def argument(name: str, arguments: list[str]) -> Iterator[None]:
    """A command with other arguments for a while."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, name, arguments)
        yield


@contextlib.contextmanager
def moved_away(name: str) -> Iterator[None]:
    """A file that is not there for a while."""
    shutil.move(name, "away")
    try:
        yield
    finally:
        shutil.move("away", name)


@contextlib.contextmanager
def linked_to(name: str, target: str) -> Iterator[None]:
    """A link that leads elsewhere for a while."""
    link = Path(name)
    before = link.readlink()
    link.unlink()
    link.symlink_to(target)
    try:
        yield
    finally:
        link.unlink()
        link.symlink_to(before)


@contextlib.contextmanager
def made_folder(name: str) -> Iterator[None]:
    """One more folder for a while."""
    Path(name).mkdir()
    try:
        yield
    finally:
        Path(name).rmdir()


@contextlib.contextmanager
def variable(name: str, value: str | None) -> Iterator[None]:
    """Another environment for a while."""
    with pytest.MonkeyPatch.context() as patch:
        if value is None:
            patch.delenv(name)
        else:
            patch.setenv(name, value)
        yield


@pytest.mark.parametrize(
    "change",
    [
        lambda: written("reader.py", READER + "\n"),
        lambda: edited_unseen("helper.py"),
        lambda: written("package/__init__.py", "# more"),
        lambda: written("data/words.txt", "one two three"),
        lambda: edited_unseen("data/words.txt"),
        lambda: edited_unseen("data/gfile.txt"),
        lambda: written("data/numbers.h5", "no longer"),
        lambda: edited_unseen("data/op.txt"),
        lambda: edited_unseen("data/c.txt"),
        lambda: written("data/no.txt", "there by now"),
        lambda: edited_unseen("data/tokenizer.json"),
        lambda: written("linked.h5", "no longer"),
        lambda: written("data/size.bin", "longer than before"),
        lambda: aged("data/old.bin"),
        lambda: locked("data/mode.bin"),
        lambda: replaced("data/another.bin"),
        lambda: written("data/behind.txt", "which a temporary link leads to"),
        lambda: moved_away("data/there"),
        lambda: argument("argv", [*sys.argv, "--surely-not"]),
        lambda: argument("orig_argv", ["python", "-X", "dev"]),
        lambda: argument("warnoptions", ["error"]),
        lambda: moved_away("data/words.txt"),
        lambda: moved_away("helper.py"),
        lambda: written("deep/above.txt", "above the folder that a link leads to"),
        lambda: linked_to("linked", "data"),
        lambda: linked_to("link.txt", "deep/above.txt"),
        lambda: written("data/one-more.txt", "in a folder that is listed"),
        lambda: written("missing.txt", "there by now"),
        lambda: made_folder("missing-too.txt"),
        lambda: written("never.txt", "there by now"),
        lambda: written("extra.py", "which was looked for"),
        lambda: written("found.py", "which was looked for, too"),
        lambda: made_folder("helper"),
        lambda: made_folder("elsewhere/toy"),
        lambda: written("toy/__init__.py", "in the place of the file"),
        lambda: written("package/part/__init__.py", "in the place of the file"),
        lambda: written("h5py.py", "in the place of the library"),
        lambda: written("sitecustomize.py", "which Python imports by itself"),
        lambda: written("usercustomize.py", "which Python imports by itself"),
        lambda: written("package/part.abi3.so", "in the place of the source"),
        lambda: variable("READ_BY_THE_SUBJECT", "another"),
        lambda: variable("READ_BY_THE_SUBJECT", None),
        lambda: variable("ASKED_FOR", "there by now"),
        lambda: variable("TF_READ_PAST_PYTHON", "1"),
        lambda: variable("HOME", "somewhere else"),
        lambda: written("elsewhere/library-1.0.dist-info/RECORD", "library.py,sha256=def,3\n"),
        lambda: made_folder("elsewhere/another-2.0.dist-info"),
        lambda: written("elsewhere/more.pth", "somewhere"),
        lambda: written("elsewhere/worked_on.egg-info/entry_points.txt", "[another.group]\n"),
    ],
)
def test_a_change_of_what_it_was_made_from_makes_an_answer_stale(
    project: Path, change: Callable[[], contextlib.AbstractContextManager[None]]
) -> None:
    with change():
        assert not is_answered()
    assert is_answered()


@pytest.mark.parametrize(
    "change",
    [
        lambda: written("another.py", "that nobody looks for"),
        lambda: aged("data/words.txt"),
        lambda: written("data/any.bin", "of which nobody asks more than whether it is there"),
        lambda: written("log.txt", "which is only written"),
        lambda: written("gradaudit.toml", "# a remark\n" + SCENARIOS.replace("toy.py", "reader.py")),
        lambda: variable("READ_BY_NOBODY", "1"),
    ],
)
def test_what_it_was_not_made_from_may_change(
    project: Path, change: Callable[[], contextlib.AbstractContextManager[None]]
) -> None:
    with change():
        assert is_answered()


def test_another_request_has_another_answer(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_answered('targets=["right"]')
    assert not is_answered(scenario="both")
    assert not is_answered(verify=True)
    assert not is_answered('gradaudit.frozen=[{variables=["left/*"]}]')
    assert not is_answered('gradaudit.participation-scopes=["another"]')
    assert is_answered("gradaudit.fail-on=[]")  # the gate is held against what is answered
    monkeypatch.setattr(sys, "path", sys.path[1:])
    assert not is_answered()


def test_another_gradaudit_has_other_answers(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = shutil.copytree(software._OWN_FOLDER, tmp_path / "gradaudit", ignore=shutil.ignore_patterns("*.pyc"))
    monkeypatch.setattr(software, "_OWN_FOLDER", str(own))
    states = [software.software([])["gradaudit"] for _ in range(2)]
    (own / "errors.py").write_text("# edited\n", "utf-8")
    states.append(software.software([])["gradaudit"])
    (own / "graph" / "one_more.py").touch()
    states.append(software.software([])["gradaudit"])

    assert states[0] == states[1]
    assert len(set(states)) == 3
    assert not is_answered()


def test_an_answer_that_is_not_whole_is_none(project: Path) -> None:
    (entry,) = Path("kept").iterdir()
    whole = entry.read_bytes()
    try:
        for spoilt in (
            b"",
            whole[:-1],
            whole[:1000],
            whole.replace(b"toy.py", b"tox.py", 1),
            whole[:-50] + bytes(50),
            b"gradaudit cache 0" + whole[17:],
        ):
            entry.write_bytes(spoilt)
            assert not is_answered()
    finally:
        entry.write_bytes(whole)
    assert is_answered()


def test_no_value_of_the_environment_is_kept(project: Path) -> None:
    (entry,) = Path("kept").iterdir()

    assert b"a password" not in entry.read_bytes()
    assert b"READ_BY_THE_SUBJECT" in entry.read_bytes()


EXAMINER = '''"""Subjects that ask, each in one way."""

import concurrent.futures
import filecmp
import importlib.metadata
import importlib.util
import json
import os
import shutil
from contextlib import suppress
from importlib.machinery import PathFinder
from pathlib import Path
from posix import stat

import numpy as np
import tensorflow as tf
import toy


def subject(config):
    name = config.get("asks")
    match name:
        case "path":
            assert Path(name).stat()
        case "function":
            assert stat(name)
        case "number":
            with open(name) as file:
                assert os.fstat(fd=file.fileno())
        case "entry":
            assert [each.stat() for each in os.scandir("folder")]
        case "tensorflow":
            assert tf.io.gfile.stat(name)
        case "comparison":
            assert filecmp.cmp(name, "toy.py") is False
        case "copy":
            shutil.copy(name, "copied")
        case "helper":
            import pathlib_helper

            assert pathlib_helper.looked_at(name)
        case "package":
            import installed
        case "bytecode":
            import compiled
        case "distribution":
            with suppress(importlib.metadata.PackageNotFoundError):
                importlib.metadata.version("fancy")
        case "finder":
            assert PathFinder.find_spec("plugin", ["folder"]) is None
        case "variables":
            assert not [name for name in os.environ if name.startswith("SUBJECT_")]
        case "thread":
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                assert pool.submit(dict, os.environ).result()
        case "output":
            Path("out/log.txt").write_text("written, never read")
        case "working folder":
            os.chdir("current")
    return toy.subject({})


def writing():
    np.savez("numbers.npz", [1.0])
    with open("settings.json", "w") as file:
        json.dump({"units": 8}, file)
    with open("settings.json") as file:
        assert json.load(file)
    shutil.copytree("folder", "copied", dirs_exist_ok=True)
    return toy.subject({})
'''


def scenarios(subject: str, key: str, names: Iterable[str]) -> str:
    """A configuration with a scenario for each name, by which the subject is told what to do."""
    tables = "".join(f'[[gradaudit.scenario]]\nname = "{name}"\nset.{key} = "{name}"\n' for name in names)
    return f'{key} = ""\n[gradaudit]\nsubject = "{subject}"\n{tables}'


def test_whoever_asks_sees_each_change_of_what_he_asks_for(
    toy: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes: dict[str, Callable[[], object]] = {
        **{name: (toy / name).chmod for name in ("path", "function", "number", "tensorflow", "comparison", "copy")},
        "helper": (toy / "helper").chmod,
        "entry": (toy / "folder" / "entry").chmod,
        "package": lambda: (toy / "packages" / "installed.py").write_text("VALUE = 2\n", "utf-8"),
        "bytecode": lambda: compiled_from_another(toy / "compiled.py"),
        "distribution": lambda: (toy / "fancy.egg-info").mkdir(),
        "finder": lambda: (toy / "folder" / "plugin.py").touch(),
        "variables": lambda: monkeypatch.setenv("SUBJECT_HEADS", "left"),
        "thread": lambda: monkeypatch.setenv("SUBJECT_HEADS", "left"),
        "output": lambda: shutil.rmtree(toy / "out"),
        "working folder": lambda: (toy / "current").unlink(),
    }
    changes = {name: partial(change, 0o604) if is_chmod(change) else change for name, change in changes.items()}
    monkeypatch.setattr(sys, "path", [str(toy / "packages"), *sys.path])
    (toy / "examiner.py").write_text(EXAMINER, "utf-8")
    (toy / "pathlib_helper.py").write_text("import os\n\n\ndef looked_at(name):\n    return os.stat(name)\n", "utf-8")
    (toy / "gradaudit.toml").write_text(scenarios("examiner.py:subject", "asks", changes), "utf-8")
    for folder in ("folder", "out", "packages/installed-1.0.dist-info"):
        (toy / folder).mkdir(parents=True)
    for name in ("path", "function", "number", "tensorflow", "comparison", "copy", "copied", "helper", "folder/entry"):
        (toy / name).touch()
    for name in ("packages/installed.py", "compiled.py"):
        (toy / name).write_text("VALUE = 1\n", "utf-8")
    (toy / "packages" / "installed-1.0.dist-info" / "RECORD").write_text("installed.py,sha256=abc,10\n", "utf-8")
    (toy / "current").symlink_to("folder")
    py_compile.compile(str(toy / "compiled.py"))
    command("trace", "--cache", "kept", "--jobs", "2")

    assert {name: is_answered(scenario=name) for name in changes} == dict.fromkeys(changes, True)
    for name, change in changes.items():
        change()
        assert not is_answered(scenario=name), name


def is_chmod(change: Callable[..., object]) -> bool:
    return getattr(change, "__name__", "") == "chmod"


def compiled_from_another(source: Path) -> None:
    """Let Python keep for a source what it makes of another one of the same size and time."""
    with edited_unseen(str(source), "VALUE = 2\n"):
        times = source.stat()
        py_compile.compile(str(source))
    os.utime(source, ns=(times.st_atime_ns, times.st_mtime_ns))


REPLACED = """
import sys

class Settings:
    heads = ["left"]

sys.modules[__name__] = Settings
"""


def test_a_source_is_held_though_python_runs_what_it_made_of_it_before(toy: Path) -> None:
    (toy / "settings.py").write_text(REPLACED, "utf-8")
    (toy / "subjects.py").write_text(
        "import settings\nimport toy\n\n\ndef subject():\n    return toy.subject({'targets': settings.heads})\n",
        "utf-8",
    )
    py_compile.compile(str(toy / "settings.py"))
    command = [sys.executable, "-m", "gradaudit", "trace", "subjects.py:subject", "--cache", "kept"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    def ended() -> tuple[int, bool]:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert "Not cached" not in done.stderr
        return done.returncode, "answered from the cache" in done.stdout

    assert [ended(), ended()] == [(1, False), (1, True)]
    assert (toy / "__pycache__" / "subjects.cpython-{}{}.pyc".format(*sys.version_info)).exists()
    (toy / "settings.py").write_text(REPLACED.replace('"left"', '"left", "right"'), "utf-8")
    assert ended() == (0, False)


def test_what_is_written_anew_each_time_is_no_reason_to_ask_again(toy: Path, command: Command) -> None:
    (toy / "examiner.py").write_text(EXAMINER, "utf-8")
    (toy / "folder").mkdir()
    (toy / "copied").mkdir()
    for name in ("folder/entry", "copied/entry"):
        (toy / name).touch()
    for seconds in (["trace"], ["cache"], ["cache"]):
        ended = command("trace", "examiner.py:writing", "--cache", "kept", "--format", "json")
        (audit,) = json.loads(ended.output)["audits"]
        assert seconds[0] in audit["seconds"], ended.messages


# ------------------------------------------------------------------------------------------------------ what is told


def test_an_answer_equals_a_fresh_one_but_for_a_note_and_the_time(toy: Path, command: Command) -> None:
    fresh = command("trace", "--format", "json")
    first, second = (command("trace", "--format", "json", "--cache", "kept") for _ in range(2))
    audits, again = (json.loads(each.output)["audits"] for each in (fresh, second))

    assert first.messages == second.messages == fresh.messages
    assert first.status == second.status == fresh.status == 1
    for audit, answered in zip(audits, again, strict=True):
        (note,) = answered["notes"]
        assert re.match(r"answered from the cache of kept: made at 20\d\d-\d\d-\d\d .* from \d+ files, and all", note)
        assert list(answered["seconds"]) == ["cache"]
        assert {**answered, "notes": [], "seconds": audit["seconds"]} == audit
    assert json.loads(second.output)["environment"] == json.loads(fresh.output)["environment"]


def test_what_is_kept_is_taken_and_the_rest_is_made(toy: Path, command: Command) -> None:
    command("trace", "--cache", "kept", "--scenario", "one")
    ended = command("trace", "--cache", "kept", "--jobs", "2", "--format", "json", "--report", "reports")

    assert ["cache" in audit["seconds"] for audit in json.loads(ended.output)["audits"]] == [False, True]
    assert ended.messages == "gradaudit: one: The gate fails: 2 disconnected.\n"
    assert "Answered in 0." in (toy / "reports" / "report.txt").read_text("utf-8")
    assert len(list((toy / "kept").iterdir())) == 2


def test_other_commands_answer_too(toy: Path, command: Command) -> None:
    fresh, kept = (command("cover", "--suggest", "--cache", "kept") for _ in range(2))
    assert kept.status == fresh.status
    assert "answered from the cache" in " ".join(kept.output.split())

    drawn = [command("graph", "--scenario", "one", "--cache", "kept") for _ in range(2)]
    assert drawn[0].output == drawn[1].output


def test_a_folder_that_takes_nothing_still_answers(toy: Path, command: Command) -> None:
    command("trace", "--cache", "kept", "--scenario", "one")
    kept = toy / "kept"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.mkstemp", refusing)  # the tests may be run by somebody who may write everywhere
        ended = command("trace", "--cache", "kept", "--format", "json")

    assert ["cache" in audit["seconds"] for audit in json.loads(ended.output)["audits"]] == [False, True]
    assert f"gradaudit: both: Not cached: The answer cannot be written to {Path('kept')}" in ended.messages
    assert len(list(kept.iterdir())) == 1

    (toy / "file").touch()
    ended = command("trace", "--cache", "file")
    assert ended.messages == "gradaudit: The cache folder file cannot be made: a file of that name is in the way.\n"


def refusing(*_arguments: object, **_options: object) -> None:
    raise PermissionError(13, "Permission denied")


def test_a_script_cannot_be_answered_for(toy: Path, command: Command) -> None:
    (toy / "train.py").write_text("", "utf-8")
    (toy / "gradaudit.toml").write_text('[gradaudit]\nscript = "train.py"\n', "utf-8")
    ended = command("trace", "--cache", "kept")

    assert ended.status == 2
    assert "--cache answers in the place of a subject, and the script train.py" in ended.messages


# ------------------------------------------------------------------------------------------------- what is not kept

UNHELD = '''"""Subjects that read what cannot be held fast."""

import logging
import os
import shutil
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

import tensorflow as tf
import toy


def subject(config):
    match config.get("reads"):
        case "a program":
            subprocess.run(["true"])
        case "a network":
            with socket.socket() as made, suppress(OSError):
                made.connect(("127.0.0.1", 9))
        case "what it writes":
            Path("toy.py").read_text()
            Path("toy.py").open("a").close()
        case "how much it had written":
            with Path("log.txt").open("a") as log:
                log.write(str(log.tell()))
        case "a file that it moves":
            Path("counter.txt").replace("moved.txt")
        case "the kernel":
            Path("/proc/meminfo").read_text()
        case "through a folder":
            folder = os.open(".", os.O_RDONLY)
            with open("toy.py", opener=lambda name, flags: os.open(name, flags, dir_fd=folder)):
                pass
        case "what it removes":
            shutil.rmtree("removed")
        case "older code":
            import outdated
        case "what comes meanwhile":
            import late
            Path("late").mkdir()
            Path("late/__init__.py").touch()
        case "an error":
            raise ValueError("no audit")
    return toy.subject({})


logging.basicConfig(filename="messages.txt")
'''


def test_what_cannot_be_held_fast_is_made_anew_each_time_and_the_reason_told(toy: Path, command: Command) -> None:
    (toy / "unheld.py").write_text(UNHELD, "utf-8")
    (toy / "removed").mkdir()
    for name in ("log.txt", "counter.txt", "late.py", "messages.txt"):
        (toy / name).touch()
    (toy / "outdated.py").write_text("VALUE = 1\n", "utf-8")
    bytecode = py_compile.compile(str(toy / "outdated.py"))
    with edited_unseen(str(toy / "outdated.py"), "VALUE = 2\n"):
        reads = {
            "a program": "it runs another program: true",
            "a network": "it uses the network",
            "what it writes": f"it both reads and writes {toy / 'toy.py'}",
            "how much it had written": f"it both looks at and changes {toy / 'log.txt'}",
            "a file that it moves": f"it both reads and writes {toy / 'counter.txt'}",
            "the kernel": "it reads /proc/meminfo, which changes by itself",
            "through a folder": "it names files by a folder that is open (dir_fd)",
            "what it removes": "it removes removed",
            "older code": f"Python keeps {bytecode}, which it had made from another {toy / 'outdated.py'}: remove it",
            "what comes meanwhile": f"in {toy} the module late was changed meanwhile",
        }
        (toy / "gradaudit.toml").write_text(scenarios("unheld.py:subject", "reads", (*reads, "an error")), "utf-8")
        ended = command("trace", "--cache", "kept", "--jobs", "2", "--output", "report.txt")
    *told, refused = ended.messages.splitlines()

    assert told == [f"gradaudit: {name}: Not cached: {reason}." for name, reason in reads.items()]
    assert refused.startswith("gradaudit: an error: The subject 'unheld.py:subject' failed: ValueError")
    assert list((toy / "kept").iterdir()) == []


# ---------------------------------------------------------------------------------------------------------- its point


def test_an_answer_needs_no_tensorflow(toy: Path) -> None:
    text = (
        "import sys\nfrom gradaudit.cli import main\n"
        "try:\n    main(['trace', '--cache', 'kept', '--scenario', 'both', '--report', 'reports'])\n"
        "except SystemExit as end:\n"
        "    print(end.code, [name for name in ('tensorflow', 'keras', 'h5py') if name in sys.modules])"
    )
    ended = [subprocess.run([sys.executable, "-c", text], capture_output=True, text=True) for _ in range(2)]

    assert [each.stdout.splitlines()[-1] for each in ended] == ["0 []", "0 []"]
    assert "answered from the cache" not in " ".join(ended[0].stdout.split())
    assert "answered from the cache" in " ".join(ended[1].stdout.split())
