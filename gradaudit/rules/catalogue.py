"""The explicit list of rules, in the order of their codes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gradaudit.graph.contracts import ContractsKept
from gradaudit.graph.coverage import TermCoverage
from gradaudit.graph.participation_cost import ParticipationCost
from gradaudit.graph.verdicts import Cause, Finding, Group, IdleTerm, MissingTerm, Status, UnbuiltLayer, UnregisteredOp
from gradaudit.rules import (
    broken_contract,
    disconnected,
    idle_participation,
    idle_term,
    listed_status,
    missing_term,
    never_built,
    not_updated,
    opaque,
    participation_cost,
    participation_only,
    unmatched,
    untracked,
    zero_gradient,
)
from gradaudit.rules.rule import Rule, StatusRule

STATUS_RULES: tuple[StatusRule, ...] = (
    disconnected.RULE,
    zero_gradient.RULE,
    participation_only.RULE,
    untracked.RULE,
    not_updated.RULE,
    opaque.RULE,
)

_OF_PROJECTS = (
    broken_contract.FORBIDDEN_PATH,
    broken_contract.NOT_TRAINED,
    broken_contract.NOT_FROZEN,
    unmatched.RULE,
    listed_status.RULE,
)
_OTHER_RULES = (never_built, idle_term, missing_term, participation_cost, idle_participation)

RULES: tuple[Rule, ...] = tuple(
    sorted((*STATUS_RULES, *_OF_PROJECTS, *(module.RULE for module in _OTHER_RULES)), key=lambda rule: rule.code)
)

RULE_CODES: dict[Status, str] = {rule.status: rule.code for rule in STATUS_RULES}


def find(
    groups: Iterable[Group],
    causes: Mapping[str, Cause | None],
    unbuilt: Iterable[UnbuiltLayer],
    idle_terms: Iterable[IdleTerm],
    missing_terms: Iterable[MissingTerm],
    participation: Iterable[TermCoverage],
    costs: Iterable[ParticipationCost],
    unregistered: Iterable[UnregisteredOp],
    contracts: ContractsKept,
) -> tuple[Finding, ...]:
    """All findings, by rule and then in the order of what they are about; `causes` has those of variables by path."""
    by_status = {rule.status: rule for rule in STATUS_RULES}
    findings = [by_status[group.status].of_group(group, causes) for group in groups]
    findings += never_built.findings(unbuilt)
    findings += idle_term.findings(idle_terms)
    findings += missing_term.findings(missing_terms)
    findings += opaque.findings(unregistered)
    findings += participation_cost.findings(costs)
    findings += idle_participation.findings(participation)
    findings += broken_contract.findings(contracts.breaches)
    findings += unmatched.findings(contracts.unmatched)
    return tuple(sorted(findings, key=lambda finding: finding.rule))
