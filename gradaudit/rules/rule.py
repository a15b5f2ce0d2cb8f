"""What a rule is: a code, a severity, and the finding that it makes; most report the variables of one status."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from gradaudit.graph.verdicts import Finding, Group, Severity, Status


@dataclass(frozen=True)
class Rule:
    """A rule. `title` is its name in a few words."""

    code: str
    title: str
    severity: Severity

    def finding(
        self,
        message: str,
        *,
        variables: tuple[str, ...] = (),
        about: Iterable[str] = (),
        chain: tuple[str, ...] = (),
        heading: str = "",
        facts: tuple[tuple[str, str], ...] = (),
    ) -> Finding:
        """A finding; `about` is what tells it from others of this rule, whatever its message and its line."""
        parts = [self.code, *variables, *about]
        return Finding(
            rule=self.code,
            severity=self.severity,
            variables=variables,
            message=f"{self.title}: {message}",
            fingerprint=hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16],
            chain=chain,
            heading=heading,
            facts=facts,
        )


@dataclass(frozen=True)
class StatusRule(Rule):
    """A rule that reports variables of one status."""

    status: Status

    def of_group(self, group: Group) -> Finding:
        """The finding for a group of variables of this rule's status."""
        cause = group.cause
        why = "" if cause is None else f"{cause.kind} {cause.op_type} {cause.layer}"
        return self.finding(group.message, variables=group.variables, about=(why, *group.outputs))
