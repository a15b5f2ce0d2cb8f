"""The explicit list of rules, in the order of their codes."""

from __future__ import annotations

from collections.abc import Iterable

from gradaudit.graph.verdicts import Finding, Group, Status
from gradaudit.rules import disconnected, not_updated, opaque, participation_only, untracked, zero_gradient
from gradaudit.rules.rule import Rule

RULES: tuple[Rule, ...] = (
    disconnected.RULE,
    zero_gradient.RULE,
    participation_only.RULE,
    untracked.RULE,
    not_updated.RULE,
    opaque.RULE,
)

RULE_CODES: dict[Status, str] = {rule.status: rule.code for rule in RULES}


def find(groups: Iterable[Group]) -> tuple[Finding, ...]:
    """The findings for all groups, by rule and then in the groups' order."""
    by_status = {rule.status: rule for rule in RULES}
    findings = [by_status[group.status].finding(group) for group in groups]
    return tuple(sorted(findings, key=lambda finding: finding.rule))
