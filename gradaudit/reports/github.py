"""GitHub annotations: a workflow command for each finding, which shows it beside the line of code."""

from __future__ import annotations

from collections.abc import Iterator

from gradaudit.graph.report import Audit, Report
from gradaudit.graph.verdicts import Finding, Severity
from gradaudit.reports import wording
from gradaudit.reports.inert import inert
from gradaudit.reports.repository import in_repository

_SHOWN_LAYERS = 8
_COMMANDS: dict[Severity, str] = {"error": "error", "warning": "warning", "note": "notice"}


def render_github(report: Report) -> str:
    """A line for each finding that nobody accepts, the worst first, or one that says that there is none; then notes."""
    return "".join(f"{line}\n" for audit in report.audits for line in _lines(audit))


def _lines(audit: Audit) -> Iterator[str]:
    found = [finding for finding in audit.findings if not finding.is_suppressed]
    for severity in _COMMANDS:
        yield from (_annotation(audit, finding) for finding in found if finding.severity == severity)
    if not found:
        yield f"::notice title={_property(wording.title(audit))}::{_data(wording.headline(audit))}"
    for note in audit.notes:
        yield f"::notice title={_property(wording.title(audit))}::Note: {_data(note)}"


def _annotation(audit: Audit, finding: Finding) -> str:
    properties = {"title": f"{finding.rule} {wording.title(audit)}"}
    if finding.sources:
        place = finding.sources[0]
        properties = {"file": in_repository(place.file), "line": str(place.line), **properties}
    lines = [finding.heading or _subject(finding), *(f"{label}: {text}" for label, text in wording.lines_of(finding))]
    listed = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{_COMMANDS[finding.severity]} {listed}::{'%0A'.join(_data(line) for line in lines)}"


def _subject(finding: Finding) -> str:
    variables = wording.by_layer(finding.open_variables, _SHOWN_LAYERS)
    return f"{finding.title}: {', '.join(variables)}" if variables else finding.title


def _data(text: str) -> str:
    return inert(text).replace("%", "%25")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
