"""Puts the page together: the template, its style, its scripts and the report's content as one inert text."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from importlib.resources import files
from string import Template
from typing import Any

from gradaudit.graph.report import Report
from gradaudit.reports.inert import inert, shorten
from gradaudit.reports.page.content import page_content

SCRIPTS = (
    "elements.js",
    "state.js",
    "folding.js",
    "layout.js",
    "lines.js",
    "map.js",
    "moves.js",
    "table.js",
    "matrix.js",
    "details.js",
    "start.js",
)
"""One purpose each, joined in this order inside of one function."""

_TITLE = 80
_IN_SCRIPTS = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}
"""Within a script element nothing is markup but its end and a comment; in JSON these stand inside of strings alone."""


def render_page(report: Report) -> str:
    """The report as one HTML document that loads nothing: encode it as UTF-8.

    It reads the files that the report's findings and terms name as sources, for the lines around them; a file that
    cannot be read is left out.
    """
    style = _part("page.css")
    script = '(() => {\n"use strict";\n' + "\n".join(map(_part, SCRIPTS)) + "\n})();\n"
    names = ", ".join(dict.fromkeys(audit.subject for audit in report.audits))
    return Template(_part("page.html")).substitute(
        policy=f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; base-uri 'none'; "
        "form-action 'none'",
        title=html.escape(shorten(inert(names), _TITLE)),
        style=style,
        script=script,
        content=_json(page_content(report)),
    )


def _part(name: str) -> str:
    return files("gradaudit.reports.page").joinpath(name).read_text("utf-8")


def _hash(text: str) -> str:
    """What the content security policy knows an element by."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _json(content: dict[str, Any]) -> str:
    """The content as JSON in ASCII, inert within a script element."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    for character, escape in _IN_SCRIPTS.items():
        text = text.replace(character, escape)
    return text
