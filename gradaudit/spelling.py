"""What a person probably meant: the nearest known word, as the middle of an error message."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" where a known word is close, else "." — either way the end of a sentence."""
    by_folded_word = {_folded(candidate): candidate for candidate in known}
    matches = get_close_matches(_folded(word), by_folded_word, n=1, cutoff=0.6)
    return f"; did you mean {by_folded_word[matches[0]]!r}?" if matches else "."


def _folded(word: str) -> str:
    """Underscores and capitals are slips that are nearer than any letter."""
    return word.casefold().replace("_", "-")
