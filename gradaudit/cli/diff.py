"""`gradaudit diff`."""

from __future__ import annotations

from pathlib import Path

import click

from gradaudit.cli.options import A_FILE, DASH, require_writable
from gradaudit.cli.terminal import fitted, is_terminal, print_text
from gradaudit.cli.writing import put
from gradaudit.errors import ConfigError


@click.command()
@click.argument("old", type=A_FILE)
@click.argument("new", type=A_FILE)
@click.option("--format", "form", type=click.Choice(["text", "markdown"]), default="text", show_default=True)
@click.option("--output", type=A_FILE, default=DASH, metavar="FILE", help="Write it there, not to standard output (-).")
def diff(old: Path, new: Path, form: str, output: Path) -> int:
    """Tell what two JSON reports differ in: OLD, and NEW.

    Findings that are new, that are fixed, variables whose status or cause changed, and audits that only one of them
    has. The exit status is 0 when NEW has no error that OLD has not, 1 when it has one or lacks an audit of OLD's, and
    2 when a file is no report.
    """
    from gradaudit.graph.difference import difference
    from gradaudit.reports.difference import render_difference, render_difference_markdown
    from gradaudit.reports.json_report import read_json

    require_writable([output], None)
    try:
        found = difference(read_json(old), read_json(new))
    except (KeyError, TypeError, AttributeError, IndexError):
        raise ConfigError(f"{old} or {new} is damaged, or of another version: write it anew.") from None
    if form == "markdown":
        text = render_difference_markdown(found)
    else:
        text = fitted(render_difference, found, on_terminal=output == DASH and is_terminal())
    if output == DASH:
        print_text(text)
    else:
        put(text.encode(), output)
    return 1 if found.fails else 0
