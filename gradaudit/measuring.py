"""From an audit to what its participation terms do in real steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from gradaudit.errors import TraceError
from gradaudit.flow.variables import KnownVariable
from gradaudit.graph.report import Audit
from gradaudit.probing import foretold_failure
from gradaudit.subject import Subject
from gradaudit.tracing.making import Made
from gradaudit.tracing.participation_runs import Built, Compared, Fed, participation_runs


@dataclass(frozen=True)
class BuiltSubject:
    """A subject with real weights, its audit, and the variables that the audit's verdicts are about."""

    subject: Subject
    audit: Audit
    variables: Sequence[KnownVariable]
    made: Made

    @property
    def runnable(self) -> Built:
        """Its step, and all that it begins with."""
        return Built(self.subject.step, [known.variable for known in self.variables], self.made.variables)


def measured(audit: Audit, build: Callable[[], BuiltSubject], steps: int, scopes: Sequence[str]) -> Audit:
    """The audit with what its participation terms do in so many steps, or with a note that says why that is not known.

    Args:
        audit: the audit.
        build: builds its subject anew, each time with the same seed.
        steps: how many steps to run, with the terms and without.
        scopes: the participation scopes.

    Raises:
        TraceError: the step fails, builds something else each time, or cannot be run without its terms.
    """
    reason = _nothing_to_measure(audit)
    if reason is not None:
        return replace(audit, notes=(*audit.notes, f"not measured: {reason}."))
    patched, unpatched = build(), build()
    for again in (patched, unpatched):
        if [verdict.status for verdict in again.audit.variables] != [verdict.status for verdict in audit.variables]:
            raise TraceError(
                "The step cannot be measured, because its Python decides anew in each trace what trains. Let the "
                'configuration decide, and audit each case (see docs/limitations.md, "One trace is one verdict").'
            )
    found = participation_runs(
        patched.runnable,
        unpatched.runnable,
        Fed(patched.subject.inputs, patched.subject.batches),
        _compared(patched, scopes),
        steps,
        audit.optimizer,
    )
    return replace(audit, measured=found)


def _compared(built: BuiltSubject, scopes: Sequence[str]) -> Compared:
    verdicts = built.audit.variables
    paths = set(built.audit.coverage.covered)
    covered = [position for position, verdict in enumerate(verdicts) if verdict.path in paths]
    return Compared(
        paths=[verdict.path for verdict in verdicts],
        covered=covered,
        alone=[position for position in covered if verdicts[position].path not in built.audit.coverage.anyway],
        trained=[position for position, verdict in enumerate(verdicts) if verdict.status == "connected"],
        outputs=tuple(dict.fromkeys(output for position in covered for output in verdicts[position].outputs)),
        scopes=scopes,
    )


def _nothing_to_measure(audit: Audit) -> str | None:
    if not audit.coverage.terms:
        return "the step has no participation terms"
    if not audit.coverage.covered:
        return "the participation terms cover no variable that task terms do not train anyway"
    return foretold_failure(audit)
