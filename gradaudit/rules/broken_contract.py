"""GA203, GA204 and GA205: contracts of the project's own that the step breaks."""

from collections.abc import Iterable, Iterator

from gradaudit.graph.contracts import Breach, ContractKind
from gradaudit.graph.verdicts import Finding
from gradaudit.rules.rule import Rule, known

FORBIDDEN_PATH = Rule(code="GA203", title="forbidden path", severity="error")
NOT_TRAINED = Rule(code="GA204", title="variable that must train and does not", severity="error")
NOT_FROZEN = Rule(code="GA205", title="variable that must stay frozen and does not", severity="error")
RULES = (FORBIDDEN_PATH, NOT_TRAINED, NOT_FROZEN)
_OF_KIND: dict[ContractKind, Rule] = {
    "must-not-flow": FORBIDDEN_PATH,
    "must-train": NOT_TRAINED,
    "frozen": NOT_FROZEN,
}


def findings(breaches: Iterable[Breach]) -> Iterator[Finding]:
    """A finding for each contract that is broken, and each reason."""
    for breach in breaches:
        way = " > ".join(breach.way)
        yield _OF_KIND[breach.contract.kind].finding(
            f"{breach.message}{f', by way of {way}' if way else ''} (contract: {breach.contract})",
            variables=breach.variables,
            about=(str(breach.contract),),
            chain=breach.chain,
            sources=known(breach.source),
            heading=str(breach.contract),
            facts=(("broken", breach.message), *((("way", way),) if way else ())),
        )
