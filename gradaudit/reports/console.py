"""How text reports are put on a page: colours by role, cards, and the console that lays them out."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from rich.theme import Theme

from gradaudit.reports.inert import inert, without_commands

COLOURS = {
    "title": "bold",
    "aside": "dim",
    "label": "dim",
    "source": "cyan",
    "fix": "bold",
    "good": "green",
    "connected": "green",
    "participation-only": "blue",
    "zero-gradient": "magenta",
    "disconnected": "bold red",
    "untracked": "yellow",
    "not-updated": "yellow",
    "opaque": "bold",
    "frozen": "dim",
    "error": "bold red",
    "warning": "yellow",
    "note": "blue",
}
"""The style of each role. Without colour the same table is used, empty."""

WIDEST = 120
"""Beyond this, what stands at the right edge is too far from its line to be read with it."""

_HTML = '<pre style="white-space:pre; overflow-x:auto; line-height:normal; font-family:monospace">{code}</pre>'
_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
_PADDING = re.compile(r" +((?:\x1b\[[0-9;]*m)*)$", re.MULTILINE)


def strip_colour(text: str) -> str:
    """A coloured report without its colours."""
    return _ESCAPE.sub("", text)


def printed(content: RenderableType, *, color: bool, width: int, styles: Mapping[str, str] = COLOURS) -> str:
    """The text of a report, `width` columns wide, in the styles of its roles."""
    console = _console(color, width, styles)
    with console.capture() as capture:
        console.print(content, crop=False)
    return without_commands(_PADDING.sub(r"\1", capture.get()).rstrip("\n"))


def as_html(content: RenderableType, *, width: int) -> str:
    """A report as HTML without a page around it; what is not coloured takes the colours of where it is put."""
    console = _console(True, width, COLOURS, record=True)
    console.print(content, crop=False)
    return console.export_html(inline_styles=True, code_format=_HTML)


def _console(color: bool, width: int, styles: Mapping[str, str], *, record: bool = False) -> Console:
    shown = styles if color else dict.fromkeys(styles, "none")
    return Console(
        file=io.StringIO(),
        width=width,
        theme=Theme(shown, inherit=False),
        color_system="standard" if color else None,
        force_terminal=color,
        no_color=not color,
        legacy_windows=False,
        highlight=False,
        markup=False,
        emoji=False,
        record=record,
    )


def card(left: Text, right: Text, facts: list[tuple[str, Text]]) -> Group:
    """A heading with what stands at its right edge, and below it labelled facts."""
    heading = Table.grid(expand=True, padding=(0, 2, 0, 0))
    heading.add_column(overflow="fold", ratio=1)
    heading.add_column(justify="right", no_wrap=True)
    heading.add_row(left, right)
    body = Table.grid(padding=(0, 2, 0, 0))
    body.add_column(no_wrap=True, min_width=10)
    body.add_column(overflow="fold")
    above = ""
    for label, value in facts:
        body.add_row(Text("" if label == above else label, "label"), value)
        above = label
    return Group(Padding(heading, (0, 0, 0, 2)), Padding(body, (0, 0, 0, 4)))


def place(lines: str, function: str) -> Text:
    """Lines of code, and the function that they stand in."""
    text = Text(inert(lines), "source")
    return text.append(f"  in {inert(function)}", "aside") if function else text
