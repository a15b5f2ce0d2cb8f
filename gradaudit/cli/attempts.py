"""Makes one audit, or says why it cannot be made."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradaudit.cli.asked import Run
from gradaudit.cli.mishaps import explained, tracebacks
from gradaudit.errors import MeasureError

if TYPE_CHECKING:
    from gradaudit.graph.report import Audit


@dataclass(frozen=True)
class Outcome:
    """What came of one audit: plain values, which another process may send.

    `audit` is None where it cannot be made; `messages` say why, or what is missing in it. `environment` is the software
    that it was made with.
    """

    audit: Audit | None
    messages: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


def attempt(run: Run, progress: Callable[[str], None], **options: Any) -> Outcome:
    """Make one audit, or say why it cannot be made: the others go on."""
    progress("import")
    folder = Path.cwd()
    try:
        return _with_environment(_audited(run, progress, **options))
    except MeasureError as error:
        return _with_environment(error.audit, run.prefix + str(error), *tracebacks(error))
    except Exception as error:  # noqa: BLE001  # nor may one audit's crash take the others along
        return _with_environment(None, run.prefix + explained(error), *tracebacks(error))
    finally:
        os.chdir(folder)  # what is written is meant from here, wherever the audited code went


def _audited(run: Run, progress: Callable[[str], None], **options: Any) -> Audit:
    from gradaudit.auditing import audit
    from gradaudit.subject_lookup import audited_code_forgotten, lazy_subject

    with audited_code_forgotten():
        return audit(
            lazy_subject(run.reference, folder=run.folder, project=run.plan.project, changed=run.plan.changed),
            scenario=run.plan.scenario,
            participation_scopes=run.plan.participation_scopes,
            contracts=run.plan.contracts,
            **options,
            progress=progress,
        )


def _with_environment(audit: Audit | None, *messages: str) -> Outcome:
    from gradaudit.environment import versions

    return Outcome(audit, messages, versions())
