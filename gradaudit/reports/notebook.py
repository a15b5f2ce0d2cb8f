"""How an audit shows itself in a notebook: the terminal's report, in colour."""

from __future__ import annotations

from gradaudit.environment import tool, versions
from gradaudit.graph.report import Audit, Report
from gradaudit.reports.terminal import render_html


class ShownAudit(Audit):
    """An audit with the method by which notebooks ask an object for HTML."""

    def _repr_html_(self) -> str:
        return render_html(Report(tool(), versions(), (self,)))
