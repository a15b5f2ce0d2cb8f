"""The user's code apart from everybody else's: which lines are theirs, and what goes wrong in them."""

from __future__ import annotations

import functools
import importlib.util
import itertools
import os
import re
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gradaudit.errors import GradauditError
from gradaudit.graph.verdicts import Source

_FRAMEWORKS = ("tensorflow", "keras")
_OUR_FOLDER = f"{Path(__file__).parent}{os.sep}"
_ADDED_BY_KERAS = re.compile(
    r"\A\x1b?\[?1?m?Exception encountered when calling .*?\n\n|\n*Arguments received by .*", re.DOTALL
)
_ADDED_BY_AUTOGRAPH = re.compile(r"\Ain user code:.*\n    \w+: ", re.DOTALL)
_HEAD_OF_THE_RUNTIMES = re.compile(
    r"\AGraph execution error:\n(?:\n|(?:Detected at |  File |<stack |\d+ root error)[^\n]*\n)*(?:  \(0\) \w+:\s*)?"
    r"|\A\{\{function_node [^}]*\}\} ?"
)
_TAIL_OF_THE_RUNTIMES = re.compile(
    r"\n\t \[\[.*|\n\nStack trace for op definition.*|\nTraceback \(most .*|\s*\[Op:[^\]]*\].*", re.DOTALL
)
_named_from: list[Path] = []
_FRAME_OF_THE_RUNTIMES = re.compile(r'^  File "(.+)", line (\d+), in (.+)$', re.MULTILINE)
AUTOGRAPH = "__autograph_generated_file"
"""How the temporary files are called in which AutoGraph keeps what it made of the user's code."""
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@functools.cache
def is_framework(file: str) -> bool:
    """Whether a file is TensorFlow's, Keras's, Python's or gradaudit's own, or no file at all."""
    paths = _paths_of_python()
    if AUTOGRAPH in file or file.startswith(("<", _OUR_FOLDER, *_framework_folders())):
        return True
    is_library = file.startswith((paths["purelib"], paths["platlib"]))
    return file.startswith((paths["stdlib"], paths["platstdlib"])) and not is_library


@functools.cache
def is_users(file: str) -> bool:
    """Whether a person works on this file: it is on disk, and neither a framework's nor installed."""
    paths = _paths_of_python()
    is_installed = file.startswith((paths["purelib"], paths["platlib"]))
    return not is_framework(file) and not is_installed and (_named_from_folder() / file).exists()


@functools.cache
def _paths_of_python() -> dict[str, str]:
    """Where the standard library and the installed packages lie; Python puts the paths together each time."""
    return sysconfig.get_paths()


@contextmanager
def files_named_from_here() -> Iterator[None]:
    """Inside, files are named from the folder that is the working one now, wherever the user's code goes."""
    _named_from.append(_named_from_folder())
    try:
        yield
    finally:
        _named_from.pop()


def displayed(file: str) -> str:
    """A file as a person would name it: relative to the working folder, or from its package on."""
    return _displayed(file, _named_from_folder())


def _named_from_folder() -> Path:
    return _named_from[-1] if _named_from else Path.cwd()


@functools.cache
def _displayed(file: str, folder: Path) -> str:
    paths = _paths_of_python()
    for packages in (paths["purelib"], paths["platlib"]):
        if file.startswith(packages):
            return file[len(packages) + 1 :]
    path = Path(file)
    return (path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix()


@contextmanager
def user_errors(what_failed: str, kind: type[GradauditError]) -> Iterator[None]:
    """Turn what the user's code raises into an error of ours, with its own type, message and line.

    What gradaudit itself raises goes through, out of any error that was wrapped around it on the way: a ConfigError of
    the project's own, or the refusal to read a weight without memory, upon which the audit builds the subject again.
    """
    try:
        yield
    except SystemExit as error:
        line = raising_line(error)
        is_script = line is not None and line.function == "<module>"
        hint = ' Code that is to run as a script only belongs under `if __name__ == "__main__":`.' if is_script else ""
        raise kind(f"{what_failed}: it ends the program{_at(error)}, with sys.exit or the like.{hint}") from error
    except Exception as error:
        own = own_error(error)
        if own is not None:
            raise own from own.__cause__
        raise kind(f"{what_failed}: {said(error)}") from error


def said(error: BaseException) -> str:
    """An error's type, line and own words."""
    message = _message(error)
    return f"{type(error).__name__}{_at(error)}{': ' if message else ''}{message}"


def raising_line(error: BaseException) -> Source | None:
    """The innermost line of the user's own that an error came through; of a library's, if none is theirs."""
    if isinstance(error, SyntaxError) and error.filename is not None:
        return Source(displayed(error.filename), error.lineno or 0, "<module>")
    lines = list(_lines(error))
    for is_wanted in (is_users, lambda file: not is_framework(file)):
        for file, line, function in reversed(lines):
            if is_wanted(file):
                return Source(displayed(file), line, function)
    return None


def _lines(error: BaseException) -> Iterator[tuple[str, int, str]]:
    """File, line and function of each frame that an error came through, innermost last."""
    traceback = error.__traceback__
    while traceback is not None:
        code = traceback.tb_frame.f_code
        yield code.co_filename, traceback.tb_lineno, code.co_name
        traceback = traceback.tb_next
    # Code that AutoGraph converted runs from temporary files; it says where in the user's it was.
    for frame in reversed(getattr(getattr(error, "ag_error_metadata", None), "translated_stack", ())):
        yield frame.filename, frame.lineno, frame.function_name
    # An op that fails when a graph runs tells in words where it was made, from whoever called the audit on.
    head = _HEAD_OF_THE_RUNTIMES.match(str(error))
    frames = _FRAME_OF_THE_RUNTIMES.findall(head.group()) if head is not None else []
    for file, line, function in itertools.dropwhile(lambda frame: not frame[0].startswith(_OUR_FOLDER), frames):
        yield file, int(line), function


def _at(error: BaseException) -> str:
    line = raising_line(error)
    if line is None:
        return ""
    return f" at {line}" if line.function == "<module>" else f" at {line} in {line.function}"


def _message(error: BaseException) -> str:
    """An error's own words, without what Keras, AutoGraph and TensorFlow's runtime put around them."""
    if isinstance(error, SyntaxError):
        return error.msg
    text = _ADDED_BY_AUTOGRAPH.sub("", str(error))
    text = _ADDED_BY_KERAS.sub("", _COLOUR.sub("", text))
    if _HEAD_OF_THE_RUNTIMES.match(text):
        text = _TAIL_OF_THE_RUNTIMES.sub("", _HEAD_OF_THE_RUNTIMES.sub("", text))
    return text.strip()


def own_error(error: BaseException) -> BaseException | None:
    """The first error along the chain of causes that gradaudit defines."""
    link: BaseException | None = error
    seen = set()
    while link is not None and id(link) not in seen:
        if type(link).__module__.partition(".")[0] == "gradaudit":
            return link
        seen.add(id(link))
        link = link.__cause__ or link.__context__
    return None


@functools.cache
def _framework_folders() -> tuple[str, ...]:
    """Where the frameworks lie, found without importing them."""
    specs = [importlib.util.find_spec(name) for name in _FRAMEWORKS]
    folders = [folder for spec in specs if spec is not None for folder in spec.submodule_search_locations or ()]
    return tuple(f"{folder}{os.sep}" for folder in folders)
