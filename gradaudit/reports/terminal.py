"""The terminal report: findings first, one entry per cause, the sum last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gradaudit.graph import verdicts
from gradaudit.graph.report import Audit, Report
from gradaudit.graph.verdicts import STATUSES, Finding, Objective, Term
from gradaudit.reports import wording
from gradaudit.reports.console import WIDEST, as_html, card, place, printed
from gradaudit.reports.covered_terms import cover_headline, term_cards
from gradaudit.reports.inert import inert
from gradaudit.reports.scenario_table import scenario_table

COST_RULE = "GA401"
IDLE_RULE = "GA402"
"""What these say is told in cards of their own."""
_HEADING_SPACE = 8
"""Columns of an entry's first line that are indent and gaps."""

_SHOWN_MEMBERS = 8
_SHOWN_PLACES = 4
_SHOWN_PATHS = 12


def render_text(
    report: Report, *, color: bool = False, width: int = 100, pictures: Mapping[str, str] | None = None
) -> str:
    """The report for a person at a terminal `width` columns wide.

    `pictures` holds for the name of an audit's scenario (or subject) the path of its picture.
    """
    paths = pictures or {}
    columns = min(width, WIDEST)
    sections = [_section(audit, paths.get(wording.name(audit)), columns) for audit in report.audits]
    if len(report.audits) > 1:
        sections.append(_scenarios(report, columns))
    ruler = "\n\n" + "─" * columns + "\n\n"
    return ruler.join(printed(section, color=color, width=columns) for section in sections) + "\n"


def render_html(report: Report, *, width: int = 100) -> str:
    """The same as a piece of HTML, for a notebook."""
    return "".join(as_html(_section(audit, None, width), width=width) for audit in report.audits)


def _section(audit: Audit, picture: str | None, columns: int) -> Group:
    parts: list[RenderableType] = [heading(audit), Text(), _headline(audit)]
    for group in wording.ordered_groups(audit):
        parts += [Text(), group_entry(audit, group, columns)]
    for finding in wording.other_findings(audit):
        if finding.rule not in (COST_RULE, IDLE_RULE):
            parts += [Text(), _finding(finding)]
    for entry in cost_cards(audit):
        parts += [Text(), entry]
    if not wording.is_healthy(audit):
        parts += [Text(), *_coverage(audit), _terms(audit.objectives, len(audit.variables)), Text(), _sum(audit)]
    parts += _closing(audit, picture)
    return Group(*parts)


def heading(audit: Audit) -> Table:
    """What is audited, and its numbers."""
    facts = [
        wording.counted(len(audit.variables), "variable"),
        f"{wording.rounded(audit.parameters)} parameters",
        wording.counted(len(wording.terms_of(audit)), "loss term"),
    ]
    if audit.optimizer:
        facts.append(inert(audit.optimizer))
    grid = Table.grid(expand=True, padding=(0, 2, 0, 0))
    grid.add_column(overflow="fold")
    grid.add_column(justify="right", overflow="fold")
    grid.add_row(Text(inert(wording.title(audit)), "title"), Text(", ".join(facts), "aside"))
    return grid


def _headline(audit: Audit) -> Text:
    worst = next((status for status in wording.REPORTING_ORDER if audit.count(status)), "connected")
    return Text(wording.headline(audit), "good" if worst in wording.QUIET else worst)


def group_entry(audit: Audit, group: verdicts.Group, columns: int) -> Group:
    """One cause: what is cut off, where in the code, why, and what to do."""
    name = ", ".join(group.outputs) or group.layer or group.variables[0]
    finding = wording.finding_of(audit, group)
    facts = list(_facts(audit, group))
    if finding is not None and finding.is_suppressed:
        facts = facts[: 2 if group.outputs and group.layer else 1]
    if finding is not None:
        facts += [("accepted", Text(inert(reason))) for reason in wording.accepted(finding)]
    count = f"{wording.counted(len(group.variables), 'variable')}, {group.status}"
    rule = Text(group.rule, group.status)
    if len(name) + len(count) + len(rule) > columns - _HEADING_SPACE:
        return card(Text(inert(name), group.status), rule, [("status", Text(count)), *facts])
    return card(Text(inert(name), group.status), Text.assemble((f"{count}  ", "aside"), rule), facts)


def _facts(audit: Audit, group: verdicts.Group) -> Iterator[tuple[str, Text]]:
    """What is said of a cause, by labels: first which variables it is about."""
    if group.outputs and group.layer:
        yield "in", Text(inert(group.layer))
    yield "variables", Text(inert(", ".join(wording.members(group, _SHOWN_MEMBERS))))
    for where in wording.places(group.sources)[:_SHOWN_PLACES]:
        yield "where", place(*where)
    for words in wording.other_breaks(group)[:_SHOWN_PLACES]:
        yield "also", Text(inert(words))
    if group.terms:
        yield "covered by", Text(inert(wording.family(group.terms)))
    yield "why", Text(inert(group.message))
    if group.fix:
        yield "fix", Text(inert(group.fix), "fix")
    silence = wording.silence_on(audit, group)
    if silence:
        yield "Keras", Text(f"says nothing: {silence}")


def _finding(finding: Finding) -> Group:
    """A rule's word that belongs to no group: on a term, a layer or the optimizer."""
    grade = "accepted" if finding.is_suppressed else finding.severity
    right = Text.assemble((f"{grade}  ", "aside"), (finding.rule, finding.severity))
    facts = [(label, Text(inert(words))) for label, words in finding.facts]
    facts += [("accepted", Text(inert(reason))) for reason in wording.accepted(finding)]
    return card(Text(inert(finding.heading or finding.message), finding.severity), right, facts)


def cost_cards(audit: Audit) -> Iterator[RenderableType]:
    """What the participation terms cost, for each optimizer."""
    severities = {finding.rule: finding.severity for finding in audit.findings}
    for cost in audit.costs:
        facts = [(label, Text(inert(words))) for label, words in wording.cost_facts(cost)]
        right = Text()
        if cost.counts:
            severity = severities.get(COST_RULE, "warning")
            facts.append(("fix", Text("freeze the layers instead, or give their outputs targets", "fix")))
            right = Text.assemble((f"{severity}  ", "aside"), (COST_RULE, severity))
        name = Text(f"participation under {inert(cost.optimizer.name)}", "warning" if cost.counts else "good")
        yield card(name, right, facts)


def _coverage(audit: Audit) -> Iterator[RenderableType]:
    """Whether the participation terms cover everything that nothing else gives a gradient, and what each covers."""
    answer = audit.coverage
    if not answer.terms and not answer.gets_nothing:
        return
    yield cover_headline(audit)
    for entry in term_cards(audit):
        yield Text()
        yield entry
    if answer.terms and answer.uncovered:
        yield Text()
        lines = "\n".join(inert(line) for line in wording.by_layer(answer.uncovered, _SHOWN_PATHS))
        yield card(Text("not covered", "disconnected"), Text(), [("variables", Text(lines))])
    yield Text()


def _terms(objectives: tuple[Objective, ...], variables: int) -> Padding:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="label")
    several = len(objectives) > 1
    if several:
        table.add_column("loss", overflow="fold")
    table.add_column("term", overflow="fold")
    table.add_column("kind", no_wrap=True)
    table.add_column("weight", justify="right", no_wrap=True)
    table.add_column("trains", justify="right", no_wrap=True)
    for objective in objectives:
        for term in objective.terms:
            table.add_row(*([Text(inert(objective.name))] if several else []), *_term(term, variables))
    return Padding(table, (0, 0, 0, 2))


def _term(term: Term, variables: int) -> tuple[Text, ...]:
    style = {"task": "", "participation": "participation-only", "penalty": "aside"}[term.kind]
    reach = Text(f"{term.trains} of {variables}", "" if term.trains else "disconnected")
    return Text(inert(term.name), style), Text(term.kind, style), Text(wording.weight_of(term.weight)), reach


def _sum(audit: Audit) -> Group:
    lines = [Text(f"{wording.sum_line(audit)}.", "title")]
    return Group(*lines, *(Text(sentence) for sentence in wording.keras_sentences(audit)))


def _closing(audit: Audit, picture: str | None) -> Iterator[Text]:
    for note in audit.notes:
        yield Text(f"Note: {inert(note)}", "aside")
    if not wording.is_healthy(audit):
        yield Text(wording.how_made(audit), "aside")
    if picture:
        yield Text.assemble(("Picture: ", "aside"), (inert(picture), "source"))


def _scenarios(report: Report, columns: int) -> Group:
    """One row per audit and one column per status that occurs; then the variables, and their status in each audit."""
    shown = [status for status in STATUSES if any(audit.count(status) for audit in report.audits)]
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="label")
    table.add_column("scenario", overflow="fold")
    table.add_column("variables", justify="right")
    for status in shown:
        table.add_column(status, justify="right")
    for audit in report.audits:
        counts = [Text(str(audit.count(status) or "-"), status if audit.count(status) else "aside") for status in shown]
        table.add_row(Text(inert(wording.name(audit))), Text(str(len(audit.variables))), *counts)
    counts_table = Padding(table, (0, 0, 0, 2))
    return Group(
        Text(f"{len(report.audits)} audits", "title"), Text(), counts_table, Text(), scenario_table(report, columns)
    )
