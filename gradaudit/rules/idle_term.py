"""GA201: a term of a differentiated loss by which nothing trains."""

from collections.abc import Iterable, Iterator

from gradaudit.graph.verdicts import Finding, IdleTerm
from gradaudit.rules.rule import Rule, known

RULE = Rule(code="GA201", title="loss term that reaches no trainable variable", severity="warning")


def findings(terms: Iterable[IdleTerm]) -> Iterator[Finding]:
    """A finding for each of the terms."""
    for term in terms:
        # A term without a name of its own is named after its line already.
        at = "" if term.source is None or str(term.source) in term.name else f" ({term.source})"
        yield RULE.finding(f"{term.name}{at}: {term.why}", about=(term.name,), sources=known(term.source))
