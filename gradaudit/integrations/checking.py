"""An audit that has to pass: what a test and a callback have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from gradaudit.gate.policy import DEFAULT_FAIL_ON, Policy, failures, parse_fail_on

if TYPE_CHECKING:
    from gradaudit.graph.report import Audit
    from gradaudit.subject import Subject


def checked(
    subject: Subject | Callable[[], Subject], fail_on: Sequence[str] = DEFAULT_FAIL_ON, **options: Any
) -> tuple[Audit, str | None]:
    """Audit a subject; returns the audit, and its text report if the gate fails.

    Args:
        subject: what `gradaudit.audit` takes.
        fail_on: the statuses of variables on which it fails; none for nothing.
        options: further arguments of `gradaudit.audit`, such as `contracts`.

    Raises:
        ConfigError: a word of `fail_on` is no status.
        GradauditError: the subject cannot be audited.
    """
    policy = Policy(parse_fail_on(list(fail_on), where="fail_on"))
    from gradaudit.auditing import audit
    from gradaudit.gating import Gate, gated

    (found,) = gated([audit(subject, **options)], [Gate(policy)])
    if not failures(found, policy.fail_on):
        return found, None
    from gradaudit.environment import tool, versions
    from gradaudit.graph.report import Report
    from gradaudit.reports.terminal import render_text

    return found, render_text(Report(tool(), versions(), (found,)))
