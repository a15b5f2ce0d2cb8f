"""What a rule is: a code, a severity, the status that it reports, and the finding that it makes of a group."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from gradaudit.graph.verdicts import Finding, Group, Severity, Status


@dataclass(frozen=True)
class Rule:
    """A rule that reports variables of one status. `title` is its name in a few words."""

    code: str
    title: str
    status: Status
    severity: Severity

    def finding(self, group: Group) -> Finding:
        """The finding for a group of variables of this rule's status."""
        return Finding(
            rule=self.code,
            severity=self.severity,
            variables=group.variables,
            message=f"{self.title}: {group.message}",
            fingerprint=_fingerprint(self.code, group),
        )


def _fingerprint(code: str, group: Group) -> str:
    """Made of rule, variables and cause, so that a reworded message or a moved line changes nothing."""
    cause = group.cause
    parts = [
        code,
        *group.variables,
        "" if cause is None else f"{cause.kind} {cause.op_type} {cause.layer}",
        *group.outputs,
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
