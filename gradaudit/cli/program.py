"""The command `gradaudit`: its commands, and how it ends."""

from __future__ import annotations

import atexit
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from gradaudit.cli.baseline import baseline
from gradaudit.cli.cover import cover
from gradaudit.cli.diff import diff
from gradaudit.cli.graph import graph
from gradaudit.cli.init import init
from gradaudit.cli.manual import explain, list_rules
from gradaudit.cli.mishaps import (
    COULD_NOT_AUDIT,
    explained,
    explained_usage,
    help_unless_command,
    refuse,
    show_traceback,
)
from gradaudit.cli.terminal import end_children, end_process, print_text
from gradaudit.cli.trace import run, trace
from gradaudit.exits import decide, exits_raised


def run_program() -> NoReturn:
    """Run the command that this process was started for, and end with its status, whatever audited code has left.

    No thread of it is waited for, and there is none of the searches for garbage by which Python ends.
    """
    status = COULD_NOT_AUDIT
    with exits_raised():
        try:
            main(prog_name="gradaudit")
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else COULD_NOT_AUDIT
        decide(status)
        end_children()
        atexit._run_exitfuncs()
        end_process(status)


class _Program(click.Group):
    """A group whose every failure is one message on standard error and exit status 2."""

    def main(  # type: ignore[override]  # click tells apart by overloads whether this returns
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command; in standalone mode, end the process with its status."""
        if not standalone_mode:
            return super().main(args, prog_name, standalone_mode=False, **extra)
        try:
            status = super().main(args, prog_name, standalone_mode=False, **extra)
        except click.UsageError as error:
            status = refuse(explained_usage(error))
        except click.ClickException as error:
            status = refuse(error.format_message())
        except click.Abort:
            status = refuse("Interrupted.")
        except Exception as error:  # noqa: BLE001  # a crash must not end with 1, which means that the gate fails
            status = refuse(explained(error))
            show_traceback(error)
        sys.exit(status)


def _show_version(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        from gradaudit.environment import own_version

        print_text(f"gradaudit {own_version()}\n")
        context.exit()


@click.group(cls=_Program, invoke_without_command=True)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show it.")
@click.pass_context
def main(context: click.Context) -> int:
    """Tell, before training, which variables of a train step will never learn, and why."""
    return help_unless_command(context)


def _show_help(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        print_text(f"{context.get_help()}\n")
        context.exit()


def _give_help(command: click.Command) -> None:
    """Give a command and those below it an option that shows help; click's own fails where nobody reads to the end."""
    click.help_option("-h", "--help", callback=_show_help)(command)
    for below in command.commands.values() if isinstance(command, click.Group) else ():
        _give_help(below)


for command in (trace, run, cover, list_rules, explain, baseline, diff, graph, init):
    main.add_command(command)
_give_help(main)
