"""The gradient graph of an audit in the format, and with as much of it, as somebody asks for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from gradaudit.errors import ConfigError
from gradaudit.graph.patterns import matches_any
from gradaudit.graph.report import Audit
from gradaudit.reports.graph_data import render_graphml, render_node_link
from gradaudit.reports.op_flows import OpFlows
from gradaudit.reports.op_picture import draw_ops
from gradaudit.reports.op_sketch import sketch_ops
from gradaudit.reports.op_view import layer_names
from gradaudit.reports.picture import draw_sketch, render_picture
from gradaudit.reports.sketch import sketch

_SHOWN = 4
"""Names that an error lists."""


@dataclass(frozen=True)
class GraphRequest:
    """What is to be drawn, and in which of the formats "dot", "svg", "png", "pdf", "graphml" and "json".

    `focus` is the path of a variable, `around` that of a layer; each may also be the end of one path alone, or a glob
    that matches one path alone, or the end of one. GraphML and JSON hold the whole graph, whatever else is asked for.
    """

    form: str = "dot"
    level: Literal["layer", "op"] = "layer"
    focus: str | None = None
    around: str | None = None


@dataclass(frozen=True)
class GraphFile:
    """The content of a file, and what of the graph is not in it: clauses for a person."""

    content: bytes
    left_out: tuple[str, ...] = ()


def render_graph(audit: Audit, request: GraphRequest) -> GraphFile:
    """The graph of an audit as a file. The same audit gives the same bytes, but for pictures of another Graphviz.

    Raises:
        ConfigError: there is no such variable or layer, or more than one.
        OutputError: Graphviz cannot draw it.
    """
    if request.form == "graphml":
        return GraphFile(render_graphml(audit).encode())
    if request.form == "json":
        return GraphFile(render_node_link(audit).encode())
    dot, left_out = _drawn(audit, request)
    if request.form == "dot":
        return GraphFile(dot.encode(), left_out)
    picture: Literal["svg", "png", "pdf"] = (
        "svg" if request.form == "svg" else "png" if request.form == "png" else "pdf"
    )
    return GraphFile(_undated(render_picture(dot, picture)), left_out)


def _drawn(audit: Audit, request: GraphRequest) -> tuple[str, tuple[str, ...]]:
    if request.level == "layer":
        layers = sketch(audit)
        return draw_sketch(audit, layers), layers.left_out
    flows = OpFlows(audit)
    paths = [verdict.path for verdict in audit.variables]
    focus = None if request.focus is None else _found(request.focus, paths, "variable")
    around = None if request.around is None else _found(request.around.strip("/"), layer_names(flows), "layer")
    content = sketch_ops(flows, focus=focus, around=around)
    return draw_ops(audit, content), content.left_out


def _found(wanted: str, names: Sequence[str], noun: str) -> str:
    """The name that is meant: this one, or the only one that it matches, or the end of which it matches."""
    if wanted in names:
        return wanted
    ends = (wanted, f"*/{wanted}") if wanted else ()
    found = [name for name in names if matches_any(name, ends)]
    if len(found) == 1:
        return found[0]
    if found:
        raise ConfigError(f"{wanted!r} means {len(found)} {noun}s: {_some(found)}. Write more of the path.")
    near = [name for name in names if wanted and wanted in name] or get_close_matches(wanted, names, _SHOWN, 0.5)
    hint = f"; the nearest: {_some(near)}." if near else f"; it has {_some(names)}." if names else "."
    raise ConfigError(f"The step has no {noun} {wanted!r}{hint}")


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown}, and {len(names) - _SHOWN} more"


def _undated(picture: bytes) -> bytes:
    """A PDF without the time at which it was made, and as long as before: two runs give the same bytes."""
    return re.sub(rb"(?<=/CreationDate \(D:)[^)]*", lambda date: re.sub(rb"\d", b"0", date[0]), picture)
