"""The command line: parse, call, print, exit. The only file that writes to the terminal.

The report goes to standard output and everything else to standard error, what the audited code prints included. Exit
status 0 means audited, 1 that the gate fails, and 2 that something could not be audited, whatever the reason.

Whatever answers at once (help, the version, a mistyped option) must not wait for TensorFlow, so imports that cost time
stand in the functions that need them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gradaudit.errors import ConfigError, GradauditError, OutputError, TraceError
from gradaudit.gate.policy import DEFAULT_FAIL_ON, NOTHING, exit_status, failures, parse_fail_on
from gradaudit.graph.verdicts import STATUSES, Status, Verdict

if TYPE_CHECKING:
    from gradaudit.config import Plan
    from gradaudit.graph.report import Audit, Report

COULD_NOT_AUDIT = 2
DEBUG = "GRADAUDIT_DEBUG"
"""The environment variable that makes every error show its traceback."""

PIPED_WIDTH = 100
PHASES = {
    "import": "importing",
    "build": "building the model",
    "trace": "tracing the step",
    "analyse": "analysing",
    "verify": "asking TensorFlow's tape",
    "draw": "drawing",
}


class _Program(click.Group):
    """A group whose every failure is one message on standard error and exit status 2."""

    def main(self, *arguments: Any, standalone_mode: bool = True, **options: Any) -> Any:
        """Run a command; in standalone mode, end the process with its status."""
        if not standalone_mode:
            return super().main(*arguments, standalone_mode=False, **options)
        try:
            status = super().main(*arguments, standalone_mode=False, **options)
        except click.UsageError as error:
            status = _refuse(_usage(error))
        except click.ClickException as error:
            status = _refuse(error.format_message())
        except click.Abort:
            status = _refuse("Interrupted.")
        except Exception as error:
            status = _refuse(_explanation(error))
            _show_traceback(error)
        sys.exit(status)


def _show_version(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    from gradaudit.environment import own_version

    if wanted:
        click.echo(f"gradaudit {own_version()}")
        context.exit()


@click.group(cls=_Program, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show the version.")
@click.pass_context
def main(context: click.Context) -> int:
    """Tell, before training, which variables of a train step will never learn, and why."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        return COULD_NOT_AUDIT
    return 0


@main.command()
@click.argument("subject", required=False)
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="The TOML file that says what to audit.")
@click.option("--scenario", "scenarios", multiple=True, metavar="NAME", help="A scenario of the file; repeatable. Default: all.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Replace a key of the file; repeatable. VALUE is TOML, or a bare word.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How the report is written.")
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Write the report there instead of to standard output.")
@click.option("--report", type=click.Path(path_type=Path), metavar="DIR", help="Write the report in every format, and pictures, into DIR.")
@click.option("--fail-on", "fail_on", multiple=True, metavar="STATUS[,STATUS…]", help=f"Statuses that make the exit status 1, or '{NOTHING}'.")
@click.option("--verify/--no-verify", default=False, help="Compare every verdict with what TensorFlow's own tape answers.")
def trace(
    subject: str | None,
    config: Path | None,
    scenarios: tuple[str, ...],
    overrides: tuple[str, ...],
    form: str,
    output: Path | None,
    report: Path | None,
    fail_on: tuple[str, ...],
    verify: bool,
) -> int:
    """Audit a train step without running it.

    SUBJECT is "package.module:callable" or "path/to/file.py:callable": a function that returns a gradaudit.Subject. It
    takes no argument, or one: the project's configuration as a dict.

    Without SUBJECT and --config, gradaudit.toml or [tool.gradaudit] in pyproject.toml is looked for upwards from here.
    """
    runs = _runs(subject, config, scenarios, overrides, _statuses(fail_on))
    _require_output(output, report)
    _require_environment()
    with _clean_standard_output(), _progress(len(runs)) as progress:
        attempts = [_attempt(run, verify, progress) for run in runs]
        audited = [attempt for attempt in attempts if attempt.audit is not None]
        ...
