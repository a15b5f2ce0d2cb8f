"""An audit that has to pass: what a test and a callback have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradaudit.gate.policy import failures, parse_fail_on

if TYPE_CHECKING:
    from gradaudit.gating import Gate
    from gradaudit.graph.report import Audit
    from gradaudit.subject import Subject

File = str | PathLike[str]


def checked(
    subject: Subject | Callable[[], Subject],
    *,
    fail_on: Sequence[str] | None = None,
    config: File | None = None,
    baseline: File | None = None,
    scenario: str | None = None,
    **options: Any,
) -> tuple[Audit, str | None]:
    """Audit a subject; returns the audit, and its text report if the gate fails.

    Args:
        subject: what `gradaudit.audit` takes.
        fail_on: the statuses of variables on which it fails, none for nothing; left out, those of the config, or those
            that fail a run by default.
        config: a TOML file of gradaudit's whose severities, suppressions, contracts, participation scopes and baseline
            count as in the command. Neither its subject nor the project's own tables do.
        baseline: the file of what is known and fails nothing; left out, that of the config.
        scenario: the scenario of the config that this is, or with no config a name for the report.
        options: further arguments of `gradaudit.audit`; they replace what the config says of the same.

    Raises:
        ConfigError: a word of `fail_on` is no status, or a file cannot be read.
        GradauditError: the subject cannot be audited.
    """
    gate, said = _asked(fail_on, config, baseline, scenario)
    from gradaudit.auditing import audit
    from gradaudit.gating import gated

    (found,) = gated([audit(subject, scenario=scenario, **{**said, **options})], [gate])
    if not failures(found):
        return found, None
    from gradaudit.environment import tool, versions
    from gradaudit.graph.report import Report
    from gradaudit.reports.terminal import render_text

    return found, render_text(Report(tool(), versions(), (found,)))


def _asked(
    fail_on: Sequence[str] | None, config: File | None, baseline: File | None, scenario: str | None
) -> tuple[Gate, dict[str, Any]]:
    """What findings are held against, and what the audit is told by the config."""
    statuses = None if fail_on is None else parse_fail_on(list(fail_on), where="fail_on")
    from gradaudit.config import ConfigFile
    from gradaudit.gating import gate_of

    if config is None:
        return gate_of(ConfigFile(None).plan(), statuses, _path(baseline)), {}
    plan = ConfigFile(Path(config)).plan(scenario)
    gate = gate_of(plan, statuses, _path(baseline) or plan.baseline)
    # Of other subjects that the file is for nothing is known here.
    gate = replace(gate, is_shared=baseline is None)
    return gate, {"contracts": plan.contracts, "participation_scopes": plan.participation_scopes}


def _path(file: File | None) -> Path | None:
    return None if file is None else Path(file)
