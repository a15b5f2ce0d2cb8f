"""From a training script to the audit of its first step: run it unchanged, stop where it would train, audit that."""

from __future__ import annotations

import runpy
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import thread as futures
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradaudit.auditing import PARTICIPATION_SCOPES, audit_built
from gradaudit.environment import require_backend_of_script
from gradaudit.errors import SubjectError, TraceError
from gradaudit.exits import exits_raised
from gradaudit.garbage import write_out
from gradaudit.graph.contracts import Contract
from gradaudit.subject import Subject
from gradaudit.tracing.asked_values import NoValueError
from gradaudit.tracing.first_step import FirstStep, StepWatch
from gradaudit.tracing.making import watched_making
from gradaudit.tracing.no_writing import WritesError, refuse_writing
from gradaudit.tracing.patches import Patches
from gradaudit.tracing.weights import Deferred, weights_on_demand
from gradaudit.user_code import files_named_from_here, is_users, own_error, raising_line, said

if TYPE_CHECKING:
    from gradaudit.graph.report import Audit

_LINES_SHOWN = 3
"""How many of the user's own lines, at most, are told of an error's way."""


def run_script(
    script: Path | str,
    arguments: Sequence[str],
    conclude: Callable[[Audit | Exception], None],
    *,
    places: Sequence[Path] = (),
    participation_scopes: Sequence[str] = PARTICIPATION_SCOPES,
    verify: bool = False,
    contracts: Sequence[Contract] = (),
    progress: Callable[[str], None] = lambda phase: None,
) -> None:
    """Run a script as Python does, up to its first train step, and hand the audit of that step to `conclude`.

    Args:
        script: a file of Python, or the name of a module, which is run as `python -m` does.
        arguments: what it finds in `sys.argv` behind its name.
        conclude: gets the audit, or why there is none, while the script stands still in its step. It is not to return:
            what an exception leaves behind on its way out of a script (`finally`, `except:`, `with`) is the script's.
        places: where a module is looked for first.
        participation_scopes: name scopes of loss terms that exist only so that a gradient exists.
        verify: also ask TensorFlow's own tape, and compare.
        contracts: what the project says of its training.
        progress: called with the name of each phase as it begins.

    Raises:
        SubjectError: the script fails or ends before it trains, or never trains.
    """
    with (
        files_named_from_here(),
        watched_making() as made,
        weights_on_demand() as deferred,
        Patches() as patches,
        exits_raised(),
    ):

        def reached(step: FirstStep) -> None:
            require_backend_of_script(script)
            write_out()
            conclusion = _conclusion(
                step,
                script,
                deferred,
                watch,
                lambda subject, updates_later, notes: audit_built(
                    subject,
                    made,
                    weightless=not deferred.given,
                    participation_scopes=participation_scopes,
                    verify=verify,
                    contracts=contracts,
                    updates_later=updates_later,
                    notes=notes,
                    progress=progress,
                ),
            )
            if conclusion is not None:
                conclude(conclusion)

        def lost(error: Exception) -> None:
            write_out()
            conclude(error)

        watch = StepWatch(reached, lost, partial(require_backend_of_script, script))
        watch.install(patches)
        progress("script")
        with _backend_of(script), _errors_of(script), _as_started_by_python(script, arguments, places):
            if isinstance(script, str):
                runpy.run_module(script, run_name="__main__", alter_sys=True)
            else:
                runpy.run_path(str(script), run_name="__main__")
            _wait_for_threads()
    raise SubjectError(
        f"{script} ends without training: it calls no fit or train_on_batch of Keras, and asks for the gradient of no "
        "variable, with the arguments that it was given. What it leaves to other processes is not seen."
    )


# ---------------------------------------------------------------------------------------------------------- the audit


def _conclusion(
    step: FirstStep,
    script: Path | str,
    deferred: Deferred,
    watch: StepWatch,
    audit_of: Callable[[Subject, Callable[[], bool], Callable[[], Sequence[str]]], Audit],
) -> Audit | Exception | None:
    """The audit of a step, or why there is none; None where it is no train step, as far as can be seen from here."""
    followed = _Followed(step.step)

    def plain() -> Audit | Exception | None:
        plainly = replace(step, step=step.plainly, plainly=None, followed=())
        return _conclusion(plainly, script, deferred, watch, audit_of)

    def notes() -> Iterator[str]:
        yield f"audited is the first step that {script} reaches, {_place(step)}. What comes after it was not run."
        yield from _remarks(deferred, watch)
        if step.followed:
            lines = ", ".join(map(str, step.followed))
            yield f"the branches at line {lines} train, and are followed whether or not this round takes them."
        if step.choices:
            lines = ", ".join(map(str, step.choices))
            yield (
                f"what trains is chosen anew in each round at {lines}, and only what this round "
                "chooses is followed: what others train reads untracked, not-updated or disconnected."
            )
        if followed.error is not None:
            yield f"the step was followed until it fails ({said(followed.error)}): later losses are not seen."

    try:
        audit = audit_of(
            _subject(step, followed), lambda: step.updates_later and followed.error is None, lambda: list(notes())
        )
        if step.plainly is not None and followed.fails:
            return plain()
        if followed.error is not None and audit.count("not-updated"):
            raise TraceError("It fails between a gradient and its update.")
    except TraceError as error:
        if step.plainly is not None:
            return plain()
        conclusion = error if followed.error is None else TraceError(_untraceable(followed.error))
        return conclusion if step.is_certain else None
    except KeyboardInterrupt:
        return TraceError("Interrupted.")  # nor is the script to hear of this, and go on
    except Exception as error:  # noqa: BLE001  # whatever it is, it must not pass through the script's own `except`
        return error
    return _with_zeros_of_round(audit, step)


def _with_zeros_of_round(audit: Audit, step: FirstStep) -> Audit:
    """The audit, with a note where gradients may be zero for the present round alone."""
    if not step.zeros or not audit.count("zero-gradient"):
        return audit
    zeros = ", ".join(step.zeros)
    note = f"0 in this round, and computed anew in others: {zeros}. What these make zero-gradient need not stay so."
    return replace(audit, notes=(*audit.notes, note))


class _Followed:
    """A step that may fail in a graph after its last gradient, as where it prints: what was seen until then counts."""

    def __init__(self, step: Callable[..., Any] | None) -> None:
        self._step = step
        self.error: Exception | None = None

    @property
    def fails(self) -> bool:
        """Whether it failed for a reason of its own."""
        return self.error is not None and not isinstance(self.error, WritesError)

    def __call__(self, *inputs: Any) -> Any:
        self.error = None
        try:
            with Patches() as patches:
                refuse_writing(patches)
                return None if self._step is None else self._step(*inputs)
        except Exception as error:
            if own_error(error) is not None and not isinstance(error, (WritesError, NoValueError)):
                raise
            self.error = error
            return None


def _subject(step: FirstStep, followed: _Followed) -> Subject:
    if step.model is not None:
        return Subject.from_keras(step.model, step.batch)
    return Subject(followed, step.inputs, name=step.name)


def _place(step: FirstStep) -> str:
    return step.what if step.source is None else f"{step.what} at {step.source}"


def _remarks(deferred: Deferred, watch: StepWatch) -> Iterator[str]:
    """What was done for real before the step, or was not done, though the script says so."""
    if deferred.given:
        count, first = len(deferred.given), deferred.given[0]
        yield f"{count} weight{' was' if count == 1 else 's were'} given a value, because the script reads {first!r}."
    if watch.zeros:
        lines = ", ".join(map(str, dict.fromkeys(watch.zeros)))
        yield f"the call that builds the model at {lines} was traced and not run: it returned zeros."


def _untraceable(error: Exception) -> str:
    return (
        f"The step cannot be traced: {said(error).removesuffix('.')}. Audit it with a subject, as gradaudit init "
        'writes it, or see docs/limitations.md, "What run cannot see".'
    )


# --------------------------------------------------------------------------------------------------------- the script


@contextmanager
def _as_started_by_python(script: Path | str, arguments: Sequence[str], places: Sequence[Path]) -> Iterator[None]:
    """Inside, the command line and the first places to import from are those of `python script arguments`."""
    before = sys.argv, list(sys.path)
    sys.argv = [str(script), *arguments]  # runpy puts the file of a module there
    sys.path[:1] = [str(place.resolve()) for place in ([script.parent] if isinstance(script, Path) else places)]
    try:
        yield
    finally:
        sys.argv, sys.path[:] = before


def _wait_for_threads() -> None:
    """Wait for the script's threads, as Python does before it ends: one of them may train."""
    for each in threading.enumerate():
        is_idle = each in futures._threads_queues  # of a pool, whose threads wait for work until Python ends them
        if each is not threading.current_thread() and not each.daemon and not is_idle:
            each.join()


@contextmanager
def _errors_of(script: Path | str) -> Iterator[None]:
    """Turn how a script ends before it trains into an error of ours."""
    before = f"{script} ends before its first train step"
    try:
        yield
    except SystemExit as error:
        line = raising_line(error)
        where = "" if line is None else f" at {line}"
        raise SubjectError(f"{before}, with exit status {_status(error)}{where}.") from error
    except Exception as error:
        raise SubjectError("\n".join([f"{before}: {said(error)}", *_way(error)])) from error


@contextmanager
def _backend_of(script: Path | str) -> Iterator[None]:
    """However a script ends: if it wants another backend, that is why."""
    try:
        yield
    finally:
        require_backend_of_script(script)


def _status(error: SystemExit) -> str:
    if isinstance(error.code, int) or error.code is None:
        return str(error.code or 0)
    return f"1 and the message {str(error.code)!r}"


def _way(error: Exception) -> list[str]:
    """The last of the user's own lines that an error came through, as Python shows them."""
    own = [entry for entry in traceback.extract_tb(error.__traceback__) if is_users(entry.filename)]
    shown = traceback.format_list(own[-_LINES_SHOWN:])
    return [line for entry in shown for line in entry.rstrip().splitlines()]
