"""The lines of the user's code around the places that a report names, as far as their files can be read."""

from __future__ import annotations

import tokenize
from collections.abc import Iterable
from pathlib import Path

from gradaudit.graph.verdicts import Source

_AROUND = 5
_LARGEST = 4_000_000
"""Bytes beyond which a file is no code that a person wrote."""
_LONGEST = 300
"""Characters of a line that are shown."""

Excerpt = tuple[str, dict[int, str]]


def source_lines(sources: Iterable[Source]) -> tuple[Excerpt, ...]:
    """Each file that is named and can be read, with the lines around the named ones by number."""
    named: dict[str, set[int]] = {}
    for source in sources:
        if source.line > 0:
            wanted = named.setdefault(source.file, set())
            wanted.update(range(max(source.line - _AROUND, 1), source.line + _AROUND + 1))
    excerpts = ((file, _read(file, wanted)) for file, wanted in sorted(named.items()))
    return tuple((file, lines) for file, lines in excerpts if lines)


def _read(file: str, wanted: set[int]) -> dict[int, str]:
    """The wanted lines of a file; none of one that is absent, that is no text or too large."""
    path = Path(file)
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST:
            return {}
        with tokenize.open(file) as text:
            lines = text.read().split("\n")
    except (OSError, SyntaxError, ValueError):  # undecodable text, or a name that no file can have
        return {}
    kept = {number: lines[number - 1] for number in sorted(wanted) if number <= len(lines)}
    return {number: line.rstrip().expandtabs(4)[:_LONGEST] for number, line in kept.items()}
