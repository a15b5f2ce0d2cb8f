"""Several audits at a time, each in a process of its own that ends with it.

The processes are forked from a server that has imported TensorFlow once, and started anew where that is not safe. What
they find and have to tell comes back as values, and is told in the order of the audits, not in that of their ends.
"""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from gradaudit.cache.manifest import Manifest, manifest_of
from gradaudit.cache.process import watch_arguments
from gradaudit.cache.watching import stop_watching, watch
from gradaudit.cli.asked import Run
from gradaudit.cli.attempts import Outcome, attempt
from gradaudit.cli.terminal import Terminal, end_process, standard_output_kept_clean
from gradaudit.errors import TraceError
from gradaudit.exits import end_at_once
from gradaudit.garbage import garbage_left_alone

_PRELOADED = "gradaudit.cli.preloaded"
_NO_WORKING_FOLDER = "PYTHONSAFEPATH"
"""The variable by which Python, from 3.11 on, looks for modules where they are installed only."""


def attempt_in_processes(
    runs: Sequence[Run],
    jobs: int,
    terminal: Terminal,
    tell: Callable[[Run, Outcome], None],
    *,
    watched: bool = False,
    **options: Any,
) -> list[Outcome]:
    """Make audits, `jobs` at a time; of one whose process dies, the outcome says so.

    `tell` gets each outcome, in the order of the runs, as soon as those before it are known. If the audits are
    `watched`, their outcomes hold what they were made from.
    """
    context = _context()
    waiting = list(runs)
    working: list[_Worker] = []
    outcomes: dict[str, Outcome] = {}
    told = 0
    terminal.show_all({run.name: "import" for run in runs[:jobs]})  # the server is doing it, and none begins before
    try:
        while len(outcomes) < len(runs):
            while waiting and len(working) < jobs:
                working.append(_Worker.started(context, waiting.pop(0), watched, options))
            terminal.show_all({worker.run.name: worker.phase for worker in working})
            wait([awaited for worker in working for awaited in (worker.pipe, worker.process.sentinel)])
            outcomes.update((worker.run.name, outcome) for worker in working if (outcome := worker.outcome()))
            working = [worker for worker in working if worker.run.name not in outcomes]
            while told < len(runs) and runs[told].name in outcomes:
                tell(runs[told], outcomes[runs[told].name])
                told += 1
    finally:
        for worker in working:  # the command is interrupted, or has failed
            worker.process.kill()
    return [outcomes[run.name] for run in runs]


def _context() -> Any:
    """How processes are begun: forked from a server on Linux; elsewhere libraries of the system forbid forking."""
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([_PRELOADED])
    with _without_working_folder():
        forkserver.ensure_running()
    return context


@contextlib.contextmanager
def _without_working_folder() -> Iterator[None]:
    """Let a process that is started inside import nothing from the working folder, say a `queue.py` for Python's own.

    It would be imported before TensorFlow, which an audit in this process keeps from happening.
    """
    before = os.environ.get(_NO_WORKING_FOLDER)
    os.environ[_NO_WORKING_FOLDER] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_NO_WORKING_FOLDER]
        else:
            os.environ[_NO_WORKING_FOLDER] = before


@dataclass
class _Worker:
    """A process that makes an audit, as seen from here."""

    run: Run
    process: BaseProcess
    pipe: Connection
    phase: str = "import"

    @staticmethod
    def started(context: Any, run: Run, watched: bool, options: Mapping[str, Any]) -> _Worker:
        """Let a process begin.

        Raises:
            TraceError: the server that it is to be forked from has ended.
        """
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(run, options, watched, _Command.here(), there))
        try:
            process.start()
        except (EOFError, OSError) as error:
            raise TraceError(
                "No process can be begun for an audit: the one that imports TensorFlow for them has ended"
                f"{f' ({error.strerror})' if isinstance(error, OSError) else ''}. The system does that where memory "
                "runs out. To look closer, audit without --jobs and --cache."
            ) from error
        there.close()
        return _Worker(run, process, here)

    def outcome(self) -> Outcome | None:
        """What came of it, if it has come to an end."""
        has_ended = self.process.exitcode is not None  # asked first: what it sent before is then all there
        try:
            while self.pipe.poll():
                received = self.pipe.recv()
                if isinstance(received, Outcome):
                    return received
                self.phase = received
        except (EOFError, OSError):  # it has closed the pipe, within a message perhaps
            self.process.join()
            has_ended = True
        return Outcome(None, (self.run.prefix + self._end_told(),)) if has_ended else None

    def _end_told(self) -> str:
        code = self.process.exitcode or 0
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended, with status {code}"
        hint = " The system does that where memory runs out: give a lower number of --jobs." if code == -9 else ""
        return (
            f"The process that audits it {how}, before it was done.{hint} To look closer, audit it alone: "
            f"--scenario {self.run.name}"
        )


@dataclass(frozen=True)
class _Command:
    """What a command was begun with."""

    environment: Mapping[str, str]
    arguments: Sequence[str]
    """With Python's own, as `sys.orig_argv` has them."""

    @staticmethod
    def here() -> _Command:
        """Of this process."""
        return _Command(dict(os.environ), list(sys.orig_argv))


def _work(run: Run, options: Mapping[str, Any], watched: bool, command: _Command, pipe: Connection) -> None:
    """What a process does: make one audit, send what came of it, and end."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the terminal interrupts all; one of them says so
    threading.Thread(target=_end_with_parent, daemon=True).start()
    stop_watching()
    os.environ.clear()
    os.environ.update(command.environment)  # a server may be older than this command
    sys.orig_argv = list(command.arguments)
    with standard_output_kept_clean(), garbage_left_alone():
        pipe.send(attempt(run, pipe.send, partial(_watching, command.environment) if watched else None, **options))
        atexit._run_exitfuncs()
        end_process(0)  # no thread of the audited code is waited for


def _watching(environment: Mapping[str, str]) -> Callable[[], Manifest]:
    """Watch all that is read from here on, as the server has until here; returns what tells of it."""
    watching = watch()
    watching.is_on = True
    watch_arguments(watching, sys.argv, sys.orig_argv)
    places = list(sys.path)
    for module in list(watching.modules[""]):
        watching.note(watching.note_sought, module, places)  # which the server, in another folder, did not look in
    from gradaudit.tracing.file_reads import tell_file_reads
    from gradaudit.tracing.patches import Patches

    try:
        tell_file_reads(Patches(), watching)  # for good: the process is this audit's alone
    except TraceError as error:
        watching.note_unheld(str(error))
    return partial(manifest_of, watching, environment, places)


def _end_with_parent() -> None:
    """Leave nothing behind that nobody waits for, however the command ends."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        end_at_once(1)
