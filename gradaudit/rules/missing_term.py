"""GA202: a term of a loss that the step reports, and that is missing from every differentiated one."""

from collections.abc import Iterable, Iterator

from gradaudit.graph.verdicts import Finding, MissingTerm
from gradaudit.rules.rule import Rule, known

RULE = Rule(
    code="GA202",
    title="term in the reported loss that is missing from the differentiated one",
    severity="warning",
)
_FIX = "Add it inside the tape, before the gradient is taken"


def findings(terms: Iterable[MissingTerm]) -> Iterator[Finding]:
    """A finding for each of the terms."""
    for term in terms:
        at = "" if term.source is None or str(term.source) in term.name else f" ({term.source})"
        added = "" if term.added is None else f", added at {term.added},"
        count = len(term.variables)
        would = f"would train {count} variable{'' if count == 1 else 's'}"
        yield RULE.finding(
            f"{term.name}{at}{added} {would}. {_FIX}",
            variables=term.variables,
            about=(term.name,),
            sources=known(term.added, term.source),
        )
