"""Markdown, as a job summary or a pull request shows it: what is found first, long lists folded."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from gradaudit.graph.report import Audit, Report
from gradaudit.graph.verdicts import Finding, Group
from gradaudit.reports import wording
from gradaudit.reports.inert import inert

_MARKUP = re.compile(r"([\\`*_\[\]#|~:@$]|(?<=www)\.)")
"""What starts emphasis, code, links, mentions, formulas or cells of a table. A line of ours never begins with it."""


def render_markdown(report: Report) -> str:
    """The report in the Markdown of GitHub."""
    parts = [part for audit in report.audits for part in _section(audit)]
    if len(report.audits) > 1:
        parts += _scenarios(report)
    return "\n\n".join(parts) + "\n"


def _section(audit: Audit) -> Iterator[str]:
    yield f"## {plain(wording.title(audit))}"
    yield f"**{plain(wording.headline(audit))}**"
    for group in wording.ordered_groups(audit):
        yield _group(group, wording.finding_of(audit, group))
    for finding in wording.other_findings(audit):
        yield _finding(finding)
    if not wording.is_healthy(audit):
        yield _terms(audit)
        yield " ".join(plain(line) for line in (f"{wording.sum_line(audit)}.", *wording.keras_sentences(audit)))
    for note in audit.notes:
        yield f"Note: {plain(note)}"


def _group(group: Group, finding: Finding | None) -> str:
    name = ", ".join(group.outputs) or group.layer or group.variables[0]
    count = wording.counted(len(group.variables), "variable")
    grade = f"({group.rule})" if finding is None else _grade(finding)
    lines = [f"### {code(name)} {plain(f'{count}, {group.status}')} {grade}", ""]
    for place, function in wording.places(group.sources):
        lines.append(f"* **where** {code(place)}" + (f" in {code(function)}" if function else ""))
    lines += [f"* **why** {plain(group.message)}", *([f"* **fix** {plain(group.fix)}"] if group.fix else [])]
    lines += [f"* **accepted** {plain(reason)}" for reason in (wording.accepted(finding) if finding else ())]
    return "\n".join([*lines, "", *_folded(f"{count}", group.variables)])


def _finding(finding: Finding) -> str:
    lines = [f"### {plain(finding.heading or finding.title)} {_grade(finding)}", ""]
    lines += [f"* **where** {code(str(source))}" for source in finding.sources]
    lines += [f"* **{label}** {plain(text)}" for label, text in wording.lines_of(finding)]
    lines += [f"* **accepted** {plain(reason)}" for reason in wording.accepted(finding)]
    return "\n".join(lines)


def _grade(finding: Finding) -> str:
    grade = "accepted" if finding.is_suppressed else finding.severity
    return f"({finding.rule}, {grade})"


def _folded(title: str, paths: tuple[str, ...]) -> Iterator[str]:
    yield f"<details><summary>{html.escape(inert(title))}</summary>"
    yield ""
    yield from (f"* {code(path)}" for path in paths)
    yield ""
    yield "</details>"


def _terms(audit: Audit) -> str:
    rows = ["| loss | term | kind | weight | trains |", "|---|---|---|--:|--:|"]
    for objective in audit.objectives:
        for term in objective.terms:
            cells = (code(objective.name), code(term.name), term.kind, wording.weight_of(term.weight), term.trains)
            rows.append(f"| {' | '.join(str(cell).replace('|', BAR) for cell in cells)} |")
    return "\n".join(rows)


def _scenarios(report: Report) -> Iterator[str]:
    rows = report.scenarios
    yield f"## {len(report.audits)} audits"
    yield f"**{plain(wording.scenarios_headline(rows))}**"
    names = [code(audit.name).replace("|", BAR) for audit in report.audits]
    lines = [f"| variables | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for row in rows:
        title = code(row.layer or row.variables[0]).replace("|", BAR)
        statuses = " | ".join(status or "" for status in row.statuses)
        lines.append(f"| {title} ({len(row.variables)}) | {statuses} |")
    yield "\n".join(lines)


BAR = "\\|"
"""A bar inside a cell of a table."""


def plain(text: str) -> str:
    """Text that Markdown shows as it stands: no markup, no link, no mention, no HTML."""
    return _MARKUP.sub(r"\\\1", html.escape(inert(text), quote=False))


def code(text: str) -> str:
    """Text in a code span, fenced by more backticks than stand in it."""
    shown = inert(text)
    longest = max((len(run) for run in re.findall(r"`+", shown)), default=0)
    fence = "`" * (longest + 1)
    space = " " if shown.startswith("`") or shown.endswith("`") or not shown.strip() else ""
    return f"{fence}{space}{shown}{space}{fence}"
