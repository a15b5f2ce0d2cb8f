"""GA301: a contract that matches nothing."""

from collections.abc import Iterable, Iterator

from gradaudit.graph.contracts import Unmatched
from gradaudit.graph.verdicts import Finding
from gradaudit.rules.rule import Rule

RULE = Rule(code="GA301", title="contract that matches nothing", severity="error")


def findings(unmatched: Iterable[Unmatched]) -> Iterator[Finding]:
    """A finding for each pattern that speaks of nothing."""
    for each in unmatched:
        message = each.message.removesuffix(".")
        yield RULE.finding(
            f"{message} (contract: {each.contract})",
            about=(str(each.contract), each.message),
            heading=str(each.contract),
            facts=(("unmatched", message),),
        )
