"""From audits to what fails a run: severities, what is accepted and why, and what accepts nothing any more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gradaudit.gate.baseline import Baseline, Entry, read_baseline
from gradaudit.gate.comments import Comments, Ignore
from gradaudit.gate.policy import Policy
from gradaudit.gate.suppressions import Accepted, Part
from gradaudit.graph.contracts import Contract, Unmatched
from gradaudit.graph.groups import listed_groups
from gradaudit.graph.verdicts import Finding, Source, Status, Suppression
from gradaudit.rules import listed_status, unmatched
from gradaudit.rules.catalogue import RULE_CODES, RULES

if TYPE_CHECKING:
    from gradaudit.config import Plan
    from gradaudit.graph.report import Audit

_STATUSES = {code: status for status, code in RULE_CODES.items()}
_OF_STATUSES = frozenset((*_STATUSES, listed_status.RULE.code))
_ON_IDLE = unmatched.RULE.code


@dataclass(frozen=True)
class Gate:
    """What a project says of its findings.

    `is_whole` says that every scenario of the project is audited in this run, so that what accepts nothing in any is
    of no use; `is_shared` that subjects are audited elsewhere which the baseline is for too.
    """

    policy: Policy = field(default_factory=Policy)
    accepted: tuple[Accepted, ...] = ()
    contracts: tuple[Contract, ...] = ()
    baseline: Baseline | None = None
    is_whole: bool = False
    is_shared: bool = False

    def has(self, finding: Finding) -> bool:
        """Whether a finding of GA301 is about one of its contracts."""
        return finding.key[0] in map(str, self.contracts)


def gate_of(
    plan: Plan, fail_on: Sequence[Status] | None = None, baseline: Path | None = None, *, is_whole: bool = False
) -> Gate:
    """What the project says of its findings.

    Args:
        plan: what its config says.
        fail_on: statuses that are listed for this run; they say more than the config's severities of their rules.
        baseline: the file to read; none is read if left out, whatever the config names.
        is_whole: whether every scenario of the config is audited in this run.

    Raises:
        ConfigError: the baseline cannot be read.
    """
    severities = plan.severities
    if fail_on is not None:
        severities = {code: grade for code, grade in severities.items() if code not in _OF_STATUSES}
    return Gate(
        Policy(plan.fail_on if fail_on is None else tuple(fail_on), severities),
        plan.accepted,
        plan.contracts,
        None if baseline is None else read_baseline(baseline),
        is_whole,
    )


def gated(audits: Sequence[Audit], gates: Sequence[Gate]) -> tuple[Audit, ...]:
    """The audits of a run, with findings as the project grades and accepts them.

    Args:
        audits: the audits.
        gates: what the project says in each; a scenario may say something of its own.
    """
    said = _Said()
    audits = _without_matched_elsewhere(audits, gates)
    audits = [said.judged(audit, gate) for audit, gate in zip(audits, gates, strict=True)]
    for is_last in (False, True):
        audits = said.with_idle(audits, gates, is_last=is_last)
    return tuple(audits)


def _without_matched_elsewhere(audits: Sequence[Audit], gates: Sequence[Gate]) -> list[Audit]:
    """The audits without what GA301 says of contracts that match something in another scenario, or might."""
    unmatched_in = Counter(finding.key for audit in audits for finding in audit.findings if finding.rule == _ON_IDLE)

    def counts(finding: Finding) -> bool:
        having = [gate for gate in gates if gate.has(finding)]
        return all(gate.is_whole for gate in having) and unmatched_in[finding.key] >= len(having)

    return [
        replace(audit, findings=tuple(f for f in audit.findings if f.rule != _ON_IDLE or counts(f))) for audit in audits
    ]


@dataclass
class _Said:
    """What is said of the findings of a run in configs, comments and baselines, and what of it accepts something."""

    comments: Comments = field(default_factory=Comments)
    parts: set[tuple[Accepted, Part]] = field(default_factory=set)
    rules: set[tuple[Ignore, str]] = field(default_factory=set)
    entries: set[Entry] = field(default_factory=set)

    def judged(self, audit: Audit, gate: Gate) -> Audit:
        """The audit with its findings graded, and what is accepted of each."""
        listed = listed_groups(audit.variables, gate.policy.fail_on, listed_status.RULE.code)
        findings = self._accepted(audit, gate, (*audit.findings, *listed_status.findings(listed)))
        kept = tuple(g for g in (*audit.groups, *listed) if gate.policy.severities.get(g.rule) != "off")
        return replace(audit, findings=_in_order(findings), groups=kept)

    def with_idle(self, audits: Sequence[Audit], gates: Sequence[Gate], *, is_last: bool) -> list[Audit]:
        """The audits with findings on what accepts nothing, each in the first that can tell.

        In the last round these are about what accepts such findings; nothing accepts those any more.
        """
        idle = [list(self._idle(audit, gate, is_last)) for audit, gate in zip(audits, gates, strict=True)]
        told: set[Unmatched] = set()
        finished = []
        for audit, gate, found in zip(audits, gates, idle, strict=True):
            new = [each for each in found if each not in told]
            told.update(new)
            findings = unmatched.findings(new)
            kept = _graded(gate, findings) if is_last else self._accepted(audit, gate, findings)
            finished.append(replace(audit, findings=_in_order((*audit.findings, *kept))))
        return finished

    def _accepted(self, audit: Audit, gate: Gate, findings: Iterable[Finding]) -> list[Finding]:
        return [
            replace(finding, suppressions=tuple(self._suppressions(audit, finding, gate)))
            for finding in _graded(gate, findings)
        ]

    def _suppressions(self, audit: Audit, finding: Finding, gate: Gate) -> Iterator[Suppression]:
        yield from _excuses(audit, finding)
        for accepted in gate.accepted:
            suppression = accepted.of(finding)
            if suppression is not None:
                self.parts.update((accepted, part) for part in accepted.parts_for(finding))
                yield suppression
        for ignore, suppression in self.comments.of(finding, audit.made_at):
            self.rules.add((ignore, finding.rule))
            yield suppression
        if gate.baseline is not None:
            entries, known = gate.baseline.of(audit.scenario or "", finding)
            self.entries.update(entries)
            if known is not None:
                yield known

    def _idle(self, audit: Audit, gate: Gate, is_last: bool) -> Iterator[Unmatched]:
        """What accepts nothing, as far as this audit can tell; in the last round, of what is said of GA301."""
        for ignore in self.comments.at(_lines(audit), passed=_passed(audit)):
            if (_ON_IDLE in ignore.rules) == is_last:
                yield from self._idle_comment(ignore, gate)
        for accepted in gate.accepted if gate.is_whole else ():
            if (_ON_IDLE in accepted.rules) == is_last:
                yield from self._idle_parts(accepted)
        if gate.baseline is not None and not is_last:
            yield from self._idle_entries(gate.baseline, audit, gate)

    def _idle_comment(self, ignore: Ignore, gate: Gate) -> Iterator[Unmatched]:
        line = Source(ignore.file, ignore.line, "")
        if not ignore.reason:
            yield Unmatched(str(ignore), "it gives no reason, and accepts nothing", source=line)
            return
        known = {rule.code for rule in RULES}
        for rule in ignore.rules:
            if rule not in known:
                yield Unmatched(str(ignore), f"{rule} is no rule", rule, line)
        idle = [rule for rule in ignore.rules if rule in known and (ignore, rule) not in self.rules]
        if idle and gate.is_whole:
            yield Unmatched(str(ignore), f"nothing is found here by {', '.join(idle)}", source=line)

    def _idle_parts(self, accepted: Accepted) -> Iterator[Unmatched]:
        """One that accepts nothing as a whole, or else its rules and patterns that accept nothing."""
        idle = [part for part in accepted.parts if (accepted, part) not in self.parts]
        if len(idle) == len(accepted.parts):
            yield Unmatched(str(accepted), "it accepts no finding")
            return
        for part in idle:
            what = "finding of" if part.kind == "rule" else "finding that matches"
            yield Unmatched(str(accepted), f"it accepts no {what} {part}", f"{part.kind} {part}")

    def _idle_entries(self, baseline: Baseline, audit: Audit, gate: Gate) -> Iterator[Unmatched]:
        for entry in baseline.entries:
            is_of_audit = entry.audit == (audit.scenario or "") and not gate.is_shared
            if entry not in self.entries and (is_of_audit or gate.is_whole):
                yield Unmatched(str(entry), "nothing is found that it knows: write the baseline anew")


def _graded(gate: Gate, findings: Iterable[Finding]) -> list[Finding]:
    graded = (gate.policy.graded(finding, _STATUSES.get(finding.rule)) for finding in findings)
    return [finding for finding in graded if finding is not None]


def _in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda finding: finding.rule))


def _excuses(audit: Audit, finding: Finding) -> list[Suppression]:
    """What a `may-be-disconnected` contract accepts of a finding on disconnected variables."""
    if _STATUSES.get(finding.rule) != "disconnected":
        return []
    reasons: dict[str, list[str]] = {}
    for verdict in audit.variables:
        if verdict.excuse is not None and verdict.path in finding.variables:
            reasons.setdefault(verdict.excuse, []).append(verdict.path)
    return [Suppression("contract", reason, tuple(paths)) for reason, paths in reasons.items()]


def _lines(audit: Audit) -> list[Source]:
    """The lines at which a comment may accept something."""
    return [*audit.made_at.values(), *(source for finding in audit.findings for source in finding.sources)]


def _passed(audit: Audit) -> list[Source]:
    """The lines that are known to have run."""
    return [*audit.made_at.values(), *audit.gradients.sources()]
