"""`gradaudit init`."""

from __future__ import annotations

from pathlib import Path

import click

from gradaudit.cli.options import A_FILE
from gradaudit.cli.terminal import print_text
from gradaudit.reports.inert import inert


@click.command()
@click.argument("folder", type=A_FILE, default=Path())
def init(folder: Path) -> int:
    """Write a first gradaudit.toml, and a subject where it needs one, for the Keras project in FOLDER.

    Where something trains when it is run, a script or a function without arguments, the file names that, and what is
    audited is the first step that your own code reaches. Else it is a model that a function returns, with a batch made
    up from its inputs, or a subject that you fill in.

    Nothing is imported or run, and nothing overwritten. What is found is told, what is left out, and what to do next.
    The exit status is 0 when the files are written, and 2 when not.
    """
    from gradaudit.first_files import write_first_files

    made = write_first_files(folder)
    for heading, lines in (("Found:", made.found), ("Written:", made.written), ("Next:", made.next_steps)):
        print_text("\n".join([heading, *(f"  {inert(str(line))}" for line in lines or ("nothing that trains",)), ""]))
    return 0
