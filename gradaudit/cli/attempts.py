"""Makes one audit, or says why it cannot be made."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradaudit.cli.asked import Run
from gradaudit.cli.mishaps import explained, tracebacks
from gradaudit.errors import MeasureError
from gradaudit.exits import exits_raised

if TYPE_CHECKING:
    from gradaudit.cache.manifest import Manifest
    from gradaudit.graph.report import Audit


@dataclass(frozen=True)
class Outcome:
    """What came of one audit: plain values, which another process may send.

    `audit` is None where it cannot be made; `messages` say why, or what is missing in it. `environment` is the software
    that it was made with, and `manifest` all that it was made from, where that was watched and is held fast.
    """

    audit: Audit | None
    messages: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    manifest: Manifest | None = None


def attempt(
    run: Run, progress: Callable[[str], None], watch: Callable[[], Callable[[], Manifest]] | None = None, **options: Any
) -> Outcome:
    """Make one audit, or say why it cannot be made: the others go on.

    For one that is to be kept, `watch` begins to watch what it is made from, and returns what tells of that.
    """
    progress("import")
    folder = Path.cwd()
    try:
        manifest = None if watch is None else watch()
        with _code_forgotten(), exits_raised():
            return _with_manifest(_with_environment(_audited(run, progress, **options)), run, manifest)
    except MeasureError as error:
        return _with_environment(error.audit, run.prefix + str(error), *tracebacks(error))
    except Exception as error:  # noqa: BLE001  # nor may one audit's crash take the others along
        return _with_environment(None, run.prefix + explained(error), *tracebacks(error))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  # by which a library ends a run, past whoever catches errors
        return _with_environment(None, run.prefix + _ended(run, error), *tracebacks(error))
    finally:
        os.chdir(folder)  # what is written is meant from here, wherever the audited code went


def _ended(run: Run, error: BaseException) -> str:
    from gradaudit.user_code import said

    return f"The subject {run.reference!r} ends the audit: {said(error)}"


def _code_forgotten() -> AbstractContextManager[None]:
    from gradaudit.subject_lookup import audited_code_forgotten

    return audited_code_forgotten()


def _audited(run: Run, progress: Callable[[str], None], **options: Any) -> Audit:
    from gradaudit.auditing import audit
    from gradaudit.subject_lookup import lazy_subject

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


def _with_manifest(outcome: Outcome, run: Run, manifest: Callable[[], Manifest] | None) -> Outcome:
    if manifest is None:
        return outcome
    from gradaudit.cache.manifest import Unheld

    try:
        return replace(outcome, manifest=manifest())
    except Unheld as reason:
        return replace(outcome, messages=(f"{run.prefix}Not cached: {reason}.",))
    except Exception as error:  # noqa: BLE001  # the audit is whole without it
        return replace(outcome, messages=(f"{run.prefix}Not cached. {explained(error)}", *tracebacks(error)))
