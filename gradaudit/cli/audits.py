"""Makes the audits that are asked for, and judges them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradaudit.cli.asked import Run, places_of_modules, require_subjects
from gradaudit.cli.attempts import Outcome, attempt
from gradaudit.cli.kept import Kept, places_of_software
from gradaudit.cli.mishaps import COULD_NOT_AUDIT, explained, refuse, show_traceback
from gradaudit.cli.terminal import Terminal, end_process, say, terminal_at_work
from gradaudit.errors import SubjectError
from gradaudit.garbage import garbage_left_alone, remove_garbage
from gradaudit.gate.policy import exit_status, failures
from gradaudit.graph.verdicts import STATUSES, Finding

if TYPE_CHECKING:
    from gradaudit.graph.report import Audit, Report


@dataclass(frozen=True)
class Audited:
    """An audit that was made, gated, and the software that it was made with."""

    run: Run
    audit: Audit
    environment: Mapping[str, str]


Finish = Callable[[Sequence[Audited], Terminal], int]
"""What becomes of the audits of a command that could be made; returns the exit status."""


def audit_all(runs: Sequence[Run], finish: Finish, *, jobs: int = 1, cache: Path | None = None, **options: Any) -> int:
    """Make the audits, `jobs` at a time, and return what `finish` makes of them, gated; of a script, end with it.

    What the folder `cache` knows is not made again, and what it does not know is kept there.
    """
    from gradaudit.environment import quiet_tensorflow, require_tensorflow
    from gradaudit.output import require_folder

    if cache is not None:
        require_subjects(runs, "--cache answers in the place of a subject")
        if not cache.is_dir():  # one that nobody may write to still answers
            require_folder(cache, "cache folder")
    require_tensorflow()
    quiet_tensorflow()
    with terminal_at_work() as terminal:
        for run in runs:
            if run.script is not None:
                return _audit_script(run, run.script, finish, terminal, verify=options.get("verify", False))
        with garbage_left_alone():
            if cache is None:
                outcomes = _outcomes(runs, terminal, min(jobs, len(runs)), options)
            else:
                outcomes = _kept_outcomes(runs, terminal, jobs, Kept(cache, options), options)
            audited = [
                Audited(run, outcome.audit, outcome.environment)
                for run, outcome in zip(runs, outcomes, strict=True)
                if outcome.audit is not None
            ]
            return finish(_gated(audited, of_all=len(audited) == len(runs)), terminal)


def _outcomes(runs: Sequence[Run], terminal: Terminal, jobs: int, options: Mapping[str, Any]) -> list[Outcome]:
    """What came of each audit, told in the order of the runs."""
    if jobs > 1:
        from gradaudit.cli.workers import attempt_in_processes

        return attempt_in_processes(runs, jobs, terminal, _tell, **options)
    outcomes: list[Outcome] = []
    for run in runs:
        if outcomes:
            remove_garbage()
        outcomes.append(attempt(run, partial(terminal.show, run.name), **options))
        _tell(run, outcomes[-1])
    return outcomes


def _kept_outcomes(
    runs: Sequence[Run], terminal: Terminal, jobs: int, kept: Kept, options: Mapping[str, Any]
) -> list[Outcome]:
    """What is kept of each audit, and what came of those of which nothing is, now kept too.

    These are made each in a process of its own, in which nothing can be left of another audit.
    """
    outcomes = {run.name: outcome for run in runs if (outcome := kept.outcome(run)) is not None}
    rest = [run for run in runs if run.name not in outcomes]

    def tell_and_keep(run: Run, outcome: Outcome) -> None:
        _tell(run, outcome)
        kept.keep(run, outcome)

    if rest:
        from gradaudit.cli.workers import attempt_in_processes

        places = [places_of_software(run) for run in rest]
        made = attempt_in_processes(rest, min(jobs, len(rest)), terminal, tell_and_keep, places=places, **options)
        outcomes.update(zip((run.name for run in rest), made, strict=True))
    return [outcomes[run.name] for run in runs]


def _tell(_run: Run, outcome: Outcome) -> None:
    for message in outcome.messages:
        say(message)


def _audit_script(
    run: Run,
    script: Path | str,
    finish: Finish,
    terminal: Terminal,
    *,
    verify: bool,
) -> int:
    """Run a script up to its first step; the process ends there, and returns only where there is none."""
    from gradaudit.environment import versions
    from gradaudit.user_code import said

    folder = Path.cwd()

    def conclude(conclusion: Audit | Exception) -> None:
        """Report, and end the process: the script must not go on, nor hear of this."""
        try:
            if isinstance(conclusion, Exception):
                raise conclusion
            audited = _gated([Audited(run, conclusion, versions())], of_all=True)
            os.chdir(folder)  # what is written is meant from here, wherever the script went
            status = finish(audited, terminal)
        except Exception as error:  # noqa: BLE001  # as at the end of any other command
            terminal.release()
            status = refuse(explained(error))
            show_traceback(error)
        end_process(status)

    terminal.show(run.name, "import")
    with garbage_left_alone():
        from gradaudit.running import run_script

    try:
        run_script(
            script,
            run.plan.arguments,
            conclude,
            places=places_of_modules(run.folder),
            participation_scopes=run.plan.participation_scopes,
            verify=verify,
            contracts=run.plan.contracts,
            progress=lambda phase: terminal.show(run.name, phase),
        )
    except (Exception, KeyboardInterrupt):
        raise
    except BaseException as error:  # by which a library ends a run, past whoever catches errors
        raise SubjectError(f"{script} ends before its first train step: {said(error)}") from error
    return COULD_NOT_AUDIT


def _gated(audited: Sequence[Audited], *, of_all: bool) -> list[Audited]:
    """The audits with their findings as the project grades and accepts them; `of_all` says that none is missing."""
    from gradaudit.gating import gated

    gates = [replace(each.run.gate, is_whole=each.run.gate.is_whole and of_all) for each in audited]
    audits = gated([each.audit for each in audited], gates)
    return [replace(each, audit=audit) for each, audit in zip(audited, audits, strict=True)]


def report_of(audited: Sequence[Audited]) -> Report:
    """The audits as a report, with the software that made them."""
    from gradaudit.environment import tool
    from gradaudit.graph.report import Report

    environment = dict(audited[0].environment) if audited else {}
    return Report(tool=tool(), environment=environment, audits=tuple(each.audit for each in audited))


def judge(audited: Audited) -> int:
    """Say on what a run fails, if on anything; returns the exit status."""
    failed = failures(audited.audit)
    if failed:
        say(f"{audited.run.prefix}The gate fails: {', '.join(_counted(failed))}.")
    return exit_status(failed)


def _counted(failed: Sequence[Finding]) -> list[str]:
    """The variables that fail by status, then the findings by rule."""
    statuses: Counter[str] = Counter()
    others: Counter[str] = Counter()
    for each in failed:
        if each.group is not None:
            statuses[each.group.status] += len(each.open_variables)
        else:
            others[each.rule] += 1
    return [
        *(f"{statuses[status]} {status}" for status in STATUSES if statuses[status]),
        *(f"{number} {_of_rule(code, number)}" for code, number in sorted(others.items())),
    ]


def _of_rule(code: str, number: int) -> str:
    """What findings of a rule are called beside their number."""
    if code in ("GA203", "GA204", "GA205"):
        return f"broken contract{'s' if number > 1 else ''} ({code})"
    return code
