"""The errors that xtts raises on purpose.

XttsError: something that was given cannot be used, and the message has the culprit and the next step
├── ConfigError: a configuration
├── DataError: a corpus, a recording or a text
├── RunError: a run folder, a checkpoint or a device
├── SynthesisError: a text cannot be spoken
└── EvaluationError: what evaluation takes is missing
AuditFailure: the gate of the audit fails, so that no step is run
NotFiniteError: a loss or a gradient is not finite, and training stops
"""

from __future__ import annotations


class XttsError(Exception):
    """Something that was given cannot be used; the message names it, and has the next step."""


class ConfigError(XttsError, ValueError):
    """A configuration holds what it should not; the message names the key."""


class DataError(XttsError, ValueError):
    """A corpus, a recording or a text holds what cannot be used."""


class RunError(XttsError):
    """A run folder, a checkpoint or a device is not what a training needs."""


class SynthesisError(XttsError):
    """A text cannot be spoken."""


class EvaluationError(XttsError):
    """Speech cannot be evaluated: something that it takes is missing."""


class AuditFailure(Exception):
    """The gate of the audit fails, so that no step is run; the message is the report."""


class NotFiniteError(Exception):
    """A loss or a gradient is not finite, and training stops; the message names step, batch and culprit."""
