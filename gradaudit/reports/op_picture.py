"""Draws ops with Graphviz: the ways of a gradient from the losses down, and in one strong colour where they end."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator

import graphviz

from gradaudit.graph.report import Audit
from gradaudit.graph.verdicts import MEANING, Status
from gradaudit.reports import wording
from gradaudit.reports.dead_ends import last_parts
from gradaudit.reports.graphviz_text import DARK, FAINT, FONT, GREY, LINE, TITLE, bold, escaped, stacked, tip
from gradaudit.reports.inert import inert, shorten
from gradaudit.reports.op_sketch import ARROW_MEANING, OpArrow, OpArrowKind, OpBox, OpSketch
from gradaudit.reports.picture import INK, PAPER, SIGN

_HEADLINE = 80
_SENTENCE = 110
_LINES = 4
_LEGEND_ITEMS = 4
_PALE = "#e3b09a"
_LEGEND_LINES: dict[OpArrowKind, str] = {
    "gradient": "──▸",
    "participation": "╌╌▸",
    "zero": "──▸",
    "opaque": "──┤",
    "blocked": "╌╌┤",
    "detached": "──┤",
    "none": "╌╌",
    "unneeded": "╌╌",
}
_ARROWS: dict[OpArrowKind, dict[str, str]] = {
    "gradient": {"color": GREY, "penwidth": "1.2"},
    "participation": {"color": INK["participation-only"], "style": "dashed", "penwidth": "1.4"},
    "zero": {"color": INK["zero-gradient"], "penwidth": "1.6"},
    "opaque": {"color": INK["opaque"], "penwidth": "1.6", "arrowhead": "tee"},
    "blocked": {"color": INK["disconnected"], "style": "dashed", "penwidth": "2", "arrowhead": "tee"},
    "detached": {"color": GREY, "penwidth": "1.2", "arrowhead": "tee"},
    "none": {"color": _PALE, "style": "dashed", "penwidth": "1.2", "arrowhead": "none"},
    "unneeded": {"color": LINE, "style": "dashed", "penwidth": "1.2", "arrowhead": "none"},
}


def draw_ops(audit: Audit, content: OpSketch) -> str:
    """A drawing of ops as DOT text. The same audit gives the same text."""
    drawing = graphviz.Digraph("gradaudit", strict=True)
    drawing.attr("graph", **_graph_attributes(audit, content))
    drawing.attr("node", fontname=FONT, fontsize="11", shape="box", style="filled", margin="0.1,0.05", height="0.28")
    drawing.attr("edge", fontname=FONT, fontsize="9", arrowsize="0.7", color=GREY)
    # Numbers, for a name would have to be kept from looking like a port, an escape or another name.
    names = {box.key: f"n{number}" for number, box in enumerate(content.boxes)}
    _draw_boxes(drawing, content, names)
    for arrow in content.arrows:
        drawing.edge(names[arrow.tail], names[arrow.head], **_arrow(arrow))
    return str(drawing.source)


def _graph_attributes(audit: Audit, content: OpSketch) -> dict[str, str]:
    return {
        "rankdir": "TB",
        "bgcolor": "white",
        "fontname": FONT,
        "fontsize": "12",
        "label": _label(audit, content),
        "labelloc": "t",
        "labeljust": "l",
        "tooltip": tip(wording.title(audit)),
        "nodesep": "0.25",
        "ranksep": "0.3",
        "pad": "0.25",
        "dpi": "96",
        "splines": "true",
        "newrank": "true",
        "outputorder": "edgesfirst",
    }


def _label(audit: Audit, content: OpSketch) -> str:
    """The headline, what is said of it, and what colours, marks and lines mean."""
    ink = INK[content.status]
    headline = escaped(shorten(inert(content.headline), _HEADLINE))
    rows = [f'<FONT POINT-SIZE="20" COLOR="{ink}"><B>{headline}</B></FONT>']
    rows.append(f'<FONT COLOR="{FAINT}">{escaped(shorten(inert(wording.title(audit)), _SENTENCE))}</FONT>')
    rows += [escaped(line) for sentence in content.sentences for line in _wrapped(inert(sentence))]
    items = list(_legend(content))
    rows += ["     ".join(items[start : start + _LEGEND_ITEMS]) for start in range(0, len(items), _LEGEND_ITEMS)]
    rows += [f'<FONT COLOR="{FAINT}">… {escaped(left)}</FONT>' for left in content.left_out]
    cells = "".join(f'<TR><TD ALIGN="LEFT">{row}</TD></TR>' for row in rows)
    return f'<<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="3">{cells}</TABLE>>'


def _wrapped(sentence: str) -> list[str]:
    return textwrap.wrap(sentence, _SENTENCE, max_lines=_LINES, placeholder=" …")


def _legend(content: OpSketch) -> Iterator[str]:
    shown = {box.status for box in content.boxes if box.holds_variables}
    for status in wording.REPORTING_ORDER:
        if status in shown:
            yield f'<FONT COLOR="{INK[status]}"><B>{SIGN[status]} {status}</B></FONT>  {MEANING[status]}'
    kinds = {arrow.kind for arrow in content.arrows}
    for kind, line in _LEGEND_LINES.items():
        if kind in kinds:
            yield f'<FONT COLOR="{_ARROWS[kind]["color"]}"><B>{line}</B></FONT>  {ARROW_MEANING[kind]}'
    if any(box.kind in ("run", "outside") for box in content.boxes):
        yield f'<FONT COLOR="{FAINT}"><B>dashed box</B></FONT>  ops that are not drawn one by one'


def _draw_boxes(drawing: graphviz.Digraph, content: OpSketch, names: dict[str, str]) -> None:
    """The boxes, those of one layer within its frame, and the frame of a layer within that of the one around it."""
    counts = Counter(box.place for box in content.boxes)
    frames = {place for place, count in counts.items() if place and count > 1}
    _draw_frame(drawing, "", frames, content.boxes, names)


def _draw_frame(
    drawing: graphviz.Digraph, frame: str, frames: set[str], boxes: tuple[OpBox, ...], names: dict[str, str]
) -> None:
    """What stands right in a frame, and the frames in it."""
    for box in boxes:
        if _frame_around(box.place, frames) == frame:
            drawing.node(names[box.key], **_box(box, box.place.removeprefix(frame).removeprefix("/")))
    inner = dict.fromkeys(box.place for box in boxes if box.place in frames)
    for place in inner:
        if _frame_around(place.rpartition("/")[0], frames) == frame:
            number = list(inner).index(place)
            with drawing.subgraph(name=f"cluster_{number}") as cluster:
                cluster.attr(**_frame(place, place.removeprefix(f"{frame}/")))
                _draw_frame(cluster, place, frames, boxes, names)


def _frame_around(place: str, frames: set[str]) -> str:
    """The innermost frame around a place; empty where there is none."""
    while place and place not in frames:
        place = place.rpartition("/")[0]
    return place


def _frame(place: str, title: str) -> dict[str, str]:
    return {
        "label": f"<{escaped(shorten(inert(title), TITLE * 2))}>",
        "style": "rounded,filled",
        "fillcolor": "#fbfcfd",
        "color": LINE,
        "fontcolor": FAINT,
        "fontsize": "10",
        "labeljust": "l",
        "labelloc": "b",
        "margin": "8",
        "tooltip": tip(place),
    }


def _box(box: OpBox, place: str) -> dict[str, str]:
    """How a box is drawn; `place` is said in it where no frame says it."""
    ink, paper = INK[box.status], PAPER[box.status]
    where = [last_parts(place, 2)] if place and box.kind != "run" else []
    details = tuple(shorten(inert(detail), TITLE * 2) for detail in (*box.details, *where))
    title = shorten(inert(box.title), TITLE)
    base = {"tooltip": tip(box.tooltip), "color": ink, "fillcolor": paper, "fontcolor": DARK}
    if box.kind == "objective":
        return {**base, "label": f"<{bold(title)}>", "shape": "ellipse", "fillcolor": DARK, "fontcolor": "white"}
    if box.kind == "end":
        return {**base, "label": stacked(_marked(title, box.status), details), "fillcolor": "white", "color": "white"}
    if box.kind == "variable":
        return {**base, **_variable(box, details)}
    if box.break_status is not None:
        ink = INK[box.break_status]
        shape = {"shape": "octagon", "fillcolor": "white", "color": ink, "penwidth": "2", "margin": "0.02,0.02"}
        return {**base, **shape, "label": stacked(_marked(title, box.break_status), details)}
    if box.kind in ("run", "outside"):
        faint = {"fillcolor": "white", "color": LINE, "style": "rounded,filled,dashed", "fontcolor": FAINT}
        return {**base, **faint, "label": stacked(escaped(title), details)}
    if box.kind == "op":
        return {**base, "label": stacked(escaped(title), details), "color": LINE}
    style = {"term": "rounded,filled", "output": "rounded,filled,bold", "layer": "rounded,filled"}[box.kind]
    return {
        **base,
        "label": stacked(bold(title), details),
        "style": style,
        "peripheries": "2" if box.kind == "layer" else "1",
    }


def _variable(box: OpBox, details: tuple[str, ...]) -> dict[str, str]:
    ink = INK[box.status]
    title = f'<FONT COLOR="{ink}"><B>{SIGN[box.status]}</B></FONT> {bold(box.title)}'
    return {"label": stacked(title, details), "penwidth": "3" if box.is_focus else "1.4", "style": "filled"}


def _marked(title: str, status: Status) -> str:
    return f'<FONT COLOR="{INK[status]}"><FONT POINT-SIZE="15"><B>{SIGN[status]}</B></FONT> {bold(title)}</FONT>'


def _arrow(arrow: OpArrow) -> dict[str, str]:
    return {**_ARROWS[arrow.kind], "tooltip": ARROW_MEANING[arrow.kind]}
