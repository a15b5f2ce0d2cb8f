"""What fails a run: statuses, and rules that are errors; and what a project makes of either."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, get_args

from gradaudit.errors import ConfigError
from gradaudit.graph.verdicts import STATUSES, Finding, Severity, Status
from gradaudit.spelling import nearest

if TYPE_CHECKING:
    from gradaudit.graph.report import Audit

DEFAULT_FAIL_ON: tuple[Status, ...] = ("disconnected", "zero-gradient", "untracked", "not-updated", "opaque")
"""What fails a run unless the project says otherwise: all that never learns, except what was silenced on purpose."""

NOTHING = "none"
"""The word that, alone in a list, lets every audit pass."""

Grade = Severity | Literal["off"]
"""What a project may make of a rule."""

GRADES: tuple[Grade, ...] = (*get_args(Severity), "off")

PASSED = 0
FAILED = 1


def parse_fail_on(words: Sequence[str], *, where: str) -> tuple[Status, ...]:
    """Read a list of statuses, repetitions dropped; `where` names its place in messages.

    Raises:
        ConfigError: a word is no status, or "none" stands beside one.
    """
    if list(words) == [NOTHING]:
        return ()
    for word in words:
        if word == NOTHING:
            raise ConfigError(f"{where}: {NOTHING!r} says that nothing fails the run; it cannot stand beside a status.")
        if word not in STATUSES:
            raise ConfigError(
                f"{where}: {word!r} is no status{nearest(word, STATUSES)} They are: {', '.join(STATUSES)}."
            )
    return tuple(dict.fromkeys(status for word in words for status in STATUSES if status == word))


@dataclass(frozen=True)
class Policy:
    """What fails a run: statuses, and rules whose findings are errors.

    `severities` are those that the project gives to rules by their codes; "off" leaves a rule's findings out.
    """

    fail_on: tuple[Status, ...] = DEFAULT_FAIL_ON
    severities: Mapping[str, Grade] = field(default_factory=dict)

    def graded(self, finding: Finding, status: Status | None) -> Finding | None:
        """The finding with the severity that it has for the project; None where its rule is off.

        Args:
            finding: a finding.
            status: the status that its rule reports, if it is the rule of one.
        """
        grade: Grade = finding.severity
        if finding.rule in self.severities:
            grade = self.severities[finding.rule]
        elif status is not None:
            grade = "error" if status in self.fail_on else _at_most_a_warning(grade)
        if not self.fail_on:
            grade = _at_most_a_warning(grade)
        return None if grade == "off" else replace(finding, severity=grade)


def _at_most_a_warning(grade: Grade) -> Grade:
    return "warning" if grade == "error" else grade


def failures(audit: Audit) -> tuple[Finding, ...]:
    """What the run fails on: findings that are errors."""
    return tuple(finding for finding in audit.findings if finding.fails)


def exit_status(failed: Sequence[Finding]) -> int:
    """The exit status of a run that was audited to its end."""
    return FAILED if failed else PASSED
