"""The matrices as CSV, a row for each variable: the loss terms of an audit, and the statuses in several audits."""

from __future__ import annotations

import csv
import io

from gradaudit.graph.report import Audit, Report
from gradaudit.reports.inert import inert


def render_matrix(audit: Audit) -> str:
    """Which term trains which variable: 1 where its gradient arrives, 0 where it does not.

    A term's column bears its name, with that of its loss before it where there are several.
    """
    columns = [(objective.name, term.name) for objective in audit.objectives for term in objective.terms]
    several = len(audit.objectives) > 1
    file = io.StringIO()
    rows = csv.writer(file, lineterminator="\n")
    names = [f"{objective}: {term}" if several else term for objective, term in columns]
    rows.writerow(["variable", "status", "tape", *map(inert, names)])
    for verdict in audit.variables:
        cells = [int(column in verdict.trained_by) for column in columns]
        rows.writerow([inert(verdict.path), verdict.status, verdict.tape, *cells])
    return file.getvalue()


def render_scenarios(report: Report) -> str:
    """The status of each variable in each audit; nothing stands where the audit has no such variable."""
    statuses = [{verdict.path: verdict.status for verdict in audit.variables} for audit in report.audits]
    file = io.StringIO()
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(["variable", *(inert(audit.name) for audit in report.audits)])
    for path in dict.fromkeys(path for audit in statuses for path in audit):
        rows.writerow([inert(path), *(audit.get(path) for audit in statuses)])
    return file.getvalue()
