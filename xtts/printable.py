"""Text from outside, made harmless for a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return the text with every character that is not seen written as its escape, so that it stays on one line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
