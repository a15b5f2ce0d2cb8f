"""The formats of a report by name, but for the one for people at terminals."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gradaudit.graph.report import Report
from gradaudit.reports.github import render_github
from gradaudit.reports.json_report import render_json
from gradaudit.reports.junit import render_junit
from gradaudit.reports.markdown import render_markdown
from gradaudit.reports.sarif import render_sarif

FORMATS: Mapping[str, Callable[[Report], str]] = {
    "json": render_json,
    "markdown": render_markdown,
    "sarif": render_sarif,
    "junit": render_junit,
    "github": render_github,
}

ENDINGS: Mapping[str, str] = {"json": "json", "markdown": "md", "sarif": "sarif", "junit": "xml"}
"""How the files are called that `--report` writes: annotations are no file."""
