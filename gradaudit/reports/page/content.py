"""What the page knows: a report as plain values, small enough for a file of thousands of variables and ops."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gradaudit.graph.groups import common_layer
from gradaudit.graph.report import Audit, Report
from gradaudit.graph.verdicts import MEANING, Block, Finding, Group, Objective, Source, Term
from gradaudit.reports import wording
from gradaudit.reports.inert import inert, shorten
from gradaudit.reports.page.boxes import Box
from gradaudit.reports.page.source_lines import source_lines
from gradaudit.reports.page.ways import Tree, ways_to_variables
from gradaudit.reports.page.wiring import wire
from gradaudit.reports.picture import SIGN
from gradaudit.reports.scenario_table import row_label

_LONGEST = 2000
"""Characters of a name or a message that are kept: what is longer nobody reads, and it would swell the file."""

_MEMBERS = 8
_PLACES = 6


def page_content(report: Report) -> dict[str, Any]:
    """Everything that the page shows; text from outside has its unseen characters written as escapes."""
    content = {
        "version": report.tool.get("version", ""),
        "environment": [f"{name} {version}" for name, version in sorted(report.environment.items())],
        "statuses": [
            [status, MEANING[status], status in wording.QUIET, SIGN[status]] for status in wording.REPORTING_ORDER
        ],
        "audits": [_audit(audit) for audit in report.audits],
        "scenarios": _scenarios(report) if len(report.audits) > 1 else None,
        "code": [[file, list(lines.items())] for file, lines in source_lines(_sources(report))],
    }
    shown: dict[str, Any] = _inert(content)
    return shown


def _inert(value: Any) -> Any:
    if isinstance(value, str):
        return inert(shorten(value, _LONGEST))
    if isinstance(value, dict):
        return {key: _inert(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_inert(entry) for entry in value]
    return value


def _audit(audit: Audit) -> dict[str, Any]:
    groups = wording.ordered_groups(audit)
    wiring, tree = wire(audit), ways_to_variables(audit)
    columns = {(loss.name, term.name): place for place, (loss, term) in enumerate(_columns(audit))}
    group_of = {(group.status, path): place for place, group in enumerate(groups) for path in group.variables}
    return {
        "name": wording.name(audit),
        "title": wording.title(audit),
        "headline": wording.headline(audit),
        "facts": _facts(audit),
        "sum": wording.sum_line(audit),
        "keras": list(wording.keras_sentences(audit)),
        "notes": list(audit.notes),
        "how": wording.how_made(audit),
        "terms": [_term(loss, term, len(audit.objectives) > 1) for loss, term in _columns(audit)],
        "variables": [
            [
                verdict.path,
                list(verdict.shape),
                verdict.dtype,
                wording.REPORTING_ORDER.index(verdict.status),
                verdict.tape,
                [columns[column] for column in verdict.trained_by if column in columns],
                group_of.get((verdict.status, verdict.path), -1),
                tree.ends.get(verdict.path, -1),
                wiring.of_variable[place].number,
                verdict.parameters,
                verdict.probe,
            ]
            for place, verdict in enumerate(audit.variables)
        ],
        "groups": [_group(audit, group) for group in groups],
        "findings": [_finding(finding) for finding in wording.other_findings(audit)],
        "boxes": [_box(box) for box in wiring.root.below()],
        "lines": [[line.tail.number, line.head.number, line.kind] for line in wiring.lines],
        "ways": _ways(audit, tree, wiring.marks),
    }


def _facts(audit: Audit) -> list[str]:
    return [
        wording.counted(len(audit.variables), "variable"),
        f"{wording.rounded(audit.parameters)} parameters",
        wording.counted(len(wording.terms_of(audit)), "loss term"),
        *([audit.optimizer] if audit.optimizer else []),
        f"{audit.graph.number_of_nodes():,} tensors",
    ]


def _columns(audit: Audit) -> Iterator[tuple[Objective, Term]]:
    for objective in audit.objectives:
        for term in objective.terms:
            yield objective, term


def _term(objective: Objective, term: Term, several: bool) -> dict[str, Any]:
    return {
        "name": f"{objective.name}: {term.name}" if several else term.name,
        "kind": term.kind,
        "weight": wording.weight_of(term.weight),
        "trains": term.trains,
        "source": _source(term.source),
    }


def _group(audit: Audit, group: Group) -> dict[str, Any]:
    cause, finding = group.cause, wording.finding_of(audit, group)
    return {
        "heading": ", ".join(group.outputs) or group.layer or group.variables[0],
        "status": wording.REPORTING_ORDER.index(group.status),
        "rule": group.rule,
        "layer": group.layer if group.outputs else "",
        "members": list(wording.members(group, _MEMBERS)),
        "where": [list(place) for place in wording.places(group.sources)[:_PLACES]],
        "also": list(wording.other_breaks(group)[:_PLACES]),
        "covered": wording.family(group.terms) if group.terms else "",
        "why": group.message,
        "fix": group.fix,
        "accepted": [] if finding is None else list(wording.accepted(finding)),
        "silence": wording.silence_on(audit, group),
        "kind": cause.kind if cause is not None else "",
        "outputs": list(group.outputs),
        "sources": [_source(source) for source in _told(group)],
        "blocks": [[block.op_type, block.why, block.layer or "", _source(block.source)] for block in _blocks(group)],
    }


def _blocks(group: Group) -> tuple[Block, ...]:
    return () if group.cause is None else group.cause.blocks


def _told(group: Group) -> list[Source]:
    """The lines to show of a group: where its path ends, and where what it ends in is computed."""
    cause = [group.cause.source] if group.cause is not None else []
    blocks = [block.source for block in _blocks(group)]
    return list(dict.fromkeys(source for source in [*group.sources, *cause, *blocks] if source is not None))


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "rule": finding.rule,
        "severity": finding.severity,
        "heading": finding.heading or finding.message,
        "facts": [list(fact) for fact in finding.facts],
        "accepted": list(wording.accepted(finding)),
    }


def _box(box: Box) -> list[Any]:
    """A box's kind, title, status, rank, variables, boxes, details, whether it is open, and its layer's path."""
    return [
        box.kind,
        box.title,
        wording.REPORTING_ORDER.index(box.status),
        box.rank,
        box.variables,
        [child.number for child in box.children],
        list(box.details),
        int(box.is_open),
        box.paths[-1] if box.paths else "",
    ]


def _ways(audit: Audit, tree: Tree, marks: Mapping[str, Box]) -> dict[str, Any]:
    """The steps of all ways, with the words that they share once: op types, layers and sources."""
    words: dict[str, int] = {}
    sources: dict[Source, int] = {}
    steps = []
    for step in tree.steps:
        facts: dict[str, Any] = audit.graph.nodes.get(step.node, {})
        kind = facts.get("kind", "op")
        label = facts.get("op_type") or facts.get("label") or facts.get("path") or step.node
        layer, source = facts.get("layer"), facts.get("source")
        steps.append(
            [
                step.above,
                words.setdefault(str(label), len(words)),
                -1 if layer is None else words.setdefault(layer, len(words)),
                -1 if source is None else sources.setdefault(source, len(sources)),
                _STEP_KINDS.index(kind) + (len(_STEP_KINDS) if step.is_broken else 0),
                -1 if not facts.get("output") else words.setdefault(facts["output"], len(words)),
                marks[step.node].number if step.node in marks else -1,
            ]
        )
    return {"words": list(words), "sources": [_source(source) for source in sources], "steps": steps}


_STEP_KINDS = ("op", "objective", "term", "variable")


def _scenarios(report: Report) -> dict[str, Any]:
    rows = report.scenarios
    paths = [path for row in rows for path in row.variables]
    shared = common_layer(paths)
    return {
        "heading": f"In {shared}" if shared else "Variables",
        "headline": wording.scenarios_headline(rows).rstrip(":"),
        "rows": [
            {
                "label": row_label(row, paths, shared),
                "variables": list(row.variables),
                "statuses": [
                    -1 if status is None else wording.REPORTING_ORDER.index(status) for status in row.statuses
                ],
            }
            for row in rows
        ],
    }


def _source(source: Source | None) -> list[Any] | None:
    return None if source is None else [source.file, source.line, source.function]


def _sources(report: Report) -> Iterator[Source]:
    """The lines that the page shows code of: those of findings and terms."""
    for audit in report.audits:
        for group in wording.ordered_groups(audit):
            yield from _told(group)
        for _, term in _columns(audit):
            if term.source is not None:
                yield term.source
