"""GA301: a contract, suppression or baseline entry that matches nothing."""

from collections.abc import Iterable, Iterator

from gradaudit.graph.contracts import Unmatched
from gradaudit.graph.verdicts import Finding
from gradaudit.rules.rule import Rule, known

RULE = Rule(code="GA301", title="contract, suppression or baseline entry that matches nothing", severity="error")


def findings(unmatched: Iterable[Unmatched]) -> Iterator[Finding]:
    """A finding for each of them."""
    for each in unmatched:
        message = each.message.removesuffix(".")
        yield RULE.finding(
            f"{message} ({each.about})",
            about=(each.about, each.part),
            heading=each.about,
            facts=(("unmatched", message),),
            sources=known(each.source),
        )
