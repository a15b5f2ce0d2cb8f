"""The report of `gradaudit cover`: what participation terms cover, what they leave, what they cost, what would help."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gradaudit.graph.coverage import TermCoverage
from gradaudit.graph.participation_measured import MeasuredParticipation, MeasuredTerm
from gradaudit.graph.report import Audit, Report
from gradaudit.graph.suggestion import Suggestion
from gradaudit.reports import wording
from gradaudit.reports.console import WIDEST, card, printed
from gradaudit.reports.inert import inert
from gradaudit.reports.terminal import cost_cards, group_entry, heading, place

_SHOWN_MEMBERS = 8


def render_cover(
    report: Report, *, color: bool = False, width: int = 100, plots: Mapping[str, str] | None = None
) -> str:
    """The report for a person at a terminal `width` columns wide.

    `plots` holds for the name of an audit's scenario (or subject) the path of the plot of what was measured.
    """
    columns = min(width, WIDEST)
    sections = [_section(audit, (plots or {}).get(wording.name(audit)), columns) for audit in report.audits]
    ruler = "\n\n" + "─" * columns + "\n\n"
    return ruler.join(printed(section, color=color, width=columns) for section in sections) + "\n"


def _section(audit: Audit, plot: str | None, columns: int) -> Group:
    answer = audit.coverage
    parts: list[RenderableType] = [heading(audit), Text(), _headline(audit)]
    for term in answer.terms:
        parts += [Text(), _term(audit, term)]
    uncovered = set(answer.uncovered)
    for group in wording.ordered_groups(audit):
        if not uncovered.isdisjoint(group.variables):
            parts += [Text(), group_entry(audit, group, columns)]
    for entry in cost_cards(audit):
        parts += [Text(), entry]
    if answer.covered and not audit.costs:
        parts += [Text(), Text("What that costs is not known: no optimizer of Keras applies the gradients.", "aside")]
    if audit.measured is not None:
        parts += [Text(), *_measured(audit.measured, plot)]
    if audit.suggestion is not None:
        parts += [Text(), *_suggestion(audit, audit.suggestion)]
    elif answer.uncovered:
        parts += [Text(), Text("--suggest looks for the outputs that would cover them.", "aside")]
    if audit.notes:
        parts += [Text(), *(Text(f"Note: {inert(note)}", "aside") for note in audit.notes)]
    return Group(*parts)


def _headline(audit: Audit) -> Text:
    return Text(inert(wording.cover_headline(audit)), "disconnected" if audit.coverage.uncovered else "good")


def _term(audit: Audit, term: TermCoverage) -> Group:
    facts: list[tuple[str, Text]] = []
    if len({each.objective for each in audit.coverage.terms}) > 1:
        (loss,) = (loss for loss in audit.objectives if loss.name == term.objective)
        facts.append(("of", Text(inert(f"{loss.name}, {loss.source}" if loss.source else loss.name))))
    for label, paths in (("covers", term.covers), ("silences", term.silences)):
        facts += [(label, Text(inert(line))) for line in wording.by_layer(paths, _SHOWN_MEMBERS)]
    if term.covers_nothing_new:
        facts.append(("covers", Text("nothing that task terms do not train anyway: leave it out", "warning")))
    if term.also:
        facts.append(("also", Text(f"pulls on {wording.counted(term.also, 'variable')} that task terms train")))
    if term.weight == 0:
        facts.append(("weight", Text("0: it silences the warning, and trains nothing")))
    if term.source is not None:
        facts.append(("where", place(str(term.source), term.source.function)))
    weight = f"weight {wording.weight_of(term.weight)}, covers {len(term.covers) + len(term.silences)}"
    right = Text.assemble((weight, "aside"), ("  GA402", "warning") if term.covers_nothing_new else "")
    return card(Text(inert(term.name), "participation-only"), right, facts)


def _measured(found: MeasuredParticipation, plot: str | None) -> Iterator[RenderableType]:
    under = f" under {inert(found.optimizer)}" if found.optimizer else ""
    yield Text(f"Measured over {wording.counted(found.steps, 'step')}{under}, on {found.data}", "title")
    yield Text()
    scope, names = _below_one_scope([term.name for term in found.terms])
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="label")
    table.add_column(inert(scope), overflow="fold")
    for title in ("kernels moved", "without", "output power", "without"):
        table.add_column(title, justify="right", no_wrap=True)
    for name, term in zip(names, found.terms, strict=True):
        table.add_row(Text(inert(name), "participation-only"), *map(Text, _measured_term(term)))
    yield Padding(table, (0, 0, 0, 2))
    if found.trained:
        yield Text()
        yield Text(f"The {wording.counted(found.trained, 'variable')} that task terms train {_apart(found)}.")
    if plot is not None:
        yield Text.assemble(("Plot: ", "aside"), (inert(plot), "source"))


def _apart(found: MeasuredParticipation) -> str:
    """How far what trains lies apart in the end, and which variable the furthest."""
    if found.difference[-1] == 0:
        return "end up the same, bit by bit"
    apart = f"end up {wording.share(found.difference[-1])} apart"
    if found.worst is None:
        return apart
    return f"{apart}; furthest {inert(found.worst)}, by {wording.share(found.worst_difference[-1])}"


def _below_one_scope(terms: Sequence[str]) -> tuple[str, list[str]]:
    """The scope that all terms stand in, and what they are called in it; "term" and the whole names if none is."""
    scopes = {term.partition("/")[0] for term in terms}
    if len(scopes) == 1 and all("/" in term for term in terms):
        return f"{scopes.pop()}/", [term.partition("/")[2] for term in terms]
    return "term", list(terms)


def _measured_term(term: MeasuredTerm) -> tuple[str, ...]:
    """The cells of a term's row: what moved, and the power before and after, with the term and without."""
    return (
        wording.share(term.change.with_terms[-1]),
        wording.share(term.change.without[-1]),
        *(f"{_number(power[0])} → {_number(power[-1])}" for power in (term.power.with_terms, term.power.without)),
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _suggestion(audit: Audit, found: Suggestion) -> Iterator[RenderableType]:
    if found.outputs:
        count = wording.counted(sum(len(output.covers) for output in found.outputs), "variable")
        outputs = wording.counted(len(found.outputs), "model output")
        yield Text(f"The participation of {outputs} would cover {count}", "title")
        yield Text()
        for output in found.outputs:
            facts = [("covers", Text(inert(line))) for line in wording.by_layer(output.covers, _SHOWN_MEMBERS)]
            yield card(Text(inert(output.name), "participation-only"), Text(f"covers {len(output.covers)}"), facts)
    elif audit.coverage.uncovered:
        yield Text("No model output could cover any of them", "title")
    if found.beyond:
        yield Text()
        yield Text(f"Out of reach of every output: {wording.counted(len(found.beyond), 'variable')}", "title")
        reasons: dict[str, list[str]] = {}
        for path, why in found.beyond.items():
            reasons.setdefault(why, []).append(path)
        for why, paths in reasons.items():
            variables = "\n".join(inert(line) for line in wording.by_layer(paths, _SHOWN_MEMBERS))
            yield card(Text(variables, "disconnected"), Text(), [("why", Text(inert(why)))])
    if audit.coverage.uncovered:
        yield from _cures(audit, found)
    if found.checked is not None:
        counts = ", ".join(f"{count} {status}" for status, count in found.checked.items() if count)
        yield Text()
        yield Text(
            f"Checked: with these outputs in its losses, as in the last piece of code, the step audits as {counts}.",
            "disconnected" if found.left else "good",
        )
    if found.left:
        yield Text(f"Not covered all the same: {inert(', '.join(wording.by_layer(found.left, _SHOWN_MEMBERS)))}.")
    if found.unchecked is not None:
        yield Text()
        yield Text(f"Not checked: {inert(found.unchecked)}", "warning")


def _cures(audit: Audit, found: Suggestion) -> Iterator[RenderableType]:
    for title, lines in wording.cures(audit, found):
        yield Text()
        yield Text(title, "title")
        # Code is to be copied: its lines stay whole, however narrow the terminal.
        code = "\n".join(f"    {inert(line)}" for line in lines)
        yield Text(code, "fix", no_wrap=True, overflow="ignore")
