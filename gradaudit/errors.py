"""The tree of errors, each of which ends a command with exit status 2.

    GradauditError
    ├── ConfigError      a bad argument, option or configuration file
    ├── SubjectError     the subject cannot be imported, fails, or is no subject
    ├── TraceError       the step cannot be traced, or there is nothing in it to audit
    │   └── MeasureError its real steps cannot be run and compared, though it is audited
    ├── OutputError      a report cannot be written
    ├── GateError        a training is stopped, because variables in it will never learn
    └── DisagreementError  TensorFlow's own tape contradicts a verdict: a defect of gradaudit

Each message says what happened, names the culprit and gives the next step.
"""

from __future__ import annotations

from typing import Any


class GradauditError(Exception):
    """Base of all errors that gradaudit raises on purpose."""


class ConfigError(GradauditError):
    """A bad argument, option or configuration file."""


class SubjectError(GradauditError):
    """The subject cannot be imported, fails, or does not return what it should."""


class TraceError(GradauditError):
    """The step cannot be traced, or there is nothing in it to audit."""


class MeasureError(TraceError):
    """The real steps of an audited step cannot be run and compared; `audit` is all that is known without them."""

    def __init__(self, message: str, audit: Any) -> None:
        super().__init__(message)
        self.audit = audit


class OutputError(GradauditError):
    """A report cannot be written."""


class GateError(GradauditError):
    """A training is stopped, because variables in it will never learn. The message is the report."""


class DisagreementError(GradauditError):
    """TensorFlow's own tape contradicts a verdict: a defect of gradaudit."""
