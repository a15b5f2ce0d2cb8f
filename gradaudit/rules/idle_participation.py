"""GA402: a participation term that gives a gradient to nothing that has none anyway."""

from collections.abc import Iterable, Iterator

from gradaudit.graph.coverage import TermCoverage
from gradaudit.graph.verdicts import Finding
from gradaudit.rules.rule import Rule, known

RULE = Rule(code="GA402", title="participation term that covers nothing new", severity="warning")


def findings(terms: Iterable[TermCoverage]) -> Iterator[Finding]:
    """A finding for each term that could be left out."""
    for term in terms:
        if term.idle_because is not None:
            at = "" if term.source is None else f" ({term.source})"
            yield RULE.finding(
                f"{term.name}{at}: {term.idle_because}. Leave it out", about=(term.name,), sources=known(term.source)
            )
