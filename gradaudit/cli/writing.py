"""Writes the reports: to standard output, and into files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradaudit.cli.terminal import PIPED_WIDTH, fitted, is_terminal, print_bytes, print_text
from gradaudit.errors import OutputError

if TYPE_CHECKING:
    from gradaudit.graph.report import Report


def put(content: bytes, file: Path | None) -> None:
    """Write to a file, or to standard output where there is none."""
    from gradaudit.output import write_file

    if file is None:
        print_bytes(content)
    else:
        write_file(file, content)


def write_folder(
    report: Report,
    folder: Path | None,
    show: Callable[[str, str], None],
    write: Callable[[Report, Path, Callable[[str, str], None]], dict[str, str]],
) -> tuple[dict[str, str], Exception | None]:
    """Write what `--report` asks for; returns the picture of each audit, and what went wrong.

    That is returned, not raised, so that the report reaches standard output before the command ends: an audit that took
    minutes must not be lost to a full disk.
    """
    if folder is None:
        return {}, None
    try:
        return write(report, folder, show), None
    except Exception as error:  # noqa: BLE001  # raised again by the caller, once the report is out
        return {}, error


def write_pictures(report: Report, folder: Path, show: Callable[[str, str], None]) -> dict[str, str]:
    """Write every format, picture and matrix into a folder; returns the picture of each audit."""
    from gradaudit.output import file_names, write_file
    from gradaudit.reports.formats import ENDINGS, FORMATS
    from gradaudit.reports.matrix import render_matrix, render_scenarios
    from gradaudit.reports.page import render_page
    from gradaudit.reports.picture import draw, render_picture
    from gradaudit.reports.terminal import render_text
    from gradaudit.reports.wording import name

    names = [name(audit) for audit in report.audits]
    _, *stems = file_names(["scenarios", *names])
    for form, ending in ENDINGS.items():
        write_file(folder / f"report.{ending}", FORMATS[form](report).encode())
    write_file(folder / "report.html", render_page(report).encode())
    if len(names) > 1:
        write_file(folder / "scenarios.csv", render_scenarios(report).encode())
    for audit, stem in zip(report.audits, stems, strict=True):
        show(name(audit), "draw")
        dot = draw(audit)
        write_file(folder / f"{stem}.dot", dot.encode())
        for image_format in ("svg", "png"):
            write_file(folder / f"{stem}.{image_format}", render_picture(dot, image_format))
        write_file(folder / f"{stem}.csv", render_matrix(audit).encode())
    beside = {audit: f"{stem}.svg" for audit, stem in zip(names, stems, strict=True)}
    text = render_text(report, color=False, width=PIPED_WIDTH, pictures=beside)
    write_file(folder / "report.txt", text.encode())
    return {audit: str(folder / picture) for audit, picture in beside.items()}


def write_plots(report: Report, folder: Path, show: Callable[[str, str], None]) -> dict[str, str]:
    """Write what `cover` reports into a folder; returns the plot of each audit that was measured."""
    from gradaudit.output import file_names, write_file
    from gradaudit.reports.cover import render_cover
    from gradaudit.reports.json_report import render_json
    from gradaudit.reports.wording import name, title

    beside = {}
    write_file(folder / "cover.json", render_json(report).encode())
    for audit, stem in zip(report.audits, file_names(map(name, report.audits)), strict=True):
        if audit.measured is not None:
            from gradaudit.reports.participation_plot import render_participation

            show(name(audit), "draw")
            beside[name(audit)] = f"{stem}-participation.png"
            write_file(folder / beside[name(audit)], render_participation(audit.measured, title(audit)))
    write_file(folder / "cover.txt", render_cover(report, color=False, width=PIPED_WIDTH, plots=beside).encode())
    return {audit: str(folder / plot) for audit, plot in beside.items()}


def deliver(report: Report, deliveries: Sequence[tuple[str, Path | None]], render: Callable[..., str]) -> None:
    """Write the report in each format; `render` gives its text, as wide and colourful as what it is written to."""
    from gradaudit.output import write_file

    mishaps: list[OutputError] = []
    for form, output in deliveries:
        text = _rendered(report, form, render, output is None and is_terminal())
        try:
            if output is not None:
                write_file(output, text.encode())
            else:
                print_text(text)
        except OutputError as error:  # the other formats are not to be lost
            mishaps.append(error)
    if mishaps:
        raise OutputError("\n".join(map(str, mishaps)))


def render_as_text(report: Report, **options: Any) -> str:
    """The report as text."""
    from gradaudit.reports.terminal import render_text

    return render_text(report, **options)


def _rendered(report: Report, form: str, render: Callable[..., str], on_terminal: bool) -> str:
    if form == "text":
        return fitted(render, report, on_terminal=on_terminal)
    from gradaudit.reports.formats import FORMATS

    return FORMATS[form](report)
