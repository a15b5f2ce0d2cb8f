"""`gradaudit trace` and `gradaudit run`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from gradaudit.cli.asked import Run, found_script, require_subjects, runs_asked_for
from gradaudit.cli.audits import Audited, audit_all, judge, report_of
from gradaudit.cli.mishaps import COULD_NOT_AUDIT
from gradaudit.cli.options import (
    FORMATS,
    Reporting,
    deliveries_of,
    of_every_audit,
    of_every_report,
    of_every_verdict,
    require_writable,
)
from gradaudit.cli.terminal import Terminal
from gradaudit.cli.writing import deliver, render_as_text, write_folder, write_pictures
from gradaudit.gate.policy import DEFAULT_FAIL_ON, parse_fail_on


@click.command(cls=Reporting)
@of_every_report(*FORMATS)
@of_every_audit
@of_every_verdict
@click.option(
    "--probe",
    type=click.IntRange(min=1),
    is_flag=False,
    flag_value=3,
    default=None,
    metavar="[STEPS]",
    help="Run real steps too, 3 if no number is given, and fail if a gradient is there that should not be.",
)
def trace(
    subject: str | None,
    config: Path | None,
    scenarios: tuple[str, ...],
    overrides: tuple[str, ...],
    forms: tuple[str, ...],
    outputs: tuple[Path, ...],
    folder: Path | None,
    fail_on: tuple[str, ...],
    baseline: Path | None,
    verify: bool,
    probe: int | None,
    jobs: int,
    cache: Path | None,
) -> int:
    """Audit a train step without running it.

    SUBJECT is "package.module:callable" or "path/to/file.py:callable": a function that returns a gradaudit.Subject. It
    takes no argument, or one: the project's configuration as a dict.

    Without SUBJECT and --config, gradaudit.toml or [tool.gradaudit] in pyproject.toml is looked for upwards from here.

    The exit status is 0 when all was audited, 1 when the gate fails, and 2 when something could not be audited; what
    could be is reported all the same. GRADAUDIT_DEBUG=1 shows the traceback of every error.
    """
    runs = runs_asked_for(subject, config, scenarios, overrides, fail_on, baseline)
    if probe is not None:
        require_subjects(runs, "--probe runs real steps")
    return _trace(runs, forms, outputs, folder, jobs=jobs, cache=cache, verify=verify, probe=probe or 0)


def _trace(
    runs: Sequence[Run], forms: Sequence[str], outputs: Sequence[Path], folder: Path | None, **options: Any
) -> int:
    """Audit, write what is asked for, and hold the gate against it; returns the exit status."""
    deliveries = deliveries_of(forms, outputs)
    require_writable(outputs, folder)

    def finish(audited: Sequence[Audited], terminal: Terminal) -> int:
        report = report_of(audited)
        pictures, mishap = write_folder(report, folder, terminal.show, write_pictures) if audited else ({}, None)
        terminal.release()
        if audited:
            deliver(report, deliveries, partial(render_as_text, pictures=pictures))
        if mishap is not None:
            raise mishap
        status = max(map(judge, audited), default=COULD_NOT_AUDIT)
        return status if len(audited) == len(runs) else COULD_NOT_AUDIT

    return audit_all(runs, finish, **options)


@click.command(cls=Reporting, context_settings={"allow_interspersed_args": False})
@of_every_report(*FORMATS)
@of_every_verdict
@click.argument("script")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[ARGS]...")
def run(
    script: str,
    arguments: tuple[str, ...],
    forms: tuple[str, ...],
    outputs: tuple[Path, ...],
    folder: Path | None,
    fail_on: tuple[str, ...],
    baseline: Path | None,
    verify: bool,
) -> int:
    """Audit the first train step of a training script, which needs no change and no configuration.

    SCRIPT is run as `python SCRIPT ARGS...` runs it, up to the first step that trains: fit or train_on_batch of Keras,
    or a function or loop that differentiates. That step is audited, and the process ends before it is executed.
    Options of gradaudit stand before SCRIPT; all that follows is the script's. SCRIPT may also be a module, such as
    package.train, that `python -m` would run.

    The exit status is 0 when the step was audited, 1 when the gate fails, and 2 when no step was reached or it could
    not be audited.
    """
    from gradaudit.config import ConfigFile
    from gradaudit.gating import gate_of

    words = [word.strip() for words in fail_on for word in words.split(",")]
    statuses = parse_fail_on(words, where="--fail-on") if words else DEFAULT_FAIL_ON
    plan = replace(ConfigFile(None).plan(), script=script, arguments=arguments)
    gate = gate_of(plan, statuses, baseline)
    audited = Run(plan, script, Path(), gate, script=found_script(script, Path()))
    return _trace([audited], forms, outputs, folder, verify=verify)
