"""From verdicts and a few real steps to verdicts that the numbers do not contradict."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from gradaudit.environment import versions
from gradaudit.errors import DisagreementError, TraceError
from gradaudit.flow.variables import KnownVariable
from gradaudit.graph.report import Audit
from gradaudit.graph.verdicts import ProbeAnswer, Source, Status, Verdict
from gradaudit.subject import Subject
from gradaudit.tracing.probe import Seen, probe

FAILS = "the step fails"
"""How a note begins that foretells it."""
_NEVER: frozenset[Status] = frozenset({"disconnected", "zero-gradient"})
_SOME: frozenset[Status] = frozenset({"connected", "participation-only", "not-updated"})
_TRACES = 4
"""How often a step whose verdict is contradicted is traced again: what Python draws at random may come out the same."""


def probed(
    audit: Audit,
    subject: Subject,
    variables: Sequence[KnownVariable],
    steps: int,
    left_out: Collection[tuple[Source | None, int]],
    again: Callable[[], Audit],
) -> Audit:
    """The audit with what a few real steps say of each variable.

    Args:
        audit: the audit.
        subject: its subject, with real weights, which change.
        variables: those that its verdicts are about.
        steps: how many steps to run.
        left_out: gradients that only feed another loss, by the line that asks and the id of the variable's handle.
        again: makes the audit of another trace of the same step.

    Raises:
        DisagreementError: a gradient that is called missing or zero is there, or TensorFlow returns None elsewhere.
        TraceError: the step fails, there is no batch to run it on, or it trains otherwise in another trace.
    """
    failure = foretold_failure(audit)
    if failure is not None:
        return replace(audit, notes=(*audit.notes, f"not probed: {failure}."))
    trained = [known.variable for known in variables if known.trainable and known.dtype != "string"]
    seen, ran = probe(subject.step, subject.inputs, subject.batches, trained, steps, left_out)
    verdicts = tuple(
        replace(verdict, probe=_answer(verdict, seen.get(id(known.handle))))
        for verdict, known in zip(audit.variables, variables, strict=True)
    )
    for verdict in verdicts:
        contradiction = _contradiction(verdict)
        if contradiction is not None:
            _refuse_what_python_decides(audit, verdict, again)
            raise DisagreementError(_defect(audit, verdict, ran, contradiction))
    return replace(audit, variables=verdicts, notes=(*audit.notes, _summary(subject, ran, verdicts)))


def foretold_failure(audit: Audit) -> str | None:
    """Why no step of this can run; None if one can."""
    opaque = [verdict.path for verdict in audit.variables if verdict.status == "opaque"]
    if opaque:
        return f"the step raises LookupError on the way to {opaque[0]}"
    if any(finding.rule == "GA107" for finding in audit.findings):
        return "the step raises LookupError, as GA107 says"
    return "the step fails, as is said above" if any(note.startswith(FAILS) for note in audit.notes) else None


def _answer(verdict: Verdict, seen: Seen | None) -> ProbeAnswer:
    if seen is None:
        return "not-asked"
    if seen == "rounding":
        # Of a zero that theory foretells it is noise, as with attention over one key; else it may be a small gradient.
        return "zero" if verdict.status in _NEVER else "non-zero"
    return seen


def _contradiction(verdict: Verdict) -> str | None:
    """What TensorFlow did that a verdict says it does not."""
    if verdict.status in _NEVER and verdict.probe == "non-zero":
        return "its gradient was not zero"
    is_asked = verdict.probe != "not-asked" and verdict.tape != "not-asked"
    if is_asked and (verdict.probe == "none") != (verdict.tape == "none"):
        return "TensorFlow returned None for it" if verdict.probe == "none" else "TensorFlow returned a gradient"
    return None


def _refuse_what_python_decides(audit: Audit, contradicted: Verdict, again: Callable[[], Audit]) -> None:
    """Raise TraceError if other traces of the step give other verdicts: then the probe ran another step than this."""
    first = _told(audit)
    for _ in range(_TRACES):
        other = _told(again())
        changed = [path for path in {contradicted.path: None, **first, **other} if first.get(path) != other.get(path)]
        if changed:
            path, nothing = changed[0], "not there"
            raise TraceError(
                "The step cannot be probed, because its Python decides anew in each trace what trains: variable "
                f"{path!r} is {first.get(path, nothing)} in one, and {other.get(path, nothing)} in another. Let the "
                'configuration decide, and audit each case (see docs/limitations.md, "One trace is one verdict").'
            )


def _told(audit: Audit) -> dict[str, str]:
    return {verdict.path: f"{verdict.status}, with the tape's answer {verdict.tape!r}," for verdict in audit.variables}


def _summary(subject: Subject, ran: int, verdicts: Sequence[Verdict]) -> str:
    data = "given batches" if subject.batches is not None else "the subject's inputs"
    said = f"probed with {_steps(ran)} on {data}: no verdict is contradicted"
    with_path = [verdict for verdict in verdicts if verdict.status in _SOME]
    silent = [verdict.path for verdict in with_path if verdict.probe == "zero"]
    unasked = [verdict.path for verdict in with_path if verdict.probe == "not-asked"]
    if not silent and not unasked:
        return f"{said}, and every gradient that has a path was non-zero."
    if silent:
        said += f"; zero throughout, though there is a path, was the gradient of {', '.join(silent)}"
    if unasked:
        said += f"; never asked for was the gradient of {', '.join(unasked)}"
    return f"{said}."


def _defect(audit: Audit, verdict: Verdict, ran: int, got: str) -> str:
    known = ", ".join(f"{name} {version}" for name, version in versions().items())
    return (
        f"gradaudit calls variable {verdict.path!r} of {audit.subject!r} {verdict.status}, with the tape's answer "
        f"{verdict.tape!r}, and in {_steps(ran)} {got} ({known}; the probe's random "
        "numbers are the same each time). This is a defect of gradaudit: report it with this message and the step."
    )


def _steps(ran: int) -> str:
    return f"{ran} real step{'' if ran == 1 else 's'}"
