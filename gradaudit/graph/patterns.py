"""Patterns of paths and names, as a project writes them: `*` is anything, `?` one character, all else itself."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase


def matches(text: str, pattern: str) -> bool:
    """Whether a pattern is one of this text. Brackets are no pattern: they stand in the names of variables."""
    return fnmatchcase(text, pattern.replace("[", "[[]"))


def matches_any(text: str, patterns: Iterable[str]) -> bool:
    """Whether one of the patterns is."""
    return any(matches(text, pattern) for pattern in patterns)
