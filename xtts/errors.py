"""The errors that xtts raises on purpose."""

from __future__ import annotations


class ConfigError(ValueError):
    """A configuration holds what it should not; the message names the key."""


class DataError(ValueError):
    """A corpus, a recording or a text holds what cannot be used; the message names it and says what to do."""
