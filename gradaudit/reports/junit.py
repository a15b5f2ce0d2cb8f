"""JUnit XML: each variable is a test that it learns, and each other finding a test of its own."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree as Xml

from gradaudit.graph.report import Audit, Report
from gradaudit.graph.verdicts import Finding
from gradaudit.reports import wording
from gradaudit.reports.inert import inert


def render_junit(report: Report) -> str:
    """The report as one suite of tests for each audit. Encode it as UTF-8."""
    root = Xml.Element("testsuites", name="gradaudit")
    for audit in report.audits:
        suite = Xml.SubElement(root, "testsuite", name=inert(wording.title(audit)))
        others = wording.other_findings(audit)
        cases = [*_of_variables(audit), *(_of_finding(audit, each) for each in others)]
        suite.extend(cases)
        for element in (root, suite):
            _count(element, cases)
        if audit.notes:
            Xml.SubElement(suite, "system-out").text = "\n".join(f"Note: {inert(note)}" for note in audit.notes)
        suite.set("time", f"{sum(audit.seconds.values()):.3f}")
    Xml.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{Xml.tostring(root, encoding="unicode")}\n'


def _count(element: Xml.Element, cases: list[Xml.Element]) -> None:
    counts = {
        "tests": len(cases),
        "failures": sum(case.find("failure") is not None for case in cases),
        "skipped": sum(case.find("skipped") is not None for case in cases),
        "errors": 0,
    }
    for name, count in counts.items():
        element.set(name, str(int(element.get(name, "0")) + count))


def _of_variables(audit: Audit) -> Iterator[Xml.Element]:
    """A test for each variable; it fails where the run does."""
    about = {path: finding for finding in audit.findings if finding.group is not None for path in finding.variables}
    for verdict in audit.variables:
        case = _case(audit, "variables", verdict.path)
        finding = about.get(verdict.path)
        if finding is not None and verdict.path not in finding.open_variables:
            Xml.SubElement(case, "skipped", message=inert("; ".join(wording.accepted(finding))))
        elif finding is not None:
            _tell(case, finding, f"{verdict.path} is {verdict.status}")
        elif verdict.status == "frozen":
            Xml.SubElement(case, "skipped", message="frozen")
        yield case


def _of_finding(audit: Audit, finding: Finding) -> Xml.Element:
    case = _case(audit, finding.rule, finding.heading or finding.message)
    if finding.is_suppressed:
        Xml.SubElement(case, "skipped", message=inert("; ".join(wording.accepted(finding))))
    else:
        _tell(case, finding, finding.message)
    return case


def _tell(case: Xml.Element, finding: Finding, message: str) -> None:
    """What a finding says: a failure where the run fails on it, else something that a person may read."""
    lines = [f"{label}: {text}" for label, text in wording.lines_of(finding)]
    lines += [f"where: {source}" for source in finding.sources]
    text = "\n".join(inert(line) for line in lines)
    if finding.fails:
        Xml.SubElement(case, "failure", type=finding.rule, message=inert(message)).text = text
    else:
        Xml.SubElement(case, "system-out").text = f"{finding.rule} {finding.severity}\n{text}"


def _case(audit: Audit, kind: str, name: str) -> Xml.Element:
    return Xml.Element("testcase", classname=inert(f"gradaudit.{wording.name(audit)}.{kind}"), name=inert(name))
