"""Makes text from outside harmless: what could move a cursor, break a line or turn its direction becomes visible."""

from __future__ import annotations

import re
import unicodedata

_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories without a glyph: controls, direction marks, surrogates, private use, unassigned, separators."""

COMMAND = "##["
"""With this, commands to a build server began once; some still obey."""

_COMMAND_LINE = re.compile(r"^((?:[^\S\n]|\x1b\[[0-9;]*m)*)::", re.MULTILINE)
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def inert(text: str) -> str:
    """The text with every unseen character written as its escape, so that one name stays on one line.

    Nor does it hold what some build servers take for a command wherever it stands in a line.
    """
    if not (text.isascii() and text.isprintable()):
        text = "".join(_visible(character) for character in text)
    return text.replace(COMMAND, "##\\x5b")


def without_commands(text: str) -> str:
    """Lines of which none begins with what is a command to GitHub's runner."""
    return _COMMAND_LINE.sub(r"\1\\x3a:", text)


def is_unseen(character: str) -> bool:
    """Whether a reader would not see the character, only what it does."""
    return unicodedata.category(character) in _UNSEEN


def shorten(text: str, limit: int) -> str:
    """The text, cut in the middle to at most `limit` characters: names tell apart at both ends."""
    if len(text) <= limit:
        return text
    tail = (limit - 1) // 2
    return f"{text[: limit - 1 - tail]}…{text[len(text) - tail :]}"


def _visible(character: str) -> str:
    if not is_unseen(character):
        return character
    if character in _SHORT:
        return _SHORT[character]
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
