"""From verdicts and a few real steps to verdicts that the numbers do not contradict."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from gradaudit.environment import versions
from gradaudit.errors import DisagreementError
from gradaudit.flow.variables import KnownVariable
from gradaudit.graph.report import Audit
from gradaudit.graph.verdicts import ProbeAnswer, Source, Status, Verdict
from gradaudit.subject import Subject
from gradaudit.tracing.probe import Seen, probe

_NEVER: frozenset[Status] = frozenset({"disconnected", "zero-gradient"})
_SOME: frozenset[Status] = frozenset({"connected", "participation-only", "not-updated"})


def probed(
    audit: Audit,
    subject: Subject,
    variables: Sequence[KnownVariable],
    steps: int,
    left_out: Collection[tuple[Source | None, int]],
) -> Audit:
    """The audit with what a few real steps say of each variable.

    Args:
        audit: the audit.
        subject: its subject, with real weights, which change.
        variables: those that its verdicts are about.
        steps: how many steps to run.
        left_out: gradients that only feed another loss, by the line that asks and the id of the variable's handle.

    Raises:
        DisagreementError: a gradient that is called missing or zero is there, or TensorFlow returns None elsewhere.
        TraceError: the step fails.
    """
    opaque = [verdict.path for verdict in audit.variables if verdict.status == "opaque"]
    if opaque:
        note = f"not probed: the step raises LookupError on the way to {opaque[0]}."
        return replace(audit, notes=(*audit.notes, note))
    trained = [known.variable for known in variables if known.trainable and known.dtype != "string"]
    seen = probe(subject.step, subject.inputs, subject.batches, trained, steps, left_out)
    verdicts = tuple(
        replace(verdict, probe=_answer(verdict, seen.get(id(known.handle))))
        for verdict, known in zip(audit.variables, variables, strict=True)
    )
    for verdict in verdicts:
        if verdict.status in _NEVER and verdict.probe == "non-zero":
            raise DisagreementError(_contradiction(audit, verdict, steps, "its gradient was not zero"))
        is_asked = verdict.probe != "not-asked" and verdict.tape != "not-asked"
        if is_asked and (verdict.probe == "none") != (verdict.tape == "none"):
            got = "TensorFlow returned None for it" if verdict.probe == "none" else "TensorFlow returned a gradient"
            raise DisagreementError(_contradiction(audit, verdict, steps, got))
    silent = [verdict.path for verdict in verdicts if verdict.status in _SOME and verdict.probe == "zero"]
    return replace(audit, variables=verdicts, notes=(*audit.notes, _summary(subject, steps, silent)))


def _answer(verdict: Verdict, seen: Seen | None) -> ProbeAnswer:
    if seen is None:
        return "not-asked"
    if seen == "rounding":
        # Of a zero that theory foretells it is noise, as with attention over one key; else it may be a small gradient.
        return "zero" if verdict.status in _NEVER else "non-zero"
    return seen


def _summary(subject: Subject, steps: int, silent: Sequence[str]) -> str:
    data = "given batches" if subject.batches is not None else "the subject's inputs"
    said = f"probed with {steps} real step{'' if steps == 1 else 's'} on {data}: no verdict is contradicted"
    if not silent:
        return f"{said}, and every gradient that has a path was non-zero."
    return f"{said}; zero throughout, though there is a path, was the gradient of {', '.join(silent)}."


def _contradiction(audit: Audit, verdict: Verdict, steps: int, got: str) -> str:
    known = ", ".join(f"{name} {version}" for name, version in versions().items())
    return (
        f"gradaudit calls variable {verdict.path!r} of {audit.subject!r} {verdict.status}, with the tape's answer "
        f"{verdict.tape!r}, and in {steps} real step{'' if steps == 1 else 's'} {got} ({known}; the probe's random "
        "numbers are the same each time). This is a defect of gradaudit: report it with this message and the step."
    )
