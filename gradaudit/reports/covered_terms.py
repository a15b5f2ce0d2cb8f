"""What participation terms cover, term by term: a section of every report on a step that has such terms."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group
from rich.text import Text

from gradaudit.graph.coverage import TermCoverage
from gradaudit.graph.report import Audit
from gradaudit.reports import wording
from gradaudit.reports.console import card, place
from gradaudit.reports.inert import inert

_SHOWN_MEMBERS = 8


def cover_headline(audit: Audit) -> Text:
    """How many of the variables that nothing else gives a gradient the terms cover."""
    return Text(inert(wording.cover_headline(audit)), "disconnected" if audit.coverage.uncovered else "good")


def term_cards(audit: Audit) -> Iterator[Group]:
    """An entry for each term: its weight, its line, what it covers and what it pulls on besides."""
    several = len({term.objective for term in audit.coverage.terms}) > 1
    for term in audit.coverage.terms:
        facts = list(_facts(term))
        if several:
            (loss,) = (loss for loss in audit.objectives if loss.name == term.objective)
            facts.insert(0, ("of", Text(inert(f"{loss.name}, {loss.source}" if loss.source else loss.name))))
        weight = f"weight {wording.weight_of(term.weight)}, covers {len(term.covers) + len(term.silences)}"
        right = Text.assemble((weight, "aside"), ("  GA402", "warning") if term.idle_because else "")
        yield card(Text(inert(term.name), "participation-only"), right, facts)


def _facts(term: TermCoverage) -> Iterator[tuple[str, Text]]:
    for label, paths in (("covers", term.covers), ("silences", term.silences)):
        for line in wording.by_layer(paths, _SHOWN_MEMBERS):
            yield label, Text(inert(line))
    if term.idle_because is not None:
        yield "idle", Text(f"{term.idle_because}: leave it out", "warning")
    if term.also:
        yield "also", Text(f"pulls on {wording.counted(term.also, 'variable')} that task terms train")
    if term.silences:
        yield "weight", Text("0: it silences the warning, and trains nothing")
    if term.source is not None:
        yield "where", place(str(term.source), term.source.function)
