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

from gradaudit.cache.manifest import Manifest, Unheld, manifest_of
from gradaudit.cache.process import watch_arguments
from gradaudit.cache.syscalls import ADDRESS, Opens, Supervisor, end_with_parent
from gradaudit.cache.watching import stop_watching, watch
from gradaudit.cli.asked import Run
from gradaudit.cli.attempts import Outcome, attempt
from gradaudit.cli.terminal import Terminal, end_children, end_process, standard_output_kept_clean
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
    places: Sequence[Sequence[str]] | None = None,
    **options: Any,
) -> list[Outcome]:
    """Make audits, `jobs` at a time; of one whose process dies, the outcome says so.

    `tell` gets each outcome, in the order of the runs, as soon as those before it are known. If for each run the places
    are given in which software is looked for, the outcomes hold what they were made from.
    """
    context = _context(watched=places is not None)
    waiting = list(runs)
    working: list[_Worker] = []
    outcomes: dict[str, Outcome] = {}
    told = 0
    terminal.show_all({run.name: "import" for run in runs[:jobs]})  # the server is doing it, and none begins before
    try:
        while len(outcomes) < len(runs):
            while waiting and len(working) < jobs:
                run = waiting.pop(0)
                of_software = None if places is None else places[runs.index(run)]
                working.append(_Worker.started(context, run, of_software, options))
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


def _context(*, watched: bool) -> Any:
    """How processes are begun: forked from a server on Linux; elsewhere libraries of the system forbid forking."""
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([_PRELOADED])
    server: Any = forkserver._forkserver  # whose methods the module's functions are
    with contextlib.ExitStack() as stack:
        if watched and not any(each.supervises(server._forkserver_pid) for each in _supervisors):
            server._stop()  # an earlier command of this process has started it
            _supervisors[:] = [Supervisor()]
            stack.enter_context(_variable(ADDRESS, _supervisors[0].address))
        # A working folder with, say, a `queue.py` would be searched for Python's own, which is imported before
        # TensorFlow; an audit in this process keeps that from happening.
        stack.enter_context(_variable(_NO_WORKING_FOLDER, "1"))
        forkserver.ensure_running()
    return context


_supervisors: list[Supervisor] = []
"""That of the server, if it has one."""


@contextlib.contextmanager
def _variable(name: str, value: str) -> Iterator[None]:
    """Set a variable of the environment for processes that are started inside."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@dataclass
class _Worker:
    """A process that makes an audit, as seen from here."""

    run: Run
    process: BaseProcess
    pipe: Connection
    phase: str = "import"

    @staticmethod
    def started(
        context: Any,
        run: Run,
        places: Sequence[str] | None,
        options: Mapping[str, Any],
    ) -> _Worker:
        """Let a process begin.

        Raises:
            TraceError: the server that it is to be forked from has ended.
        """
        here, there = context.Pipe()
        process = context.Process(target=_work, args=(run, options, places, _Command.here(), there))
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
                if isinstance(received, _OpensWanted):
                    self.pipe.send(self._opens())
                else:
                    self.phase = received
        except (EOFError, OSError):  # it has closed the pipe, within a message perhaps
            self.process.join()
            has_ended = True
        return Outcome(None, (self.run.prefix + self._end_told(),)) if has_ended else None

    def _opens(self) -> list[Opens]:
        return [opens for supervisor in _supervisors for opens in supervisor.opens(self.process.pid or 0)]

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


class _OpensWanted:
    """A process asks what the kernel has told of it."""


def _work(
    run: Run, options: Mapping[str, Any], places: Sequence[str] | None, command: _Command, pipe: Connection
) -> None:
    """What a process does: make one audit, send what came of it, and end."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the terminal interrupts all; one of them says so
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if places is not None:
        end_with_parent()
    stop_watching()
    os.environ.clear()
    os.environ.update(command.environment)  # a server may be older than this command
    sys.orig_argv = list(command.arguments)
    with standard_output_kept_clean(), garbage_left_alone():
        watching = None if places is None else partial(_watching, command.environment, places, pipe)
        pipe.send(attempt(run, pipe.send, watching, **options))
        end_children()
        atexit._run_exitfuncs()
        end_process(0)  # no thread of the audited code is waited for


def _watching(environment: Mapping[str, str], places: Sequence[str], pipe: Connection) -> Callable[[], Manifest]:
    """Watch all that is read from here on, as the server has until here; returns what tells of it."""
    watching = watch()
    watching.is_on = True
    watching.places_of_software = frozenset(map(os.path.abspath, places))
    watch_arguments(watching, sys.argv, sys.orig_argv)
    for module in list(watching.modules[""]):
        watching.note(watching.note_sought, module, places)  # which the server, in another folder, did not look in
    from gradaudit.tracing.file_reads import tell_file_reads
    from gradaudit.tracing.patches import Patches

    try:
        tell_file_reads(Patches(), watching)  # for good: the process is this audit's alone
    except TraceError as error:
        watching.note_unheld(str(error))

    def manifest() -> Manifest:
        pipe.send(_OpensWanted())
        opens = pipe.recv()
        if not opens:
            raise Unheld("this system does not tell which files a process opens (by user notification of seccomp)")
        return manifest_of(watching, opens, environment, places)

    return manifest


def _end_with_parent() -> None:
    """Leave nothing behind that nobody waits for, however the command ends."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        end_at_once(1)
