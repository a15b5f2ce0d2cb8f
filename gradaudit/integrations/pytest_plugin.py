"""The pytest plugin: `assert_trains(subject)` in a test fails with the report where a variable will never learn.

It is there as soon as gradaudit is installed, and imports TensorFlow only where a test uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from gradaudit.graph.report import Audit
    from gradaudit.subject import Subject


def assert_trains(
    subject: Subject | Callable[[], Subject],
    *,
    fail_on: Sequence[str] | None = None,
    config: str | PathLike[str] | None = None,
    baseline: str | PathLike[str] | None = None,
    **options: Any,
) -> Audit:
    """Check that every variable that ought to train does.

    Args:
        subject: what `gradaudit.audit` takes; of a callable, weights need no memory.
        fail_on: the statuses of variables on which the test fails; left out, those of the config, or of a run.
        config: a TOML file of gradaudit's, relative to the working folder, whose severities, suppressions, contracts,
            participation scopes and baseline count; with `scenario`, as that scenario has them.
        baseline: the file of what is known and fails nothing; left out, that of the config.
        options: further arguments of `gradaudit.audit`, such as `contracts` or `participation_scopes`.

    Returns:
        The audit, for further assertions.

    Raises:
        AssertionError: one does not, or a contract is broken; the message is the report.
        ConfigError: a word of `fail_on` is no status, or a file cannot be read.
        GradauditError: the subject cannot be audited.
    """
    __tracebackhide__ = True
    from gradaudit.integrations.checking import checked

    audit, report = checked(subject, fail_on=fail_on, config=config, baseline=baseline, **options)
    if report is not None:
        raise AssertionError(f"not every variable trains\n\n{report}")
    return audit


@pytest.fixture(name="assert_trains")
def _assert_trains() -> Callable[..., Audit]:
    """The function `assert_trains`, without an import."""
    return assert_trains
