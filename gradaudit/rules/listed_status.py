"""GA302: variables of a status that `fail-on` lists and that no other rule reports."""

from collections.abc import Collection, Iterator, Sequence

from gradaudit.graph.groups import common_layer
from gradaudit.graph.verdicts import Finding, Group, Status, Verdict
from gradaudit.rules.rule import Rule

RULE = Rule(code="GA302", title="variable of a status that fails the run", severity="error")
_FIXES: dict[Status, str] = {
    "connected": "freeze it, or take connected out of fail-on",
    "frozen": "make it trainable, or take frozen out of fail-on",
}


def findings(verdicts: Sequence[Verdict], fail_on: Collection[Status]) -> Iterator[Finding]:
    """A finding for each such status that a variable has."""
    for status, fix in _FIXES.items():
        paths = tuple(verdict.path for verdict in verdicts if verdict.status == status)
        if paths and status in fail_on:
            group = Group(
                status=status,
                variables=paths,
                layer=common_layer(paths),
                message=f"fail-on lists {status}",
                fix=fix,
                rule=RULE.code,
            )
            yield RULE.finding(group.message, variables=paths, about=(status,), fix=fix, group=group)
