"""From audits to what fails a run: severities, what is accepted and why, and what accepts nothing any more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from gradaudit.gate.baseline import Baseline
from gradaudit.gate.comments import Comments, Ignore
from gradaudit.gate.policy import Policy
from gradaudit.gate.suppressions import Accepted
from gradaudit.graph.contracts import Contract, Unmatched
from gradaudit.graph.verdicts import Finding, Source, Suppression
from gradaudit.rules import unmatched
from gradaudit.rules.catalogue import RULE_CODES, RULES

if TYPE_CHECKING:
    from gradaudit.graph.report import Audit

_STATUSES = {code: status for status, code in RULE_CODES.items()}


@dataclass(frozen=True)
class Gate:
    """What a project says of its findings.

    `is_whole` says that every scenario of the project is audited in this run, so that what accepts nothing in any is
    of no use.
    """

    policy: Policy = field(default_factory=Policy)
    accepted: tuple[Accepted, ...] = ()
    contracts: tuple[Contract, ...] = ()
    baseline: Baseline | None = None
    is_whole: bool = False

    def has(self, finding: Finding) -> bool:
        """Whether a finding of GA301 is about one of its contracts."""
        return finding.key[0] in map(str, self.contracts)


def gated(audits: Sequence[Audit], gates: Sequence[Gate]) -> tuple[Audit, ...]:
    """The audits of a run, with findings as the project grades and accepts them.

    Args:
        audits: the audits.
        gates: what the project says in each; a scenario may say something of its own.
    """
    used: set[Any] = set()
    comments = Comments()
    audits = _without_matched_elsewhere(audits, gates)
    judged = tuple(_judged(audit, gate, comments, used) for audit, gate in zip(audits, gates, strict=True))
    idle = [_idle(audit, gate, comments, used) for audit, gate in zip(audits, gates, strict=True)]
    told: set[Unmatched] = set()
    finished = []
    for audit, gate, found in zip(judged, gates, idle, strict=True):
        new = [each for each in found if each not in told]
        told.update(new)
        findings = [gate.policy.graded(finding, None) for finding in unmatched.findings(new)]
        kept = [finding for finding in findings if finding is not None]
        finished.append(replace(audit, findings=tuple(sorted((*audit.findings, *kept), key=lambda f: f.rule))))
    return tuple(finished)


def _without_matched_elsewhere(audits: Sequence[Audit], gates: Sequence[Gate]) -> list[Audit]:
    """The audits without what GA301 says of contracts that match something in another scenario, or might."""
    unmatched_in = Counter(
        finding.key for audit in audits for finding in audit.findings if finding.rule == unmatched.RULE.code
    )

    def counts(finding: Finding) -> bool:
        having = [gate for gate in gates if gate.has(finding)]
        return all(gate.is_whole for gate in having) and unmatched_in[finding.key] >= len(having)

    return [
        replace(audit, findings=tuple(f for f in audit.findings if f.rule != unmatched.RULE.code or counts(f)))
        for audit in audits
    ]


def _judged(audit: Audit, gate: Gate, comments: Comments, used: set[Any]) -> Audit:
    """The audit with its findings graded, and what is accepted of each; `used` gets what accepts something."""
    findings = []
    for finding in audit.findings:
        graded = gate.policy.graded(finding, _STATUSES.get(finding.rule))
        if graded is not None:
            accepted = _suppressions(audit, graded, gate, comments, used)
            findings.append(replace(graded, suppressions=tuple(accepted)))
    groups = (group for group in audit.groups if gate.policy.severities.get(group.rule) != "off")
    return replace(audit, findings=tuple(findings), groups=tuple(groups))


def _suppressions(audit: Audit, finding: Finding, gate: Gate, comments: Comments, used: set[Any]) -> list[Suppression]:
    found = _excuses(audit, finding)
    for accepted in gate.accepted:
        suppression = accepted.of(finding)
        if suppression is not None:
            used.add(accepted)
            found.append(suppression)
    for ignore, suppression in comments.of(finding, audit.made_at):
        used.add((ignore, finding.rule))
        found.append(suppression)
    if gate.baseline is not None:
        entries, suppression = gate.baseline.of(audit.scenario or "", finding)
        used.update(entries)
        found += [suppression] if suppression is not None else []
    return found


def _excuses(audit: Audit, finding: Finding) -> list[Suppression]:
    """What a `may-be-disconnected` contract accepts of a finding on disconnected variables."""
    if _STATUSES.get(finding.rule) != "disconnected":
        return []
    reasons: dict[str, list[str]] = {}
    for verdict in audit.variables:
        if verdict.excuse is not None and verdict.path in finding.variables:
            reasons.setdefault(verdict.excuse, []).append(verdict.path)
    return [Suppression("contract", reason, tuple(paths)) for reason, paths in reasons.items()]


def _idle(audit: Audit, gate: Gate, comments: Comments, used: set[Any]) -> list[Unmatched]:
    """What accepts nothing, as far as this audit can tell."""
    lines = [*audit.made_at.values(), *(source for finding in audit.findings for source in finding.sources)]
    found = [each for ignore in comments.at(lines) for each in _idle_comment(ignore, gate, used)]
    if gate.is_whole:
        found += [Unmatched(str(each), "it accepts no finding") for each in gate.accepted if each not in used]
    for entry in gate.baseline.entries if gate.baseline is not None else ():
        if entry not in used and (entry.audit == (audit.scenario or "") or gate.is_whole):
            found.append(Unmatched(str(entry), "nothing is found that it knows: write the baseline anew"))
    return found


def _idle_comment(ignore: Ignore, gate: Gate, used: set[Any]) -> list[Unmatched]:
    if not ignore.reason:
        return [Unmatched(str(ignore), "it gives no reason, and accepts nothing", source=_line(ignore))]
    known = {rule.code for rule in RULES}
    wrong = [
        Unmatched(str(ignore), f"{rule} is no rule", rule, _line(ignore)) for rule in ignore.rules if rule not in known
    ]
    idle = [rule for rule in ignore.rules if rule in known and (ignore, rule) not in used]
    if idle and gate.is_whole:
        wrong.append(Unmatched(str(ignore), f"nothing is found here by {', '.join(idle)}", source=_line(ignore)))
    return wrong


def _line(ignore: Ignore) -> Source:
    return Source(ignore.file, ignore.line, "")
