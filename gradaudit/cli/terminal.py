"""The terminal: reports go to standard output; all else, what the audited code prints included, to standard error."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import click

from gradaudit.errors import OutputError
from gradaudit.exits import end_at_once
from gradaudit.reports.inert import inert, without_commands

PIPED_WIDTH = 100


_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


PHASES = {
    "script": "running it up to its first train step",
    "import": "importing",
    "build": "building the model",
    "trace": "tracing the step",
    "analyse": "analysing",
    "probe": "running real steps",
    "measure": "running real steps, with participation terms and without",
    "draw": "drawing",
}


def is_terminal() -> bool:
    """Whether standard output is a terminal."""
    return sys.stdout is not None and sys.stdout.isatty()


def fitted(render: Callable[..., str], content: Any, *, on_terminal: bool) -> str:
    """A text as wide and colourful as what it is written to."""
    color = on_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    width = shutil.get_terminal_size((PIPED_WIDTH, 24)).columns if on_terminal else PIPED_WIDTH
    return render(content, color=color, width=width)


def print_text(text: str) -> None:
    """Write to standard output; whoever reads it may have seen enough before the end."""
    if sys.stdout is None:
        raise OutputError("Standard output is closed: name a file with --output.")
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name that the terminal's encoding does not know is no reason to lose the report.
        sys.stdout.reconfigure(errors="backslashreplace")
    with _readers_may_leave():
        sys.stdout.write(text)
        sys.stdout.flush()


def print_bytes(content: bytes) -> None:
    """Write to standard output what a program reads, byte by byte."""
    if sys.stdout is None:
        raise OutputError("Standard output is closed: name a file with --output.")
    with _readers_may_leave():
        sys.stdout.buffer.write(content)
        sys.stdout.flush()


@contextlib.contextmanager
def _readers_may_leave() -> Iterator[None]:
    """Let nothing come of it that a reader of standard output has seen enough; what else goes wrong there is told."""
    try:
        yield
    except BrokenPipeError:
        # Python flushes once more when it ends, and would complain of the same pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OutputError(f"The report cannot be written to standard output: {error.strerror}.") from None


@dataclass(frozen=True)
class Terminal:
    """The terminal while audits are made: it shows which are in which phase, until it is released for the report."""

    show_all: Callable[[Mapping[str, str]], None]
    """Takes the phase of each audit that is being made, by its name."""
    release: Callable[[], None]

    def show(self, audit: str, phase: str) -> None:
        """Show an audit that is made alone."""
        self.show_all({audit: phase})


@contextlib.contextmanager
def terminal_at_work() -> Iterator[Terminal]:
    """Keep standard output clean and show progress, until the block ends or the terminal is released."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(standard_output_kept_clean())
        yield Terminal(stack.enter_context(_progress()), stack.close)


@contextlib.contextmanager
def standard_output_kept_clean() -> Iterator[None]:
    """Send to standard error what the audited code prints: from Python, from C libraries and from child processes."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError, AttributeError):  # one of the two is closed
            sys.stdout.flush()
            kept = os.dup(1)
            os.dup2(2, 1)
            stack.callback(_restore_standard_output, kept)
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        yield


def _restore_standard_output(kept: int) -> None:
    # What was printed past the redirection, to sys.__stdout__, must be out before the real one is back.
    if sys.__stdout__ is not None:
        sys.__stdout__.flush()
    os.dup2(kept, 1)
    os.close(kept)


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[Mapping[str, str]], None]]:
    """Yield what shows, on a terminal, which audits are in which phase."""
    if sys.stderr is None or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield lambda _phases: None
        return
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status("") as status:
        yield lambda phases: status.update(Text("\n".join(_in_words(*each) for each in phases.items())))


def _in_words(audit: str, phase: str) -> str:
    return f"{_printable(audit)}: {PHASES.get(phase, phase)}"


def end_process(status: int) -> NoReturn:
    """End the process at once, so that nothing runs which the script has registered for its end or for its failure."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    end_children()
    end_at_once(status)


def end_children() -> None:
    """End the processes that audited code has begun with `multiprocessing`, which waits for them at the end."""
    if "multiprocessing" in sys.modules:
        for child in sys.modules["multiprocessing"].active_children():
            child.terminate()


def say(message: str) -> None:
    """One message on standard error: its first line under the program's name, the others below it."""
    first, *others = _printable(message).strip().splitlines() or [""]
    with contextlib.suppress(OSError):  # nobody is left to be told
        click.echo("\n".join([f"gradaudit: {first}", *(f"    {line}" for line in others)]), err=True)


def _printable(text: str) -> str:
    """The text without what would move the cursor or recolour the terminal: messages hold names of the user's."""
    plain = _COLOUR.sub("", text).expandtabs(4)  # Keras colours some of its messages
    return without_commands("\n".join(inert(line) for line in plain.splitlines()))
