"""What a person is told of an error, and the exit status that follows from it."""

from __future__ import annotations

import os
import shlex
import sys
import traceback

import click

from gradaudit.cli.terminal import say
from gradaudit.errors import GradauditError

COULD_NOT_AUDIT = 2


DEBUG = "GRADAUDIT_DEBUG"
"""The environment variable that makes every error show its traceback."""


def help_unless_command(context: click.Context) -> int:
    """Show what the commands of a group are where none is named; returns the exit status."""
    if context.invoked_subcommand is not None:
        return 0
    click.echo(context.get_help(), err=True)
    return COULD_NOT_AUDIT


def explained_usage(error: click.UsageError) -> str:
    """What is wrong with the command line, and where to look."""
    command = error.ctx.command_path if error.ctx is not None else "gradaudit"
    return f"{error.format_message()} See: {command} --help"


def explained(error: Exception) -> str:
    """What a person is told of an error: its message where gradaudit raised it on purpose."""
    if isinstance(error, GradauditError):
        return str(error)
    from gradaudit.environment import own_version, versions

    where = traceback.extract_tb(error.__traceback__)[-1]
    software = ", ".join(f"{name} {version}" for name, version in {"gradaudit": own_version(), **versions()}.items())
    return (
        f"gradaudit failed: {type(error).__name__}: {error} ({where.filename}:{where.lineno})\n"
        "This is a defect of gradaudit. Please report it with what follows, and with the traceback "
        f"that {DEBUG}=1 shows.\n"
        f"arguments: {shlex.join(sys.argv[1:])}\n{software}, {sys.platform}"
    )


def show_traceback(error: BaseException) -> None:
    """Show where an error came from, if that is asked for by the environment."""
    for message in tracebacks(error):
        say(message)


def tracebacks(error: BaseException) -> tuple[str, ...]:
    """Where an error came from, as a message; none where that is not asked for by the environment."""
    return ("".join(traceback.format_exception(error)),) if os.environ.get(DEBUG) else ()


def refuse(message: str) -> int:
    """Say why something could not be audited; returns the exit status."""
    say(message)
    return COULD_NOT_AUDIT
