"""How an audit shows itself in a notebook: the terminal's report, in colour."""

from __future__ import annotations

from gradaudit.environment import tool, versions
from gradaudit.graph.report import Audit, Report
from gradaudit.reports.terminal import render_html


def shown_in_notebooks() -> None:
    """Let audits have the method by which notebooks ask an object for HTML.

    It is given to them from here, because the vocabulary of audits knows no report.
    """
    Audit._repr_html_ = _as_html  # type: ignore[attr-defined]


def _as_html(audit: Audit) -> str:
    return render_html(Report(tool(), versions(), (audit,)))
