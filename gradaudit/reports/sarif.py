"""SARIF 2.1.0, which code scanning reads: a result for each finding, with its line and the way from loss to break."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from gradaudit.graph.report import Audit, Report
from gradaudit.graph.verdicts import Cause, Finding, Source, Suppression
from gradaudit.reports import wording
from gradaudit.reports.json_report import json_text
from gradaudit.reports.repository import in_repository

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_SOURCE_ROOT = "SRCROOT"
_MEANT_BY_ROOT = "The root of the repository; the folder in which gradaudit ran, if it is in none."
"""There is no address beside it, for that would be one of the machine: whoever reads the log knows where it is."""
_ROOT = {"uri": ".", "uriBaseId": _SOURCE_ROOT}
"""The place of a finding of which no line at all is known."""
FINGERPRINT = "gradaudit/v1"


def render_sarif(report: Report) -> str:
    """The report as a SARIF log with one run for each audit. Encode it as UTF-8."""
    return json_text({"$schema": SCHEMA, "version": "2.1.0", "runs": [_run(report, audit) for audit in report.audits]})


def _run(report: Report, audit: Audit) -> dict[str, Any]:
    titles = {finding.rule: finding.title for finding in audit.findings}
    rules = sorted(titles)
    return {
        "tool": {
            "driver": {
                "name": report.tool["name"],
                "version": report.tool["version"],
                "rules": [{"id": rule, "shortDescription": {"text": titles[rule]}} for rule in rules],
            }
        },
        "automationDetails": {"id": f"gradaudit/{wording.name(audit)}/"},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {_SOURCE_ROOT: {"description": {"text": _MEANT_BY_ROOT}}},
        **({"invocations": [_invocation(audit)]} if audit.notes else {}),
        "results": [_result(audit, finding, rules.index(finding.rule)) for finding in audit.findings],
        "properties": {"subject": audit.subject, "scenario": audit.scenario},
    }


def _invocation(audit: Audit) -> dict[str, Any]:
    """The audit itself, with its remarks."""
    notes = [{"level": "note", "message": {"text": note}} for note in audit.notes]
    return {"executionSuccessful": True, "toolExecutionNotifications": notes}


def _result(audit: Audit, finding: Finding, index: int) -> dict[str, Any]:
    steps = list(_steps(audit, finding))
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "ruleIndex": index,
        "level": finding.severity,
        "message": {"text": _message(finding)},
        "locations": [_location(audit, finding)],
        "partialFingerprints": {FINGERPRINT: finding.fingerprint},
        "properties": {"variables": list(finding.variables)},
    }
    if steps:
        result["codeFlows"] = [{"threadFlows": [{"locations": steps}]}]
    if finding.is_suppressed:
        result["suppressions"] = [_suppression(each) for each in finding.suppressions]
    return result


def _message(finding: Finding) -> str:
    paths = finding.open_variables or finding.variables
    lines = [f"{finding.message}.", *([f"Variables: {', '.join(paths)}."] if paths else [])]
    return "\n".join([*lines, *([f"Fix: {finding.fix}."] if finding.fix else [])])


def _location(audit: Audit, finding: Finding) -> dict[str, Any]:
    logical = [{"fullyQualifiedName": path, "kind": "variable"} for path in finding.variables]
    source = next(_sources(audit, finding), None)
    place = {"artifactLocation": _ROOT} if source is None else _place(source)
    return {"physicalLocation": place, **({"logicalLocations": logical} if logical else {})}


def _sources(audit: Audit, finding: Finding) -> Iterator[Source]:
    """Where a finding can be shown, the best first: code scanning takes no log in which one result has no place.

    Its own lines, those that made the layers of its variables, those of the losses, and whatever of the step is known.
    """
    yield from finding.sources
    made = (audit.made_at.get(path.rpartition("/")[0]) for path in finding.variables)
    losses = (loss.source for loss in audit.objectives)
    ops = (source for _, source in audit.graph.nodes(data="source"))
    yield from (source for source in (*made, *losses, *audit.made_at.values(), *ops) if source is not None)


def _steps(audit: Audit, finding: Finding) -> Iterator[dict[str, Any]]:
    """The way from the loss to the break, a step for each line of code that it crosses."""
    cause = None if finding.group is None else finding.group.cause
    before = None
    for source, what in [*_on_the_way(audit, finding, cause), *_breaks(finding, cause)]:
        if source is not None and source != before:
            before = source
            yield {"location": {"physicalLocation": _place(source), "message": {"text": what}}}


def _on_the_way(audit: Audit, finding: Finding, cause: Cause | None) -> Iterator[tuple[Source | None, str]]:
    for node in finding.chain or (cause.chain if cause is not None else ()):
        facts = audit.graph.nodes[node]
        what = facts.get("path") or facts.get("label") or facts["op_type"]
        yield facts["source"], f"{what} in {facts['layer']}" if facts["layer"] else what


def _breaks(finding: Finding, cause: Cause | None) -> Iterator[tuple[Source | None, str]]:
    """Where ways to the loss are broken, and where the values end."""
    if cause is not None:
        for block in cause.blocks:
            yield block.source, f"{block.op_type}, which {block.why}"
        for source in finding.sources if cause.kind == "dead-end" else ():
            yield source, "here its values end"


def _place(source: Source) -> dict[str, Any]:
    path = PurePath(in_repository(source.file))
    uri = quote(path.as_posix(), errors="surrogatepass")
    artifact = {"uri": uri, "uriBaseId": _SOURCE_ROOT}
    if path.is_absolute():
        artifact = {"uri": f"file://{uri if uri.startswith('/') else f'/{uri}'}"}
    return {"artifactLocation": artifact, "region": {"startLine": source.line}}


def _suppression(suppression: Suppression) -> dict[str, Any]:
    kind = "inSource" if suppression.kind == "comment" else "external"
    return {"kind": kind, "status": "accepted", "justification": suppression.reason}
