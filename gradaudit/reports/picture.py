"""Draws an audit with Graphviz: loss terms at the top, healthy layers folded, the broken branch open."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import graphviz

from gradaudit.errors import OutputError
from gradaudit.graph.report import Audit
from gradaudit.graph.verdicts import MEANING, Status
from gradaudit.reports import wording
from gradaudit.reports.graphviz_text import DARK, FAINT, FONT, GREY, LINE, TITLE, bold, escaped, node_name, stacked, tip
from gradaudit.reports.inert import inert, shorten
from gradaudit.reports.layers import LayerBox, Row, status_counts
from gradaudit.reports.sketch import Arrow, Mark, Sketch, sketch

TIMES = "\N{MULTIPLICATION SIGN}"

INK: dict[Status, str] = {
    "connected": "#5f6b76",
    "participation-only": "#0072b2",
    "zero-gradient": "#a8326e",
    "disconnected": "#c8400a",
    "untracked": "#8a5a00",
    "not-updated": "#8a5a00",
    "opaque": "#3d3d3d",
    "frozen": "#7a8a99",
}
"""The colour of each status: apart for colour-blind readers, dark enough for text on white."""

PAPER: dict[Status, str] = {
    "connected": "#eef0f2",
    "participation-only": "#e6f1f8",
    "zero-gradient": "#fbeaf2",
    "disconnected": "#fdece4",
    "untracked": "#fdf3dc",
    "not-updated": "#fdf3dc",
    "opaque": "#e4e4e4",
    "frozen": "#f4f6f8",
}

SIGN: dict[Status, str] = {
    "connected": "✓",
    "participation-only": "≈",
    "zero-gradient": "0",
    "disconnected": TIMES,
    "untracked": "!",
    "not-updated": "=",
    "opaque": "?",
    "frozen": "-",
}
"""The mark of each status, for those who cannot go by colour."""

_PALE = "#dd9272"
_TITLE_LINE = 110
_ROWS = 6
_LEGEND_ITEMS = 4
_NAMES = 24


def draw(audit: Audit) -> str:
    """The picture of an audit as DOT text. The same audit gives the same text."""
    return draw_sketch(audit, sketch(audit))


def draw_sketch(audit: Audit, content: Sketch) -> str:
    """The picture of an audit, as sketched, as DOT text."""
    drawing = graphviz.Digraph("gradaudit", strict=True)
    drawing.attr("graph", **_graph_attributes(audit, content))
    drawing.attr("node", fontname=FONT, fontsize="11", shape="box", style="filled", margin="0.12,0.06", height="0.3")
    drawing.attr("edge", fontname=FONT, fontsize="9", arrowsize="0.7", color=GREY)
    _draw_marks(drawing, content)
    _draw_boxes(drawing, content)
    inks = {mark.key: INK[mark.status] for mark in content.marks if mark.kind in ("break", "end")}
    for arrow in content.arrows:
        broken = inks.get(arrow.tail) or inks.get(arrow.head) or INK["disconnected"]
        drawing.edge(node_name(arrow.tail), node_name(arrow.head), **_arrow(arrow, broken))
    _hang_loose_boxes(drawing, content)
    return str(drawing.source)


def render_picture(dot: str, image_format: Literal["svg", "png", "pdf"]) -> bytes:
    """The DOT text as a picture, laid out by the Graphviz that pygraphviz brings along."""
    import pygraphviz  # only here: it loads a large library, which no other report needs

    with _muted():
        try:
            return bytes(pygraphviz.AGraph(string=dot).draw(format=image_format, prog="dot"))
        except Exception as error:
            raise OutputError(
                f"Graphviz cannot draw the picture as {image_format}: {error}. The DOT file still can be written."
            ) from error


@contextmanager
def _muted() -> Iterator[None]:
    """Keeps the C library's words on fonts and label sizes off standard error: the reader can do nothing about them."""
    with tempfile.TemporaryFile() as nowhere:
        kept = os.dup(2)
        try:
            os.dup2(nowhere.fileno(), 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _graph_attributes(audit: Audit, content: Sketch) -> dict[str, str]:
    return {
        "rankdir": "TB",
        "bgcolor": "white",
        "fontname": FONT,
        "fontsize": "12",
        "label": _label(audit, content),
        "labelloc": "t",
        "labeljust": "l",
        "tooltip": tip(wording.title(audit)),
        "nodesep": "0.22",
        "ranksep": "0.42",
        "pad": "0.25",
        "dpi": "96",
        "size": "16.6,10.4",
        "splines": "true",
        "newrank": "true",
        "outputorder": "edgesfirst",
    }


def _label(audit: Audit, content: Sketch) -> str:
    """The headline, and below it what colours, marks and lines mean."""
    statuses = [status for status in wording.REPORTING_ORDER if audit.count(status)]
    worst = statuses[0] if statuses else "connected"
    items = [*(_meaning(status) for status in statuses), *_legend_lines(content)]
    ink = INK["connected"] if worst in wording.QUIET else INK[worst]
    headline = f'<FONT POINT-SIZE="20" COLOR="{ink}"><B>{escaped(wording.headline(audit))}</B></FONT>'
    scenario = f'<FONT COLOR="{FAINT}">{escaped(shorten(inert(wording.title(audit)), _TITLE_LINE))}</FONT>'
    legend = ["     ".join(items[start : start + _LEGEND_ITEMS]) for start in range(0, len(items), _LEGEND_ITEMS)]
    rows = [headline, scenario, *legend]
    if content.left_out:
        rows.append(f"Left out: {escaped(', '.join(content.left_out))}")
    cells = "".join(f'<TR><TD ALIGN="LEFT">{row}</TD></TR>' for row in rows)
    return f'<<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="3">{cells}</TABLE>>'


def _meaning(status: Status) -> str:
    return f'<FONT COLOR="{INK[status]}"><B>{SIGN[status]} {status}</B></FONT>  {MEANING[status]}'


def _legend_lines(content: Sketch) -> Iterator[str]:
    yield _legend_line("──▸", INK["connected"], "gradient")
    if any(arrow.kind == "participation" for arrow in content.arrows):
        yield _legend_line("╌╌▸", INK["participation-only"], "gradient of a participation term or penalty")
    if any(arrow.kind == "none" for arrow in content.arrows):
        yield _legend_line("╌╌", INK["disconnected"], "no gradient")


def _legend_line(line: str, ink: str, meaning: str) -> str:
    return f'<FONT COLOR="{ink}"><B>{line}</B></FONT>  {meaning}'


def _draw_marks(drawing: graphviz.Digraph, content: Sketch) -> None:
    for kinds in (("objective",), ("term", "end"), ("output",)):
        with drawing.subgraph() as level:
            level.attr(rank="same")
            for mark in content.marks:
                if mark.kind in kinds:
                    level.node(node_name(mark.key), **_mark(mark))
    for mark in content.marks:
        if mark.kind == "break":
            drawing.node(node_name(mark.key), **_mark(mark))


def _mark(mark: Mark) -> dict[str, str]:
    ink, paper = INK[mark.status], PAPER[mark.status]
    base = {"tooltip": tip(mark.tooltip or mark.title), "color": ink, "fillcolor": paper, "fontcolor": DARK}
    title = bold(mark.title)
    if mark.kind == "objective":
        return {**base, "label": f"<{title}>", "shape": "ellipse", "fillcolor": DARK, "fontcolor": "white"}
    if mark.kind == "term":
        style = "rounded,filled" if mark.status == "connected" else "rounded,filled,dashed"
        return {**base, "label": stacked(title, mark.details), "style": style, "penwidth": "1.4"}
    if mark.kind == "output":
        style = "rounded,filled" if mark.status in wording.QUIET else "rounded,filled,bold"
        return {**base, "label": f"<{escaped(shorten(inert(mark.title), TITLE))}>", "style": style}
    label = stacked(f'<FONT COLOR="{ink}"><FONT POINT-SIZE="15"><B>{TIMES}</B></FONT> {title}</FONT>', mark.details)
    if mark.kind == "end":
        return {**base, "label": label, "fillcolor": "white", "color": "white", "margin": "0.02,0.02"}
    return {**base, "label": label, "shape": "octagon", "fillcolor": "white", "penwidth": "2", "margin": "0.02,0.02"}


def _draw_boxes(drawing: graphviz.Digraph, content: Sketch) -> None:
    modules: dict[str | None, list[LayerBox]] = {}
    for box in content.boxes:
        modules.setdefault(box.module, []).append(box)
    for module, boxes in modules.items():
        if module is None or len(boxes) == 1:
            for box in boxes:
                drawing.node(node_name(box.key), **_box(box, module))
            continue
        with drawing.subgraph(name=f"cluster_{node_name(module)}") as cluster:
            cluster.attr(
                label=f"<{bold(module)}>",
                style="rounded,filled",
                fillcolor="#fbfcfd",
                color=LINE,
                fontcolor=FAINT,
                labeljust="l",
                labelloc="b",
                margin="10",
            )
            for box in boxes:
                cluster.node(node_name(box.key), **_box(box, None))


def _hang_loose_boxes(drawing: graphviz.Digraph, content: Sketch) -> None:
    """Puts the boxes that no arrow meets below the outputs: else they would stand beside the loss."""
    joined = {end for arrow in content.arrows for end in (arrow.tail, arrow.head)}
    objective = next((mark.key for mark in content.marks if mark.kind == "objective"), None)
    for box in content.boxes:
        if objective is not None and box.key not in joined:
            drawing.edge(node_name(objective), node_name(box.key), style="invis", minlen="3")


def _box(box: LayerBox, module: str | None) -> dict[str, str]:
    title = box.title if module is None else f"{module}/{box.title}"
    base = {"tooltip": tip(_whole_names(box)), "fillcolor": PAPER[box.status], "color": INK[box.status]}
    if box.is_quiet:
        count = wording.counted(len(box.variables), "frozen variable" if box.status == "frozen" else "variable")
        frozen = sum(1 for verdict in box.variables if verdict.status == "frozen")
        count += f", {frozen} frozen" if 0 < frozen < len(box.variables) else ""
        label = stacked(bold(title), (f"{SIGN[box.status]} {count}",))
        return {**base, "label": label, "style": "rounded,filled", "color": LINE, "fontcolor": FAINT}
    return {**base, "label": _broken_label(box, title), "shape": "plain"}


def _whole_names(box: LayerBox) -> str:
    """The tooltip: the variables of an open box, the layers of a closed one."""
    if box.is_open:
        names = [f"{verdict.path} {verdict.status}" for verdict in box.variables]
    else:
        inside = set(box.layers)
        names = [layer for layer in box.layers if layer.rpartition("/")[0] not in inside]
        names.append(status_counts(box.variables))
    cut = [*names[: _NAMES - 1], f"… {len(names) - _NAMES} more", names[-1]] if len(names) > _NAMES else names
    return "\n".join(map(inert, cut))


def _broken_label(box: LayerBox, title: str) -> str:
    """A table: the layer's name on its colour, then its variables with their marks."""
    ink, paper = INK[box.status], PAPER[box.status]
    rows = box.rows() if box.is_open else ()
    lines = "".join(_row(row) for row in rows[:_ROWS])
    if not box.is_open:
        lines = f'<TR><TD COLSPAN="3">{escaped(status_counts(box.variables))}</TD></TR>'
    elif len(rows) > _ROWS:
        lines += f'<TR><TD COLSPAN="3">… {len(rows) - _ROWS} more</TD></TR>'
    return (
        f'<<TABLE BORDER="2" COLOR="{ink}" BGCOLOR="{paper}" CELLBORDER="0" CELLSPACING="0" CELLPADDING="3">'
        f'<TR><TD COLSPAN="3" BGCOLOR="{ink}"> <FONT COLOR="white">{bold(title)}</FONT> </TD></TR>{lines}</TABLE>>'
    )


def _row(row: Row) -> str:
    ink = INK[row.status]
    shape = f" {TIMES} ".join(str(size) for size in row.shape) or "scalar"
    several = f"{len(row.paths)}{TIMES}  " if len(row.paths) > 1 else ""
    return (
        f'<TR><TD><FONT COLOR="{ink}"><B>{SIGN[row.status]}</B></FONT></TD>'
        f'<TD ALIGN="LEFT">{escaped(shorten(row.name, TITLE))}</TD>'
        f'<TD ALIGN="RIGHT"><FONT COLOR="{FAINT}" POINT-SIZE="9">{several}{shape}</FONT></TD></TR>'
    )


def _arrow(arrow: Arrow, broken: str) -> dict[str, str]:
    if arrow.is_broken:
        style = {"color": broken, "style": "dashed", "penwidth": "2", "arrowhead": "none"}
        return {**style, "tooltip": "the path ends here"}
    if arrow.kind == "none":
        style = {"color": _PALE, "style": "dashed", "penwidth": "1.2", "arrowhead": "none"}
        return {**style, "tooltip": "no gradient"}
    if arrow.kind == "participation":
        style = {"color": INK["participation-only"], "style": "dashed", "penwidth": "1.4"}
        return {**style, "tooltip": "gradient of a participation term or penalty"}
    return {"color": GREY, "penwidth": "1.2", "tooltip": "gradient"}
