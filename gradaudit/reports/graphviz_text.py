"""Text from outside in Graphviz's languages, and the font and the greys that all drawings share."""

from __future__ import annotations

import html
import re

import graphviz

from gradaudit.reports.inert import inert, shorten

FONT = "DejaVu Sans,Verdana,Helvetica,Arial,sans-serif"
DARK = "#22282e"
FAINT = "#5f6b76"
GREY = "#9aa4ad"
LINE = "#c3cad1"
TITLE = 26
"""Characters of a name in a box: longer ones are cut, and stand as a whole in the tooltip."""


def node_name(key: str) -> str:
    """The key as a DOT identifier: a colon would name a port, a backslash start an escape, and & a character in SVG."""
    return inert(key).replace("\\", "/").replace(":", " ").replace("&", "&amp;")


def stacked(title: str, details: tuple[str, ...]) -> str:
    """A label of a title and smaller lines below it, as a table: mere line breaks crowd the smaller lines."""
    rows = "".join(
        f'<TR><TD><FONT POINT-SIZE="9.5" COLOR="{FAINT}">{escaped(detail)}</FONT></TD></TR>' for detail in details
    )
    return f'<<TABLE BORDER="0" CELLSPACING="0" CELLPADDING="1"><TR><TD> {title} </TD></TR>{rows}</TABLE>>'


def tip(text: str) -> str:
    """Text from outside as a tooltip: several lines stay so, a backslash is one, and neither <...> nor & is markup."""
    quoted: str = graphviz.escape("\n".join(inert(line) for line in text.replace("&", "&amp;").split("\n")))
    return quoted


def bold(text: str) -> str:
    """A name in bold, cut to the width of a box."""
    return f"<B>{escaped(shorten(inert(text), TITLE))}</B>"


def escaped(text: str) -> str:
    """Text from outside, inert and escaped for Graphviz's HTML-like labels, where an empty one is a syntax error."""
    plain = html.escape(inert(text))
    # Graphviz puts the node's name for a backslash and N even here, and so on; a tag keeps the two apart.
    return re.sub(r"\\([EGHLNT])", r"\\<FONT>\1</FONT>", plain) or " "
