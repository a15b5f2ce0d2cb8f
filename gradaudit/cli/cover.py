"""`gradaudit cover`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click

from gradaudit.cli.asked import require_subjects, runs_asked_for
from gradaudit.cli.audits import Audited, audit_all, report_of
from gradaudit.cli.mishaps import COULD_NOT_AUDIT
from gradaudit.cli.options import A_FILE, Reporting, deliveries_of, of_every_audit, of_every_report, require_writable
from gradaudit.cli.terminal import Terminal
from gradaudit.cli.writing import deliver, write_folder, write_plots


@click.command(cls=Reporting)
@of_every_report("text", "json")
@of_every_audit
@click.option(
    "--term",
    "terms",
    multiple=True,
    metavar="EXPR",
    help='Audit as if the step added this term too, such as "1e-6 * mean(square(pitch))": an expression over model '
    "outputs; repeatable.",
)
@click.option(
    "--suggest", is_flag=True, help="Look for the fewest model outputs that would cover the rest, and audit with them."
)
@click.option(
    "--probe",
    type=click.IntRange(min=1),
    metavar="STEPS",
    help="Run so many real steps with the terms, and as many without, and measure what they do to the variables that "
    "they cover and to those that train.",
)
@click.option(
    "--report",
    "folder",
    type=A_FILE,
    metavar="DIR",
    help="Write both formats into DIR, and with --probe a plot of what was measured in each audit.",
)
def cover(
    subject: str | None,
    config: Path | None,
    scenarios: tuple[str, ...],
    overrides: tuple[str, ...],
    terms: tuple[str, ...],
    suggest: bool,
    probe: int | None,
    jobs: int,
    cache: Path | None,
    forms: tuple[str, ...],
    outputs: tuple[Path, ...],
    folder: Path | None,
) -> int:
    """Tell which variables the participation terms cover, which they leave, and what they cost.

    A participation term is there only so that a gradient exists: one in a name scope of participation-scopes.

    SUBJECT and --config are as for trace. The exit status is 0 when every variable that nothing else gives a gradient
    is covered, or may be disconnected by contract; 1 when one is not; and 2 when something could not be audited. Other
    contracts, and the gate, are trace's.
    """
    from gradaudit.environment import require_matplotlib, require_tensorflow
    from gradaudit.reports import wording
    from gradaudit.reports.cover import render_cover

    if terms and probe is not None:
        raise click.UsageError(
            "--term cannot be measured with --probe: a term that is given so is in no step that could run."
        )
    runs = runs_asked_for(subject, config, scenarios, overrides, ())
    if terms or suggest or probe is not None:
        require_subjects(runs, "--term, --suggest and --probe trace the step again")
    deliveries = deliveries_of(forms, outputs)
    require_writable(outputs, folder)
    if folder is not None and probe is not None:
        require_tensorflow()
        require_matplotlib()

    def finish(audited: Sequence[Audited], terminal: Terminal) -> int:
        audits = [each.audit for each in audited]
        report = report_of(audited)
        plots, mishap = write_folder(report, folder, terminal.show, write_plots) if audits else ({}, None)
        terminal.release()
        if audits:
            deliver(report, deliveries, partial(render_cover, plots=plots))
        if mishap is not None:
            raise mishap
        if len(audits) < len(runs) or any(audit.measurement_failed for audit in audits):
            return COULD_NOT_AUDIT
        return 1 if any(wording.left_uncovered(audit) for audit in audits) else 0

    return audit_all(runs, finish, jobs=jobs, cache=cache, terms=terms, suggest=suggest, measure=probe or 0)
