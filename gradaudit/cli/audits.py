"""Makes the audits that are asked for, and judges them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradaudit.cli.asked import Run, places_of_modules
from gradaudit.cli.mishaps import COULD_NOT_AUDIT, explained, refuse, show_traceback
from gradaudit.cli.terminal import Terminal, end_process, say, terminal_at_work
from gradaudit.errors import MeasureError
from gradaudit.gate.policy import exit_status, failures
from gradaudit.graph.verdicts import STATUSES, Finding

if TYPE_CHECKING:
    from gradaudit.graph.report import Audit, Report


def audit_all(
    runs: Sequence[Run],
    finish: Callable[[Sequence[tuple[Run, Audit]], Terminal], int],
    **options: Any,
) -> int:
    """Make the audits, and return what `finish` makes of those that could be made, gated; of a script, end with it."""
    from gradaudit.environment import quiet_tensorflow, require_tensorflow

    require_tensorflow()
    quiet_tensorflow()
    with terminal_at_work() as terminal:
        for run in runs:
            if run.script is not None:
                return _audit_script(run, run.script, finish, terminal, verify=options.get("verify", False))
        outcomes = [(run, attempt(run, terminal.show, **options)) for run in runs]
        audited = [(run, audit) for run, audit in outcomes if audit is not None]
        return finish(gated_runs(audited, of_all=len(audited) == len(runs)), terminal)


def _audit_script(
    run: Run,
    script: Path | str,
    finish: Callable[[Sequence[tuple[Run, Audit]], Terminal], int],
    terminal: Terminal,
    *,
    verify: bool,
) -> int:
    """Run a script up to its first step; the process ends there, and returns only where there is none."""
    folder = Path.cwd()

    def conclude(conclusion: Audit | Exception) -> None:
        """Report, and end the process: the script must not go on, nor hear of this."""
        try:
            if isinstance(conclusion, Exception):
                raise conclusion
            audited = gated_runs([(run, conclusion)], of_all=True)
            os.chdir(folder)  # what is written is meant from here, wherever the script went
            status = finish(audited, terminal)
        except Exception as error:  # noqa: BLE001  # as at the end of any other command
            terminal.release()
            status = refuse(explained(error))
            show_traceback(error)
        end_process(status)

    terminal.show(run.name, "import")
    from gradaudit.running import run_script

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
    return COULD_NOT_AUDIT


def attempt(run: Run, show: Callable[[str, str], None], **options: Any) -> Audit | None:
    """Make one audit, or say why it cannot be made: the others go on."""
    show(run.name, "import")
    folder = Path.cwd()
    try:
        from gradaudit.auditing import audit
        from gradaudit.subject_lookup import audited_code_forgotten, lazy_subject

        with audited_code_forgotten():
            return audit(
                lazy_subject(run.reference, folder=run.folder, project=run.plan.project, changed=run.plan.changed),
                scenario=run.plan.scenario,
                participation_scopes=run.plan.participation_scopes,
                contracts=run.plan.contracts,
                **options,
                progress=lambda phase: show(run.name, phase),
            )
    except MeasureError as error:
        refuse(run.prefix + str(error))
        show_traceback(error)
        audit_without: Audit = error.audit
        return audit_without
    except Exception as error:  # noqa: BLE001  # nor may one audit's crash take the others along
        refuse(run.prefix + explained(error))
        show_traceback(error)
    finally:
        os.chdir(folder)  # what is written is meant from here, wherever the audited code went
    return None


def gated_runs(audited: Sequence[tuple[Run, Audit]], *, of_all: bool) -> list[tuple[Run, Audit]]:
    """The audits with their findings as the project grades and accepts them; `of_all` says that none is missing."""
    from gradaudit.gating import gated

    gates = [replace(run.gate, is_whole=run.gate.is_whole and of_all) for run, _ in audited]
    audits = gated([audit for _, audit in audited], gates)
    return [(run, audit) for (run, _), audit in zip(audited, audits, strict=True)]


def report_of(audits: Sequence[Audit]) -> Report:
    """The audits as a report, with the software that made them."""
    from gradaudit.environment import tool, versions
    from gradaudit.graph.report import Report

    return Report(tool=tool(), environment=versions(), audits=tuple(audits))


def judge(run: Run, audit: Audit) -> int:
    """Say on what a run fails, if on anything; returns the exit status."""
    failed = failures(audit)
    if failed:
        say(f"{run.prefix}The gate fails: {', '.join(_counted(failed))}.")
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
