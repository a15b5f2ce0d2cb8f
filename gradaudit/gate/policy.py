"""Which statuses fail a run: the default list, how a list is written, and what a given list makes of an audit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gradaudit.errors import ConfigError
from gradaudit.graph.contracts import CONTRACT_RULES
from gradaudit.graph.verdicts import STATUSES, Finding, Status, Verdict
from gradaudit.spelling import nearest

if TYPE_CHECKING:
    from gradaudit.graph.report import Audit

DEFAULT_FAIL_ON: tuple[Status, ...] = ("disconnected", "zero-gradient", "untracked", "not-updated", "opaque")
"""What fails a run unless the project says otherwise: all that never learns, except what was silenced on purpose."""

NOTHING = "none"
"""The word that, alone in a list, lets every audit pass."""

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


def failures(audit: Audit, fail_on: Sequence[Status]) -> tuple[Verdict, ...]:
    """The verdicts on which the run fails, in the order of the audit: not those that a contract excuses."""
    return tuple(
        verdict
        for verdict in audit.variables
        if verdict.status in fail_on and not (verdict.status == "disconnected" and verdict.excuse is not None)
    )


def breaches(audit: Audit, fail_on: Sequence[Status]) -> tuple[Finding, ...]:
    """The findings on contracts, on which a run fails that can fail at all."""
    return tuple(finding for finding in audit.findings if finding.rule in CONTRACT_RULES) if fail_on else ()


def exit_status(failed: Sequence[Verdict | Finding]) -> int:
    """The exit status of a run that was audited to its end."""
    return FAILED if failed else PASSED
