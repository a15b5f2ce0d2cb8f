"""Tells, before training, which variables of a TensorFlow or Keras train step will never learn, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradaudit.errors import (
    ConfigError,
    DisagreementError,
    GateError,
    GradauditError,
    OutputError,
    SubjectError,
    TraceError,
)
from gradaudit.subject import Subject

if TYPE_CHECKING:
    from gradaudit.auditing import audit
    from gradaudit.graph.report import Audit
    from gradaudit.integrations.keras_callback import AuditCallback

__all__ = [
    "Audit",
    "AuditCallback",
    "ConfigError",
    "DisagreementError",
    "GateError",
    "GradauditError",
    "OutputError",
    "Subject",
    "SubjectError",
    "TraceError",
    "audit",
]


def __getattr__(name: str) -> Any:
    # TensorFlow is imported when an audit is asked for, not when `gradaudit --help` is.
    if name == "audit":
        from gradaudit.auditing import audit

        return audit
    if name == "AuditCallback":
        from gradaudit.integrations.keras_callback import AuditCallback

        return AuditCallback
    if name == "Audit":
        from gradaudit.graph.report import Audit

        return Audit
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
