"""GA401: a participation term under an optimizer that makes it count."""

from collections.abc import Iterable, Iterator

from gradaudit.graph.participation_cost import ParticipationCost
from gradaudit.graph.verdicts import Finding
from gradaudit.rules.rule import Rule, known

RULE = Rule(code="GA401", title="participation term under an optimizer that makes it count", severity="warning")


def findings(costs: Iterable[ParticipationCost]) -> Iterator[Finding]:
    """A finding for each optimizer under which the terms are no formality."""
    for cost in costs:
        if cost.counts:
            names = tuple(term.name for term in cost.terms)
            yield RULE.finding(
                f"{'; '.join(cost.told.values())}. Freeze the layers instead, or give their outputs targets",
                variables=(*cost.covered, *cost.silenced),
                about=(cost.optimizer.name, *names),
                sources=known(*(term.source for term in cost.terms)),
            )
