"""The report of `gradaudit cover`: what participation terms cover, what they leave, what they cost, what would help."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gradaudit.graph.participation_measured import Curves, MeasuredParticipation
from gradaudit.graph.report import Audit, Report
from gradaudit.graph.suggestion import Suggestion
from gradaudit.reports import wording
from gradaudit.reports.console import WIDEST, card, printed
from gradaudit.reports.covered_terms import cover_headline, term_cards
from gradaudit.reports.cures import cures
from gradaudit.reports.inert import inert
from gradaudit.reports.terminal import cost_cards, group_entry, heading

_SHOWN_MEMBERS = 8
_SHOWN_ROWS = 12


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
    parts: list[RenderableType] = [heading(audit), Text(), cover_headline(audit)]
    for term in term_cards(audit):
        parts += [Text(), term]
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


def _measured(found: MeasuredParticipation, plot: str | None) -> Iterator[RenderableType]:
    under = f" under {inert(found.optimizer)}" if found.optimizer else ""
    yield Text(f"Measured over {wording.counted(found.steps, 'step')}{under}, on {found.data}", "title")
    yield Text()
    furthest = sorted(found.kernels, key=lambda kernel: -(kernel.change.with_terms[-1] or 0))
    yield _columns(("kernel", "moved", "without"), [(kernel.path, *_moved(kernel.change)) for kernel in furthest])
    if found.outputs:
        yield Text()
        powers = [(each.name, _powers(each.power.with_terms), _powers(each.power.without)) for each in found.outputs]
        yield _columns(("model output", "power", "without"), powers)
    if found.trained:
        yield Text()
        yield Text(f"The {wording.counted(found.trained, 'variable')} that task terms train {_apart(found)}.")
    if plot is not None:
        yield Text.assemble(("Plot: ", "aside"), (inert(plot), "source"))


def _columns(titles: tuple[str, str, str], rows: Sequence[tuple[str, str, str]]) -> Padding:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="label")
    table.add_column(titles[0], overflow="fold")
    for title in titles[1:]:
        table.add_column(title, justify="right", no_wrap=True)
    for name, *cells in rows[:_SHOWN_ROWS]:
        table.add_row(Text(inert(name), "participation-only"), *map(Text, cells))
    if len(rows) > _SHOWN_ROWS:
        table.add_row(Text(f"{len(rows) - _SHOWN_ROWS} more, in the JSON report", "aside"))
    return Padding(table, (0, 0, 0, 2))


def _apart(found: MeasuredParticipation) -> str:
    """How far what trains lies apart in the end, and which variable the furthest."""
    last, of_worst = found.difference[-1], found.worst_difference[-1]
    if last == 0:
        return "end up the same, bit by bit"
    apart = f"end up {wording.share(last)} apart"
    if found.worst is None:
        return apart
    return f"{apart}; furthest {inert(found.worst)}, by {wording.share(of_worst)}"


def _moved(curves: Curves) -> tuple[str, str]:
    """How far a kernel has moved in the end, with the terms and without."""
    with_terms, without = (values[-1] for values in (curves.with_terms, curves.without))
    return _part_moved(with_terms), _part_moved(without)


def _part_moved(change: float | None) -> str:
    return "began at zero" if change is None else wording.share(change)


def _powers(values: Sequence[float | None]) -> str:
    """A power at the first step and at the last."""
    first, last = values[0], values[-1]
    return "not computed" if last is None else f"{_number(first)} → {_number(last)}"


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
    for title, lines in cures(audit, found):
        yield Text()
        yield Text(title, "title")
        # Code is to be copied: its lines stay whole, however narrow the terminal.
        code = "\n".join(f"    {inert(line)}" for line in lines)
        yield Text(code, "fix", no_wrap=True, overflow="ignore")
