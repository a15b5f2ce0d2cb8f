"""The errors that xtts raises on purpose."""

from __future__ import annotations


class ConfigError(ValueError):
    """A configuration holds what it should not; the message names the key."""
