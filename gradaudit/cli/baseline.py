"""`gradaudit baseline`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gradaudit.cli.asked import runs_asked_for
from gradaudit.cli.audits import Audited, audit_all
from gradaudit.cli.mishaps import COULD_NOT_AUDIT, help_unless_command
from gradaudit.cli.options import A_FILE, DASH, file_or_none, of_every_audit, require_writable
from gradaudit.cli.terminal import Terminal, say
from gradaudit.cli.writing import put
from gradaudit.errors import ConfigError

if TYPE_CHECKING:
    from gradaudit.gate.baseline import Baseline


@click.group(invoke_without_command=True)
@click.pass_context
def baseline(context: click.Context) -> int:
    """Keep what is found now, so that a run fails on new findings alone."""
    return help_unless_command(context)


@baseline.command("write")
@of_every_audit
@click.option(
    "--output",
    type=A_FILE,
    metavar="FILE",
    help="Where to.  [default: the config's baseline, or gradaudit-baseline.json beside it]",
)
def write_baseline(
    subject: str | None,
    config: Path | None,
    scenarios: tuple[str, ...],
    overrides: tuple[str, ...],
    output: Path | None,
    jobs: int,
    cache: Path | None,
) -> int:
    """Write all that a run fails on now into the baseline file.

    SUBJECT and --config are as for trace. Of a file that exists, what it knows of other scenarios stays.
    """
    from gradaudit.gate.baseline import BASELINE_NAME, baseline_of

    runs = runs_asked_for(subject, config, scenarios, overrides, (), reads_baseline=False)
    path = output or runs[0].plan.baseline or runs[0].folder / BASELINE_NAME
    require_writable([path], None)
    before = _baseline_before(path)

    def finish(audited: Sequence[Audited], terminal: Terminal) -> int:
        terminal.release()
        if len(audited) < len(runs):
            say("The baseline is not written, because not all could be audited.")
            return COULD_NOT_AUDIT
        found = baseline_of([each.audit for each in audited])
        is_whole = all(run.gate.is_whole for run in runs)
        names = [run.plan.scenario or "" for run in runs]
        whole = found if before is None or is_whole else found.with_others(before, names)
        put(whole.render().encode(), file_or_none(path))
        hint = "" if path in (DASH, runs[0].plan.baseline) else " It counts once --baseline or the config names it."
        say(f"{len(found.entries)} entries written to {'standard output' if path == DASH else path}.{hint}")
        return 0

    return audit_all(runs, finish, jobs=jobs, cache=cache)


def _baseline_before(path: Path) -> Baseline | None:
    """What a baseline file holds that is to be written anew; None of one that cannot be read."""
    from gradaudit.gate.baseline import read_baseline

    if not path.is_file():
        return None
    try:
        return read_baseline(path)
    except ConfigError as error:
        say(f"{error} What it held is lost.")
        return None
