"""The table of variables and scenarios in the text report: what is connected where, seen at a glance."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gradaudit.graph.groups import common_layer
from gradaudit.graph.report import Report
from gradaudit.graph.scenarios import ScenarioRow
from gradaudit.graph.verdicts import STATUSES, Status
from gradaudit.reports import wording
from gradaudit.reports.inert import inert

_SHOWN_ROWS = 12
"""Besides the last row, so that the table keeps to a screen."""
_SHOWN_LAYERS = 12
_SHOWN_MEMBERS = 3
_INDENT = 2
_GAP = 2
_LABEL = 20
"""Columns below which a layer's name cannot be read."""
_NAME = 13
"""Columns that a piece of a scenario's name may take, if the statuses below it need fewer."""
_NAME_BREAKS = "-_ "
_STATUS_BREAKS = "-"
_BREAKS = (("", ""), (_NAME_BREAKS, ""), (_NAME_BREAKS, _STATUS_BREAKS))
"""Where names and statuses may be broken for a table to fit, the best way first."""


def scenario_table(report: Report, columns: int) -> Group:
    """What is connected in no scenario, and the status of all variables in each, `columns` wide."""
    never = [path for row in report.scenarios if row.never_connected for path in row.variables]
    headline = Text(wording.scenarios_headline(report.scenarios), "disconnected" if never else "good")
    parts: list[RenderableType] = [headline]
    parts += [
        Padding(Text(inert(line), overflow="fold"), (0, 0, 0, 4)) for line in wording.by_layer(never, _SHOWN_LAYERS)
    ]
    names = [inert(audit.name) for audit in report.audits]
    told = [row for row in report.scenarios if not row.always("connected")]
    shared = common_layer(row.layer for row in told) if told else ""
    rows = list(_shown(report.scenarios, shared))
    for breaks in _BREAKS:
        widths = [_width(name, [row[1][place] for row in rows if row[1]], *breaks) for place, name in enumerate(names)]
        room = columns - _INDENT - sum(_GAP + width for width in widths)
        if room >= min(_LABEL, max((len(label) for label, _ in rows), default=0)):
            table = _table(f"in {inert(shared)}" if shared else "variables", names, rows, widths, room)
            return Group(*parts, Text(), Padding(table, (0, 0, 0, _INDENT)))
    return Group(*parts, *(line for row in _shown(report.scenarios, "") for line in _card(names, *row)))


_Row = tuple[str, tuple[Status | None, ...]]
"""What a row is called, and its statuses; none for the row that counts those left out."""


def _shown(rows: Sequence[ScenarioRow], shared: str) -> Iterator[_Row]:
    """The rows that are shown; `shared` is the layer above them all that is said elsewhere."""
    paths = [path for row in rows for path in row.variables]
    told = [row for row in rows if not row.always("connected")]
    for row in told[:_SHOWN_ROWS]:
        yield row_label(row, paths, shared), row.statuses
    left = told[_SHOWN_ROWS:]
    if left:
        yield f"… {wording.counted(len(left), 'more row')} ({sum(len(row.variables) for row in left)})", ()
    for row in rows[len(told) :]:
        yield f"{'all others' if told else 'all'} ({len(row.variables)})", row.statuses


def row_label(row: ScenarioRow, paths: Sequence[str], shared: str) -> str:
    """The row's layer, what the row holds of it if that is not all, and the number of its variables."""
    above = f"{row.layer}/" if row.layer else ""
    parts = [row.layer.removeprefix(f"{shared}/")] if row.layer else []
    if not row.layer or sum(path.startswith(above) for path in paths) > len(row.variables):
        members = list(dict.fromkeys(path.removeprefix(above).partition("/")[0] for path in row.variables))
        if len(members) > _SHOWN_MEMBERS:
            members[_SHOWN_MEMBERS - 1 :] = ["…"]
        parts.append(", ".join(members))
    return inert(f"{': '.join(parts)} ({len(row.variables)})")


def _width(name: str, statuses: Sequence[Status | None], name_breaks: str, status_breaks: str) -> int:
    """Columns that a scenario takes: what the longest pieces of its statuses and its name need."""
    heading = max(map(len, _pieces(name, name_breaks)))
    pieces = [piece for status in statuses for piece in _pieces(status or "-", status_breaks)]
    return max([min(heading, _NAME) if name_breaks else heading, *map(len, pieces)])


def _table(heading: str, names: Sequence[str], rows: Sequence[_Row], widths: Sequence[int], room: int) -> Table:
    lines = [[_folded(label, room, "/ "), *_cells(statuses, widths)] for label, statuses in rows]
    below = any("\n" in cell for line in lines for cell in line)
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, int(below), 0), header_style="label")
    table.add_column(_folded(heading, room, "/ "), overflow="fold", max_width=room, vertical="bottom")
    for name, width in zip(names, widths, strict=True):
        table.add_column(_folded(name, width, _NAME_BREAKS), overflow="fold", width=width)
    for (label, *cells), (_, statuses) in zip(lines, rows, strict=True):
        table.add_row(label, *(Text(cell, status or "aside") for cell, status in zip(cells, statuses, strict=True)))
    return table


def _cells(statuses: Sequence[Status | None], widths: Sequence[int]) -> Iterator[str]:
    for status, width in zip(statuses, widths, strict=False):
        yield _folded(status or "-", width, _STATUS_BREAKS)


def _card(names: Sequence[str], label: str, statuses: Sequence[Status | None]) -> Iterator[RenderableType]:
    """A row where a table has no room: its label, and below it the scenarios of each status."""
    grid = Table.grid(padding=(0, _GAP, 0, 0))
    grid.add_column(no_wrap=True, min_width=len("participation-only"))
    grid.add_column(overflow="fold")
    for status in STATUSES:
        if status in statuses:
            having = [name for name, found in zip(names, statuses, strict=True) if found == status]
            grid.add_row(Text(status, status), ", ".join(having))
    yield Text()
    yield Padding(Text(label, overflow="fold"), (0, 0, 0, _INDENT))
    if statuses:
        yield Padding(grid, (0, 0, 0, 2 * _INDENT))


def _pieces(text: str, breaks: str) -> list[str]:
    """The text, cut after each of the characters."""
    return re.split(f"(?<=[{re.escape(breaks)}])", text) if breaks else [text]


def _folded(text: str, width: int, breaks: str) -> str:
    """The text in lines of `width`, broken after one of the characters, and a longer piece after an underscore."""
    pieces = [
        part for piece in _pieces(text, breaks) for part in (_pieces(piece, "_") if len(piece) > width else [piece])
    ]
    lines = [""]
    for piece in pieces:
        if lines[-1] and len(lines[-1]) + len(piece.rstrip()) > width:
            lines.append("")
        lines[-1] += piece
    return "\n".join(line.rstrip() for line in lines)
