"""The errors that xtts raises on purpose."""

from __future__ import annotations


class ConfigError(ValueError):
    """A configuration holds what it should not; the message names the key."""


class RunError(Exception):
    """A run folder, a checkpoint or a device is not what a training needs; the message has the next step."""


class AuditFailure(Exception):
    """The gate of the audit fails, so that no step is run; the message is the report."""


class NotFiniteError(Exception):
    """A loss or a gradient is not finite, and training stops; the message names step, batch and culprit."""
