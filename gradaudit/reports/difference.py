"""What two reports differ in, for a terminal and as Markdown for a pull request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.text import Text

from gradaudit.graph.difference import AuditDifference, Difference, Told
from gradaudit.reports import wording
from gradaudit.reports.console import WIDEST, card, printed
from gradaudit.reports.inert import inert
from gradaudit.reports.markdown import code, plain

_SHOWN = 20
_STYLES = {"new": "disconnected", "missing": "disconnected", "fixed": "good", "changed": "warning"}


def render_difference(found: Difference, *, color: bool = False, width: int = 100) -> str:
    """The difference for a person at a terminal `width` columns wide."""
    columns = min(width, WIDEST)
    parts: list[RenderableType] = [Text(_headline(found), "disconnected" if found.fails else "good")]
    for audit in found.audits:
        if not audit.is_empty:
            parts += [Text(), Text(inert(audit.name), "title")]
            parts += [part for entry in _entries(audit) for part in (Text(), _card(entry))]
    return printed(Group(*parts), color=color, width=columns) + "\n"


def render_difference_markdown(found: Difference) -> str:
    """The difference in the Markdown of GitHub."""
    lines = [f"**{plain(_headline(found))}**"]
    for audit in found.audits:
        if not audit.is_empty:
            lines += ["", f"### {code(audit.name)}", ""]
            for entry in _entries(audit):
                lines.append(f"* **{entry.label}** {plain(entry.text)}")
                lines += [f"  * {plain(line)}" for line in entry.variables]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class _Entry:
    """One thing that differs, and the variables that it is about, layer by layer."""

    label: str
    text: str
    variables: tuple[str, ...] = ()


def _headline(found: Difference) -> str:
    if all(audit.is_empty for audit in found.audits):
        return "Nothing changed"
    counts = {
        "new": sum(len(audit.new) for audit in found.audits),
        "fixed": sum(len(audit.fixed) for audit in found.audits),
        "changed": sum(len(audit.changed) for audit in found.audits),
    }
    errors = sum(each.is_error for audit in found.audits for each in audit.new)
    graver = f" ({wording.counted(errors, 'error')})" if errors else ""
    missing = f", {wording.counted(len(found.missing), 'audit')} missing" if found.missing else ""
    return f"{counts['new']} new{graver}, {counts['fixed']} fixed, {counts['changed']} changed{missing}"


def _card(entry: _Entry) -> RenderableType:
    facts = [("variables", Text(inert(line))) for line in entry.variables]
    return card(Text(f"{entry.label}: {inert(entry.text)}", _STYLES.get(entry.label, "")), Text(), facts)


def _entries(audit: AuditDifference) -> Iterator[_Entry]:
    if audit.only_in == "new":
        yield _Entry("audit", "only the new report has it")
    if audit.only_in == "old":
        yield _Entry("missing", "only the old report has this audit; of what it found, nothing is known to be fixed")
    yield from _of_findings("new", audit.new)
    yield from _of_findings("fixed", audit.fixed)
    changes: dict[tuple[str, str], list[str]] = {}
    for change in audit.changed:
        changes.setdefault((change.before, change.after), []).append(change.variable)
    for (before, after), paths in changes.items():
        yield _Entry("changed", f"{before} → {after}", wording.by_layer(paths, _SHOWN))
    for label, added in (("added", audit.added), ("removed", audit.removed)):
        if added:
            yield _Entry(label, wording.counted(len(added), "variable"), wording.by_layer(added, _SHOWN))


def _of_findings(label: str, told: Iterable[Told]) -> Iterator[_Entry]:
    """Those of one message together."""
    messages: dict[tuple[str, str], list[str]] = {}
    for each in told:
        messages.setdefault((each.rule, each.message), []).extend([each.variable] if each.variable else [])
    for (rule, message), paths in messages.items():
        yield _Entry(label, f"{rule} {message}", wording.by_layer(paths, _SHOWN))
