"""GA302: variables of a status that `fail-on` lists and that no other rule reports."""

from collections.abc import Iterable, Iterator

from gradaudit.graph.verdicts import Finding, Group
from gradaudit.rules.rule import Rule

RULE = Rule(code="GA302", title="variable of a status that fails the run", severity="error")


def findings(groups: Iterable[Group]) -> Iterator[Finding]:
    """A finding for each group of variables of such a status."""
    for group in groups:
        yield RULE.finding(group.message, variables=group.variables, about=(group.status,), fix=group.fix, group=group)
