"""`gradaudit graph`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from gradaudit.cli.asked import Run, runs_asked_for
from gradaudit.cli.audits import Audited, audit_all
from gradaudit.cli.mishaps import COULD_NOT_AUDIT, explained, refuse, show_traceback
from gradaudit.cli.options import A_FILE, DASH, file_or_none, of_every_audit
from gradaudit.cli.terminal import Terminal, say
from gradaudit.cli.writing import put

if TYPE_CHECKING:
    from gradaudit.reports.graph_report import GraphRequest


_DRAWINGS = ("dot", "svg", "png", "pdf")


_GRAPH_FORMATS = (*_DRAWINGS, "graphml", "json")


@click.command()
@of_every_audit
@click.option(
    "--level",
    type=click.Choice(["layer", "op"]),
    help="Layers, or the ops on the ways to what does not learn.  [default: layer; op with --focus or --around]",
)
@click.option(
    "--focus",
    metavar="VARIABLE",
    help="The ops on the way from the loss to a variable, where it ends, and what is next to it: a path, or the end of "
    "one; * is anything.",
)
@click.option(
    "--around", metavar="LAYER", help="The ops in a layer and next to it: a path, or the end of one; * is anything."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(_GRAPH_FORMATS),
    help="graphml and json hold the whole graph, op by op, for other tools.  [default: what FILE ends in, or dot]",
)
@click.option(
    "--output",
    type=A_FILE,
    default=DASH,
    metavar="FILE|DIR",
    help="Write it there, not to standard output (-); into a folder, with a file for each scenario.",
)
def graph(
    subject: str | None,
    config: Path | None,
    scenarios: tuple[str, ...],
    overrides: tuple[str, ...],
    level: Literal["layer", "op"] | None,
    focus: str | None,
    around: str | None,
    form: str | None,
    output: Path,
    jobs: int,
    cache: Path | None,
) -> int:
    """Draw the gradient graph of a train step, or write it for other tools.

    What a drawing of ops leaves out it says, in the drawing and on standard error.

    SUBJECT and --config are as for trace. The exit status is 0 when all is drawn, whatever the verdicts are, and 2 when
    something is not.
    """
    from gradaudit.reports.graph_report import GraphRequest

    written_as = form or _form_of(file_or_none(output))
    _require_consistent(written_as, level, focus, around)
    runs = runs_asked_for(subject, config, scenarios, overrides, ())
    files = _graph_files(runs, file_or_none(output), written_as)
    chosen = level or ("layer" if focus is None and around is None else "op")
    request = GraphRequest(written_as, chosen, focus, around)

    def finish(audited: Sequence[Audited], terminal: Terminal) -> int:
        contents = {each.run.name: _graph_of(each, request, terminal.show) for each in audited}
        terminal.release()
        drawn = [(file, content) for run, file in zip(runs, files, strict=True) if (content := contents.get(run.name))]
        for file, content in drawn:
            put(content, file)
        return 0 if len(drawn) == len(runs) else COULD_NOT_AUDIT

    return audit_all(runs, finish, jobs=jobs, cache=cache)


def _form_of(output: Path | None) -> str:
    """The format that the name of a file asks for."""
    ending = "" if output is None or output.is_dir() else output.suffix.removeprefix(".").lower()
    if ending and ending not in _GRAPH_FORMATS:
        raise click.UsageError(
            f"{output} ends in none of {', '.join(_GRAPH_FORMATS)}: name another file, or say --format."
        )
    return ending or "dot"


def _require_consistent(form: str, level: str | None, focus: str | None, around: str | None) -> None:
    if focus is not None and around is not None:
        raise click.UsageError("--focus and --around are two drawings: give one of them.")
    if level == "layer" and (focus is not None or around is not None):
        raise click.UsageError("--focus and --around draw ops: leave --level out, or say --level op.")
    if form not in _DRAWINGS and (level is not None or focus is not None or around is not None):
        raise click.UsageError(
            f"--format {form} holds the whole graph: --level, --focus and --around are for {', '.join(_DRAWINGS)}."
        )


def _graph_files(runs: Sequence[Run], output: Path | None, form: str) -> list[Path | None]:
    """Where to write the graph of each run; None is standard output."""
    from gradaudit.output import file_names, require_file, require_folder

    is_folder = output is not None and (output.is_dir() or len(runs) > 1 and not output.suffix)
    if len(runs) > 1 and not is_folder:
        names = ", ".join(run.name for run in runs)
        raise click.UsageError(
            f"One file holds one graph, and there are {len(runs)} scenarios: {names}. "
            "Name one with --scenario, or a folder with --output."
        )
    if output is None:
        if form in ("png", "pdf") and sys.stdout is not None and sys.stdout.isatty():
            raise click.UsageError(f"A terminal cannot show {form}: name a file with --output, or write to a pipe.")
        return [None]
    if is_folder:
        require_folder(output)
        return [output / f"{stem}.{form}" for stem in file_names([run.name for run in runs])]
    require_file(output)
    return [output]


def _graph_of(audited: Audited, request: GraphRequest, show: Callable[[str, str], None]) -> bytes | None:
    """Draw, or say why that cannot be: the others go on."""
    from gradaudit.reports.graph_report import render_graph

    run = audited.run
    show(run.name, "draw")
    try:
        file = render_graph(audited.audit, request)
    except Exception as error:  # noqa: BLE001  # nor may one drawing's crash take the others along
        refuse(run.prefix + explained(error))
        show_traceback(error)
        return None
    for clause in file.left_out:
        say(f"{run.prefix}… {clause}")
    return file.content
